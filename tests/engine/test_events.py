"""OpenTelemetry spans of calls."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from fugu_adapters import Fugu, Pool, WorkerUnavailable
from fugu_adapters.testing import ScriptedWorker
from fugu_adapters.types import Reply, Usage

SECRET = "the-prompt-is-private"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    yield exporter
    provider.shutdown()


def test_each_call_is_a_client_span_without_texts(spans: InMemorySpanExporter) -> None:
    """GenAI attributes, token counts and the error's kind; neither prompt, answer nor message."""
    reply = Reply(text=SECRET, usage=Usage(input_tokens=7, output_tokens=3), model="m-2026")
    a = ScriptedWorker("a", WorkerUnavailable(SECRET, cause_kind="http_503"), reply, provider="x")
    with Fugu(Pool([a.worker]), store=False) as fugu:
        run = fugu.run(SECRET)
    failed, answered = spans.get_finished_spans()
    assert failed.attributes is not None
    assert answered.attributes is not None
    assert failed.attributes["error.type"] == "http_503"
    assert failed.attributes["fugu.attempt"] == 1
    assert answered.name == "chat a"
    assert answered.kind is trace.SpanKind.CLIENT
    assert answered.attributes["gen_ai.operation.name"] == "chat"
    assert answered.attributes["gen_ai.provider.name"] == "x"
    assert answered.attributes["gen_ai.usage.input_tokens"] == 7
    assert answered.attributes["gen_ai.usage.output_tokens"] == 3
    assert answered.attributes["gen_ai.response.model"] == "m-2026"
    assert answered.attributes["fugu.run_id"] == run.run_id
    assert all(SECRET not in span.to_json() for span in (failed, answered))
