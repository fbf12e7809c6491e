"""Whom to ask next, or to stop, from the answers so far: a calibrated vote and a small head over it.

Pure arrays. Answers are compared, never read: what counts is which workers gave the same one. The vote says
how probably each answer is right; the head weighs, for every worker that could still be asked, what its
answer is expected to change against what it costs. Nothing is asked where nothing is worth it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as dump_tensors

from fugu_adapters.errors import InputError, WeightsError

__all__ = [
    "FEATURES",
    "Coordinator",
    "State",
    "Vote",
    "load_coordinator",
    "save_coordinator",
    "sigmoid",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

FEATURES = ("gain", "change", "cost", "asks", "doubt", "turn", "forecast")
"""Of a worker that may be asked.

``gain``: expected rise of the leading answer's probability. ``change``: expected size of its move, up or
down. ``cost``: of the call, in calls of the reference worker. ``asks``: 1. ``doubt``: ``q (1 - q)`` of the
leading answer. ``turn``: answers so far over the most allowed. ``forecast``: probability that this worker
is right, on its own.
"""

FORMAT_VERSION = 1
_MANIFEST, _TENSORS = "manifest.json", "coordinator.safetensors"
_MAX_BYTES = 16 * 1024 * 1024
_NEVER = -40.0  # a logit: no answer yet, or an answer that is none


def sigmoid(x: Any) -> Any:
    """Without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * x))


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Vote:
    """Log-odds that an answer is right, given who says it and who says something else.

    Attributes:
        bias: of every answer.
        agree: added for each worker that gave it, ``[A]``.
        dissent: added for each worker that gave another, ``[A]``.
        agree_slope: times the forecast's logit, added to ``agree``.
        dissent_slope: the same for ``dissent``.
        herd: how often two workers that are both wrong say the same.
        pair: added once when a second worker gives it.
    """

    bias: float
    agree: Floats
    dissent: Floats
    agree_slope: float
    dissent_slope: float
    herd: float
    pair: float = 0.0

    def weights(self, forecast: Floats) -> tuple[Floats, Floats]:
        """What agreement and dissent of each worker add: two of ``[n, A]``, forecasts being logits."""
        return (
            self.agree + self.agree_slope * forecast,
            self.dissent + self.dissent_slope * forecast,
        )


@dataclass(eq=False, slots=True)
class State:
    """``n`` requests under way, changed in place.

    Attributes:
        up: log-odds that each worker's agreement adds, ``[n, A]``.
        down: that its dissent adds, ``[n, A]``.
        alone: probability that each is right, on its own, ``[n, A]``.
        asked: who has answered, ``[n, A]``.
        logit: log-odds of each worker's answer; of those that have not answered it means nothing, ``[n, A]``.
        fresh: log-odds, before its author's agreement, of an answer that nobody has given, ``[n]``.
        backers: workers that gave what each gives, ``[n, A]``.
        herd: as in :class:`Vote`.
        pair: as in :class:`Vote`.
    """

    up: Floats
    down: Floats
    alone: Floats
    asked: Flags
    logit: Floats
    fresh: Floats
    backers: Ints
    herd: float
    pair: float

    @classmethod
    def start(cls, vote: Vote, forecast: Floats) -> State:
        """Nobody has answered; ``forecast`` being logits, ``[n, A]``."""
        up, down = vote.weights(forecast)
        n, size = forecast.shape
        return cls(
            up=up, down=down, alone=sigmoid(vote.bias + up), asked=np.zeros((n, size), dtype=bool),
            logit=np.full((n, size), vote.bias), fresh=np.full(n, vote.bias),
            backers=np.zeros((n, size), dtype=np.int64), herd=vote.herd, pair=vote.pair,
        )  # fmt: skip

    def tell(self, rows: Ints, worker: Ints, same: Flags) -> None:
        """Take in an answer for some requests.

        Args:
            rows: which, ``[m]``.
            worker: who answered each, ``[m]``.
            same: whose answers equal it, ``[m, A]``; its author's among them unless it gave none.
        """
        up, down = self.up[rows, worker], self.down[rows, worker]
        second = same & (self.backers[rows] == 1)
        self.logit[rows] += np.where(same, up[:, None], down[:, None]) + self.pair * second
        self.backers[rows] += same
        mute = ~same[np.arange(len(rows)), worker]
        self.logit[rows[mute], worker[mute]] = _NEVER
        self.fresh[rows] += down
        self.asked[rows, worker] = True

    def take(self, rows: Ints) -> State:
        """Some of the requests, as a copy."""
        names = ("up", "down", "alone", "asked", "logit", "fresh", "backers")
        return State(
            herd=self.herd, pair=self.pair, **{name: getattr(self, name)[rows] for name in names}
        )

    def leader(self) -> tuple[Ints, Floats]:
        """Who gave the most probable answer, and its log-odds: two of ``[n]``.

        Of several authors it is the one whose agreement weighs most.
        """
        logit = np.where(self.asked, self.logit, 2 * _NEVER)
        best = logit.max(axis=1)
        tied = self.asked & (logit >= best[:, None] - 1e-9)
        return np.argmax(np.where(tied, self.up, -np.inf), axis=1), best


