"""How hard single items are beyond what their text tells, from how workers with a profile did on them.

An item is easier or harder than its text tells. With ``d`` that difference, normal with deviation ``sd``,
the average over items is flatter than each item (probit scaling: MacKay, 1992), so

    p(right | item) = sigmoid((slope z - d) / widening),  slope^2 = 1 + pi / 8 sd^2,  widening^2 = 1 + pi / 8 var(d)

and where nothing is known of ``d`` that is ``sigmoid(z)``, the average, again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fugu_adapters.learn.ability import sigmoid
from fugu_adapters.policies.clusters import assign, kernel
from fugu_adapters.policies.selector import trust_of
from fugu_adapters.policies.weights import Bundle

__all__ = [
    "NARROWING",
    "Difficulty",
    "item_difficulty",
    "loadings",
    "logits",
    "response",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Vectors = NDArray[np.float32]

NARROWING = math.pi / 8
"""A sigmoid averaged over a normal of variance v is about ``sigmoid(z / sqrt(1 + pi / 8 v))``."""

_STEPS, _CLOSE = 50, 1e-6  # of Newton's method


@dataclass(frozen=True, kw_only=True, slots=True)
class Difficulty:
    """How much harder items are than their text tells.

    Attributes:
        mean: logits, ``[n]``.
        var: its variance, ``[n]``.
    """

    mean: Floats
    var: Floats

    def of(self, items: Ints) -> Difficulty:
        """Only these items."""
        return Difficulty(mean=self.mean[items], var=self.var[items])


def logits(bundle: Bundle) -> Floats:
    """Of the expected scores at the centroids, ``[W, K]``."""
    p = np.clip(bundle.p.astype(np.float64), 1e-3, 1 - 1e-3)
    return np.log(p / (1 - p))


def loadings(bundle: Bundle, vectors: Vectors) -> Floats:
    """What carries logits at the centroids to requests, as the selector does, ``[n, K]``.

    Args:
        bundle: centroids and kernel.
        vectors: of the requests, unit rows, ``[n, D]``.
    """
    near = assign(vectors, bundle.centroids)
    trust = trust_of(bundle, vectors, near)
    rise = kernel(vectors, bundle.centroids, bundle.settings.width) @ bundle.carry
    rise *= trust[:, None]
    carried: Floats = rise + (1.0 - rise.sum(axis=1, keepdims=True)) * bundle.mass
    return carried


def item_difficulty(
    bundle: Bundle,
    vectors: Vectors,
    *,
    item: Ints,
    profile: Ints,
    score: Floats,
    weight: Floats | None = None,
    guess: Floats | None = None,
    sd: float,
) -> Difficulty:
    """Each item's own difficulty, from how workers with a profile did on it.

    Args:
        bundle: what is expected of them.
        vectors: of the items, ``[n, D]``.
        item: index of the item of each outcome, ``[m]``.
        profile: row of its worker, ``[m]``.
        score: 0 to 1, ``[m]``.
        weight: how much it counts, ``[m]``; all the same where not given.
        guess: of the difficulty before any outcome, ``[n]``; zero where not given.
        sd: of items' difficulties, logits.
    """
    count, spread = len(vectors), sd**2
    weight = np.ones(len(item)) if weight is None else weight
    guess = np.zeros(count) if guess is None else guess
    expected = loadings(bundle, vectors) @ logits(bundle).T
    z = math.sqrt(1.0 + NARROWING * spread) * expected[item, profile]
    mean = guess.copy()
    for _ in range(_STEPS):
        p = sigmoid(z - mean[item])
        miss = np.bincount(item, weights=weight * (p - score), minlength=count)
        info = np.bincount(item, weights=weight * p * (1 - p), minlength=count) + 1.0 / spread
        step = np.clip((miss - (mean - guess) / spread) / info, -2.0, 2.0)
        mean = mean + step
        if np.abs(step).max(initial=0.0) < _CLOSE:
            break
    return Difficulty(mean=mean, var=np.reciprocal(info, dtype=np.float64))


def response(difficulty: Difficulty | None, count: int, *, sd: float) -> tuple[Floats, Floats]:
    """Slope over the ability and what is taken off, for each probe, ``[n]`` each."""
    if difficulty is None:
        return np.ones(count), np.zeros(count)
    widening = np.sqrt(1.0 + NARROWING * difficulty.var)
    slope = math.sqrt(1.0 + NARROWING * sd**2)
    return slope / widening, difficulty.mean / widening
