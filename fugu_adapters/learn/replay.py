"""Episodes over recorded answers: a coordinator asks workers one after another, at no cost, many at once.

An episode is an item and the workers that may be asked. Its reward is the score of the answer that leads at
the end, less what the calls cost. Vectorised over episodes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fugu_adapters.evaluate.votes import Played, Recorded, best_column
from fugu_adapters.policies.coordinator import FEATURES, Coordinator, State, Vote, sigmoid

__all__ = ["Choose", "Price", "Replay", "fit_coordinator_vote", "reference_cost", "simple_heads"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Choose: TypeAlias = Callable[[Floats, Floats, int], Ints]
"""From features ``[m, A, F]``, worth ``[m, A]`` and the turn: a column to ask, or -1 to stop, ``[m]``."""

_STEPS, _DRAWS, _TARGET_ROWS = 30, 4, 40_000
_CHANGES, _ASKS, _COSTS = (0.0, 0.05, 0.1, 0.2, 0.4), (-0.12, -0.06, -0.03, -0.015, -0.007, -0.003), (-0.02, -0.005, -0.001)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Price:
    """What is taken off the score.

    Attributes:
        call: for every call after the first.
        spend: for as many dollars as one call of the reference worker costs.
        calls: mean calls that may be made.
        over: for every mean call beyond that.
    """

    call: float = 0.001
    spend: float = 0.0005
    calls: float = 2.4
    over: float = 0.1


class Replay:
    """An environment of recorded answers.

    Args:
        items: what was recorded.
        vote: how answers are weighed.
        price: what is taken off the score.
        reference: dollars of one call of the reference worker.
    """

    def __init__(self, items: Recorded, vote: Vote, price: Price, reference: float) -> None:
        p = np.clip(items.forecast, 0.01, 0.99)
        self.items, self.price, self.reference = items, price, reference
        self._same = items.same()
        self._start = State.start(vote, np.log(p / (1 - p)))

    def __len__(self) -> int:
        return len(self.items)

    def play(
        self,
        coordinator: Coordinator,
        rows: Ints | None = None,
        *,
        available: Flags | None = None,
        choose: Choose | None = None,
    ) -> Played:
        """Run one episode an item.

        Args:
            coordinator: whose vote must be this environment's.
            rows: items, repeats allowed; all where not given.
            available: workers that may be asked, ``[m, A]``, at least one a row.
            choose: decides instead of the head's highest worth above 0.
        """
        rows = np.arange(len(self.items)) if rows is None else rows
        state = self._start.take(rows)
        alive = np.arange(len(rows))
        part, free = state, available
        for turn in range(min(coordinator.turns, len(self.items.workers))):
            worth = coordinator.worth(part, turn, free)
            ask = np.argmax(worth, axis=1)
            if choose is not None:
                ask = choose(coordinator.features(part, turn), worth, turn)
            best = worth[np.arange(len(ask)), ask]
            go = ask >= 0
            if choose is None and turn > 0:
                go = best > 0
            go &= np.isfinite(best)
            alive, part = self._step(state, part, alive, rows, ask, go)
            free = None if free is None else free[go]
            if not len(alive):
                break
        state = self._merge(state, part, alive)
        lead, logit = state.leader()
        cost = np.where(state.asked, self.items.cost[rows], 0.0).sum(axis=1)
        return Played(
            choice=lead, calls=state.asked.sum(axis=1).astype(np.float64), cost=cost,
            trust=sigmoid(logit),
        )  # fmt: skip

    def _step(
        self, state: State, part: State, alive: Ints, rows: Ints, ask: Ints, go: Flags
    ) -> tuple[Ints, State]:
        """Take the answers of those that go on; the others' state is put back where it belongs."""
        ended = np.flatnonzero(~go)
        if len(ended):
            self._merge(state, part.take(ended), alive[ended])
            alive, part, ask = alive[go], part.take(np.flatnonzero(go)), ask[go]
        part.tell(np.arange(len(alive)), ask, self._same[rows[alive], ask])
        return alive, part

    @staticmethod
    def _merge(state: State, part: State, rows: Ints) -> State:
        state.asked[rows], state.logit[rows] = part.asked, part.logit
        return state

    def reward(self, played: Played, rows: Ints | None = None) -> Floats:
        """Score less price, ``[m]``."""
        rows = np.arange(len(self.items)) if rows is None else rows
        score = self.items.scores[rows, played.choice]
        spent = played.cost / self.reference
        return score - self.price.call * (played.calls - 1.0) - self.price.spend * spent

    def fitness(self, played: Played, rows: Ints | None = None) -> float:
        """Mean reward, less what too many calls cost."""
        too_many = max(0.0, float(played.calls.mean()) - self.price.calls)
        return float(self.reward(played, rows).mean()) - self.price.over * too_many


def reference_cost(train: Recorded) -> tuple[float, Floats]:
    """Dollars of a call of the best single worker, and every worker's mean over it, ``[A]``."""
    mean = train.cost.mean(axis=0)
    reference = max(float(mean[best_column(train)]), 1e-9)
    return reference, mean / reference


