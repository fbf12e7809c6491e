"""Fit and test the selector of the embedded pool on our own outcomes of the local models.

Settings were chosen by five-fold cross-validation on the train and dev items (``--cv``); the shipped
bundle is fitted on them, and the test items are reported, beside the simple baselines.

Usage:
    python benchmarks/local_selector.py --cv
    python benchmarks/local_selector.py --output fugu_adapters/weights/local
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from fugu_adapters.config import Price
from fugu_adapters.evaluate.data import Dataset, read_dataset
from fugu_adapters.evaluate.statistics import paired_bootstrap
from fugu_adapters.learn.ability import AbilitySettings
from fugu_adapters.learn.selector_fit import FitSettings, encode_items, fit_selector, train
from fugu_adapters.policies.clusters import assign
from fugu_adapters.policies.rule import Arm
from fugu_adapters.policies.selector import TOLERANCE, ClusterSelector
from fugu_adapters.policies.weights import Bundle, Settings

DATA = Path(__file__).parent / "data"
ITEMS, OUTCOMES = DATA / "embedded_items.jsonl", DATA / "embedded_outcomes.jsonl"
ENCODER = "use-m3"
FREE = Price(input=0, output=0)
POOL = (
    "smollm2-135m@plain",
    "smollm2-135m@calculator",
    "qwen2.5-coder-0.5b@plain",
    "qwen2.5-coder-0.5b@python",
)
SETTINGS = FitSettings(
    clusters=32,
    areas=10,
    reach=0.0,
    length_prior=2.0,
    ability=AbilitySettings(spread=4.0, belief=1e4, pooling=1e4),
    decision=Settings(nearest=2, width=2.0, gain_z=0.3, loss_z=0.0),
)


def choices(bundle: Bundle, vectors: np.ndarray, tolerance: float) -> np.ndarray:
    """Position in ``POOL`` of the worker chosen for each vector."""
    selector = ClusterSelector(bundle)
    arms = [Arm(worker=name, profile=name, price=FREE) for name in POOL]
    picked = [selector.decide(v, arms, tolerance=tolerance).candidates[0].worker for v in vectors]
    return np.array([POOL.index(name) for name in picked])


def dense(data: Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Items that all of ``POOL`` answered, with their scores and seconds, ``[m, 4]`` each."""
    items = np.unique(data.item)
    score = data.matrix(items, POOL)
    full = np.isfinite(score).all(axis=1)
    return items[full], score[full], data.matrix(items[full], POOL, "latency_s")


def cross_validate(
    settings: FitSettings, data: Dataset, vectors: np.ndarray
) -> tuple[float, float]:
    """Mean score and seconds over five folds of the items, three times."""
    items, score, seconds = dense(data)
    found = []
    for seed in range(3):
        fold = np.random.default_rng(seed).integers(0, 5, len(data.prompts))
        for number in range(5):
            fitted = data.rows((fold != number)[data.item])
            bundle = fit_selector(fitted, vectors, encoder=ENCODER, settings=settings, seed=seed)
            test = np.flatnonzero(fold[items] == number)
            pick = choices(bundle, vectors[items[test]], TOLERANCE["medium"])
            found += list(zip(score[test, pick], seconds[test, pick], strict=True))
    return tuple(np.mean(found, axis=0))  # type: ignore[return-value]


def report(data: Dataset, fitted: Dataset, bundle: Bundle, vectors: np.ndarray) -> None:
    """Print the table of the test items."""
    items, score, seconds = dense(data)
    _, fit_score, _ = dense(fitted)
    best = int(fit_score.mean(axis=0).argmax())
    rng = np.random.default_rng(0)
    rows = {f"best single ({POOL[best]})": np.full(len(items), best)}
    for effort, tolerance in TOLERANCE.items():
        rows[f"selector, effort {effort}"] = choices(bundle, vectors[items], tolerance)
    rows["k-means, no shrinkage, no guard"] = kmeans_choices(fitted, bundle, vectors, items)
    rows["random"] = rng.integers(0, len(POOL), len(items))
    rows["fastest"] = np.full(len(items), int(np.median(seconds, axis=0).argmin()))
    rows["oracle"] = score.argmax(axis=1)
    every = np.arange(len(items))
    print(
        f"{len(items)} test items, four workers; fitted on {len(fit_score)} train and dev items\n"
    )
    print("| method | score | vs best single, points [95 %] | mean seconds | workers used |")
    print("|---|---|---|---|---|")
    for name, pick in rows.items():
        ours, theirs = score[every, pick], score[:, best]
        paired = paired_bootstrap(ours, theirs)
        print(
            f"| {name} | {ours.mean():.3f} | {100 * paired.mean:+.1f} "
            f"[{100 * paired.low:+.1f}, {100 * paired.high:+.1f}] "
            f"| {seconds[every, pick].mean():.1f} | {len(set(pick))} |"
        )


def kmeans_choices(
    fitted: Dataset, bundle: Bundle, vectors: np.ndarray, items: np.ndarray
) -> np.ndarray:
    """The best worker of the nearest cluster by plain means, as a baseline."""
    known, score, _ = dense(fitted)
    cluster = assign(vectors[known], bundle.centroids)
    overall = score.mean(axis=0)
    table = np.array(
        [
            score[cluster == c].mean(axis=0) if (cluster == c).any() else overall
            for c in range(len(bundle.centroids))
        ]
    )
    return table[assign(vectors[items], bundle.centroids)].argmax(axis=1)


def search(data: Dataset, vectors: np.ndarray) -> None:
    """Print cross-validated score and seconds of some settings."""
    items, score, seconds = dense(data)
    print(
        f"{len(items)} items; each worker: {score.mean(axis=0).round(3)} in {seconds.mean(axis=0).round(2)} s"
    )
    for clusters in (32,):
        for width in (2.0, 4.0, 8.0):
            for spread, gain_z in ((1.0, 0.0), (2.0, 0.0), (2.0, 0.3), (4.0, 0.0), (4.0, 0.3)):
                settings = replace(
                    SETTINGS,
                    clusters=clusters,
                    ability=replace(SETTINGS.ability, spread=spread),
                    decision=replace(SETTINGS.decision, width=width, gain_z=gain_z),
                )
                right, took = cross_validate(settings, data, vectors)
                told = f"{clusters=} {width=} {spread=} {gain_z=}"
                print(f"{told}: {right:.3f} {took:.2f} s", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Search, or fit, save and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cv", action="store_true", help="search settings on train and dev")
    parser.add_argument("--output", type=Path, help="folder for the bundle")
    options = parser.parse_args(arguments)
    data = read_dataset([ITEMS], [OUTCOMES], None)
    vectors = encode_items(data, ENCODER)
    fitted = data.in_splits(("train", "dev"))
    if options.cv:
        search(fitted, vectors)
        return
    if options.output is None:
        sys.exit("--output or --cv is needed")
    bundle = train(
        [ITEMS],
        [OUTCOMES],
        options.output,
        encoder=ENCODER,
        fit_splits=("train", "dev"),
        settings=SETTINGS,
        command="python benchmarks/local_selector.py --output fugu_adapters/weights/local",
    )
    report(data.in_splits(("test",)), fitted, bundle, vectors)


if __name__ == "__main__":
    main()
