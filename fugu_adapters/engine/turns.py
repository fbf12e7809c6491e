"""Carrying out turns: one call after another under one run's clock and caps, until the policy stops."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from fugu_adapters.config import Worker
from fugu_adapters.engine.backend import Backend
from fugu_adapters.engine.execute import answer
from fugu_adapters.engine.run import Run
from fugu_adapters.engine.worker import Caller
from fugu_adapters.engine.workflow import deliver, tell_step
from fugu_adapters.errors import FuguError, LimitExceeded
from fugu_adapters.messages import routing_text
from fugu_adapters.policies.answers import kind_of, without_thoughts
from fugu_adapters.policies.coordinator import Coordinator, load_coordinators
from fugu_adapters.policies.programs import Trial, read_behaviour, trial_of
from fugu_adapters.policies.trinity import (
    Ask,
    Done,
    Scene,
    Taken,
    Why,
    is_only_turn,
    next_turn,
)
from fugu_adapters.pool import Pool
from fugu_adapters.types import Decision, Reply, StepTrace
from fugu_adapters.workflow.roles import turn_request

__all__ = ["RunProgram", "run_turns"]

RunProgram: TypeAlias = Callable[[str], Awaitable[str | None]]
"""Runs a program apart from this process; gives what it printed, ``None`` where it failed."""

_OPTIONAL_SHARE = 0.5  # of the time left, for a turn that a run can do without
_SPENT = {
    "budget": "dollars",
    "calls": "calls",
    "tokens": "tokens",
}  # limits that no other turn escapes


@dataclass(slots=True, kw_only=True)
class _Table:
    """One run at work.

    Attributes:
        given: what each turn gave, ``None`` for one that failed.
        trial: what the programs of this request are called with, once one is there.
    """

    run: Run
    coordinator: Coordinator
    scene: Scene
    run_program: RunProgram | None = None
    trial: Trial | None = None
    given: list[tuple[Worker, Reply] | None] = field(default_factory=list)

    def next(self, *, calls: int | None = None) -> Ask | Done:
        """What the policy says, with what the limits leave."""
        run, cap = self.run, self.run.limits.usd
        spent = run.ledger.spent_micro / 1_000_000
        self.scene = replace(
            self.scene,
            calls=run.limits.calls - run.ledger.calls if calls is None else calls,
            usd=None if cap is None else cap - spent,
            seconds=run.remaining,
        )
        return next_turn(self.coordinator, self.scene)

    def best(self) -> int | None:
        """The turn that would be the answer, were there no other."""
        done = self.next(calls=0)
        return done.answer if isinstance(done, Done) else None

    async def tried(self, turn: Taken) -> Taken:
        """The turn with what its program did, where programs are asked for and may be run."""
        scene = self.scene
        if self.run_program is None or turn.role != "worker" or not turn.whole or scene.tools:
            return turn
        text = without_thoughts(turn.text)
        if kind_of(scene.question, [text], wants_json=scene.wants_json) != "code":
            return turn
        self.trial = self.trial or trial_of(scene.question, text)
        if self.trial is None:
            return turn
        source = self.trial.source(text)
        if source is None:
            return replace(turn, tried=True)
        printed = await self.run_program(source)
        did = None if printed is None else read_behaviour(self.trial, printed)
        if did is None:  # too slow, or of a syntax that is not interpreted: who knows
            return turn
        return replace(turn, tried=True, did=None if self.trial.fails(did) else did)

    def note(self, turn: Taken, given: tuple[Worker, Reply] | None) -> None:
        """Take in a turn, and rank the answers for whoever wants what there is so far."""
        self.scene = replace(self.scene, taken=(*self.scene.taken, turn))
        self.given.append(given)
        best = self.best() if self.scene.answers else None
        self.run.answers = sorted(self.scene.answers, key=lambda index: index == best)


async def run_turns(
    run: Run,
    decision: Decision,
    *,
    pool: Pool,
    caller: Caller,
    backend_of: Callable[[Worker], Backend],
    run_program: RunProgram | None = None,
) -> tuple[Worker, Reply]:
    """Take turns until the policy stops, and note them in the run.

    Args:
        run: the run of the caller's request.
        decision: the selector's: whom to ask first, and what to expect of whom.
        pool: the workers.
        caller: makes the calls.
        backend_of: gives a worker's backend.
        run_program: runs what workers write, so that programs can be compared; ``None`` for never.

    Returns:
        Who wrote the answer, and its reply; ``run.stopped`` says why nobody was asked any more.

    Raises:
        WorkerError: nobody could answer.
        LimitExceeded: a cap of the run was reached before there was an answer.
        WeightsError: the pool's coordinator cannot be read.
    """
    scene = _scene(run, decision)
    coordinator = load_coordinators(pool.coordinator)[run.effort]
    table = _Table(run=run, coordinator=coordinator, scene=scene, run_program=run_program)
    done: Done | None = None
    run.answers = []
    while done is None:
        step = table.next()
        if isinstance(step, Done):
            done = step
        else:
            order = [pool[name] for name in (step.worker, *step.instead)]
            done = await _turn(table, step, order, caller=caller, backend_of=backend_of)
    run.stopped = done.reason
    chosen = None if done.answer is None else table.given[done.answer]
    if chosen is None:  # nothing but empty replies of workers: the last of them
        both = zip(table.scene.taken, table.given, strict=True)
        chosen = [given for turn, given in both if given and turn.role == "worker"][-1]
    if run.stream and not run.delivered:
        deliver(run, *chosen)
    return chosen


def _scene(run: Run, decision: Decision) -> Scene:
    able = [each for each in decision.candidates if each.excluded_because is None]
    able.sort(key=lambda each: -(each.p_success or 0.0))
    return Scene(
        question=routing_text(run.request),
        first=decision.worker,
        forecast={each.worker: each.p_success or 0.0 for each in able},
        cost={each.worker: each.cost_usd for each in able},
        effort=run.effort,
        wants_json=run.request.response_format is not None,
        tools=bool(run.request.tools),
        resumes=decision.continuity == "tool-turn",
    )


async def _turn(
    table: _Table,
    ask: Ask,
    order: Sequence[Worker],
    *,
    caller: Caller,
    backend_of: Callable[[Worker], Backend],
) -> Done | None:
    """Take one turn, and say whether the run ends with it."""
    run, optional = table.run, bool(table.scene.answers) or ask.role == "thinker"
    index, subtask = len(table.scene.taken), f"{ask.role}: {ask.reason}"
    part = _part(table, ask, optional=optional)
    run.steps.append(StepTrace(index=index, worker=ask.worker, subtask=subtask, access=ask.shown))
    tell_step(run, "step_started", index, ask.worker, subtask)
    began, calls = run.elapsed, len(run.attempts)
    try:
        given = await answer(part, order, caller=caller, backend_of=backend_of)
    except FuguError as error:
        if not optional:
            raise
        names = tuple(worker.name for worker in order)
        table.note(_taken(ask, None, names, run.elapsed - began), None)
        tell_step(run, "step_finished", index, ask.worker, subtask)
        return _ended_by(table, error)
    finally:
        run.text, run.delivered = run.text + part.text, run.delivered or part.delivered
    worker, reply = given
    run.steps[index] = replace(run.steps[index], answered_by=worker.name, text=reply.text)
    failed = tuple(call.worker for call in run.attempts[calls:] if not call.ok)
    turn = _taken(ask, given, failed, run.elapsed - began)
    table.note(turn if part.delivered else await table.tried(turn), given)
    tell_step(run, "step_finished", index, worker.name, subtask)
    if ask.role == "worker" and reply.tool_calls:
        tools = ", ".join(dict.fromkeys(call.name for call in reply.tool_calls))
        return Done(answer=index, why="tools", reason=f"{worker.name} calls {tools}")
    return _spoken(table, index, worker) if part.delivered else None


def _part(table: _Table, ask: Ask, *, optional: bool) -> Run:
    """The turn's own run. The text of a turn that ends the request whatever it says is passed on at once."""
    run, scene = table.run, table.scene
    live = run.stream and not scene.taken and is_only_turn(table.coordinator, scene)
    part = run.part(turn_request(run.request, ask, scene.taken), step=len(scene.taken), stream=live)
    if optional:  # an answer that is there does not wait for long for another worker
        seconds = run.elapsed + _OPTIONAL_SHARE * run.remaining
        part.limits = replace(run.limits, seconds=seconds)
    return part


def _taken(
    ask: Ask, given: tuple[Worker, Reply] | None, failed: Sequence[str], seconds: float
) -> Taken:
    author = ask.worker if given is None else given[0].name
    return Taken(
        worker=author,
        role=ask.role,
        text="" if given is None else given[1].text,
        whole=given is not None and given[1].finish_reason == "stop",
        about=ask.about,
        failed=tuple(name for name in failed if name != author),
        seconds=seconds,
    )


def _spoken(table: _Table, index: int, worker: Worker) -> Done:
    """The end of a run whose text was passed on while it was written."""
    step = table.next()
    if isinstance(step, Done) and step.answer == index:
        return step
    reason = f"the answer of {worker.name} was passed on as it was written"
    return Done(answer=index, why="settled", reason=reason)


def _ended_by(table: _Table, error: FuguError) -> Done | None:
    """What a failed turn ends: nothing where the run's limits leave more, or nobody has answered."""
    if not isinstance(error, LimitExceeded) or not table.scene.answers:
        return None
    what = _SPENT.get(error.kind)
    if what is None:
        return None
    why: Why = "money" if error.kind == "budget" else "turns"
    return Done(answer=table.best(), why=why, reason=f"the limit of {what} is reached")
