"""Carrying out workflows over scripted workers."""

from __future__ import annotations

import asyncio
import gc
import random
import sqlite3
import time
from collections.abc import Sequence
from typing import Any

import pytest
from workflows import random_workflow

from fugu_adapters import (
    Fugu,
    InputError,
    LimitExceeded,
    Limits,
    PlanError,
    Pool,
    Price,
    Reply,
    Usage,
    Worker,
    WorkerError,
    WorkerRefused,
)
from fugu_adapters.engine.retry import RetryPolicy
from fugu_adapters.messages import text_of
from fugu_adapters.store import Store
from fugu_adapters.testing import FaultServer, ScriptedWorker, hang
from fugu_adapters.types import Event, Message, Request, to_plain
from fugu_adapters.workflow import Aggregate, Step, Workflow

PRICE = Price(input=1, output=10)


def step(worker: str, *access: int) -> Step:
    return Step(worker=worker, subtask=f"{worker} does it", access=access)


def chain(*workers: str) -> Workflow:
    return Workflow(
        steps=tuple(step(name, *([n - 1] if n else [])) for n, name in enumerate(workers))
    )


def fugu_over(*scripted: ScriptedWorker | Worker, **options: Any) -> Fugu:
    pool = Pool([each.worker if isinstance(each, ScriptedWorker) else each for each in scripted])
    return Fugu(pool, **{"store": False, "seed": 0, **options})


def echo(name: str) -> Worker:
    """A worker whose reply is a digest of all that it was sent, seed included."""
    from hashlib import blake2b

    async def call(messages: Sequence[Message], *, request: Request) -> str:
        await asyncio.sleep(0)
        told = repr([(m["role"], text_of(m)) for m in messages]) + repr(request.seed) + name
        return blake2b(told.encode(), digest_size=6).hexdigest()

    return Worker(name=name, api="callable", call=call, price=PRICE)


async def test_a_diamond_runs_its_middle_at_the_same_time() -> None:
    """Inputs before outputs, independent steps together, the last step's text is the answer."""
    a, b, c, d = (ScriptedWorker(name, f"{name} out", delay=0.05) for name in "abcd")
    plan = Workflow(steps=(step("a"), step("b", 0), step("c", 0), step("d", 1, 2)))
    kinds: list[tuple[str, int | None]] = []
    async with fugu_over(a, b, c, d, on_event=lambda e: kinds.append((e.kind, e.step))) as fugu:
        result = await fugu.arun("REQUEST", workflow=plan)
    assert (result.text, result.worker) == ("d out", "d")
    steps = [each for each in kinds if each[0].startswith("step")]
    assert [kind for kind, _ in steps[2:4]] == ["step_started"] * 2
    assert [index for _, index in steps[:2]] == [0, 0]
    assert [index for _, index in steps[-2:]] == [3, 3]
    last = text_of(d.requests[0].messages[-1])
    assert "REQUEST" in last
    assert [name for name in "abcd" if f"{name} out" in last] == ["b", "c"]
    assert [s.text for s in result.trace.steps] == ["a out", "b out", "c out", "d out"]
    assert [s.answered_by for s in result.trace.steps] == list("abcd")
    assert sorted(call.step for call in result.trace.attempts) == [0, 1, 2, 3]
    assert result.decision.reason == "the caller's workflow of 4 steps"


async def test_independent_steps_are_under_way_together() -> None:
    """Each of four is answered only once all four were asked; the fifth, which joins them, comes after."""
    names, together = "abcd", asyncio.Barrier(4)

    async def call(messages: Sequence[Message]) -> str:
        await together.wait()
        return "yes"

    four = [Worker(name=name, api="callable", call=call) for name in names]
    plan = Workflow(steps=(*(step(name) for name in names), step("e", 0, 1, 2, 3)))
    async with fugu_over(*four, ScriptedWorker("e", "joined")) as fugu, asyncio.timeout(20):
        assert (await fugu.arun("x", workflow=plan)).text == "joined"


async def test_a_step_starts_as_soon_as_its_own_inputs_are_there() -> None:
    """It does not wait for a slow step that it does not see."""
    slow = ScriptedWorker("slow", delay=0.2)
    a, b = ScriptedWorker("a"), ScriptedWorker("b")
    end = ScriptedWorker("end")
    seen: list[tuple[str, int | None]] = []
    plan = Workflow(steps=(step("a"), step("slow"), step("b", 0), step("end", 1, 2)))
    async with fugu_over(
        slow, a, b, end, on_event=lambda event: seen.append((event.kind, event.step))
    ) as fugu:
        await fugu.arun("x", workflow=plan)
    assert seen.index(("step_finished", 2)) < seen.index(("step_finished", 1))


