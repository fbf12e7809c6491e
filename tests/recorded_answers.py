"""Recorded answers that are made up, for tests of whatever is learned from them."""

from __future__ import annotations

import numpy as np

from fugu_adapters.evaluate.votes import Recorded


def made_up(
    n: int = 600, skill: tuple[float, ...] = (0.75, 0.72, 0.7, 0.68), seed: int = 0
) -> Recorded:
    """Independent workers of like price; wrong answers are one of thirty, the right one is 0."""
    rng = np.random.default_rng(seed)
    p = np.array(skill)
    right = rng.random((n, len(p))) < p
    answer = np.where(right, 0, rng.integers(1, 30, right.shape))
    answer[rng.random(answer.shape) < 0.02] = -1
    return Recorded(
        workers=tuple(f"w{index}" for index in range(len(p))),
        answer=answer,
        scores=(answer == 0).astype(float),
        cost=np.full(answer.shape, 0.001),
        forecast=np.clip(np.tile(p, (n, 1)) + rng.normal(0, 0.02, answer.shape), 0, 1),
    )
