"""Simple ways to choose a worker that every learned policy is compared with, on the same features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fugu_adapters.policies.clusters import assign, kmeans

__all__ = [
    "Choose",
    "Examples",
    "best_single",
    "cheapest",
    "fit_kmeans",
    "fit_knn",
    "fit_per_group",
    "fit_ridge",
    "oracle",
    "uniform",
]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]

_BLOCK = 1_024


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Items of one pool: ``n`` requests that all ``A`` workers answered.

    Attributes:
        vectors: unit rows, ``[n, D]``.
        scores: 0 to 1, ``[n, A]``.
        cost: dollars, NaN unknown, ``[n, A]``.
        groups: domain or other label of each item, ``[n]``; told only to the method that needs it.
    """

    vectors: Vectors
    scores: Floats
    cost: Floats
    groups: Sequence[str]


Choose: TypeAlias = Callable[[Examples], Ints]
"""A fitted method: the column that it chooses for each item. It does not look at the scores."""


def best_single(train: Examples) -> Choose:
    """Always the worker that was best on the training items."""
    return _always(int(np.argmax(train.scores.mean(axis=0))))


def cheapest(train: Examples) -> Choose:
    """Always the worker whose calls cost least on the training items; unknown prices are passed over."""
    mean = np.where(
        np.isnan(train.cost).any(axis=0), np.inf, np.nan_to_num(train.cost).mean(axis=0)
    )
    return _always(int(np.argmin(mean)))


def _always(column: int) -> Choose:
    return lambda items: np.full(len(items.scores), column, dtype=np.int64)


def uniform(seed: int) -> Choose:
    """Any worker, with equal odds."""
    return lambda items: np.random.default_rng(seed).integers(
        0, items.scores.shape[1], len(items.scores)
    )


def oracle(items: Examples) -> Ints:
    """The best worker of each item, as only its answers can tell. No method can do better."""
    best: Ints = np.argmax(items.scores, axis=1)
    return best


def fit_per_group(train: Examples, *, prior: float = 5.0) -> Choose:
    """The best worker of each group, the group being told; the overall best where it is new."""
    overall = train.scores.mean(axis=0)
    labels = np.asarray(train.groups)
    best: dict[str, int] = {}
    for group in np.unique(labels):
        rows = train.scores[labels == group]
        best[str(group)] = int(
            np.argmax((rows.sum(axis=0) + prior * overall) / (len(rows) + prior))
        )
    rest = int(np.argmax(overall))
    return lambda items: np.array([best.get(group, rest) for group in items.groups], dtype=np.int64)


def fit_kmeans(train: Examples, *, k: int, seed: int, prior: float = 5.0) -> Choose:
    """The best worker of the nearest cluster (Avengers)."""
    centroids = kmeans(train.vectors, k, seed=seed)
    label = assign(train.vectors, centroids)
    overall = train.scores.mean(axis=0)
    total = np.stack([train.scores[label == c].sum(axis=0) for c in range(len(centroids))])
    size = np.bincount(label, minlength=len(centroids))[:, None]
    best = np.argmax((total + prior * overall) / (size + prior), axis=1)
    return lambda items: best[assign(items.vectors, centroids)]


def fit_knn(train: Examples, *, k: int) -> Choose:
    """The worker that was best on the nearest training items."""
    k = min(k, len(train.vectors))

    def choose(items: Examples) -> Ints:
        parts = []
        for start in range(0, len(items.vectors), _BLOCK):
            cosine = items.vectors[start : start + _BLOCK] @ train.vectors.T
            near = np.argpartition(-cosine, k - 1, axis=1)[:, :k]
            parts.append(np.argmax(train.scores[near].mean(axis=1), axis=1))
        return np.concatenate(parts)

    return choose


def fit_ridge(train: Examples, *, penalty: float) -> Choose:
    """The worker of the highest score as ridge regression on the vector predicts it."""
    mean, overall = train.vectors.mean(axis=0), train.scores.mean(axis=0)
    centred = (train.vectors - mean).astype(np.float64)
    gram = centred.T @ centred + penalty * np.eye(centred.shape[1])
    weights = np.linalg.solve(gram, centred.T @ (train.scores - overall))
    return lambda items: np.argmax((items.vectors - mean) @ weights + overall, axis=1)
