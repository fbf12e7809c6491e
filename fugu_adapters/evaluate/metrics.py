"""What is measured of a routing method, from a dense table of scores and the choices it made."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "calibration_error",
    "chosen",
    "cost_at_quality",
    "cost_per_1k",
    "gap_closed",
    "rare_recall",
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
