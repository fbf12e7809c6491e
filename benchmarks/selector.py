"""The selector against simple baselines on several pools, as ``fugu eval selector`` does on one.

    python benchmarks/selector.py --items items.parquet --outcomes outcomes.parquet \
        --workers workers.parquet --pools pools.json --cache .cache --split test

The pools file maps names to ``suites``, ``workers`` and ``common_workers`` (more that share the items).
Ours and the baselines are fitted to each pool; "one bundle" is ours fitted once a seed to all suites and
workers of the train split, as the weights that ship are. Prints Markdown: one over all pools, one for each, and one that compares encoders.
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

from fugu_adapters.encoders import DEFAULT_ENCODER, load_encoder
from fugu_adapters.evaluate.compare import compare
from fugu_adapters.evaluate.data import Dataset, read_dataset
from fugu_adapters.evaluate.report import Report, markdown, plain
from fugu_adapters.evaluate.runner import Fitted, Task, fit_all, gather
from fugu_adapters.evaluate.statistics import paired_bootstrap
from fugu_adapters.evaluate.studies import hold_out_workers, robustness, sub_pools
from fugu_adapters.evaluate.trials import selector_choices
from fugu_adapters.learn.selector_eval import SelectorFit
from fugu_adapters.learn.selector_fit import FitSettings, encode_items
from fugu_adapters.policies.weights import SHARED

Pools = Mapping[str, Mapping[str, Any]]


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description="the selector against simple baselines")
    for name in ("items", "outcomes"):
        parser.add_argument(f"--{name}", type=Path, nargs="+", required=True)
    for name in ("workers", "pools", "cache"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--split", default="test", choices=("dev", "test"))
    parser.add_argument("--only", nargs="*", help="names of pools; all where not given")
    parser.add_argument("--encoder", default=DEFAULT_ENCODER)
    parser.add_argument("--compare", nargs="*", default=[], help="encoders to compare on dev")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--shared-seeds", type=int, default=0, help="fits of one bundle for all")
    parser.add_argument("--sub-pools", type=int, default=8, help="random sub-pools of each pool")
    parser.add_argument("--robustness", action="store_true", help="reword the prompts")
    parser.add_argument("--hold-out", action="store_true", help="place each worker from 32 probes")
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    options = parser.parse_args()
    data = read_dataset(options.items, options.outcomes, options.workers)
    pools: Pools = json.loads(options.pools.read_text(encoding="utf-8"))
    pools = {
        name: entry for name, entry in pools.items() if not options.only or name in options.only
    }
    vectors = encode_items(data, options.encoder, cache=options.cache, progress=say)
    fit = SelectorFit(encoder=options.encoder)
    of_all = SelectorFit(encoder=options.encoder, settings=FitSettings(decision=SHARED))
    one = fit_all(data, vectors, of_all, seeds=options.shared_seeds, progress=say)
    reports, studies, shared = {}, {}, {}
    for name, entry in pools.items():
        print(name, file=sys.stderr)
        task = gather(data, vectors, entry["workers"], test_split=options.split, suites=entry["suites"])  # fmt: skip
        fitted = fit_all(data, vectors, fit, seeds=options.seeds, task=task)
        reports[name] = compare(task, fitted, seeds=options.seeds)
        if one.predictors:
            shared[name] = 100 * gain(task, one)
        wide = common(data, vectors, entry, options.split)
        widely = fit_all(data, vectors, fit, seeds=1, task=wide)
        found: dict[str, Any] = {"sub_pools": sub_pools(wide, widely, options.sub_pools)}
        if options.robustness:
            found["robustness"] = robustness(task, fitted, load_encoder(options.encoder).encode)
        if options.hold_out:
            found["hold_out_workers"] = hold_out_workers(data, vectors, task, fitted, fit, fit, workers=task.workers)  # fmt: skip
        studies[name] = found
    overall(reports, options.seeds)
    for name, gains in shared.items():
        least = paired_bootstrap(gains, np.zeros(len(gains)))
        print(f"- one bundle, {name}: {least.mean:+.2f} [{least.low:+.2f}, {least.high:+.2f}]")
    more(studies)
    for name, report in reports.items():
        print(f"\n#### {name}: {report.n_items} items, {len(report.workers)} workers\n")
        print(markdown(report))
    if options.json:
        whole = {name: plain(report) | studies[name] for name, report in reports.items()}
        options.json.write_text(json.dumps(whole, allow_nan=False), encoding="utf-8")
    if options.compare:
        compare_encoders(data, pools, options.compare, options.cache, options.seeds)


def say(what: str, done: int, total: int) -> None:
    """Progress on standard error."""
    print(f"{what} {done}/{total}", file=sys.stderr)


def common(data: Dataset, vectors: Any, entry: Mapping[str, Any], split: str) -> Task:
    """All workers that share a pool's items, to draw sub-pools from; the pool where they do not."""
    names = entry.get("common_workers") or entry["workers"]
    return gather(data, vectors, names, test_split=split, suites=entry["suites"])


