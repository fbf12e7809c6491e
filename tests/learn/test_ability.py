from __future__ import annotations

import numpy as np

from fugu_adapters.learn.ability import AbilitySettings, fit_ability, shrink_tree

FLAT = np.zeros((3, 1))


def test_a_cell_with_much_evidence_keeps_its_value_and_one_without_takes_its_parents() -> None:
    """Shrinkage is by precision: full evidence stays, none goes to the area, then to the worker."""
    target = np.array([[2.0, 0.0, 0.0], [-2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    precision = np.array([[1e6, 0.0, 0.0], [1e6, 0.0, 0.0], [0.0, 0.0, 0.0]])
    mean, var = shrink_tree(target, precision, np.array([0, 0, 1]), FLAT, AbilitySettings())
    np.testing.assert_allclose(mean[:2, 0], [2.0, -2.0], atol=1e-3)
    assert 0.0 < mean[0, 2] < mean[0, 1] < 2.0
    assert (np.diff(var[0]) > 0).all()
    assert (var[2] > var[0]).all()


def test_abilities_are_recovered_from_outcomes_of_different_items() -> None:
    """Workers asked disjoint halves, easy and hard, are ranked by ability and not by raw score."""
    rng = np.random.default_rng(0)
    ability = np.array([1.2, 0.4, -0.4, -1.2])
    difficulty = np.concatenate([np.full(300, -1.5), np.full(300, 1.5)])
    asked = [range(300, 600), range(600), range(600), range(300)]
    worker = np.concatenate([np.full(len(r), w) for w, r in enumerate(asked)])
    item = np.concatenate([np.array(r) for r in asked])
    p = 1 / (1 + np.exp(difficulty[item] - ability[worker]))
    score = (rng.random(len(p)) < p).astype(float)
    raw = [score[worker == w].mean() for w in range(4)]
    assert raw[0] < raw[3]
    fitted = fit_ability(
        worker=worker, item=item, score=score, weight=np.ones(len(p)),
        cluster=np.repeat([0, 1], 300), area=np.array([0, 1]), traits=np.zeros((4, 1)),
        settings=AbilitySettings(),
    )  # fmt: skip
    assert (np.diff(fitted.p.mean(axis=1)) < 0).all()


def test_expected_scores_match_what_was_observed() -> None:
    """Where a worker answered many items of a cluster, its expected score is near its mean score."""
    rng = np.random.default_rng(1)
    rate = np.array([[0.9, 0.3], [0.5, 0.6]])
    item = np.tile(np.arange(800), 2)
    worker = np.repeat([0, 1], 800)
    cluster = np.repeat([0, 1], 400)
    score = (rng.random(1600) < rate[worker, cluster[item]]).astype(float)
    fitted = fit_ability(
        worker=worker, item=item, score=score, weight=np.ones(1600), cluster=cluster,
        area=np.array([0, 1]), traits=np.zeros((2, 1)), settings=AbilitySettings(),
    )  # fmt: skip
    np.testing.assert_allclose(fitted.p, rate, atol=0.06)
    assert (fitted.sd < 0.05).all()
    np.testing.assert_array_equal(fitted.count, np.full((2, 2), 400))


def test_traits_carry_over_to_workers_without_outcomes() -> None:
    """A worker that was never asked is placed by what its traits say of others."""
    rng = np.random.default_rng(2)
    trait = np.linspace(-1.5, 1.5, 12)
    worker, item = np.repeat(np.arange(10), 200), np.tile(np.arange(200), 10)
    order = np.array([0, 2, 3, 4, 5, 6, 7, 8, 9, 11])
    p = 1 / (1 + np.exp(-trait[order][worker]))
    score = (rng.random(len(p)) < p).astype(float)
    traits = np.concatenate([trait[order], trait[[1, 10]]])[:, None]
    fitted = fit_ability(
        worker=worker, item=item, score=score, weight=np.ones(len(p)),
        cluster=np.zeros(200, dtype=np.int64), area=np.array([0]), traits=traits,
        settings=AbilitySettings(),
    )  # fmt: skip
    low, high = fitted.p[10, 0], fitted.p[11, 0]
    assert high - low > 0.3
    assert fitted.sd[10, 0] > 3 * fitted.sd[5, 0]
