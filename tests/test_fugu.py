"""The facade, over scripted workers."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fugu_adapters import (
    ConfigError,
    Fugu,
    InputError,
    LimitExceeded,
    Limits,
    Pool,
    Reply,
    Usage,
    Worker,
    WorkerRefused,
    WorkerUnavailable,
)
from fugu_adapters.config import Price
from fugu_adapters.store import Store
from fugu_adapters.testing.scripted import ScriptedWorker
from fugu_adapters.types import Event, Result, ToolCall, to_plain

FREE = Price(input=0, output=0)
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def fugu_over(*scripted: ScriptedWorker, **options: Any) -> Fugu:
    return Fugu(Pool([script.worker for script in scripted]), **options)


def test_route_calls_nobody_and_gives_reasons() -> None:
    """A decision has every worker as a candidate, and a sentence."""
    a, b = ScriptedWorker("a", price=FREE), ScriptedWorker("b", price=FREE)
    with fugu_over(a, b) as fugu:
        decision = fugu.route("2+2?")
    assert {c.worker for c in decision.candidates} == {"a", "b"}
    assert decision.candidates[0].worker == decision.worker
    assert decision.reason
    assert a.requests == b.requests == []


def test_a_worker_that_its_host_runs_is_chosen_and_never_asked() -> None:
    """``route`` counts it as any other; ``run`` passes it over, and says why where nobody is left."""
    node = Worker(name="node", api="host", profile="gpt-4o", description="Answers anything.")
    with Fugu(Pool([node])) as fugu:
        assert fugu.route("2+2?").worker == "node"
        with pytest.raises(ConfigError, match=r"node is run by its host .* Fugu\.route chooses it"):
            fugu.run("2+2?")
    able = ScriptedWorker("able", price=FREE)
    with Fugu(Pool([node, able.worker])) as fugu:
        assert fugu.run("2+2?").worker == "able"


def test_the_same_request_gives_the_same_decision() -> None:
    """Bit for bit, time apart, in a second Fugu as well."""

    def decide() -> dict[str, Any]:
        with fugu_over(
            ScriptedWorker("a", profile="gpt-4o"),
            ScriptedWorker("b", profile="o1-mini"),
            store=False,
        ) as fugu:
            plain = to_plain(fugu.route("Prove that 17 is prime."))
        return {key: value for key, value in plain.items() if key != "seconds"}

    assert decide() == decide()


def test_run_answers_records_and_can_be_judged() -> None:
    """The result says who, why and for how much; the store has the run and the feedback."""
    a = ScriptedWorker(
        "a",
        Reply(text="4", usage=Usage(input_tokens=10, output_tokens=1)),
        price=Price(input=1, output=2),
    )
    with fugu_over(a) as fugu:
        result = fugu.run("2+2?", session="s")
        fugu.feedback(result.run_id, score=1.0, comment="right")
    assert (result.text, result.worker) == ("4", "a")
    assert result.cost_usd == pytest.approx(12e-6)
    assert result.usage.total_tokens == 11
    record = Store().get(result.run_id)
    assert record.text == "4"
    assert record.session == "s"
    assert record.decision == result.decision
    assert record.attempts == result.trace.attempts
    assert [judged.outcome.score for judged in Store().outcomes()] == [1.0]


def test_run_works_inside_a_running_loop_and_from_threads() -> None:
    """As a notebook or a framework would call it."""
    a = ScriptedWorker("a")

    async def host(fugu: Fugu) -> str:
        return fugu.run("hello").text

    with fugu_over(a, store=False) as fugu:
        assert asyncio.run(host(fugu)) == "a answers"
        texts: list[str] = []
        threads = [
            threading.Thread(target=lambda: texts.append(fugu.run("x").text)) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert texts == ["a answers"] * 8


async def test_astream_tells_the_whole_story() -> None:
    """Decision, call, result, in order; the last event holds what arun would return."""
    a = ScriptedWorker("a", WorkerRefused("no", status=404), profile="o1-mini")
    b = ScriptedWorker("b", "hi there", profile="gemma-2-2b")
    async with fugu_over(a, b) as fugu:
        events = [event async for event in fugu.astream("Prove it.", effort="xhigh")]
    kinds = [event.kind for event in events]
    assert kinds[0] == "decision"
    assert kinds[-2:] == ["call_finished", "result"]
    assert "call_failed" in kinds
    assert events[-1].result is not None
    assert events[-1].result.text == "hi there"
    assert "".join(e.delta.text for e in events if e.delta) == "hi there"


async def test_closing_a_stream_early_cancels_the_run() -> None:
    """The worker is stopped and the store says cancelled."""
    slow = ScriptedWorker("slow", delay=30)
    async with fugu_over(slow) as fugu:
        stream = fugu.astream("hello")
        async for event in stream:
            if event.kind == "call_started":
                await asyncio.sleep(0.02)
                break
        await stream.aclose()  # type: ignore[attr-defined]
    assert slow.cancelled == 1
    last = Store().last()
    assert last is not None
    assert last.status == "cancelled"


async def test_cancelling_arun_is_recorded() -> None:
    """CancelledError comes out without waiting for the worker."""
    slow = ScriptedWorker("slow", delay=30)
    async with fugu_over(slow) as fugu:
        task = asyncio.create_task(fugu.arun("hello"))
        await slow.started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert slow.cancelled == 1
    last = Store().last()
    assert last is not None
    assert last.status == "cancelled"


@pytest.mark.parametrize("others", [0, 1])
async def test_a_run_that_is_cancelled_once_its_call_is_paid_for_is_recorded(others: int) -> None:
    """With the call, and not as one that still runs; alone it is through before it can be stopped."""
    workers = ScriptedWorker("quick", "hello"), ScriptedWorker("slow", delay=30)
    async with fugu_over(*workers, record_beside=True) as fugu:

        def cancel(event: Event) -> None:
            if event.kind == "call_finished":
                task.cancel()

        slow = [asyncio.create_task(fugu.arun("wait", exclude=["quick"])) for _ in range(others)]
        await asyncio.sleep(0.05 * others)
        task = asyncio.create_task(fugu.arun("hello", exclude=["slow"], on_event=cancel))
        with pytest.raises(asyncio.CancelledError):
            await task
        for other in slow:
            other.cancel()
            await asyncio.wait({other})
    runs = [run for run in Store().list() if run.worker == "quick"]
    assert [call.ok for call in runs[0].attempts] == [True]
    assert [run.status for run in runs] == (["cancelled"] if others else ["ok"])


async def test_fail_over_goes_to_the_next_best() -> None:
    """The trace shows both calls; the answer is the second's."""
    a = ScriptedWorker("a", WorkerUnavailable("down"), profile="o1-mini")
    b = ScriptedWorker("b", "from b", profile="gemma-2-2b")
    async with fugu_over(a, b) as fugu:
        result = await fugu.arun("Prove it.", effort="xhigh")
    assert result.worker == "b"
    assert result.decision.worker == "a"
    assert [attempt.worker for attempt in result.trace.attempts][-1] == "b"


