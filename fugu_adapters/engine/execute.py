"""Carrying out a decision: the chosen worker first, then the next best, within one deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from fugu_adapters.config import Worker
from fugu_adapters.engine.backend import Backend
from fugu_adapters.engine.retry import action_for
from fugu_adapters.engine.run import Run
from fugu_adapters.engine.worker import Caller
from fugu_adapters.errors import LimitExceeded, WorkerError, WorkerUnavailable
from fugu_adapters.types import Reply

__all__ = ["answer"]


async def answer(
    run: Run,
    order: Sequence[Worker],
    *,
    caller: Caller,
    backend_of: Callable[[Worker], Backend],
) -> tuple[Worker, Reply]:
    """Ask the workers in order until one gives a usable reply.

    Args:
        run: the run, whose deadline bounds everything that happens here.
        order: workers that may be asked, best first; at least one.
        caller: makes the calls.
        backend_of: gives a worker's backend, building it on first use.

    Returns:
        Who answered, and the reply.

    Raises:
        WorkerError: nobody could answer; the message names each worker and its reason.
        LimitExceeded: a cap of the run was reached.
    """
    try:
        async with asyncio.timeout(max(0.0, run.remaining)):  # a step has what is left
            return await _ask_in_order(run, order, caller, backend_of)
    except TimeoutError as error:
        if isinstance(error, WorkerError):
            raise
        raise LimitExceeded(
            f"no answer within the deadline of {run.limits.seconds:g} s; "
            "raise Limits(seconds=...) or lower the effort",
            kind="deadline",
            limit=run.limits.seconds,
            value=run.elapsed,
        ) from None


async def _ask_in_order(
    run: Run,
    order: Sequence[Worker],
    caller: Caller,
    backend_of: Callable[[Worker], Backend],
) -> tuple[Worker, Reply]:
    errors: list[WorkerError] = []
    unaffordable: LimitExceeded | None = None
    for position, worker in enumerate(order, start=1):
        try:
            reply = await caller.call(worker, backend_of(worker), run, last=position == len(order))
            return worker, reply
        except WorkerError as error:
            errors.append(error)
            if run.delivered or action_for(error) == "stop":
                raise
        except LimitExceeded as error:
            if error.kind != "budget":
                raise
            unaffordable = unaffordable or error  # a cheaper worker may still fit
    if unaffordable is not None and not errors:
        raise unaffordable
    raise _summary(errors)


def _summary(errors: Sequence[WorkerError]) -> WorkerError:
    """One error for all: itself where there is one, else each worker with its reason."""
    if len(errors) == 1:
        return errors[0]
    kinds = {type(error) for error in errors}
    kind = kinds.pop() if len(kinds) == 1 else WorkerUnavailable
    reasons = "; ".join(f"{error.worker}: {error}" for error in errors)
    summary = kind(
        f"none of {len(errors)} workers answered: {reasons}",
        worker=errors[0].worker,
        attempts=sum(error.attempts for error in errors),
        status=errors[0].status if len({error.status for error in errors}) == 1 else None,
        cause_kind=errors[0].cause_kind,
    )
    hints = [error.retry_after for error in errors if error.retry_after is not None]
    summary.retry_after = min(hints, default=None)
    return summary
