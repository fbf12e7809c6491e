"""Simple ways to choose a worker that every learned policy is compared with, on the same features.

Each is fitted to the items that all workers of one pool answered and then says what score it expects of
every worker; its choice is the highest. What it has to be told (clusters, penalties, epochs) is chosen on
a fifth of the items that it is given, after which it is fitted again to all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fugu_adapters.policies.clusters import assign, kmeans

__all__ = [
    "BASELINES",
    "Examples",
    "Predict",
    "best_single",
    "cheapest",
    "fit_kmeans",
    "fit_knn",
    "fit_logistic",
    "fit_network",
    "fit_per_group",
    "fit_ridge",
    "hold_out",
    "oracle",
    "pick",
    "tune",
    "uniform",
]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]

_BLOCK = 1_024  # rows at a time, so that similarities stay within a few megabytes
_FOLDS, _ENOUGH = 5, 1_000
_BATCH, _RATE, _EPOCHS, _PATIENCE = 256, 2e-3, 80, 6


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Items of one pool: ``n`` requests that all ``A`` workers answered.

    Attributes:
        vectors: unit rows, ``[n, D]``.
        scores: 0 to 1, ``[n, A]``.
        cost: dollars, NaN unknown, ``[n, A]``.
        groups: domain or other label of each item, ``[n]``; told only to the method that needs it.
    """

    vectors: Vectors
    scores: Floats
    cost: Floats
    groups: Sequence[str]

    def take(self, rows: Ints) -> Examples:
        """Only these items."""
        return Examples(
            vectors=self.vectors[rows],
            scores=self.scores[rows],
            cost=self.cost[rows],
            groups=[self.groups[row] for row in rows],
        )


Predict: TypeAlias = Callable[[Examples], Floats]
"""A fitted method: the score it expects of each worker, ``[n, A]``. Only the oracle looks at the scores."""

_Fit: TypeAlias = Callable[..., Predict]
_Fitted: TypeAlias = Callable[[Examples, int], list[Predict]]


def pick(predict: Predict, items: Examples) -> Ints:
    """The column of the highest expected score of each item, ``[n]``."""
    choice: Ints = np.argmax(predict(items), axis=1)
    return choice


def best_single(train: Examples) -> Predict:
    """Always the worker that was best on the training items."""
    return _constant(train.scores.mean(axis=0))


def cheapest(train: Examples) -> Predict:
    """Always the worker whose calls cost least on the training items; unknown prices are passed over.

    Workers are compared on the items where all who have any known cost have one.
    """
    known = np.isfinite(train.cost)
    some = known.any(axis=0)
    rows = np.flatnonzero(np.logical_and.reduce(known[:, some], axis=1))
    rows = rows if len(rows) else np.arange(len(known))
    paid = np.where(known[rows], train.cost[rows], 0.0).sum(axis=0)
    count = known[rows].sum(axis=0)
    return _constant(-np.where(count > 0, paid / np.maximum(count, 1), np.inf))


def _constant(row: Floats) -> Predict:
    return lambda items: np.tile(row, (len(items.vectors), 1))


def uniform(seed: int) -> Predict:
    """Any worker, with equal odds."""
    return lambda items: np.random.default_rng(seed).random(items.scores.shape)


def oracle(items: Examples) -> Floats:
    """The best worker of each item, as only its answers can tell, of equals the cheaper."""
    dear = np.nan_to_num(items.cost, nan=np.nanmax(items.cost, initial=0.0))
    return items.scores - 1e-6 * dear / max(float(dear.max(initial=0.0)), 1e-12)


def fit_per_group(train: Examples, *, prior: float = 5.0, seed: int = 0) -> Predict:
    """The mean scores of each group, the group being told; the overall means where it is new."""
    overall = train.scores.mean(axis=0)
    labels = np.asarray(train.groups)
    means = {
        str(group): _shrunken(train.scores[labels == group], overall, prior)
        for group in np.unique(labels)
    }
    return lambda items: np.stack([means.get(group, overall) for group in items.groups])


