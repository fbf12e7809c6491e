"""What happens during a run, told to whoever listens, and as OpenTelemetry spans.

Spans follow OpenTelemetry's conventions for generative AI clients and never hold prompts, answers or
keys. Without an OpenTelemetry SDK they cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

from fugu_adapters.config import Worker
from fugu_adapters.types import Event, Reply

if TYPE_CHECKING:
    from opentelemetry.trace import Span

__all__ = ["EventSink", "call_span", "record_reply"]

EventSink: TypeAlias = Callable[[Event], None]
"""Called in the run's own order. It must not block."""


@contextmanager
def call_span(worker: Worker, *, run_id: str, attempt: int) -> Iterator[Span]:
    """A client span around one call to one worker."""
    from opentelemetry import trace

    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):  # nobody listens
        yield trace.INVALID_SPAN
        return
    tracer = trace.get_tracer("fugu_adapters")
    attributes: dict[str, str | int] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": worker.provider or worker.api,
        "gen_ai.request.model": worker.model or worker.name,
        "fugu.worker": worker.name,
        "fugu.run_id": run_id,
        "fugu.attempt": attempt,
    }
    with tracer.start_as_current_span(
        f"chat {worker.model or worker.name}",
        kind=trace.SpanKind.CLIENT,
        attributes=attributes,
        record_exception=False,  # an exception's text may quote what must not be logged
        set_status_on_exception=False,
    ) as span:
        yield span


def record_reply(span: Span, reply: Reply) -> None:
    """Put a reply's token counts and finish reason on its span."""
    span.set_attribute("gen_ai.response.finish_reasons", [reply.finish_reason])
    if reply.model is not None:
        span.set_attribute("gen_ai.response.model", reply.model)
    if reply.usage.input_tokens is not None:
        span.set_attribute("gen_ai.usage.input_tokens", reply.usage.input_tokens)
    if reply.usage.output_tokens is not None:
        span.set_attribute("gen_ai.usage.output_tokens", reply.usage.output_tokens)
