"""The facade: one object that answers requests over a pool. It owns lifetimes and holds no logic."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, TypedDict, Unpack

from fugu_adapters.config import Worker
from fugu_adapters.engine.backend import Backend
from fugu_adapters.engine.execute import answer
from fugu_adapters.engine.health import Health
from fugu_adapters.engine.results import partial_result, result_of
from fugu_adapters.engine.retry import RetryPolicy
from fugu_adapters.engine.run import Run
from fugu_adapters.engine.turns import run_turns
from fugu_adapters.engine.ultra import run_written
from fugu_adapters.engine.worker import Caller
from fugu_adapters.engine.workflow import (
    planned,
    run_step,
    run_with_tools,
    run_workflow,
)
from fugu_adapters.errors import (
    FuguError,
    InputError,
    LimitExceeded,
    WorkerError,
)
from fugu_adapters.options import RunOptions, read_request
from fugu_adapters.planning import MODELS, Planner, Prepared
from fugu_adapters.policies.conductor_weights import load_conductor
from fugu_adapters.pool import Pool
from fugu_adapters.store import Recorder, RunRecord, RunStatus, Store
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
)
from fugu_adapters.workers import build_backend
from fugu_adapters.workflow.compose import VOTING, Plan, scene_of

if TYPE_CHECKING:
    from fugu_adapters.engine.events import EventSink
    from fugu_adapters.engine.transport import Transport

__all__ = ["MODELS", "Fugu", "RunOptions"]

_SAME_WORKER = ("kept", "follow-up", "tool-turn")
_PROGRAM_S = 2.0  # for a program that is run to compare it

_logger = logging.getLogger("fugu_adapters")


class _Calls(TypedDict):
    caller: Caller
    backend_of: Callable[[Worker], Backend]


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
        record_beside: whether runs are recorded by a thread beside the work, from their beginning, as a server
            wants it; otherwise a run that has returned is in the store.
        env: where keys are looked up, at each call; the process's environment where not given.
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
        record_beside: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.pool = Pool.from_env() if pool is None else pool
        self.limits = limits or Limits()
        self.effort: Effort = effort
        self._store = (Store.from_config(self.pool.store) if store is None else store) or None
        self._recorder = Recorder(self._store) if self._store and record_beside else None
        self._planner = Planner(
            self.pool, limits=self.limits, effort=effort, store=self._store, env=env
        )
        self._caller = Caller(
            health=Health(),
            retry=retry or RetryPolicy(),
            rng=random.Random(seed),  # noqa: S311  jitter, not a secret
        )
        self._backends: dict[str, Backend] = {}
        self._transport: Transport | None = None
        self._under_way = 0
        self._door = SyncDoor()
        self._on_event = on_event
        self._env = env

    # --- deciding -----------------------------------------------------------------------------

    def route(self, messages: str | Sequence[Message], **options: Unpack[RunOptions]) -> Decision:
        """Decide who would answer, and why. No call is made, and no key is needed.

        It counts as a turn of its conversation, for hosts that make the call themselves.

        Raises:
            InputError: where the request is malformed or no worker may be asked.
        """
        request = read_request(messages, options)
        if options.get("workflow") is not None:
            raise InputError("workflow: it names its workers itself; use run, arun or astream")
        return self._planner.decide(request, options)

    def plan(self, messages: str | Sequence[Message], **options: Unpack[RunOptions]) -> Plan:
        """What a request would be answered by, and what that is expected to cost. No call is made.

        Args:
            messages: as for ``run``.
            **options: as for ``run``; ``model`` is ``"fugu-ultra"`` where not given.

        Raises:
            InputError: the request is malformed, or no worker may be asked.
            WeightsError: weights do not pass their checks.
        """
        request = read_request(messages, options)
        if options.get("workflow") is not None:
            raise InputError("workflow: it is a plan already; Workflow.draw() shows it")
        chosen: RunOptions = {"model": "fugu-ultra", **options}
        return self._planner.plan(
            request, chosen, self._planner.decide(request, chosen, remember=False)
        )

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
        self,
        messages: str | Sequence[Message],
        *,
        on_event: EventSink | None = None,
        stream: bool = False,
        **options: Unpack[RunOptions],
    ) -> Result:
        """Answer a request; the coroutine behind ``run``. Cancelling it stops the worker.

        Args:
            messages: as for ``run``.
            on_event: told of what happens in this run.
            stream: whether it is told of the text as it comes.
            **options: as for ``run``.
        """

        def emit(event: Event) -> None:
            self._notify(event)
            if on_event is not None:
                on_event(event)

        self._under_way += 1
        try:
            return await self._arun(messages, options, emit=emit, stream=stream)
        finally:
            self._under_way -= 1

    async def astream(
        self, messages: str | Sequence[Message], **options: Unpack[RunOptions]
    ) -> AsyncGenerator[Event, None]:
        """Answer a request and yield what happens: decision, calls, text as it comes, the result.

        Closing the iterator early cancels the run.
        """
        events: asyncio.Queue[Event | None] = asyncio.Queue()
        task = asyncio.create_task(
            self.arun(messages, on_event=events.put_nowait, stream=True, **options)
        )
        task.add_done_callback(lambda _: events.put_nowait(None))
        try:
            while (event := await events.get()) is not None:
                yield event
            await task
        finally:
            task.cancel()
            await asyncio.wait({task})

    def stream(
        self, messages: str | Sequence[Message], **options: Unpack[RunOptions]
    ) -> Generator[Event, None, None]:
        """``astream`` for synchronous code. Closing it early cancels the run and waits for its end."""
        return self._door.iterate(self.astream(messages, **options))

    async def acall(self, worker: Worker, request: Request) -> Reply:
        """Ask one worker of the pool, without choosing and without recording: for measurements.

        The engine's care holds: retries, breaker, deadline and caps of ``limits``.

        Raises:
            WorkerError: no usable reply.
            LimitExceeded: a cap was reached.
        """
        run = Run(
            run_id=secrets.token_hex(16),
            request=request,
            limits=self.limits,
            effort=self.effort,
            emit=self._notify,
        )
        _, reply = await answer(run, [worker], caller=self._caller, backend_of=self._backend)
        return reply

    async def astep(
        self,
        messages: str | Sequence[Message],
        index: int,
        outputs: Mapping[int, str],
        *,
        on_event: EventSink | None = None,
        **options: Unpack[RunOptions],
    ) -> Result:
        """Carry out one step of ``workflow``, for hosts that keep its state. It is not recorded.

        Args:
            messages: the request, as for ``run`` of the whole.
            index: the step, from 0.
            outputs: by step, what those that it may see have written.
            on_event: told of what happens.
            **options: as for ``run`` of the whole; ``limits`` are those of this step.

        Raises:
            InputError: the request was refused before any call.
            WorkerError: no worker gave a usable reply.
            LimitExceeded: a cap was reached.
        """
        request, workflow = read_request(messages, options), options.get("workflow")
        if workflow is None or index not in range(len(workflow.steps)):
            raise InputError(f"astep: expected a workflow with a step {index}")
        if request.tools:
            raise InputError("astep: a single step cannot wait for tools; leave them out")
        prepared = await asyncio.to_thread(self._planner.prepare, request, options)
        run = self._new_run(request, options, emit=on_event or self._notify)
        run.steps[:] = planned(workflow)
        worker, reply = await run_step(
            run,
            workflow,
            index,
            outputs,
            prepared.orders[index],
            caller=self._caller,
            backend_of=self._backend,
        )
        return result_of(run, prepared.decision, worker, reply)

    def step(
        self,
        messages: str | Sequence[Message],
        index: int,
        outputs: Mapping[int, str],
        *,
        on_event: EventSink | None = None,
        **options: Unpack[RunOptions],
    ) -> Result:
        """``astep`` for synchronous code."""
        return self._door.call(
            lambda: self.astep(messages, index, outputs, on_event=on_event, **options)
        )

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
        request = read_request(messages, options)
        if self._store is not None and not self._store.is_open:
            await asyncio.to_thread(self._store.open)  # before money is spent
        if self._recorder is not None:
            await self._recorder.catch_up()
        if self._planner.is_quick(request, options):
            await self._in_step()
            prepared = self._planner.prepare(request, options)
            await self._in_step()
        else:  # encoding a long prompt takes tens of milliseconds, which would stall the host's loop
            prepared = await asyncio.to_thread(self._planner.prepare, request, options)
        if prepared.waiting is not None:  # the conversation that the workflow was begun for
            request = replace(request, messages=prepared.waiting.messages)
        decision = prepared.decision
        if request.native is not None and decision.continuity in _SAME_WORKER:
            request = replace(request, native=replace(request.native, continues=decision.worker))
        run = self._new_run(request, options, emit=emit, stream=stream)
        emit(Event(kind="decision", run_id=run.run_id, worker=decision.worker, decision=decision))
        if self._recorder is not None:
            self._recorder.begin(
                run.run_id,
                lambda: _record_of(partial_result(run, decision), run, options, status="running"),
            )
        try:
            worker, reply = await self._carry_out(
                run, prepared, replan=options.get("replan", self.pool.conductor.replan)
            )
            await self._in_step()
        except BaseException as error:
            partial = partial_result(run, decision)
            if isinstance(error, LimitExceeded | WorkerError) and partial.text:
                error.partial = partial
            # Without awaiting, because the task may be on its way out.
            self._record(partial, run, options, status=_status(error), error=error)
            raise
        if worker.name != decision.worker and options.get("workflow") is None:
            self._planner.router.answered(request, worker.name, session=options.get("session"))
        if run.waiting is not None:
            reply = await asyncio.to_thread(self._planner.suspend, run, worker, reply)
        result = result_of(run, decision, worker, reply)
        if self._store is None or self._recorder is not None:
            self._record(result, run, options)
        else:
            await asyncio.to_thread(self._record, result, run, options)
        emit(Event(kind="result", run_id=run.run_id, worker=worker.name, result=result))
        return result

    async def _in_step(self) -> None:
        """Let the runs that are as far as this one do the same first.

        What is done for one run after the other finds its code and data in the processor's caches: of 32 runs at a
        time, each takes a fifth less of the processor than where it goes from its beginning to its first call at a
        stretch.
        """
        if self._under_way > 1:
            await asyncio.sleep(0)

    def _new_run(
        self, request: Request, options: RunOptions, *, emit: EventSink, stream: bool = False
    ) -> Run:
        return Run(
            run_id=secrets.token_hex(16),
            request=request,
            limits=options.get("limits", self.limits),
            effort=options.get("effort", self.effort),
            emit=emit,
            stream=stream,
            account=options.get("account"),
        )

    async def _carry_out(
        self, run: Run, prepared: Prepared, *, replan: bool
    ) -> tuple[Worker, Reply]:
        calls: _Calls = {"caller": self._caller, "backend_of": self._backend}
        decision, workflow, settings = prepared.decision, prepared.workflow, self.pool.conductor
        if prepared.model == "written":
            scene = scene_of(
                load_conductor(settings.weights),
                decision,
                run.request,
                effort=run.effort,
                limits=run.limits,
            )
            return await run_written(
                run,
                decision,
                pool=self.pool,
                settings=settings,
                worth=scene.worth_of,
                voting=VOTING if replan else None,
                **calls,
            )
        if workflow is not None and (run.request.tools or prepared.waiting):
            return await run_with_tools(
                run,
                workflow,
                prepared.orders,
                weights={c.worker: c.p_success or 0.0 for c in decision.candidates},
                waiting=prepared.waiting,
                **calls,
            )
        if workflow is not None:
            ours = prepared.model == "fugu-ultra"
            return await run_workflow(
                run,
                workflow,
                prepared.orders,
                weights={c.worker: c.p_success or 0.0 for c in decision.candidates},
                voting=VOTING if ours and replan else None,
                **calls,
            )
        if prepared.model == "fugu-trinity":
            return await run_turns(
                run,
                decision,
                pool=self.pool,
                run_program=_run_program if self.pool.run_programs else None,
                **calls,
            )
        return await answer(run, prepared.orders[0], **calls)

    def _backend(self, worker: Worker) -> Backend:
        backend = self._backends.get(worker.name)
        if backend is None:
            if self._transport is None:
                from fugu_adapters.engine.transport import Transport

                self._transport = Transport()
            backend = self._backends[worker.name] = build_backend(
                worker, self._transport, self._env
            )
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
        self,
        result: Result,
        run: Run,
        options: RunOptions,
        *,
        status: RunStatus = "ok",
        error: BaseException | None = None,
    ) -> None:
        """Keep a run. An answer that was paid for is not lost to a full disk."""
        if self._store is None:
            return
        record = _record_of(result, run, options, status=status, error=error)
        if self._recorder is not None:
            self._recorder.put(record)
            return
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
        if self._transport is not None:  # kept, as it may hold connections of another loop
            await self._transport.aclose()
        if self._recorder is not None:
            await asyncio.to_thread(self._recorder.close)
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


async def _run_program(source: str) -> str | None:
    from fugu_adapters.workers.program import run_program

    result = await run_program(source, seconds=_PROGRAM_S)
    return None if result.error else result.output


def _record_of(
    result: Result,
    run: Run,
    options: RunOptions,
    *,
    status: RunStatus,
    error: BaseException | None = None,
) -> RunRecord:
    return RunRecord.from_result(
        result,
        request=run.request,
        created_at=datetime.now(UTC) - timedelta(seconds=run.elapsed),
        session=options.get("session"),
        status=status,
        error=None if error is None else f"{type(error).__name__}: {error}",
    )


def _status(error: BaseException) -> RunStatus:
    return "cancelled" if isinstance(error, asyncio.CancelledError) else "error"
