"""Calling one worker: admission, reservation, time, retries and settlement. The only retry loop."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from fugu_adapters.config import Worker
from fugu_adapters.engine.backend import Backend
from fugu_adapters.engine.events import call_span, record_reply
from fugu_adapters.engine.health import Health
from fugu_adapters.engine.limits import Gate, Reservation
from fugu_adapters.engine.retry import UNREACHABLE, RetryPolicy, action_for, delay_before
from fugu_adapters.engine.run import Run
from fugu_adapters.errors import (
    WorkerError,
    WorkerProtocolError,
    WorkerRefused,
    WorkerTimeout,
    WorkerUnavailable,
)
from fugu_adapters.types import Attempt, Delta, Event, Reply, Usage

__all__ = ["Caller"]

T = TypeVar("T")

_GRACE = 0.1  # seconds that a cancelled call may take to clean up before it is abandoned
_KEY_REFUSED = frozenset({401, 403})


class Caller:
    """Calls workers, one at a time, within a run's caps.

    Args:
        health: breakers and retry budgets, shared by all runs.
        retry: how often and how patiently one worker is asked.
        rng: jitter.
        sleep: replaced in tests.
    """

    def __init__(
        self,
        *,
        health: Health,
        retry: RetryPolicy,
        rng: random.Random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.health = health
        self.retry = retry
        self._rng = rng
        self._sleep = sleep
        self._gates: dict[str, Gate] = {}

    async def call(self, worker: Worker, backend: Backend, run: Run, *, last: bool) -> Reply:
        """Ask one worker, again where that can help.

        Args:
            worker: who.
            backend: how.
            run: the run it belongs to.
            last: whether nobody else could be asked instead: then it gets all the time there is.

        Raises:
            WorkerError: no usable reply, and asking this worker again cannot help now.
            LimitExceeded: a cap of the run was reached.
        """
        for attempt in range(1, self.retry.attempts + 1):
            await self._admit(worker, run, last=last)
            try:
                return await self._attempt(worker, backend, run, attempt, last=last)
            except WorkerError as error:
                error.worker, error.attempts = worker.name, attempt
                wait = self._wait_after(error, attempt, worker, run, last=last)
                if wait is None:
                    if error.cause_kind in UNREACHABLE:  # other workers there would fare no better
                        run.given_up[worker.endpoint] = str(error)
                    raise
            await self._sleep(wait)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _admit(self, worker: Worker, run: Run, *, last: bool) -> None:
        """Wait for the endpoint's breaker if that is short, or say that it is cooling down."""
        reason = run.given_up.get(worker.endpoint)
        if reason is not None:
            raise WorkerUnavailable(
                f"its endpoint was given up in this run: {reason}",
                worker=worker.name,
                attempts=0,
                cause_kind="given_up",
            )
        for _ in range(2):
            if self.health.admit(worker.endpoint, now=run.clock()):
                return
            wait = self.health.wait(worker.endpoint, now=run.clock())
            if not last or wait > self.retry.max_wait or wait >= run.remaining:
                break
            await self._sleep(wait)
        raise WorkerUnavailable(
            f"its endpoint is cooling down after failures; next try in {wait:.1f} s",
            worker=worker.name,
            attempts=0,
            cause_kind="cooling",
        )

    def _wait_after(
        self, error: WorkerError, attempt: int, worker: Worker, run: Run, *, last: bool
    ) -> float | None:
        """Seconds to wait before asking again, or ``None`` where that is not done."""
        if run.delivered or action_for(error) != "retry" or attempt >= self.retry.attempts:
            return None
        if error.cause_kind in UNREACHABLE and not last:
            return None
        hint = error.retry_after
        wait = delay_before(attempt + 1, hint=hint, policy=self.retry, rng=self._rng)
        if wait + self.retry.min_attempt > run.remaining:
            return None
        if wait > (self.retry.max_wait if last else self.retry.patience):
            return None
        return wait if self.health.may_retry(worker.endpoint) else None

    async def _attempt(
        self, worker: Worker, backend: Backend, run: Run, attempt: int, *, last: bool
    ) -> Reply:
        """One call: reserve, send, settle, record."""
        try:
            reservation = run.ledger.reserve(
                worker.known_price,
                worker=worker.name,
                input_tokens=run.input_tokens,
                output_tokens=self._output_tokens(worker, run),
            )
        except BaseException:
            self.health.abandon(worker.endpoint)
            raise
        begun = run.elapsed
        run.emit(Event(kind="call_started", run_id=run.run_id, worker=worker.name, step=run.step))
        try:
            reply = await self._send(worker, backend, run, reservation, attempt, last=last)
        except WorkerError as error:
            self._note_failure(error, worker, run)
            self._record_failure(error, worker, run, reservation, begun)
            raise
        except BaseException as error:  # cancelled, or a cap: nobody's fault
            self.health.abandon(worker.endpoint)
            self._record_failure(error, worker, run, reservation, begun)
            raise
        self.health.success(worker.endpoint, now=run.clock())
        usage = _complete_usage(reply, run)
        cost = reservation.settle(usage, reply.cost_usd)
        run.record(
            Attempt(
                worker=worker.name,
                ok=True,
                started_s=begun,
                latency_s=run.elapsed - begun,
                usage=usage,
                cost_usd=cost,
                steps=reply.steps,
            )
        )
        return dataclasses.replace(reply, usage=usage, cost_usd=cost)

    async def _send(
        self,
        worker: Worker,
        backend: Backend,
        run: Run,
        reservation: Reservation,
        attempt: int,
        *,
        last: bool,
    ) -> Reply:
        """The call itself, through the endpoint's gate and within its share of the time."""
        request = dataclasses.replace(
            run.request, max_output_tokens=reservation.output_tokens, effort=run.effort
        )

        def on_delta(delta: Delta) -> None:
            run.deliver(worker.name, delta)

        gate = self._gates.setdefault(worker.endpoint, Gate(worker.concurrency))
        async with gate.slot(worker.endpoint):
            seconds = run.remaining if last else run.remaining / 2
            with call_span(worker, run_id=run.run_id, attempt=attempt) as span:
                try:
                    call = backend.call(request, on_delta=on_delta if run.stream else None)
                    if getattr(backend, "heeds_cancellation", False):
                        reply = await _timed(call, seconds)
                    else:
                        reply = await _bounded(call, seconds)
                except WorkerError as error:
                    span.set_attribute("error.type", error.cause_kind)
                    raise
                record_reply(span, reply)
                return reply

    def _output_tokens(self, worker: Worker, run: Run) -> int:
        """The caller's bound on the reply, within what the worker's window leaves."""
        bounds = [run.output_tokens]
        if worker.max_output_tokens is not None:
            bounds.append(worker.max_output_tokens)
        if worker.context_window is not None:
            bounds.append(max(1, worker.context_window - run.input_tokens))
        return min(bounds)

    def _note_failure(self, error: WorkerError, worker: Worker, run: Run) -> None:
        """Tell the breaker. A refusal is about the request or the key, not about health."""
        if isinstance(error, WorkerRefused):
            if error.status in _KEY_REFUSED:
                run.given_up[worker.endpoint] = str(error)
            self.health.success(worker.endpoint, now=run.clock())
            return
        self.health.failure(worker.endpoint, now=run.clock(), hint=error.retry_after)

    def _record_failure(
        self,
        error: BaseException,
        worker: Worker,
        run: Run,
        reservation: Reservation,
        begun: float,
    ) -> None:
        """Settle a call without a usable reply: billed where the endpoint may have worked on it."""
        usage = None
        cost: float | None = 0.0
        if run.delivered or isinstance(
            error, WorkerTimeout | WorkerProtocolError | asyncio.CancelledError
        ):
            usage = Usage(
                input_tokens=run.input_tokens,
                output_tokens=_count_tokens(run.text),
                estimated=True,
            )
            cost = reservation.settle(usage)
        else:
            reservation.release()
        message = str(error) or "the call was cancelled"
        run.record(
            Attempt(
                worker=worker.name,
                ok=False,
                error=f"{type(error).__name__}: {message}",
                started_s=begun,
                latency_s=run.elapsed - begun,
                usage=usage,
                cost_usd=cost,
            )
        )


