"""Workflows as graphs: the same answers as the core, drawn, checkpointed, interrupted, resumed."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import RetryPolicy
from workflows import random_workflow

from fugu_adapters import (
    ConfigError,
    Fugu,
    InputError,
    LimitExceeded,
    Limits,
    PlanError,
    Pool,
    Price,
    ResumeMismatch,
    Worker,
    WorkerRefused,
    WorkerUnavailable,
)
from fugu_adapters.engine.retry import RetryPolicy as EngineRetry
from fugu_adapters.messages import text_of
from fugu_adapters.testing import ScriptedWorker
from fugu_adapters.types import Message, Request
from fugu_adapters.workflow import Aggregate, Step, Workflow
from langgraph_node.compile import compile_workflow, node_names

ASK: Any = {"messages": [{"role": "user", "content": "REQUEST"}]}
THREAD: Any = {"configurable": {"thread_id": "t"}}
PRICE = Price(input=1, output=10)


def step(worker: str, *access: int) -> Step:
    return Step(worker=worker, subtask=f"{worker} does it", access=access)


DIAMOND = Workflow(steps=(step("a"), step("b", 0), step("c", 0), step("a", 1, 2)))


def echo(name: str, choices: int = 3) -> Worker:
    """A worker whose reply depends on every byte that it was sent; few different ones, so that votes tie."""

    async def call(messages: Sequence[Message], *, request: Request) -> str:
        await asyncio.sleep(0)
        told = repr([(m["role"], text_of(m)) for m in messages]) + repr(request.seed) + name
        number = blake2b(told.encode(), digest_size=2).digest()[0] % choices
        return f"{name} saw {blake2b(told.encode(), digest_size=6).hexdigest()}\nAnswer: {number}"

    return Worker(name=name, api="callable", call=call, price=PRICE)


def pool_of(*workers: ScriptedWorker | Worker) -> Pool:
    return Pool([each.worker if isinstance(each, ScriptedWorker) else each for each in workers])


def scripted(names: str = "abc") -> dict[str, ScriptedWorker]:
    return {name: ScriptedWorker(name, f"{name} out", price=PRICE) for name in names}


def count(workers: dict[str, ScriptedWorker]) -> dict[str, int]:
    return {name: len(worker.requests) for name, worker in workers.items()}


def test_any_workflow_answers_as_in_the_core() -> None:
    """Text, author, every output, tokens and dollars, for many workflows, synchronously and not."""
    rng = random.Random(4)
    with Fugu(pool_of(echo("a"), echo("b"), echo("c")), store=False) as fugu:
        for number in range(40):
            plan = random_workflow(rng, ["a", "b", "c"])
            graph = compile_workflow(plan, fugu, seed=number)
            core = fugu.run("REQUEST", workflow=plan, seed=number)
            out = graph.invoke(ASK) if number % 2 else asyncio.run(graph.ainvoke(ASK))
            answer = out["messages"][-1]
            assert (answer.content, answer.name) == (core.text, core.worker)
            assert len(out["messages"]) == 2
            names = node_names(plan)
            assert [out["replies"][name] for name in names] == [s.text for s in core.trace.steps]
            told = [out["steps"][name] for name in names]
            assert [t["worker"] for t in told] == [s.answered_by for s in core.trace.steps]
            assert sum(t["output_tokens"] for t in told) == core.usage.output_tokens
            assert sum(t["cost_usd"] for t in told) == pytest.approx(core.cost_usd)


def test_the_drawing_has_a_node_for_each_step_and_the_edges_of_the_access_lists() -> None:
    """Readable names, joins from all inputs, the end after the last step."""
    graph = compile_workflow(DIAMOND, pool_of(*scripted().values()), name="diamond").get_graph()
    edges = {(edge.source, edge.target) for edge in graph.edges}
    assert edges == {
        ("__start__", "1_a"),
        ("1_a", "2_b"),
        ("1_a", "3_c"),
        ("2_b", "4_a"),
        ("3_c", "4_a"),
        ("4_a", "__end__"),
    }
    assert "4_a" in graph.draw_mermaid()
    voted = Workflow(steps=(step("a"), step("b")), aggregate=Aggregate(kind="vote", steps=(0, 1)))
    drawn = compile_workflow(voted, pool_of(*scripted().values())).get_graph().draw_mermaid()
    assert "2_b" in drawn
    assert "answer --> __end__" in drawn


def test_a_step_that_nobody_sees_is_not_shown_the_answer() -> None:
    """The answer comes after every step, also where the last one finishes first."""
    workers = scripted()
    plan = Workflow(steps=(step("a"), step("b", 0), step("c")))
    out = compile_workflow(plan, pool_of(*workers.values())).invoke(ASK)
    assert out["messages"][-1].content == "c out"
    assert "c out" not in repr(workers["b"].requests[0].messages)


def test_the_state_is_plain_json_beside_the_messages() -> None:
    """So that any checkpointer, and any process, can read it."""
    out = compile_workflow(DIAMOND, pool_of(*scripted().values())).invoke(ASK)
    state = {key: value for key, value in out.items() if key != "messages"}
    assert json.loads(json.dumps(state)) == state
    assert set(state) == {"replies", "steps", "plan"}


async def test_each_step_is_told_in_the_custom_stream() -> None:
    """Starts and finishes, with index, worker and subtask; failures with their error."""
    bad = ScriptedWorker("a", WorkerRefused("no", status=403))
    graph = compile_workflow(Workflow(steps=(step("a"),)), pool_of(bad, ScriptedWorker("b")))
    events = [event async for event in graph.astream(ASK, stream_mode="custom")]
    assert [event["type"] for event in events] == [
        "fugu.step_started",
        "fugu.call_failed",
        "fugu.step_finished",
    ]
    assert events[0] == {
        "type": "fugu.step_started",
        "step": 0,
        "worker": "a",
        "subtask": "a does it",
    }
    assert "WorkerRefused" in events[1]["error"]
    assert events[2]["worker"] == "b"
    synchronous = list(graph.stream(ASK, stream_mode="custom"))
    assert [event["type"] for event in synchronous] == [event["type"] for event in events]


@pytest.mark.parametrize("node", node_names(DIAMOND))
def test_a_run_can_pause_before_any_step(node: str) -> None:
    """Nothing of the step is asked before it goes on, and nothing before it again."""
    workers = scripted()
    graph = compile_workflow(
        DIAMOND, pool_of(*workers.values()), checkpointer=InMemorySaver(), interrupt_before=[node]
    )
    paused = graph.invoke(ASK, THREAD)
    assert node not in paused.get("replies", {})
    assert node in graph.get_state(THREAD).next
    before = count(workers)
    out = graph.invoke(None, THREAD)
    assert out["messages"][-1].content == "a out"
    assert count(workers) == {"a": 2, "b": 1, "c": 1}
    assert sum(before.values()) == len(paused.get("replies", {}))


def test_a_person_may_change_an_output_before_it_is_used() -> None:
    """What an interrupt is for: the next step sees the corrected text."""
    workers = scripted("ab")
    plan = Workflow(steps=(step("a"), step("b", 0)))
    graph = compile_workflow(
        plan,
        pool_of(*workers.values()),
        checkpointer=InMemorySaver(),
        interrupt_after=["1_a"],
    )
    graph.invoke(ASK, THREAD)
    graph.update_state(THREAD, {"replies": {"1_a": "CORRECTED"}})
    graph.invoke(None, THREAD)
    assert "CORRECTED" in repr(workers["b"].requests[0].messages)


def test_a_failed_run_goes_on_from_sqlite_without_asking_again(tmp_path: Path) -> None:
    """Also where a sibling of the step that failed had finished already."""
    a, b = ScriptedWorker("a", "a out"), ScriptedWorker("b", "b out")
    c = ScriptedWorker("c", WorkerRefused("no", status=400), "c out", delay=0.1)
    with SqliteSaver.from_conn_string(str(tmp_path / "state.db")) as saver:
        graph = compile_workflow(DIAMOND, pool_of(a, b, c), checkpointer=saver)
        with pytest.raises(WorkerRefused):
            graph.invoke(ASK, THREAD, durability="sync")
        assert (len(a.requests), len(b.requests), len(c.requests)) == (1, 1, 1)
        out = graph.invoke(None, THREAD, durability="sync")
    assert out["messages"][-1].content == "a out"
    assert (len(a.requests), len(b.requests), len(c.requests)) == (2, 1, 2)


def test_a_failure_reaches_the_graphs_retry_policy_once() -> None:
    """The engine's calls times the graph's attempts, and the engine's alone without a policy."""
    for policy, calls in (
        (None, 2),
        (RetryPolicy(max_attempts=3, initial_interval=0.01), 2),  # not for our errors by default
        (RetryPolicy(max_attempts=3, initial_interval=0.01, retry_on=WorkerUnavailable), 6),
    ):
        a = ScriptedWorker("a", WorkerUnavailable("down", cause_kind="http_503"))
        engine = EngineRetry(attempts=2, first=0.001)
        with Fugu(pool_of(a), store=False, retry=engine) as fugu:
            graph = compile_workflow(Workflow(steps=(step("a"),)), fugu, retry_policy=policy)
            with pytest.raises(WorkerUnavailable):
                graph.invoke(ASK)
        assert len(a.requests) == calls


