"""A router for CrewAI's Flows that chooses by what each route is for, without asking a model."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Unpack

from crewai.flow.flow import router

from fugu_adapters import Decision, Fugu, InputError
from fugu_adapters.fugu import RunOptions
from fugu_adapters.hosts import Team, team_pool
from fugu_adapters.types import Message

__all__ = ["fugu_router"]


def fugu_router(
    condition: Any,
    routes: Team,
    *,
    on_decision: Callable[[Decision], None] | None = None,
    **options: Unpack[RunOptions],
) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a Flow's method that returns what is to be done; the Flow goes on with the route for it.

    ::

        class Desk(Flow[State]):
            @start()
            def receive(self): ...

            @fugu_router(receive, {"billing": "Handles invoices and refunds.", "repair": "Fixes ..."})
            def choose(self):
                return self.state.question

            @listen("billing")
            def bill(self): ...

    Takes the place of ``@router``, for methods that are ``def`` or ``async def``. No model is called.

    Args:
        condition: what it comes after, as for ``@router``.
        routes: names with what each is for, or with a worker's fields; or workers, or a pool.
        on_decision: told of every decision, with its reason and candidates.
        **options: for every decision: ``effort``, ``exclude``, ``quality``, ``max_cost``.

    Raises:
        ConfigError: where a route is wrong.
    """
    fugu = Fugu(team_pool(routes), store=False)
    names = [worker.name for worker in fugu.pool]

    def choose(asked: Any) -> str:
        if not isinstance(asked, str | Sequence):
            raise InputError(
                "fugu_router: the method has to return the text or the messages to choose by, "
                f"got {type(asked).__name__}"
            )
        messages: str | Sequence[Message] = asked
        decision = fugu.route(messages, **options)
        if on_decision is not None:
            on_decision(decision)
        return decision.worker

    def decorate(method: Callable[..., Any]) -> Any:
        @wraps(method)
        def chosen(*given: Any, **named: Any) -> str:
            return choose(method(*given, **named))

        @wraps(method)
        async def achosen(*given: Any, **named: Any) -> str:
            return choose(await method(*given, **named))

        wrapped = achosen if inspect.iscoroutinefunction(method) else chosen
        return router(condition, emit=names)(wrapped)

    return decorate
