"""What choosing a worker per item could gain over always asking the best one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fugu_adapters.types import Outcome

__all__ = ["Headroom", "measure_headroom"]

_NEGLIGIBLE = 0.01  # a gain of one point in a hundred is within what wording changes do
_RESAMPLES = 2_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Headroom:
    """What choosing per item could gain over always asking one worker.

    Attributes:
        items: those that every worker has answered.
        best: the best single worker.
        best_score: its mean score.
        oracle_score: mean of the best score on each item: no chooser can do better.
        gain: their difference.
        interval: 90 % bootstrap interval of the difference over items.
        statement: one sentence for people.
    """

    items: int
    best: str
    best_score: float
    oracle_score: float
    gain: float
    interval: tuple[float, float]
    statement: str


def measure_headroom(outcomes: Sequence[Outcome], *, seed: int = 0) -> Headroom | None:
    """Oracle minus best single worker, over the items that all of the workers answered.

    Args:
        outcomes: of two or more workers; several samples of a pair are averaged.
        seed: of the bootstrap.

    Returns:
        ``None`` where fewer than two workers share an item.
    """
    names = sorted({outcome.worker for outcome in outcomes})
    cells: dict[tuple[str, str], dict[str, list[float]]] = {}
    for o in outcomes:
        cells.setdefault((o.suite, o.item_id), {}).setdefault(o.worker, []).append(o.score)
    shared = [row for row in cells.values() if len(row) == len(names)]
    if len(names) < 2 or not shared:
        return None
    table = np.array([[np.mean(row[name]) for name in names] for row in shared])
    means, oracle = table.mean(axis=0), table.max(axis=1)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(table), size=(_RESAMPLES, len(table)))
    gains = oracle[drawn].mean(axis=1) - table[drawn].mean(axis=1).max(axis=1)
    low, high = (float(x) for x in np.quantile(gains, (0.05, 0.95)))
    best, gain = int(means.argmax()), float(oracle.mean() - means.max())
    verdict = (
        f"no headroom: always asking {names[best]!r} is as good"
        if low < _NEGLIGIBLE
        else f"choosing per item can gain up to {gain:.1%} over always asking {names[best]!r}"
    )
    return Headroom(
        items=len(table),
        best=names[best],
        best_score=float(means[best]),
        oracle_score=float(oracle.mean()),
        gain=gain,
        interval=(low, high),
        statement=f"{verdict} (90 % interval {low:.1%} to {high:.1%}, {len(table)} items)",
    )
