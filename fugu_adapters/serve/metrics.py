"""What the server counts, in Prometheus' format. Only names from the configuration become labels."""

from __future__ import annotations

from functools import cache
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from fugu_adapters.types import Attempt

__all__ = ["Metrics"]

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """Counters of one server; see ``docs/serve.md`` for their names."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        made: dict[str, Any] = {"registry": self._registry}
        self._requests = Counter(
            "fugu_requests", "Requests.", ["dialect", "model", "status"], **made
        )
        self._seconds = Histogram("fugu_request_seconds", "Time to the end of a reply.", ["dialect", "model"], buckets=_SECONDS, **made)  # fmt: skip
        self._first = Histogram("fugu_first_byte_seconds", "Time to a streamed reply's first byte.", ["dialect", "model"], buckets=_SECONDS, **made)  # fmt: skip
        self._calls = Counter("fugu_worker_calls", "Calls of workers.", ["worker", "ok"], **made)
        self._tokens = Counter("fugu_worker_tokens", "Tokens of workers.", ["worker", "kind"], **made)  # fmt: skip
        self._dollars = Counter("fugu_worker_cost_dollars", "What workers cost.", ["worker"], **made)  # fmt: skip
        self.under_way = Gauge("fugu_requests_under_way", "Requests under way.", **made)
        # Finding a counter by its labels takes longer than counting; there are only a few.
        self._requests_of, self._calls_of = cache(self._requests.labels), cache(self._calls.labels)
        self._seconds_of, self._first_of = cache(self._seconds.labels), cache(self._first.labels)
        self._tokens_of, self._dollars_of = cache(self._tokens.labels), cache(self._dollars.labels)

    def call(self, attempt: Attempt) -> None:
        """Count a call."""
        self._calls_of(attempt.worker, "yes" if attempt.ok else "no").inc()
        usage = attempt.usage
        if usage is not None:
            kinds = {
                "input": usage.input_tokens,
                "cached_input": usage.cached_input_tokens,
                "output": usage.output_tokens,
            }
            for kind, count in kinds.items():
                if count:
                    self._tokens_of(attempt.worker, kind).inc(count)
        if attempt.cost_usd:
            self._dollars_of(attempt.worker).inc(attempt.cost_usd)

    def request(
        self, dialect: str, model: str, status: int, seconds: float, first: float | None
    ) -> None:
        """Count a request that has ended; 499 is one whose client went away."""
        self._requests_of(dialect, model, str(status)).inc()
        self._seconds_of(dialect, model).observe(seconds)
        if first is not None:
            self._first_of(dialect, model).observe(first)

    def page(self) -> bytes:
        """All of them, as text."""
        return bytes(generate_latest(self._registry))