async def test_events_tell_each_step_and_only_the_last_one_streams() -> None:
    """In order, with index, worker and subtask; calls and text carry the step too."""
    plan = chain("a", "b")
    async with fugu_over(ScriptedWorker("a", "draft"), ScriptedWorker("b", "final")) as fugu:
        events = [event async for event in fugu.astream("x", workflow=plan)]
    assert [event.kind for event in events] == [
        "decision",
        "step_started",
        "call_started",
        "call_finished",
        "step_finished",
        "step_started",
        "call_started",
        "delta",
        "call_finished",
        "step_finished",
        "result",
    ]
    started = [event for event in events if event.kind == "step_started"]
    assert [(e.step, e.worker, e.subtask) for e in started] == [
        (0, "a", "a does it"),
        (1, "b", "b does it"),
    ]
    assert [event.delta.text for event in events if event.delta] == ["final"]
    assert [e.step for e in events if e.kind.startswith("call")] == [0, 0, 1, 1]


async def test_an_aggregate_is_streamed_once_it_is_known() -> None:
    """Its author is the worker of the winning text, and it costs no call."""
    plan = Workflow(
        steps=(step("a"), step("b"), step("c")), aggregate=Aggregate(kind="vote", steps=(0, 1, 2))
    )
    workers = (ScriptedWorker("a", "1"), ScriptedWorker("b", "Answer: 2"), ScriptedWorker("c", "2"))
    async with fugu_over(*workers) as fugu:
        events = [event async for event in fugu.astream("x", workflow=plan)]
    result = events[-1].result
    assert result is not None
    assert result.worker in ("b", "c")
    assert result.text in ("Answer: 2", "2")
    assert [event.delta.text for event in events if event.delta] == [result.text]
    assert len(result.trace.attempts) == 3


async def test_a_step_fails_over_in_the_routers_order_and_says_so() -> None:
    """The others' work is kept; the trace names who was to be asked and who answered."""
    bad = ScriptedWorker("bad", WorkerRefused("no", status=403))
    good, last = ScriptedWorker("good", "saved"), ScriptedWorker("last", "end")
    async with fugu_over(bad, good, last) as fugu:
        order = [c.worker for c in fugu.route("x").candidates if c.worker != "bad"]
        result = await fugu.arun("x", workflow=chain("bad", "last"))
    first, second = result.trace.steps
    assert (first.worker, first.answered_by) == ("bad", order[0])
    assert second.answered_by == "last"
    assert [call.worker for call in result.trace.attempts] == ["bad", order[0], "last"]


async def test_a_failing_step_cancels_its_siblings_and_keeps_what_was_finished() -> None:
    """The error is the step's own, with the finished outputs in ``.partial``; nothing is left running."""
    first = ScriptedWorker("first", "draft")
    bad = ScriptedWorker("bad", WorkerRefused("broken", status=400))
    slow = ScriptedWorker("slow", delay=20)
    plan = Workflow(steps=(step("first"), step("bad", 0), step("slow"), step("first", 1, 2)))
    async with fugu_over(first, bad, slow) as fugu:
        with pytest.raises(WorkerRefused, match="broken") as raised:
            await fugu.arun("x", workflow=plan)
    assert slow.cancelled == 1
    assert slow.running == 0
    partial = raised.value.partial
    assert partial is not None
    assert (partial.text, partial.worker) == ("draft", "first")
    assert [s.answered_by for s in partial.trace.steps] == ["first", None, None, None]
    assert [call.step for call in partial.trace.attempts if not call.ok] == [1, 2]


