"""What is measured of a routing method, from a dense table of scores and the choices it made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "calibration_error",
    "chosen",
    "cost_at_quality",
    "cost_per_1k",
    "curve_area",
    "envelope",
    "gap_closed",
    "rare_recall",
    "tradeoff",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def chosen(table: Floats, choice: Ints) -> Floats:
    """The value of the chosen worker on each item, ``[n]``, from a table ``[n, A]``."""
    return table[np.arange(len(choice)), choice]


def cost_per_1k(cost: Floats, choice: Ints) -> float | None:
    """Dollars for a thousand requests, or ``None`` where the cost of a chosen call is unknown.

    Args:
        cost: dollars, NaN unknown, ``[n, A]``.
        choice: chosen column of each item, ``[n]``.
    """
    paid = chosen(cost, choice)
    return None if not len(paid) or np.isnan(paid).any() else float(paid.mean() * 1_000)


def gap_closed(score: float, single: float, oracle: float) -> float | None:
    """Share of the way from the best single worker to the oracle; ``None`` where there is no way."""
    return None if oracle - single < 1e-9 else (score - single) / (oracle - single)


def rare_recall(scores: Floats, choice: Ints, *, at_most: int = 2) -> float | None:
    """Mean score on items that some but at most ``at_most`` workers solve; ``None`` without such items.

    Args:
        scores: 0 to 1, ``[n, A]``; solved from 0.5.
        choice: chosen column of each item, ``[n]``.
        at_most: workers that may solve a rare item.
    """
    solved = (scores >= 0.5).sum(axis=1)
    rare = (solved >= 1) & (solved <= at_most)
    return float(chosen(scores, choice)[rare].mean()) if rare.any() else None


def cost_at_quality(curve: Iterable[tuple[float, float]], quality: float) -> float | None:
    """Least cost on a cost-quality curve at which a quality is reached, points joined by lines.

    Args:
        curve: (cost, quality) points, in any order.
        quality: what has to be reached.

    Returns:
        The cost, or ``None`` where no point reaches it.
    """
    points = sorted(curve)
    best: float | None = None
    for index, (cost, reached) in enumerate(points):
        if reached < quality:
            continue
        here = cost
        below = [(c, q) for c, q in points[:index] if q < quality]
        if below:
            c, q = max(below, key=lambda point: point[1])
            here = c + (cost - c) * (quality - q) / (reached - q)
        best = here if best is None else min(best, here)
    return best


def tradeoff(p: Floats, expected: Floats, *, steps: int = 60) -> list[Ints]:
    """Choices along a cost-quality curve: the highest ``p - rate * expected`` for growing rates.

    Args:
        p: predicted scores, ``[n, A]``.
        expected: predicted dollars, all finite, ``[n, A]``; a table with one row serves all items.
        steps: rates, from where only score counts to where only dollars do.

    Returns:
        Chosen columns for each rate, each ``[n]``.
    """
    positive = expected[expected > 0]
    if not len(positive):
        return [np.argmax(p, axis=1)]
    rates = np.geomspace(1e-3 / positive.max(), 1e3 / positive.min(), steps)
    return [np.argmax(p - rate * expected, axis=1) for rate in (0.0, *rates)]


def envelope(curve: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The (cost, quality) points that no other point beats on both, by rising cost."""
    kept: list[tuple[float, float]] = []
    for cost, quality in sorted(curve, key=lambda point: (point[0], -point[1])):
        if not kept or quality > kept[-1][1]:
            kept.append((cost, quality))
    return kept


def curve_area(
    curve: Sequence[tuple[float, float]], singles: Floats, quality: Floats
) -> float | None:
    """Mean quality over budgets: the normalised area under a cost-quality curve, cost on a log scale.

    The quality at a budget is the best of the curve's points that cost no more; budgets run from the
    cheapest to the dearest single worker, and below the first point the cheapest worker's quality holds.

    Args:
        curve: (cost, quality) points, in any order.
        singles: mean cost of each single worker, ``[A]``.
        quality: mean score of each single worker, ``[A]``.

    Returns:
        0 to 1, or ``None`` where a cost is unknown or zero, or all cost the same.
    """
    low, high = float(singles.min()), float(singles.max())
    if not np.isfinite(singles).all() or not 0.0 < low < high:
        return None
    start = (low, float(quality[np.argmin(singles)]))
    points = envelope(
        [start, *((max(cost, low), reached) for cost, reached in curve if cost <= high)]
    )
    edges = np.log([*(cost for cost, _ in points), high])
    return float(np.diff(edges) @ [reached for _, reached in points] / (edges[-1] - edges[0]))


def calibration_error(p: Floats, score: Floats, *, bins: int = 15) -> float:
    """Expected calibration error over bins of equal count.

    Args:
        p: predicted score of each call, ``[n]``.
        score: what it scored, ``[n]``.
        bins: how many.
    """
    order = np.argsort(p, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    total = sum(len(part) * abs(float(p[part].mean() - score[part].mean())) for part in parts)
    return total / max(len(order), 1)
