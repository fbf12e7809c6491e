"""When to ask again, and after how long. Pure: the clock and the random generator are arguments.

This is the only place in the package that knows about retries. Providers never retry, and what leaves
the engine derives from ``RuntimeError`` so that a host framework does not retry it once more.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal, TypeAlias

from fugu_adapters.errors import (
    WorkerError,
    WorkerProtocolError,
    WorkerRateLimited,
    WorkerRefused,
    WorkerTimeout,
    WorkerUnavailable,
)

__all__ = ["UNREACHABLE", "Action", "RetryPolicy", "action_for", "delay_before"]

Action: TypeAlias = Literal["retry", "next", "stop"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryPolicy:
    """How often and how patiently one worker is asked again.

    Attributes:
        attempts: calls to one worker for one request, the first included.
        first: seconds before the second call.
        cap: the longest wait that we choose ourselves.
        patience: the longest wait for a worker while another one could be asked instead, seconds.
        max_wait: the longest wait that an endpoint may ask for where nobody else is left, seconds.
        min_attempt: no call is started with less time than this left, seconds.
    """

    attempts: int = 3
    first: float = 0.25
    cap: float = 8.0
    patience: float = 2.0
    max_wait: float = 30.0
    min_attempt: float = 0.05


_ACTIONS: tuple[tuple[type[WorkerError], Action], ...] = (
    (WorkerRateLimited, "retry"),
    (WorkerUnavailable, "retry"),
    (WorkerTimeout, "next"),  # it has used up its share of the time
    (WorkerProtocolError, "next"),
    (WorkerRefused, "next"),
    (WorkerError, "next"),
)

UNREACHABLE = frozenset({"dns", "connect_refused", "connect_timeout", "tls"})
"""Causes of failure that a second try a moment later hardly mends: others are asked first."""

_BAD_REQUEST = frozenset({400, 422})


def action_for(error: WorkerError) -> Action:
    """What to do after ``error``: ask the same worker again, ask the next one, or give up.

    A 400 or 422 says that the request itself is wrong, and sending it to every worker of the pool
    would only repeat the mistake at other people's cost.
    """
    if isinstance(error, WorkerRefused) and error.status in _BAD_REQUEST:
        return "stop"
    return next(action for kind, action in _ACTIONS if isinstance(error, kind))


def delay_before(
    attempt: int, *, hint: float | None, policy: RetryPolicy, rng: random.Random
) -> float:
    """Seconds to wait before call number ``attempt`` (2 is the first repetition).

    Exponential with jitter that stays at the cap, and never less than the endpoint's own hint.
    """
    base = min(policy.cap, policy.first * 2.0 ** (attempt - 2))
    waited = rng.uniform(base / 2, base)
    return waited if hint is None else hint + rng.uniform(0, base / 4)
