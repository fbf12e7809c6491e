"""The facade: one object that answers requests over a pool. It owns lifetimes and holds no logic."""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypedDict, Unpack

from fugu_adapters.config import Worker
from fugu_adapters.engine.backend import Backend
from fugu_adapters.engine.execute import answer
from fugu_adapters.engine.health import Health
from fugu_adapters.engine.retry import RetryPolicy
from fugu_adapters.engine.run import Run
from fugu_adapters.engine.worker import Caller
from fugu_adapters.errors import ConfigError, FuguError, InputError, LimitExceeded
from fugu_adapters.messages import parse_messages
from fugu_adapters.policies.routing import Router
from fugu_adapters.pool import Pool
from fugu_adapters.store import RunRecord, RunStatus, Store
from fugu_adapters.sync import SyncDoor
from fugu_adapters.types import (
    Decision,
    Effort,
    Event,
    Limits,
    Message,
    Reply,
    Request,
    Result,
    Trace,
)
from fugu_adapters.workers import build_backend, why_not_ready

if TYPE_CHECKING:
    from fugu_adapters.engine.events import EventSink
    from fugu_adapters.engine.transport import Transport

__all__ = ["MODELS", "Fugu", "RunOptions"]

MODELS = ("fugu",)
"""Policies that can be asked for by name."""

EFFORTS = ("low", "medium", "high", "xhigh")

_logger = logging.getLogger("fugu_adapters")


class RunOptions(TypedDict, total=False):
    """What may be said of one request. Everything is optional.

    Attributes:
        model: policy name, ``"fugu"``.
        effort: how much the answer is worth: ``low`` takes the cheapest worker that is nearly as good,
            ``xhigh`` the best; it also bounds the reply's length.
        limits: caps on dollars, seconds, calls and tokens.
        exclude: workers not to ask, by name, ``provider:NAME``, ``tag:NAME`` or tag.
        session: the conversation that the request belongs to; kept with the run. Without it, one is
            recognised where its history is sent along.
        quality: least expected score relative to the best worker's, above 0 to 1; in place of what the
            effort would give up for a lower price.
        max_cost: dollars that the call may be expected to cost; ``limits`` hold what it may really cost.
        tools: function tools in OpenAI's shape.
        tool_choice: as in OpenAI's API.
        response_format: ``{"type": "json_schema", ...}`` or ``{"type": "json_object"}``.
        max_output_tokens: bound on the reply.
        temperature: sampling temperature.
        top_p: nucleus sampling mass.
        stop: strings that end the reply.
        seed: sampling seed, where the worker has one.
    """

    model: str
    effort: Effort
    limits: Limits
    exclude: Sequence[str] | set[str] | frozenset[str]
    session: str | None
    quality: float | None
    max_cost: float | None
    tools: Sequence[dict[str, Any]]
    tool_choice: str | dict[str, Any] | None
    response_format: dict[str, Any] | None
    max_output_tokens: int | None
    temperature: float | None
    top_p: float | None
    stop: Sequence[str]
    seed: int | None