async def test_cancelling_reaches_every_socket() -> None:
    """Two endpoints that hang on loopback both see their connection closed."""
    async with FaultServer() as server:
        names = ("one", "two")
        workers = [
            Worker(name=name, base_url=server.script(name, [hang()]), model="m") for name in names
        ]
        plan = Workflow(steps=(step("one"), step("two"), step("one", 0, 1)))
        async with fugu_over(*workers) as fugu:
            task = asyncio.create_task(fugu.arun("x", workflow=plan))
            async with asyncio.timeout(20):
                await server.arrived(2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            async with asyncio.timeout(20):
                for name in names:
                    await server.seen(name)[0].gone.wait()


async def test_a_worker_that_cancels_itself_does_not_hang_the_run() -> None:
    """Steps that wait for it end with it."""
    rogue = ScriptedWorker("rogue", asyncio.CancelledError())
    async with fugu_over(rogue, ScriptedWorker("b")) as fugu:
        async with asyncio.timeout(20):
            with pytest.raises(asyncio.CancelledError):
                await fugu.arun("x", workflow=chain("rogue", "b"))


async def test_caps_are_shared_by_all_steps() -> None:
    """Calls, tokens and dollars are one ledger; what was finished comes with the error."""
    workers = [ScriptedWorker(name, price=PRICE) for name in "abc"]
    plan = chain("a", "b", "c")
    for limits, kind in (
        (Limits(calls=2), "calls"),
        (Limits(tokens=300, output_tokens=64), "tokens"),
        (Limits(usd=0.001, output_tokens=64), "budget"),
    ):
        async with fugu_over(*workers) as fugu:
            with pytest.raises(LimitExceeded) as raised:
                await fugu.arun("x", workflow=plan, limits=limits)
        assert raised.value.kind == kind
        partial = raised.value.partial
        assert partial is not None
        assert partial.trace.steps[0].text == "a answers"
        assert partial.trace.steps[2].text is None


async def test_parallel_steps_cannot_spend_one_cap_twice() -> None:
    """Each reserves before its call: with room for one, the other is refused while the first is out."""
    a, b = (
        ScriptedWorker("a", delay=0.05, price=PRICE),
        ScriptedWorker("b", delay=0.05, price=PRICE),
    )
    plan = Workflow(steps=(step("a"), step("b")), aggregate=Aggregate(kind="vote", steps=(0, 1)))
    async with fugu_over(a, b) as fugu:
        with pytest.raises(LimitExceeded):
            await fugu.arun("x", workflow=plan, limits=Limits(usd=0.0011, output_tokens=64))
    assert len(a.requests) + len(b.requests) == 1


async def test_one_deadline_covers_the_whole_workflow() -> None:
    """The second step has what the first one left."""
    workers = ScriptedWorker("a", delay=0.2), ScriptedWorker("b", delay=60)
    async with fugu_over(*workers) as fugu:
        began = time.perf_counter()
        with pytest.raises((LimitExceeded, WorkerError)):
            await fugu.arun("x", workflow=chain("a", "b"), limits=Limits(seconds=0.3))
    assert time.perf_counter() - began < 30  # not the minute that the second one takes


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"workflow": chain("a", "nobody")}, PlanError, r"steps\[1\].worker: no worker 'nobody'"),
        ({"workflow": chain("a", "b"), "exclude": {"b"}}, PlanError, "is opted out by the request"),
        ({"workflow": chain("h")}, PlanError, "is run by its host"),
        ({"workflow": chain("a").to_dict()}, InputError, "expected a Workflow, got dict"),
    ],
)
async def test_what_cannot_be_carried_out_is_refused_before_any_call(
    options: dict[str, Any], error: type[Exception], says: str
) -> None:
    """Nobody stands in for a worker that the plan names and that may not be asked."""
    a, b = ScriptedWorker("a"), ScriptedWorker("b")
    async with fugu_over(a, b, Worker(name="h", api="host")) as fugu:
        with pytest.raises(error, match=says):
            await fugu.arun("x", **options)
    assert a.requests == b.requests == []


def test_route_takes_no_workflow_and_a_run_with_one_is_no_turn() -> None:
    """The order of fail-over is the same every time, whatever the conversation was before."""
    a, b = ScriptedWorker("a"), ScriptedWorker("b")
    with fugu_over(a, b) as fugu:
        with pytest.raises(InputError, match="names its workers itself"):
            fugu.route("x", workflow=chain("a"))
        before = fugu.run("x", session="s").decision
        runs = [fugu.run("x", session="s", workflow=chain("a", "b")).decision for _ in range(3)]
    assert {run.continuity for run in runs} <= {None, "new"}
    assert len({run.candidates for run in runs}) == 1
    assert before.worker in ("a", "b")


async def test_only_the_answer_needs_what_its_form_needs() -> None:
    """A worker that cannot be held to a schema may draft, but not write the answer."""
    plain = ScriptedWorker("plain", json_schema=False)
    strict = ScriptedWorker("strict", "{}", json_schema=True)
    schema = {"type": "json_schema", "json_schema": {"name": "s", "schema": {}}}
    async with fugu_over(plain, strict) as fugu:
        result = await fugu.arun("x", workflow=chain("plain", "strict"), response_format=schema)
        assert result.worker == "strict"
        with pytest.raises(PlanError, match=r"steps\[1\].worker"):
            await fugu.arun("x", workflow=chain("strict", "plain"), response_format=schema)
    assert plain.requests[0].response_format is None
    assert strict.requests[0].response_format == schema


async def test_the_same_seed_gives_the_same_answer_for_any_workflow() -> None:
    """Replies depend on every byte that workers were sent, so equal answers mean equal prompts."""
    rng = random.Random(2)
    names = ["a", "b", "c"]
    plans = [random_workflow(rng, names) for _ in range(25)]

    async def answers(seed: int) -> list[tuple[Any, ...]]:
        async with fugu_over(*(echo(name) for name in names)) as fugu:
            runs = [await fugu.arun("x", workflow=plan, seed=seed) for plan in plans]
        return [(run.text, run.worker, run.trace.steps, run.cost_usd) for run in runs]

    first = await answers(1)
    assert first == await answers(1)
    assert [run[0] for run in first] != [run[0] for run in await answers(2)]


