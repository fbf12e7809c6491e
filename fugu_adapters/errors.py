"""Every error that the package raises.

::

    FuguError(RuntimeError)
      ConfigError              a bad file, an unknown worker, settings that conflict
        WeightsError           weights that are missing, corrupt or do not match
      InputError               the request was refused before any call
      PolicyError              a policy produced nothing usable
        PlanError              .path into the plan
      WorkerError              .worker .attempts .status .cause_kind .retry_after (seconds) .partial
        WorkerUnavailable      no connection, 5xx, or the endpoint is cooling down
        WorkerTimeout          also a TimeoutError
        WorkerRateLimited      HTTP 429 or its equivalent
        WorkerRefused          4xx or a redirect: asking again will not help
        WorkerProtocolError    a success whose body cannot be used
      LimitExceeded            .kind .limit .value .partial
      ResumeMismatch           a journal of another plan, pool or set of weights

The root is a ``RuntimeError`` because LangGraph's default retry policy retries plain ``Exception``
subclasses but not ``RuntimeError``: what leaves the engine has been retried already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from fugu_adapters.types import Result

__all__ = [
    "ConfigError",
    "FuguError",
    "InputError",
    "LimitExceeded",
    "LimitKind",
    "PlanError",
    "PolicyError",
    "ResumeMismatch",
    "WeightsError",
    "WorkerError",
    "WorkerProtocolError",
    "WorkerRateLimited",
    "WorkerRefused",
    "WorkerTimeout",
    "WorkerUnavailable",
]

LimitKind = Literal["budget", "deadline", "turns", "calls", "tokens", "concurrency"]


class FuguError(RuntimeError):
    """The root of the tree. The message says what was expected, what came, and what to do."""


class ConfigError(FuguError):
    """A configuration file, variable or argument that the operator has to change."""


class WeightsError(ConfigError):
    """Weights that are missing, unsafe, corrupt, or made for another version."""


class InputError(FuguError):
    """A request that was refused before any worker was called."""


class PolicyError(FuguError):
    """A policy that produced nothing usable."""


class PlanError(PolicyError):
    """A workflow that does not validate.

    Attributes:
        path: where in the plan, for instance ``steps[2].access``.
    """

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class WorkerError(FuguError):
    """A worker did not give a usable reply.

    The message never holds the reply's body, the prompt, a key or a URL with credentials.

    Attributes:
        worker: name of the worker.
        attempts: calls that were made to it for this request, this one included.
        status: HTTP status, or ``None`` where none was received.
        cause_kind: a short stable word for logs and tests, such as ``"connect"`` or ``"http_503"``.
        retry_after: seconds that the endpoint asked for, or ``None`` where it did not say.
        partial: the best answer so far, or ``None``.
    """

    cause_kind: str = "error"
    partial: Result | None = None

    def __init__(
        self,
        message: str,
        *,
        worker: str = "",
        attempts: int = 1,
        status: int | None = None,
        cause_kind: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.worker = worker
        self.attempts = attempts
        self.status = status
        self.retry_after = retry_after
        if cause_kind is not None:
            self.cause_kind = cause_kind


class WorkerUnavailable(WorkerError):
    """The endpoint could not be reached, answered 5xx, or is cooling down after failures."""

    cause_kind = "unavailable"


class WorkerTimeout(WorkerError, TimeoutError):
    """The worker did not answer in the time it was given."""

    cause_kind = "timeout"


class WorkerRateLimited(WorkerError):
    """The endpoint asked us to slow down (HTTP 429 or its equivalent)."""

    cause_kind = "rate_limited"


class WorkerRefused(WorkerError):
    """The endpoint refused this request (4xx, or a redirect, which is never followed)."""

    cause_kind = "refused"


class WorkerProtocolError(WorkerError):
    """The endpoint reported success but its body cannot be used."""

    cause_kind = "protocol"


class LimitExceeded(FuguError):
    """A limit of the request was reached.

    Attributes:
        kind: which limit.
        limit: its value (dollars, seconds, or a count).
        value: what was reached or would have been reached.
        partial: the best answer so far, or ``None``.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: LimitKind,
        limit: float | None = None,
        value: float | None = None,
        partial: Result | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.limit = limit
        self.value = value
        self.partial = partial


class ResumeMismatch(FuguError):
    """A journal that belongs to another plan, pool or set of weights."""
