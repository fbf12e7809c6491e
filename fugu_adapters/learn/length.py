"""How long a worker's replies are, and how long they take, in every cluster."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fugu_adapters.evaluate.data import Dataset, Facts

__all__ = ["expected_log_tokens", "expected_seconds"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_UNSEEN = math.log(4.0)
"""Hidden reasoning is seldom counted in published outcomes. Where it was not, a reply is assumed to be
billed as four times the words that others write: an assumption, and the model card says so."""

_ROUNDS = 20
_USUAL_TOKENS, _MOST_TOKENS = 300.0, 1_000_000.0


def expected_log_tokens(
    data: Dataset, cluster: Ints, k: int, facts: Sequence[Facts], prior: float
) -> NDArray[np.float32]:
    """Logarithm of the expected reply tokens, float32 ``[W, k]``.

    ``log tokens = verbosity of the worker + length of the answers in the suite and cluster``. Lengths go by
    suite as well because one cluster may hold questions and agents' tasks on the same matter. A cell with
    outcomes is shrunk from them towards that sum; half the worker's residual variance makes it a mean.

    Args:
        data: outcomes.
        cluster: cluster of each item, -1 for items without, ``[items]``.
        k: clusters.
        facts: of each worker, ``[W]``.
        prior: outcomes that the sum counts for.
    """
    workers = len(data.workers)
    keep = np.isfinite(data.output_tokens) & (data.output_tokens > 0)
    if not keep.any():
        return np.full((workers, k), math.log(_USUAL_TOKENS), dtype=np.float32)
    worker, item, logs = data.worker[keep], data.item[keep], np.log(data.output_tokens[keep])
    _, suite = np.unique(data.suites, return_inverse=True)
    kinds, kind = np.unique(suite[item] * k + cluster[item], return_inverse=True)
    verbosity, length = _two_way(worker, kind, logs, workers, len(kinds), prior)
    hidden = np.array([fact.hidden_reasoning for fact in facts])
    known = np.bincount(worker, minlength=workers) > 0
    verbosity[~known] = np.median(verbosity[known])
    verbosity[hidden] += _UNSEEN
    base = verbosity[:, None] + _by_cluster(kinds % k, kind, length, k)
    rest = logs - verbosity[worker] - length[kind]
    cell = worker * k + cluster[item]
    count = np.bincount(cell, minlength=workers * k).reshape(workers, k)
    total = np.bincount(cell, weights=rest, minlength=workers * k).reshape(workers, k)
    moved = total / (count + prior)
    spread = (rest - moved.ravel()[cell]) ** 2
    variance = np.bincount(worker, weights=spread, minlength=workers) + prior * spread.mean()
    variance /= np.bincount(worker, minlength=workers) + prior
    expected = np.minimum(base + moved + 0.5 * variance[:, None], math.log(_MOST_TOKENS))
    return np.asarray(np.maximum(expected, 0.0), dtype=np.float32)


def _two_way(
    worker: Ints, kind: Ints, logs: Floats, workers: int, kinds: int, prior: float
) -> tuple[Floats, Floats]:
    """Additive effects of workers and kinds of item, by alternating ridge steps, kinds first."""
    overall = float(logs.mean())
    verbosity, length = np.zeros(workers), np.full(kinds, overall)
    by_kind, by_worker = np.bincount(kind, minlength=kinds), np.bincount(worker, minlength=workers)
    for _ in range(_ROUNDS):
        rest = np.bincount(kind, weights=logs - verbosity[worker], minlength=kinds)
        length = (rest + prior * overall) / (by_kind + prior)
        rest = np.bincount(worker, weights=logs - length[kind], minlength=workers)
        verbosity = rest / (by_worker + prior)
    return verbosity, length


def _by_cluster(cluster_of_kind: Ints, kind: Ints, length: Floats, k: int) -> Floats:
    """Length of a cluster's answers: its kinds weighted by how often each was answered, ``[k]``."""
    weight = np.bincount(kind, minlength=len(length)).astype(np.float64)
    size = np.bincount(cluster_of_kind, weights=weight, minlength=k)
    total = np.bincount(cluster_of_kind, weights=weight * length, minlength=k)
    overall = total.sum() / size.sum()
    return np.where(size > 0, total / np.maximum(size, 1e-9), overall)


def expected_seconds(data: Dataset, cluster: Ints, k: int, prior: float) -> NDArray[np.float32]:
    """Expected seconds, cells shrunk to the worker's mean, -1 for workers never timed: ``[W, k]``."""
    workers = len(data.workers)
    keep = np.isfinite(data.latency_s)
    cell = data.worker[keep] * k + cluster[data.item[keep]]
    taken = np.bincount(cell, weights=data.latency_s[keep], minlength=workers * k)
    total = taken.reshape(workers, k)
    count = np.bincount(cell, minlength=workers * k).reshape(workers, k)
    timed = count.sum(axis=1, keepdims=True)
    mean = total.sum(axis=1, keepdims=True) / np.maximum(timed, 1)
    value = (total + prior * mean) / (count + prior)
    return np.where(timed > 0, value, -1.0).astype(np.float32)
