"""The coordinator against votes, cascades and single workers on recorded answers, one table a suite.

    python benchmarks/coordinator.py --items items.parquet --outcomes outcomes.parquet \
        --answers answers.parquet --workers workers.parquet --cache .cache --suites zeroeval_crux mmlu_pro

The pool of a suite is its best workers on the items that are fitted on. Everything is fitted on
``--fit-splits``; the selector's forecasts for those items come from fits that did not see them. Where a call's
price is unknown it is estimated: the worker's own mean, else its list price times the suite's mean reply
(ten times as many tokens where it reasons out of sight), else the median of the pool.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fugu_adapters.encoders import DEFAULT_ENCODER
from fugu_adapters.evaluate.data import Dataset, Facts, read_dataset
from fugu_adapters.evaluate.runner import prompt_tokens
from fugu_adapters.evaluate.statistics import bootstrap_mean, paired_bootstrap
from fugu_adapters.evaluate.votes import (
    Played,
    Recorded,
    always,
    best_answer,
    best_column,
    early_vote,
    fit_cascade,
    fit_vote,
    majority,
    read_answers,
)
from fugu_adapters.learn.coordinator_fit import FitPlan, fit_coordinator
from fugu_adapters.learn.selector_eval import SelectorFit
from fugu_adapters.learn.selector_fit import encode_items

_SUITES = (
    "zeroeval_crux", "zeroeval_gsm", "zeroeval_math_l5", "rgym_easy", "rgym_hard", "mmlu_pro", "bfcl_v1",
    "sql_understanding",
)  # fmt: skip
_FOLDS, _HIDDEN = 5, 10.0


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description="the coordinator on recorded answers")
    for name in ("items", "outcomes", "answers"):
        parser.add_argument(f"--{name}", type=Path, nargs="+", required=True)
    parser.add_argument("--workers", type=Path, required=True, help="catalogue facts")
    parser.add_argument("--cache", type=Path, help="folder that keeps vectors and forecasts")
    parser.add_argument("--suites", nargs="*", default=list(_SUITES))
    parser.add_argument("--fit-splits", nargs="*", default=["train", "dev"])
    parser.add_argument("--test-split", default="test")
    parser.add_argument("--pool", type=int, default=8, help="workers a suite")
    parser.add_argument("--without", default="", help="leave out workers whose name begins so")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--searches", nargs="*", default=["evolved"], help="how heads are trained")
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    options = parser.parse_args()
    data = read_dataset(options.items, options.outcomes, options.workers)
    inside = np.isin(np.array(data.suites), options.suites)
    data = data.rows(inside[data.item])
    vectors = encode_items(data, DEFAULT_ENCODER, cache=options.cache)
    found: dict[str, Any] = {}
    for suite in options.suites:
        began = time.perf_counter()
        fit, test, note = recorded(data, vectors, suite, options)
        table = compare(fit, test, options)
        found[suite] = {"workers": fit.workers, "items": [len(fit), len(test)], **table}
        print(f"\n#### {suite}: {len(fit)} items to fit, {len(test)} to report; {note}\n")
        print(markdown(table))
        print(f"{suite}: {time.perf_counter() - began:.0f} s", file=sys.stderr)
    if options.json:
        options.json.write_text(json.dumps(found, allow_nan=False), encoding="utf-8")


# --- data -----------------------------------------------------------------------------------------


def recorded(
    data: Dataset, vectors: Any, suite: str, options: argparse.Namespace
) -> tuple[Recorded, Recorded, str]:
    """A suite's items to fit on and to report, with out-of-fold forecasts for the former."""
    of_suite = np.array(data.suites) == suite
    fit_rows = np.flatnonzero(of_suite & np.isin(data.splits, options.fit_splits))
    test_rows = np.flatnonzero(of_suite & (data.splits == options.test_split))
    workers = pool(data, fit_rows, options.pool, options.without)
    whole = np.concatenate([fit_rows, test_rows])
    whole = whole[np.isfinite(data.matrix(whole, workers)).all(axis=1)]
    cost, estimated = costs(data, whole, workers)
    keys = [(data.suites[row], data.item_ids[row]) for row in whole]
    fitted_on = np.isin(whole, fit_rows)
    everything = Recorded(
        workers=workers,
        answer=read_answers(options.answers, keys, workers),
        scores=data.matrix(whole, workers),
        cost=cost,
        forecast=forecasts(data, vectors, whole, fitted_on, workers),
    )
    note = ", ".join(workers) + (f"; prices estimated of {', '.join(estimated)}" if estimated else "")  # fmt: skip
    return everything.take(np.flatnonzero(fitted_on)), everything.take(np.flatnonzero(~fitted_on)), note  # fmt: skip


def pool(data: Dataset, rows: Any, size: int, without: str) -> tuple[str, ...]:
    """The best workers on the items to fit on, hosts of the same weights counted once."""
    table = data.matrix(rows, data.workers)
    answered = np.isfinite(table).mean(axis=0)
    mean = np.nansum(table, axis=0) / np.maximum(np.isfinite(table).sum(axis=0), 1)
    chosen: dict[str, str] = {}
    for column in np.argsort(-mean, kind="stable"):
        name = data.workers[column]
        barred = (bool(without) and name.startswith(without)) or name.startswith("qwq")
        if answered[column] >= 0.98 and not barred and len(chosen) < size:
            chosen.setdefault(name.split("@")[0], name)
    return tuple(chosen.values())


