from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from routing_world import World

from fugu_adapters.errors import InputError
from fugu_adapters.evaluate.runner import common_workers, fit_all, gather, prompt_tokens


def test_only_items_that_all_workers_answered_are_compared(world: World) -> None:
    """An item that one worker lacks is in neither part, for anybody."""
    data = world.data
    lacking = (data.worker == 0) & np.isin(data.item, [0, 1])  # item 0 is test, item 1 train
    task = gather(data.rows(~lacking), world.vectors, data.workers)
    whole = world.task
    assert len(task.test.scores) == len(whole.test.scores) - 1
    assert len(task.fit.scores) == len(whole.fit.scores) - 1
    assert np.isfinite(task.test.scores).all()
    assert 1 not in task.fit_items


def test_parts_hold_their_splits_and_nothing_else(world: World) -> None:
    """Items to fit on are of the fit splits, items to report of the test split."""
    task = world.task
    assert set(world.data.splits[task.fit_items]) == {"train"}
    assert len(task.prompts) == len(task.test.scores) == 100
    assert task.test.groups[:2] == ["verse", "sums"]
    assert task.prices.tolist() == pytest.approx([2.0, 4.0, 0.1, 2.0])


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize(
    ("workers", "options", "message"),
    [
        (("poet", "nobody"), {}, "no outcomes of nobody"),
        (("poet",), {}, "two or more different names"),
        (("poet", "poet"), {}, "two or more different names"),
        (("poet", "both"), {"test_split": "train"}, "keep them apart"),
        (("poet", "both"), {"test_split": "dev"}, "at least 10 items of split dev"),
        (("poet", "both"), {"min_items": 500}, "poet 200, both 200"),
        (("poet", "both"), {"suites": ["other"]}, "got 0"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_what_to_do(
    world: World, workers: tuple[str, ...], options: dict[str, Any], message: str
) -> None:
    """Unknown workers, overlapping splits and too few common items are errors that name them."""
    with pytest.raises(InputError, match=message):
        gather(world.data, world.vectors, workers, **options)


def test_without_names_all_workers_that_share_items_are_the_pool(world: World) -> None:
    """A profile's outcomes are a pool as they are; unrelated workers are listed with their counts."""
    assert common_workers(world.data, ["train"]) == world.data.workers
    data = world.data
    apart = data.rows((data.worker == 0) == (data.item < 100))
    with pytest.raises(InputError, match=r"only 0 of the same items; .* both \(134\)"):
        common_workers(apart, ["train"])


def test_a_part_of_a_pool_keeps_the_items(world: World) -> None:
    """Fewer workers, the same requests, columns in the asked order."""
    task = world.task
    part = task.of([3, 0])
    assert part.workers == ("poet", "abacus")
    np.testing.assert_array_equal(part.test.scores, task.test.scores[:, [3, 0]])
    np.testing.assert_array_equal(part.fit.cost, task.fit.cost[:, [3, 0]])
    np.testing.assert_array_equal(part.prices, task.prices[[3, 0]])


def test_ours_is_fitted_to_the_fit_splits_alone(world: World) -> None:
    """Each seed gets the outcomes of the fit splits, and progress is told."""
    said: list[tuple[str, int, int]] = []
    fitted = fit_all(
        world.data, world.vectors, world.fit, seeds=3, progress=lambda *what: said.append(what)
    )
    assert [one.seed for one in fitted.predictors] == [0, 1, 2]
    seen = fitted.predictors[0].seen
    assert set(world.data.splits[seen.item]) == {"train"}
    assert said[-1][1:] == (3, 3)


def test_prompt_tokens_grow_with_the_prompt(world: World) -> None:
    """Longer prompts count more tokens, and an empty one does not fail."""
    tokens = prompt_tokens(["", "a word", "word " * 100])
    assert tokens[0] <= tokens[1] < tokens[2]
    assert world.task.input_tokens.shape == (100,)
