"""One pool definition against a real server on loopback, over both wire formats.

The server is llama.cpp's own HTTP server, as the embedded runtime ships it, with real weights.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from fugu_adapters import Fugu, Limits, Pool, WorkerRefused
from fugu_adapters.workers.local_models import locate

KEY = "sk-loopback-only"
QUESTION = (
    "Is this review positive or negative? 'I loved every minute of it.' Answer with one word."
)

pytestmark = pytest.mark.embedded


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A running llama.cpp server's address, ending in /v1."""
    path = locate("smollm2-135m")
    if path is None:
        pytest.skip("weights are not here; `fugu pull` fetches them")
    xllamacpp = pytest.importorskip("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx = 4096
    params.n_parallel = 2
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.cache_ram_mib = 0
    params.warmup = False
    params.verbosity = -1
    params.api_keys = [KEY]
    server = xllamacpp.Server(params)
    yield f"{server.listening_address}/v1"
    del server


def pool_at(address: str, api: str, **facts: Any) -> Pool:
    worker = {
        "name": f"local-{api}",
        "api": api,
        "base_url": address,
        "model": "smollm2-135m",
        "api_key_env": "LOOPBACK_KEY",
        "context_window": 2048,
        "price": {"input": 0.0, "output": 0.0},
    }
    return Pool.from_dict({"worker": [worker | facts]})


@pytest.fixture(params=["openai", "anthropic"])
def fugu(
    request: pytest.FixtureRequest, address: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Fugu]:
    monkeypatch.setenv("LOOPBACK_KEY", KEY)
    with Fugu(pool_at(address, request.param)) as made:
        yield made


def test_it_answers_with_usage_and_reason(fugu: Fugu) -> None:
    """A real answer, the server's own token counts, a finish reason."""
    result = fugu.run(QUESTION, limits=Limits(output_tokens=16, seconds=60), temperature=0.0)
    assert "positive" in result.text.lower()
    assert not result.usage.estimated
    assert (result.usage.input_tokens or 0) > 20
    assert 0 < (result.usage.output_tokens or 0) <= 16
    assert result.cost_usd == 0.0


async def test_it_streams_the_same_text(fugu: Fugu) -> None:
    """Several pieces that join to the whole."""
    events = [
        event
        async for event in fugu.astream(
            "Count from one to five.", limits=Limits(output_tokens=24, seconds=60), temperature=0.0
        )
    ]
    pieces = [event.delta.text for event in events if event.delta is not None]
    assert len(pieces) > 3
    assert events[-1].result is not None
    assert "".join(pieces) == events[-1].result.text
    assert not events[-1].result.usage.estimated
    await fugu.aclose()


def test_the_length_bound_is_reported(fugu: Fugu) -> None:
    """A cut answer says so."""
    result = fugu.run("Tell me a long story.", limits=Limits(output_tokens=5, seconds=60))
    assert result.finish_reason == "length"


def test_structured_output_follows_the_schema(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The schema reaches the server and binds the reply."""
    monkeypatch.setenv("LOOPBACK_KEY", KEY)
    schema = {
        "type": "object",
        "properties": {"sentiment": {"enum": ["positive", "negative"]}},
        "required": ["sentiment"],
    }
    response_format = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    with Fugu(pool_at(address, "openai", json_schema=True)) as fugu:
        result = fugu.run(
            QUESTION, response_format=response_format, limits=Limits(output_tokens=40, seconds=60)
        )
    assert json.loads(result.text)["sentiment"] in ("positive", "negative")


@pytest.mark.parametrize("api", ["openai", "anthropic"])
def test_a_wrong_key_is_refused_once_and_named(
    api: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """401 from a real server: one attempt, the variable's name, never the key."""
    monkeypatch.setenv("LOOPBACK_KEY", "sk-wrong-canary")
    with Fugu(pool_at(address, api)) as fugu, pytest.raises(WorkerRefused) as caught:
        fugu.run(QUESTION)
    assert caught.value.status == 401
    assert caught.value.attempts == 1
    assert "LOOPBACK_KEY" in str(caught.value)
    assert "canary" not in str(caught.value)
