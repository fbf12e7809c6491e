"""Workflows over recorded answers: steps that answer on their own, and a vote.

What a step writes that sees other steps was never recorded, so that plans, checks and merged answers do not exist
here. The vote and its weights are those of the engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fugu_adapters.evaluate.votes import Played, Recorded
from fugu_adapters.policies.conductor import STEPS, Board, Price, Sketch
from fugu_adapters.policies.coordinator import Coordinator

__all__ = ["Recordings", "carry_out", "order_of"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

_LEAST = 2  # workers of a random pool


def carry_out(
    items: Recorded,
    order: Ints,
    coordinator: Coordinator | None = None,
    *,
    replan: bool = False,
) -> Played:
    """Ask some workers of each item, and take the vote of their answers.

    Args:
        items: recorded answers.
        order: columns of who answers, in the order of the plan, -1 for nobody, at least one, ``[n, S]``.
        coordinator: weighs answers.
        replan: whether those are not asked whose answers can change nothing any more, or hardly.
    """
    coordinator = coordinator or Coordinator()
    n, size = items.forecast.shape
    weight = coordinator.weigh(coordinator.odds(items.forecast))
    asked = np.zeros((n, size), dtype=bool)
    votes = np.zeros((n, size))
    places = np.where(order >= 0, np.take_along_axis(weight, np.maximum(order, 0), axis=1), 0.0)
    open_ = places.sum(axis=1)[:, None] - np.cumsum(places, axis=1)
    going = np.arange(n)
    for turn in range(order.shape[1]):
        going = going[order[going, turn] >= 0]
        column = order[going, turn]
        asked[going, column] = True
        said = items.answer[going]
        mine = said[np.arange(len(going)), column][:, None]
        votes[going] += ((said == mine) & (mine >= 0)) * weight[going, column][:, None]
        if not replan:
            continue
        told = np.where(asked[going], votes[going], 0.0)
        top = np.argmax(told, axis=1)
        here = np.arange(len(going))
        leading = said == said[here, top][:, None]
        ahead = told[here, top] - np.where(leading, 0.0, told).max(axis=1)
        going = going[(ahead <= open_[going, turn]) & (ahead < coordinator.enough)]
    return Played(
        choice=np.argmax(np.where(asked, votes + 1e-6 * weight, -1.0), axis=1),
        calls=asked.sum(axis=1).astype(np.float64),
        cost=np.where(asked, items.cost, 0.0).sum(axis=1),
    )


class Recordings:
    """Recorded answers as requests to plan for.

    Args:
        items: what was recorded.
        prices: what is taken off, for each effort from low to xhigh.
        steps: at most, for each effort.
        disagreeing: share of the drawn items on which workers differ in score; as they come where not given.
        subsets: whether each request has a random part of the pool.
        replan: as in :func:`carry_out`.
    """

    def __init__(
        self,
        items: Recorded,
        prices: tuple[Price, ...],
        steps: tuple[int, ...],
        *,
        disagreeing: float | None = None,
        subsets: bool = True,
        replan: bool = False,
    ) -> None:
        self.items, self.prices, self.subsets, self.replan = items, prices, subsets, replan
        self.steps = np.array(steps)
        self.cost: Floats = items.cost.mean(axis=0)
        self._split = np.ptp(items.scores, axis=1) > 0
        self._share = disagreeing

    def draw(self, groups: int, rollouts: int, rng: np.random.Generator) -> _Played:
        """Random requests, efforts and pools, the same within a group."""
        rows = np.repeat(self._rows(groups, rng), rollouts)
        effort = np.repeat(rng.integers(0, len(self.prices), groups), rollouts)
        size = len(self.items.workers)
        there = np.ones((groups, size), dtype=bool)
        if self.subsets and size > _LEAST:
            keep = rng.integers(_LEAST, size + 1, groups)
            there = np.argsort(rng.random((groups, size)), axis=1).argsort(axis=1) < keep[:, None]
        return _Played(self, rows, effort, np.repeat(there, rollouts, axis=0))

    def _rows(self, groups: int, rng: np.random.Generator) -> Ints:
        if self._share is None or self._split.all() or not self._split.any():
            return rng.integers(0, len(self.items), groups)
        split = rng.random(groups) < self._share
        among = (np.flatnonzero(~self._split), np.flatnonzero(self._split))
        rows: Ints = np.where(split, rng.choice(among[1], groups), rng.choice(among[0], groups))
        return rows


@dataclass
class _Played:
    """Plans for some recorded items."""

    of: Recordings
    rows: Ints
    effort: Ints
    there: Flags

    def __post_init__(self) -> None:
        items = self.of.items
        self.board = Board(
            items.forecast[self.rows],
            self.of.cost,
            self.effort,
            there=self.there,
            most=self.of.steps[self.effort],
            kinds=("answer",),
        )

    def rewards(self) -> Floats:
        """Half for a plan, half for a right answer, less the price of its calls."""
        items = self.of.items.take(self.rows)
        played = carry_out(items, order_of(self.board.sketches()), replan=self.of.replan)
        rows = np.arange(len(items))
        best = np.argmax(np.where(self.there, items.forecast, -1.0), axis=1)
        spent = played.cost / np.maximum(self.of.cost[best], 1e-12)
        call = np.array([price.call for price in self.of.prices])[self.effort]
        spend = np.array([price.spend for price in self.of.prices])[self.effort]
        price = call * (played.calls - 1) + spend * spent
        rewards: Floats = 0.5 + 0.5 * (items.scores[rows, played.choice] - price)
        return rewards


def order_of(sketches: Sequence[Sketch]) -> Ints:
    """Who answers, in order, -1 for nobody, ``[R, 5]``."""
    order = np.full((len(sketches), STEPS), -1, dtype=np.int64)
    for row, sketch in enumerate(sketches):
        order[row, : len(sketch.moves)] = [move.worker for move in sketch.moves]
    return order
