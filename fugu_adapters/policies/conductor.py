"""Which workflow answers a request: a policy that writes one step after another, and a forecast of what it gains.

The *policy* chooses a worker, a kind of subtask and what is seen of earlier steps, or to stop: a small network
scores every choice that the grammar allows, by features of the worker's forecast and of the plan so far. No
feature names a worker, so that it holds for any pool, in any order. It is trained by group-relative policy
optimisation (Shao et al. 2024, equation 3, without the KL term) with rewards as in Conductor (Nielsen et al. 2025).
The *value* says how probably a plan's answer is right. Candidates are ranked by value less price, the single call
among them, so that more than one call is only planned where it is expected to pay.

Pure and vectorised: ``R`` plans over ``W`` workers are written at once.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from fugu_adapters.errors import InputError
from fugu_adapters.policies.coordinator import Coordinator
from fugu_adapters.policies.subtasks import LIBRARY, Kind, Library
from fugu_adapters.types import Effort

__all__ = [
    "EFFORTS",
    "FEATURES",
    "STEPS",
    "Board",
    "Conductor",
    "Means",
    "Move",
    "Network",
    "Price",
    "Sketch",
    "Value",
    "expected_asks",
    "vote_right",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

STEPS = 5
STOP = -1
_EFFORTS: tuple[Effort, ...] = get_args(Effort)
_LOW, _HIGH = 0.02, 0.98  # forecasts are never taken for certain
_FREE = 1e-3  # of the dearest worker's price: cheaper than that is no cheaper
_CLIP = 1e-3  # probabilities are kept that far from 0 and 1
_ALIKE = 0.25  # probability that two wrong answers are the same one


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """One step of a plan, before it is put into words.

    Attributes:
        kind: name of the subtask's kind.
        worker: column of the worker.
        wide: whether it sees every earlier step, and not only those that its kind is about.
    """

    kind: str
    worker: int
    wide: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Sketch:
    """A plan that the grammar allows.

    Attributes:
        moves: its steps, in order.
    """

    moves: tuple[Move, ...]

    def access(self, library: Library = LIBRARY) -> tuple[tuple[int, ...], ...]:
        """The earlier steps that each step sees."""
        seen: list[tuple[int, ...]] = []
        open_: list[int] = []
        advice: int | None = None
        for index, move in enumerate(self.moves):
            kind = library[move.kind]
            needs: list[int] = []
            if kind.sees == "answers":
                needs = open_
            elif kind.sees != "nothing":
                needs = open_[-1:] if kind.sees == "answer" else []
                needs = needs if advice is None else [*needs, advice]
            wide = move.wide and kind.sees != "nothing"
            seen.append(tuple(range(index)) if wide else tuple(sorted(needs)))
            if kind.gives == "advice":
                advice = index
                continue
            advice = None
            if kind.gives == "answer":
                if kind.sees == "answers":
                    open_ = []
                elif kind.sees == "answer":
                    open_ = open_[:-1]
                open_.append(index)
        return tuple(seen)

    def first(self, steps: int) -> Sketch:
        """Its beginning."""
        return Sketch(moves=self.moves[:steps])

    def answers(self, library: Library = LIBRARY) -> tuple[int, ...]:
        """The steps whose output is the answer, or one of those that it is chosen from."""
        open_: list[int] = []
        for index, move in enumerate(self.moves):
            kind = library[move.kind]
            if kind.gives != "answer":
                continue
            if kind.sees == "answers":
                open_ = []
            elif kind.sees == "answer":
                open_ = open_[:-1]
            open_.append(index)
        return tuple(open_)


@dataclass(frozen=True, kw_only=True, slots=True)
class Price:
    """What is taken off the probability of a right answer.

    Attributes:
        call: for every call after the first.
        spend: for as many dollars as one call of the best worker costs.
    """

    call: float = 0.001
    spend: float = 0.0005


class Board:
    """Plans that are being written, ``R`` of them over ``W`` workers.

    Args:
        forecast: the selector's expected scores, ``[R, W]``.
        cost: expected dollars of a call, ``[R, W]`` or ``[W]``.
        effort: of each plan, as a number from 0 (low) to 3, ``[R]``.
        there: workers that may be asked, at least one a plan, ``[R, W]``; all where not given.
        most: steps at most, 1 to 5.
        library: kinds of subtasks.
        kinds: names of those that may be used; all where not given.

    Raises:
        InputError: where shapes do not fit, or nobody may be asked.
    """

    def __init__(
        self,
        forecast: Floats,
        cost: Floats,
        effort: Ints,
        *,
        there: Flags | None = None,
        most: int | Ints = STEPS,
        library: Library = LIBRARY,
        kinds: Sequence[str] | None = None,
    ) -> None:
        self.p = np.clip(np.atleast_2d(forecast), _LOW, _HIGH)
        size = self.p.shape
        self.there = np.ones(size, dtype=bool) if there is None else np.asarray(there)
        if self.there.shape != size or not self.there.any(axis=1).all():
            raise InputError("a plan needs somebody who may be asked")
        self.odds = np.log(self.p / (1 - self.p))
        cost = np.broadcast_to(np.asarray(cost, dtype=np.float64), size)
        floor = np.maximum(cost.max(axis=1, keepdims=True) * _FREE, 1e-12)
        self.cost = np.maximum(cost, floor)
        first = np.argmax(np.where(self.there, self.p, -1.0), axis=1)
        self.ratio = self.cost / self.cost[np.arange(size[0]), first][:, None]
        self.effort = np.broadcast_to(effort, size[:1])
        self.most = np.broadcast_to(most, size[:1])
        self.library = library
        names = [kind.name for kind in library] if kinds is None else list(kinds)
        self.kinds: list[Kind] = [library[name] for name in names]
        self._choices = [
            (kind, wide) for kind in self.kinds for wide in ((False, True) if kind.sees != "nothing" else (False,))
        ]  # fmt: skip
        rows = size[0]
        self.moves: list[list[Move]] = [[] for _ in range(rows)]
        self.t = np.zeros(rows, dtype=np.int64)
        self.done = np.zeros(rows, dtype=bool)
        self.answered = np.zeros(size, dtype=bool)
        self._used = np.zeros(size, dtype=bool)
        self._open = np.zeros(rows, dtype=np.int64)
        self._pending = np.zeros(rows, dtype=np.int64)  # 1: advice alone, 2: advice on an answer
        self._chosen = np.zeros(rows, dtype=bool)
        self._best = np.zeros(rows)
        self._sum = np.zeros(rows)
        self.spent = np.zeros(rows)
        top = np.sort(np.where(self.there, self.p, 0.0), axis=1)[:, ::-1]
        self._pool = np.stack([
            top[:, 0], top[:, 1] if size[1] > 1 else top[:, 0] * 0,
            top[:, 2] if size[1] > 2 else top[:, 0] * 0, np.log2(self.there.sum(axis=1)) / 3,
        ], axis=1)  # fmt: skip

    def __len__(self) -> int:
        return len(self.p)

    @property
    def choices(self) -> int:
        """How many there are: to stop, and every kind by every worker."""
        return 1 + len(self._choices) * int(self.p.shape[1])

    # --- the grammar --------------------------------------------------------------------------

    def legal(self) -> Flags:
        """Which choices the grammar allows, the first being to stop, ``[R, 1 + kinds * W]``."""
        left = self.most - self.t
        stop = (self._open > 0) & (self._pending == 0)
        parts = [stop[:, None]]
        for kind, wide in self._choices:
            ok = ~self._chosen & (left >= (2 if kind.gives == "advice" else 1))
            match kind.sees:
                case "nothing":
                    ok = ok & (self._pending == 0)
                    if kind.gives == "advice":
                        ok = ok & (self._open == 0)
                case "advice":
                    ok = ok & (self._pending == 1)
                case "answer":
                    wanted = (0,) if kind.gives == "advice" else (0, 2)
                    ok = ok & (self._open >= 1) & np.isin(self._pending, wanted)
                case _:
                    ok = ok & (self._open >= 2) & (self._pending == 0)
            # To see everything is only a choice where it is more than what the kind is about.
            if wide:
                ok = ok & (self.t > np.where(kind.sees == "answers", self._open, 1 + (self._pending == 2)))  # fmt: skip
            who = self.there & ok[:, None]
            if kind.gives == "answer" and kind.sees == "nothing":
                who = who & ~self.answered
            parts.append(who)
        allowed: Flags = np.concatenate(parts, axis=1)
        return allowed & ~self.done[:, None]

    def take(self, choice: Ints) -> None:
        """Go on with one choice for each plan; those that are done stay as they are."""
        size = self.p.shape[1]
        rows = np.flatnonzero(~self.done)
        picked = choice[rows] - 1
        self.done[rows[picked < 0]] = True
        rows, picked = rows[picked >= 0], picked[picked >= 0]
        number, worker = picked // size, picked % size
        p, odds = self.p[rows, worker], self.odds[rows, worker]
        for row, n, w in zip(rows.tolist(), number.tolist(), worker.tolist(), strict=True):
            kind, wide = self._choices[n]
            self.moves[row].append(Move(kind=kind.name, worker=w, wide=wide))
        self._used[rows, worker] = True
        self.spent[rows] += self.ratio[rows, worker]
        self.t[rows] += 1
        for n, (kind, _) in enumerate(self._choices):
            mine = number == n
            if not mine.any():
                continue
            here = rows[mine]
            if kind.gives == "choice":
                self._chosen[here] = True
            elif kind.gives == "advice":
                self._pending[here] = 1 if kind.sees == "nothing" else 2
            else:
                self._pending[here] = 0
                if kind.sees == "nothing":
                    self.answered[here, worker[mine]] = True
                if kind.sees in ("nothing", "advice"):
                    self._open[here] += 1
                    self._sum[here] += np.maximum(odds[mine] + 1.0, 0.0)
                elif kind.sees == "answers":
                    self._open[here] = 1
                self._best[here] = np.maximum(self._best[here], p[mine])
        self.done |= self.t >= self.most

    # --- what the network sees ----------------------------------------------------------------

    def features(self) -> Floats:
        """Of every choice, ``[R, choices, F]``."""
        rows, size = self.p.shape
        top = self._pool[:, :1]
        effort = (self.effort[:, None] == np.arange(len(_EFFORTS))).astype(np.float64)
        state = np.concatenate([
            effort, self._pool, (self.t / STEPS)[:, None], (self._open / STEPS)[:, None],
            self._best[:, None], (self._sum / 4)[:, None], np.log2(1 + self.spent)[:, None] / 3,
            (self._pending > 0)[:, None], (self.t == 0)[:, None], ((self.most - self.t) / STEPS)[:, None],
        ], axis=1)  # fmt: skip
        each = np.stack([
            self.p, self.odds / 3, self.p - top, np.clip(np.log2(self.ratio) / 6, -1.5, 1.5),
            self.p - self._best[:, None], self._used, self.answered,
        ], axis=2)  # fmt: skip
        parts = [np.concatenate([
            np.tile(state[:, None], (1, 1, 1)), np.zeros((rows, 1, each.shape[2])),
            np.tile(_traits(None, False), (rows, 1, 1)),
        ], axis=2)]  # fmt: skip
        wide_state = np.broadcast_to(state[:, None], (rows, size, state.shape[1]))
        for kind, wide in self._choices:
            traits = np.broadcast_to(_traits(kind, wide), (rows, size, _TRAITS))
            parts.append(np.concatenate([wide_state, each, traits], axis=2))
        features: Floats = np.concatenate(parts, axis=1)
        return features

    def sketches(self) -> list[Sketch]:
        """The plans so far."""
        return [Sketch(moves=tuple(moves)) for moves in self.moves]


_NAMES = tuple(kind.name for kind in LIBRARY)
_GIVES, _SEES = ("answer", "advice", "choice"), ("nothing", "advice", "answer", "answers")
_TRAITS = 2 + len(_NAMES) + len(_GIVES) + len(_SEES)
FEATURES = len(_EFFORTS) + 4 + 8 + 7 + _TRAITS
"""Length of a choice's features."""


