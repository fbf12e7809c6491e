from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from routing_world import World

from fugu_adapters.evaluate import trials
from fugu_adapters.evaluate.compare import compare
from fugu_adapters.evaluate.report import Report, markdown, plain, summary, table

METHODS = {
    "selector", "selector@low", "selector@high", "selector@xhigh", "best_single", "kmeans", "knn",
    "ridge", "logistic", "mlp", "mf", "per_domain", "random", "cheapest", "oracle", "litellm_heuristic",
}  # fmt: skip
KEYS = {
    "accuracy", "ci", "cost_usd_per_1k", "gap_closed", "rare_recall", "auc", "ece", "fit_s", "curve",
    "shares", "cost_at_best_single_quality_usd_per_1k", "vs_best_single", "vs_best_baseline",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _no_litellm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "_complexity_router", lambda: None)


@pytest.fixture(scope="module")
def found() -> Report:
    world = World()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trials, "_complexity_router", lambda: None)
        return compare(world.task, world.fitted, seeds=2)


def test_json_has_exactly_the_promised_keys(found: Report) -> None:
    """Every method is there by its key, with every figure; what could not run is null, with a note."""
    report = plain(found)
    assert json.loads(json.dumps(report, allow_nan=False)) == json.loads(json.dumps(report))
    assert set(report["methods"]) == METHODS
    assert report["pool"] == ["abacus", "both", "cheap", "poet"]
    assert (report["n_items"], report["n_fit_items"], report["seeds"]) == (100, 200, 2)
    assert report["methods"]["litellm_heuristic"] is None
    assert any("litellm_heuristic: " in note for note in report["notes"])
    for name in METHODS - {"litellm_heuristic"}:
        assert set(report["methods"][name]) == KEYS
    assert set(report["methods"]["selector"]["vs_best_single"]) == {
        "method",
        "diff",
        "ci",
        "mcnemar_p",
    }


def test_nobody_beats_the_oracle_and_intervals_hold_the_mean(found: Report) -> None:
    """The oracle is on top, every interval contains its mean, and differences are what they say."""
    single = found.rows["best_single"].accuracy
    for row in found.rows.values():
        assert row.accuracy <= found.rows["oracle"].accuracy
        assert row.ci[0] <= row.accuracy <= row.ci[1]
        assert row.vs_best_single.diff == pytest.approx(row.accuracy - single)
        low, high = row.vs_best_single.ci
        assert low <= row.vs_best_single.diff <= high
        assert sum(row.shares.values()) == pytest.approx(1.0)
    assert found.rows["oracle"].gap_closed == pytest.approx(1.0)
    assert found.rows["best_single"].vs_best_single.mcnemar_p == 1.0


def test_ours_is_measured_against_the_strictest_rival(found: Report) -> None:
    """The best simple method on the test items is the rival, whichever it is, never the oracle."""
    simple = {
        name: row.accuracy
        for name, row in found.rows.items()
        if name != "oracle" and not name.startswith("selector")
    }
    against = found.rows["selector"].vs_best_baseline
    assert against is not None
    assert simple[against.method] == max(simple.values())
    assert against.diff == pytest.approx(found.rows["selector"].accuracy - max(simple.values()))
    assert found.rows["knn"].vs_best_baseline is None


def test_a_planted_structure_is_found_and_is_beyond_noise(found: Report) -> None:
    """Specialists are told apart: ours and learned methods beat the best single worker."""
    assert found.best_single == "both"
    for name in ("selector", "kmeans", "knn", "ridge", "mlp", "mf", "per_domain"):
        row = found.rows[name]
        assert row.vs_best_single.ci[0] > 0, name
        assert row.vs_best_single.mcnemar_p < 0.05, name
    assert found.rows["selector"].rare_recall is not None
    assert found.rows["selector"].ece is not None
    assert found.rows["selector"].ece < 0.1


def test_costs_are_those_of_the_chosen_workers(found: Report) -> None:
    """A single worker's cost is its own; the curve starts at the cheapest; saving is found."""
    assert found.rows["best_single"].cost_usd_per_1k == pytest.approx(4.0)
    assert found.rows["cheapest"].cost_usd_per_1k == pytest.approx(0.1)
    ours = found.rows["selector"]
    assert ours.cost_usd_per_1k == pytest.approx(2.0)
    assert ours.curve[0][0] == pytest.approx(0.1)
    least = ours.cost_at_best_single_quality_usd_per_1k
    assert least is not None
    assert least < 4.0
    assert ours.auc is not None
    assert found.rows["best_single"].auc is not None
    assert ours.auc > found.rows["best_single"].auc
    assert found.rows["oracle"].auc is not None
    assert found.rows["oracle"].auc >= ours.auc


def test_unknown_costs_are_null_and_nothing_is_made_up() -> None:
    """One worker without costs leaves only choices without it priced; no cost at all prices nothing."""
    cost = np.array(World().data.cost_usd)
    world = World()
    cost[world.data.worker == 1] = np.nan  # "both", the best single
    partly = compare(World(cost_usd=cost).task, world.fitted, seeds=1)
    assert partly.rows["best_single"].cost_usd_per_1k is None
    assert partly.rows["cheapest"].cost_usd_per_1k == pytest.approx(0.1)
    assert partly.rows["selector"].cost_usd_per_1k == pytest.approx(2.0)
    assert partly.rows["selector"].auc is None
    assert partly.rows["selector"].curve  # "both" is on no point of it
    assert partly.rows["ridge"].curve == ()
    assert partly.workers["both"].cost_usd_per_1k is None
    bare = compare(World(cost_usd=cost * np.nan).task, world.fitted, seeds=1)
    assert bare.n_cost_items == 0
    assert {row.cost_usd_per_1k for row in bare.rows.values()} == {None}
    assert "cheapest" in bare.missing
    json.dumps(plain(bare), allow_nan=False)


def test_costs_of_a_few_items_missing_leave_those_items_out() -> None:
    """Costs are compared on the items that have them, as long as these are half."""
    world = World()
    cost = np.array(world.data.cost_usd)
    cost[(world.data.item % 10 == 0) & (world.data.worker == 0)] = np.nan
    found = compare(World(cost_usd=cost).task, world.fitted, seeds=1)
    assert 80 <= found.n_cost_items < 100
    assert found.rows["selector"].cost_usd_per_1k == pytest.approx(2.0)


def test_test_scores_change_no_choice() -> None:
    """With every test score turned round, every method but the oracle chooses as before."""
    world = World()
    task = world.task
    poisoned = replace(task, test=replace(task.test, scores=1.0 - task.test.scores))
    fitted = world.fitted
    before = {t.name: t for t in trials.all_trials(task, fitted, seeds=1)[0]}
    after = {t.name: t for t in trials.all_trials(poisoned, fitted, seeds=1)[0]}
    for name in set(before) - {"oracle"}:
        np.testing.assert_array_equal(before[name].choices, after[name].choices)
    assert (before["oracle"].choices != after["oracle"].choices).any()


def test_people_see_every_method_best_first(
    found: Report, capsys: pytest.CaptureFixture[str]
) -> None:
    """One row a method in 80 columns, losing rows included; Markdown holds the same rows."""
    from rich.console import Console

    Console(width=80).print(table(found))
    lines = capsys.readouterr().out.splitlines()[2:]
    names = [line.split()[0] for line in lines]
    assert set(names) == METHODS - {"litellm_heuristic"}
    assert names[0] == "oracle"
    assert "…" not in "".join(lines)
    text = markdown(found)
    assert text.count("\n| ") == len(names)
    assert "| **selector** |" in text
    assert any("best simple method" in line for line in summary(found))
