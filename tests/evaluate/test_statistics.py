from __future__ import annotations

import numpy as np
import pytest

from fugu_adapters.errors import InputError
from fugu_adapters.evaluate.statistics import (
    bootstrap_mean,
    bootstrap_table,
    mcnemar,
    paired_bootstrap,
)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Of many 95 % intervals of a known mean, about 95 % hold it."""
    rng = np.random.default_rng(1)
    held = 0
    for seed in range(200):
        estimate = bootstrap_mean(rng.normal(0.3, 1.0, 100), seed=seed, resamples=400)
        held += estimate.low <= 0.3 <= estimate.high
    assert 0.89 <= held / 200 <= 0.99


def test_pairing_removes_what_both_share() -> None:
    """Two methods that differ on few items have a narrow interval although items vary much."""
    rng = np.random.default_rng(2)
    base = rng.random(500)
    ours = base.copy()
    ours[:50] += 0.1
    estimate = paired_bootstrap(ours, base)
    assert estimate.mean == pytest.approx(0.01)
    assert 0.0 < estimate.low < estimate.high < 0.02


def test_the_same_seed_gives_the_same_interval() -> None:
    """Resampling is seeded, and another seed gives another interval."""
    values = np.random.default_rng(3).random(50)
    assert bootstrap_mean(values, seed=7) == bootstrap_mean(values, seed=7)
    assert bootstrap_mean(values, seed=7) != bootstrap_mean(values, seed=8)


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [[1.0]]])
def test_what_cannot_be_resampled_is_refused(values: list[float]) -> None:
    """No values, a NaN, or a table are errors and not a silent NaN."""
    with pytest.raises(InputError):
        bootstrap_mean(values)


def test_unequal_lists_are_refused() -> None:
    """A pair of methods has to have been run on the same items."""
    with pytest.raises(InputError, match="item by item"):
        paired_bootstrap([1.0], [1.0, 0.0])
    with pytest.raises(InputError, match="item by item"):
        mcnemar([1.0], [1.0, 0.0])


def test_mcnemar_is_the_exact_binomial_test() -> None:
    """Ten wins and no loss is 2 / 2**10; an even split, or no difference, is 1."""
    ours = np.array([1.0] * 10 + [0.0] * 10)
    assert mcnemar(ours, np.zeros(20)) == pytest.approx(2 / 2**10)
    assert mcnemar(ours, 1.0 - ours) == pytest.approx(1.0)
    assert mcnemar(ours, ours) == 1.0


def test_mcnemar_holds_for_many_items() -> None:
    """Thousands of items that differ neither overflow nor underflow."""
    ours = np.array([1.0] * 2_600 + [0.0] * 2_400)
    assert 0.001 < mcnemar(ours, 1.0 - ours) < 0.01


def test_many_columns_are_resampled_together() -> None:
    """Each column's interval is that of the mean alone, and shifted columns shift by the same amount."""
    rng = np.random.default_rng(3)
    column = (rng.random(400) < 0.7).astype(float)
    ends = bootstrap_table(np.stack([column, column + 1.0, np.full(400, 0.5)], axis=1))
    alone = bootstrap_mean(column)
    assert ends[0] == pytest.approx([alone.low, alone.high], abs=0.006)
    np.testing.assert_allclose(ends[1], ends[0] + 1.0)
    assert ends[2] == pytest.approx([0.5, 0.5])
    many = bootstrap_table(rng.random((3_000, 2)), resamples=1_001)
    assert many.shape == (2, 2)
    assert (many[:, 0] < many[:, 1]).all()
