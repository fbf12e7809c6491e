"""A circuit breaker and a retry budget per endpoint. Pure state: the time is an argument.

An endpoint is *closed* (in use), *open* (cooling down, nothing is sent) or *half-open* (exactly one
probe is under way). A cooling time only ever grows, and a cancelled call is not a failure.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

__all__ = ["Health", "HealthPolicy"]


@dataclass(frozen=True, kw_only=True, slots=True)
class HealthPolicy:
    """Thresholds of the breaker.

    Attributes:
        failures: failures in a row that open it.
        cooldown: seconds of the first cooling; doubled by each failed probe.
        max_cooldown: the longest cooling, also for an endpoint's own hint, seconds.
        retry_share: repetitions that each first call pays for (0.2 is one per five calls).
        retry_reserve: repetitions in hand at the start and at most.
    """

    failures: int = 5
    cooldown: float = 2.0
    max_cooldown: float = 120.0
    retry_share: float = 0.2
    retry_reserve: float = 10.0


@dataclass(slots=True)
class _Endpoint:
    failures: int = 0
    open_until: float = 0.0
    openings: int = 0
    probing: bool = False
    retries: float = field(default=0.0)


class Health:
    """Health of every endpoint that this process has called. Safe to share between threads."""

    def __init__(self, policy: HealthPolicy | None = None) -> None:
        self.policy = policy or HealthPolicy()
        self._endpoints: dict[str, _Endpoint] = {}
        self._lock = threading.Lock()

    def _get(self, name: str) -> _Endpoint:
        if name not in self._endpoints:
            self._endpoints[name] = _Endpoint(retries=self.policy.retry_reserve)
        return self._endpoints[name]

    def wait(self, name: str, *, now: float) -> float:
        """Seconds until the endpoint may be called again; 0 where it may be called now."""
        with self._lock:
            endpoint = self._get(name)
            if endpoint.probing:
                return max(self.policy.cooldown, endpoint.open_until - now)
            return max(0.0, endpoint.open_until - now)

    def admit(self, name: str, *, now: float) -> bool:
        """Take the right to call the endpoint now. In half-open state only one caller gets it."""
        with self._lock:
            endpoint = self._get(name)
            if endpoint.probing or endpoint.open_until > now:
                return False
            if endpoint.openings:
                endpoint.probing = True
            endpoint.retries = min(
                self.policy.retry_reserve, endpoint.retries + self.policy.retry_share
            )
            return True

    def may_retry(self, name: str) -> bool:
        """Take one repetition from the endpoint's budget, or say that none is left."""
        with self._lock:
            endpoint = self._get(name)
            if endpoint.retries < 1.0:
                return False
            endpoint.retries -= 1.0
            return True

    def success(self, name: str, *, now: float) -> None:
        """A usable reply came: the breaker closes.

        A call that was sent before the endpoint asked for quiet does not end that quiet.
        """
        with self._lock:
            endpoint = self._get(name)
            endpoint.failures = 0
            if endpoint.probing or endpoint.open_until <= now:
                endpoint.openings = 0
                endpoint.open_until = 0.0
                endpoint.probing = False

    def failure(self, name: str, *, now: float, hint: float | None = None) -> None:
        """A call failed. ``hint`` is the endpoint's own wish for quiet, in seconds."""
        with self._lock:
            endpoint = self._get(name)
            endpoint.failures += 1
            was_probe, endpoint.probing = endpoint.probing, False
            if hint is not None:
                self._open(endpoint, now + min(hint, self.policy.max_cooldown))
            elif was_probe or endpoint.failures >= self.policy.failures:
                cooling = self.policy.cooldown * 2.0 ** min(endpoint.openings, 16)
                self._open(endpoint, now + min(cooling, self.policy.max_cooldown))

    def abandon(self, name: str) -> None:
        """The call was cancelled: whoever comes next may probe."""
        with self._lock:
            self._get(name).probing = False

    @staticmethod
    def _open(endpoint: _Endpoint, until: float) -> None:
        endpoint.open_until = max(endpoint.open_until, until)
        endpoint.openings += 1
