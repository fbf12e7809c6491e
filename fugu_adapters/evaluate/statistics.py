"""Intervals and tests for paired comparisons. Everything random is seeded."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fugu_adapters.errors import InputError

__all__ = ["Estimate", "bootstrap_mean", "bootstrap_table", "mcnemar", "paired_bootstrap"]

_BLOCK = 2_000_000  # draws held at a time


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A mean with its bootstrap interval.

    Attributes:
        mean: over the sample.
        low: lower end of the interval.
        high: upper end of the interval.
        n: size of the sample.
    """

    mean: float
    low: float
    high: float
    n: int


def bootstrap_mean(
    values: ArrayLike, *, seed: int = 0, resamples: int = 5_000, level: float = 0.95
) -> Estimate:
    """Percentile bootstrap of a mean.

    Args:
        values: one number an item, ``[n]``.
        seed: of the resampling; the same seed gives the same interval.
        resamples: how many samples are drawn.
        level: coverage that is asked for.

    Raises:
        InputError: where there are no values, or some are not finite.
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or not len(sample) or not np.isfinite(sample).all():
        raise InputError(f"expected a list of finite numbers, got shape {sample.shape}")
    rng = np.random.default_rng(seed)
    means: list[NDArray[np.float64]] = []
    left = resamples
    while left > 0:
        rows = min(left, max(1, _BLOCK // len(sample)))
        means.append(sample[rng.integers(0, len(sample), (rows, len(sample)))].mean(axis=1))
        left -= rows
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(np.concatenate(means), [tail, 1.0 - tail])
    return Estimate(mean=float(sample.mean()), low=float(low), high=float(high), n=len(sample))


def bootstrap_table(
    values: NDArray[np.float64], *, seed: int = 0, resamples: int = 5_000, level: float = 0.95
) -> NDArray[np.float64]:
    """Percentile bootstrap of the means of many columns at once, all on the same resampled rows.

    Args:
        values: one row an item, one column a quantity, all finite, ``[n, M]``.
        seed: of the resampling.
        resamples: how many samples are drawn.
        level: coverage that is asked for.

    Returns:
        Lower and upper ends, ``[M, 2]``.
    """
    n = len(values)
    rng = np.random.default_rng(seed)
    means = []
    rows = max(1, _BLOCK // n)
    for start in range(0, resamples, rows):
        size = min(rows, resamples - start)
        flat = rng.integers(0, n, (size, n)) + np.arange(size)[:, None] * n
        counts = np.bincount(flat.ravel(), minlength=size * n).reshape(size, n)
        means.append(counts @ values / n)
    tail = (1.0 - level) / 2.0
    return np.quantile(np.concatenate(means), [tail, 1.0 - tail], axis=0).T


def paired_bootstrap(
    ours: ArrayLike,
    theirs: ArrayLike,
    *,
    seed: int = 0,
    resamples: int = 5_000,
    level: float = 0.95,
) -> Estimate:
    """Interval of the mean difference ``ours - theirs`` over the same items.

    Args:
        ours: one score an item, ``[n]``.
        theirs: the other method's scores of the same items, ``[n]``.
        seed: of the resampling.
        resamples: how many samples are drawn.
        level: coverage that is asked for.

    Raises:
        InputError: where the lists differ in length, are empty, or hold what is not finite.
    """
    a, b = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    if a.shape != b.shape:
        raise InputError(f"paired scores must match item by item, got {a.shape} and {b.shape}")
    return bootstrap_mean(a - b, seed=seed, resamples=resamples, level=level)


def mcnemar(ours: ArrayLike, theirs: ArrayLike) -> float:
    """Exact two-sided McNemar test: the probability of so uneven a split of the items that differ.

    Args:
        ours: right or wrong on each item, ``[n]``; numbers count as right from 0.5.
        theirs: the same for the other method.
    """
    a, b = np.asarray(ours, dtype=np.float64) >= 0.5, np.asarray(theirs, dtype=np.float64) >= 0.5
    if a.shape != b.shape:
        raise InputError(f"paired scores must match item by item, got {a.shape} and {b.shape}")
    wins, losses = int((a & ~b).sum()), int((~a & b).sum())
    n, least = wins + losses, min(wins, losses)
    if n == 0:
        return 1.0
    logs = [
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2.0)
        for k in range(least + 1)
    ]
    return min(1.0, 2.0 * math.fsum(math.exp(value) for value in logs))
