"""The state of one run while it is under way: its request, clock, caps and what has happened so far."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from fugu_adapters.engine.events import EventSink
from fugu_adapters.engine.limits import OUTPUT_TOKENS, Account, Ledger
from fugu_adapters.messages import estimate_tokens
from fugu_adapters.types import Attempt, Delta, Effort, Event, Limits, Request, StepTrace, Usage
from fugu_adapters.workflow.suspension import Waiting

__all__ = ["Clock", "Run"]

Clock: TypeAlias = Callable[[], float]


@dataclass(slots=True, kw_only=True)
class Run:
    """One request on its way through the engine.

    Attributes:
        run_id: its key in the store.
        request: what is asked.
        limits: its caps.
        effort: the caller's effort, which bounds the reply where the request does not.
        emit: told of everything that happens.
        stream: whether replies are wanted piece by piece.
        account: dollars that it shares with other runs.
        clock: monotonic seconds.
        given_up: endpoints that are not asked again in this run, each with the reason.
        attempts: calls so far.
        step: index of the workflow's step that this is, ``None`` outside of workflows.
        steps: the steps of its workflow, or its turns.
        answers: indices of steps that may stand for the answer, the best last; ``None`` for all.
        stopped: why no further turn was taken.
        waiting: the workflow, where a step of it waits for the host's tools.
        text: what was already delivered of the answer under way.
    """

    run_id: str
    request: Request
    limits: Limits
    effort: Effort
    emit: EventSink
    stream: bool = False
    account: Account | None = None
    clock: Clock = time.monotonic
    given_up: dict[str, str] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)
    step: int | None = None
    steps: list[StepTrace] = field(default_factory=list)
    answers: list[int] | None = None
    stopped: str | None = None
    waiting: Waiting | None = None
    text: str = ""
    delivered: bool = False
    started: float = field(init=False)
    ledger: Ledger = field(init=False)
    input_tokens: int = field(init=False)

    def __post_init__(self) -> None:
        self.started = self.clock()
        self.ledger = Ledger(self.limits, self.account)
        self.input_tokens = estimate_tokens(self.request)

    def part(self, request: Request, *, step: int | None, stream: bool) -> Run:
        """A step of this run: a request of its own, under the same clock and caps."""
        part = dataclasses.replace(
            self, request=request, step=step, stream=stream, text="", delivered=False
        )
        part.started, part.ledger = self.started, self.ledger
        return part

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return self.clock() - self.started

    @property
    def remaining(self) -> float:
        """Seconds until its deadline."""
        return self.limits.seconds - self.elapsed

    @property
    def output_tokens(self) -> int:
        """Wished bound on one reply."""
        for bound in (self.request.max_output_tokens, self.limits.output_tokens):
            if bound is not None:
                return bound
        return OUTPUT_TOKENS[self.effort]

    @property
    def usage(self) -> Usage:
        """Tokens of all calls so far."""
        return sum((a.usage for a in self.attempts if a.usage is not None), start=Usage())

    @property
    def cost_usd(self) -> float | None:
        """Dollars of all calls so far; ``None`` where the cost of any is unknown."""
        costs = [attempt.cost_usd for attempt in self.attempts]
        known = [cost for cost in costs if cost is not None]
        return sum(known) if len(known) == len(costs) else None

    def deliver(self, worker: str, delta: Delta) -> None:
        """Pass a piece of the answer on. From now on no other worker may answer this request.

        A thought is no answer yet: another may still take over from a worker that breaks off in one.
        """
        if delta.text or delta.tool_index is not None or delta.raw is not None:
            self.delivered = True
        self.text += delta.text
        self.emit(
            Event(kind="delta", run_id=self.run_id, worker=worker, delta=delta, step=self.step)
        )

    def record(self, attempt: Attempt) -> None:
        """Note a finished call and tell about it."""
        if self.step is not None:
            attempt = dataclasses.replace(attempt, step=self.step)
        self.attempts.append(attempt)
        kind = "call_finished" if attempt.ok else "call_failed"
        self.emit(
            Event(
                kind=kind,  # type: ignore[arg-type]  # a conditional of two literals
                run_id=self.run_id,
                worker=attempt.worker,
                attempt=attempt,
                step=self.step,
            )
        )