def test_a_deadline_is_an_error_with_its_kind() -> None:
    """And the run is recorded as failed."""
    with fugu_over(ScriptedWorker("slow", delay=30)) as fugu:
        fugu.route("warm up the encoder")
        with pytest.raises(LimitExceeded) as caught:
            fugu.run("hello", limits=Limits(seconds=0.1))
    assert caught.value.kind == "deadline"
    last = Store().last()
    assert last is not None
    assert last.status == "error"
    assert last.error is not None
    assert "deadline" in last.error


def test_a_program_that_closes_nothing_ends() -> None:
    """Scripts and notebooks seldom close what they made."""
    script = """
from fugu_adapters import Fugu, Pool, Worker
async def call(messages):
    return "hi"
fugu = Fugu(Pool([Worker(name="a", api="callable", call=call)]), store=False)
print(fugu.run("hello").text)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "hi\n", "")


def test_tools_go_to_those_who_can() -> None:
    """The capable worker is asked, and its calls come back."""
    call = ToolCall(id="1", name="f", arguments="{}")
    a = ScriptedWorker("a", tools=False)
    b = ScriptedWorker("b", Reply(tool_calls=(call,), finish_reason="tool_calls"), tools=True)
    with fugu_over(a, b) as fugu:
        result = fugu.run("use f", tools=[TOOL])
    assert result.worker == "b"
    assert result.tool_calls == (call,)
    assert b.requests[0].tools == (TOOL,)
    assert a.requests == []
    excluded = [c for c in result.decision.candidates if c.excluded_because]
    assert [c.worker for c in excluded] == ["a"]


def test_opt_outs_hold_for_one_request() -> None:
    """By name, provider and tag; nobody left is an error that says so."""
    a = ScriptedWorker("a", provider="x", tags=frozenset({"eu"}))
    b = ScriptedWorker("b", provider="y")
    with fugu_over(a, b, store=False) as fugu:
        for label in ("a", "provider:x", "tag:eu", "eu"):
            assert fugu.run("hi", exclude={label}).worker == "b"
            assert fugu.run("hi", exclude=label).worker == "b"
        with pytest.raises(InputError, match="opted out"):
            fugu.run("hi", exclude=["a", "b"])
        assert fugu.run("hi", exclude=["b"]).worker == "a"


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def tool_turn(result: Result) -> list[dict[str, Any]]:
    """The messages that a host adds: the calls as it got them, and what they gave."""
    calls = [
        {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}}
        for c in result.tool_calls
    ]
    results = [{"role": "tool", "tool_call_id": c.id, "content": "42"} for c in result.tool_calls]
    return [{"role": "assistant", "content": result.text, "tool_calls": calls}, *results]


def agents() -> tuple[ScriptedWorker, ScriptedWorker]:
    """A good and a poor worker, both of whom call a tool before they answer."""
    call = Reply(
        tool_calls=(ToolCall(id="1", name="f", arguments="{}"),), finish_reason="tool_calls"
    )
    good = ScriptedWorker("good", call, "42, says good", profile="o1-mini", tools=True)
    poor = ScriptedWorker("poor", call, "42, says poor", profile="gemma-2-2b", tools=True)
    return good, poor


async def test_a_tool_call_goes_back_to_who_made_it() -> None:
    """Though another worker is better; the next question is decided anew, and the store says why."""
    good, poor = agents()
    async with fugu_over(good, poor) as fugu:
        talk = [user("Prove it.")]
        first = await fugu.arun(talk, tools=[TOOL], exclude={"good"}, effort="xhigh")
        talk += tool_turn(first)
        second = await fugu.arun(talk, tools=[TOOL], effort="xhigh")
        talk += [{"role": "assistant", "content": second.text}, user("Prove that 7 is prime.")]
        third = await fugu.arun(talk, tools=[TOOL], effort="xhigh")
    assert [r.worker for r in (first, second, third)] == ["poor", "poor", "good"]
    kinds = [r.decision.continuity for r in (first, second, third)]
    assert kinds == [None, "tool-turn", "switched"]
    kept = Store().get(second.run_id)
    assert kept.decision == second.decision
    assert kept.decision is not None
    assert "tool calls" in kept.decision.reason


def test_runs_recorded_before_conversations_were_followed_can_be_read(tmp_path: Path) -> None:
    """Their decisions say nothing of it."""
    with fugu_over(ScriptedWorker("a")) as fugu:
        run_id = fugu.run("hello", session="s").run_id
    kept = Store().get(run_id).decision
    assert kept is not None
    assert kept.continuity == "new"
    with contextlib.closing(sqlite3.connect(tmp_path / "fugu.db")) as database:
        database.execute("UPDATE fugu_runs SET decision = json_remove(decision, '$.continuity')")
        database.commit()
    old = Store().get(run_id).decision
    assert old is not None
    assert old.continuity is None


def test_after_a_fail_over_the_next_turn_goes_to_who_answered() -> None:
    """Its tool calls are answered to it, not to the worker that was down."""
    good, poor = agents()
    good.steps = [WorkerRefused("no", status=404), "good is back"]
    with fugu_over(good, poor, store=False) as fugu:
        talk = [user("Prove it.")]
        first = fugu.run(talk, tools=[TOOL], effort="xhigh", session="s")
        second = fugu.run([*talk, *tool_turn(first)], tools=[TOOL], effort="xhigh", session="s")
    assert (first.decision.worker, first.worker, second.worker) == ("good", "poor", "poor")
    assert second.decision.continuity == "tool-turn"


def test_sessions_in_threads_keep_their_own_worker() -> None:
    """Two agents at work at the same time over one Fugu, twelve turns each."""
    seen: dict[str, list[str]] = {}
    good, poor = agents()
    good.steps = poor.steps = good.steps[:1]
    with fugu_over(good, poor, store=False) as fugu:

        def work(name: str, other: str) -> None:
            talk = [user("Prove it.")]
            result = fugu.run(talk, tools=[TOOL], exclude={other}, session=name)
            seen[name] = [result.worker]
            for _ in range(11):
                talk += tool_turn(result)
                result = fugu.run(talk, tools=[TOOL], session=name)
                seen[name].append(result.worker)

        threads = [
            threading.Thread(target=work, args=pair)
            for pair in (("good", "poor"), ("poor", "good"))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert seen == {"good": ["good"] * 12, "poor": ["poor"] * 12}


def test_a_follow_up_is_routed_by_its_task() -> None:
    """The same expected scores as the task's, and those of another text for another question."""
    with fugu_over(*agents(), store=False) as fugu:
        task = [user("Prove that there are infinitely many primes.")]
        scores = {c.worker: c.p_success for c in fugu.route(task).candidates}
        talk = [*task, {"role": "assistant", "content": "Suppose not."}]
        follow = fugu.route([*talk, user("go ahead")])
        other = fugu.route([*talk, user("What is the capital of France?")])
    assert {c.worker: c.p_success for c in follow.candidates} == scores
    assert follow.continuity == "follow-up"
    assert {c.worker: c.p_success for c in other.candidates} != scores


