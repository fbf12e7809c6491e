"""A small language model's hidden state against the encoders, as what workers are chosen by.

    python benchmarks/lm_backbone.py --model SmolLM2-135M-Instruct.Q4_1.gguf --items items.parquet \
        --outcomes outcomes.parquet --suites rgym_hard mmlu_pro --cache .cache

The same learner on every state: ridge regression of each worker's score, its strength chosen on the dev split. For the
language model also with the scales of its last layer's singular values evolved together with the head, by separable
CMA-ES from the ridge head and scales of 1 (TRINITY, arXiv 2512.04695). Fitted on train, chosen on dev, reported on test.
Needs the extras ``lm``, ``train`` and ``use``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fugu_adapters.encoders import load_encoder
from fugu_adapters.encoders.lm import LmState
from fugu_adapters.evaluate.data import Dataset, read_dataset
from fugu_adapters.evaluate.statistics import paired_bootstrap
from fugu_adapters.learn.evolve import Budget, evolve

Floats = NDArray[np.float64]
_STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
_REACH, _HEAD = 0.5, 0.3  # of scales around 1, and of a head's weights in their own spread
_BATCH = 256


def main() -> None:
    """Read the arguments and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--items", type=Path, nargs="+", required=True)
    parser.add_argument("--outcomes", type=Path, nargs="+", required=True)
    parser.add_argument("--suites", nargs="+", required=True)
    parser.add_argument(
        "--rows", type=int, nargs=3, default=[400, 150, 250], help="train, dev, test"
    )
    parser.add_argument("--workers", type=int, default=8, help="the best of each suite")
    parser.add_argument("--generations", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cache", type=Path, required=True, help="folder that keeps states")
    options = parser.parse_args()
    data = read_dataset(options.items, options.outcomes)
    state = LmState(options.model)
    for suite in options.suites:
        parts = {
            split: pick(data, suite, split, rows)
            for split, rows in zip(("train", "dev", "test"), options.rows, strict=True)
        }
        workers = best_workers(data, parts["train"], options.workers)
        scores = {split: data.matrix(rows, workers) for split, rows in parts.items()}
        texts = {split: [data.prompts[row] for row in rows] for split, rows in parts.items()}
        for line in compare(suite, texts, scores, state, options):
            print(json.dumps(line), flush=True)


def pick(data: Dataset, suite: str, split: str, count: int) -> NDArray[np.int64]:
    """Items of a suite's split, drawn with a fixed seed."""
    rows = np.flatnonzero((np.array(data.suites) == suite) & (data.splits == split))
    return np.sort(np.random.default_rng(0).permutation(rows)[:count])


def best_workers(data: Dataset, rows: NDArray[np.int64], count: int) -> list[str]:
    """Those that answered every item, by their mean."""
    table = data.matrix(rows, data.workers)
    whole = np.isfinite(table).all(axis=0)
    order = np.argsort(-np.where(whole, np.nan_to_num(table).mean(axis=0), -1.0), kind="stable")
    return [data.workers[c] for c in order[:count] if whole[c]]


def compare(
    suite: str,
    texts: dict[str, list[str]],
    scores: dict[str, Floats],
    state: LmState,
    options: argparse.Namespace,
) -> list[dict[str, Any]]:
    """A line for each state."""
    single = int(np.argmax(scores["train"].mean(axis=0)))
    base = scores["test"][:, single]
    chosen: dict[str, tuple[Floats, float]] = {}
    for name in ("static-1", "use-m3"):
        encode = load_encoder(name).encode
        began = time.perf_counter()
        vectors = {split: encode(each).astype(float) for split, each in texts.items()}
        took = (time.perf_counter() - began) / sum(map(len, texts.values()))
        chosen[name] = route(vectors, scores), took
    parts, took = read_parts(suite, texts, state, options.cache)
    state.scale(None)
    vectors = {split: state.after(*each).astype(float) for split, each in parts.items()}
    chosen["lm penultimate"] = route(vectors, scores), took
    runs = [tuned(parts, scores, state, options.generations, seed) for seed in range(options.seeds)]
    for name in runs[0]:
        chosen[name] = np.mean([run[name] for run in runs], axis=0), took
    lines = []
    for name, (got, seconds) in chosen.items():
        gain, ahead = (paired_bootstrap(got, other) for other in (base, chosen["static-1"][0]))
        lines.append({
            "suite": suite, "state": name, "accuracy": round(float(got.mean()), 4), "ms": round(1e3 * seconds, 1),
            "best_single": round(float(base.mean()), 4),
            "vs_best_single": [round(x, 4) for x in (gain.mean, gain.low, gain.high)],
            "vs_static-1": [round(x, 4) for x in (ahead.mean, ahead.low, ahead.high)],
        })  # fmt: skip
    return lines


def ridge(vectors: dict[str, Floats], scores: dict[str, Floats]) -> tuple[Floats, Floats]:
    """Head ``[D, A]`` and offset ``[A]`` of the strength that chooses best on dev."""
    mean, middle = scores["train"].mean(axis=0), vectors["train"].mean(axis=0)
    x, y = vectors["train"] - middle, scores["train"] - mean
    heads = []
    for strength in _STRENGTHS:
        gram = x @ x.T + strength * np.eye(len(x)) * np.trace(x @ x.T) / len(x)
        head = x.T @ np.linalg.solve(gram, y)
        heads.append((head, mean - middle @ head))
    return max(heads, key=lambda each: picked(vectors["dev"], scores["dev"], *each).mean())


def picked(x: Floats, scores: Floats, head: Floats, offset: Floats) -> Floats:
    """Score of the worker with the highest forecast, ``[n]``."""
    best = np.argmax(x @ head + offset, axis=1)
    got: Floats = scores[np.arange(len(scores)), best]
    return got


def route(vectors: dict[str, Floats], scores: dict[str, Floats]) -> Floats:
    """Scores on test of what a ridge head chooses."""
    return picked(vectors["test"], scores["test"], *ridge(vectors, scores))


def read_parts(
    suite: str, texts: dict[str, list[str]], state: LmState, cache: Path
) -> tuple[dict[str, tuple[Any, Any]], float]:
    """What enters the scaled part, kept in a folder; and seconds a text."""
    path = (
        cache
        / f"lm_{state.path.name}_{suite}_{'_'.join(str(len(each)) for each in texts.values())}.npz"
    )
    if not path.exists():
        found: dict[str, Any] = {}
        began = time.perf_counter()
        for split, each in texts.items():
            both = [state.before(text) for text in each]
            found[f"{split}_mix"] = np.stack([mix for mix, _ in both])
            found[f"{split}_residual"] = np.stack([residual for _, residual in both])
        found["seconds"] = np.array((time.perf_counter() - began) / sum(map(len, texts.values())))
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(path, **found)
    kept = np.load(path)
    parts = {split: (kept[f"{split}_mix"], kept[f"{split}_residual"]) for split in texts}
    return parts, float(kept["seconds"])


def tuned(
    parts: dict[str, tuple[Any, Any]],
    scores: dict[str, Floats],
    state: LmState,
    generations: int,
    seed: int,
) -> dict[str, Floats]:
    """Scores on test with the head evolved alone, and with the scales as well."""
    state.scale(None)
    plain = {split: state.after(*each).astype(float) for split, each in parts.items()}
    head, offset = ridge(plain, scores)
    spread = float(head.std()) * _HEAD
    n, count = len(scores["train"]), sum(state.sizes)

    def read(numbers: Floats, split: str, rows: Any = slice(None)) -> Floats:
        moved = head + (numbers[: head.size].reshape(head.shape) - 0.5) * 2 * spread
        if len(numbers) > head.size:
            state.scale(1.0 + (numbers[head.size :] - 0.5).astype(np.float32) * 2 * _REACH)
            x = state.after(*(part[rows] for part in parts[split])).astype(float)
        else:
            x = plain[split][rows]
        return picked(x, scores[split][rows], moved, offset)

    def fitness(numbers: Floats, number: int | None) -> float:
        if number is None:
            return float(read(numbers, "dev").mean())
        rows = np.random.default_rng([seed, number]).permutation(n)[:_BATCH]
        return float(read(numbers, "train", rows).mean())

    found: dict[str, Floats] = {}
    sizes: dict[str, int] = {
        "head evolved": head.size,
        "head and scales evolved": head.size + count,
    }
    for name, size in sizes.items():
        budget = Budget(generations=generations, step=0.05)
        best = search(fitness, size, budget, seed)
        found[f"lm penultimate, {name}"] = read(best, "test")
    state.scale(None)
    return found


def search(fitness: Callable[[Floats, int | None], float], size: int, budget: Budget, seed: int) -> Floats:  # fmt: skip
    """From the ridge head and scales of 1; the start where dev is not better for it."""
    return evolve(fitness, np.full(size, 0.5), budget=budget, seed=seed)


if __name__ == "__main__":
    main()