def _count_tokens(text: str) -> int:
    return math.ceil(len(text.encode("utf-8", "replace")) / 4)


def _complete_usage(reply: Reply, run: Run) -> Usage:
    """The worker's own count, or ours where it gave none."""
    usage = reply.usage
    if usage.input_tokens is not None and usage.output_tokens is not None:
        return usage
    written = reply.text + "".join(call.name + call.arguments for call in reply.tool_calls)
    return dataclasses.replace(
        usage,
        input_tokens=run.input_tokens if usage.input_tokens is None else usage.input_tokens,
        output_tokens=(
            _count_tokens(written) if usage.output_tokens is None else usage.output_tokens
        ),
        estimated=True,
    )


async def _timed(call: Coroutine[Any, Any, T], seconds: float) -> T:
    """Await ``call``, which stops when it is cancelled, for so long."""
    try:
        async with asyncio.timeout(max(0.0, seconds)) as bound:
            return await call
    except TimeoutError:
        if not bound.expired():
            raise
        raise _too_late(seconds) from None


async def _bounded(call: Coroutine[Any, Any, T], seconds: float) -> T:
    """Await ``call`` for so long; then cancel it, and abandon it if it does not stop.

    ``asyncio.timeout`` alone would wait for ever for a callable that swallows its cancellation.
    """
    task = asyncio.ensure_future(call)
    try:
        done, _ = await asyncio.wait({task}, timeout=max(0.0, seconds))
    except asyncio.CancelledError:
        await _stop(task)
        raise
    if done:
        return task.result()
    await _stop(task)
    raise _too_late(seconds)


def _too_late(seconds: float) -> WorkerTimeout:
    return WorkerTimeout(f"no reply within {seconds:.1f} s", cause_kind="attempt_timeout")


async def _stop(task: asyncio.Task[T]) -> None:
    task.cancel()
    task.add_done_callback(_forget)
    await asyncio.wait({task}, timeout=_GRACE)


def _forget(task: asyncio.Task[T]) -> None:
    """Look at a dropped result, so that asyncio does not complain of an unseen exception."""
    if not task.cancelled():
        task.exception()