def test_quality_and_max_cost_are_options_of_a_request() -> None:
    """The worker asked keeps to both; a bound that nobody meets names the cheapest cost."""
    dear = ScriptedWorker("dear", profile="o1-mini", price=Price(input=10, output=100))
    cheap = ScriptedWorker("cheap", profile="gemma-2-2b", price=Price(input=0.1, output=0.1))
    with fugu_over(dear, cheap, store=False) as fugu:
        assert fugu.run("Prove it.", quality=1.0).worker == "dear"
        assert fugu.run("Prove it.", quality=0.01).worker == "cheap"
        result = fugu.run("Prove it.", effort="xhigh", max_cost=0.001)
        with pytest.raises(InputError, match="the cheapest is expected to cost"):
            fugu.run("Prove it.", max_cost=0)
    assert result.worker == "cheap"
    assert "above max_cost" in (result.decision.candidates[-1].excluded_because or "")
    assert len(dear.requests) == 1


BAD: list[tuple[Any, dict[str, Any], str]] = [
    ("", {}, "empty"),
    ([], {}, "empty"),
    (7, {}, "expected text or a list"),
    (b"bytes", {}, "expected text or a list"),
    ([{"role": "user", "content": 7}], {}, r"messages\[0\].content"),
    ([{"role": "robot", "content": "x"}], {}, r"messages\[0\].role"),
    ("x" * 5_000_000, {}, "over the bound"),
    ("hi", {"model": "gpt"}, "model: expected one of"),
    ("hi", {"effort": "max"}, "effort: expected one of"),
    ("hi", {"modle": "fugu"}, "unknown option 'modle'"),
    ("hi", {"exclude": ["nobody"]}, "names no worker"),
    ("hi", {"quality": 0}, "quality: expected a number above 0"),
    ("hi", {"quality": 1.1}, "quality: expected a number above 0"),
    ("hi", {"quality": "best"}, "quality: expected a number above 0"),
    ("hi", {"max_cost": "1"}, "max_cost: expected dollars"),
    ("hi", {"max_cost": -1}, "max_cost: expected dollars"),
    ("hi", {"max_cost": float("nan")}, "max_cost: expected dollars"),
    ("hi", {"session": 7}, "session: expected text"),
]


