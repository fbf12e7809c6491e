from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fugu_adapters.learn.ability import Ability, AbilitySettings, fit_ability
from fugu_adapters.policies.clusters import kernel

HERE, THERE = np.eye(2, dtype=np.float32)


def circle(count: int) -> NDArray[np.float32]:
    """Unit vectors from one place to the other."""
    angle = np.linspace(0.0, np.pi / 2, count)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def nearest(vectors: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    found: NDArray[np.int64] = (vectors @ circle(k).T).argmax(axis=1)
    return found


def fit(p: NDArray[np.float64], vectors: NDArray[np.float32], *, seed: int = 0) -> Ability:
    """Fit to one draw of every worker on every item; ``p`` is ``[W, items]``, NaN for not asked."""
    worker, item = np.nonzero(np.isfinite(p))
    score = (np.random.default_rng(seed).random(len(item)) < p[worker, item]).astype(float)
    return fit_ability(
        worker=worker, item=item, score=score, weight=np.ones(len(item)), vectors=vectors,
        centroids=circle(9), cluster=nearest(vectors, 9), width=4.0, traits=np.zeros((len(p), 1)), settings=AbilitySettings(),
    )  # fmt: skip


def test_abilities_that_change_over_the_space_are_recovered() -> None:
    """One worker grows better from here to there, one worse; expected scores follow within noise."""
    vectors = circle(800)
    rising = np.linspace(0.2, 0.9, 800)
    found = fit(np.stack([rising, rising[::-1], np.full(800, 0.5)]), vectors)
    at = kernel(circle(9), circle(9), 4.0).argmax(axis=1)
    expected = np.linspace(0.2, 0.9, 9)[at]
    np.testing.assert_allclose(found.p[0], expected, atol=0.12)
    np.testing.assert_allclose(found.p[1], expected[::-1], atol=0.12)
    assert (found.sd < 0.15).all()


def test_levels_are_means_over_a_clusters_items() -> None:
    """Where a cluster's items lie to one side of its centroid, their mean is not the score at the centroid."""
    vectors, rising = circle(1800), np.linspace(0.05, 0.95, 1800)
    members = nearest(vectors, 5)
    kept = (members != 2) | (np.arange(1800) > 1000)  # of the middle one only what is far on
    vectors, rising, members = vectors[kept], rising[kept], members[kept]
    item = np.arange(len(rising))
    found = fit_ability(
        worker=item * 0, item=item, score=rising, weight=np.ones(len(item)), vectors=vectors,
        centroids=circle(5), cluster=members, width=4.0, traits=np.zeros((1, 1)), settings=AbilitySettings(),
    )  # fmt: skip
    mean = rising[members == 2].mean()
    assert abs(found.level[0, 2] - mean) < 0.02
    assert abs(found.p[0, 2] - mean) > 0.05


def test_a_cluster_without_items_has_the_level_of_its_centroid() -> None:
    """There is nothing else to say of it."""
    found = fit(np.full((2, 400), 0.7), circle(800)[:400])
    empty = np.setdiff1d(np.arange(9), nearest(circle(800)[:400], 9))
    assert len(empty)
    np.testing.assert_array_equal(found.level[:, empty], found.p[:, empty])


def test_where_nothing_differs_the_surfaces_are_flat() -> None:
    """Without any difference by place, a worker's expected score is the same everywhere and its rank is right."""
    rate = np.array([0.75, 0.7, 0.5])
    found = fit(np.repeat(rate[:, None], 1500, axis=1), circle(1500), seed=3)
    assert np.ptp(found.p, axis=1).max() < 0.06
    assert (found.spread < 0.2).all()
    np.testing.assert_allclose(found.p.mean(axis=1), rate, atol=0.04)


def test_an_item_that_is_hard_for_all_does_not_count_against_who_was_asked() -> None:
    """Workers asked in easy and in hard places are ranked by ability and not by raw score."""
    vectors = circle(1200)
    difficulty = np.linspace(-2.0, 2.0, 1200)
    ability = np.array([0.6, 0.2, -0.2, -0.6])
    p = 1 / (1 + np.exp(difficulty - ability[:, None]))
    p[0, :600] = np.nan
    p[3, 600:] = np.nan
    raw = np.nanmean(p, axis=1)
    assert raw[0] < raw[3]
    assert (np.diff(fit(p, vectors).p.mean(axis=1)) < 0).all()


def test_traits_carry_over_to_workers_without_outcomes() -> None:
    """A worker that was never asked is placed by what its traits say of others, with a wide interval."""
    rng = np.random.default_rng(2)
    trait = np.linspace(-1.5, 1.5, 12)
    order = np.array([0, 2, 3, 4, 5, 6, 7, 8, 9, 11, 1, 10])
    worker, item = np.repeat(np.arange(10), 200), np.tile(np.arange(200), 10)
    p = 1 / (1 + np.exp(-trait[order][worker]))
    found = fit_ability(
        worker=worker, item=item, score=(rng.random(len(p)) < p).astype(float),
        weight=np.ones(len(p)), vectors=circle(200), centroids=circle(5),
        cluster=nearest(circle(200), 5), width=4.0,
        traits=trait[order][:, None], settings=AbilitySettings(),
    )  # fmt: skip
    low, high = found.p[10].mean(), found.p[11].mean()
    assert high - low > 0.3
    assert found.sd[10].min() > 3 * found.sd[5].max()


def test_the_fit_has_nothing_random_and_soft_scores_count() -> None:
    """The same outcomes give the same bytes; half points lie between right and wrong."""
    vectors = circle(300)
    score = np.concatenate([np.ones(300), np.full(300, 0.5), np.zeros(300)])
    once, again = (
        fit_ability(
            worker=np.repeat(np.arange(3), 300), item=np.tile(np.arange(300), 3), score=score,
            weight=np.ones(900), vectors=vectors, centroids=circle(4),
            cluster=nearest(vectors, 4), width=4.0,
            traits=np.zeros((3, 1)), settings=AbilitySettings(),
        )
        for _ in range(2)
    )  # fmt: skip
    assert once.p.tobytes() == again.p.tobytes()
    assert once.p[0].min() > once.p[1].max() > once.p[2].max()
    np.testing.assert_allclose(once.p[1], 0.5, atol=0.05)
