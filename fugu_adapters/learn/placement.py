"""Placing a new worker by a few probes: a Gaussian belief about its ability at every centroid.

Before any probe, a new worker is the average one, shifted by its list price; how workers differ from that
is learned from those that were measured: the main directions in which their abilities vary, an offset for
all, and a smooth remainder. Each probe's score then moves the belief where the probe's text is, and along
those directions everywhere else (a Gaussian process for classification by Laplace's approximation:
MacKay, 1992; Rasmussen and Williams, 2006, algorithm 3.1).

Which probes to ask is adaptive testing by Fisher information (van der Linden and Glas, 2010): each next one
is what narrows the expected score most, over the requests that the bundle was made of.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fugu_adapters.learn.ability import sigmoid
from fugu_adapters.learn.difficulty import (
    NARROWING,
    Difficulty,
    loadings,
    logits,
    response,
)
from fugu_adapters.policies.clusters import assign, kernel
from fugu_adapters.policies.weights import Bundle, logit

__all__ = [
    "Placement",
    "PlacementSettings",
    "add_profile",
    "choose_probes",
    "place",
    "prior_placement",
    "without",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Vectors = NDArray[np.float32]

_ROWS = ("p", "sd", "level", "count", "log_tokens", "seconds")  # tables with a row for each profile
_STEPS, _CLOSE = 50, 1e-6  # of Newton's method
_ODDS = 6.0  # logits beyond which nothing is believed


@dataclass(frozen=True, kw_only=True, slots=True)
class PlacementSettings:
    """Priors of a new worker; chosen on the dev split.

    Attributes:
        measured: outcomes from which a profile shows how workers differ.
        factors: main directions that are kept of how they do.
        factor_scale: how much of their variance a new worker is given; the rows are shrunken estimates.
        surface_sd: of the smooth remainder, in logits.
        item_sd: of an item's own difficulty, in logits.
        verbosity: replies that the usual length counts for.
    """

    measured: int = 200
    factors: int = 8
    factor_scale: float = 1.0
    surface_sd: float = 0.3
    item_sd: float = 1.5
    verbosity: float = 2.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Placement:
    """What is believed of one worker.

    Attributes:
        mean: logits at the centroids, ``[K]``.
        cov: their covariance, ``[K, K]``.
        log_tokens: natural logarithm of the expected reply tokens, ``[K]``.
        seconds: expected seconds, -1 where unknown, ``[K]``.
        count: outcomes behind it, ``[K]``.
        settings: what it was made with.
    """

    mean: Floats
    cov: Floats
    log_tokens: Floats
    seconds: Floats
    count: Floats
    settings: PlacementSettings = field(default_factory=PlacementSettings)

    @property
    def p(self) -> Floats:
        """Expected score at the centroids, ``[K]``."""
        return sigmoid(self.mean / np.sqrt(1.0 + NARROWING * np.diag(self.cov)))

    @property
    def sd(self) -> Floats:
        """Standard deviation of the score at the centroids, ``[K]``."""
        p: Floats = self.p
        return p * (1 - p) * np.sqrt(np.diag(self.cov))

    def average(self, mass: NDArray[np.floating]) -> tuple[float, float]:
        """Expected score over a mix of the clusters, and its standard deviation."""
        p = self.p
        slope = mass * p * (1 - p)
        return float(mass @ p), math.sqrt(max(float(slope @ self.cov @ slope), 0.0))


def prior_placement(
    bundle: Bundle,
    profile: str | None = None,
    price: float | None = None,
    settings: PlacementSettings | None = None,
) -> Placement:
    """What is believed of a worker before any probe.

    Args:
        bundle: the profiles of others.
        profile: its row in the bundle, where it has one already.
        price: dollars per million reply tokens, ``None`` where unknown.
        settings: priors.
    """
    settings = settings or PlacementSettings()
    cov = _covariance(bundle, settings)
    timed = np.where(bundle.seconds < 0, np.nan, bundle.seconds)
    known = np.isfinite(timed).any(axis=0)
    usual = np.where(known, np.nanmedian(np.where(known, timed, 1.0), axis=0), -1.0)
    belief = Placement(
        mean=bundle.crowd.astype(np.float64) + _shift(bundle, price),
        cov=cov,
        log_tokens=np.median(bundle.log_tokens, axis=0).astype(np.float64),
        seconds=usual,
        count=np.zeros(len(cov)),
        settings=settings,
    )
    row = None if profile is None else bundle.index.get(profile)
    return belief if row is None else _from_row(bundle, row, belief)


def _shift(bundle: Bundle, price: float | None) -> float:
    intercept, slope, _, centre = (float(value) for value in bundle.tier)
    return intercept + (slope * (math.log10(price) - centre) if price else 0.0)


def _from_row(bundle: Bundle, row: int, usual: Placement) -> Placement:
    """The belief that a row of the bundle holds; a measured one keeps its own uncertainty."""
    p = np.clip(bundle.p[row].astype(np.float64), 1e-3, 1 - 1e-3)
    count = bundle.count[row].astype(np.float64)
    seconds = bundle.seconds[row].astype(np.float64)
    cov = usual.cov
    if count.sum() > 0:
        ratio = bundle.sd[row] / (p * (1 - p)) / np.sqrt(np.diag(cov))
        cov = cov * np.minimum(ratio, 1.0)[:, None] * np.minimum(ratio, 1.0)
    return replace(
        usual, mean=np.log(p / (1 - p)), cov=cov, count=count,
        log_tokens=bundle.log_tokens[row].astype(np.float64),
        seconds=np.where(seconds < 0, usual.seconds, seconds),
    )  # fmt: skip


def _covariance(bundle: Bundle, settings: PlacementSettings) -> Floats:
    """How the abilities of a worker that nothing is known of vary together, ``[K, K]``."""
    cov = settings.surface_sd**2 * kernel(
        bundle.centroids, bundle.centroids, bundle.settings.width, nugget=True
    )
    cov += float(bundle.tier[2]) ** 2
    rows = logits(bundle)[bundle.count.sum(axis=1) >= settings.measured]
    if len(rows) < 3:
        return cov
    rows = rows - rows.mean(axis=0)
    rows -= (rows @ bundle.mass)[:, None]  # the offset has a variance of its own
    _, size, direction = np.linalg.svd(rows, full_matrices=False)
    kept = min(settings.factors, len(rows) - 1)
    scaled = direction[:kept] * size[:kept, None] / math.sqrt(len(rows) + settings.factors)
    cov += settings.factor_scale * scaled.T @ scaled
    return cov


def choose_probes(
    bundle: Bundle,
    vectors: Vectors,
    count: int,
    prior: Placement,
    difficulty: Difficulty | None = None,
    mass: NDArray[np.floating] | None = None,
) -> Ints:
    """The probes that are expected to narrow the belief most, best first.

    Greedy: each next one reduces the variance of the expected score, weighted over the clusters, as much
    as any can; an answer's information is ``p (1 - p)``, and the belief is narrowed by rank-one steps.

    Args:
        bundle: centroids and kernel.
        vectors: of the candidates, unit rows, ``[n, D]``.
        count: how many are wanted.
        prior: what is believed so far.
        difficulty: of the candidates, where something is known of it.
        mass: share of requests of each cluster, ``[K]``; the bundle's own where not given.

    Returns:
        Indices of candidates, ``[<= count]``, all different.
    """
    carried = loadings(bundle, vectors)
    p = prior.p
    value = (bundle.mass if mass is None else mass) * (p * (1 - p)) ** 2
    reach = carried @ prior.cov  # covariance of each candidate with the centroids
    variance = np.einsum("nk,nk->n", reach, carried)
    slope, taken = response(difficulty, len(vectors), sd=prior.settings.item_sd)
    right = sigmoid((slope * (carried @ prior.mean) - taken) / np.sqrt(1 + NARROWING * slope**2 * variance))  # fmt: skip
    return _greedy(carried, reach, value, slope**2 * right * (1 - right), count)


def _greedy(carried: Floats, reach: Floats, value: Floats, info: Floats, count: int) -> Ints:
    """Rank-one steps, none of which touches the table of covariances: each costs two products with it.

    Args:
        carried: loadings of the candidates, ``[n, K]``.
        reach: their covariance with the centroids, ``[n, K]``.
        value: of a centroid's variance, ``[K]``.
        info: of each candidate's answer, ``[n]``.
        count: how many to choose.
    """
    variance = np.einsum("nk,nk->n", reach, carried)
    worth = np.einsum("nk,nk,k->n", reach, reach, value)
    chosen: list[int] = []
    taken: list[tuple[float, Floats, Floats]] = []  # reach has lost step * share * row of each
    for _ in range(min(count, len(carried))):
        gain = info / (1 + info * variance) * worth
        gain[chosen] = -1.0
        best = int(np.argmax(gain))
        chosen.append(best)
        row, share = reach[best].copy(), reach @ carried[best]
        for old_step, old_share, old_row in taken:
            row -= old_step * old_share[best] * old_row
            share -= old_step * (old_row @ carried[best]) * old_share
        along = reach @ (value * row)
        for old_step, old_share, old_row in taken:
            along -= old_step * ((value * old_row) @ row) * old_share
        step = info[best] / (1 + info[best] * variance[best])
        variance = np.maximum(variance - step * share**2, 0.0)
        worth = worth - 2 * step * share * along + (step * share) ** 2 * (value @ row**2)
        taken.append((step, share, row))
    return np.array(chosen, dtype=np.int64)


def place(
    bundle: Bundle,
    prior: Placement,
    vectors: Vectors,
    scores: Floats,
    *,
    difficulty: Difficulty | None = None,
    tokens: Floats | None = None,
    seconds: Floats | None = None,
) -> Placement:
    """What is believed of a worker after its probes.

    Args:
        bundle: centroids and kernel.
        prior: what was believed before.
        vectors: of the probes, unit rows, ``[n, D]``.
        scores: 0 to 1, ``[n]``.
        difficulty: of the probes, where something is known of it.
        tokens: of the replies, NaN unknown, ``[n]``.
        seconds: that they took, NaN unknown, ``[n]``.
    """
    if not len(vectors):
        return prior
    carried = loadings(bundle, vectors)
    slope, taken = response(difficulty, len(vectors), sd=prior.settings.item_sd)
    design = carried * slope[:, None]
    reach = prior.cov @ design.T
    spread = design @ reach
    start = design @ prior.mean - taken
    pull, weight = _mode(spread, start, np.asarray(scores, dtype=np.float64))
    root = np.sqrt(weight)
    solved = np.linalg.solve(np.eye(len(root)) + root[:, None] * spread * root, root[:, None] * reach.T)  # fmt: skip
    near = assign(vectors, bundle.centroids)
    verbosity = prior.settings.verbosity
    return replace(
        prior,
        mean=np.clip(prior.mean + reach @ pull, -_ODDS, _ODDS),
        cov=prior.cov - (reach * root) @ solved,
        count=prior.count + np.bincount(near, minlength=len(prior.mean)),
        log_tokens=_shifted(prior.log_tokens, near, tokens, verbosity),
        seconds=_timed(prior.seconds, near, seconds, verbosity),
    )


def _mode(spread: Floats, start: Floats, scores: Floats) -> tuple[Floats, Floats]:
    """Newton's method for the most likely logits of the probes.

    Returns:
        What pulls on each, in units of the prior's inverse covariance, and the information of each answer.
    """
    pull = np.zeros(len(start))
    for _ in range(_STEPS):
        z = start + spread @ pull
        p = sigmoid(z)
        weight = np.maximum(p * (1 - p), 1e-9)
        root = np.sqrt(weight)
        wanted = weight * (z - start) + scores - p
        inner = np.eye(len(root)) + root[:, None] * spread * root
        new = wanted - root * np.linalg.solve(inner, root * (spread @ wanted))
        moved = spread @ (new - pull)
        pull = pull + (new - pull) * min(1.0, 3.0 / max(float(np.abs(moved).max()), 1e-9))
        if np.abs(moved).max() < _CLOSE:
            break
    return pull, weight


def _shifted(usual: Floats, near: Ints, seen: Floats | None, prior: float) -> Floats:
    """Logarithms moved by the mean ratio of what was seen to what is usual there."""
    if seen is None:
        return usual
    known = np.isfinite(seen) & (seen > 0)
    if not known.any():
        return usual
    ratio = np.log(seen[known]) - usual[near[known]]
    moved: Floats = usual + ratio.sum() / (len(ratio) + prior)
    return moved


def _timed(usual: Floats, near: Ints, seen: Floats | None, prior: float) -> Floats:
    """Seconds, likewise; where none are usual, what was seen is the best guess everywhere."""
    known = np.zeros(0) if seen is None else seen[np.isfinite(seen) & (seen > 0)]
    if not len(known):
        return usual
    typical = float(np.exp(np.log(known).mean()))
    if (usual <= 0).any():
        return np.where(usual > 0, usual, typical)
    moved: Floats = np.exp(_shifted(np.log(usual), near, seen, prior))
    return moved


def add_profile(
    bundle: Bundle, name: str, placement: Placement, *, note: dict[str, Any] | None = None
) -> Bundle:
    """The bundle with a worker added; a row of that name is replaced.

    Args:
        bundle: the profiles so far.
        name: of the new profile.
        placement: what is believed of it.
        note: kept in the provenance, under ``placed``.
    """
    rest = without(bundle, name)
    level = sigmoid(logit(placement.p.astype(np.float32)) + bundle.lift)
    mine = {
        key: np.asarray(level if key == "level" else getattr(placement, key), dtype=np.float32)
        for key in _ROWS
    }
    tables: dict[str, Any] = {
        key: _ordered(np.concatenate([getattr(rest, key), mine[key][None]])) for key in _ROWS
    }
    provenance = dict(rest.provenance)
    if note is not None:
        provenance["placed"] = {**provenance.get("placed", {}), name: note}
    return replace(
        rest, profiles=(*rest.profiles, name), provenance=provenance, digest="", **tables
    )


def without(bundle: Bundle, names: str | Sequence[str]) -> Bundle:
    """The bundle without some profiles; what is learned of the others stays as it is."""
    gone = {names} if isinstance(names, str) else set(names)
    keep = [row for row, name in enumerate(bundle.profiles) if name not in gone]
    tables: dict[str, Any] = {key: _ordered(getattr(bundle, key)[keep]) for key in _ROWS}
    provenance = dict(bundle.provenance)
    placed = {k: v for k, v in provenance.pop("placed", {}).items() if k not in gone}
    if placed:
        provenance["placed"] = placed
    return replace(
        bundle,
        profiles=tuple(bundle.profiles[row] for row in keep),
        aliases={alias: name for alias, name in bundle.aliases.items() if name not in gone},
        provenance=provenance,
        digest="",
        **tables,
    )


def _ordered(table: Vectors) -> Vectors:
    """By rows: safetensors 0.8 writes a table kept by columns as if it were, shuffling its numbers."""
    return np.ascontiguousarray(table)
