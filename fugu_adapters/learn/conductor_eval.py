"""A conductor against single workers, votes, fixed workflows and the coordinator on recorded answers.

Of a workflow only steps that answer on their own can be replayed, and votes. A Mixture-of-Agents workflow (Wang et
al. 2024) is played as its proposers' weighted vote at the price of its aggregator's call, because what an
aggregator would have written was not recorded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fugu_adapters.evaluate.runner import Progress
from fugu_adapters.evaluate.votes import (
    Method,
    Played,
    Recorded,
    always,
    best_answer,
    best_column,
    early_vote,
    fit_cascade,
    fit_vote,
    majority,
)
from fugu_adapters.learn.conductor_fit import (
    Training,
    fit_conductor,
    fit_value,
    play_conductor,
    write_for,
)
from fugu_adapters.learn.conductor_replay import carry_out, order_of
from fugu_adapters.learn.coordinator_data import Suite
from fugu_adapters.learn.coordinator_eval import figures
from fugu_adapters.learn.coordinator_fit import EFFORTS as TRINITY
from fugu_adapters.learn.coordinator_fit import fit_coordinator
from fugu_adapters.learn.replay import play
from fugu_adapters.policies.conductor import EFFORTS, Conductor, Network, expected_asks
from fugu_adapters.policies.conductor import Value as _Value
from fugu_adapters.types import Effort
from fugu_adapters.workflow.compose import VOTING

__all__ = ["ConductorReport", "compare_conductors", "plain_conductors"]

Floats = NDArray[np.float64]

_EFFORT: Effort = "high"  # whose row is called ultra
_PROPOSERS = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class ConductorReport:
    """What all methods did on one suite's items to report.

    Attributes:
        suite: name.
        workers: the pool.
        items: to fit on, and to report.
        methods: figures by method.
        forecasts: by effort, forecast against actual: calls, dollars, right answers.
        notes: what was chosen, for people.
    """

    suite: str
    workers: tuple[str, ...]
    items: tuple[int, int]
    methods: Mapping[str, Mapping[str, Any]]
    forecasts: Mapping[str, Mapping[str, float]]
    notes: Mapping[str, str]


def compare_conductors(
    suites: Sequence[Suite],
    *,
    training: Training | None = None,
    seeds: int = 5,
    progress: Progress | None = None,
) -> list[ConductorReport]:
    """Train a conductor on all suites together, and on all but each one, and report every method on each.

    ``ultra`` is the shared conductor at high effort, trained on the items to fit on of every suite;
    ``ultra_from_elsewhere`` never saw the suite. Everything is chosen on the items to fit on.

    Args:
        suites: recorded answers.
        training: how conductors are trained.
        seeds: runs of whatever is random.
        progress: told after each training and each suite.
    """
    training = training or Training()
    fits = [suite.fit for suite in suites]
    jobs = seeds * (1 + len(suites) * (len(suites) > 1))
    done = 0

    def trained(trains: Sequence[Recorded], seed: int) -> Conductor:
        nonlocal done
        conductor = fit_conductor(trains, training, seed=seed)
        done += 1
        if progress is not None:
            progress("trainings", done, jobs)
        return conductor

    shared = [trained(fits, seed) for seed in range(seeds)]
    reports = []
    for suite in suites:
        others = [other.fit for other in suites if other.name != suite.name]
        elsewhere = [trained(others, seed) for seed in range(seeds)] if others else []
        reports.append(_compare(suite, shared, elsewhere, seeds))
    return reports


def _compare(
    suite: Suite, shared: Sequence[Conductor], elsewhere: Sequence[Conductor], seeds: int
) -> ConductorReport:
    fit, test = suite.fit, suite.test
    cost, single = fit.cost.mean(axis=0), best_column(fit)
    vote, weight = fit_vote(fit)
    order = [int(c) for c in np.argsort(-fit.scores.mean(axis=0), kind="stable")]
    ultra = [_ultra(each, cost) for each in shared]
    budget = float(np.mean([run(fit).cost.mean() for run in ultra]))
    cascade, stages = fit_cascade(fit, budget=budget)
    fresh = [Conductor(network=Network.untrained(seed=seed)) for seed in range(seeds)]
    fresh = [replace(each, value=fit_value(each, [fit], seed=n)) for n, each in enumerate(fresh)]
    methods: dict[str, list[Method]] = {
        "ultra": ultra,
        **{
            f"ultra_{effort}": [_ultra(each, cost, effort) for each in shared]
            for effort in EFFORTS
            if effort != _EFFORT
        },
        "ultra_at_once": [_ultra(each, cost, replan=False) for each in shared],
        "without_value": [_policy(each, cost) for each in shared],
        "untrained": [_policy(each, cost, seed=n) for n, each in enumerate(fresh)],
        "untrained_with_value": [_ultra(each, cost, seed=n) for n, each in enumerate(fresh)],
        **({"ultra_from_elsewhere": [_ultra(each, cost) for each in elsewhere]} if elsewhere else {}),
        "trinity": [
            _trinity(fit, _EFFORT, seed) for seed in range(seeds)
        ],
        "trinity_medium": [_trinity(fit, "medium", seed) for seed in range(seeds)],
        "selector": [always()],
        "best_single": [always(single)],
        "majority_vote": [majority],
        "majority_of_three": [_first(order[:_PROPOSERS])],
        "weighted_vote": [vote],
        "early_vote": [early_vote(weight, order)],
        "moa": [_moa(weight, order[:_PROPOSERS], single)],
        "cascade": [cascade],
        "oracle": [best_answer],
    }  # fmt: skip
    played = {name: [run(test) for run in each] for name, each in methods.items()}
    found = figures(played, test, "ultra")
    for name, each in methods.items():
        found[name]["orchestration_token_share"] = _share(each, test)
    return ConductorReport(
        suite=suite.name,
        workers=fit.workers,
        items=(len(fit), len(test)),
        methods=found,
        forecasts={
            effort: _forecasts(shared, test, cost, effort) for effort in EFFORTS
        },
        notes={
            "best single": fit.workers[single],
            "cascade": stages,
            "prices estimated": ", ".join(suite.estimated) or "none",
        },
    )  # fmt: skip


def _ultra(
    conductor: Conductor,
    cost: Floats,
    effort: Effort = _EFFORT,
    *,
    replan: bool = True,
    seed: int | None = None,
) -> Method:
    """The likeliest plan, or with a seed a drawn one, where it is worth more than one call."""

    def method(items: Recorded) -> Played:
        rng = None if seed is None else np.random.default_rng(seed)
        return play_conductor(conductor, items, cost, effort, replan=replan, rng=rng)

    return method


def _policy(conductor: Conductor, cost: Floats, *, seed: int | None = None) -> Method:
    """The likeliest plan, or with a seed a drawn one, whatever it is worth."""

    def method(items: Recorded) -> Played:
        rng = None if seed is None else np.random.default_rng(seed)
        sketches = write_for(conductor, items, cost, _EFFORT, rng=rng)
        return carry_out(items, order_of(sketches), VOTING, replan=True)

    return method


def _trinity(fit: Recorded, effort: Effort, seed: int) -> Method:
    coordinator, cost = fit_coordinator([fit], TRINITY[effort], seed=seed), fit.cost.mean(axis=0)
    return lambda items: play(coordinator, items, cost)


def _first(columns: Sequence[int]) -> Method:
    """The commonest answer of some workers; of equals the first."""
    place = np.full(max(columns) + 1, 0.0)
    place[list(columns)] = -1e-6 * np.arange(len(columns))

    def method(items: Recorded) -> Played:
        inner = items.same()[:, columns][:, :, columns].sum(axis=2) + place[list(columns)]
        return Played(
            choice=np.array(columns)[np.argmax(inner, axis=1)],
            calls=np.full(len(items), float(len(columns))),
            cost=items.cost[:, list(columns)].sum(axis=1),
        )

    return method


def _moa(weight: Floats, columns: Sequence[int], aggregator: int) -> Method:
    """Proposers' weighted vote, and one more call to the aggregator."""
    asked_weight = np.where(np.isin(np.arange(len(weight)), columns), weight, 0.0)

    def method(items: Recorded) -> Played:
        votes = items.same() @ asked_weight + 1e-6 * asked_weight
        votes = np.where(asked_weight > 0, votes, -1.0)
        cost = items.cost[:, list(columns)].sum(axis=1) + items.cost[:, aggregator]
        calls = np.full(len(items), len(columns) + 1.0)
        return Played(choice=np.argmax(votes, axis=1), calls=calls, cost=cost)

    return method


