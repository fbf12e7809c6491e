"""A small world for the evaluation: two kinds of requests, specialists, and a fitted method to evaluate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fugu_adapters.evaluate.data import Dataset, Facts
from fugu_adapters.evaluate.runner import Fitted, Prediction, Task, fit_all, gather

WORKERS = ("abacus", "both", "cheap", "poet")
ODDS = {"poet": (0.9, 0.2), "abacus": (0.2, 0.9), "both": (0.65, 0.65), "cheap": (0.4, 0.4)}
COST = {"poet": 0.002, "abacus": 0.002, "both": 0.004, "cheap": 0.0001}


def make_data(items: int = 300, seed: int = 0) -> Dataset:
    """Verse and sums; "poet" and "abacus" are specialists, "both" the best alone, two thirds are train."""
    rng = np.random.default_rng(seed)
    kind = np.arange(items) % 2
    n, size = items * len(WORKERS), len(WORKERS)
    worker = np.tile(np.arange(size), items)
    item = np.repeat(np.arange(items), size)
    odds = np.array([ODDS[WORKERS[w]][kind[i]] for i, w in zip(item, worker, strict=True)])
    return Dataset(
        suites=("toy",) * items,
        item_ids=tuple(str(i) for i in range(items)),
        prompts=tuple(("write verse", "add up the sum")[k] + f" number {i}" for i, k in enumerate(kind)),
        domains=tuple(("verse", "sums")[k] for k in kind),
        subdomains=("",) * items,
        splits=np.array(["test" if i % 3 == 0 else "train" for i in range(items)]),
        workers=WORKERS,
        facts={name: Facts(price_in=0.0, price_out=1_000 * COST[name]) for name in WORKERS},
        item=item,
        worker=worker,
        score=(rng.random(n) < odds).astype(np.float64),
        weight=np.ones(n),
        output_tokens=np.full(n, 1_000.0),
        input_tokens=np.full(n, 10.0),
        cost_usd=np.array([COST[WORKERS[w]] for w in worker]),
        latency_s=np.full(n, np.nan),
    )  # fmt: skip


def encode(prompts: Sequence[str]) -> NDArray[np.float32]:
    """Verse and sums on two axes, told by their words, with a little noise that is fixed by the text."""
    rows = []
    for prompt in prompts:
        rng = np.random.default_rng(sum(map(ord, prompt)))
        axis = [1.0, 0.0, 0.0] if "verse" in prompt else [0.0, 1.0, 0.0]
        row = np.array(axis) + rng.normal(0, 0.05, 3)
        rows.append(row / np.linalg.norm(row))
    return np.array(rows, dtype=np.float32)


class KindMeans:
    """Ours, for the tests: mean scores of each kind, and the cheapest within the tolerance."""

    def __init__(self, data: Dataset, vectors: NDArray[np.float32], seed: int) -> None:
        self.seen = data
        self.seed = seed
        self.facts = data.facts
        kind = np.argmax(vectors[:, :2], axis=1)[data.item]
        self.p = {
            name: np.array([_mean(data.score[(data.worker == w) & (kind == k)]) for k in (0, 1)])
            for w, name in enumerate(data.workers)
        }

    def predict(
        self,
        vectors: NDArray[np.float32],
        workers: Sequence[str],
        input_tokens: NDArray[np.float64],
    ) -> Prediction:
        kind = np.argmax(vectors[:, :2], axis=1)
        p = np.stack([self.p[worker][kind] for worker in workers], axis=1)
        prices = [self.facts[worker].price_out or np.nan for worker in workers]
        cost = np.tile(np.array(prices) / 1_000, (len(p), 1))
        return Prediction(p=p, sd=np.full(p.shape, 0.05), cost=cost)

    def choose(
        self, vectors: NDArray[np.float32], workers: Sequence[str], input_tokens: NDArray[np.float64],
        *, tolerance: float,
    ) -> NDArray[np.int64]:  # fmt: skip
        view = self.predict(vectors, workers, input_tokens)
        allowed = view.p >= view.p.max(axis=1, keepdims=True) - tolerance
        return np.argmin(np.where(allowed, view.cost, np.inf), axis=1)


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else 0.0


class World:
    """Data, vectors, the task of the whole pool, and ours fitted to it."""

    def __init__(self, **changes: Any) -> None:
        self.data = replace(make_data(), **changes)
        self.vectors = encode(self.data.prompts)
        self.encode = encode
        self.fit = KindMeans

    @property
    def task(self) -> Task:
        return gather(self.data, self.vectors, WORKERS)

    @property
    def fitted(self) -> Fitted:
        return fit_all(self.data, self.vectors, KindMeans, seeds=2)
