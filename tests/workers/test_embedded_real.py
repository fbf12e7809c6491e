"""Embedded workers on real weights: they skip, and say why, where the weights are not here."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request

import pytest

from fugu_adapters.config import Worker
from fugu_adapters.errors import WeightsError, WorkerRefused
from fugu_adapters.types import Request
from fugu_adapters.workers import local_models, local_runtime
from fugu_adapters.workers.embedded import EmbeddedBackend, embedded_workers

pytestmark = pytest.mark.embedded


def ask(text="hi", **fields):
    return Request(messages=({"role": "user", "content": text},), **fields)


def need(name):
    """The worker's backend, or a skip that says why."""
    pytest.importorskip("xllamacpp")
    worker = {w.name: w for w in embedded_workers(missing=True)}[name]
    if local_models.locate(worker.model) is None:
        pytest.skip(f"no weights of {worker.model}; `fugu pull {worker.model}` fetches them")
    return EmbeddedBackend(worker)


async def test_a_real_model_answers_the_same_twice():
    """At the default temperature the reply repeats, and its tokens are counted."""
    backend = need("smol-plain")
    request = ask("What is the capital of Egypt?", max_output_tokens=24)
    first, second = [await backend.call(request) for _ in range(2)]
    assert "Cairo" in first.text
    assert first.text == second.text
    assert (first.usage.input_tokens or 0) > 5
    assert 0 < (first.usage.output_tokens or 0) <= 24


async def test_a_real_calculator_beats_its_model():
    """The expression is the model's, the product is exact."""
    reply = await need("smol-calculator").call(ask("What is 47 times 23?"))
    assert reply.text == "1081"


async def test_real_programs_spell_backwards():
    """The 0.5B model writes a program for what it cannot do itself."""
    reply = await need("qwen-0.5b-python").call(ask("Spell the word 'harbour' backwards."))
    assert reply.text == "ruobrah"
    assert "[::-1]" in reply.steps[0]


async def test_a_real_model_keeps_a_schema():
    """A JSON schema holds even the smallest model."""
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    form = {"type": "json_schema", "json_schema": {"name": "age", "schema": schema}}
    request = ask("Ida is 31 years old. Her age as JSON.", response_format=form)
    reply = await need("smol-plain").call(request)
    assert isinstance(json.loads(reply.text)["age"], int)


async def test_a_prompt_beyond_the_context_is_refused():
    """The error gives both numbers, and the model still works afterwards."""
    backend = need("smol-plain")
    with pytest.raises(WorkerRefused, match=r"the prompt has \d+ tokens.*4096") as caught:
        await backend.call(ask("word " * 6_000))
    assert caught.value.cause_kind == "context"
    assert (await backend.call(ask(max_output_tokens=2))).usage.output_tokens


async def test_cancelling_a_real_call_ends_it_during_the_prompt():
    """Reading a long prompt stops within a batch or two, and the slot is free again."""
    backend = need("smol-plain")
    await backend.call(ask(max_output_tokens=1))  # loaded
    task = asyncio.create_task(backend.call(ask("a long story " * 900)))
    await asyncio.sleep(0.3)
    began = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < 8  # the whole prompt takes half a minute
    assert (await backend.call(ask(max_output_tokens=1))).usage.output_tokens == 1


async def test_calls_run_side_by_side():
    """More calls than slots all come back, each with its own answer."""
    backend = need("smol-plain")
    cities = {"France": "Paris", "Egypt": "Cairo", "Japan": "Tokyo", "Cuba": "Havana"}
    asks = [ask(f"What is the capital of {land}?", max_output_tokens=16) for land in cities]
    replies = await asyncio.gather(*(backend.call(request) for request in asks))
    found = [city in reply.text for city, reply in zip(cities.values(), replies, strict=True)]
    assert sum(found) >= 3


async def test_the_runtimes_own_port_is_locked():
    """It opens one on the loopback interface; nobody has its key."""
    backend = need("smol-plain")
    await backend.call(ask(max_output_tokens=1))
    runtime = await local_runtime.get_runtime(local_models.locate("smollm2-135m"))
    address = runtime._server.listening_address
    assert address.startswith("http://127.0.0.1:")

    def status():
        body = json.dumps({"messages": [{"role": "user", "content": "hi"}]}).encode()
        request = urllib.request.Request(f"{address}/v1/chat/completions", data=body)  # noqa: S310 - loopback
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=5)  # noqa: S310 - loopback
        with caught.value as error:
            return error.code

    assert await asyncio.to_thread(status) == 401


async def test_a_file_that_is_no_model_is_an_error(tmp_path):
    """Garbage gives a clear error, not a crash."""
    pytest.importorskip("xllamacpp")
    (tmp_path / "bad.gguf").write_bytes(b"not a model")
    own = Worker(name="w", api="embedded", model="mine", path=tmp_path / "bad.gguf")
    with pytest.raises(WeightsError, match="not a model"):
        await EmbeddedBackend(own).call(ask())
