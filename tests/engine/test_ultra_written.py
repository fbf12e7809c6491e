"""``fugu-ultra`` with a chat model that writes the workflows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from fugu_adapters import ConfigError, Fugu, Limits, Pool, Price, Reply, Usage, Worker
from fugu_adapters.config import ConductorConfig
from fugu_adapters.engine.retry import RetryPolicy
from fugu_adapters.types import Message, Request, Result

QUESTION = "How many apples are left?"
ONE = 'model_id = [0]\nsubtasks = ["Count."]\naccess_list = [[]]'
TWO = 'model_id = [0, 1]\nsubtasks = ["Count.", "Check and answer."]\naccess_list = [[], ["all"]]'
NONE = "model_id = []\nsubtasks = []\naccess_list = []"


class Cast:
    """A writer, whose lines are workflows, and two workers, whose lines are answers."""

    def __init__(self, *plans: str, answers: Sequence[str] = ("17", "18", "19")) -> None:
        self.plans, self.answers = list(plans), list(answers)
        self.written: list[Request] = []
        self.asked: list[tuple[str, Request]] = []
        price = Price(input=1.0, output=2.0)
        self.workers = [
            Worker(name="writer", api="callable", call=self._write, price=price, tags=("no",)),
            *(
                Worker(name=name, api="callable", call=self._answerer(name), price=price)
                for name in "ab"
            ),
        ]

    async def _write(self, messages: Sequence[Message], *, request: Request) -> Reply:
        text = self.plans[min(len(self.written), len(self.plans) - 1)]
        self.written.append(request)
        return Reply(text=text, usage=Usage(input_tokens=10, output_tokens=10))

    def _answerer(self, name: str) -> Any:
        async def call(messages: Sequence[Message], *, request: Request) -> Reply:
            text = self.answers[min(len(self.asked), len(self.answers) - 1)]
            self.asked.append((name, request))
            return Reply(text=text, usage=Usage(input_tokens=10, output_tokens=10))

        return call

    async def run(self, settings: dict[str, Any] | None = None, **options: Any) -> Result:
        conductor = ConductorConfig(worker="writer", **(settings or {}))
        pool = Pool(self.workers, conductor=conductor)
        async with Fugu(pool, store=False, seed=0, retry=RetryPolicy(attempts=1)) as fugu:
            return await fugu.arun(QUESTION, model="fugu-ultra", exclude={"no"}, **options)


async def test_the_workflow_that_was_written_is_carried_out() -> None:
    """Two calls and the writer's; the second step sees the first one's output, quoted."""
    cast = Cast(f"Let me think.\n{TWO}")
    result = await cast.run()
    assert (result.text, len(cast.asked), len(cast.written)) == ("18", 2, 1)
    assert "writer wrote 2 steps" in (result.stopped or "")
    assert "17" in str(cast.asked[1][1].messages)
    assert "Check and answer." in str(cast.asked[1][1].messages)
    assert [step.answered_by for step in result.trace.steps] == [name for name, _ in cast.asked]
    assert result.usage.total_tokens == 60


async def test_models_have_numbers_and_no_names() -> None:
    """The writer sees the request and what is expected of each model, under a number."""
    cast = Cast(ONE)
    await cast.run()
    sent = str(cast.written[0].messages)
    assert QUESTION in sent
    assert "Model 0:" in sent
    assert "Model 1:" in sent
    assert "Model 2" not in sent  # the writer was excluded from the answering workers
    assert cast.written[0].tools == ()


@pytest.mark.parametrize(
    "plan",
    [
        "",
        "I would ask model 0.",
        ONE.replace("[0]", "[7]"),
        TWO.replace('[[], ["all"]]', "[[1], []]"),
        NONE,
    ],
)
async def test_what_is_no_workflow_is_one_call(plan: str) -> None:
    """Nothing is mended: the selector's choice answers alone, with the request as it is."""
    cast = Cast(plan)
    result = await cast.run()
    assert (result.text, len(cast.asked)) == ("17", 1)
    assert "wrote no workflow" in (result.stopped or "")
    assert str(cast.asked[0][1].messages[-1]["content"]) == QUESTION


async def test_the_best_of_several_is_carried_out() -> None:
    """Samples are ranked by value less price: at equal value the shorter one."""
    cast = Cast(TWO, "nothing", ONE)
    result = await cast.run({"samples": 3})
    assert (len(cast.written), len(cast.asked), result.text) == (3, 1, "17")


async def test_another_round_sees_the_answer_and_may_accept_it() -> None:
    """Three empty lists accept; another workflow sees the answer before."""
    cast = Cast(ONE, NONE)
    result = await cast.run({"rounds": 2})
    assert (result.text, len(cast.asked), len(cast.written)) == ("17", 1, 2)
    assert result.stopped == "writer accepts the answer"
    assert "17" in str(cast.written[1].messages)
    cast = Cast(ONE)
    result = await cast.run({"rounds": 2})
    assert (result.text, len(cast.asked)) == ("18", 2)
    assert "An earlier answer" in str(cast.asked[1][1].messages)


async def test_a_limit_in_a_later_round_leaves_the_answer() -> None:
    """What was answered is not lost."""
    cast = Cast(ONE)
    result = await cast.run({"rounds": 3}, limits=Limits(calls=3))
    assert result.text == "17"
    assert "round 2 failed" in (result.stopped or "")


async def test_a_written_answer_is_streamed() -> None:
    """Also one that a later round accepts."""
    cast = Cast(ONE, NONE)
    pool = Pool(cast.workers, conductor=ConductorConfig(worker="writer", rounds=2))
    async with Fugu(pool, store=False, seed=0) as fugu:
        events = [e async for e in fugu.astream(QUESTION, model="fugu-ultra", exclude={"no"})]
    assert [e.delta.text for e in events if e.delta is not None] == ["17"]


def test_a_writer_has_to_be_in_the_pool() -> None:
    """A wrong name is an error with the nearest one; a pool without it has no writer."""
    cast = Cast(ONE)
    with pytest.raises(ConfigError, match="did you mean 'writer'"):
        Pool(cast.workers, conductor=ConductorConfig(worker="writter"))
    pool = Pool(cast.workers, conductor=ConductorConfig(worker="writer", samples=2))
    assert pool.changed(lambda worker: worker).conductor.worker == "writer"
    assert pool.without("writer").conductor.worker is None
    assert pool.without("writer").conductor.samples == 2