@dataclass(frozen=True, kw_only=True, eq=False)
class Coordinator:
    """A vote over ``A`` workers and the head that decides whom to ask.

    Attributes:
        workers: names, ``[A]``.
        vote: how answers are weighed.
        cost: expected dollars of a call over those of the reference worker, ``[A]``.
        head: weights of :data:`FEATURES`, then one constant a worker, ``[F + A]``.
        turns: answers that are asked for at most.
        provenance: what it was fitted to.
        metrics: measured on held-out items.
    """

    workers: tuple[str, ...]
    vote: Vote
    cost: Floats
    head: Floats
    turns: int = 5
    provenance: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        size = len(self.workers)
        shapes = (self.vote.agree, size), (self.vote.dissent, size), (self.cost, size)
        for given, wanted in (*shapes, (self.head, len(FEATURES) + size)):
            if given.shape != (wanted,) or not np.isfinite(given).all():
                raise InputError(
                    f"a coordinator of {size} workers: expected {wanted} finite numbers, "
                    f"got shape {given.shape}; fit it again"
                )

    def with_head(self, head: Floats) -> Coordinator:
        """The same with another head."""
        return replace(self, head=np.asarray(head, dtype=np.float64))

    def features(self, state: State, turn: int) -> Floats:
        """Of asking each worker, ``[n, A, F]``, after ``turn`` answers."""
        gain, change, doubt = _prospects(state, turn)
        shape = gain.shape
        return np.stack(
            [
                gain, change, np.broadcast_to(self.cost, shape), np.ones(shape),
                np.broadcast_to(doubt[:, None], shape), np.full(shape, turn / self.turns), state.alone,
            ],
            axis=2,
        )  # fmt: skip

    def worth(self, state: State, turn: int, available: Flags | None = None) -> Floats:
        """What asking each worker is worth, ``-inf`` for those that may not be asked, ``[n, A]``."""
        size = len(FEATURES)
        value = self.features(state, turn) @ self.head[:size] + self.head[size:]
        open_ = ~state.asked if available is None else available & ~state.asked
        return np.where(open_, value, -np.inf)

    def decide(
        self,
        forecast: Sequence[float],
        answers: Mapping[int, object],
        available: Sequence[bool] | None = None,
    ) -> tuple[int | None, int | None, float]:
        """One request: whom to ask next, whose answer leads, and how probably that one is right.

        Args:
            forecast: the selector's expected score of each worker, ``[A]``.
            answers: normalised answer by column of the worker, in the order given; ``None`` for none.
            available: who may be asked, ``[A]``; all where not given.

        Returns:
            Column to ask, ``None`` to stop; column that leads, ``None`` before any answer; 0 to 1.

        Raises:
            InputError: where there is no answer yet and nobody may be asked.
        """
        p = np.clip(np.asarray(forecast, dtype=np.float64), 0.01, 0.99)[None]
        state = State.start(self.vote, np.log(p / (1 - p)))
        for worker, answer in answers.items():
            same = [
                answer is not None and other in answers and answers[other] == answer
                for other in range(p.shape[1])
            ]
            state.tell(np.array([0]), np.array([worker]), np.array([same]))
        free = None if available is None else np.array([available], dtype=bool)
        worth = self.worth(state, len(answers), free)[0]
        ask = int(np.argmax(worth))
        if not answers:
            if np.isneginf(worth[ask]):
                raise InputError("nobody may be asked; allow at least one worker")
            return ask, None, 0.0
        lead, logit = state.leader()
        stop = len(answers) >= self.turns or not worth[ask] > 0
        return None if stop else ask, int(lead[0]), float(sigmoid(logit[0]))