def costs(data: Dataset, rows: Any, workers: Sequence[str]) -> tuple[Any, list[str]]:
    """Dollars of every call, and the workers some of whose prices are estimated."""
    cost = data.matrix(rows, workers, "cost_usd")
    tokens = data.matrix(rows, workers, "output_tokens")
    usual = np.nanmean(tokens) if np.isfinite(tokens).any() else 500.0
    rough = np.full(len(workers), np.nan)
    for column, name in enumerate(workers):
        facts = data.facts.get(name, Facts())
        known = cost[:, column][np.isfinite(cost[:, column])]
        if len(known):
            rough[column] = known.mean()
        elif facts.price_out is not None:
            rough[column] = (
                usual * facts.price_out * (_HIDDEN if facts.hidden_reasoning else 1) / 1e6
            )
    middle = float(np.nanmedian(rough)) if np.isfinite(rough).any() else 1e-3
    rough = np.where(np.isfinite(rough), rough, middle)
    gaps = ~np.isfinite(cost)
    estimated = [name for name, gap in zip(workers, gaps.mean(axis=0), strict=True) if gap > 0.05]
    return np.where(gaps, rough, cost), estimated


def forecasts(data: Dataset, vectors: Any, rows: Any, fitted_on: Any, workers: Sequence[str]) -> Any:  # fmt: skip
    """The selector's expected scores, ``[n, A]``; of items to fit on from fits without them."""
    rng = np.random.default_rng(0)
    fold = np.where(fitted_on, rng.integers(0, _FOLDS, len(rows)), -1)
    mine = np.array([name in workers for name in data.workers])[data.worker]
    tokens = prompt_tokens(data.prompts[row] for row in rows)
    p = np.zeros((len(rows), len(workers)))
    for part in range(-1, _FOLDS):
        inside = np.zeros(len(data.suites), dtype=bool)
        inside[rows[fitted_on & (fold != part)]] = True
        fitted = SelectorFit()(data.rows(mine & inside[data.item]), vectors, 0)
        held = np.flatnonzero(fold == part)
        if len(held):
            p[held] = fitted.predict(vectors[rows[held]], workers, tokens[held]).p
    return np.clip(p, 0.0, 1.0)


# --- comparison -----------------------------------------------------------------------------------


def compare(fit: Recorded, test: Recorded, options: argparse.Namespace) -> dict[str, Any]:
    """Every method on the items to report."""
    single = best_column(fit)
    vote, weight = fit_vote(fit)
    order = [int(c) for c in np.argsort(-fit.scores.mean(axis=0), kind="stable")]
    played: dict[str, list[Played]] = {
        "best_single": [always(single)(test)],
        "selector": [always()(test)],
        "majority_vote": [majority(test)],
        "weighted_vote": [vote(test)],
        "early_vote": [early_vote(weight, order)(test)],
        "oracle": [best_answer(test)],
    }
    notes: dict[str, Any] = {"best_single": fit.workers[single]}
    budget = 0.0
    for search in options.searches:
        runs = [fit_coordinator(fit, FitPlan(search=search), seed=s) for s in range(options.seeds)]
        name = "trinity" if search == "evolved" else search
        played[name] = [run.play(test) for run in runs]
        notes[name] = runs[0].notes
        if search == options.searches[0]:
            budget = float(np.mean([run.play(fit).cost.mean() for run in runs]))
            simple = [run.simple(test) for run in runs]
            played["simple"] = simple
    cascade, notes["cascade"] = fit_cascade(fit, budget=budget)
    free, notes["cascade_free"] = fit_cascade(fit, budget=np.inf)
    played["cascade"], played["cascade_free"] = [cascade(test)], [free(test)]
    base = played["best_single"][0].score(test)
    ours = np.mean([run.score(test) for run in played["trinity"]], axis=0) if "trinity" in played else base  # fmt: skip
    methods = {name: row(runs, test, base, ours) for name, runs in played.items()}
    return {"methods": methods, "notes": notes}


def row(runs: Sequence[Played], test: Recorded, base: Any, ours: Any) -> dict[str, Any]:
    """Figures of one method, mean over its runs."""
    score = np.mean([run.score(test) for run in runs], axis=0)
    whole = bootstrap_mean(score)
    gain, behind = paired_bootstrap(score, base), paired_bootstrap(ours, score)
    return {
        "accuracy": whole.mean,
        "ci": [whole.low, whole.high],
        "mean_calls": float(np.mean([run.calls.mean() for run in runs])),
        "cost_usd_per_1k": 1e3 * float(np.mean([run.cost.mean() for run in runs])),
        "vs_best_single": {"diff": gain.mean, "ci": [gain.low, gain.high]},
        "trinity_ahead": {"diff": behind.mean, "ci": [behind.low, behind.high]},
        "runs": [float(run.score(test).mean()) for run in runs],
    }


def markdown(table: Mapping[str, Any]) -> str:
    """One row a method, best first."""
    lines = [
        "| method | accuracy | calls | $ per 1k | vs best single | coordinator ahead by |",
        "|---|---|---|---|---|---|",
    ]
    for name, each in sorted(table["methods"].items(), key=lambda pair: -pair[1]["accuracy"]):
        lines.append(
            f"| {name} | {100 * each['accuracy']:.1f} [{100 * each['ci'][0]:.1f}, {100 * each['ci'][1]:.1f}] "
            f"| {each['mean_calls']:.2f} | {each['cost_usd_per_1k']:.3f} "
            f"| {points(each['vs_best_single'])} | {points(each['trinity_ahead'])} |"
        )
    lines += [f"\n{name}: {note}" for name, note in table["notes"].items()]
    return "\n".join(lines)


def points(gap: Mapping[str, Any]) -> str:
    low, high = gap["ci"]
    return f"{100 * gap['diff']:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


if __name__ == "__main__":
    main()
