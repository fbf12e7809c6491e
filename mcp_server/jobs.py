"""Runs that outlive the call that began them: who they belong to, how they go, what became of them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from fugu_adapters.errors import FuguError, InputError, LimitExceeded, WorkerError
from fugu_adapters.types import Attempt, Decision, Event, Result
from mcp_server.sampling import asking_host
from mcp_server.tools import Orchestrated

__all__ = ["Job", "Jobs", "Wish"]

_logger = logging.getLogger("mcp_server")


@dataclass(frozen=True)
class Wish:
    """A question to the client's own model, as ``sampling/createMessage`` has it, and its answer."""

    params: dict[str, Any]
    answer: asyncio.Future[dict[str, Any]]


class Job:
    """One run, carried out in a task of its own.

    Attributes:
        caller: whom it belongs to.
        run_id: key of the run; ``""`` until it is decided who is asked.
        saying: what is being done, for people.
        result: the answer, once it is there.
    """

    def __init__(self, caller: str, events: AsyncGenerator[Event, None]) -> None:
        self.caller = caller
        self.run_id = ""
        self.saying = "choosing a worker"
        self.result: Result | None = None
        self._decision: Decision | None = None
        self._worker = ""
        self._attempts: list[Attempt] = []
        self._pieces: list[str] = []
        self._step: int | None = None
        self._wishes: dict[str, Wish] = {}
        self._began = time.monotonic()
        self._ended: float | None = None
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._carry_out(events))
        self._task.add_done_callback(self._end)

    async def _carry_out(self, events: AsyncGenerator[Event, None]) -> None:
        asking_host.set(self.ask_host)
        async with aclosing(events):
            async for event in events:
                self._hear(event)

    def _hear(self, event: Event) -> None:
        self.run_id = event.run_id
        where = "" if event.step is None else f"step {event.step + 1}: "
        match event.kind:
            case "delta" if event.delta is not None:
                if event.step == self._step:  # of steps that run side by side, the newest one's
                    self._pieces.append(event.delta.text)
                return  # too many to tell one by one
            case "decision" if event.decision is not None:
                self._decision = event.decision
                self.saying = f"{event.worker} is asked: {event.decision.reason}"
            case "call_started":
                self._worker, self._step = event.worker or "", event.step
                self._pieces.clear()
                self.saying = f"{where}{event.worker} is answering"
            case "call_failed" if event.attempt is not None:
                self._attempts.append(event.attempt)
                self.saying = f"{where}{event.worker} failed: {event.attempt.error}"
            case "call_finished" if event.attempt is not None:
                self._attempts.append(event.attempt)
                self.saying = f"{where}{event.worker} has answered"
            case "step_started":
                self.saying = f"{where}{event.subtask or event.worker}"
            case "result":
                self.result = event.result
            case _:
                return
        self._tell()

    async def ask_host(self, params: dict[str, Any]) -> dict[str, Any]:
        """Have the client's own model answer: whoever follows the run passes the question on.

        Args:
            params: of ``sampling/createMessage``.

        Returns:
            Its result.
        """
        key = f"ask-{len(self._wishes) + 1}"
        wish = self._wishes[key] = Wish(params, asyncio.get_running_loop().create_future())
        self._tell()
        return await wish.answer

    @property
    def wishes(self) -> dict[str, Wish]:
        """Questions to the client's model that are not answered yet."""
        return {key: wish for key, wish in self._wishes.items() if not wish.answer.done()}

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    def _end(self, task: asyncio.Task[None]) -> None:
        self._ended = time.monotonic()
        self._tell()
        if not task.cancelled():
            task.exception()  # fetched, so that nobody warns of it; `outcome` tells it

    # --- looking at it ------------------------------------------------------------------------

    @property
    def over(self) -> bool:
        """Whether it has ended, however."""
        return self._task.done()

    @property
    def seconds(self) -> float:
        """What it has taken so far."""
        return (self._ended or time.monotonic()) - self._began

    @property
    def age(self) -> float:
        """Seconds since it ended; 0 while it has not."""
        return 0.0 if self._ended is None else time.monotonic() - self._ended

    async def wait(self, timeout: float) -> None:
        """Return at its end, at the next thing that happens, or after ``timeout`` seconds."""
        if self.over:
            return
        news = asyncio.ensure_future(self._news.wait())
        try:
            await asyncio.wait({self._task, news}, timeout=timeout, return_when="FIRST_COMPLETED")
        finally:
            news.cancel()

    def cancel(self) -> None:
        """Stop it, and its worker, without waiting for its end."""
        self._task.cancel()

    async def stop(self) -> None:
        """Stop it, and its worker, and wait for its end."""
        self.cancel()
        await asyncio.wait({self._task})

    def outcome(self) -> Orchestrated:
        """What there is to say of it now."""
        told = Orchestrated(
            status="running",
            run_id=self.run_id,
            text="".join(self._pieces),
            worker=self._worker,
            reason=self._decision.reason if self._decision else "",
            route=[_in_words(attempt) for attempt in self._attempts],
            seconds=round(self.seconds, 1),
        )
        if not self.over:
            told.note = f"{self.saying}. Call result with this run_id to wait for the answer."
        elif self.result is not None:
            _fill(told, self.result)
            told.status = "done"
        elif self._task.cancelled():
            told.status, told.note = "cancelled", "stopped before it was done"
        else:
            told.status = "failed"
            told.note, partial = _explain(self._task.exception())
            if partial is not None:
                _fill(told, partial)
        return told


