"""The client's own model as a worker, where the client offers it."""

from __future__ import annotations

from typing import Any

import pytest

from fugu_adapters import Worker
from fugu_adapters.testing import ScriptedWorker

HOST = Worker(name="the-host", api="host", description="The client's own model.")


async def test_the_clients_model_answers_without_a_key(serving: Any) -> None:
    """A ``host`` worker is asked by sampling, in both eras, and its answer is the run's."""
    asked: list[dict[str, Any]] = []

    def answer(params: dict[str, Any]) -> str:
        asked.append(params)
        return "the client's model says hello"

    async with serving(HOST, sampling=answer) as client:
        got = await client.call("orchestrate", task="Say hello.", context="Be brief.")
        pool = await client.read("fugu://pool")
    assert got.body["text"] == "the client's model says hello"
    assert got.body["worker"] == "the-host"
    assert asked[0]["messages"][0]["content"]["text"] == "Be brief.\n\nSay hello."
    assert asked[0]["maxTokens"] > 0
    assert pool["workers"][0]["api"] == "host"
    assert "not_ready" not in pool["workers"][0]


async def test_without_sampling_it_is_left_out(serving: Any) -> None:
    """A client that offers no model gets the answer of another worker."""
    other = ScriptedWorker("other", "mine", description="Anything else.")
    async with serving(HOST, other) as client:
        got = await client.call("orchestrate", task="Say hello.")
        route = await client.call("route", task="Say hello.")
    assert got.body["worker"] == route.body["worker"] == "other"
    excluded = {c["worker"]: c.get("excluded_because") for c in route.body["candidates"]}
    assert excluded["the-host"]


async def test_alone_and_without_sampling_nobody_can_be_asked(serving: Any) -> None:
    """The error says that no worker is left."""
    async with serving(HOST) as client:
        got = await client.call("orchestrate", task="Say hello.")
    assert got.failed
    assert "the-host" in got.text


async def test_a_user_who_declines_makes_the_next_worker_answer(serving: Any, era: str) -> None:
    """A refusal is that worker's failure, not the run's. Since 2026-07-28 the client ends the call itself."""
    host = HOST.model_copy(update={"profile": "o3-mini@medium"})  # known to be good: asked first
    other = ScriptedWorker("other", "then I do", profile="unheard-of")
    async with serving(host, other, sampling=lambda params: "declined") as client:
        if era != "handshake":
            with pytest.raises(Exception, match="the user said no"):
                await client.call("orchestrate", task="What is 17 times 23?", effort="xhigh")
            return
        got = await client.call("orchestrate", task="What is 17 times 23?", effort="xhigh")
    assert "the user said no" in got.body["route"][0]
    assert got.body["text"] == "then I do"


async def test_what_is_not_text_is_the_workers_failure() -> None:
    """An image from the client's model is no answer."""
    from fugu_adapters import Fugu, Pool, WorkerProtocolError
    from mcp_server.sampling import asking_host, with_host_model

    async def picture(params: dict[str, Any]) -> dict[str, Any]:
        assert params["systemPrompt"] == "Be brief."
        assert params["stopSequences"] == ["END"]
        return {
            "role": "assistant",
            "content": {"type": "image", "data": "", "mimeType": "image/png"},
        }

    asking_host.set(picture)
    fugu = Fugu(with_host_model(Pool([HOST])), store=False)
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello."}]
    with pytest.raises(WorkerProtocolError, match="gave no text"):
        await fugu.arun(messages, stop=["END"])
    await fugu.aclose()


async def test_outside_of_a_clients_call_it_cannot_be_asked() -> None:
    """There is nobody to ask then, which the error says."""
    from fugu_adapters import Fugu, Pool, WorkerRefused
    from mcp_server.sampling import with_host_model

    fugu = Fugu(with_host_model(Pool([HOST])), store=False)
    with pytest.raises(WorkerRefused, match="during a client's call"):
        await fugu.arun("Hello.")
    await fugu.aclose()
