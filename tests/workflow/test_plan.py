"""Workflows as records: what is valid, in which order steps run, drawing, JSON."""

from __future__ import annotations

import dataclasses
import json
import random
from typing import Any

import pytest
from workflows import random_workflow

from fugu_adapters.errors import PlanError, PolicyError
from fugu_adapters.workflow import Aggregate, Step, Workflow
from fugu_adapters.workflow.plan import MAX_STEPS, MAX_SUBTASK_CHARS


def step(*access: int, worker: str = "a", subtask: str = "Do it.") -> Step:
    return Step(worker=worker, subtask=subtask, access=access)


@pytest.mark.parametrize(
    ("build", "path"),
    [
        (lambda: Workflow(steps=()), "steps"),
        (lambda: Workflow(steps=tuple(step() for _ in range(MAX_STEPS + 1))), "steps"),
        (lambda: Workflow(steps=(step(), "second")), "steps"),  # type: ignore[arg-type]
        (lambda: Workflow(steps=None), "steps"),  # type: ignore[arg-type]
        (lambda: Workflow(steps=(step(0),)), "steps[0].access[0]"),
        (lambda: Workflow(steps=(step(), step(), step(0, 2))), "steps[2].access[1]"),
        (lambda: Workflow(steps=(step(), step(4))), "steps[1].access[0]"),
        (lambda: step(-1), "access[0]"),
        (lambda: step(True), "access[0]"),
        (lambda: step("0"), "access[0]"),  # type: ignore[arg-type]
        (lambda: step(0, 0), "access[1]"),
        (lambda: Step(worker="a", subtask="x", access="all"), "access"),  # type: ignore[arg-type]
        (lambda: step(worker=" "), "worker"),
        (lambda: step(worker=None), "worker"),  # type: ignore[arg-type]
        (lambda: step(subtask=" \n"), "subtask"),
        (lambda: step(subtask="x" * (MAX_SUBTASK_CHARS + 1)), "subtask"),
        (lambda: Aggregate(kind="mean", steps=(0, 1)), "kind"),  # type: ignore[arg-type]
        (lambda: Aggregate(kind="vote", steps=(0,)), "steps"),
        (lambda: Aggregate(kind="vote", steps=(0, 1), judge=2), "judge"),
        (lambda: Aggregate(kind="select", steps=(0, 1)), "judge"),
        (lambda: Aggregate(kind="select", steps=(0, 1), judge="2"), "judge"),  # type: ignore[arg-type]
        (
            lambda: Workflow(
                steps=(step(), step()), aggregate=Aggregate(kind="vote", steps=(0, 2))
            ),
            "aggregate.steps[1]",
        ),
        (lambda: Workflow(steps=(step(),), aggregate="vote"), "aggregate"),  # type: ignore[arg-type]
    ],
)
def test_an_invalid_workflow_cannot_be_made(build: Any, path: str) -> None:
    """Each mistake is a ``PlanError`` that says where; nothing is mended."""
    with pytest.raises(PlanError) as raised:
        build()
    assert raised.value.path == path
    assert path.split(".")[-1].split("[")[0] in str(raised.value)
    assert isinstance(raised.value, PolicyError)


def test_a_judge_has_to_see_what_it_chooses_among() -> None:
    """Its verdict could mean nothing otherwise."""
    for judge, access in ((2, (0,)), (5, (0, 1))):
        with pytest.raises(PlanError, match="judge") as raised:
            Workflow(
                steps=(step(), step(), step(*access)),
                aggregate=Aggregate(kind="select", steps=(0, 1), judge=judge),
            )
        assert raised.value.path == "aggregate.judge"


def test_waves_are_as_early_as_inputs_allow() -> None:
    """Independent steps share a wave; a step comes one after the last of its inputs."""
    plan = Workflow(steps=(step(), step(), step(0, 1), step(), step(2, 3)))
    assert plan.waves() == ((0, 1, 3), (2,), (4,))
    rng = random.Random(5)
    for _ in range(300):
        plan = random_workflow(rng, ["a", "b"])
        waves = plan.waves()
        place = {index: number for number, wave in enumerate(waves) for index in wave}
        assert sorted(place) == list(range(len(plan.steps)))
        for index, each in enumerate(plan.steps):
            assert place[index] == 1 + max((place[seen] for seen in each.access), default=-1)


