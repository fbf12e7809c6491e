"""Ability of every worker over the space of requests: item response theory with a kernel.

    p(worker w solves request x) = sigmoid(a(x) . theta_w - b(x))

``a(x)`` is a constant and the request's kernel features: likenesses ``exp(width (cosine - 1))`` to the K
centroids, whitened, so that a standard normal ``theta_w`` is a smooth random surface (a Gaussian process
at inducing points). ``theta_w`` is the worker's profile vector; ``b`` is one more surface, the difficulty
that all workers share. Multidimensional item response theory (Reckase, 2009) with demands computed from
the prompt, fitted by likelihood.

How much workers differ from place to place is learned from the outcomes and not set: the variance of
each worker's surface is its evidence maximum (MacKay, 1992), drawn towards that of the others. Where
outcomes show no difference that a prompt could tell, it goes to zero, every worker is as good
everywhere as on average, and the choice stays with the best single worker.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fugu_adapters.policies.clusters import kernel

__all__ = ["Ability", "AbilitySettings", "fit_ability", "sigmoid", "spread_of"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_FLAT = 1e-4  # least variance of a surface
_STRICT = 1e6  # precision that fixes the mean of the shared difficulty at zero


@dataclass(frozen=True, kw_only=True, slots=True)
class AbilitySettings:
    """Priors and rounds.

    Attributes:
        worker_sd: of a worker's mean ability around what its traits say, in logits.
        spread: standard deviation of a worker's surface before any outcome, in logits.
        belief: how many measured numbers ``spread`` counts for against the outcomes; little data needs some.
        pooling: how many measured numbers the common spread counts for beside a worker's own.
        rounds: alternations of difficulty, abilities and their variances.
    """

    worker_sd: float = 1.5
    spread: float = 0.55
    belief: float = 0.0
    pooling: float = 10.0
    rounds: int = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Ability:
    """What was fitted, W workers by K centroids.

    Attributes:
        p: expected score at the centroid, ``[W, K]``.
        sd: standard deviation of ``p``, ``[W, K]``.
        level: expected score over the cluster's items, ``[W, K]``.
        spread: standard deviation of each worker's surface, in logits, ``[W]``.
    """

    p: Floats
    sd: Floats
    level: Floats
    spread: Floats


def fit_ability(
    *,
    worker: Ints,
    item: Ints,
    score: Floats,
    weight: Floats,
    vectors: NDArray[np.float32],
    centroids: NDArray[np.float32],
    cluster: Ints,
    width: float,
    traits: Floats,
    settings: AbilitySettings,
) -> Ability:
    """Fit the model by alternating Newton steps.

    Args:
        worker: index of the worker of each outcome, ``[n]``.
        item: index of its item, ``[n]``.
        score: 0 to 1, ``[n]``.
        weight: how much it counts, ``[n]``.
        vectors: of the items, unit rows, ``[items, D]``.
        centroids: where abilities are kept, unit rows, ``[K, D]``.
        cluster: nearest centroid of each item that has outcomes, ``[items]``.
        width: of the kernel.
        traits: what the catalogue says of each worker, standardised, 0 where unknown, ``[W, F]``.
        settings: priors and rounds.
    """
    whiten = _whitener(centroids, width)
    used, item = np.unique(item, return_inverse=True)
    features = _design(vectors[used], centroids, width, whiten)
    order = np.argsort(worker, kind="stable")
    item, score, weight = item[order], score[order], weight[order]
    ends = np.searchsorted(worker[order], np.arange(len(traits) + 1))
    fit = _Fit(features, item, score, weight, ends, traits, settings)
    for number in range(settings.rounds):
        fit.difficulty_step(steps=4 if number == 0 else 2)
        fit.ability_step(steps=6 if number == 0 else 2)
    at = _design(centroids, centroids, width, whiten).astype(np.float64)
    z = (fit.theta + fit.shared) @ at.T
    p = sigmoid(z)
    return Ability(
        p=p,
        sd=spread_of(p, fit.variances_at(at)),
        level=_levels(fit.theta + fit.shared, features, cluster[used], p),
        spread=np.sqrt(fit.variance),
    )


def _levels(surface: Floats, features: NDArray[np.float32], cluster: Ints, p: Floats) -> Floats:
    """Mean expected score of each worker over the items of each cluster; ``p`` where there are none."""
    levels = p.copy()
    order = np.argsort(cluster, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(cluster[order])) + 1):
        z = surface.astype(np.float32) @ features[rows].T
        levels[:, cluster[rows[0]]] = sigmoid(z).mean(axis=1)
    return levels


def spread_of(p: Floats, variance: Floats) -> Floats:
    """Standard deviation of a probability whose logit has this variance, of the shape of ``p``.

    The slope times the logit's for small variances, that of a coin for large ones.
    """
    slope = p * (1 - p)
    spread: Floats = np.sqrt(slope * (1.0 - 1.0 / np.sqrt(1.0 + 2.0 * slope * variance)))
    return spread


def _whitener(centroids: NDArray[np.float32], width: float) -> Floats:
    value, vector = np.linalg.eigh(kernel(centroids, centroids, width, nugget=True))
    whiten: Floats = vector / np.sqrt(np.maximum(value, 1e-9))
    return whiten


def _design(
    vectors: NDArray[np.float32], centroids: NDArray[np.float32], width: float, whiten: Floats
) -> NDArray[np.float32]:
    """A one, then the whitened kernel features, ``[n, 1 + K]``."""
    same = vectors is centroids
    likeness = kernel(vectors, centroids, width, nugget=same)
    rows = np.ones((len(vectors), 1 + len(centroids)), dtype=np.float32)
    rows[:, 1:] = likeness.astype(np.float32) @ whiten.astype(np.float32)
    return rows


class _Fit:
    """State of the alternation; outcomes are sorted by worker, ``ends`` bounds each worker's."""

    def __init__(
        self, features: NDArray[np.float32], item: Ints, score: Floats, weight: Floats,
        ends: Ints, traits: Floats, settings: AbilitySettings,
    ) -> None:  # fmt: skip
        self.features, self.item, self.score, self.weight = features, item, score, weight
        self.ends, self.traits, self.settings = ends, traits, settings
        workers, size = len(traits), features.shape[1]
        self.theta = np.zeros((workers, size))
        self.shared = np.zeros(size)
        self.variance = np.full(workers, settings.spread**2)
        self.shared_variance = 1.0
        self.asked = [w for w in range(workers) if ends[w + 1] > ends[w]]
        for w in self.asked:
            rows = slice(ends[w], ends[w + 1])
            total = weight[rows].sum()
            rate = ((weight[rows] * score[rows]).sum() + 0.5) / (total + 1.0)
            self.theta[w, 0] = np.log(rate / (1 - rate))
        self.centre = self.theta[:, 0].copy()  # of the mean abilities, by traits

    def difficulty_step(self, *, steps: int) -> None:
        """Newton steps for the surface that all workers share, and its variance."""
        size = len(self.shared)
        own = np.empty(len(self.item))
        for w in self.asked:
            rows = slice(self.ends[w], self.ends[w + 1])
            own[rows] = (self.features @ self.theta[w].astype(np.float32))[self.item[rows]]
        prior = np.full(size, 1.0 / self.shared_variance)
        prior[0] = _STRICT
        count = len(self.features)
        for _ in range(steps):
            common = self.features @ self.shared.astype(np.float32)
            p = sigmoid(own + common[self.item])
            slope = np.bincount(self.item, weights=self.weight * p * (1 - p), minlength=count)
            miss = np.bincount(self.item, weights=self.weight * (self.score - p), minlength=count)
            hessian = _gram(self.features, slope.astype(np.float64), prior)
            gradient = miss.astype(np.float32) @ self.features - prior * self.shared
            self.shared += _bounded(np.linalg.solve(hessian, gradient))
        inverse = np.linalg.inv(hessian)
        known = size - 1 - np.trace(inverse[1:, 1:]) / self.shared_variance
        surface = float(self.shared[1:] @ self.shared[1:])
        self.shared_variance = max(surface / max(known, 1e-6), 1e-3)

    def ability_step(self, *, steps: int) -> None:
        """Newton steps for every worker's own surface, then the variances and the trait regression."""
        common = self.features @ self.shared.astype(np.float32)
        known, surface = np.zeros(len(self.traits)), np.zeros(len(self.traits))
        for w in self.asked:
            for _ in range(steps):
                hessian, gradient = self._local(w, common)
                step = _bounded(np.linalg.solve(hessian, gradient))
                self.theta[w] += step
                if np.abs(step).max() < 1e-2:
                    break
            inverse = np.linalg.inv(hessian)
            known[w] = len(step) - 1 - np.trace(inverse[1:, 1:]) / self.variance[w]
            surface[w] = self.theta[w, 1:] @ self.theta[w, 1:]
        pooling, belief = self.settings.pooling, self.settings.belief
        typical = surface.sum() + belief * self.settings.spread**2
        typical /= max(known.sum() + belief, 1e-6)
        self.variance = np.maximum((surface + pooling * typical) / (known + pooling), _FLAT)
        self._regress()

    def _local(self, w: int, common: NDArray[np.float32]) -> tuple[Floats, Floats]:
        """Hessian and gradient of one worker's negative and positive log posterior."""
        rows = slice(self.ends[w], self.ends[w + 1])
        prior = np.full(self.theta.shape[1], 1.0 / self.variance[w])
        prior[0] = 1.0 / self.settings.worker_sd**2
        mine, weight = self.features[self.item[rows]], self.weight[rows]
        p = sigmoid(mine @ self.theta[w].astype(np.float32) + common[self.item[rows]])
        miss = (weight * (self.score[rows] - p)).astype(np.float32)
        mean = np.zeros_like(prior)
        mean[0] = self.centre[w]
        return _gram(mine, weight * p * (1 - p), prior), miss @ mine - prior * (
            self.theta[w] - mean
        )

    def variances_at(self, rows: Floats) -> Floats:
        """Posterior variance (Laplace) of each worker's ability at these features, ``[W, n]``."""
        common = self.features @ self.shared.astype(np.float32)
        size = (rows[:, 1:] ** 2).sum(axis=1)
        var = self.settings.worker_sd**2 + self.variance[:, None] * size
        for w in self.asked:
            hessian, _ = self._local(w, common)
            var[w] = (np.linalg.solve(hessian, rows.T) * rows.T).sum(axis=0)
        return np.asarray(var, dtype=np.float64)

    def _regress(self) -> None:
        """Ridge regression of mean abilities on traits, measured workers counting more."""
        design = np.column_stack([np.ones(len(self.traits)), self.traits])
        outcomes = np.diff(self.ends)
        weight = (outcomes / (outcomes + 20.0))[:, None]
        gram = design.T @ (weight * design) + np.diag([1e-6] + [1.0] * self.traits.shape[1])
        line = np.linalg.solve(gram, design.T @ (weight[:, 0] * self.theta[:, 0]))
        self.centre = design @ line
        unasked = outcomes == 0
        self.theta[unasked, 0] = self.centre[unasked]


def _gram(rows: NDArray[np.float32], weight: Floats, prior: Floats) -> Floats:
    scaled = rows * np.sqrt(np.maximum(weight, 0.0)).astype(np.float32)[:, None]
    gram: Floats = (scaled.T @ scaled).astype(np.float64)
    gram[np.diag_indices(len(prior))] += prior
    return gram


def _bounded(step: NDArray[np.floating]) -> Floats:
    """A Newton step, shortened where it would leave the region it was computed in."""
    size = float(np.abs(step).max())
    return np.asarray(step * min(1.0, 4.0 / max(size, 1e-9)), dtype=np.float64)


def sigmoid(x: NDArray[np.floating]) -> Floats:
    """Of logits, in double precision and without overflow."""
    p: Floats = 0.5 * (1.0 + np.tanh(0.5 * np.asarray(x, dtype=np.float64)))
    return p
