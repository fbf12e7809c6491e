"""The facade, over scripted workers."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Sequence
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
from fugu_adapters.types import ToolCall, to_plain

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


async def test_cancelling_arun_is_quick_and_recorded() -> None:
    """CancelledError comes out, within a tenth of a second."""
    slow = ScriptedWorker("slow", delay=30)
    async with fugu_over(slow) as fugu:
        fugu.route("warm")
        task = asyncio.create_task(fugu.arun("hello"))
        await slow.started.wait()
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - began < 0.15
    assert slow.cancelled == 1


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
        with pytest.raises(InputError, match="opted out"):
            fugu.run("hi", exclude=["a", "b"])
        assert fugu.run("hi", exclude=["b"]).worker == "a"


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