class Fugu:
    """A learned orchestrator over one pool.

    Safe to share between tasks and threads. Nothing is loaded or opened before the first request.

    Args:
        pool: the workers; found in the environment where not given.
        store: where runs are recorded: a store, ``False`` for nowhere, or ``None`` for the pool's own.
        limits: caps for requests that name none.
        effort: effort for requests that name none.
        retry: how often and how patiently a worker is asked.
        seed: seeds the jitter of retries.
        on_event: told of everything that happens in every run.
    """

    def __init__(
        self,
        pool: Pool | None = None,
        *,
        store: Store | Literal[False] | None = None,
        limits: Limits | None = None,
        effort: Effort = "medium",
        retry: RetryPolicy | None = None,
        seed: int | None = None,
        on_event: EventSink | None = None,
    ) -> None:
        self.pool = Pool.from_env() if pool is None else pool
        self.limits = limits or Limits()
        self.effort: Effort = effort
        self._store = (Store.from_config(self.pool.store) if store is None else store) or None
        self._router = Router(self.pool)
        self._caller = Caller(
            health=Health(),
            retry=retry or RetryPolicy(),
            rng=random.Random(seed),  # noqa: S311  jitter, not a secret
        )
        self._backends: dict[str, Backend] = {}
        self._transport: Transport | None = None
        self._door = SyncDoor()
        self._on_event = on_event

    # --- deciding -----------------------------------------------------------------------------

    def route(self, messages: str | Sequence[Message], **options: Unpack[RunOptions]) -> Decision:
        """Decide who would answer, and why. No call is made, and no key is needed.

        It counts as a turn of its conversation, for hosts that make the call themselves.

        Raises:
            InputError: where the request is malformed or no worker may be asked.
        """
        return self._decide(_request(messages, options), options)

    def _decide(
        self, request: Request, options: RunOptions, unready: Mapping[str, str] | None = None
    ) -> Decision:
        model = options.get("model", "fugu")
        if model not in MODELS:
            raise InputError(f"model: expected one of {', '.join(MODELS)}, got {model!r}")
        effort = options.get("effort", self.effort)
        if effort not in EFFORTS:
            raise InputError(f"effort: expected one of {', '.join(EFFORTS)}, got {effort!r}")
        quality, max_cost = options.get("quality"), options.get("max_cost")
        session = options.get("session")
        if not isinstance(session, str | None):
            raise InputError(f"session: expected text, got {type(session).__name__}")
        if quality is not None and not (isinstance(quality, int | float) and 0 < quality <= 1):
            raise InputError(f"quality: expected a number above 0, to 1, got {quality!r}")
        if max_cost is not None and not (isinstance(max_cost, int | float) and max_cost >= 0):
            raise InputError(f"max_cost: expected dollars, 0 or more, got {max_cost!r}")
        return self._router.decide(
            request,
            model=model,
            effort=effort,
            exclude=options.get("exclude", ()),
            unready=unready,
            session=session,
            quality=quality,
            max_cost=max_cost,
        )

    def _unready(self) -> dict[str, str]:
        """Workers that lack a key, weights or a file, each with what is missing.

        Raises:
            ConfigError: where that is all of them.
        """
        lacking = {worker.name: why_not_ready(worker) for worker in self.pool}
        unready = {name: reason for name, reason in lacking.items() if reason is not None}
        if len(unready) == len(self.pool):
            lines = [f"  {name} {reason}" for name, reason in unready.items()]
            raise ConfigError("\n".join(["no worker can be asked from here:", *lines]))
        return unready

    # --- answering ----------------------------------------------------------------------------

    def run(self, messages: str | Sequence[Message], **options: Unpack[RunOptions]) -> Result:
        """Answer a request. Works with and without a running event loop.

        Args:
            messages: the user's text, or chat messages in OpenAI's shape.
            **options: see ``RunOptions``.

        Raises:
            InputError: the request was refused before any call.
            ConfigError: a key, extra or file is missing.
            WorkerError: no worker gave a usable reply.
            LimitExceeded: a cap was reached; ``.partial`` holds what there was.
        """
        return self._door.call(lambda: self.arun(messages, **options))

    async def arun(
        self, messages: str | Sequence[Message], **options: Unpack[RunOptions]
    ) -> Result:
        """Answer a request; the coroutine behind ``run``. Cancelling it stops the worker."""
        return await self._arun(messages, options, emit=self._notify, stream=False)

    async def astream(
        self, messages: str | Sequence[Message], **options: Unpack[RunOptions]
    ) -> AsyncIterator[Event]:
        """Answer a request and yield what happens: decision, calls, text as it comes, the result.

        Closing the iterator early cancels the run.
        """
        events: asyncio.Queue[Event | None] = asyncio.Queue()

        def emit(event: Event) -> None:
            self._notify(event)
            events.put_nowait(event)

        task = asyncio.create_task(self._arun(messages, options, emit=emit, stream=True))
        task.add_done_callback(lambda _: events.put_nowait(None))
        try:
            while (event := await events.get()) is not None:
                yield event
            await task
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def acall(self, worker: Worker, request: Request) -> Reply:
        """Ask one worker of the pool, without choosing and without recording: for measurements.

        The engine's care holds: retries, breaker, deadline and caps of ``limits``.

        Raises:
            WorkerError: no usable reply.
            LimitExceeded: a cap was reached.
        """
        run = Run(
            run_id=uuid.uuid4().hex,
            request=request,
            limits=self.limits,
            effort=self.effort,
            emit=self._notify,
        )
        _, reply = await answer(run, [worker], caller=self._caller, backend_of=self._backend)
        return reply

    def _notify(self, event: Event) -> None:
        if self._on_event is not None:
            self._on_event(event)

    async def _arun(
        self,
        messages: str | Sequence[Message],
        options: RunOptions,
        *,
        emit: EventSink,
        stream: bool,
    ) -> Result:
        request = _request(messages, options)
        if self._store is not None:
            await asyncio.to_thread(self._store.open)  # before money is spent
        # Encoding a long prompt takes tens of milliseconds, which would stall the host's loop.
        decision = await asyncio.to_thread(lambda: self._decide(request, options, self._unready()))
        run = Run(
            run_id=uuid.uuid4().hex,
            request=request,
            limits=options.get("limits", self.limits),
            effort=options.get("effort", self.effort),
            emit=emit,
            stream=stream,
        )
        emit(Event(kind="decision", run_id=run.run_id, worker=decision.worker, decision=decision))
        try:
            worker, reply = await answer(
                run,
                [self.pool[c.worker] for c in decision.candidates if c.excluded_because is None],
                caller=self._caller,
                backend_of=self._backend,
            )
        except BaseException as error:
            partial = _partial(run, decision)
            if isinstance(error, LimitExceeded) and run.text:
                error.partial = partial
            # Without awaiting, because the task may be on its way out.
            self._record(partial, run, options, error)
            raise
        if worker.name != decision.worker:
            self._router.answered(request, worker.name, session=options.get("session"))
        result = _result(run, decision, worker, reply)
        await asyncio.to_thread(self._record, result, run, options)
        emit(Event(kind="result", run_id=run.run_id, worker=worker.name, result=result))
        return result

    def _backend(self, worker: Worker) -> Backend:
        backend = self._backends.get(worker.name)
        if backend is None:
            if self._transport is None:
                from fugu_adapters.engine.transport import Transport

                self._transport = Transport()
            backend = self._backends[worker.name] = build_backend(worker, self._transport)
        return backend

    # --- remembering --------------------------------------------------------------------------

    def feedback(self, run_id: str, score: float, *, comment: str | None = None) -> None:
        """Say how good an answer was; learning picks it up.

        Args:
            run_id: the run, or an unambiguous beginning of its id.
            score: 0 (wrong) to 1 (right).
            comment: anything worth keeping.

        Raises:
            InputError: where the run is unknown, the score is out of range, or nothing is stored.
        """
        if self._store is None:
            raise InputError("feedback needs a store; this Fugu was made with store=False")
        self._store.add_feedback(run_id, score, comment)

    def _record(
        self, result: Result, run: Run, options: RunOptions, error: BaseException | None = None
    ) -> None:
        """Keep a run. An answer that was paid for is not lost to a full disk."""
        if self._store is None:
            return
        record = RunRecord.from_result(
            result,
            request=run.request,
            created_at=datetime.now(UTC) - timedelta(seconds=run.elapsed),
            session=options.get("session"),
            status=_status(error),
            error=None if error is None else f"{type(error).__name__}: {error}",
        )
        try:
            self._store.record(record)
        except FuguError as problem:
            _logger.warning("run %s could not be recorded: %s", run.run_id, problem)

    # --- lifetime -----------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Close connections and backends. A later request opens them again."""
        backends, self._backends = list(self._backends.values()), {}
        for backend in backends:
            await backend.aclose()
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.aclose()
        if self._store is not None:
            await asyncio.to_thread(self._store.close)

    def close(self) -> None:
        """``aclose`` for synchronous code."""
        self._door.call(self.aclose)
        self._door.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"Fugu({len(self.pool)} workers)"


