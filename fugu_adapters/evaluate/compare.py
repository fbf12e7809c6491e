"""Measures what every routing method chose on one pool: scores, intervals, costs, curves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fugu_adapters.evaluate import metrics
from fugu_adapters.evaluate.report import Difference, Report, Row, Single
from fugu_adapters.evaluate.runner import Fitted, Progress, Task
from fugu_adapters.evaluate.statistics import bootstrap_table, mcnemar
from fugu_adapters.evaluate.trials import Bill, Trial, all_trials

__all__ = ["compare"]

Floats = NDArray[np.float64]


def compare(task: Task, fitted: Fitted, *, seeds: int, progress: Progress | None = None) -> Report:
    """Run every method and measure it.

    Args:
        task: a pool with its items.
        fitted: ours.
        seeds: for whatever baseline is random.
        progress: told which method is being fitted.
    """
    trials, notes = all_trials(task, fitted, seeds=seeds, progress=progress)
    missing = tuple(note.split(":")[0] for note in notes)
    bill = Bill(task.test.cost)
    singles = task.test.scores.mean(axis=0)
    dollars = [None if np.isnan(mean) else float(1_000 * mean) for mean in bill.means]
    if not bill.rows.any():
        notes.append("costs are known of fewer than half of the items: not compared")
    return Report(
        workers={
            worker: Single(accuracy=float(score), cost_usd_per_1k=cost)
            for worker, score, cost in zip(task.workers, singles, dollars, strict=True)
        },
        best_single=task.workers[int(np.argmax(task.fit.scores.mean(axis=0)))],
        n_items=len(task.test.scores),
        n_fit_items=len(task.fit.scores),
        n_cost_items=int(bill.rows.sum()),
        seeds=seeds,
        rows={row.method: row for row in _rows(task, trials, bill)},
        missing=missing,
        notes=tuple(notes),
    )


class _Scores:
    """Scores of all methods, ``[n, M]``, averaged over seeds, with intervals from the same resamples."""

    def __init__(self, scores: Floats, trials: Sequence[Trial]) -> None:
        self.names = [trial.name for trial in trials]
        self.by_seed = [[metrics.chosen(scores, c) for c in trial.choices] for trial in trials]
        self.table = np.stack([np.mean(rows, axis=0) for rows in self.by_seed], axis=1)
        self.mean = self.table.mean(axis=0)
        self.single = self.names.index("best_single")
        simple = [
            place
            for place, name in enumerate(self.names)
            if name != "oracle" and not name.startswith("selector")
        ]
        self.best = max(simple, key=lambda place: float(self.mean[place]))
        against = [self.table - self.table[:, [rival]] for rival in (self.single, self.best)]
        ends = bootstrap_table(np.concatenate([self.table, *against], axis=1))
        self.ends = ends.reshape(3, len(trials), 2)

    def interval(self, kind: int, place: int) -> tuple[float, float]:
        low, high = self.ends[kind, place]
        return float(low), float(high)

    def against(self, kind: int, place: int) -> Difference:
        """Difference to the best single (1) or to the best simple method (2)."""
        rival = (self.single, self.best)[kind - 1]
        ours, theirs = self.by_seed[place], self.by_seed[rival]
        p = [mcnemar(row, theirs[seed % len(theirs)]) for seed, row in enumerate(ours)]
        return Difference(
            method=self.names[rival],
            diff=float(self.mean[place] - self.mean[rival]),
            ci=self.interval(kind, place),
            mcnemar_p=float(np.median(p)),
        )


def _rows(task: Task, trials: Sequence[Trial], bill: Bill) -> list[Row]:
    found = _Scores(task.test.scores, trials)
    scores = task.test.scores
    single, top = (float(found.mean[found.names.index(n)]) for n in ("best_single", "oracle"))
    to_reach = float(found.table[bill.rows, found.single].mean()) if bill.rows.any() else np.inf
    rows = []
    for place, trial in enumerate(trials):
        curve = _curve(trial, scores, bill)
        counts = np.bincount(trial.choices.ravel(), minlength=len(task.workers))
        rare = [metrics.rare_recall(scores, choice) for choice in trial.choices]
        rows.append(
            Row(
                method=trial.name,
                accuracy=float(found.mean[place]),
                ci=found.interval(0, place),
                cost_usd_per_1k=bill.per_1k(trial.choices),
                gap_closed=metrics.gap_closed(float(found.mean[place]), single, top),
                rare_recall=_mean(rare),
                auc=_area(curve, scores, bill),
                ece=_calibration(trial, scores),
                cost_at_best_single_quality_usd_per_1k=metrics.cost_at_quality(curve, to_reach),
                fit_s=trial.fit_s,
                vs_best_single=found.against(1, place),
                vs_best_baseline=found.against(2, place)
                if trial.name.startswith("selector")
                else None,
                shares=dict(zip(task.workers, (counts / counts.sum()).tolist(), strict=True)),
                curve=tuple(metrics.envelope(curve)),
            )
        )
    return rows


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _curve(trial: Trial, scores: Floats, bill: Bill) -> list[tuple[float, float]]:
    """(Dollars per thousand, score) along the sweep, averaged over seeds, where all costs are known."""
    curve = []
    for choices in () if trial.sweep is None else trial.sweep:
        cost = bill.per_1k(choices)
        if cost is not None:
            reached = [metrics.chosen(scores, choice)[bill.rows].mean() for choice in choices]
            curve.append((cost, float(np.mean(reached))))
    return curve


def _area(curve: list[tuple[float, float]], scores: Floats, bill: Bill) -> float | None:
    if not curve:
        return None
    return metrics.curve_area(curve, 1_000 * bill.means, scores[bill.rows].mean(axis=0))


def _calibration(trial: Trial, scores: Floats) -> float | None:
    if trial.p is None:
        return None
    flat = scores.ravel()
    return float(np.mean([metrics.calibration_error(p.ravel(), flat) for p in trial.p]))