@pytest.mark.parametrize(("messages", "options", "message"), BAD)
def test_bad_input_is_refused_before_any_call(
    messages: Any, options: dict[str, Any], message: str
) -> None:
    """A typed error with a remedy, and nothing is recorded or called."""
    a = ScriptedWorker("a")
    with fugu_over(a) as fugu, pytest.raises(InputError, match=message):
        fugu.run(messages, **options)
    assert a.requests == []
    assert Store().last() is None


def test_a_prompt_larger_than_every_window_names_each() -> None:
    """The error lists the windows and the size."""
    a = ScriptedWorker("a", context_window=100)
    with fugu_over(a) as fugu, pytest.raises(InputError, match="window of 100 tokens"):
        fugu.run("word " * 1_000)


def test_a_missing_key_takes_one_worker_out_and_is_an_error_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With another worker the request is answered; without, the error names the variable."""
    keyed = Worker(
        name="keyed",
        base_url="http://127.0.0.1:1/v1",
        model="o1-mini",
        api_key_env="NO_SUCH_KEY",
        price=FREE,
    )
    other = ScriptedWorker("other", profile="gemma-2-2b")
    with Fugu(Pool([keyed, other.worker]), store=False) as fugu:
        result = fugu.run("Prove it.", effort="xhigh")
        assert result.worker == "other"
        reasons = {c.worker: c.excluded_because for c in result.decision.candidates}
        assert "NO_SUCH_KEY" in (reasons["keyed"] or "")
    with Fugu(Pool([keyed]), store=False) as fugu, pytest.raises(ConfigError, match="NO_SUCH_KEY"):
        fugu.run("hello")


def test_an_unwritable_store_is_found_before_money_is_spent() -> None:
    """A configuration error, and the worker saw nothing."""
    a = ScriptedWorker("a")
    store = Store("sqlite:////proc/nowhere/fugu.db")
    with Fugu(Pool([a.worker]), store=store) as fugu, pytest.raises(ConfigError):
        fugu.run("hello")
    assert a.requests == []


async def test_many_at_once_share_one_fugu() -> None:
    """Forty requests: all answered, within the endpoint's bound."""
    a = ScriptedWorker("a", delay=0.02, concurrency=5)
    async with fugu_over(a, store=False) as fugu:
        results = await asyncio.gather(*(fugu.arun(f"question {n}") for n in range(40)))
    assert {result.text for result in results} == {"a answers"}
    assert a.peak == 5