def _traits(kind: Kind | None, wide: bool) -> Floats:
    """What is known of a kind: to stop, to see everything, its name if it is a shipped one, and its form."""
    traits = np.zeros(_TRAITS)
    if kind is None:
        traits[0] = 1.0
        return traits
    traits[1] = float(wide)
    if kind.name in _NAMES:
        traits[2 + _NAMES.index(kind.name)] = 1.0
    traits[2 + len(_NAMES) + _GIVES.index(kind.gives)] = 1.0
    traits[2 + len(_NAMES) + len(_GIVES) + _SEES.index(kind.sees)] = 1.0
    return traits


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """Scores of choices: one hidden layer beside a linear part.

    Attributes:
        hidden: ``[F, H]``.
        bias: ``[H]``.
        out: ``[H]``.
        skip: ``[F]``.
    """

    hidden: Floats
    bias: Floats
    out: Floats
    skip: Floats

    def __post_init__(self) -> None:
        shapes = {"hidden": (FEATURES, len(self.bias)), "out": self.bias.shape, "skip": (FEATURES,)}
        for name, shape in shapes.items():
            value = getattr(self, name)
            if value.shape != shape or not np.isfinite(value).all():
                raise InputError(f"a conductor's {name}: expected finite numbers of shape {shape}")

    @classmethod
    def untrained(cls, *, seed: int = 0, units: int = 24) -> Network:
        """Small random numbers: every legal choice is about as probable."""
        rng = np.random.default_rng(seed)
        return cls(
            hidden=rng.normal(0, 0.3, (FEATURES, units)), bias=np.zeros(units),
            out=rng.normal(0, 0.05, units), skip=np.zeros(FEATURES),
        )  # fmt: skip

    def __call__(self, features: Floats) -> Floats:
        """Logits, ``[..., choices]``."""
        logits: Floats = (
            np.tanh(features @ self.hidden + self.bias) @ self.out + features @ self.skip
        )
        return logits


