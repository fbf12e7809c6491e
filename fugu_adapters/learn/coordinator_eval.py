"""A coordinator against votes, cascades and single workers on recorded answers that nothing was fitted to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fugu_adapters.evaluate.runner import Progress
from fugu_adapters.evaluate.statistics import bootstrap_mean, paired_bootstrap
from fugu_adapters.evaluate.votes import (
    Method,
    Played,
    Recorded,
    accepted,
    always,
    best_answer,
    best_column,
    early_vote,
    fit_acceptance,
    fit_cascade,
    fit_vote,
    majority,
)
from fugu_adapters.learn.coordinator_data import Suite
from fugu_adapters.learn.coordinator_fit import (
    EFFORTS,
    SEARCHES,
    Fitted,
    fit_coordinator,
    headroom,
)
from fugu_adapters.learn.replay import play
from fugu_adapters.policies.coordinator import Coordinator
from fugu_adapters.types import Effort

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["SuiteReport", "compare_suites", "figures", "notes_of", "plain", "suite_table"]

Floats = NDArray[np.float64]

_EFFORT: Effort = "high"  # whose row is called trinity
_MANY = 99.0  # a lead that is never reached


@dataclass(frozen=True, kw_only=True, eq=False)
class SuiteReport:
    """What all methods did on one suite's items to report.

    Attributes:
        suite: name.
        workers: the pool.
        items: to fit on, and to report.
        methods: figures by method.
        acceptance: figures by effort: the answers that are accepted without a human, and how many are wrong.
        half_pools: figures on random halves of the pool, against the best single worker of each half.
        notes: what was chosen, for people.
    """

    suite: str
    workers: tuple[str, ...]
    items: tuple[int, int]
    methods: Mapping[str, Mapping[str, Any]]
    acceptance: Mapping[str, Mapping[str, float]]
    half_pools: Mapping[str, Any]
    notes: Mapping[str, str]


def compare_suites(
    suites: Sequence[Suite],
    *,
    seeds: int = 5,
    ablations: bool = False,
    progress: Progress | None = None,
) -> list[SuiteReport]:
    """Fit every method to each suite and report it; all settings are chosen on the items to fit on.

    ``trinity`` is fitted to the suite, and stays with one call where folds show that more do not pay.
    ``trinity_from_elsewhere`` has numbers that were fitted to the other suites together, and always asks on.
    So do ``evolved`` and the other searches, which are fitted to the suite at the same budget.

    Args:
        suites: recorded answers.
        seeds: runs of whatever is random.
        ablations: also without each part of the coordinator.
        progress: told after each suite.
    """
    reports = []
    for done, suite in enumerate(suites):
        elsewhere = [other.fit for other in suites if other.name != suite.name]
        reports.append(_compare(suite, elsewhere, seeds, ablations=ablations))
        if progress is not None:
            progress("suites", done + 1, len(suites))
    return reports


def _compare(
    suite: Suite, elsewhere: Sequence[Recorded], seeds: int, *, ablations: bool
) -> SuiteReport:
    fit, test = suite.fit, suite.test
    single = best_column(fit)
    vote, weight = fit_vote(fit)
    order = [int(c) for c in np.argsort(-fit.scores.mean(axis=0), kind="stable")]
    runs = {effort: _runs(fit, effort, seeds) for effort in EFFORTS}
    ours = runs[_EFFORT]
    budget = float(np.mean([run.play(fit).cost.mean() for run in ours]))
    cascade, stages = fit_cascade(fit, budget=budget)
    free, free_stages = fit_cascade(fit, budget=np.inf)
    methods: dict[str, list[Method]] = {
        "trinity": [run.play for run in ours],
        **{f"trinity_{name}": [run.play for run in runs[name]] for name in EFFORTS if name != _EFFORT},
        "selector": [always()],
        "best_single": [always(single)],
        "majority_vote": [majority],
        "weighted_vote": [vote],
        "early_vote": [early_vote(weight, order)],
        "cascade": [cascade],
        "cascade_free": [free],
        "oracle": [best_answer],
    }  # fmt: skip
    if elsewhere:
        plan = EFFORTS[_EFFORT]
        methods["trinity_from_elsewhere"] = [
            _method(fit_coordinator(elsewhere, plan, seed=seed), fit) for seed in range(seeds)
        ]
    for search in SEARCHES:
        plan = replace(EFFORTS[_EFFORT], search=search)
        methods[search] = [_method(fit_coordinator([fit], plan, seed=s), fit) for s in range(seeds)]
    if ablations:
        methods |= _ablations(ours, fit)
    return SuiteReport(
        suite=suite.name,
        workers=fit.workers,
        items=(len(fit), len(test)),
        methods=figures({name: [run(test) for run in each] for name, each in methods.items()}, test, "trinity"),
        acceptance={name: _acceptance(each, fit, test, single) for name, each in runs.items()},
        half_pools=_half_pools(ours, fit, test),
        notes={
            "best single": fit.workers[single],
            "headroom": str(ours[0].headroom),
            "cascade": stages,
            "cascade at any cost": free_stages,
            "prices estimated": ", ".join(suite.estimated) or "none",
        },
    )  # fmt: skip


def _runs(fit: Recorded, effort: Effort, seeds: int) -> list[Fitted]:
    plan, cost = EFFORTS[effort], fit.cost.mean(axis=0)
    room = headroom(fit, plan)
    return [
        Fitted(coordinator=fit_coordinator([fit], plan, seed=seed), cost=cost, headroom=room)
        for seed in range(seeds)
    ]


def _method(coordinator: Coordinator, fit: Recorded) -> Method:
    cost: Floats = fit.cost.mean(axis=0)
    return lambda items: play(coordinator, items, cost)


def _ablations(ours: Sequence[Fitted], fit: Recorded) -> dict[str, list[Method]]:
    """The same numbers without one part each."""
    mean, flat = fit.scores.mean(axis=0), fit.cost.mean(axis=0)

    def changed(change: Callable[[Coordinator], Coordinator]) -> list[Method]:
        return [_method(change(run.coordinator), fit) for run in ours]

    def unread(coordinator: Coordinator) -> Method:
        return lambda items: play(
            coordinator, replace(items, forecast=np.tile(mean, (len(items), 1))), flat
        )

    return {
        "without_reading": [unread(run.coordinator) for run in ours],
        "without_weights": changed(lambda c: replace(c, lift=_MANY, enough=c.enough + _MANY)),
        "without_early_end": changed(lambda c: replace(c, enough=_MANY)),
        "without_prices": changed(lambda c: replace(c, thrift=0.0)),
        "without_a_second_call": changed(lambda c: replace(c, cap=1)),
    }


def figures(
    played: Mapping[str, Sequence[Played]], test: Recorded, ours: str
) -> dict[str, dict[str, Any]]:
    """Of each method: accuracy, calls, dollars, and paired differences to the best single worker and to ours.

    Args:
        played: the runs of each method, ``best_single`` among them.
        test: the items.
        ours: the method that all are compared with.
    """
    score = {
        name: np.mean([run.score(test) for run in each], axis=0) for name, each in played.items()
    }
    return {
        name: {
            "accuracy": float(score[name].mean()),
            "ci": _interval(bootstrap_mean(score[name])),
            "mean_calls": float(np.mean([run.calls.mean() for run in each])),
            "cost_usd_per_1k": 1e3 * float(np.mean([run.cost.mean() for run in each])),
            "vs_best_single": _gap(score[name], score["best_single"]),
            f"{ours}_ahead": _gap(score[ours], score[name]),
            "runs": [float(run.score(test).mean()) for run in each],
        }
        for name, each in played.items()
    }


def _gap(ours: Floats, theirs: Floats) -> dict[str, Any]:
    gap = paired_bootstrap(ours, theirs)
    return {"diff": gap.mean, "ci": _interval(gap)}


def _interval(estimate: Any) -> list[float]:
    return [float(estimate.low), float(estimate.high)]


def _acceptance(
    runs: Sequence[Fitted], fit: Recorded, test: Recorded, single: int
) -> dict[str, float]:
    """Of the answers, how many are accepted at a trust that lets 5 % of wrong ones pass on the items fitted on."""
    rows = []
    for run in runs:
        asks = _method(run.coordinator, fit)
        known, new = asks(fit), asks(test)
        if known.trust is None or new.trust is None:
            continue
        level = fit_acceptance(known.trust, known.score(fit))
        share, wrong = accepted(new.trust, new.score(test), level)
        alone = float(test.cost[:, single].mean())
        rows.append((share, wrong, float(new.cost.mean()) / max(alone, 1e-12)))
    share, wrong, ratio = np.mean(rows, axis=0)
    right = float(np.mean([run.play(test).score(test).mean() for run in runs]))
    return {
        "coverage": float(share),
        "wrong": float(wrong),
        "cost_ratio": float(ratio),
        "best_coverage": min(1.0, right / 0.95),
    }


def _half_pools(runs: Sequence[Fitted], fit: Recorded, test: Recorded) -> dict[str, Any]:
    """The same numbers where only a random half of the workers is there, another one for each seed."""
    n, size = test.forecast.shape
    mean, gains, calls = fit.scores.mean(axis=0), [], []
    for seed, run in enumerate(runs):
        half = np.random.default_rng(seed).permutation(size)[: max(2, size // 2)]
        there = np.isin(np.arange(size), half)
        played = play(run.coordinator, test, run.cost, np.tile(there, (n, 1)))
        best = int(np.argmax(np.where(there, mean, -1.0)))
        gains.append(played.score(test) - test.scores[:, best])
        calls.append(float(played.calls.mean()))
    gain = np.mean(gains, axis=0)
    return {"mean_calls": float(np.mean(calls)), "vs_best_single": _gap(gain, np.zeros(n))}


# --- for people and programs ----------------------------------------------------------------------


def plain(reports: Sequence[SuiteReport]) -> dict[str, Any]:
    """As JSON has it, a block a suite."""
    return {
        "suites": {
            report.suite: {
                "workers": list(report.workers),
                "items": {"fit": report.items[0], "test": report.items[1]},
                "methods": {name: dict(each) for name, each in report.methods.items()},
                "acceptance": {name: dict(each) for name, each in report.acceptance.items()},
                "half_pools": dict(report.half_pools),
                "notes": dict(report.notes),
            }
            for report in reports
        }
    }


def suite_table(
    suite: str, items: tuple[int, int], methods: Mapping[str, Mapping[str, Any]]
) -> Table:
    """One row a method, best first."""
    from rich.table import Table

    table = Table(
        title=f"{suite}: {items[0]} items to fit, {items[1]} to report", title_justify="left"
    )
    for name in ("method", "accuracy", "calls", "$ per 1k", "vs best single"):
        table.add_column(name, justify="left" if name == "method" else "right", no_wrap=True)
    for name, each in sorted(methods.items(), key=lambda pair: -pair[1]["accuracy"]):
        low, high = each["vs_best_single"]["ci"]
        table.add_row(
            name,
            f"{100 * each['accuracy']:.1f}",
            f"{each['mean_calls']:.2f}",
            f"{each['cost_usd_per_1k']:.2f}",
            f"{100 * each['vs_best_single']['diff']:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]",
        )
    return table


def notes_of(report: SuiteReport) -> list[str]:
    """What was chosen, and which answers may be accepted, a line each."""
    lines = [f"{what}: {said}" for what, said in report.notes.items()]
    for effort, each in report.acceptance.items():
        lines.append(
            f"accepted at {effort} effort: {100 * each['coverage']:.0f} % of the answers (at most "
            f"{100 * each['best_coverage']:.0f} % could be), {100 * each['wrong']:.1f} % of them wrong, at "
            f"{each['cost_ratio']:.2f} times the price of the best single worker"
        )
    gap, calls = report.half_pools["vs_best_single"], report.half_pools["mean_calls"]
    low, high = gap["ci"]
    lines.append(
        f"random halves of the pool: {100 * gap['diff']:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}] against the "
        f"best single worker of each, with {calls:.2f} calls"
    )
    return [*lines, ""]