async def test_cancelling_the_graph_stops_the_worker() -> None:
    """Nothing runs on."""
    slow = ScriptedWorker("slow", delay=20)
    graph = compile_workflow(Workflow(steps=(step("slow"),)), pool_of(slow))
    task = asyncio.create_task(graph.ainvoke(ASK))
    await slow.started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (slow.cancelled, slow.running) == (1, 0)


def test_independent_steps_are_under_way_together() -> None:
    """Synchronously as well: each waits until both were asked."""
    asked: set[str] = set()

    def meeting(name: str) -> Worker:
        async def call(messages: Sequence[Message]) -> str:
            asked.add(name)
            async with asyncio.timeout(5):
                while len(asked) < 2:  # noqa: ASYNC110  two threads' loops have no event in common
                    await asyncio.sleep(0.01)
            return name

        return Worker(name=name, api="callable", call=call)

    plan = Workflow(steps=(step("a"), step("b"), step("c", 0, 1)))
    pool = pool_of(meeting("a"), meeting("b"), ScriptedWorker("c"))
    assert compile_workflow(plan, pool).invoke(ASK)["messages"][-1].content == "c answers"


def test_caps_hold_for_the_whole_graph() -> None:
    """What earlier waves used is gone, and a wave shares what is left."""
    workers = scripted()
    plan = Workflow(steps=(step("a"), step("b", 0), step("c", 1)))
    for limits, kind in (
        (Limits(calls=2), "calls"),
        (Limits(usd=0.001, output_tokens=64), "budget"),
        (Limits(tokens=300, output_tokens=64), "tokens"),
    ):
        with pytest.raises(LimitExceeded) as raised:
            compile_workflow(plan, pool_of(*workers.values()), limits=limits).invoke(ASK)
        assert raised.value.kind == kind
    wide = Workflow(steps=(step("a"), step("b")), aggregate=Aggregate(kind="vote", steps=(0, 1)))
    with pytest.raises(LimitExceeded):
        compile_workflow(wide, pool_of(*workers.values()), limits=Limits(calls=1)).invoke(ASK)


