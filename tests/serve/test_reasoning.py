"""Reasoning that a provider has sealed goes back to the worker that it came from, and to nobody else."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from served import worker

from fugu_adapters.engine.providers.native import marked, unmarked
from fugu_adapters.testing.acts import Act, chat_reply, sse_reply

THINKING = [
    {"type": "message_start", "message": {"usage": {"input_tokens": 3, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "c2VhbGVk"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "redacted_thinking", "data": "c2VjcmV0"}},
    {"type": "content_block_stop", "index": 1},
    {"type": "content_block_start", "index": 2, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 2, "delta": {"type": "text_delta", "text": 'say "signature": "no"'}},
    {"type": "content_block_stop", "index": 2},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}},
    {"type": "message_stop"},
]  # fmt: skip
BODY = {"model": "fugu", "max_tokens": 4000, "messages": [{"role": "user", "content": "hi"}]}


def sealed_in(stream: str) -> tuple[str, str]:
    """The signature and the redacted data that a client would keep."""
    events = [json.loads(line[5:]) for line in stream.splitlines() if line.startswith("data:")]
    signature = next(e["delta"]["signature"] for e in events if e.get("delta", {}).get("type") == "signature_delta")  # fmt: skip
    redacted = next(e["content_block"]["data"] for e in events if e.get("content_block", {}).get("type") == "redacted_thinking")  # fmt: skip
    return signature, redacted


async def test_thinking_returns_to_its_own_worker_only(serve: Callable[..., Any]) -> None:
    """With its mark it goes out, without it comes back; another worker of the dialect never sees it."""
    acts = [sse_reply(THINKING)]
    served = await serve({"w": acts, "v": acts}, apis={"w": "anthropic", "v": "anthropic"})
    begun = {**BODY, "stream": True, "fugu": {"exclude": ["v"]}}
    first = await served.post("/v1/messages", begun)
    signature, redacted = sealed_in(first.text)
    assert signature.startswith("fugu1.")
    assert signature.endswith(".c2VhbGVk")
    assert 'say \\"signature\\": \\"no\\"' in first.text  # what the model says is left alone
    said = [
        {"type": "thinking", "thinking": "hm", "signature": signature},
        {"type": "redacted_thinking", "data": redacted},
        {"type": "text", "text": "said"},
    ]
    history = [*BODY["messages"], {"role": "assistant", "content": said}, {"role": "user", "content": "go on"}]  # fmt: skip
    for other, kept in (("v", ["thinking", "redacted_thinking", "text"]), ("w", ["text"])):
        body = {**BODY, "messages": history, "fugu": {"exclude": [other]}, "stream": True}
        assert (await served.post("/v1/messages", body)).status_code == 200
        sent = served.upstream.requests[-1].json["messages"][1]["content"]
        assert [block["type"] for block in sent] == kept
        if kept[0] == "thinking":
            assert (sent[0]["signature"], sent[1]["data"]) == ("c2VhbGVk", "c2VjcmV0")


async def test_a_turn_of_foreign_thinking_alone_is_not_sent_empty(
    serve: Callable[..., Any],
) -> None:
    """An empty message is refused by the provider."""
    served = await serve({"w": [sse_reply(THINKING)]}, apis={"w": "anthropic"})
    foreign = {"type": "thinking", "thinking": "x", "signature": "of-somebody-else"}
    history = [*BODY["messages"], {"role": "assistant", "content": [foreign]}, {"role": "user", "content": "go"}]  # fmt: skip
    await served.post("/v1/messages", {**BODY, "messages": history, "stream": True})
    sent = served.upstream.requests[0].json["messages"]
    assert sent[1]["content"] == [{"type": "text", "text": "(thinking)"}]


async def test_the_budget_for_thinking_stays_below_the_bound(serve: Callable[..., Any]) -> None:
    """A price cap that shortens the reply must not make the request invalid."""
    served = await serve({"w": [sse_reply(THINKING)]}, apis={"w": "anthropic"})
    body = {**BODY, "max_tokens": 8000, "stream": True, "thinking": {"type": "enabled", "budget_tokens": 6000}}  # fmt: skip
    await served.post("/v1/messages", body)
    assert served.upstream.requests[-1].json["thinking"]["budget_tokens"] == 6000
    await served.post("/v1/messages", {**body, "fugu": {"limits": {"usd": 0.006}}})
    sent = served.upstream.requests[-1].json
    assert 1024 <= sent["thinking"]["budget_tokens"] < sent["max_tokens"] < 8000
    await served.post("/v1/messages", {**body, "fugu": {"limits": {"usd": 0.001}}})
    assert "thinking" not in served.upstream.requests[-1].json


async def test_encrypted_reasoning_items(serve: Callable[..., Any]) -> None:
    """The same of the Responses dialect, where items lose the ids of the host that kept nothing."""
    output = [
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "c2VhbGVk"},
        {"type": "message", "id": "m_1", "role": "assistant", "content": [{"type": "output_text", "text": "Hi", "annotations": []}]},
    ]  # fmt: skip
    whole = json.dumps({"id": "resp_1", "status": "completed", "output": output}).encode()
    act = Act(headers={"content-type": "application/json"}, pieces=(whole,))
    served = await serve({"w": [act], "v": [act]}, apis={"w": "responses", "v": "responses"})
    asked = {"model": "fugu", "input": "hi", "store": False, "include": ["reasoning.encrypted_content"]}  # fmt: skip
    first = await served.post("/v1/responses", {**asked, "fugu": {"exclude": ["v"]}})
    items = [{"role": "user", "content": "hi"}, *first.json()["output"], {"role": "user", "content": "go on"}]  # fmt: skip
    for other, kept in (("v", ["reasoning", "message"]), ("w", ["message"])):
        body = {**asked, "input": items, "fugu": {"exclude": [other]}}
        assert (await served.post("/v1/responses", body)).status_code == 200
        request = served.upstream.requests[-1].json
        assert [item["type"] for item in request["input"][1:-1]] == kept
        assert not any("id" in item for item in request["input"])
        assert request["store"] is False
        if kept[0] == "reasoning":
            assert request["input"][1]["encrypted_content"] == "c2VhbGVk"


async def test_open_reasoning_is_sent_within_a_round_of_tool_calls(
    serve: Callable[..., Any],
) -> None:
    """Some hosts want it back with the results of the calls; in other turns strict hosts refuse the field."""
    served = await serve({"w": [chat_reply("done")]})
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    tools = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
    first = [{"role": "user", "content": "add the numbers of the list"}]
    body = {"model": "fugu", "tools": tools, "messages": first}
    await served.post("/v1/chat/completions", body)
    said = {"role": "assistant", "content": None, "tool_calls": [call], "reasoning_content": "hm", "refusal": None}  # fmt: skip
    result = {"role": "tool", "tool_call_id": "c1", "content": "2"}
    await served.post("/v1/chat/completions", {**body, "messages": [*first, said, result]})
    sent = served.upstream.requests[-1].json["messages"]
    assert sent[1]["reasoning_content"] == "hm"
    later = [*first, said, result, {"role": "assistant", "content": "2", "annotations": []}, {"role": "user", "content": "thanks"}]  # fmt: skip
    await served.post("/v1/chat/completions", {**body, "messages": later})
    sent = served.upstream.requests[-1].json["messages"]
    assert "reasoning_content" not in sent[1]
    assert set(sent[3]) == {"role", "content"}


def thought(signature: str) -> bytes:
    """A whole reply with thinking, and with a call whose argument is called as a signature is."""
    call = b'{"type":"tool_use","id":"t","name":"f","input":{"signature":"mine","data":"xyz"}}'
    return (
        b'{"content":[{"type":"thinking","signature":"' + signature.encode() + b'"},' + call + b"]}"
    )


def test_marks_belong_to_a_model_at_an_endpoint() -> None:
    """Renaming a worker keeps its reasoning; pointing it at another model does not."""
    one, renamed = worker("a", "http://127.0.0.1:1/v1", model="m"), worker("b", "http://127.0.0.1:1/v1", model="m")  # fmt: skip
    other = worker("a", "http://127.0.0.1:1/v1", model="n")
    reply = thought("xyz")
    sealed = json.loads(marked(reply, reply, one, "messages"))["content"][0]["signature"]
    assert unmarked(sealed, renamed) == "xyz"
    assert unmarked(sealed, other) is None
    assert unmarked("xyz", one) is None
    assert unmarked(None, one) is None
    assert marked(thought(""), thought(""), one, "messages") == thought("")
    assert marked(reply, reply, one, "chat") == reply


def test_a_tools_argument_is_no_signature() -> None:
    """Whatever it is called, whole or as the beginning of a streamed call."""
    one = worker("a", "http://127.0.0.1:1/v1", model="m")
    reply = thought("xyz")
    call = json.loads(marked(reply, reply, one, "messages"))["content"][1]
    assert call["input"] == {"signature": "mine", "data": "xyz"}
    data = b'{"type":"content_block_start","content_block":{"type":"tool_use","input":{"signature":"mine"}}}'
    event = b"event: content_block_start\ndata: " + data + b"\n\n"
    assert marked(event, data, one, "messages") == event


async def test_an_empty_turn_stays_text(serve: Callable[..., Any]) -> None:
    """Strict hosts refuse ``null`` where there are no calls, and some refuse an empty text beside them."""
    served = await serve({"w": [chat_reply("done")]})
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    history = [
        {"role": "user", "content": "add"},
        {"role": "assistant", "content": "", "refusal": None},
        {"role": "user", "content": "go on"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "2"},
        {"role": "assistant", "content": None, "refusal": "I will not."},
        {"role": "user", "content": "why?"},
    ]
    await served.post("/v1/chat/completions", {"model": "fugu", "messages": history})
    sent = served.upstream.requests[-1].json["messages"]
    assert [sent[n]["content"] for n in (1, 3, 5)] == ["", None, "I will not."]
