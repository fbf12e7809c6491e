"""What an error of ours is to a client: a status, a word, a text and a hint when to try again. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fugu_adapters.errors import (
    FuguError,
    InputError,
    LimitExceeded,
    ResumeMismatch,
    WorkerError,
    WorkerProtocolError,
    WorkerRateLimited,
    WorkerRefused,
    WorkerTimeout,
)

__all__ = ["Problem", "problem_of", "without_addresses"]

_ADDRESS = re.compile(r"https?://[^\s/:]+(:\d+)?(: )?")
_OF_THE_REQUEST = frozenset({400, 413, 422})


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """An error for a client.

    Attributes:
        status: HTTP status.
        kind: a stable word: ``invalid_request``, ``authentication``, ``permission``, ``not_found``, ``too_large``,
            ``budget``, ``rate_limit``, ``overloaded``, ``timeout``, ``upstream`` or ``internal``.
        text: for people.
        retry_after: seconds, where waiting helps.
        partial: what there was of the answer.
        code: OpenAI's word where it has one of its own for just this.
    """

    status: int
    kind: str
    text: str
    retry_after: float | None = None
    partial: str | None = None
    code: str | None = None


def problem_of(error: BaseException) -> Problem:
    """What to tell a client of an error. Errors that are not ours are told without their text."""
    if not isinstance(error, FuguError):
        return Problem(status=500, kind="internal", text="an error in the server; its log has more")
    status, kind = _status(error)
    partial = getattr(error, "partial", None)
    return Problem(
        status=status,
        kind=kind,
        text=without_addresses(str(error)),
        retry_after=getattr(error, "retry_after", None),
        partial=partial.text if partial is not None else None,
    )


def without_addresses(text: str) -> str:
    """An error's text without the addresses of workers, which are nothing to a server's clients."""
    return _ADDRESS.sub("", text)


def _status(error: FuguError) -> tuple[int, str]:
    match error:
        case InputError() | ResumeMismatch():
            return 400, "invalid_request"
        case LimitExceeded(kind="budget"):
            return 402, "budget"
        case LimitExceeded(kind="deadline"):
            return 504, "timeout"
        case LimitExceeded(kind="concurrency"):
            return 429, "rate_limit"
        case LimitExceeded():
            return 400, "invalid_request"
        case WorkerRateLimited():
            return 429, "rate_limit"
        case WorkerTimeout():
            return 504, "timeout"
        case WorkerRefused() if error.status in _OF_THE_REQUEST:
            return (413, "too_large") if error.status == 413 else (400, "invalid_request")
        case WorkerRefused() | WorkerProtocolError():
            return 502, "upstream"
        case WorkerError():
            return 503, "overloaded"
        case _:
            return 500, "internal"