def _shrunken(rows: Floats, overall: Floats, prior: float) -> Floats:
    mean: Floats = (rows.sum(axis=0) + prior * overall) / (len(rows) + prior)
    return mean


def fit_kmeans(train: Examples, *, k: int, seed: int, prior: float = 5.0) -> Predict:
    """The mean scores of the nearest cluster (Avengers)."""
    centroids = kmeans(train.vectors, k, seed=seed)
    label = assign(train.vectors, centroids)
    overall = train.scores.mean(axis=0)
    table = np.stack(
        [_shrunken(train.scores[label == c], overall, prior) for c in range(len(centroids))]
    )
    return lambda items: table[assign(items.vectors, centroids)]


def fit_knn(train: Examples, *, k: int, temperature: float | None = None, seed: int = 0) -> Predict:
    """The mean scores of the nearest training items.

    Args:
        train: what is remembered.
        k: neighbours.
        temperature: of a softmax over their cosines; all count the same where not given.
        seed: unused, nothing is random.
    """
    k = min(k, len(train.vectors))
    overall = train.scores.mean(axis=0)

    def predict(items: Examples) -> Floats:
        parts = []
        for start in range(0, len(items.vectors), _BLOCK):
            cosine = items.vectors[start : start + _BLOCK] @ train.vectors.T
            near = np.argpartition(-cosine, k - 1, axis=1)[:, :k]
            close = np.take_along_axis(cosine, near, axis=1).astype(np.float64)
            weight = np.ones_like(close)
            if temperature is not None:
                weight = np.exp((close - close.max(axis=1, keepdims=True)) / temperature)
            total = np.einsum("nk,nka->na", weight, train.scores[near]) + overall  # ends ties
            parts.append(total / (weight.sum(axis=1, keepdims=True) + 1.0))
        return np.concatenate(parts) if parts else np.zeros((0, len(overall)))

    return predict


def fit_ridge(train: Examples, *, penalty: float, seed: int = 0) -> Predict:
    """Ridge regression of each worker's score on the vector."""
    mean, overall = train.vectors.mean(axis=0), train.scores.mean(axis=0)
    centred = (train.vectors - mean).astype(np.float64)
    gram = centred.T @ centred + penalty * np.eye(centred.shape[1])
    weights = np.linalg.solve(gram, centred.T @ (train.scores - overall))
    return lambda items: (items.vectors - mean) @ weights + overall


def fit_logistic(train: Examples, *, penalty: float, rounds: int = 60, seed: int = 0) -> Predict:
    """Logistic regression of each worker's score (0 to 1) on the vector.

    Newton's method with the curvature at its upper bound of a quarter (Böhning and Lindsay 1988), so
    that one matrix serves every worker and step, and Nesterov's momentum.
    """
    mean = train.vectors.mean(axis=0)
    x = (train.vectors - mean).astype(np.float64)
    bias = _logit(train.scores.mean(axis=0))
    inverse = np.linalg.inv(0.25 * x.T @ x + penalty * np.eye(x.shape[1]))
    weights = ahead = np.zeros((x.shape[1], len(bias)))
    for step in range(rounds):
        miss = _sigmoid(x @ ahead + bias) - train.scores
        new = ahead - inverse @ (x.T @ miss + penalty * ahead)
        bias = bias - 4.0 * miss.mean(axis=0)
        ahead = new + step / (step + 3.0) * (new - weights)
        weights = new
    return lambda items: _sigmoid((items.vectors - mean) @ weights + bias)


def _sigmoid(x: Any) -> Any:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def _logit(p: Floats) -> Floats:
    bounded = np.clip(p, 0.01, 0.99)
    return np.log(bounded / (1.0 - bounded))