def _prospects(state: State, turn: int) -> tuple[Floats, Floats, Floats]:
    """Expected rise and move of the leading probability for each worker, and the doubt in it.

    A worker can say what leads, what comes second, or something new.
    """
    if turn == 0:
        return state.alone, state.alone, np.zeros(len(state.fresh))
    asked = np.where(state.asked, state.logit, 2 * _NEVER)
    first, bonus = _top(state, asked)
    second, rival_bonus = _top(state, np.where(asked < first - 1e-9, asked, 2 * _NEVER))
    q = sigmoid(first)
    rival = np.minimum(sigmoid(second), 1.0 - q)
    right, astray = state.alone, (1.0 - state.alone) * state.herd
    joins = q * right + (1.0 - q) * astray
    turns = np.where(second > _NEVER, rival * right + (1.0 - rival) * astray, 0.0)
    differs = np.maximum(0.0, 1.0 - joins - turns)
    firmer, weaker = sigmoid(first + state.up + bonus), sigmoid(first + state.down)
    gain = (
        joins * firmer
        + turns * np.maximum(weaker, sigmoid(second + state.up + rival_bonus))
        + differs * np.maximum(weaker, sigmoid(state.fresh[:, None] + state.up))
        - q
    )
    change = joins * np.abs(firmer - q) + (1.0 - joins) * np.abs(weaker - q)
    return gain, change, (q * (1.0 - q))[:, 0]


def _top(state: State, logit: Floats) -> tuple[Floats, Floats]:
    """The highest log-odds, and what a second worker's agreement would add: two of ``[n, 1]``."""
    column = np.argmax(logit, axis=1)[:, None]
    lone = np.take_along_axis(state.backers, column, axis=1) == 1
    return np.take_along_axis(logit, column, axis=1), state.pair * lone


# --- files ----------------------------------------------------------------------------------------


def save_coordinator(coordinator: Coordinator, folder: Path) -> None:
    """Write ``manifest.json`` and the tensors to a folder, which is made where it is missing."""
    vote = coordinator.vote
    scalars = [vote.bias, vote.agree_slope, vote.dissent_slope, vote.herd, vote.pair]
    tensors = {
        "agree": vote.agree, "dissent": vote.dissent, "scalars": np.array(scalars),
        "cost": coordinator.cost, "head": coordinator.head,
    }  # fmt: skip
    blob = dump_tensors({name: np.ascontiguousarray(array, dtype=np.float64) for name, array in tensors.items()})  # fmt: skip
    manifest = {
        "format": FORMAT_VERSION, "features": list(FEATURES), "workers": list(coordinator.workers),
        "turns": coordinator.turns, "sha256": hashlib.sha256(blob).hexdigest(),
        "provenance": dict(coordinator.provenance), "metrics": dict(coordinator.metrics),
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _TENSORS).write_bytes(blob)
    text = json.dumps(manifest, indent=1, sort_keys=True, allow_nan=False)
    (folder / _MANIFEST).write_text(text + "\n", encoding="utf-8")


def load_coordinator(folder: Path) -> Coordinator:
    """Read what :func:`save_coordinator` wrote, every part checked.

    Raises:
        WeightsError: where a file is missing, too large, altered, or of another format.
    """
    try:
        for name in (_MANIFEST, _TENSORS):
            if (folder / name).stat().st_size > _MAX_BYTES:
                raise WeightsError(f"{folder / name}: larger than {_MAX_BYTES} bytes; not ours")
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        blob = (folder / _TENSORS).read_bytes()
    except (OSError, ValueError) as error:
        raise WeightsError(f"{folder}: cannot be read ({error}); fit the coordinator again") from error  # fmt: skip
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT_VERSION:
        raise WeightsError(f"{folder}: expected a coordinator of format {FORMAT_VERSION}")
    if manifest.get("features") != list(FEATURES):
        raise WeightsError(f"{folder}: expected the features {', '.join(FEATURES)}; fit it again")
    if manifest.get("sha256") != hashlib.sha256(blob).hexdigest():
        raise WeightsError(f"{folder / _TENSORS}: its digest is not the manifest's; copy it again")
    try:
        tensors = load_tensors(blob)
        bias, agree_slope, dissent_slope, herd, pair = (float(x) for x in tensors["scalars"])
        return Coordinator(
            workers=tuple(manifest["workers"]), turns=int(manifest["turns"]),
            vote=Vote(
                bias=bias, agree=tensors["agree"], dissent=tensors["dissent"],
                agree_slope=agree_slope, dissent_slope=dissent_slope, herd=herd, pair=pair,
            ),
            cost=tensors["cost"], head=tensors["head"],
            provenance=manifest["provenance"], metrics=manifest["metrics"],
        )  # fmt: skip
    except (SafetensorError, KeyError, TypeError, ValueError, InputError) as error:
        raise WeightsError(f"{folder}: not a whole coordinator ({error}); fit it again") from error