def _share(runs: Sequence[Method], items: Recorded) -> float | None:
    """Of the tokens written, the share outside of the answer; ``None`` where lengths are unknown."""
    if items.tokens is None:
        return None
    rows = np.flatnonzero(np.isfinite(items.tokens).all(axis=1))
    if len(rows) < 0.5 * len(items):
        return None
    known = items.take(rows)
    lengths = np.asarray(known.tokens)
    counted = replace(known, cost=lengths)  # what a method sums up as its cost
    shares = []
    for run in runs:
        played = run(counted)
        own = lengths[np.arange(len(rows)), played.choice]
        shares.append(float((1.0 - own / np.maximum(played.cost, 1.0)).mean()))
    return float(np.mean(shares))


def _forecasts(
    conductors: Sequence[Conductor], items: Recorded, cost: Floats, effort: Effort
) -> dict[str, float]:
    """What was forecast against what happened."""
    rows = []
    for conductor in conductors:
        sketches = write_for(conductor, items, cost, effort)
        order = order_of(sketches)
        played = carry_out(items, order, VOTING, replan=True)
        odds, voting = _Value().strengths(sketches, items.forecast)
        asks = expected_asks(odds, voting, VOTING)
        dollars = (asks * np.where(order >= 0, cost[np.maximum(order, 0)], 0.0)).sum(axis=1)
        error = np.abs(dollars - played.cost) / np.maximum(played.cost, 1e-12)
        right = conductor.value(sketches, items.forecast)
        rows.append((
            asks.sum(axis=1).mean(), played.calls.mean(), dollars.mean(), played.cost.mean(),
            np.median(error), right.mean(), played.score(items).mean(),
        ))  # fmt: skip
    names = ("calls", "actual_calls", "usd", "actual_usd", "median_error_usd", "right", "actual_right")  # fmt: skip
    return dict(zip(names, (float(each) for each in np.mean(rows, axis=0)), strict=True))


def plain_conductors(reports: Sequence[ConductorReport]) -> dict[str, Any]:
    """As JSON has it, a block a suite."""
    return {
        "suites": {
            report.suite: {
                "workers": list(report.workers),
                "items": {"fit": report.items[0], "test": report.items[1]},
                "methods": {name: dict(each) for name, each in report.methods.items()},
                "forecasts": {name: dict(each) for name, each in report.forecasts.items()},
                "notes": dict(report.notes),
            }
            for report in reports
        }
    }
