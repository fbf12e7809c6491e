"""What a run gave, or what there is of one that failed, as the caller gets it."""

from __future__ import annotations

import dataclasses

from fugu_adapters.config import Worker
from fugu_adapters.engine.run import Run
from fugu_adapters.types import Decision, Reply, Result, Trace
from fugu_adapters.workflow import Workflow

__all__ = ["as_planned", "partial_result", "result_of"]


def as_planned(decision: Decision, workflow: Workflow) -> Decision:
    """The router's ranking as the decision of a run whose plan was given."""
    count = len(workflow.steps)
    return dataclasses.replace(
        decision,
        worker=workflow.steps[workflow.answering[-1]].worker,
        reason=f"the caller's workflow of {count} step{'s' if count > 1 else ''}",
        policy=f"workflow, then {decision.policy}",
    )


def result_of(run: Run, decision: Decision, worker: Worker, reply: Reply) -> Result:
    """The result of a run that gave an answer."""
    decision = _stopped(run, decision)
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
        stopped=run.stopped,
        reasoning=reply.reasoning,
        sealed=reply.sealed,
        native=reply.native,
    )


def partial_result(run: Run, decision: Decision) -> Result:
    """What there is of a run that failed: an answer's beginning, the last step's output, the best turn's."""
    author = run.attempts[-1].worker if run.attempts else decision.worker
    text = run.text
    finished = [step for step in run.steps if step.answered_by is not None]
    if run.answers is not None:
        finished = [run.steps[index] for index in run.answers]
    if not text and finished:
        text, author = finished[-1].text or "", finished[-1].answered_by or author
    return Result(
        text=text,
        worker=author,
        run_id=run.run_id,
        decision=decision,
        usage=run.usage,
        cost_usd=run.cost_usd,
        finish_reason="length",
        trace=_trace(run, decision),
    )


def _stopped(run: Run, decision: Decision) -> Decision:
    if run.stopped is None:
        return decision
    count = sum(step.answered_by is not None for step in run.steps)
    reason = f"{decision.reason} After {count} turn{'s' if count != 1 else ''}: {run.stopped}."
    turns = decision.model == "fugu-trinity"  # the others have said so before the first call
    policy = f"trinity, then {decision.policy}" if turns else decision.policy
    return dataclasses.replace(decision, reason=reason, policy=policy)


def _trace(run: Run, decision: Decision) -> Trace:
    return Trace(
        decisions=(decision,),
        steps=tuple(run.steps),
        attempts=tuple(run.attempts),
        seconds=run.elapsed,
    )