def fit_coordinator_vote(
    train: Recorded, *, turns: int, seed: int = 0, penalty: float = 3.0
) -> Vote:
    """Logistic regression of whether an answer is right on who gave it and who gave another.

    The examples are the answers of random sets of workers, of as many as the coordinator may ask; whoever
    is forecast to be right is more often among them, as when it is asked for.

    Args:
        train: recorded answers, with forecasts that were made without these items.
        turns: answers that are asked for at most.
        seed: of the sets.
        penalty: on the squared weights, but for the bias and the slopes.
    """
    rng = np.random.default_rng(seed)
    x, y, weight = _examples(train, turns, rng)
    size = len(train.workers)
    # Shared effects of agreement and dissent are nearly free; each worker's own are pulled to none.
    agreeing = x[:, 1 : size + 1].sum(axis=1)
    dissenting = x[:, size + 1 : 2 * size + 1].sum(axis=1)
    x = np.column_stack([x, agreeing, dissenting, agreeing >= 2])
    ridge = np.full(x.shape[1], penalty)
    ridge[[0, *range(2 * size + 1, 2 * size + 6)]] = 0.1
    theta = np.zeros(x.shape[1])
    prior = np.zeros(x.shape[1])
    prior[2 * size + 1], prior[2 * size + 3], prior[2 * size + 4] = 0.5, 0.5, -0.5
    for _ in range(_STEPS):
        p = sigmoid(x @ theta)
        slope = x.T @ (weight * (p - y)) + ridge * (theta - prior)
        curve = (x * (weight * np.maximum(p * (1 - p), 1e-4))[:, None]).T @ x + np.diag(ridge)
        step = np.linalg.solve(curve, slope)
        theta = theta - step
        if np.abs(step).max() < 1e-6:
            break
    own = theta[1 : 2 * size + 1]
    agree_slope, dissent_slope, agree, dissent, pair = theta[2 * size + 1 :]
    return Vote(
        bias=float(theta[0]), agree=agree + own[:size], dissent=dissent + own[size:],
        agree_slope=float(agree_slope), dissent_slope=float(dissent_slope), herd=_herd(train),
        pair=float(pair),
    )  # fmt: skip


def _examples(
    train: Recorded, turns: int, rng: np.random.Generator
) -> tuple[Floats, Floats, Floats]:
    """Rows of the regression: one for each different answer of a random set of workers.

    An item's examples weigh as much as one example together with the others of its set size.
    """
    n, size = train.scores.shape
    same, p = train.same(), np.clip(train.forecast, 0.01, 0.99)
    logit = np.log(p / (1 - p))
    rows: list[Floats] = []
    labels: list[Floats] = []
    keep = min(n, max(1, _TARGET_ROWS // (_DRAWS * turns)))
    for count in range(1, min(turns, size) + 1):
        for _ in range(_DRAWS):
            pick = rng.choice(n, keep, replace=False)
            liking = logit[pick] + rng.gumbel(size=(keep, size))
            order = np.argsort(-liking, axis=1)[:, :count]
            asked = np.zeros((keep, size), dtype=bool)
            np.put_along_axis(asked, order, True, axis=1)
            first = asked & (train.answer[pick] >= 0)
            earlier = np.tril(np.ones((size, size), dtype=bool), -1)
            first &= ~(same[pick] & asked[:, None, :] & earlier).any(axis=2)
            item, author = np.nonzero(first)
            agree = same[pick][item, author] & asked[item]
            dissent = asked[item] & ~agree
            z = logit[pick][item]
            sums = np.stack([(agree * z).sum(axis=1), (dissent * z).sum(axis=1)], axis=1)
            rows.append(np.hstack([np.ones((len(item), 1)), agree, dissent, sums]))
            labels.append(train.scores[pick][item, author])
    x, y = np.concatenate(rows), np.concatenate(labels)
    return x, y, np.full(len(y), min(1.0, 2.0 * n / len(y)))


def _herd(train: Recorded) -> float:
    """Of two workers that are both wrong, how often they say the same; a little for what was not seen."""
    wrong = (train.scores < 0.5) & (train.answer >= 0)
    both = wrong[:, :, None] & wrong[:, None, :] & ~np.eye(len(train.workers), dtype=bool)
    return float(((train.same() & both).sum() + 1) / (both.sum() + 10))


def simple_heads(size: int) -> Floats:
    """Heads with few free numbers, to start from: what is gained, what is learned, less the price.

    Args:
        size: workers.

    Returns:
        One a row, ``[H, F + A]``; the first never asks twice.
    """
    never = [(0.0, -1.0, cost) for cost in _COSTS]
    tried = [(change, asks, cost) for change in _CHANGES for asks in _ASKS for cost in _COSTS]
    heads = []
    for change, asks, cost in never + tried:
        head = dict.fromkeys(FEATURES, 0.0)
        head |= {"gain": 1.0, "change": change, "cost": cost, "asks": asks}
        heads.append([*head.values(), *([0.0] * size)])
    return np.array(heads)
