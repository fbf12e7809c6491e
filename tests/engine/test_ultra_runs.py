"""``fugu-ultra``: a plan is made, carried out one answer after another, and ends when it is decided."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from conductors import eager

from fugu_adapters import (
    Fugu,
    InputError,
    Limits,
    Pool,
    Price,
    Reply,
    Usage,
    Worker,
    WorkerUnavailable,
)
from fugu_adapters.engine.retry import RetryPolicy
from fugu_adapters.policies.conductor import Conductor
from fugu_adapters.types import Event, Message, Request, Result
from fugu_adapters.workflow import Step, Workflow

PRICE = Price(input=1.0, output=2.0)
QUESTION = "How many apples are left?"
CODE = "```python\nprint(17)\n```"
TOOLS = [{"type": "function", "function": {"name": "count", "parameters": {"type": "object"}}}]


@pytest.fixture(autouse=True)
def _eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every plan has as many answers as the effort allows."""
    monkeypatch.setattr("fugu_adapters.planning.load_conductor", lambda path: eager())


class Cast:
    """Workers of the same ability, whose lines are given in the order in which they are asked."""

    def __init__(
        self,
        *lines: str | Reply | BaseException,
        names: str = "abcde",
        together: asyncio.Barrier | None = None,
    ):
        self.lines, self.together = list(lines), together
        self.asked: list[tuple[str, Request]] = []
        self.workers = [self._worker(name) for name in names]

    def _worker(self, name: str) -> Worker:
        async def call(messages: Sequence[Message], *, request: Request) -> str | Reply:
            line = self.lines[min(len(self.asked), len(self.lines) - 1)]
            self.asked.append((name, request))
            if self.together is not None:
                await self.together.wait()
            if isinstance(line, BaseException):
                raise line
            return line if isinstance(line, Reply) else _reply(line)

        return Worker(name=name, api="callable", call=call, price=PRICE)

    @property
    def order(self) -> list[str]:
        return [name for name, _ in self.asked]

    def fugu(self, **options: Any) -> Fugu:
        once = RetryPolicy(attempts=1)
        return Fugu(Pool(self.workers), **{"store": False, "seed": 0, "retry": once, **options})

    async def run(self, question: Any = QUESTION, **options: Any) -> Result:
        async with self.fugu() as fugu:
            return await fugu.arun(question, **{"model": "fugu-ultra", **options})


def _reply(text: str) -> Reply:
    return Reply(text=text, usage=Usage(input_tokens=10, output_tokens=10))


async def test_an_answer_that_cannot_be_overtaken_ends_the_vote() -> None:
    """Two equal answers of three: the third is not asked, and the result says why."""
    cast = Cast("17", "It is 17.", "18")
    result = await cast.run(effort="medium")
    assert (result.text, result.worker, len(cast.asked)) == ("17", cast.order[0], 2)
    assert result.stopped == f"1 more would not change the answer of {cast.order[0]}"
    assert "ultra" in result.decision.policy
    assert [step.answered_by for step in result.trace.steps] == [*cast.order, None]


async def test_the_vote_decides_and_not_the_order() -> None:
    """The answer of two comes before that of the first."""
    cast = Cast("18", "17", "17")
    result = await cast.run(effort="medium")
    assert (result.text, result.worker, len(cast.asked)) == ("17", cast.order[1], 3)


async def test_all_at_once_where_nobody_waits() -> None:
    """Without replanning the steps run at the same time: each ends once all four are asked."""
    cast = Cast("17", together=asyncio.Barrier(4))
    async with asyncio.timeout(20):
        result = await cast.run(effort="high", replan=False)
    assert (result.text, len(cast.asked)) == ("17", 4)


async def test_effort_bounds_the_steps() -> None:
    """Low is one call; the others ask on where answers differ."""
    for effort, most in (("low", 1), ("medium", 3), ("high", 4), ("xhigh", 5)):
        cast = Cast("1", "2", "3", "4", "5")
        await cast.run(effort=effort)
        assert len(cast.asked) == most


async def test_answers_that_cannot_be_compared_are_not_asked_for_twice() -> None:
    """A program or a long text: the first answer stands."""
    cast = Cast(CODE)
    result = await cast.run(effort="xhigh")
    assert (result.text, len(cast.asked)) == (CODE, 1)
    assert result.stopped == "answers of this kind are not compared"


async def test_each_step_is_sent_the_request_as_it_is() -> None:
    """An answer on one's own has no frame, so that it is what the worker is known by."""
    cast = Cast("1", "2", "3")
    await cast.run(effort="medium", temperature=0.5)
    assert {request.messages[-1]["content"] for _, request in cast.asked} == {QUESTION}
    assert {request.temperature for _, request in cast.asked} == {0.5}


async def test_a_failing_vote_is_one_vote_less() -> None:
    """Once there is an answer, a worker that fails ends nothing; before, another stands in."""
    gone = WorkerUnavailable("gone", worker="x")
    cast = Cast("17", gone, gone, gone, gone, "17")
    assert (await cast.run(effort="medium")).text == "17"
    first = Cast(gone, "17", "17")
    assert (await first.run(effort="medium")).text == "17"
    with pytest.raises(WorkerUnavailable):
        await Cast(gone).run(effort="medium")