def vote_right(odds: Floats, voting: Flags, lift: float = 0.5, alike: float = _ALIKE) -> Floats:
    """How probably a weighted vote of independent answers is right, ``[R]``.

    Whose answer is right is enumerated. Of the wrong ones a share ``alike`` agrees with the heaviest.

    Args:
        odds: log-odds of each answer, ``[R, V]`` with at most five columns.
        voting: which of them there are, ``[R, V]``.
        lift: added to the log-odds to make an answer's weight.
        alike: how alike wrong answers are.
    """
    weight = np.where(voting, np.maximum(odds + lift, 0.01), 0.0)
    right = np.array(list(itertools.product((True, False), repeat=odds.shape[1])))  # [P, V]
    total = np.zeros(len(odds))
    for rows in _parts(len(odds)):
        p, there, w = _sigmoid(odds[rows])[:, None], voting[rows][:, None], weight[rows][:, None]
        # A column that nobody fills counts once, as if it were right.
        chance = np.where(there, np.where(right, p, 1 - p), right).prod(axis=2)
        wrong = w * ~right
        heaviest = wrong.max(axis=2)
        rival = heaviest + alike * (wrong.sum(axis=2) - heaviest)
        total[rows] = (chance * ((w * right).sum(axis=2) > rival)).sum(axis=1)
    return total


