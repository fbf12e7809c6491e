from __future__ import annotations

import numpy as np
import pytest

from fugu_adapters.policies.clusters import assign, kmeans, soft_assign


def blobs(n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, n)
    rows = np.eye(5, dtype=np.float32)[kind] + rng.normal(0, 0.08, (n, 5)).astype(np.float32)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), kind


def test_separate_groups_are_found() -> None:
    """Three groups that lie apart become three clusters, each of one kind."""
    vectors, kind = blobs()
    centroids = kmeans(vectors, 3, seed=0)
    label = assign(vectors, centroids)
    np.testing.assert_allclose(np.linalg.norm(centroids, axis=1), 1.0, rtol=1e-5)
    assert all(len(set(kind[label == cluster])) == 1 for cluster in range(3))


def test_the_same_seed_gives_the_same_clusters() -> None:
    """Nothing but the seed is random."""
    vectors, _ = blobs()
    assert kmeans(vectors, 8, seed=4).tobytes() == kmeans(vectors, 8, seed=4).tobytes()


def test_equal_vectors_give_no_more_clusters_than_they_are() -> None:
    """Asking for more clusters than there are distinct vectors gives fewer, without error."""
    vectors = np.repeat(np.eye(2, dtype=np.float32), 10, axis=0)
    assert len(kmeans(vectors, 6, seed=0)) == 2


def test_weight_draws_clusters_to_what_counts() -> None:
    """A rare group gets a cluster of its own when its rows count for more."""
    rng = np.random.default_rng(1)
    near = np.eye(5, dtype=np.float32)[0] + rng.normal(0, 0.3, (500, 5)).astype(np.float32)
    rare = np.eye(5, dtype=np.float32)[1] + rng.normal(0, 0.3, (5, 5)).astype(np.float32)
    vectors = np.concatenate([near, rare])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    weight = np.concatenate([np.ones(500), np.full(5, 200.0)]).astype(np.float32)
    centroids = kmeans(vectors, 2, seed=0, weight=weight)
    assert float((centroids @ np.eye(5, dtype=np.float32)[1]).max()) > 0.8


def test_soft_weights_favour_the_nearest_and_sum_to_one() -> None:
    """Weights are ordered, sum to one, and sharpen as the temperature falls."""
    vectors, _ = blobs()
    centroids = kmeans(vectors, 6, seed=0)
    index, weight = soft_assign(vectors @ centroids.T, nearest=3, temperature=0.1)
    np.testing.assert_array_equal(index[:, 0], assign(vectors, centroids))
    np.testing.assert_allclose(weight.sum(axis=1), 1.0, rtol=1e-5)
    assert (np.diff(weight, axis=1) <= 1e-6).all()
    sharp = soft_assign(vectors @ centroids.T, nearest=3, temperature=0.001)[1]
    assert sharp[:, 0].mean() > weight[:, 0].mean()


@pytest.mark.parametrize("nearest", [1, 6, 50])
def test_more_neighbours_than_clusters_are_cut(nearest: int) -> None:
    """Asking for more clusters than there are gives all of them."""
    vectors, _ = blobs(50)
    centroids = kmeans(vectors, 6, seed=0)
    index, _ = soft_assign(vectors @ centroids.T, nearest=nearest, temperature=0.1)
    assert index.shape == (50, min(nearest, 6))
