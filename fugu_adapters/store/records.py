"""What goes into the store and comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from fugu_adapters.types import (
    Attempt,
    Decision,
    FinishReason,
    Outcome,
    Request,
    Result,
    StepTrace,
    ToolCall,
    Trace,
    Usage,
)

__all__ = ["JudgedRun", "RunRecord", "RunStatus"]

RunStatus: TypeAlias = Literal["running", "ok", "error", "cancelled"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    """One run, as it is kept.

    Attributes:
        run_id: its key.
        created_at: when it began; aware, returned in UTC.
        request: what was asked; ``None`` where texts are not kept.
        model: the name the caller asked for, such as ``"fugu"``.
        status: how it ended; ``running`` where it has not, or its process was killed.
        error: the error's class and message.
        text: the answer, or what there was of it; ``None`` where there is none or texts are not kept.
        tool_calls: calls that the answer asks for; empty where texts are not kept.
        finish_reason: why the worker stopped.
        worker: who answered, or was asked first where nobody did.
        decision: the choice that the answer follows from.
        decisions: every choice of the run, in order.
        steps: the steps of its workflow; without their texts where those are not kept.
        attempts: every call, in order.
        usage: tokens over all calls.
        cost_usd: dollars over all calls, ``None`` where a price is unknown.
        seconds: what the run took.
        session: the caller's conversation.
    """

    run_id: str
    created_at: datetime
    request: Request | None = None
    model: str = "fugu"
    status: RunStatus = "ok"
    error: str | None = None
    text: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: FinishReason | None = None
    worker: str | None = None
    decision: Decision | None = None
    decisions: tuple[Decision, ...] = ()
    steps: tuple[StepTrace, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    usage: Usage | None = None
    cost_usd: float | None = None
    seconds: float | None = None
    session: str | None = None

    @classmethod
    def from_result(
        cls,
        result: Result,
        *,
        request: Request,
        created_at: datetime,
        session: str | None = None,
        status: RunStatus = "ok",
        error: str | None = None,
    ) -> RunRecord:
        """The record of a run that gave an answer, or part of one before it failed."""
        return cls(
            run_id=result.run_id,
            created_at=created_at,
            request=request,
            model=result.decision.model,
            status=status,
            error=error,
            text=result.text,
            tool_calls=result.tool_calls,
            finish_reason=result.finish_reason,
            worker=result.worker,
            decision=result.decision,
            decisions=result.trace.decisions,
            steps=result.trace.steps,
            attempts=result.trace.attempts,
            usage=result.usage,
            cost_usd=result.cost_usd,
            seconds=result.trace.seconds,
            session=session,
        )

    @property
    def trace(self) -> Trace:
        """Decisions, steps and calls, in order."""
        return Trace(
            decisions=self.decisions,
            steps=self.steps,
            attempts=self.attempts,
            seconds=self.seconds or 0.0,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedRun:
    """A run that somebody scored, as learning reads it.

    Attributes:
        run_id: the run.
        request: what was asked.
        outcome: its outcome: suite ``"feedback"``, the run's id as item, the worker's *name* as worker,
            and the newest score.
    """

    run_id: str
    request: Request
    outcome: Outcome