def _fill(told: Orchestrated, result: Result) -> None:
    told.text, told.worker, told.cost_usd = result.text, result.worker, result.cost_usd
    told.reason = result.decision.reason
    told.route = [_in_words(attempt) for attempt in result.trace.attempts]
    if result.finish_reason == "length":
        told.note = "the answer was cut off at its length limit"


def _in_words(attempt: Attempt) -> str:
    where = "" if attempt.step is None else f"step {attempt.step + 1}: "
    took = "" if attempt.latency_s is None else f" in {attempt.latency_s:.1f} s"
    return f"{where}{attempt.worker}: {'answered' if attempt.ok else attempt.error}{took}"


def _explain(error: BaseException | None) -> tuple[str, Result | None]:
    if isinstance(error, FuguError):
        partial = error.partial if isinstance(error, LimitExceeded | WorkerError) else None
        return f"{type(error).__name__}: {error}", partial
    _logger.error("a run ended with an error that is not ours", exc_info=error)
    return f"{type(error).__name__} in the server; its log says more", None


class Jobs:
    """The runs of all callers, bounded in number and age.

    Args:
        most: runs that may be under way at a time.
        kept: runs that are remembered once they are over.
        kept_s: seconds for which they are.
    """

    def __init__(self, *, most: int = 16, kept: int = 256, kept_s: float = 3_600.0) -> None:
        self._most = most
        self._kept = kept
        self._kept_s = kept_s
        self._jobs: OrderedDict[int, Job] = OrderedDict()

    def start(self, caller: str, events: AsyncGenerator[Event, None]) -> Job:
        """Begin a run.

        Raises:
            InputError: where as many as may be are under way.
        """
        self._forget()
        running = sum(not job.over for job in self._jobs.values())
        if running >= self._most:
            raise InputError(f"{running} runs are under way; wait for one, or stop one")
        job = Job(caller, events)
        self._jobs[id(job)] = job
        return job

    def find(self, caller: str, run_id: str) -> Job | None:
        """A run of this caller; ``None`` where there is none, whether or not somebody else has it."""
        self._forget()
        mine = (job for job in self._jobs.values() if job.caller == caller)
        return next((job for job in mine if run_id and job.run_id == run_id), None)

    def of(self, caller: str) -> list[Job]:
        """The caller's runs, newest first."""
        self._forget()
        return [job for job in reversed(self._jobs.values()) if job.caller == caller and job.run_id]

    def _forget(self) -> None:
        over = [key for key, job in self._jobs.items() if job.over]
        surplus = max(0, len(over) - self._kept)
        for place, key in enumerate(over):
            if place < surplus or self._jobs[key].age > self._kept_s:
                del self._jobs[key]

    async def aclose(self) -> None:
        """Stop what is under way, and forget everything."""
        jobs, self._jobs = list(self._jobs.values()), OrderedDict()
        await asyncio.gather(*(job.stop() for job in jobs if not job.over))
