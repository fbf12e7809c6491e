"""Ability of every worker in every cluster, adjusted for which items it happened to be measured on.

A Rasch model with abilities that vary over clusters, in a tree::

    p(worker w solves item i) = sigmoid(ability[w, cluster(i)] - difficulty[i])
    difficulty[i]          ~ N(mean of its cluster, item_sd^2)
    ability[w]             ~ N(regression on the worker's traits, worker_sd^2)
    ability[w, area]       ~ N(ability[w], area_sd^2)          an area is a group of clusters
    ability[w, cluster]    ~ N(ability[w, area], cluster_sd^2)

Workers were measured on different suites; without the difficulties, one that was only asked easy
questions would look best. Traits (price, age) tie suites together that share few workers: without them,
hard suites that only strong workers were asked would make strong workers look weak. The tree lets a cell with few outcomes lean on its area and on the worker as
a whole. Fitted by alternating one Newton step for the difficulties with an exact pass up and down the
tree under a Laplace approximation (Rasch 1960; Gelman and Hill 2007, chapter 14).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Ability", "AbilitySettings", "fit_ability", "shrink_tree"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class AbilitySettings:
    """Spreads of the model, on the logit scale, and how long to fit.

    Attributes:
        item_sd: of difficulties within a cluster.
        worker_sd: of workers around what their traits say.
        area_sd: of one worker's areas.
        cluster_sd: of one worker's clusters within an area.
        rounds: alternations.
        momentum: of the difficulties; suites that share few workers find their level slowly without.
    """

    item_sd: float = 1.5
    worker_sd: float = 0.7
    area_sd: float = 0.7
    cluster_sd: float = 0.6
    rounds: int = 200
    momentum: float = 0.9


@dataclass(frozen=True, kw_only=True, slots=True)
class Ability:
    """What was fitted, W workers by K clusters.

    Attributes:
        p: expected score over the cluster's items, ``[W, K]``.
        sd: standard deviation of ``p``, ``[W, K]``.
        count: outcomes, ``[W, K]``.
        difficulty: of each item that has outcomes, its cluster's mean elsewhere, ``[items]``.
    """

    p: Floats
    sd: Floats
    count: Floats
    difficulty: Floats


def fit_ability(
    *,
    worker: Ints,
    item: Ints,
    score: Floats,
    weight: Floats,
    cluster: Ints,
    area: Ints,
    traits: Floats,
    settings: AbilitySettings,
) -> Ability:
    """Fit the model.

    Args:
        worker: index of the worker of each outcome, ``[n]``.
        item: index of its item, ``[n]``.
        score: 0 to 1, ``[n]``.
        weight: how much it counts, ``[n]``.
        cluster: cluster of each item, ``[items]``; -1 for items to leave out.
        area: area of each cluster, ``[K]``.
        traits: what the catalogue says of each worker, standardised, 0 where unknown, ``[W, F]``.
        settings: spreads and rounds.
    """
    workers, k = len(traits), len(area)
    cell = worker * k + cluster[item]
    theta = np.zeros(workers * k)
    difficulty = np.zeros(len(cluster))
    variance = np.zeros(workers * k)
    before = difficulty
    for _ in range(settings.rounds):  # looking ahead along the last step speeds up the slow levels
        ahead = difficulty + settings.momentum * (difficulty - before)
        before = difficulty
        p = _sigmoid(theta[cell] - ahead[item])
        difficulty = _difficulty_step(ahead, p, item, score, weight, cluster, settings)
        p = _sigmoid(theta[cell] - difficulty[item])
        target, precision = _evidence(theta, cell, p, score, weight)
        mean, var = shrink_tree(
            target.reshape(workers, k), precision.reshape(workers, k), area, traits, settings
        )
        theta, variance = mean.ravel(), var.ravel()
    count = np.bincount(cell, minlength=workers * k).reshape(workers, k)
    p, slope = _expected(theta.reshape(workers, k), difficulty, cluster)
    sd = slope * np.sqrt(variance).reshape(workers, k)
    return Ability(p=p, sd=sd, count=count.astype(np.float64), difficulty=difficulty)


def _evidence(
    theta: Floats, cell: Ints, p: Floats, score: Floats, weight: Floats
) -> tuple[Floats, Floats]:
    """The ability that each cell's own outcomes ask for (one Newton step), and its precision."""
    precision = np.bincount(cell, weights=weight * p * (1 - p), minlength=len(theta))
    gradient = np.bincount(cell, weights=weight * (score - p), minlength=len(theta))
    step = np.clip(gradient / np.maximum(precision, 1e-9), -1.0, 1.0)
    return theta + np.where(precision > 1e-9, step, 0.0), precision.astype(np.float64)


