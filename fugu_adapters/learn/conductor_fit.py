"""Train a conductor on recorded answers: its policy by GRPO, its value by logistic regression."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fugu_adapters.errors import InputError
from fugu_adapters.evaluate.votes import Played, Recorded
from fugu_adapters.learn.conductor_replay import Recordings, carry_out, order_of
from fugu_adapters.learn.grpo import Recipe, grpo
from fugu_adapters.learn.logistic import fit_logistic
from fugu_adapters.policies.conductor import (
    EFFORTS,
    Board,
    Conductor,
    Move,
    Network,
    Sketch,
    Value,
    expected_asks,
    vote_right,
)
from fugu_adapters.types import Effort
from fugu_adapters.workflow.compose import SELDOM, VOTING

__all__ = [
    "Training",
    "answer_sketches",
    "fit_conductor",
    "fit_value",
    "play_conductor",
    "write_for",
]

Floats = NDArray[np.float64]
Progress = Callable[[int, float], None]

_ORDER: tuple[Effort, ...] = tuple(EFFORTS)
_CLIP = 1e-3
_ALIKE = (0.0, 0.1, 0.25, 0.5, 0.75)


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """How a conductor is trained.

    Attributes:
        recipe: of the policy.
        disagreeing: share of the drawn items on which workers differ in score; as they come where not given.
        subsets: whether each request has a random part of the pool.
        replan: whether votes end once they are decided.
    """

    recipe: Recipe = field(default_factory=lambda: Recipe(iterations=200, groups=64))
    disagreeing: float | None = None
    subsets: bool = True
    replan: bool = True

    @classmethod
    def of(cls, iterations: int) -> Training:
        """As usual, with so many iterations."""
        return cls(recipe=replace(cls().recipe, iterations=iterations))


def fit_conductor(
    trains: Sequence[Recorded],
    training: Training | None = None,
    *,
    seed: int = 0,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> Conductor:
    """A conductor for some pools, each counted alike.

    Args:
        trains: recorded answers whose forecasts were made without them, one a pool.
        training: how.
        seed: of the start, the requests and the draws.
        checkpoint: file that the training keeps its state in, and goes on from.
        progress: told of every iteration.

    Raises:
        InputError: no pool, or fewer than 20 items or two workers in one.
    """
    training = training or Training()
    if not trains:
        raise InputError("expected recorded answers of at least one pool, got none")
    for train in trains:
        if len(train) < 20 or len(train.workers) < 2:
            raise InputError(
                f"expected at least 20 items and two workers, got {len(train)} and {len(train.workers)}"
            )
    means = tuple(EFFORTS.values())
    scenes = [
        Recordings(
            train,
            tuple(each.price for each in means),
            tuple(each.steps for each in means),
            disagreeing=training.disagreeing,
            subsets=training.subsets,
            replan=training.replan,
        )
        for train in trains
    ]
    network = grpo(
        scenes,
        Network.untrained(seed=seed),
        training.recipe,
        seed=seed,
        checkpoint=checkpoint,
        progress=progress,
    )
    rounded = Network(
        **{
            name: getattr(network, name).astype(np.float32).astype(np.float64)
            for name in ("hidden", "bias", "out", "skip")
        }
    )
    bare = Conductor(network=rounded)
    return replace(bare, value=fit_value(bare, trains, seed=seed, replan=training.replan))


def fit_value(
    conductor: Conductor, trains: Sequence[Recorded], *, seed: int = 0, replan: bool = True
) -> Value:
    """How probably plans are right, from plans that the policy draws for the items, pools alike."""
    rng = np.random.default_rng([seed, 1])
    odds_, voting_, ys, weights = [], [], [], []
    for train in trains:
        for effort in _ORDER:
            sketches = write_for(conductor, train, train.cost.mean(axis=0), effort, rng=rng)
            odds, voting = Value().strengths(sketches, train.forecast)
            odds_.append(odds)
            voting_.append(voting)
            played = carry_out(train, order_of(sketches), VOTING, replan=replan)
            ys.append(played.score(train))
            weights.append(np.full(len(odds), 1.0 / len(odds)))
    odds, voting, y = np.concatenate(odds_), np.concatenate(voting_), np.concatenate(ys)
    weight = np.concatenate(weights)
    weight *= len(weight) / weight.sum()
    best = np.where(voting, odds, -np.inf).max(axis=1)
    single = voting.sum(axis=1) == 1
    x = np.column_stack([np.ones(len(y)), best])
    bias, slope = fit_logistic(x[single], y[single], weight=weight[single])
    found, least = Value(bias=bias, slope=slope, share=0.0), np.inf
    residual = y - 1 / (1 + np.exp(-x @ [bias, slope]))
    for alike in _ALIKE if (~single).any() else ():
        more = vote_right(odds, voting, alike=alike) - 1 / (1 + np.exp(-best))
        w, m, r = (each[~single] for each in (weight, more, residual))
        share = float(np.clip((w * m * r).sum() / max((w * m * m).sum(), _CLIP), 0.0, 1.0))
        loss = float((w * (r - share * m) ** 2).mean())
        if loss < least:
            least, found = loss, replace(found, share=share, alike=alike)
    return found


def write_for(
    conductor: Conductor,
    items: Recorded,
    cost: Floats,
    effort: Effort,
    *,
    rng: np.random.Generator | None = None,
) -> list[Sketch]:
    """Plans for items: the likeliest ones, or drawn."""
    board = Board(
        items.forecast,
        cost,
        np.array([_ORDER.index(effort)]),
        most=EFFORTS[effort].steps,
        kinds=("answer",),
    )
    return conductor.write(board, rng=rng)


def answer_sketches(order: NDArray[np.int64]) -> list[Sketch]:
    """Plans of steps that answer on their own, by columns in order, -1 for nobody, ``[n, S]``."""
    return [
        Sketch(moves=tuple(Move(kind="answer", worker=int(c)) for c in row if c >= 0))
        for row in order
    ]


def play_conductor(
    conductor: Conductor,
    items: Recorded,
    cost: Floats,
    effort: Effort,
    *,
    replan: bool = True,
    rng: np.random.Generator | None = None,
) -> Played:
    """What ``fugu-ultra`` does on recorded items: the policy's plan, or one call where that is worth more.

    Args:
        conductor: writes and values.
        items: recorded answers.
        cost: expected dollars of a call to each worker, ``[A]``.
        effort: bounds steps, prices calls.
        replan: whether a vote ends once it is decided.
        rng: draws plans in place of taking the likeliest.
    """
    sketches = _trimmed(write_for(conductor, items, cost, effort, rng=rng), items.forecast)
    first = np.argmax(items.forecast, axis=1)
    alone = answer_sketches(first[:, None])
    worth = [_worth(conductor, each, items, cost, effort) for each in (alone, sketches)]
    chosen = [b if w1 > w0 else a for a, b, w0, w1 in zip(alone, sketches, *worth, strict=True)]
    return carry_out(items, order_of(chosen), VOTING, replan=replan)


def _trimmed(sketches: Sequence[Sketch], forecast: Floats) -> list[Sketch]:
    """Without the steps that will hardly be taken."""
    asks = expected_asks(*Value().strengths(sketches, forecast), VOTING)
    return [
        sketch.first(max(1, int((row[: len(sketch.moves)] >= SELDOM).sum())))
        for sketch, row in zip(sketches, asks, strict=True)
    ]


def _worth(
    conductor: Conductor, sketches: Sequence[Sketch], items: Recorded, cost: Floats, effort: Effort
) -> Floats:
    price, order = EFFORTS[effort].price, order_of(sketches)
    odds, voting = Value().strengths(sketches, items.forecast)
    asks = expected_asks(odds, voting, VOTING)
    best = np.maximum(cost[np.argmax(items.forecast, axis=1)], 1e-12)
    spent = (asks * np.where(order >= 0, cost[np.maximum(order, 0)], 0.0)).sum(axis=1)
    worth: Floats = (
        conductor.value(sketches, items.forecast)
        - price.call * (asks.sum(axis=1) - 1)
        - price.spend * spent / best
    )
    return worth