async def test_a_limit_after_an_answer_ends_with_it() -> None:
    """Calls are shared over the steps; the plan has no more of them than are left."""
    cast = Cast("17", "18", "19")
    result = await cast.run(effort="xhigh", limits=Limits(calls=3))
    assert len(cast.asked) == 3
    assert result.text == "17"
    cast = Cast("17", "18", "19")
    result = await cast.run(effort="xhigh", limits=Limits(tokens=60, output_tokens=20))
    assert result.text in ("17", "18")
    assert result.stopped is not None
    assert "tokens" in result.stopped


async def test_a_dollar_cap_that_does_not_pay_for_the_plan_leaves_one_call() -> None:
    """Nothing is begun that the cap cannot end."""
    cast = Cast("17", "18", "19")
    async with cast.fugu() as fugu:
        dollars = fugu.plan(QUESTION, effort="high").single.cost_usd
        assert dollars is not None
        plan = fugu.plan(QUESTION, effort="high", limits=Limits(usd=1.5 * dollars))
    assert len(plan.workflow.steps) == 1
    assert "dollar cap" in plan.reason


async def test_tools_are_one_workers() -> None:
    """Nobody else would make the same calls a second time."""
    cast = Cast("17")
    await cast.run(effort="xhigh", tools=TOOLS)
    assert len(cast.asked) == 1


async def test_what_does_not_pay_is_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where votes add nothing, the selector's choice answers alone, and it streams."""
    monkeypatch.setattr("fugu_adapters.planning.load_conductor", lambda path: eager(share=0.0))
    cast = Cast("17")
    result = await cast.run(effort="xhigh")
    assert len(cast.asked) == 1
    assert "no workflow is expected to gain" in result.decision.reason


def test_a_plan_is_shown_without_a_call() -> None:
    """Workflow, forecast, and the single call beside it."""
    cast = Cast("17")
    with cast.fugu() as fugu:
        plan = fugu.plan(QUESTION, effort="high")
    assert not cast.asked
    assert plan.model == "fugu-ultra"
    assert len(plan.workflow.steps) == 4
    assert plan.single.calls == 1
    assert 2 <= plan.forecast.calls <= 4
    assert plan.forecast.p_success is not None
    assert plan.single.p_success is not None
    assert plan.forecast.p_success > plan.single.p_success
    assert plan.forecast.cost_usd is not None
    assert plan.single.cost_usd is not None
    assert plan.forecast.cost_usd == pytest.approx(plan.forecast.calls * plan.single.cost_usd)
    assert "vote over 1, 2, 3, 4" in plan.draw()
    assert "expected:" in plan.draw()


def test_every_policy_has_a_plan() -> None:
    """One call, turns, and whichever is worth most."""
    with Cast("17").fugu() as fugu:
        assert len(fugu.plan(QUESTION, model="fugu").workflow.steps) == 1
        assert fugu.plan(QUESTION, model="fugu-trinity", effort="high").model == "fugu-trinity"
        auto = fugu.plan(QUESTION, model="fugu-auto", effort="high")
        assert auto.model in ("fugu-trinity", "fugu-ultra")
        assert auto.reason.startswith(auto.model)
        steps = Workflow(steps=(Step(worker="a", subtask="x"),))
        with pytest.raises(InputError, match="plan already"):
            fugu.plan(QUESTION, workflow=steps)


async def test_auto_runs_what_it_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    """One call where votes add nothing; more where they do."""
    cast = Cast("17", "18", "17")
    assert (await cast.run(model="fugu-auto", effort="high")).text == "17"
    assert len(cast.asked) > 1
    lone: Conductor = eager(share=0.0)
    monkeypatch.setattr("fugu_adapters.planning.load_conductor", lambda path: lone)
    cast = Cast("17")
    await cast.run(model="fugu-auto", effort="high")
    assert len(cast.asked) == 1


async def test_steps_are_told_as_they_happen_and_the_answer_comes_whole() -> None:
    """Every step begins and ends; the text is passed on once it is known whose it is."""
    cast = Cast("17", "17", "17")
    events: list[Event] = []
    async with cast.fugu() as fugu:
        async for event in fugu.astream(QUESTION, model="fugu-ultra", effort="medium"):
            events.append(event)
    kinds = [event.kind for event in events]
    assert kinds.count("step_started") == kinds.count("step_finished") == 2
    deltas = [event.delta.text for event in events if event.delta is not None]
    assert deltas == ["17"]
    assert kinds[-1] == "result"


async def test_a_thousand_runs_at_once_leave_nothing_behind() -> None:
    """Every plan is made and carried out; no task is left, and no waiting workflow."""
    cast = Cast("17", names="abc")
    async with cast.fugu() as fugu:
        await fugu.arun(QUESTION, model="fugu-ultra")  # whatever is loaded once
        before = len(asyncio.all_tasks())
        runs = (fugu.arun(QUESTION, model="fugu-ultra", effort="medium") for _ in range(1_000))
        results = await asyncio.gather(*runs)
        assert {result.text for result in results} == {"17"}
        assert len(asyncio.all_tasks()) == before
    assert len(cast.asked) == 2_002
