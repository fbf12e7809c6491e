"""Fit a coordinator to recorded answers: the vote, a simple head, a search from it, and whether it pays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fugu_adapters.errors import InputError
from fugu_adapters.evaluate.votes import Played, Recorded, always, best_column
from fugu_adapters.learn.evolve import SEARCHES, Budget
from fugu_adapters.learn.replay import (
    Price,
    Replay,
    fit_coordinator_vote,
    reference_cost,
    simple_heads,
)
from fugu_adapters.policies.coordinator import Coordinator

__all__ = ["FitPlan", "Fitted", "fit_coordinator"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_ROWS = 2_000  # items that simple heads are compared on
_GAIN_ROWS = 4_000  # items that it is tested on whether more than one call pays


@dataclass(frozen=True, kw_only=True, slots=True)
class FitPlan:
    """How a coordinator is fitted.

    Attributes:
        search: one of :data:`~fugu_adapters.learn.evolve.SEARCHES`.
        budget: of the search.
        price: what calls cost in the reward.
        turns: answers that are asked for at most.
        folds: parts of the items in which it is tested whether more than one call pays.
        certainty: standard errors that the gain has to be above 0 by.
    """

    search: str = "evolved"
    budget: Budget = field(default_factory=Budget)
    price: Price = field(default_factory=Price)
    turns: int = 5
    folds: int = 3
    certainty: float = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """A coordinator, or the finding that one call is enough.

    Attributes:
        coordinator: what was trained.
        start: what training started from.
        single: column of the best single worker.
        pays: whether more than one call is worth it; where not, the single worker is all that is asked.
        reference: dollars of one call of the single worker.
        notes: what was found, for people.
    """

    coordinator: Coordinator
    start: Coordinator
    single: int
    pays: bool
    reference: float
    notes: Mapping[str, Any]

    def play(self, items: Recorded) -> Played:
        """As it would ship."""
        return _play(self.coordinator, items, self.reference) if self.pays else always(self.single)(items)  # fmt: skip

    def simple(self, items: Recorded) -> Played:
        """The head that training started from, whether or not it pays."""
        return _play(self.start, items, self.reference)


def fit_coordinator(train: Recorded, plan: FitPlan | None = None, *, seed: int = 0) -> Fitted:
    """Fit to recorded answers whose forecasts were made without them.

    Args:
        train: what to fit on.
        plan: how.
        seed: of the vote's examples and of the search.

    Raises:
        InputError: fewer than 20 items or two workers, or an unknown search.
    """
    plan = plan or FitPlan()
    if len(train) < 20 or len(train.workers) < 2:
        raise InputError(
            f"expected at least 20 items and two workers, got {len(train)} and {len(train.workers)}"
        )
    if plan.search not in SEARCHES:
        raise InputError(f"search: expected one of {', '.join(SEARCHES)}, got {plan.search!r}")
    start, replay = _start(train, plan, seed)
    best = SEARCHES[plan.search](replay, start, budget=plan.budget, seed=seed)
    gain = _gain(train, plan, seed)
    mean, error = float(gain.mean()), float(gain.std() / np.sqrt(len(gain)))
    pays = mean > plan.certainty * error and mean > 0
    notes = {
        "headroom": f"{100 * mean:+.2f} points net of price on held-out folds, standard error {100 * error:.2f}",
        "decision": "asks on where it pays" if pays else "no headroom: stays with one call",
        "start": round(float(replay.reward(replay.play(start)).mean()), 4),
        "trained": round(float(replay.reward(replay.play(best)).mean()), 4),
    }
    return Fitted(
        coordinator=best, start=start, single=best_column(train), pays=pays,
        reference=replay.reference, notes=notes,
    )  # fmt: skip


def _start(train: Recorded, plan: FitPlan, seed: int) -> tuple[Coordinator, Replay]:
    """The vote and the best of the simple heads, with the environment that they were chosen in."""
    reference, cost = reference_cost(train)
    vote = fit_coordinator_vote(train, turns=plan.turns, seed=seed)
    heads = simple_heads(len(train.workers))
    rows = np.random.default_rng(seed).permutation(len(train))[:_ROWS]
    part = Replay(train.take(rows), vote, plan.price, reference)
    blank = Coordinator(
        workers=train.workers, vote=vote, cost=cost, head=heads[0], turns=plan.turns
    )
    best = int(np.argmax([part.fitness(part.play(blank.with_head(head))) for head in heads]))
    return blank.with_head(heads[best]), Replay(train, vote, plan.price, reference)


def _gain(train: Recorded, plan: FitPlan, seed: int) -> Floats:
    """What a simple head gains on the best single worker, price taken off, on items it was not fitted to."""
    train = train.take(np.random.default_rng(seed).permutation(len(train))[:_GAIN_ROWS])
    n = len(train)
    parts = np.array_split(np.arange(n), plan.folds)
    gain = np.zeros(n)
    for held in parts:
        inner = train.take(np.setdiff1d(np.arange(n), held))
        start, fitted = _start(inner, plan, seed)
        part = train.take(held)
        replay = Replay(part, start.vote, plan.price, fitted.reference)
        alone = always(best_column(inner))(part)
        gain[held] = replay.reward(replay.play(start)) - replay.reward(alone)
    return gain


def _play(coordinator: Coordinator, items: Recorded, reference: float) -> Played:
    return Replay(items, coordinator.vote, Price(), reference).play(coordinator)
