"""Calling workers in order: retries, fail-over, time, cancellation and settlement."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from fugu_adapters.config import Price, Worker
from fugu_adapters.engine.backend import OnDelta
from fugu_adapters.engine.execute import answer
from fugu_adapters.engine.health import Health, HealthPolicy
from fugu_adapters.engine.retry import RetryPolicy
from fugu_adapters.engine.run import Run
from fugu_adapters.engine.worker import Caller
from fugu_adapters.errors import (
    LimitExceeded,
    WorkerError,
    WorkerProtocolError,
    WorkerRateLimited,
    WorkerRefused,
    WorkerTimeout,
    WorkerUnavailable,
)
from fugu_adapters.testing.scripted import ManualClock
from fugu_adapters.types import Delta, Event, Limits, Reply, Request, Usage

Step = Reply | BaseException | Callable[[Request, OnDelta | None], Any]
OK = Reply(text="yes", usage=Usage(input_tokens=10, output_tokens=2))
PRICE = Price(input=1, output=10)


class Script:
    """A backend that follows a script and counts what reaches it."""

    def __init__(self, *steps: Step) -> None:
        self.steps = steps
        self.requests: list[Request] = []
        self.cancelled = 0

    async def call(self, request: Request, *, on_delta: OnDelta | None = None) -> Reply:
        step = self.steps[min(len(self.requests), len(self.steps) - 1)]
        self.requests.append(request)
        if isinstance(step, BaseException):
            raise step
        if isinstance(step, Reply):
            return step
        try:
            return await step(request, on_delta)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    async def aclose(self) -> None:
        return None


async def hang(request: Request, on_delta: OnDelta | None) -> Reply:
    await asyncio.sleep(30)
    raise AssertionError


class Harness:
    """A caller over scripted backends, with everything observable."""

    def __init__(
        self, scripts: dict[str, Script], *, clock: ManualClock | None = None, **policy: Any
    ) -> None:
        self.scripts = scripts
        self.clock = clock
        self.events: list[Event] = []
        self.health = Health(HealthPolicy())
        self.caller = Caller(
            health=self.health,
            retry=RetryPolicy(**policy),
            rng=random.Random(0),
            sleep=clock.sleep if clock else asyncio.sleep,
        )
        self.workers = [
            Worker(name=name, base_url=f"http://127.0.0.1/{name}", model=name, price=PRICE)
            for name in scripts
        ]

    def new_run(self, limits: Limits | None = None, *, stream: bool = False) -> Run:
        extra = {"clock": self.clock} if self.clock else {}
        return Run(
            run_id="r",
            request=Request(messages=({"role": "user", "content": "2+2?"},)),
            limits=limits or Limits(),
            effort="medium",
            emit=self.events.append,
            stream=stream,
            **extra,
        )

    async def answer(self, run: Run, workers: Sequence[Worker] | None = None) -> tuple[str, Reply]:
        worker, reply = await answer(
            run,
            workers or self.workers,
            caller=self.caller,
            backend_of=lambda worker: self.scripts[worker.name],
        )
        return worker.name, reply

    def calls(self) -> list[int]:
        return [len(script.requests) for script in self.scripts.values()]


async def test_flaky_5xx_is_retried_and_counted() -> None:
    """500, 503, then an answer: three requests, two waits, usage once."""
    clock = ManualClock()
    h = Harness({"a": Script(WorkerUnavailable("500"), WorkerUnavailable("503"), OK)}, clock=clock)
    run = h.new_run()
    assert (await h.answer(run))[1].text == "yes"
    assert h.calls() == [3]
    assert len(clock.slept) == 2
    assert run.usage == Usage(input_tokens=10, output_tokens=2)
    assert run.cost_usd == pytest.approx(30e-6)
    assert [a.ok for a in run.attempts] == [False, False, True]


async def test_attempts_are_bounded_and_reported() -> None:
    """With one repetition a dead endpoint sees exactly two requests."""
    h = Harness({"a": Script(WorkerUnavailable("down"))}, attempts=2, first=0.001)
    with pytest.raises(WorkerUnavailable) as caught:
        await h.answer(h.new_run())
    assert h.calls() == [2]
    assert caught.value.attempts == 2
    assert caught.value.worker == "a"


async def test_a_hint_is_waited_for() -> None:
    """429 with a hint of one second: two requests, the second not before it has passed."""
    clock = ManualClock()
    h = Harness({"a": Script(WorkerRateLimited("slow", retry_after=1.0), OK)}, clock=clock)
    await h.answer(h.new_run())
    assert h.calls() == [2]
    assert 1.0 <= sum(clock.slept) < 1.6


async def test_a_hint_beyond_the_deadline_is_not_slept() -> None:
    """With another worker the answer comes from there at once; without, the hint is in the error."""
    slow = WorkerRateLimited("slow", retry_after=3600.0)
    clock = ManualClock()
    h = Harness({"a": Script(slow), "b": Script(OK)}, clock=clock)
    assert (await h.answer(h.new_run(Limits(seconds=2))))[0] == "b"
    h = Harness({"a": Script(slow)}, clock=clock)
    with pytest.raises(WorkerRateLimited) as caught:
        await h.answer(h.new_run(Limits(seconds=2)))
    assert caught.value.retry_after == 3600.0
    assert h.calls() == [1]
    assert clock.slept == []


@pytest.mark.parametrize("status", [401, 403, 404, 413])
async def test_a_refusal_moves_on_without_repeating(status: int) -> None:
    """One request to the refusing endpoint, then the next worker."""
    h = Harness({"a": Script(WorkerRefused("no", status=status)), "b": Script(OK)})
    assert (await h.answer(h.new_run()))[0] == "b"
    assert h.calls() == [1, 1]


async def test_a_bad_request_stops_the_run() -> None:
    """400 is not tried on every other worker."""
    h = Harness({"a": Script(WorkerRefused("no", status=400)), "b": Script(OK)})
    with pytest.raises(WorkerRefused):
        await h.answer(h.new_run())
    assert h.calls() == [1, 0]


async def test_a_rejected_key_disables_its_endpoint_for_the_run() -> None:
    """A second worker of the same endpoint is not asked after a 401."""
    h = Harness({"a": Script(WorkerRefused("no", status=401)), "b": Script(OK), "c": Script(OK)})
    a, b, c = h.workers
    b = b.model_copy(update={"base_url": a.base_url})
    assert (await h.answer(h.new_run(), [a, b, c]))[0] == "c"
    assert h.calls() == [1, 0, 1]


async def test_an_unreachable_endpoint_is_left_for_the_next_at_once() -> None:
    """One try, no other worker of that endpoint, and calls to spare; alone it is tried again."""
    down = WorkerUnavailable("no such name", cause_kind="dns")
    h = Harness({"a": Script(down), "b": Script(OK), "c": Script(OK)}, first=0.001)
    a, b, c = h.workers
    b = b.model_copy(update={"base_url": a.base_url})
    assert (await h.answer(h.new_run(), [a, b, c]))[0] == "c"
    assert h.calls() == [1, 0, 1]
    h = Harness({"a": Script(down, OK)}, first=0.001)
    assert (await h.answer(h.new_run()))[0] == "a"
    assert h.calls() == [2]


async def test_everyone_failing_names_each_worker_and_reason() -> None:
    """The summary keeps a common class and the soonest hint."""
    h = Harness(
        {
            "a": Script(WorkerRateLimited("x", retry_after=90)),
            "b": Script(WorkerRateLimited("y", retry_after=60)),
        }
    )
    with pytest.raises(WorkerRateLimited, match="a: x.*b: y") as caught:
        await h.answer(h.new_run())
    assert caught.value.retry_after == 60
    h = Harness(
        {
            "a": Script(WorkerProtocolError("garbage")),
            "b": Script(WorkerRefused("gone", status=404)),
        }
    )
    with pytest.raises(WorkerUnavailable, match="a: garbage.*b: gone"):
        await h.answer(h.new_run())


async def test_the_breaker_opens_and_probes_once() -> None:
    """After five failures nothing is sent until the cooling is over; then one probe of twenty."""
    clock = ManualClock()
    dead = Script(WorkerUnavailable("down"))
    h = Harness({"a": dead, "b": Script(OK)}, clock=clock, attempts=1)
    for _ in range(8):
        assert (await h.answer(h.new_run()))[0] == "b"
    assert h.calls() == [5, 8]
    clock.now += 2.0
    await asyncio.gather(*(h.answer(h.new_run()) for _ in range(20)))
    assert len(dead.requests) == 6


async def test_a_black_hole_leaves_time_for_the_next_worker() -> None:
    """A hanging worker gets half of the time that is left, the last one all of it."""
    h = Harness({"a": Script(hang), "b": Script(OK)})
    began = time.monotonic()
    run = h.new_run(Limits(seconds=3))
    assert (await h.answer(run))[0] == "b"
    assert time.monotonic() - began > 1.4  # and not all: then there would be no answer
    assert run.attempts[0].error is not None
    assert re.search(r"WorkerTimeout: no reply within 1\.[0-5] s", run.attempts[0].error)
    assert h.scripts["a"].cancelled == 1


async def test_the_deadline_covers_everything() -> None:
    """Retries and waiting included; the error says which limit."""
    clock = ManualClock()
    down = {"a": Script(WorkerUnavailable("down"))}
    h = Harness(down, clock=clock, attempts=100, first=0.05, cap=0.05)
    with pytest.raises((LimitExceeded, WorkerUnavailable)):
        await h.answer(h.new_run(Limits(seconds=3, calls=1_000)))
    assert 0 < clock.now <= 3
    assert 1 < h.calls()[0] < 100
    h = Harness({"a": Script(hang)})
    with pytest.raises((LimitExceeded, WorkerTimeout)) as caught:
        await h.answer(h.new_run(Limits(seconds=0.1)))
    assert isinstance(caught.value, LimitExceeded)
    assert caught.value.kind == "deadline"


async def test_cancelling_reaches_the_worker_and_leaves_nothing() -> None:
    """CancelledError comes out at once, the call is settled, no task is left, the breaker is well."""
    h = Harness({"a": Script(hang), "b": Script(OK)})
    run = h.new_run()
    task = asyncio.create_task(h.answer(run))
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert h.scripts["a"].cancelled == 1
    assert h.calls() == [1, 0]
    assert run.ledger.reserved_micro == 0
    assert run.attempts[0].error == "CancelledError: the call was cancelled"
    assert len(asyncio.all_tasks()) == 1
    assert h.health.wait(h.workers[0].endpoint, now=time.monotonic()) == 0


async def test_a_worker_that_swallows_cancellation_is_abandoned() -> None:
    """It cannot hold the run beyond the grace, and its late reply is dropped."""
    stop = asyncio.Event()

    async def stubborn(request: Request, on_delta: OnDelta | None) -> Reply:
        while not stop.is_set():
            try:
                await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                continue
        return OK

    h = Harness({"a": Script(stubborn)})
    with pytest.raises(LimitExceeded):
        await h.answer(h.new_run(Limits(seconds=0.1)))
    stop.set()
    await asyncio.sleep(0.1)


async def test_fail_over_only_before_something_was_delivered() -> None:
    """After the first piece the run ends with the error; text is never repeated."""

    async def breaks(request: Request, on_delta: OnDelta | None) -> Reply:
        assert on_delta is not None
        on_delta(Delta(text="half an ans"))
        raise WorkerUnavailable("cut", cause_kind="disconnect")

    h = Harness({"a": Script(breaks), "b": Script(OK)})
    run = h.new_run(stream=True)
    with pytest.raises(WorkerUnavailable):
        await h.answer(run)
    assert h.calls() == [1, 0]
    assert run.text == "half an ans"
    assert [e.delta.text for e in h.events if e.delta is not None] == ["half an ans"]
    assert run.attempts[0].usage is not None
    assert run.attempts[0].usage.estimated


async def test_a_cheaper_worker_is_asked_where_the_cap_excludes_the_best() -> None:
    """The cap is checked before the call; the dear worker sees nothing."""
    h = Harness({"dear": Script(OK), "cheap": Script(OK)})
    dear, cheap = h.workers
    dear = dear.model_copy(update={"price": Price(input=1_000, output=9_000)})
    assert (await h.answer(h.new_run(Limits(usd=0.01)), [dear, cheap]))[0] == "cheap"
    assert h.calls() == [0, 1]
    with pytest.raises(LimitExceeded) as caught:
        await h.answer(h.new_run(Limits(usd=0.01)), [dear])
    assert caught.value.kind == "budget"


async def test_missing_usage_is_estimated_and_says_so() -> None:
    """Our count stands in, flagged."""
    h = Harness({"a": Script(Reply(text="four letters"))})
    run = h.new_run()
    _, reply = await h.answer(run)
    assert reply.usage.estimated
    assert reply.usage.input_tokens == run.input_tokens
    assert reply.usage.output_tokens == 3
    assert reply.cost_usd is not None
    assert reply.cost_usd > 0


async def test_the_reply_is_bounded_by_effort_window_and_caller() -> None:
    """Whatever is smallest goes out on the wire."""
    h = Harness({"a": Script(OK)})
    worker = h.workers[0]
    await h.answer(h.new_run(), [worker])
    await h.answer(h.new_run(), [worker.model_copy(update={"context_window": 500})])
    await h.answer(h.new_run(), [worker.model_copy(update={"max_output_tokens": 100})])
    await h.answer(h.new_run(Limits(output_tokens=7)), [worker])
    sent = [request.max_output_tokens for request in h.scripts["a"].requests]
    assert sent == [8_192, 500 - h.new_run().input_tokens, 100, 7]


async def test_unexpected_errors_pass_through_settled() -> None:
    """A host's own exception is not ours to wrap or retry here."""

    class Interrupt(Exception):
        pass

    h = Harness({"a": Script(Interrupt()), "b": Script(OK)})
    run = h.new_run()
    with pytest.raises(Interrupt):
        await h.answer(run)
    assert run.ledger.reserved_micro == 0
    assert h.calls() == [1, 0]


async def test_events_tell_the_story_in_order() -> None:
    """Started, failed, started, finished."""
    h = Harness({"a": Script(WorkerProtocolError("garbage")), "b": Script(OK)})
    await h.answer(h.new_run())
    told = [(event.kind, event.worker) for event in h.events]
    assert told == [
        ("call_started", "a"),
        ("call_failed", "a"),
        ("call_started", "b"),
        ("call_finished", "b"),
    ]


def test_worker_errors_are_not_retried_by_hosts() -> None:
    """LangGraph repeats plain exceptions and ConnectionError; ours are RuntimeErrors only."""
    assert issubclass(WorkerError, RuntimeError)
    assert not issubclass(WorkerUnavailable, ConnectionError)