def overall(reports: Mapping[str, Report], seeds: int) -> None:
    """Mean over pools of what every method gains on the best single worker."""
    print(f"\n#### Mean over {len(reports)} pools, {seeds} seeds, points against the best single\n")
    print("| method | mean | worst pool | pools beyond noise above / below |\n|---|---|---|---|")
    names = next(iter(reports.values())).rows
    table = {
        name: [report.rows[name].vs_best_single for report in reports.values() if name in report.rows]
        for name in names
    }  # fmt: skip
    for name, rows in sorted(table.items(), key=lambda pair: -np.mean([r.diff for r in pair[1]])):
        gains = [100 * row.diff for row in rows]
        above, below = sum(row.ci[0] > 0 for row in rows), sum(row.ci[1] < 0 for row in rows)
        short = "" if len(rows) == len(reports) else f" ({len(rows)} pools)"
        print(f"| {name}{short} | {np.mean(gains):+.2f} | {min(gains):+.2f} | {above} / {below} |")
    rivals = [report.rows["selector"].vs_best_baseline for report in reports.values()]
    behind = [100 * rival.diff for rival in rivals if rival is not None]
    print(f"\nAgainst the best simple method of each pool: {np.mean(behind):+.2f} points.")


def more(studies: Mapping[str, Mapping[str, Any]]) -> None:
    """Sub-pools, robustness and held-out workers, by pool."""
    cells = [cell for found in studies.values() for cell in found["sub_pools"]["cells"]]
    gains = 100 * np.array([cell["diff"] for cell in cells])
    print(
        f"\n{len(cells)} random sub-pools: mean {gains.mean():+.2f} points against the best single, worst "
        f"{gains.min():+.2f}, {np.mean(gains >= -0.3):.0%} no more than 0.3 below."
    )
    changes = [found["robustness"] for found in studies.values() if "robustness" in found]
    if changes:
        print("\n| change of the prompt | same choice | worst pool | points |\n|---|---|---|---|")
        for name in changes[0]:
            same = [row[name]["same_choice"] for row in changes if row[name]["same_choice"] is not None]  # fmt: skip
            moved = np.mean([100 * row[name]["diff"] for row in changes])
            print(f"| {name} | {np.mean(same):.1%} | {min(same):.1%} | {moved:+.2f} |")
    held = {name: found["hold_out_workers"] for name, found in studies.items() if "hold_out_workers" in found}  # fmt: skip
    if held:
        print(
            "\n| pool, each worker placed from 32 probes | mean share of the score | worst |\n|---|---|---|"
        )
        for name, found in held.items():
            print(
                f"| {name} | {found['mean_quality_share']:.1%} | {found['worst_quality_share']:.1%} |"
            )


def compare_encoders(
    data: Dataset, pools: Pools, names: Sequence[str], cache: Path, seeds: int
) -> None:
    """Routing on dev, separation of 80 prompts of eight kinds, and speed, by encoder."""
    print("\n#### Encoders (dev)\n")
    print(
        "| encoder | pools: points vs best single | 3 sub-pools of each | 80 prompts | ms, 20 words | ms, 300 words |"
    )
    print("|---|---|---|---|---|---|")
    scores = {}
    for name in names:
        vectors = encode_items(data, name, cache=cache)
        fit, gains, parts = SelectorFit(encoder=name), [], []
        for entry in pools.values():
            task = gather(data, vectors, entry["workers"], test_split="dev", suites=entry["suites"])
            gains.append(gain(task, fit_all(data, vectors, fit, seeds=seeds, task=task)))
            wide = common(data, vectors, entry, "dev")
            widely = fit_all(data, vectors, fit, seeds=1, task=wide)
            parts.append(sub_pools(wide, widely, 3)["mean_diff"])
        scores[name] = np.concatenate(gains)
        print(
            f"| {name} | {100 * np.mean([g.mean() for g in gains]):+.2f} | {100 * np.mean(parts):+.2f} "
            f"| {separation(name):.2f} | {speed(name, 20):.2f} | {speed(name, 300):.2f} |"
        )
    for other in names[1:]:
        gap = paired_bootstrap(100 * scores[other], 100 * scores[names[0]])
        print(
            f"\n{other} against {names[0]} over all dev items of the pools: {gap.mean:+.2f} points [{gap.low:+.2f}, {gap.high:+.2f}]."
        )


def gain(task: Task, fitted: Fitted) -> Any:
    """Score of ours at tolerance 0 minus the best single worker's, each item, mean over seeds."""
    rows = np.arange(len(task.test.scores))
    ours = [task.test.scores[rows, choice] for choice in selector_choices(task, fitted, 0.0)]
    single = task.test.scores[:, int(np.argmax(task.fit.scores.mean(axis=0)))]
    return np.mean(ours, axis=0) - single


def separation(encoder: str) -> float:
    """Leave-one-out accuracy of the nearest class mean on 80 short prompts of eight kinds."""
    kinds = json.loads(Path(__file__).with_name("encoder_prompts.json").read_text(encoding="utf-8"))
    label = np.repeat(np.arange(len(kinds)), [len(prompts) for prompts in kinds.values()])
    vectors = load_encoder(encoder).encode([p for prompts in kinds.values() for p in prompts])
    right = 0
    for index in range(len(label)):
        rest = np.arange(len(label)) != index
        means = np.stack(
            [vectors[rest & (label == kind)].mean(axis=0) for kind in range(len(kinds))]
        )
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        right += int(np.argmax(means @ vectors[index]) == label[index])
    return right / len(label)


def speed(encoder: str, words: int) -> float:
    """Median milliseconds to encode one prompt of so many words."""
    model = load_encoder(encoder)
    text = " ".join(
        f"{word} {index}" for index, word in enumerate(["please", "compute", "the", "value"] * 80)
    )
    text = " ".join(text.split()[:words])
    took = []
    for _ in range(30):
        began = time.perf_counter()
        model.encode([text])
        took.append(time.perf_counter() - began)
    return 1e3 * float(np.median(took))


if __name__ == "__main__":
    main()