def _request(messages: str | Sequence[Message], options: RunOptions) -> Request:
    unknown = sorted(set(options) - set(RunOptions.__annotations__))
    if unknown:
        raise InputError(
            f"unknown option {unknown[0]!r}; known: {', '.join(RunOptions.__annotations__)}"
        )
    return Request(
        messages=parse_messages(messages),
        tools=tuple(options.get("tools", ())),
        tool_choice=options.get("tool_choice"),
        response_format=options.get("response_format"),
        max_output_tokens=options.get("max_output_tokens"),
        temperature=options.get("temperature"),
        top_p=options.get("top_p"),
        stop=tuple(options.get("stop", ())),
        seed=options.get("seed"),
    )


def _result(run: Run, decision: Decision, worker: Worker, reply: Reply) -> Result:
    return Result(
        text=reply.text,
        worker=worker.name,
        run_id=run.run_id,
        decision=decision,
        tool_calls=reply.tool_calls,
        usage=run.usage,
        cost_usd=run.cost_usd,
        finish_reason=reply.finish_reason,
        trace=_trace(run, decision),
    )


def _partial(run: Run, decision: Decision) -> Result:
    """What there is of a run that failed: perhaps the beginning of an answer."""
    return Result(
        text=run.text,
        worker=run.attempts[-1].worker if run.attempts else decision.worker,
        run_id=run.run_id,
        decision=decision,
        usage=run.usage,
        cost_usd=run.cost_usd,
        finish_reason="length",
        trace=_trace(run, decision),
    )


def _trace(run: Run, decision: Decision) -> Trace:
    return Trace(decisions=(decision,), attempts=tuple(run.attempts), seconds=run.elapsed)


def _status(error: BaseException | None) -> RunStatus:
    if error is None:
        return "ok"
    return "cancelled" if isinstance(error, asyncio.CancelledError) else "error"
