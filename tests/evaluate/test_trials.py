from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from routing_world import World

from fugu_adapters.evaluate import trials
from fugu_adapters.evaluate.trials import Bill, all_trials, complexity_choices, selector_choices

MODULE = "litellm.router_strategy.complexity_router.complexity_router"


class Classifier:
    """Stands in for LiteLLM's router: the tier is the prompt's first word."""

    def __init__(self, name: str, router: Any, config: dict[str, Any], *_: Any, **__: Any) -> None:
        assert set(config["tiers"]) == {"SIMPLE", "MEDIUM", "COMPLEX", "REASONING"}

    def classify(self, prompt: str) -> tuple[Any, float, list[str]]:
        return SimpleNamespace(value=prompt.split()[0]), 0.0, []


@pytest.fixture
def litellm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    module = types.ModuleType(MODULE)
    module.ComplexityRouter = Classifier  # type: ignore[attr-defined]
    for name in ("litellm", "litellm.router_strategy", "litellm.router_strategy.complexity_router"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, MODULE, module)
    trials._complexity_router.cache_clear()
    yield
    trials._complexity_router.cache_clear()


@pytest.mark.usefixtures("litellm")
def test_tiers_climb_the_ladder_of_prices() -> None:
    """Simple goes to the cheapest, reasoning to the dearest; a worker of unknown price gets nothing."""
    prices = np.array([5.0, 1.0, np.nan, 60.0, 10.0, 2.0, 30.0])
    choice = complexity_choices(["SIMPLE a", "MEDIUM b", "COMPLEX c", "REASONING d"], prices)
    assert not isinstance(choice, str)
    assert prices[choice].tolist() == [1.0, 5.0, 10.0, 60.0]


@pytest.mark.usefixtures("litellm")
def test_without_prices_there_is_no_ladder() -> None:
    """The reason is given in place of choices."""
    assert "prices" in str(complexity_choices(["SIMPLE a"], np.array([np.nan, 1.0])))


def test_where_litellm_is_missing_the_reason_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """An optional package that is not there is no error."""
    monkeypatch.setitem(sys.modules, "litellm", None)
    trials._complexity_router.cache_clear()
    said = complexity_choices(["hello"], np.array([1.0, 2.0]))
    trials._complexity_router.cache_clear()
    assert "not installed" in str(said)


@pytest.mark.usefixtures("litellm")
def test_every_method_chooses_for_every_item_and_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Choices are columns of the pool; random methods have one row a seed, others one."""
    world = World(prompts=tuple(f"SIMPLE {p}" for p in World().data.prompts))
    found, notes = all_trials(world.task, world.fitted, seeds=3)
    assert notes == []
    rows = {trial.name: trial.choices for trial in found}
    assert rows["litellm_heuristic"].tolist() == [[2] * 100]
    assert {name for name, choice in rows.items() if len(choice) == 3} == {"kmeans", "mlp", "mf", "random"}  # fmt: skip
    for choice in rows.values():
        assert choice.shape[1] == 100
        assert choice.min() >= 0
        assert choice.max() < 4


def test_a_larger_tolerance_costs_less() -> None:
    """What is given up in score is saved in dollars."""
    world = World()
    bill = Bill(world.task.test.cost)
    paid = [bill.per_1k(selector_choices(world.task, world.fitted, t)) for t in (0.0, 0.3, 1.0)]
    assert paid == sorted((value or 0.0 for value in paid), reverse=True)
    assert paid[0] == pytest.approx(2.0)
    assert paid[-1] == pytest.approx(0.1)


def test_a_bill_needs_costs_of_half_the_items() -> None:
    """Below that nothing is compared; workers without any cost do not shut the others out."""
    cost = np.array([[1.0, np.nan, 2.0]] * 4)
    assert Bill(cost).rows.all()
    assert not Bill(cost).complete
    assert Bill(cost).per_1k(np.array([[0, 0, 2, 2]])) == pytest.approx(1_500)
    assert Bill(cost).per_1k(np.array([[0, 1, 2, 2]])) is None
    cost[:3, 0] = np.nan
    assert not Bill(cost).rows.any()
    assert Bill(cost).per_1k(np.array([[2, 2, 2, 2]])) is None
