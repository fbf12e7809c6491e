"""Spherical k-means, soft assignment and a kernel: the only geometry that the selector needs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["assign", "kernel", "kmeans", "likeness", "soft_assign"]

Floats = NDArray[np.float32]
_NUGGET = 1e-3  # keeps likenesses of near-equal centroids solvable
_BLOCK = 4_096  # rows at a time, so that similarities stay within a few megabytes


def kmeans(
    vectors: Floats, k: int, *, seed: int, weight: Floats | None = None, rounds: int = 30
) -> Floats:
    """Unit centroids of ``k`` clusters (spherical k-means, k-means++ start, at most ``rounds``).

    Args:
        vectors: float32 ``[n, dim]``, unit rows.
        k: clusters asked for; fewer come back where there are fewer distinct vectors.
        seed: of the start.
        weight: how much each row counts, ``[n]``; all the same where not given.
        rounds: bound on Lloyd's iterations.

    Returns:
        float32 ``[<= k, dim]``.
    """
    rng = np.random.default_rng(seed)
    mass = np.ones(len(vectors), dtype=np.float64) if weight is None else weight.astype(np.float64)
    centroids = _spread_start(vectors, min(k, len(vectors)), mass, rng)
    label = np.full(len(vectors), -1)
    for _ in range(rounds):
        new = assign(vectors, centroids)
        if np.array_equal(new, label):
            break
        label = new
        order = np.argsort(label, kind="stable")
        starts = np.flatnonzero(np.diff(label[order], prepend=-1))
        weighted = vectors[order] * mass[order, None].astype(np.float32)
        sums = np.add.reduceat(weighted, starts, axis=0)
        centroids = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    return centroids.astype(np.float32)


def _spread_start(
    vectors: Floats, k: int, mass: NDArray[np.float64], rng: np.random.Generator
) -> Floats:
    """k-means++: each start is drawn with odds of its squared distance to the nearest one so far."""
    chosen = [int(rng.choice(len(vectors), p=mass / mass.sum()))]
    distance = np.maximum(2.0 - 2.0 * (vectors @ vectors[chosen[0]]), 0.0)
    while len(chosen) < k:
        odds = distance.astype(np.float64) * mass
        total = odds.sum()
        if total <= 1e-9 * mass.sum():  # fewer distinct vectors than clusters asked for
            break
        chosen.append(int(rng.choice(len(vectors), p=odds / total)))
        distance = np.minimum(
            distance, np.maximum(2.0 - 2.0 * (vectors @ vectors[chosen[-1]]), 0.0)
        )
    return vectors[chosen]


def assign(vectors: Floats, centroids: Floats) -> NDArray[np.int64]:
    """Index of the nearest centroid for each row, ``[n]``."""
    parts = [
        np.argmax(vectors[start : start + _BLOCK] @ centroids.T, axis=1)
        for start in range(0, len(vectors), _BLOCK)
    ]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)


def soft_assign(
    cosine: Floats, *, nearest: int, temperature: float
) -> tuple[NDArray[np.int64], Floats]:
    """The nearest few clusters of each row and how much each counts.

    Args:
        cosine: of each row to each centroid, float32 ``[n, K]``.
        nearest: clusters a row (at most K).
        temperature: of the softmax over cosines; small means that only the nearest counts.

    Returns:
        Indices ``[n, nearest]``, the nearest first, and weights ``[n, nearest]`` that sum to one.
    """
    index = (-cosine).argsort(axis=1)[:, :nearest]
    # by hand what take_along_axis does, which is slow for one row
    top = cosine[np.arange(len(cosine))[:, None], index]
    weight = np.exp((top - top[:, :1]) / temperature)
    weight /= weight.sum(axis=1, keepdims=True)
    return index, weight


def likeness(cosine: Floats, width: float) -> NDArray[np.float64]:
    """``exp(width (cosine - 1))``, of the shape of ``cosine``; ``width`` says how fast it falls with the angle."""
    like: NDArray[np.float64] = np.exp(width * (cosine.astype(np.float64) - 1.0))
    return like


def kernel(
    vectors: Floats, centroids: Floats, width: float, *, nugget: bool = False
) -> NDArray[np.float64]:
    """:func:`likeness` of each vector to each centroid, ``[n, K]``.

    Args:
        vectors: float32 ``[n, dim]``, unit rows.
        centroids: float32 ``[K, dim]``, unit rows.
        width: how fast likeness falls with the angle.
        nugget: add a little to the diagonal, for the square table of the centroids themselves.
    """
    table = likeness(vectors @ centroids.T, width)
    if nugget:
        table[np.diag_indices(len(centroids))] += _NUGGET
    return table