def test_json_gives_the_same_workflow_back() -> None:
    """Through text, for any valid workflow."""
    rng = random.Random(7)
    for _ in range(300):
        plan = random_workflow(rng, ["a", "provider/b"])
        assert Workflow.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan


@pytest.mark.parametrize(
    ("data", "path", "says"),
    [
        ([], "", "expected an object, got list"),
        ({}, "", "'steps' is missing"),
        ({"steps": [], "step": 1}, "", "unknown key 'step'"),
        ({"steps": "abc"}, "steps", "expected a list"),
        ({"steps": []}, "steps", "expected 1 to 5 steps, got 0"),
        ({"steps": [None]}, "steps[0]", "expected an object"),
        ({"steps": [{"worker": "a"}]}, "steps[0]", "'subtask' is missing"),
        ({"steps": [{"worker": "a", "subtask": ""}]}, "steps[0].subtask", "expected text"),
        (
            {"steps": [{"worker": "a", "subtask": "x", "access": [1.0]}]},
            "steps[0].access[0]",
            "got 1.0",
        ),
        (
            {"steps": [{"worker": "a", "subtask": "x", "access": [0]}]},
            "steps[0].access[0]",
            "none, as it is the first",
        ),
        (
            {"steps": [{"worker": "a", "subtask": "x"}], "aggregate": {"kind": "vote"}},
            "aggregate",
            "'steps' is missing",
        ),
        (
            {
                "steps": [{"worker": "a", "subtask": "x"}],
                "aggregate": {"kind": "vote", "steps": [0, True]},
            },
            "aggregate.steps[1]",
            "got True",
        ),
    ],
)
def test_a_dict_that_is_no_workflow_says_where(data: Any, path: str, says: str) -> None:
    """The path is that of the whole document."""
    with pytest.raises(PlanError) as raised:
        Workflow.from_dict(data)
    assert raised.value.path == path
    assert says in str(raised.value)


def test_records_are_frozen_and_equal_by_value() -> None:
    """Lists are taken as tuples, in ascending order, so that equal plans are equal."""
    plan = Workflow(steps=[step(), step(), step(1, 0)])  # type: ignore[arg-type]
    assert plan.steps[2].access == (0, 1)
    assert hash(plan) == hash(Workflow(steps=(step(), step(), step(0, 1))))
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.aggregate = None  # type: ignore[misc]


def test_the_drawing_shows_order_inputs_and_answer() -> None:
    """One line for each step, the wave before the first of each."""
    plan = Workflow(
        steps=(
            step(worker="thinker", subtask="Plan\nit."),
            step(worker="coder"),
            step(0, 1, worker="x", subtask="word " * 40),
        )
    )
    lines = plan.draw().splitlines()
    assert lines[0] == "wave 1  1 thinker  Plan it."
    assert lines[1] == "        2 coder    Do it."
    assert lines[2].startswith("wave 2  3 x        (sees 1, 2) word word")
    assert lines[2].endswith("... => answer")
    voted = Workflow(steps=(step(), step()), aggregate=Aggregate(kind="vote", steps=(0, 1)))
    assert voted.draw().endswith("vote over 1, 2 => answer")
    assert voted.draw().count("answer") == 1
    judged = Workflow(
        steps=(step(), step(), step(0, 1)),
        aggregate=Aggregate(kind="select", steps=(0, 1), judge=2),
    )
    assert "select by 3 over 1, 2" in judged.draw()


def test_what_answers_is_the_last_step_or_what_is_aggregated() -> None:
    """The judge's own text is never the answer."""
    assert Workflow(steps=(step(), step())).answering == (1,)
    judged = Workflow(
        steps=(step(), step(), step(0, 1)),
        aggregate=Aggregate(kind="select", steps=(0, 1), judge=2),
    )
    assert judged.answering == (0, 1)
