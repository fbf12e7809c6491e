from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fugu_adapters.policies import baselines
from fugu_adapters.policies.baselines import BASELINES, Examples, Predict, pick

LEARNED = ("kmeans", "knn", "ridge", "logistic", "mlp", "mf", "per_domain")


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


def score(predict: Predict) -> float:
    return float(TEST.scores[np.arange(400), pick(predict, TEST)].mean())


@pytest.mark.parametrize("name", LEARNED)
def test_methods_that_look_at_the_request_find_the_specialists(name: str) -> None:
    """Where the vector tells who is right, every such baseline beats the best single worker by far."""
    single = score(baselines.best_single(TRAIN))
    for predict in BASELINES[name](TRAIN, 2):
        assert score(predict) > single + 0.15
        assert score(predict) <= score(baselines.oracle)


@pytest.mark.parametrize("name", LEARNED)
def test_expected_scores_are_near_the_planted_odds(name: str) -> None:
    """What is learned is the score to expect, not only an order."""
    p = BASELINES[name](TRAIN, 1)[0](TEST)
    kind = np.array([group == "b" for group in TEST.groups])
    assert p.shape == TEST.scores.shape
    assert abs(p[~kind, 0].mean() - 0.9) < 0.12
    assert abs(p[kind, 0].mean() - 0.1) < 0.12
    assert abs(p[:, 2].mean() - 0.6) < 0.08


@pytest.mark.parametrize("name", ["kmeans", "mlp", "mf"])
def test_random_methods_are_fitted_once_a_seed_and_repeat(name: str) -> None:
    """One fit a seed; the same seed gives the same numbers."""
    first, second = (BASELINES[name](TRAIN, 2) for _ in range(2))
    assert len(first) == 2
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a(TEST), b(TEST))


def test_constant_methods_choose_one_worker() -> None:
    """The best single is the best on train; the cheapest is so among known prices."""
    assert set(pick(baselines.best_single(TRAIN), TEST)) == {2}
    assert set(pick(baselines.cheapest(TRAIN), TEST)) == {2}


def test_the_cheapest_is_so_on_the_same_items() -> None:
    """A worker whose dear calls alone lack a cost does not look cheap, nor is it passed over."""
    cost = np.array([[1.0, 0.5, np.nan], [1.0, 0.5, np.nan], [9.0, np.nan, np.nan]])
    items = replace(TRAIN.take(np.arange(3)), cost=cost)
    assert set(pick(baselines.cheapest(items), TEST)) == {1}
    dear = replace(
        items, cost=np.array([[1.0, 2.0, np.nan], [1.0, 2.0, np.nan], [9.0, np.nan, np.nan]])
    )
    assert set(pick(baselines.cheapest(dear), TEST)) == {0}


def test_random_is_seeded_and_even() -> None:
    """The same seed repeats, and every worker gets about its share."""
    first = pick(baselines.uniform(3), TEST)
    np.testing.assert_array_equal(first, pick(baselines.uniform(3), TEST))
    assert np.bincount(first).min() > 90


def test_a_new_group_falls_back_to_the_overall_best() -> None:
    """A domain that was not in training is sent to the best single worker."""
    new = replace(TEST.take(np.array([0])), groups=["z"])
    assert pick(baselines.fit_per_group(TRAIN), new).tolist() == [2]


def test_of_equally_good_workers_the_oracle_takes_the_cheaper() -> None:
    """Cost decides only between equal scores; an unknown cost counts as dear."""
    items = Examples(
        vectors=np.zeros((2, 1), dtype=np.float32),
        scores=np.array([[1.0, 1.0, 1.0], [0.0, 1.0, 0.0]]),
        cost=np.array([[3.0, 2.0, np.nan], [1.0, 9.0, 1.0]]),
        groups=["", ""],
    )
    assert pick(baselines.oracle, items).tolist() == [1, 1]
    unpriced = replace(items, cost=np.full((2, 3), np.nan))
    assert pick(baselines.oracle, unpriced).tolist() == [0, 1]


@pytest.mark.parametrize("name", LEARNED)
def test_nobody_looks_at_the_scores_but_the_oracle(name: str) -> None:
    """Changing the test scores and costs changes no choice of any fitted method."""
    blind = replace(TEST, scores=1.0 - TEST.scores, cost=TEST.cost * 7)
    predict = BASELINES[name](TRAIN, 1)[0]
    np.testing.assert_array_equal(pick(predict, TEST), pick(predict, blind))


def test_settings_are_chosen_on_a_fifth_of_the_training_items() -> None:
    """Each split is disjoint and complete, few items are held out in turns, and the better setting wins."""
    splits = baselines.hold_out(TRAIN)
    assert len(splits) == 5
    for inner, held in splits:
        assert (len(inner.vectors), len(held.vectors)) == (320, 80)
        assert len(np.unique(np.concatenate([inner.vectors, held.vectors]), axis=0)) == 400
    assert len(np.unique(np.concatenate([held.vectors for _, held in splits]), axis=0)) == 400
    many = TRAIN.take(np.arange(6_000) % 400)
    assert len(baselines.hold_out(many)) == 1
    grid = [{"penalty": 1e9}, {"penalty": 1.0}]
    assert baselines.tune(baselines.fit_ridge, grid, TRAIN) == {"penalty": 1.0}


def test_logistic_regression_reaches_the_minimum() -> None:
    """The slope of the penalised cross-entropy vanishes where the fit stops."""
    penalty = 2.0
    predict = baselines.fit_logistic(TRAIN, penalty=penalty, rounds=300)
    centre = TRAIN.vectors.mean(axis=0)
    # The weights, read off the fitted function: logits are linear in the vector.
    points = replace(
        TRAIN.take(np.arange(5)), vectors=np.vstack([centre, centre + np.eye(4)]).astype(np.float32)
    )
    p = predict(points)
    logit = np.log(p / (1 - p))
    weights = logit[1:] - logit[0]
    slope = (TRAIN.vectors - centre).T @ (predict(TRAIN) - TRAIN.scores) + penalty * weights
    assert np.abs(slope).max() < 0.02 * 400**0.5


def test_nearest_neighbours_do_with_fewer_items_than_neighbours() -> None:
    """A handful of items is used whole; near ones count more where a temperature is given."""
    few = TRAIN.take(np.arange(6))
    p = baselines.fit_knn(few, k=160)(TEST)
    np.testing.assert_allclose(p, np.tile(few.scores.mean(axis=0), (400, 1)), atol=1e-9)
    weighted = baselines.fit_knn(few, k=160, temperature=0.01)(few.take(np.array([0])))
    assert abs(weighted[0] - few.scores[0]).max() < 0.9
