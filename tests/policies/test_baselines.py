from __future__ import annotations

import numpy as np
import pytest

from fugu_adapters.policies import baselines
from fugu_adapters.policies.baselines import Choose, Examples


def world(n: int, seed: int) -> Examples:
    """Two directions; worker 0 solves the first, worker 1 the second, worker 2 six of ten everywhere."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 2, n)
    vectors = np.eye(4, dtype=np.float32)[kind] + rng.normal(0, 0.1, (n, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    odds = np.stack(
        [np.where(kind == 0, 0.9, 0.1), np.where(kind == 1, 0.9, 0.1), np.full(n, 0.6)], axis=1
    )
    cost = np.tile([0.3, np.nan, 0.2], (n, 1))
    return Examples(
        vectors=vectors,
        scores=(rng.random((n, 3)) < odds).astype(np.float64),
        cost=cost,
        groups=["ab"[k] for k in kind],
    )


TRAIN, TEST = world(400, 0), world(400, 1)


def score(method: Choose) -> float:
    return float(TEST.scores[np.arange(400), method(TEST)].mean())


@pytest.mark.parametrize(
    "method",
    [
        baselines.fit_kmeans(TRAIN, k=4, seed=0),
        baselines.fit_knn(TRAIN, k=20),
        baselines.fit_ridge(TRAIN, penalty=1.0),
        baselines.fit_per_group(TRAIN),
    ],
)
def test_methods_that_look_at_the_request_find_the_specialists(method: Choose) -> None:
    """Where the vector tells who is right, every such baseline beats the best single worker by far."""
    assert score(method) > score(baselines.best_single(TRAIN)) + 0.15
    assert score(method) <= score(baselines.oracle)


def test_constant_methods_choose_one_worker() -> None:
    """The best single is the best on train; the cheapest is so among known prices."""
    assert set(baselines.best_single(TRAIN)(TEST)) == {2}
    assert set(baselines.cheapest(TRAIN)(TEST)) == {2}


def test_random_is_seeded_and_even() -> None:
    """The same seed repeats, and every worker gets about its share."""
    first = baselines.uniform(3)(TEST)
    np.testing.assert_array_equal(first, baselines.uniform(3)(TEST))
    assert np.bincount(first).min() > 90


def test_a_new_group_falls_back_to_the_overall_best() -> None:
    """A domain that was not in training is sent to the best single worker."""
    method = baselines.fit_per_group(TRAIN)
    new = Examples(
        vectors=TEST.vectors[:1], scores=TEST.scores[:1], cost=TEST.cost[:1], groups=["z"]
    )
    assert method(new).tolist() == [2]


def test_nobody_looks_at_the_scores_but_the_oracle() -> None:
    """Changing the test scores changes no choice of any fitted method."""
    blind = Examples(
        vectors=TEST.vectors, scores=1.0 - TEST.scores, cost=TEST.cost, groups=TEST.groups
    )
    for method in (baselines.fit_knn(TRAIN, k=5), baselines.fit_ridge(TRAIN, penalty=1.0)):
        np.testing.assert_array_equal(method(TEST), method(blind))