def _parts(rows: int) -> list[slice]:
    """Rows in parts, which bound the memory that all patterns of a part take."""
    return [slice(start, start + 512) for start in range(0, rows, 512)]


def expected_asks(
    odds: Floats, voting: Flags, coordinator: Coordinator, alike: float = _ALIKE
) -> Floats:
    """How probably each answer of a vote is asked for, where the vote ends once it is decided, ``[R, V]``.

    Each answer is right, wrong in the way that others are, or wrong in its own way; all of it is enumerated.

    Args:
        odds: log-odds of each answer, in the order in which they are asked for, ``[R, V]``, at most five columns.
        voting: which of them there are, ``[R, V]``.
        coordinator: weighs answers, and says which lead is enough.
        alike: how alike wrong answers are.
    """
    weight = np.where(voting, coordinator.weigh(odds), 0.0)
    patterns = np.array(list(itertools.product(range(3), repeat=odds.shape[1])))  # [P, V]
    asked = np.zeros(odds.shape)
    for rows in _parts(len(odds)):
        p, there, w = _sigmoid(odds[rows])[:, None], voting[rows][:, None], weight[rows][:, None]
        open_ = w.sum(axis=2, keepdims=True) - np.cumsum(w, axis=2)
        shares = np.choose(patterns, [p, (1 - p) * alike, (1 - p) * (1 - alike)])
        # A column that nobody fills counts once, and not three times.
        chance = np.where(there, shares, patterns == 0).prod(axis=2)
        going = np.ones(chance.shape, dtype=bool)
        held = np.zeros((3, *chance.shape))  # right, wrong alike, the heaviest of the others
        for place in range(odds.shape[1]):
            asked[rows, place] = (chance * (going & there[:, :, place])).sum(axis=1)
            mine = np.where(going, w[:, :, place], 0.0)
            what = patterns[:, place]
            held[0] += np.where(what == 0, mine, 0.0)
            held[1] += np.where(what == 1, mine, 0.0)
            held[2] = np.maximum(held[2], np.where(what == 2, mine, 0.0))
            top = np.sort(held, axis=0)
            ahead = top[2] - top[1]
            going &= (ahead <= open_[:, :, place]) & (ahead < coordinator.enough)
    return asked


