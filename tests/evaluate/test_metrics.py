from __future__ import annotations

import numpy as np
import pytest

from fugu_adapters.evaluate.metrics import (
    calibration_error,
    chosen,
    cost_at_quality,
    cost_per_1k,
    curve_area,
    envelope,
    gap_closed,
    rare_recall,
    tradeoff,
)

SCORES = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])


def test_chosen_takes_one_column_a_row() -> None:
    """The chosen worker's value of each item is taken, nothing else."""
    np.testing.assert_array_equal(chosen(SCORES, np.array([0, 1, 2, 0])), [1, 1, 0, 1])


def test_cost_is_unknown_as_soon_as_one_chosen_call_is() -> None:
    """A mean cost is given only where every chosen call has a known cost."""
    cost = np.array([[0.001, np.nan], [0.003, 0.5]])
    assert cost_per_1k(cost, np.array([0, 0])) == pytest.approx(2.0)
    assert cost_per_1k(cost, np.array([1, 0])) is None


def test_gap_closed_is_the_share_of_the_way_to_the_oracle() -> None:
    """Half way is 0.5, below the single worker is negative, no way is unknown."""
    assert gap_closed(0.75, 0.5, 1.0) == pytest.approx(0.5)
    assert gap_closed(0.4, 0.5, 1.0) == pytest.approx(-0.2)
    assert gap_closed(0.5, 0.5, 0.5) is None


def test_rare_recall_counts_only_items_that_few_solve() -> None:
    """Items that all or none solve do not count; of the rest the chosen worker's score does."""
    assert rare_recall(SCORES, np.array([0, 0, 0, 0])) == pytest.approx(0.5)
    assert rare_recall(SCORES, np.array([0, 2, 0, 0])) == pytest.approx(1.0)
    assert rare_recall(SCORES[2:], np.array([0, 0])) is None


def test_cost_at_quality_joins_points_by_lines() -> None:
    """Between two points the cost is interpolated; a quality nobody reaches has none."""
    curve = [(3.0, 0.9), (1.0, 0.5)]
    assert cost_at_quality(curve, 0.7) == pytest.approx(2.0)
    assert cost_at_quality(curve, 0.4) == pytest.approx(1.0)
    assert cost_at_quality(curve, 0.95) is None


def test_calibration_error_is_zero_for_true_probabilities_and_grows_with_bias() -> None:
    """True probabilities are near zero error, and a shift of 0.2 is measured as such."""
    rng = np.random.default_rng(0)
    p = rng.uniform(0.2, 0.8, 20_000)
    score = (rng.random(20_000) < p).astype(float)
    assert calibration_error(p, score) < 0.02
    assert calibration_error(p + 0.2, score) == pytest.approx(0.2, abs=0.02)


def test_a_tradeoff_goes_from_the_best_to_the_cheapest() -> None:
    """With no worth of a dollar the highest score is chosen, with a large one the cheapest."""
    p = np.array([[0.5, 0.9, 0.7], [0.6, 0.5, 0.4]])
    choices = tradeoff(p, np.array([[0.001, 0.1, 0.01]]))
    assert choices[0].tolist() == [1, 0]
    assert choices[-1].tolist() == [0, 0]
    paid = [np.array([0.001, 0.1, 0.01])[c].sum() for c in choices]
    assert paid == sorted(paid, reverse=True)
    assert [c.tolist() for c in tradeoff(p, np.zeros((1, 3)))] == [[1, 0]]


def test_the_envelope_holds_what_nothing_beats() -> None:
    """Points that cost more and score no more are dropped."""
    assert envelope([(3, 0.5), (1, 0.4), (2, 0.6), (1, 0.2)]) == [(1, 0.4), (2, 0.6)]
    assert envelope([]) == []


def test_the_area_is_the_mean_quality_over_budgets() -> None:
    """Half of the (log) budgets at 0.4 and half at 0.8 make 0.6; costs outside count at the edge."""
    singles, quality = np.array([1.0, 100.0]), np.array([0.4, 0.7])
    assert curve_area([(10.0, 0.8)], singles, quality) == pytest.approx(0.6)
    assert curve_area([(0.1, 0.8)], singles, quality) == pytest.approx(0.8)
    assert curve_area([(1_000.0, 0.9)], singles, quality) == pytest.approx(0.4)
    assert curve_area([(10.0, 0.8)], np.array([1.0, np.nan]), quality) is None
    assert curve_area([(10.0, 0.8)], np.array([1.0, 1.0]), quality) is None
    assert curve_area([(10.0, 0.8)], np.array([0.0, 1.0]), quality) is None