def test_the_store_keeps_the_steps_and_opens_databases_from_before_them() -> None:
    """A trace shows steps and which calls were theirs; a database without the table gets it."""
    with fugu_over(ScriptedWorker("a", "one"), store=None) as fugu:
        old = fugu.run("x")
        path = Store()._url().database
        assert path is not None
        fugu.close()
        with sqlite3.connect(path) as raw:
            raw.execute("DROP TABLE fugu_steps")  # as version 0.1 made it
        raw.close()
        result = fugu.run("x", workflow=chain("a", "a"))
    record = Store().get(result.run_id)
    assert record.steps == result.trace.steps
    assert record.trace == result.trace
    assert [call.step for call in record.attempts] == [0, 1]
    assert Store().get(old.run_id).steps == ()


def test_without_texts_the_store_keeps_who_and_not_what() -> None:
    """Subtasks and outputs are texts."""
    store = Store(keep_text=False)
    with fugu_over(ScriptedWorker("a", "secret"), store=store) as fugu:
        run_id = fugu.run("x", workflow=chain("a", "a")).run_id
        steps = store.get(run_id).steps
    assert [(s.worker, s.answered_by, s.subtask, s.text) for s in steps] == [
        ("a", "a", None, None)
    ] * 2


async def test_a_failed_workflow_is_recorded_with_its_steps() -> None:
    """What was paid for can be read, and which step failed."""
    bad = ScriptedWorker("bad", WorkerRefused("no", status=400))
    async with fugu_over(ScriptedWorker("a", "paid"), bad, store=None) as fugu:
        with pytest.raises(WorkerRefused):
            await fugu.arun("x", workflow=chain("a", "bad"))
    record = Store().last()
    assert record is not None
    assert record.status == "error"
    assert [s.text for s in record.steps] == ["paid", None]
    assert [(call.step, call.ok) for call in record.attempts] == [(0, True), (1, False)]


async def test_usage_and_cost_are_those_of_all_steps() -> None:
    """Nothing is left out of the bill."""
    reply = Reply(text="x", usage=Usage(input_tokens=100, output_tokens=10))
    async with fugu_over(ScriptedWorker("a", reply, price=PRICE)) as fugu:
        result = await fugu.arun("x", workflow=chain("a", "a", "a"))
    assert (result.usage.input_tokens, result.usage.output_tokens) == (300, 30)
    assert result.cost_usd == pytest.approx(600e-6)


async def test_one_step_alone_gives_what_it_gives_in_the_whole() -> None:
    """``astep`` asks exactly what the run would; it needs a workflow with that step."""
    events: list[Event] = []
    plan = chain("a", "b")
    async with fugu_over(echo("a"), echo("b"), retry=RetryPolicy(attempts=1)) as fugu:
        whole = await fugu.arun("x", workflow=plan, seed=3)
        first = await fugu.astep("x", 0, {}, workflow=plan, seed=3)
        second = await fugu.astep(
            "x", 1, {0: first.text}, workflow=plan, seed=3, on_event=events.append
        )
        with pytest.raises(InputError, match="a workflow with a step 2"):
            await fugu.astep("x", 2, {}, workflow=plan)
        with pytest.raises(InputError, match="a workflow"):
            await fugu.astep("x", 0, {})
    assert [first.text, second.text] == [s.text for s in whole.trace.steps]
    assert second.text == whole.text
    assert events[0].kind == "step_started"
    assert second.trace.steps[0].answered_by is None  # it tells of its own step only
    assert to_plain(second.trace.steps[1]) == to_plain(whole.trace.steps[1])


async def test_a_thousand_workflows_at_a_time_leave_nothing_behind() -> None:
    """Every run answers; no task, no gate and no run is kept."""
    workers = [ScriptedWorker(name, delay=0.001, concurrency=1000) for name in "abc"]
    plan = Workflow(steps=(step("a"), step("b"), step("c", 0, 1)))
    async with fugu_over(*workers) as fugu:
        await fugu.arun("warm", workflow=plan)
        gc.collect()
        before = len(asyncio.all_tasks())
        results = await asyncio.gather(
            *(fugu.arun("x", workflow=plan, limits=Limits(seconds=60)) for _ in range(1_000))
        )
        assert {result.text for result in results} == {"c answers"}
        assert len(asyncio.all_tasks()) == before
        del results
        gc.collect()
    assert all(worker.running == 0 for worker in workers)
    assert len(workers[2].requests) == 1_001
