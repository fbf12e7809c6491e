"""Fit a coordinator to the recorded answers of one pool or of many, and find out whether asking more pays."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fugu_adapters.errors import InputError
from fugu_adapters.evaluate.votes import Played, Recorded, always, best_column
from fugu_adapters.learn.evolve import (
    Budget,
    Fitness,
    Progress,
    best_of,
    evolve,
    random_search,
    reinforce,
)
from fugu_adapters.learn.logistic import fit_logistic
from fugu_adapters.learn.replay import Price, Replay, play
from fugu_adapters.policies.coordinator import Coordinator, Trust
from fugu_adapters.types import Effort

__all__ = [
    "EFFORTS",
    "SEARCHES",
    "Fitted",
    "Headroom",
    "Plan",
    "fit_coordinator",
    "fit_efforts",
    "headroom",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

_LOW = np.array([-0.5, 0.0, 0.5])
_HIGH = np.array([2.5, 0.3, 8.0])
"""Of lift, the square root of thrift, and enough."""
_FOLDS = 5

SEARCHES = ("evolved", "random_search", "reinforce", "supervised")
"""Ways of finding the numbers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a coordinator is fitted for.

    Attributes:
        cap: answers that are asked for at most.
        price: what is taken off the score.
        search: one of :data:`SEARCHES`.
        budget: of the search.
        certainty: standard errors that the gain over one call has to be above 0 by.
    """

    cap: int = 4
    price: Price = field(default_factory=Price)
    search: str = "evolved"
    budget: Budget = field(default_factory=Budget)
    certainty: float = 0.5


EFFORTS: Mapping[Effort, Plan] = {
    "low": Plan(cap=2, price=Price(call=0.005, spend=0.01)),
    "medium": Plan(cap=3),
    "high": Plan(cap=4),
    "xhigh": Plan(cap=5, price=Price(call=0.0, spend=0.0, calls=5.0)),
}
"""What each effort is worth: its bound on calls, and its prices."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Headroom:
    """What asking on gains over one call, price taken off.

    Attributes:
        gain: mean.
        error: its standard error.
        single: column of the best single worker, where one call to it is better than the selector's choice.
        pays: whether more than one call is worth it.
    """

    gain: float
    error: float
    single: int | None
    pays: bool

    def __str__(self) -> str:
        said = "asks on where it pays" if self.pays else "no headroom: stays with one call"
        return (
            f"{said} ({100 * self.gain:+.2f} points net of price over one call, on held-out folds, "
            f"standard error {100 * self.error:.2f})"
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """A coordinator for one pool.

    Attributes:
        coordinator: what was found.
        cost: mean dollars of a call to each worker, ``[A]``.
        headroom: whether it is worth using.
    """

    coordinator: Coordinator
    cost: Floats
    headroom: Headroom

    def play(self, items: Recorded) -> Played:
        """As it would ship: where more calls do not pay, with one."""
        if self.headroom.pays:
            return play(self.coordinator, items, self.cost)
        return always(self.headroom.single)(items)


def fit_coordinator(
    trains: Sequence[Recorded],
    plan: Plan | None = None,
    *,
    seed: int = 0,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> Coordinator:
    """The numbers that are best on average over some pools, each counted alike.

    Args:
        trains: recorded answers whose forecasts were made without them, one a pool.
        plan: what for.
        seed: of the search, and of each generation's episodes.
        checkpoint: file that an evolution keeps its state in, and goes on from.
        progress: told of every generation of an evolution.

    Raises:
        InputError: no pool, fewer than 20 items or two workers in one, or an unknown search.
    """
    plan = plan or Plan()
    for train in trains:
        if len(train) < 20 or len(train.workers) < 2:
            raise InputError(
                f"expected at least 20 items and two workers, got {len(train)} and {len(train.workers)}"
            )
    if not trains:
        raise InputError("expected recorded answers of at least one pool, got none")
    if plan.search not in SEARCHES:
        raise InputError(f"search: expected one of {', '.join(SEARCHES)}, got {plan.search!r}")
    replays = [Replay(train, plan.price) for train in trains]
    start, fitness = _numbers(Coordinator(cap=plan.cap)), _fitness(replays, plan, seed)
    match plan.search:
        case "evolved":
            found = evolve(
                fitness,
                start,
                budget=plan.budget,
                seed=seed,
                checkpoint=checkpoint,
                progress=progress,
            )
        case "random_search":
            found = random_search(fitness, start, budget=plan.budget, seed=seed)
        case "reinforce":
            found = reinforce(fitness, start, budget=plan.budget, seed=seed)
        case _:
            found = best_of(fitness, start, _supervised(replays, plan.cap))
    coordinator = _coordinator(found, plan.cap)
    return replace(coordinator, trust=_trust(coordinator, replays))


def fit_efforts(
    trains: Sequence[Recorded],
    *,
    search: str = "evolved",
    generations: int | None = None,
    seed: int = 0,
    checkpoints: Path | None = None,
    progress: Callable[[Effort, int, float], None] | None = None,
) -> dict[Effort, Coordinator]:
    """A coordinator for each effort; see :func:`fit_coordinator`.

    Args:
        trains: recorded answers, one a pool.
        search: one of :data:`SEARCHES`.
        generations: of the search; as in :class:`Budget` where not given.
        seed: of the searches.
        checkpoints: folder that evolutions keep their states in, and go on from.
        progress: told the effort, the generation and its reward.
    """
    found: dict[Effort, Coordinator] = {}
    for effort, plan in EFFORTS.items():
        budget = plan.budget if generations is None else Budget(generations=generations)
        found[effort] = fit_coordinator(
            trains, replace(plan, search=search, budget=budget), seed=seed,
            checkpoint=None if checkpoints is None else checkpoints / f"{effort}.safetensors",
            progress=None if progress is None else functools.partial(progress, effort),
        )  # fmt: skip
    return found


def headroom(train: Recorded, plan: Plan | None = None, *, seed: int = 0) -> Headroom:
    """Whether asking on pays in a pool, by folds: fitted to some items and played on others.

    Args:
        train: recorded answers, with forecasts made without them.
        plan: what for.
        seed: of the folds and fits.
    """
    plan = plan or Plan()
    n = len(train)
    fold = np.random.default_rng(seed).permutation(n) % _FOLDS
    rewards = {name: np.zeros(n) for name in ("asks", "single", "selector")}
    for part in range(_FOLDS):
        inner, held = train.take(np.flatnonzero(fold != part)), np.flatnonzero(fold == part)
        items, replay = train.take(held), Replay(inner, plan.price)
        methods = {
            "asks": play(fit_coordinator([inner], plan, seed=seed), items, replay.cost),
            "single": always(best_column(inner))(items),
            "selector": always()(items),
        }
        for name, played in methods.items():
            rewards[name][held] = replay.reward(items, played)
    alone = max(("selector", "single"), key=lambda name: float(rewards[name].mean()))
    gain = rewards["asks"] - rewards[alone]
    mean, error = float(gain.mean()), float(gain.std() / np.sqrt(n))
    return Headroom(
        gain=mean, error=error, pays=mean > max(0.0, plan.certainty * error),
        single=best_column(train) if alone == "single" else None,
    )  # fmt: skip


def _numbers(coordinator: Coordinator) -> Floats:
    """Of a coordinator, each 0 to 1, ``[3]``."""
    raw: Floats = np.array([coordinator.lift, np.sqrt(coordinator.thrift), coordinator.enough])
    numbers: Floats = (raw - _LOW) / (_HIGH - _LOW)
    return numbers


def _coordinator(numbers: Floats, cap: int) -> Coordinator:
    lift, root, enough = (float(each) for each in _LOW + numbers * (_HIGH - _LOW))
    return Coordinator(lift=lift, thrift=root**2, enough=enough, cap=cap)


def _fitness(replays: Sequence[Replay], plan: Plan, seed: int) -> Fitness:
    """Mean over pools, on a generation's items and workers, which are the same for all of it."""
    drawn: dict[int, list[tuple[Ints, Flags | None]]] = {}

    def fitness(numbers: Floats, number: int | None) -> float:
        coordinator = _coordinator(numbers, plan.cap)
        if number is None:
            return float(np.mean([replay.fitness(coordinator) for replay in replays]))
        if number not in drawn:
            drawn.clear()
            rng = np.random.default_rng([seed, number])
            drawn[number] = [_episodes(replay, plan.budget, rng) for replay in replays]
        each = zip(replays, drawn[number], strict=True)
        return float(np.mean([replay.fitness(coordinator, *episodes) for replay, episodes in each]))

    return fitness


def _episodes(
    replay: Replay, budget: Budget, rng: np.random.Generator
) -> tuple[Ints, Flags | None]:
    """Items, and who may be asked on each."""
    n, size = len(replay), len(replay.items.workers)
    few = n <= budget.episodes
    rows = np.arange(n) if few else rng.choice(n, budget.episodes, replace=False)
    if budget.keep >= 1:
        return rows, None
    count = max(1, round(budget.keep * size))
    return rows, np.argsort(rng.random((len(rows), size)), axis=1) < count


def _supervised(replays: Sequence[Replay], cap: int) -> Floats:
    """From single turns only: the lift that calibrates answers, and the lead at which a second one stops paying."""
    plain = Coordinator(thrift=0.0, enough=99.0)
    odds = [plain.odds(replay.items.forecast) for replay in replays]
    right = np.concatenate([replay.items.scores.ravel() for replay in replays])
    flat = np.concatenate([each.ravel() for each in odds])
    lift = fit_logistic(np.ones((len(flat), 1)), right, offset=flat)[0]
    leads, gains = [], []
    for replay, each in zip(replays, odds, strict=True):
        first, second = (
            play(replace(plain, lift=lift, cap=calls), replay.items, replay.cost)
            for calls in (1, 2)
        )
        leads.append(each[np.arange(len(replay)), first.choice] + lift)
        gains.append(replay.reward(replay.items, second) - replay.reward(replay.items, first))
    lead = np.concatenate(leads)
    order = np.argsort(lead)
    gained = np.cumsum(np.concatenate(gains)[order])
    found = replace(plain, lift=lift, enough=float(lead[order[int(np.argmax(gained))]]), cap=cap)
    numbers: Floats = np.clip(_numbers(found), 0.0, 1.0)
    return numbers


def _trust(coordinator: Coordinator, replays: Sequence[Replay]) -> Trust:
    """Logistic regression of whether the answer is right on the lead and its author's log-odds, pools alike."""
    xs, ys, weights = [], [], []
    says_lead = Trust(bias=0.0, lead=1.0, forecast=0.0)
    bare = replace(coordinator, trust=says_lead)
    for replay in replays:
        played, rows = play(bare, replay.items, replay.cost), np.arange(len(replay))
        odds = coordinator.odds(replay.items.forecast)[rows, played.choice]
        said = np.clip(np.asarray(played.trust), 1e-6, 1 - 1e-6)
        xs.append(np.column_stack([np.ones(len(replay)), np.log(said / (1 - said)), odds]))
        ys.append(played.score(replay.items))
        weights.append(np.full(len(replay), 1.0 / len(replay)))
    weight = np.concatenate(weights)
    weight *= len(weight) / weight.sum()
    bias, lead, forecast = fit_logistic(np.concatenate(xs), np.concatenate(ys), weight=weight)
    return Trust(bias=bias, lead=lead, forecast=forecast)
