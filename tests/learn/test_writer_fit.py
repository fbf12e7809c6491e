"""What a written workflow earns on recorded answers, and what its writer is shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recorded_answers import made_up

from fugu_adapters.errors import ConfigError
from fugu_adapters.evaluate.votes import Recorded
from fugu_adapters.learn.coordinator_data import Suite
from fugu_adapters.learn.writer_fit import reward_of, tasks_of, train_writer

ONE = 'model_id = [{}]\nsubtasks = ["x"]\naccess_list = [[]]'
THREE = 'model_id = [0, 1, 2]\nsubtasks = ["x", "y", "z"]\naccess_list = [[], [], ["all"]]'
CHAIN = 'model_id = [0, 1]\nsubtasks = ["x", "y"]\naccess_list = [[], []]'


@pytest.fixture
def items() -> Recorded:
    """One item: the first worker is wrong, the others right and agreed."""
    made = made_up(20)
    scores, answer = made.scores.copy(), made.answer.copy()
    scores[0], answer[0] = [0, 1, 1, 1], [5, 0, 0, 0]
    return replace(made, scores=scores, answer=answer)


def test_rewards_are_nothing_half_and_one_less_the_price(items: Recorded) -> None:
    """No workflow, a wrong one, a right one; calls cost."""
    columns = [0, 1, 2]
    assert reward_of("no idea", items, 0, columns) == 0
    assert reward_of(ONE.format(7), items, 0, columns) == 0  # nobody has that number
    assert reward_of(ONE.format(0), items, 0, columns) == 0.5
    right = reward_of(ONE.format(1), items, 0, columns)
    assert 0.99 < right < 1
    assert right > reward_of(THREE, items, 0, columns) > 0.9  # the vote is right, and dearer
    assert (
        reward_of(ONE.format(0), items, 0, [1, 0]) == right
    )  # numbers are places in the pool shown


def test_the_last_step_votes_with_what_it_sees(items: Recorded) -> None:
    """Whom it does not see has no vote: two that see nothing are the last one's answer."""
    assert reward_of(CHAIN, items, 0, [1, 0]) == 0.5
    assert reward_of(CHAIN, items, 0, [0, 1]) > 0.9


def test_the_writer_is_shown_numbers_in_changing_order(items: Recorded) -> None:
    """Requests on which workers differ, a random part of the pool each."""
    suite = Suite(
        name="s", fit=items, test=items, estimated=(), prompts=tuple(f"What is {n}?" for n in range(20))
    )  # fmt: skip
    tasks = tasks_of([suite], 60, seed=1)
    assert len({tuple(task["columns"]) for task in tasks}) > 10
    for task in tasks:
        assert np.ptp(items.scores[task["row"]]) > 0
        text = task["prompt"][0]["content"]
        assert f"What is {task['row']}?" in text
        assert f"Model {len(task['columns']) - 1}:" in text
        assert f"Model {len(task['columns'])}:" not in text
        assert "w0" not in text


def test_what_training_needs(tmp_path: Path, items: Recorded) -> None:
    """Without TRL, or without a model, the error says what to do."""
    suite = Suite(name="s", fit=items, test=items, estimated=(), prompts=("x",) * 20)
    with pytest.raises(ConfigError, match=r"lm-train|config\.json"):
        train_writer(tmp_path, [suite], tmp_path / "out")