def fit_network(
    train: Examples, *, hidden: int, relu: bool, decay: float, epochs: int, seed: int
) -> Predict:
    """A network of one hidden layer to every worker's score (soft targets, cross-entropy, Adam).

    Without ``relu`` it is a matrix factorisation: the logit is the inner product of the projected
    vector and an embedding of the worker, as in RouteLLM.
    """
    network = _Network(train, hidden=hidden, relu=relu, decay=decay, seed=seed)
    for _ in range(epochs):
        network.epoch()
    return network.predict


class _Network:
    """Weights, Adam's moments, and one pass over the data at a time."""

    def __init__(
        self, train: Examples, *, hidden: int, relu: bool, decay: float, seed: int
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.relu, self.decay, self.steps = relu, decay, 0
        self.centre = train.vectors.mean(axis=0)
        self.scale = 1.0 / max(float((train.vectors - self.centre).std()), 1e-6)
        self.x = self._inputs(train)
        self.y = train.scores.astype(np.float32)
        dim, workers = self.x.shape[1], self.y.shape[1]
        self.weights = [
            self.rng.normal(0, dim**-0.5, (dim, hidden)).astype(np.float32),
            np.zeros(hidden, dtype=np.float32),
            self.rng.normal(0, 0.5 * hidden**-0.5, (hidden, workers)).astype(np.float32),
            _logit(self.y.mean(axis=0)).astype(np.float32),
        ]
        self.moments = [(np.zeros_like(w), np.zeros_like(w)) for w in self.weights]

    def _inputs(self, items: Examples) -> Vectors:
        x: Vectors = ((items.vectors - self.centre) * self.scale).astype(np.float32)
        return x

    def predict(self, items: Examples) -> Floats:
        first, first_bias, second, second_bias = self.weights
        inner = self._inputs(items) @ first + first_bias
        inner = np.maximum(inner, 0.0) if self.relu else inner
        p: Floats = _sigmoid((inner @ second + second_bias).astype(np.float64))
        return p

    def epoch(self) -> None:
        order = self.rng.permutation(len(self.x))
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            self._step(self.x[rows], self.y[rows])

    def _step(self, x: Vectors, y: Vectors) -> None:
        first, first_bias, second, second_bias = self.weights
        inner = x @ first + first_bias
        active = np.maximum(inner, 0.0) if self.relu else inner
        miss = (_sigmoid(active @ second + second_bias) - y) / len(x)
        back = miss @ second.T
        if self.relu:
            back = back * (inner > 0)
        slopes = (x.T @ back, back.sum(axis=0), active.T @ miss, miss.sum(axis=0))
        self.steps += 1
        rate = _RATE * (1 - 0.999**self.steps) ** 0.5 / (1 - 0.9**self.steps)
        for weight, slope, (mean, square) in zip(self.weights, slopes, self.moments, strict=True):
            mean += 0.1 * (slope - mean)
            square += 0.001 * (slope**2 - square)
            if weight.ndim == 2:
                weight *= 1.0 - _RATE * self.decay
            weight -= rate * mean / (np.sqrt(square) + 1e-8)


def hold_out(train: Examples) -> list[tuple[Examples, Examples]]:
    """Splits of the items into four fifths to fit on and one fifth to choose settings on.

    One split where a fifth is a thousand items; of fewer items as many of the five rotations as hold a
    thousand out together.
    """
    n = len(train.vectors)
    parts = np.array_split(np.random.default_rng(0).permutation(n), min(_FOLDS, n))
    turns = min(len(parts), math.ceil(_ENOUGH * _FOLDS / max(n, 1)))
    return [
        (train.take(np.concatenate(parts[:turn] + parts[turn + 1 :])), train.take(parts[turn]))
        for turn in range(turns)
    ]


def tune(fit: _Fit, grid: Sequence[Mapping[str, Any]], train: Examples) -> Mapping[str, Any]:
    """Of several settings the one whose choices score highest on held-out training items.

    Args:
        fit: called as ``fit(examples, seed=0, **setting)``.
        grid: settings.
        train: what is split; nothing else is looked at.
    """
    splits = hold_out(train)
    quality = [
        _mean([_quality(fit(inner, seed=0, **setting), held) for inner, held in splits])
        for setting in grid
    ]
    return grid[quality.index(max(quality))]


def _quality(predict: Predict, items: Examples) -> tuple[float, float]:
    """Mean score of what is chosen; between equals, how near the expected scores come."""
    p = predict(items)
    score = items.scores[np.arange(len(p)), np.argmax(p, axis=1)].mean()
    return float(score), -float(((p - items.scores) ** 2).mean())


def _mean(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    score, nearness = np.mean(pairs, axis=0)
    return round(float(score), 9), float(nearness)


def _tune_network(grid: Sequence[Mapping[str, Any]], train: Examples) -> Mapping[str, Any]:
    """As :func:`tune`, with the epochs at which the held-out cross-entropy was least."""
    splits = hold_out(train)
    found = []
    for setting in grid:
        runs = [_stop_early(inner, held, setting) for inner, held in splits]
        epochs = round(float(np.mean([epochs for _, epochs in runs])))
        found.append((_mean([quality for quality, _ in runs]), {**setting, "epochs": epochs}))
    return max(found, key=lambda pair: pair[0])[1]


def _stop_early(
    inner: Examples, held: Examples, setting: Mapping[str, Any]
) -> tuple[tuple[float, float], int]:
    """Quality on the held-out items at the best epoch, and that epoch."""
    network = _Network(inner, seed=0, **setting)
    least, best, quality = np.inf, 1, (0.0, 0.0)
    for epoch in range(1, _EPOCHS + 1):
        network.epoch()
        p = np.clip(network.predict(held), 1e-6, 1 - 1e-6)
        loss = -(held.scores * np.log(p) + (1 - held.scores) * np.log(1 - p)).mean()
        if loss < least:
            least, best, quality = loss, epoch, _quality(network.predict, held)
        if epoch - best >= _PATIENCE:
            break
    return quality, best


def _tuned(fit: _Fit, grid: Sequence[Mapping[str, Any]], *, random: bool = False) -> _Fitted:
    def fitted(train: Examples, seeds: int) -> list[Predict]:
        setting = tune(fit, grid, train)
        return [fit(train, seed=seed, **setting) for seed in range(seeds if random else 1)]

    return fitted


def _tuned_network(grid: Sequence[Mapping[str, Any]]) -> _Fitted:
    def fitted(train: Examples, seeds: int) -> list[Predict]:
        setting = _tune_network(grid, train)
        return [fit_network(train, seed=seed, **setting) for seed in range(seeds)]

    return fitted


BASELINES: Mapping[str, _Fitted] = {
    "best_single": lambda train, _: [best_single(train)],
    "kmeans": _tuned(fit_kmeans, [{"k": k} for k in (4, 8, 16, 32, 64, 128)], random=True),
    "knn": _tuned(
        fit_knn,
        [{"k": k, "temperature": t} for t in (None, 0.05) for k in (10, 20, 40, 80, 160)],
    ),
    "ridge": _tuned(fit_ridge, [{"penalty": 10.0**power} for power in (4, 3, 2.5, 2, 1.5, 1, 0)]),
    "logistic": _tuned(
        fit_logistic, [{"penalty": 10.0**power} for power in (3, 2, 1.5, 1, 0.5, 0)]
    ),
    "mlp": _tuned_network(
        [{"hidden": h, "relu": True, "decay": d} for h in (32, 128) for d in (0.1, 2.0)]
    ),
    "mf": _tuned_network(
        [{"hidden": h, "relu": False, "decay": d} for h in (4, 32) for d in (0.1, 2.0)]
    ),
    "per_domain": _tuned(fit_per_group, [{"prior": prior} for prior in (20.0, 5.0, 1.0)]),
    "random": lambda _, seeds: [uniform(seed) for seed in range(seeds)],
    "cheapest": lambda train, _: [cheapest(train)],
    "oracle": lambda _train, _seeds: [oracle],
}
"""Every method by name: fitted to training items, once for each seed where anything is random."""
