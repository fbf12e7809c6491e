"""Episodes over recorded answers: a coordinator asks workers one after another, at no cost, many at once.

An episode is an item and the workers that may be asked. Its reward is the score of the answer that leads at
the end, less what the calls cost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fugu_adapters.evaluate.votes import Played, Recorded, best_column
from fugu_adapters.policies.coordinator import Coordinator

__all__ = ["Price", "Replay", "play"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class Price:
    """What is taken off the score.

    Attributes:
        call: for every call after the first.
        spend: for as many dollars as one call of the best single worker costs.
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
        price: what is taken off the score.
    """

    def __init__(self, items: Recorded, price: Price | None = None) -> None:
        self.items, self.price = items, price or Price()
        self.cost: Floats = items.cost.mean(axis=0)
        """Mean dollars of a call to each worker, ``[A]``."""
        self.reference = max(float(self.cost[best_column(items)]), 1e-9)

    def __len__(self) -> int:
        return len(self.items)

    def fitness(
        self,
        coordinator: Coordinator,
        rows: Ints | None = None,
        available: Flags | None = None,
    ) -> float:
        """Mean reward of some items, or all, less what too many calls cost."""
        items = self.items if rows is None else self.items.take(rows)
        played = play(coordinator, items, self.cost, available)
        too_many = max(0.0, float(played.calls.mean()) - self.price.calls)
        return float(self.reward(items, played).mean()) - self.price.over * too_many

    def reward(self, items: Recorded, played: Played) -> Floats:
        """Score less price, ``[n]``."""
        spent = played.cost / self.reference
        reward: Floats = (
            played.score(items) - self.price.call * (played.calls - 1.0) - self.price.spend * spent
        )
        return reward


def play(
    coordinator: Coordinator, items: Recorded, cost: Floats, available: Flags | None = None
) -> Played:
    """What :meth:`Coordinator.decide` does on every item, all at once.

    Args:
        coordinator: decides.
        items: recorded answers.
        cost: expected dollars of a call to each worker, ``[A]``.
        available: workers that may be asked, at least one an item, ``[n, A]``; all where not given.
    """
    n, size = items.forecast.shape
    odds = coordinator.odds(items.forecast)
    weight = coordinator.weigh(odds)
    rank = coordinator.rank(items.forecast, cost)
    if available is not None:
        rank = np.where(available, rank, -np.inf)
    cap = min(coordinator.cap, size)
    order = np.argsort(-rank, axis=1, kind="stable")[:, :cap]
    places = np.take_along_axis(weight, order, axis=1)
    if available is not None:
        places = places * np.take_along_axis(available, order, axis=1)
    open_ = places.sum(axis=1)[:, None] - np.cumsum(places, axis=1)
    asked = np.zeros((n, size), dtype=bool)
    votes, ahead = np.zeros((n, size)), np.zeros(n)
    going = np.arange(n)
    for turn in range(cap):
        column = order[going, turn]
        asked[going, column] = True
        said = items.answer[going]
        mine = said[np.arange(len(going)), column][:, None]
        votes[going] += ((said == mine) & (mine >= 0)) * weight[going, column][:, None]
        told = np.where(asked[going], votes[going], 0.0)
        top = np.argmax(told, axis=1)
        best = told[np.arange(len(going)), top]
        leading = said == said[np.arange(len(going)), top][:, None]
        ahead[going] = best - np.where(leading, 0.0, told).max(axis=1)
        done = (ahead[going] > open_[going, turn] + 1e-12) | (ahead[going] >= coordinator.enough)
        if available is not None and turn + 1 < cap:
            done |= ~available[going, order[going, turn + 1]]
        going = going[~done]
        if not len(going):
            break
    lead: Ints = np.argmax(np.where(asked, votes + 1e-6 * weight, -1.0), axis=1)
    trust = coordinator.trust(ahead, odds[np.arange(n), lead])
    trust = np.where(items.answer[np.arange(n), lead] < 0, 0.0, trust)
    return Played(
        choice=lead, calls=asked.sum(axis=1).astype(np.float64),
        cost=np.where(asked, items.cost, 0.0).sum(axis=1), trust=trust,
    )  # fmt: skip
