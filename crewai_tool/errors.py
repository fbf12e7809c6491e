"""What keeps CrewAI from asking again after errors that we have retried already."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from crewai.hooks import HookAborted

from fugu_adapters import FuguError

__all__ = ["as_final", "not_again"]

F = TypeVar("F", bound=Callable[..., Any])


def not_again(method: F) -> F:
    """Keep CrewAI from asking again after rate limits (3 times, 1 to 8 s apart).

    It wraps ``call`` and ``acall`` of every subclass that are not marked as wrapped already.
    """
    vars(method)["_crewai_rate_limit_wrapped"] = True
    return method


def as_final(error: FuguError) -> FuguError:
    """The same error, of its own class and also a ``HookAborted``.

    CrewAI asks again after any other exception: the agent twice (``max_retry_limit``), conversions to a
    model three times. What leaves the engine has been retried already. ``HookAborted`` is its public word
    for a stop that is meant, which goes through executor, agent and crew as it is.
    """
    if not isinstance(error, HookAborted):
        error.__class__ = _final_class(type(error))
        told: Any = error
        told.reason, told.source = str(error), "fugu"
    return error


def _final_class(kind: type[FuguError]) -> type[FuguError]:
    return type(kind.__name__, (kind, HookAborted), {"__module__": kind.__module__})
