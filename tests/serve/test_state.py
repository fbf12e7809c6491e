"""Going on from an earlier response, and agent loops that stay with their worker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fugu_adapters.serve.app import Settings
from fugu_adapters.serve.state import Conversations
from fugu_adapters.store import Store
from fugu_adapters.testing.acts import chat_reply, chat_stream


async def test_a_response_is_gone_on_from_by_its_id(serve: Callable[..., Any]) -> None:
    """The worker sees the whole conversation; instructions are each request's own."""
    served = await serve({"w": [chat_reply("one"), chat_reply("two"), chat_stream("th", "ree")]})
    first = (await served.post("/v1/responses", {"model": "fugu", "input": "a", "instructions": "brief"})).json()  # fmt: skip
    second = (await served.post("/v1/responses", {"model": "fugu", "input": "b", "previous_response_id": first["id"]})).json()  # fmt: skip
    assert second["previous_response_id"] == first["id"]
    body = {"model": "fugu", "input": [{"role": "user", "content": "c"}], "previous_response_id": second["id"], "stream": True}  # fmt: skip
    await served.post("/v1/responses", body)
    sent = served.upstream.requests[-1].json["messages"]
    assert [(m["role"], _text(m)) for m in sent] == [
        ("user", "a"), ("assistant", "one"), ("user", "b"), ("assistant", "two"), ("user", "c"),
    ]  # fmt: skip
    kept = served.store.response(second["id"], "")
    assert len(kept["items"]) == 2  # its own: a long conversation is not kept again with every turn


def _text(message: dict[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else content[0]["text"]


async def test_a_streamed_response_is_known_before_its_end_is_sent(
    serve: Callable[..., Any],
) -> None:
    """A client that goes on at once finds it; it can be fetched and deleted."""
    served = await serve({"w": [chat_stream("on", "e")]})
    reply = await served.post("/v1/responses", {"model": "fugu", "input": "a", "stream": True})
    assert "event: response.completed" in reply.text
    name = reply.text.split('"id": "resp_')[1].split('"')[0]
    found = await served.http.get(f"/v1/responses/resp_{name}")
    assert found.json()["output"][0]["content"][0]["text"] == "one"
    assert (await served.http.delete(f"/v1/responses/resp_{name}")).json()["deleted"] is True
    assert (await served.http.get(f"/v1/responses/resp_{name}")).status_code == 404


async def test_without_a_store_of_texts_they_are_in_memory(tmp_path: Path) -> None:
    """A bounded number of them, the oldest forgotten first."""
    conversations = Conversations(Store(str(tmp_path / "k.db"), keep_text=False))
    for number in range(1_100):
        keep = conversations.keeper({"input": f"q{number}"}, "me")
        assert keep is not None
        await keep(b'{"id": "resp_%d", "output": []}' % number)
    assert await conversations.get("resp_1", "me") is None
    body = {"input": "next", "previous_response_id": "resp_1099"}
    whole = await conversations.continued(body, "me")
    assert [item["content"] for item in whole["input"]] == ["q1099", "next"]
    assert await conversations.get("resp_1099", "you") is None
    assert await conversations.forget("resp_1099", "me")
    assert not await conversations.forget("resp_1099", "me")
    assert not (tmp_path / "k.db").exists()


async def test_what_is_not_to_be_stored_is_not(serve: Callable[..., Any]) -> None:
    """``store: false`` leaves nothing to go on from, and says so."""
    served = await serve({"w": [chat_reply("one")]})
    first = (await served.post("/v1/responses", {"model": "fugu", "input": "a", "store": False})).json()  # fmt: skip
    again = await served.post("/v1/responses", {"model": "fugu", "input": "b", "previous_response_id": first["id"]})  # fmt: skip
    assert again.status_code == 400
    assert "previous_response_id" in again.json()["error"]["message"]


async def test_a_response_belongs_to_its_key(serve: Callable[..., Any]) -> None:
    """Another key's holder cannot go on from it, read it or delete it."""
    from datetime import UTC, datetime

    from fugu_adapters.serve.access import digest_of
    from fugu_adapters.store import KeyRecord

    served = await serve({"w": [chat_reply("one")]}, settings=Settings(keys=True))
    for name in ("a", "b"):
        served.store.add_key(KeyRecord(name=name, digest=digest_of(name), created_at=datetime.now(UTC)))  # fmt: skip
    ours, theirs = {"authorization": "Bearer a"}, {"authorization": "Bearer b"}
    first = (await served.post("/v1/responses", {"model": "fugu", "input": "a"}, **ours)).json()
    body = {"model": "fugu", "input": "b", "previous_response_id": first["id"]}
    assert (await served.post("/v1/responses", body, **theirs)).status_code == 400
    assert (await served.post("/v1/responses", body, **ours)).status_code == 200
    path = f"/v1/responses/{first['id']}"
    assert (await served.http.get(path, headers=theirs)).status_code == 404
    assert (await served.http.delete(path, headers=theirs)).status_code == 404
    assert (await served.http.get(path, headers=ours)).status_code == 200


async def test_an_agent_loop_stays_with_its_worker(serve: Callable[..., Any]) -> None:
    """The results of tool calls go to whom made them, in every dialect, without a session's id."""
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    acts = [chat_reply(None, tool_calls=[call]), chat_reply("done")]
    served = await serve({"w": acts, "v": acts})
    tool = {"name": "add", "input_schema": {"type": "object"}}
    body = {"model": "fugu", "max_tokens": 50, "tools": [tool], "messages": [{"role": "user", "content": "add 1 and 1"}]}  # fmt: skip
    first = await served.post("/v1/messages", body)
    chosen = first.headers["x-fugu-worker"]
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "2"}]}  # fmt: skip
    history = [*body["messages"], {"role": "assistant", "content": first.json()["content"]}, result]
    second = await served.post("/v1/messages", {**body, "messages": history})
    assert second.headers["x-fugu-worker"] == chosen
    assert served.store.last().decision.continuity == "tool-turn"
