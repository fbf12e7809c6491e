"""The selector against simple baselines on recorded outcomes: fit on train, choose on dev, report once.

    python benchmarks/selector.py --items items.parquet --outcomes outcomes.parquet \
        --workers workers.parquet --pools pools.json --cache .cache --split test

Prints Markdown tables: one for each pool, one over all, one that compares encoders.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fugu_adapters.config import Price
from fugu_adapters.encoders import DEFAULT_ENCODER, load_encoder
from fugu_adapters.evaluate import metrics
from fugu_adapters.evaluate.data import Dataset, Facts, read_dataset
from fugu_adapters.evaluate.statistics import mcnemar, paired_bootstrap
from fugu_adapters.learn.selector_fit import encode_items, fit_selector
from fugu_adapters.policies import baselines
from fugu_adapters.policies.baselines import Choose, Examples
from fugu_adapters.policies.selector import TOLERANCE, Arm, ClusterSelector, Forecast, choose
from fugu_adapters.policies.weights import Bundle

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
CHARS_PER_TOKEN = 4.0


@dataclass(frozen=True, kw_only=True)
class Pool:
    """One pool with its items by split."""

    name: str
    workers: tuple[str, ...]
    parts: Mapping[str, Examples]
    items: Mapping[str, Ints]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One method on one pool: its score on each item, averaged over seeds."""

    method: str
    score: Floats
    rare: float | None
    cost: float | None


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description="the selector against simple baselines")
    for name in ("items", "outcomes"):
        parser.add_argument(f"--{name}", type=Path, nargs="+", required=True)
    for name in ("workers", "pools", "cache"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--split", default="test", choices=("dev", "test"))
    parser.add_argument("--encoder", default=DEFAULT_ENCODER)
    parser.add_argument("--compare", nargs="*", default=[], help="encoders to compare on dev")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    data = read_dataset(options.items, options.outcomes, options.workers)
    spec = json.loads(options.pools.read_text(encoding="utf-8"))
    say = lambda what, done, total: print(f"{what} {done}/{total}", file=sys.stderr)  # noqa: E731
    if options.compare:
        compare_encoders(data, spec, options.compare, options.cache, options.seeds)
    vectors = encode_items(data, options.encoder, cache=options.cache, progress=say)
    bundles = fit(data, vectors, options.encoder, options.seeds)
    pools = [gather(data, vectors, name, entry) for name, entry in spec.items()]
    overall(data, pools, bundles, options.split, options.seeds)
    latency(bundles[0], options.encoder)


def fit(data: Dataset, vectors: NDArray[np.float32], encoder: str, seeds: int) -> list[Bundle]:
    """One bundle a seed, fitted on the train split only."""
    train = data.in_splits(["train"])
    return [fit_selector(train, vectors, encoder=encoder, seed=seed) for seed in range(seeds)]


def gather(
    data: Dataset, vectors: NDArray[np.float32], name: str, entry: Mapping[str, list[str]],
    workers: Sequence[str] | None = None,
) -> Pool:  # fmt: skip
    """The items that every worker of the pool answered, by split."""
    names = tuple(workers or entry["workers"])
    suite = np.array(data.suites)
    parts, items = {}, {}
    for split in ("train", "dev", "test"):
        index = np.flatnonzero(np.isin(suite, entry["suites"]) & (data.splits == split))
        scores = data.matrix(index, names)
        whole = np.isfinite(scores).all(axis=1)
        index = index[whole]
        parts[split] = Examples(
            vectors=vectors[index],
            scores=scores[whole],
            cost=data.matrix(index, names, "cost_usd"),
            groups=[data.subdomains[i] for i in index],
        )
        items[split] = index
    return Pool(name=name, workers=names, parts=parts, items=items)


def expected_cost(data: Dataset, pool: Pool, split: str, view: Forecast) -> Floats:
    """Dollars that each call is expected to cost, from list prices and predicted reply lengths."""
    length = np.array([len(data.prompts[i]) / CHARS_PER_TOKEN for i in pool.items[split]])
    cost = np.full(view.p.shape, np.nan)
    for column, worker in enumerate(pool.workers):
        fact = data.facts.get(worker, Facts())
        if fact.price_in is not None and fact.price_out is not None:
            cost[:, column] = (
                length * fact.price_in + view.tokens[:, column] * fact.price_out
            ) / 1e6
    return cost


def decide(data: Dataset, bundle: Bundle, pool: Pool, split: str, tolerance: float) -> Ints:
    """What the shipped rule chooses for every item of a split."""
    view, cost = forecast(data, bundle, pool, split)
    return choose(view, cost, tolerance=tolerance, settings=bundle.settings)[0]


def forecast(data: Dataset, bundle: Bundle, pool: Pool, split: str) -> tuple[Forecast, Floats]:
    """The selector's predictions and expected costs for a split."""
    prices = [data.facts.get(worker, Facts()).price_out for worker in pool.workers]
    view = ClusterSelector(bundle).forecast(pool.parts[split].vectors, pool.workers, prices)
    return view, expected_cost(data, pool, split, view)


def best_on_dev(pool: Pool, fitted: Sequence[Choose]) -> Choose:
    """Of several settings of one baseline, the one that scores highest on dev."""
    dev = pool.parts["dev"]
    quality = [metrics.chosen(dev.scores, method(dev)).mean() for method in fitted]
    return fitted[int(np.argmax(quality))]


def methods(
    data: Dataset, pool: Pool, bundles: Sequence[Bundle], split: str
) -> dict[str, list[Ints]]:
    """Choices of every method, one array for each of its seeds."""
    train, items = pool.parts["train"], pool.parts[split]
    table: dict[str, list[Ints]] = {"best single": [baselines.best_single(train)(items)]}
    for effort in ("xhigh", "high", "medium", "low"):
        table[f"selector, effort {effort}"] = [
            decide(data, bundle, pool, split, TOLERANCE[effort]) for bundle in bundles
        ]
    unpriced = [forecast(data, b, pool, split)[0] for b in bundles]
    table["selector without guard"] = [np.argmax(view.p, axis=1) for view in unpriced]
    table["k-means (Avengers)"] = [
        best_on_dev(pool, [baselines.fit_kmeans(train, k=k, seed=s) for k in (16, 32, 64, 128)])(
            items
        )
        for s in range(len(bundles))
    ]
    neighbours = [baselines.fit_knn(train, k=k) for k in (10, 20, 40, 80, 160)]
    table["kNN"] = [best_on_dev(pool, neighbours)(items)]
    lines = [baselines.fit_ridge(train, penalty=p) for p in (1.0, 10.0, 100.0, 1000.0)]
    table["ridge"] = [best_on_dev(pool, lines)(items)]
    table["per sub-domain (told)"] = [baselines.fit_per_group(train)(items)]
    table["random"] = [baselines.uniform(seed)(items) for seed in range(len(bundles))]
    table["cheapest"] = [baselines.cheapest(train)(items)]
    table["oracle"] = [baselines.oracle(items)]
    return table


def rows_of(table: Mapping[str, list[Ints]], items: Examples) -> list[Row]:
    """Scores and costs of every method, averaged over its seeds."""
    rows = []
    for method, choices in table.items():
        costs = [metrics.cost_per_1k(items.cost, choice) for choice in choices]
        rare = [metrics.rare_recall(items.scores, choice) for choice in choices]
        rows.append(
            Row(
                method=method,
                score=np.mean([metrics.chosen(items.scores, choice) for choice in choices], axis=0),
                rare=None if None in rare else float(np.mean([r for r in rare if r is not None])),
                cost=None if None in costs else float(np.mean([c for c in costs if c is not None])),
            )
        )
    return rows


def overall(
    data: Dataset, pools: Sequence[Pool], bundles: Sequence[Bundle], split: str, seeds: int
) -> None:
    """One table a pool, then the mean over pools."""
    gains: dict[str, list[float]] = {}
    for pool in pools:
        items = pool.parts[split]
        rows = rows_of(methods(data, pool, bundles, split), items)
        single = rows[0].score
        top = next(row for row in rows if row.method == "oracle").score.mean()
        worker = pool.workers[int(np.argmax(pool.parts["train"].scores.mean(axis=0)))]
        view, _ = forecast(data, bundles[0], pool, split)
        error = metrics.calibration_error(view.p.ravel().astype(np.float64), items.scores.ravel())
        print(
            f"\n#### {pool.name}: {len(single)} items, {len(pool.workers)} workers, best single `{worker}`\n"
        )
        print(
            "| method | score | vs best single, points [95 %] | p | gap closed | rare | $ per 1k |"
        )
        print("|---|---|---|---|---|---|---|")
        for row in rows:
            gain = paired_bootstrap(row.score, single)
            gains.setdefault(row.method, []).append(100 * gain.mean)
            gap = metrics.gap_closed(float(row.score.mean()), float(single.mean()), float(top))
            print(
                f"| {row.method} | {row.score.mean():.4f} | {100 * gain.mean:+.2f} "
                f"[{100 * gain.low:+.2f}, {100 * gain.high:+.2f}] | {mcnemar(row.score, single):.3f} "
                f"| {shown(gap, '.0%')} | {shown(row.rare, '.2f')} | {shown(row.cost, '.3f')} |"
            )
        print(
            f"\nCalibration error (all workers): {error:.3f}. {saving(data, pool, bundles, split)}"
        )
    print(f"\n#### Mean over {len(pools)} pools, {seeds} seeds, points against the best single\n")
    print("| method | mean | worst pool |\n|---|---|---|")
    for method, values in gains.items():
        print(f"| {method} | {np.mean(values):+.2f} | {min(values):+.2f} |")


def saving(data: Dataset, pool: Pool, bundles: Sequence[Bundle], split: str) -> str:
    """What the best single worker's quality costs when the tolerance is swept."""
    items = pool.parts[split]
    single = baselines.best_single(pool.parts["train"])(items)
    paid = metrics.cost_per_1k(items.cost, single)
    if paid is None or np.isnan(items.cost).any():
        return "Cost at the best single's quality: unknown (prices missing)."
    curve = []
    for tolerance in np.linspace(0.0, 0.5, 51):
        picked = [decide(data, bundle, pool, split, float(tolerance)) for bundle in bundles]
        cost = np.mean([metrics.cost_per_1k(items.cost, choice) or 0.0 for choice in picked])
        quality = np.mean([metrics.chosen(items.scores, choice).mean() for choice in picked])
        curve.append((float(cost), float(quality)))
    least = metrics.cost_at_quality(curve, float(metrics.chosen(items.scores, single).mean()))
    if least is None:
        return "Cost at the best single's quality: not reached at any tolerance."
    return f"Cost at the best single's quality: {least / paid:.0%} of it."


def shown(value: float | None, form: str) -> str:
    """A number, or a dash where it is unknown."""
    return "-" if value is None else format(value, form)


def compare_encoders(
    data: Dataset,
    spec: Mapping[str, Mapping[str, list[str]]],
    names: Sequence[str],
    cache: Path,
    seeds: int,
) -> None:
    """Routing on dev, separation of 80 prompts of eight kinds, and speed, by encoder."""
    print("\n#### Encoders (dev)\n")
    print(
        "| encoder | pools: points vs best single | 24 random sub-pools | 80 prompts | ms, 20 words | ms, 300 words |"
    )
    print("|---|---|---|---|---|---|")
    rng = np.random.default_rng(0)
    drawn = [
        (name, sorted(rng.choice(entry["common_workers"], min(5, len(entry["common_workers"])), replace=False)))
        for name, entry in spec.items() for _ in range(3)
    ]  # fmt: skip
    scores: dict[str, Floats] = {}
    for name in names:
        vectors = encode_items(data, name, cache=cache)
        bundles = fit(data, vectors, name, seeds)
        pools = [gather(data, vectors, pool, entry) for pool, entry in spec.items()]
        subs = [gather(data, vectors, pool, spec[pool], workers) for pool, workers in drawn]
        gains = []
        for pool in [*pools, *subs]:
            dev = pool.parts["dev"]
            single = metrics.chosen(dev.scores, baselines.best_single(pool.parts["train"])(dev))
            ours = [metrics.chosen(dev.scores, decide(data, b, pool, "dev", 0.0)) for b in bundles]
            gains.append(100 * (np.mean(ours, axis=0) - single))
        scores[name] = np.concatenate(gains[: len(pools)])
        print(
            f"| {name} | {np.mean([g.mean() for g in gains[: len(pools)]]):+.2f} "
            f"| {np.mean([g.mean() for g in gains[len(pools) :]]):+.2f} | {separation(name):.2f} "
            f"| {speed(name, 20):.2f} | {speed(name, 300):.2f} |"
        )
    for other in names[1:]:
        gap = paired_bootstrap(scores[other], scores[names[0]])
        print(
            f"\n{other} against {names[0]} over all dev items of the pools: {gap.mean:+.2f} points [{gap.low:+.2f}, {gap.high:+.2f}]."
        )


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


def latency(bundle: Bundle, encoder: str) -> None:
    """Median time of one decision over twelve workers, the vector being there."""
    selector = ClusterSelector(bundle)
    arms = [
        Arm(
            worker=f"w{i}",
            profile=bundle.profiles[17 * i],
            price=Price(input=1.0, output=4.0 + i),
            input_tokens=300,
        )
        for i in range(12)
    ]
    vector = load_encoder(encoder).encode(["Which worker should answer this question?"])[0]
    took = []
    for _ in range(500):
        began = time.perf_counter()
        selector.decide(vector, arms, tolerance=0.03)
        took.append(time.perf_counter() - began)
    p50, p99 = np.percentile(took, [50, 99]) * 1e3
    print(f"\nOne decision over 12 workers: {p50:.2f} ms (p99 {p99:.2f}).")


if __name__ == "__main__":
    main()