def test_repeated_loops_leave_nothing_open() -> None:
    """``asyncio.run`` again and again over one Fugu; unclosed sockets would be warnings, so errors."""
    a = ScriptedWorker("a")
    fugu = fugu_over(a, store=False)
    for _ in range(3):
        assert asyncio.run(fugu.arun("x")).text == "a answers"
    fugu.close()


def test_events_reach_the_listener() -> None:
    """on_event hears every run."""
    heard: list[str] = []
    with fugu_over(
        ScriptedWorker("a"), store=False, on_event=lambda e: heard.append(e.kind)
    ) as fugu:
        fugu.run("x")
    assert heard == ["decision", "call_started", "call_finished", "result"]


def test_messages_reach_the_worker_unchanged() -> None:
    """System, history and images are passed through."""
    a = ScriptedWorker("a", images=True)
    messages: Sequence[dict[str, Any]] = [
        {"role": "system", "content": "be brief"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "what?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
            ],
        },
    ]
    with fugu_over(a, store=False) as fugu:
        fugu.run(messages, temperature=0.5, stop=["END"], seed=3)
    request = a.requests[0]
    assert list(request.messages) == messages
    assert (request.temperature, request.stop, request.seed) == (0.5, ("END",), 3)


def test_a_missing_runtime_takes_local_models_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another worker answers; alone, the error names the extra to install."""
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    local = Worker(name="local", api="embedded", model="smollm2-135m")
    other = ScriptedWorker("other")
    with Fugu(Pool([local, other.worker]), store=False) as fugu:
        assert fugu.run("hi").worker == "other"
    with Fugu(Pool([local]), store=False) as fugu, pytest.raises(ConfigError, match="embedded"):
        fugu.run("hi")
