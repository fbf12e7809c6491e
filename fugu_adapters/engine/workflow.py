"""Carrying out a workflow: steps as soon as their inputs are there, all under one run's clock and caps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from fugu_adapters.config import Worker
from fugu_adapters.engine.backend import Backend, pieces_of
from fugu_adapters.engine.execute import answer
from fugu_adapters.engine.run import Run
from fugu_adapters.engine.worker import Caller
from fugu_adapters.errors import FuguError, LimitExceeded, PlanError
from fugu_adapters.messages import routing_text
from fugu_adapters.policies.answers import read_answers
from fugu_adapters.policies.coordinator import Coordinator, Standing
from fugu_adapters.pool import Pool
from fugu_adapters.types import Candidate, Event, Message, Reply, StepTrace
from fugu_adapters.workflow.aggregate import choose
from fugu_adapters.workflow.plan import Workflow
from fugu_adapters.workflow.prompts import step_request
from fugu_adapters.workflow.suspension import Waiting

__all__ = [
    "deliver",
    "planned",
    "run_step",
    "run_with_tools",
    "run_workflow",
    "step_order",
    "tell_step",
]


def planned(workflow: Workflow) -> list[StepTrace]:
    """The trace of a workflow before anything was asked."""
    return [
        StepTrace(index=index, worker=step.worker, subtask=step.subtask, access=step.access)
        for index, step in enumerate(workflow.steps)
    ]


def step_order(
    workflow: Workflow, index: int, candidates: Iterable[Candidate], pool: Pool
) -> list[Worker]:
    """Who may be asked for a step: the worker that it names, then the others as the router ranks them.

    Raises:
        PlanError: where the named worker is not in the pool, or may not be asked.
    """
    named, path = workflow.steps[index].worker, f"steps[{index}].worker"
    reasons = {candidate.worker: candidate.excluded_because for candidate in candidates}
    if named not in reasons:
        raise PlanError(f"{path}: no worker {named!r} in {pool}", path=path)
    if reasons[named] is not None:
        raise PlanError(f"{path}: {named} {reasons[named]}", path=path)
    others = [name for name, reason in reasons.items() if reason is None and name != named]
    return [pool[name] for name in (named, *others)]


async def run_step(
    run: Run,
    workflow: Workflow,
    index: int,
    outputs: Mapping[int, str],
    order: Sequence[Worker],
    *,
    caller: Caller,
    backend_of: Callable[[Worker], Backend],
    transcript: Sequence[Message] = (),
    live: bool = True,
) -> tuple[Worker, Reply]:
    """Ask for one step, and note it in the run.

    Args:
        run: the run of the caller's request, with the workflow's ``planned`` steps.
        workflow: the plan.
        index: the step.
        outputs: what the steps that it may see have written.
        order: workers that may be asked, best first.
        caller: makes the calls.
        backend_of: gives a worker's backend.
        transcript: what the step's worker said and was told before, after its request.
        live: whether the text of the last step is passed on as it comes, where that is wanted at all.

    Returns:
        Who answered, and the reply.

    Raises:
        WorkerError: nobody could answer.
        LimitExceeded: a cap of the run was reached.
    """
    step = workflow.steps[index]
    is_answer = workflow.aggregate is None and index == len(workflow.steps) - 1
    request = step_request(run.request, workflow, index, outputs)
    if transcript:
        request = replace(request, messages=(*request.messages, *transcript))
    part = run.part(
        request,
        step=index,
        stream=run.stream and is_answer and live,
    )
    tell_step(run, "step_started", index, step.worker, step.subtask)
    try:
        worker, reply = await answer(part, order, caller=caller, backend_of=backend_of)
    finally:
        run.text += part.text
    run.steps[index] = replace(run.steps[index], answered_by=worker.name, text=reply.text)
    tell_step(run, "step_finished", index, worker.name, step.subtask)
    return worker, reply


async def run_workflow(
    run: Run,
    workflow: Workflow,
    orders: Sequence[Sequence[Worker]],
    *,
    weights: Mapping[str, float],
    caller: Caller,
    backend_of: Callable[[Worker], Backend],
    voting: Coordinator | None = None,
) -> tuple[Worker, Reply]:
    """Carry out a whole workflow.

    The first step that fails cancels the others; ``run.steps`` keeps what was finished.
    Where ``voting`` is given, the steps of a vote are taken one after another until it is decided; a step that
    fails once there is an answer is then one vote less.

    Args:
        run: the run of the caller's request.
        workflow: the plan.
        orders: for each step, workers that may be asked, best first.
        weights: by worker, what decides ties of votes.
        caller: makes the calls.
        backend_of: gives a worker's backend.
        voting: weighs the answers of a vote by their workers' ``weights``, and ends it.

    Returns:
        Who wrote the answer, and its reply; ``run.stopped`` says why a vote ended.

    Raises:
        WorkerError: nobody could answer for a step.
        LimitExceeded: a cap of the run was reached.
    """
    run.steps[:] = planned(workflow)
    if voting is not None and workflow.aggregate is not None and workflow.aggregate.kind == "vote":
        return await _in_turn(
            run, workflow, orders, weights, voting, caller=caller, backend_of=backend_of
        )
    tasks: list[asyncio.Task[tuple[Worker, Reply]]] = []

    async def carry_out(index: int) -> tuple[Worker, Reply]:
        outputs = {seen: (await tasks[seen])[1].text for seen in workflow.steps[index].access}
        return await run_step(
            run, workflow, index, outputs, orders[index], caller=caller, backend_of=backend_of
        )

    # A TaskGroup leaves its parent marked as cancelled after a failure on Python 3.11 and 3.12.
    tasks += [asyncio.create_task(carry_out(index)) for index in range(len(workflow.steps))]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        failed = [task for task in tasks if task in done and _failure(task)]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for task in tasks:
            _failure(task)  # seen, so that asyncio does not complain
    # Steps that wait for one that failed fail with it, and come later in the order.
    return _answer(run, workflow, [task.result() for task in failed[:1] or tasks], weights)


async def run_with_tools(
    run: Run,
    workflow: Workflow,
    orders: Sequence[Sequence[Worker]],
    *,
    weights: Mapping[str, float],
    caller: Caller,
    backend_of: Callable[[Worker], Backend],
    waiting: Waiting | None = None,
) -> tuple[Worker, Reply]:
    """Carry out a workflow whose steps may call the host's tools: one step after another.

    Where a step calls tools, ``run.waiting`` holds what is to be kept until their results come.

    Args:
        run: the run of the caller's request, or of the one that brings results.
        workflow: the plan.
        orders: for each step, workers that may be asked, best first.
        weights: by worker, what decides ties of votes.
        caller: makes the calls.
        backend_of: gives a worker's backend.
        waiting: the state to go on from.

    Returns:
        Who wrote the answer, or calls tools, and its reply.
    """
    run.steps[:] = planned(workflow)
    known = {worker.name: worker for order in orders for worker in order}
    state = waiting or Waiting(
        workflow=workflow, messages=run.request.messages, outputs={}, step=0, worker="", transcript=()
    )  # fmt: skip
    given: dict[int, tuple[Worker, Reply]] = {}
    for index, (name, text) in state.outputs.items():
        given[index] = (known.get(name) or orders[index][0], Reply(text=text))
        run.steps[index] = replace(run.steps[index], answered_by=name, text=text)
    for index in range(len(workflow.steps)):
        if index in given:
            continue
        order = list(orders[index])
        transcript: tuple[Message, ...] = ()
        if waiting is not None and index == waiting.step:
            transcript = waiting.transcript
            order.sort(key=lambda worker: worker.name != waiting.worker)
        outputs = {seen: given[seen][1].text for seen in workflow.steps[index].access}
        worker, reply = await run_step(
            run,
            workflow,
            index,
            outputs,
            order,
            caller=caller,
            backend_of=backend_of,
            transcript=transcript,
            live=False,
        )
        if reply.tool_calls:
            done = {n: (one.name, said.text) for n, (one, said) in given.items()}
            kept = replace(
                state, outputs=done, step=index, worker=worker.name, transcript=transcript
            )
            run.waiting = kept.told(reply)
            tools = ", ".join(dict.fromkeys(call.name for call in reply.tool_calls))
            run.stopped = f"step {index + 1} calls {tools}"
            return worker, reply
        given[index] = (worker, reply)
    worker, reply = _answer(run, workflow, [given[n] for n in sorted(given)], weights)
    if run.stream and not run.delivered:
        deliver(run, worker, reply)
    return worker, reply


async def _in_turn(
    run: Run,
    workflow: Workflow,
    orders: Sequence[Sequence[Worker]],
    weights: Mapping[str, float],
    voting: Coordinator,
    *,
    caller: Caller,
    backend_of: Callable[[Worker], Backend],
) -> tuple[Worker, Reply]:
    """A vote whose steps are taken one after another until it is decided."""
    given: dict[int, tuple[Worker, Reply]] = {}
    asked: set[str] = set()
    for index, step in enumerate(workflow.steps):
        if any(seen not in given for seen in step.access):
            continue  # what it was to work on is missing
        outputs = {seen: given[seen][1].text for seen in step.access}
        # A worker that stands in for another gives no second vote.
        fresh = [worker for worker in orders[index] if worker.name not in asked] or orders[index]
        try:
            given[index] = await run_step(
                run, workflow, index, outputs, fresh, caller=caller, backend_of=backend_of
            )
        except FuguError as error:
            if not any(n in given for n in workflow.answering):
                raise
            if isinstance(error, LimitExceeded):
                run.stopped = f"the limit of {error.kind} is reached"
                break
            continue
        if index in workflow.answering:
            asked.add(given[index][0].name)
            if _is_decided(run, workflow, given, orders, weights, voting):
                break
    answers = {n: given[n] for n in workflow.answering if n in given}
    worker, reply = answers[_leading(run, answers, weights, voting)]
    if run.stream:
        deliver(run, worker, reply)
    return worker, reply


def _is_decided(
    run: Run,
    workflow: Workflow,
    given: Mapping[int, tuple[Worker, Reply]],
    orders: Sequence[Sequence[Worker]],
    weights: Mapping[str, float],
    voting: Coordinator,
) -> bool:
    """Whether the answers that are missing can change nothing, or hardly."""
    answers = {n: given[n] for n in workflow.answering if n in given}
    names = [worker.name for worker, _ in answers.values()]
    left = [n for n in workflow.answering if n > max(given)]
    if not left:
        backers = len(names)
        run.stopped = f"all {backers} answers are there"
        return True
    comparable, standing = _stands(run, answers, [orders[n][0].name for n in left], weights, voting)
    if not comparable:
        run.stopped = "answers of this kind are not compared"
    elif standing.ask is None:
        run.stopped = f"{len(left)} more would not change the answer of {names[standing.lead or 0]}"
    return run.stopped is not None


def _leading(
    run: Run,
    answers: Mapping[int, tuple[Worker, Reply]],
    weights: Mapping[str, float],
    voting: Coordinator,
) -> int:
    comparable, standing = _stands(run, answers, [], weights, voting)
    places = list(answers)
    if comparable:
        return places[standing.lead or 0]
    return max(places, key=lambda n: weights.get(answers[n][0].name, 0.0))


def _stands(
    run: Run,
    answers: Mapping[int, tuple[Worker, Reply]],
    left: Sequence[str],
    weights: Mapping[str, float],
    voting: Coordinator,
) -> tuple[bool, Standing]:
    """Whether answers can be compared, and which leads; columns are those given, then those left."""
    texts = [reply.text if reply.finish_reason == "stop" else "" for _, reply in answers.values()]
    read = read_answers(
        routing_text(run.request), texts, wants_json=run.request.response_format is not None
    )
    names = [*(worker.name for worker, _ in answers.values()), *left]
    standing = voting.decide(
        [weights.get(name, 0.0) for name in names],
        [0.0] * len(names),
        dict(enumerate(read.keys)),
        [n >= len(answers) for n in range(len(names))],
    )
    return read.comparable, standing


def _failure(task: asyncio.Task[tuple[Worker, Reply]]) -> BaseException | None:
    return None if task.cancelled() else task.exception()


def _answer(
    run: Run,
    workflow: Workflow,
    answers: Sequence[tuple[Worker, Reply]],
    weights: Mapping[str, float],
) -> tuple[Worker, Reply]:
    if workflow.aggregate is None:
        return answers[-1]
    texts = {index: reply.text for index, (_, reply) in enumerate(answers)}
    trust = {index: weights.get(worker.name, 0.0) for index, (worker, _) in enumerate(answers)}
    worker, reply = answers[choose(workflow.aggregate, texts, trust)]
    if run.stream:
        deliver(run, worker, reply)
    return worker, reply


def tell_step(run: Run, kind: str, index: int, worker: str, subtask: str) -> None:
    """Emit ``step_started`` or ``step_finished``."""
    run.emit(
        Event(
            kind=kind,  # type: ignore[arg-type]  # one of two literals
            run_id=run.run_id,
            worker=worker,
            step=index,
            subtask=subtask,
        )
    )


def deliver(run: Run, worker: Worker, reply: Reply) -> None:
    """Pass an answer on whose author was not known to be the last one."""
    for piece in pieces_of(reply):
        run.deliver(worker.name, piece)