@dataclass(frozen=True, kw_only=True, slots=True)
class Value:
    """How probably a plan's answer is right.

    Attributes:
        bias: log-odds that are added to the forecast of a single answer.
        slope: what its log-odds are multiplied by.
        share: of what :func:`vote_right` adds to the best of several answers, the part that comes true.
        alike: how alike wrong answers are, as there.
        gain: log-odds that a step of a kind adds, by the kind's name; 0 where it was never measured.
    """

    bias: float = 0.0
    slope: float = 1.0
    share: float = 1.0
    alike: float = _ALIKE
    gain: Mapping[str, float] = field(default_factory=dict)

    def __call__(
        self, sketches: Sequence[Sketch], forecast: Floats, library: Library = LIBRARY
    ) -> Floats:
        """Probability, ``[R]``; ``forecast`` being ``[R, W]``."""
        return self.right(*self.strengths(sketches, forecast, library))

    def right(self, odds: Floats, voting: Flags) -> Floats:
        """Probability, ``[R]``, from the log-odds of the answers that are voted on, ``[R, V]`` each."""
        best = np.where(voting, odds, -np.inf).max(axis=1)
        alone = _sigmoid(self.bias + self.slope * best)
        more = vote_right(odds, voting, alike=self.alike) - _sigmoid(best)
        several = voting.sum(axis=1) > 1
        return np.clip(alone + np.where(several, self.share * more, 0.0), _CLIP, 1 - _CLIP)

    def strengths(
        self, sketches: Sequence[Sketch], forecast: Floats, library: Library = LIBRARY
    ) -> tuple[Floats, Flags]:
        """Log-odds of the answers that each plan ends with, and which there are, ``[R, 5]`` each."""
        worker_odds = _logit(np.clip(forecast, _LOW, _HIGH))
        odds, voting = (
            np.zeros((len(sketches), STEPS)),
            np.zeros((len(sketches), STEPS), dtype=bool),
        )
        for row, sketch in enumerate(sketches):
            held: list[float] = []
            lift = 0.0  # of advice that the next answer sees
            for move in sketch.moves:
                kind, mine = library[move.kind], float(worker_odds[row, move.worker])
                gain = self.gain.get(move.kind, 0.0)
                if kind.gives == "advice":
                    lift = gain
                elif kind.gives == "choice":
                    held = [_joint(held) + gain]
                elif kind.sees == "answers":
                    held, lift = [max(_joint(held), mine) + gain], 0.0
                elif kind.sees == "answer":
                    held[-1], lift = max(held[-1], mine) + gain + lift, 0.0
                else:
                    held.append(mine + gain + lift)
                    lift = 0.0
            odds[row, : len(held)], voting[row, : len(held)] = held, True
        return odds, voting


def _joint(held: Sequence[float]) -> float:
    if len(held) == 1:
        return held[0]
    return float(_logit(vote_right(np.array([held]), np.ones((1, len(held)), dtype=bool)))[0])


def _logit(p: Floats) -> Floats:
    p = np.clip(p, _CLIP, 1 - _CLIP)
    odds: Floats = np.log(p / (1 - p))
    return odds


def _sigmoid(x: Any) -> Floats:
    p: Floats = 0.5 * (1.0 + np.tanh(0.5 * x))
    return p


@dataclass(frozen=True, kw_only=True, slots=True)
class Means:
    """What an effort allows.

    Attributes:
        steps: at most.
        price: what is taken off for calls and dollars.
    """

    steps: int = STEPS
    price: Price = field(default_factory=Price)


EFFORTS: Mapping[Effort, Means] = {
    "low": Means(steps=1, price=Price(call=0.01, spend=0.02)),
    "medium": Means(steps=3, price=Price(call=0.003, spend=0.005)),
    "high": Means(steps=4, price=Price(call=0.001, spend=0.001)),
    "xhigh": Means(steps=5, price=Price(call=0.0, spend=0.0)),
}
"""By effort; ``low`` is one call."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Conductor:
    """A policy that writes plans, and the value that ranks them.

    Attributes:
        network: scores choices.
        value: forecasts how probably a plan is right.
        kinds: names of the kinds of subtasks that it was trained to use.
    """

    network: Network
    value: Value = field(default_factory=Value)
    kinds: tuple[str, ...] = ("answer",)

    def write(
        self, board: Board, *, rng: np.random.Generator | None = None, temperature: float = 1.0
    ) -> list[Sketch]:
        """Write every plan of a board to its end: the likeliest choice each time, or one that is drawn.

        Args:
            board: plans that nothing was written of; it is changed.
            rng: draws; the likeliest is taken without.
            temperature: of the draw.
        """
        while not board.done.all():
            logits = np.where(board.legal(), self.network(board.features()) / temperature, -np.inf)
            if rng is not None:
                logits = logits + rng.gumbel(size=logits.shape)
            board.take(np.argmax(logits, axis=1))
        return board.sketches()