def _difficulty_step(
    difficulty: Floats,
    p: Floats,
    item: Ints,
    score: Floats,
    weight: Floats,
    cluster: Ints,
    settings: AbilitySettings,
) -> Floats:
    """One damped Newton step for every item towards its outcomes and its cluster's mean."""
    size = len(difficulty)
    gradient = np.bincount(item, weights=weight * (p - score), minlength=size)
    curvature = np.bincount(item, weights=weight * p * (1 - p), minlength=size)
    seen = curvature > 0
    members = np.bincount(cluster[seen], minlength=cluster.max() + 1)
    total = np.bincount(cluster[seen], weights=difficulty[seen], minlength=len(members))
    centre = (total / np.maximum(members, 1))[cluster]
    prior = 1.0 / settings.item_sd**2
    step = (gradient - prior * (difficulty - centre)) / (curvature + prior)
    moved = np.clip(difficulty + np.clip(step, -1.5, 1.5), -8.0, 8.0)
    return np.where(seen, moved, centre)


def shrink_tree(
    target: Floats, precision: Floats, area: Ints, traits: Floats, settings: AbilitySettings
) -> tuple[Floats, Floats]:
    """Exact posterior of the cells given a noisy value for each: one pass up the tree, one down.

    Args:
        target: the value that each cell's own outcomes ask for, ``[W, K]``.
        precision: of that value, 0 where there are no outcomes, ``[W, K]``.
        area: area of each cluster, ``[K]``.
        traits: what the prior mean of a worker is regressed on, ``[W, F]``.
        settings: the spreads.

    Returns:
        Posterior mean and variance, ``[W, K]`` each.
    """
    areas = np.eye(int(area.max()) + 1)[area]  # [K, areas]
    cluster_var, area_var = settings.cluster_sd**2, settings.area_sd**2
    leaf = precision / (1 + precision * cluster_var)
    area_precision = leaf @ areas
    area_mean = (leaf * target) @ areas / np.maximum(area_precision, 1e-12)
    branch = area_precision / (1 + area_precision * area_var)
    own = branch.sum(axis=1, keepdims=True)
    own_mean = (branch * area_mean).sum(axis=1, keepdims=True) / np.maximum(own, 1e-12)
    prior = 1.0 / settings.worker_sd**2
    root_var = 1.0 / (own + prior)
    root = (own * own_mean + prior * _regress(own_mean, own, traits, prior)) * root_var
    mean, var = _descend(area_mean, area_precision, root, root_var, area_var)
    return _descend(target, precision, mean[:, area], var[:, area], cluster_var)


def _regress(value: Floats, precision: Floats, traits: Floats, prior: float) -> Floats:
    """Weighted ridge regression of the workers' values on their traits: fitted values, ``[W, 1]``."""
    design = np.column_stack([np.ones(len(traits)), traits])
    weight = precision / (1 + precision / prior)  # workers vary around the line as well
    gram = design.T @ (weight * design) + np.diag([1e-6] + [1.0] * traits.shape[1])
    fitted: Floats = design @ np.linalg.solve(gram, design.T @ (weight * value))
    return fitted


def _descend(
    own: Floats, precision: Floats, parent: Floats, parent_var: Floats, spread: float
) -> tuple[Floats, Floats]:
    """Posterior of children from their own evidence and their parent's posterior."""
    total = precision + 1.0 / spread
    pull = 1.0 / spread / total
    return (precision * own) / total + pull * parent, 1.0 / total + pull**2 * parent_var


def _expected(theta: Floats, difficulty: Floats, cluster: Ints) -> tuple[Floats, Floats]:
    """Mean over each cluster's items of the probability and of its slope, ``[W, K]`` each."""
    order = np.argsort(cluster, kind="stable")
    order = order[cluster[order] >= 0]
    label = cluster[order]
    starts = np.flatnonzero(np.diff(label, prepend=-1))
    present = label[starts]
    size = np.diff(starts, append=len(label))
    p, slope = np.empty_like(theta), np.empty_like(theta)
    for w in range(len(theta)):
        each = _sigmoid(theta[w, label] - difficulty[order])
        mean = np.add.reduceat(each, starts) / size
        p[w, present] = mean
        slope[w, present] = np.add.reduceat(each * (1 - each), starts) / size
    empty = np.setdiff1d(np.arange(theta.shape[1]), present)
    p[:, empty] = _sigmoid(theta[:, empty])
    slope[:, empty] = p[:, empty] * (1 - p[:, empty])
    return p, slope


def _sigmoid(x: Floats) -> Floats:
    return 0.5 * (1.0 + np.tanh(0.5 * x))