def test_another_message_on_the_thread_is_answered_anew() -> None:
    """With the conversation so far, and with the caps of a run of its own."""
    workers = scripted()
    graph = compile_workflow(
        DIAMOND, pool_of(*workers.values()), checkpointer=InMemorySaver(), limits=Limits(calls=4)
    )
    graph.invoke(ASK, THREAD)
    out = graph.invoke({"messages": [{"role": "user", "content": "MORE"}]}, THREAD)
    assert [m.type for m in out["messages"]] == ["human", "ai", "human", "ai"]
    assert count(workers) == {"a": 4, "b": 2, "c": 2}
    assert "a out" in repr(workers["b"].requests[1].messages)
    assert "MORE" in repr(workers["b"].requests[1].messages)


def test_a_thread_is_not_resumed_with_another_workflow() -> None:
    """The outputs of one plan are never given to the steps of another."""
    workers, saver = scripted(), InMemorySaver()
    first = Workflow(steps=(step("a"), step("b", 0)))
    other = Workflow(steps=(Step(worker="a", subtask="Something else"), step("b", 0)))
    graph = compile_workflow(
        first, pool_of(*workers.values()), checkpointer=saver, interrupt_before=["2_b"]
    )
    graph.invoke(ASK, THREAD)
    with pytest.raises(ResumeMismatch, match="another workflow"):
        compile_workflow(other, pool_of(*workers.values()), checkpointer=saver).invoke(None, THREAD)
    assert count(workers)["b"] == 0


def test_it_is_a_subgraph_of_any_graph_with_messages() -> None:
    """Its answer becomes a message there."""
    inner = compile_workflow(DIAMOND, pool_of(*scripted().values()))
    outer = StateGraph(MessagesState)
    outer.add_node("solve", inner)
    outer.add_edge(START, "solve")
    outer.add_edge("solve", END)
    out = outer.compile().invoke(ASK)
    assert [m.content for m in out["messages"]] == ["REQUEST", "a out"]


@pytest.mark.parametrize(
    ("build", "error", "says"),
    [
        (lambda pool: compile_workflow(DIAMOND, pool.without("c")), PlanError, "no worker 'c'"),
        (
            lambda pool: compile_workflow(DIAMOND, pool, interrupt_before=["a"]),
            ConfigError,
            "'a' is no node; known: 1_a, 2_b",
        ),
        (lambda pool: compile_workflow(DIAMOND.to_dict(), pool), ConfigError, "got dict"),
        (lambda pool: compile_workflow(DIAMOND, pool, tools=[{}]), ConfigError, "neither"),
        (lambda pool: compile_workflow(DIAMOND, pool).invoke({}), InputError, "no messages"),
        (
            lambda pool: compile_workflow(DIAMOND, pool, colour="red").invoke(ASK),
            InputError,
            "unknown option 'colour'",
        ),
    ],
)
def test_mistakes_are_told_before_any_call(
    build: Callable[[Pool], Any], error: type[Exception], says: str
) -> None:
    """With the name that is wrong and those that are right."""
    workers = scripted()
    with pytest.raises(error, match=says):
        build(pool_of(*workers.values()))
    assert set(count(workers).values()) == {0}
