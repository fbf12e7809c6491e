"""What a worker of the client's own dialect sends reaches the client byte for byte; ours is added, nothing changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from fugu_adapters.testing.acts import Act, sse_reply

TOOLS = [{"name": name, "description": "", "parameters": {"type": "object"}} for name in ("add", "read")]  # fmt: skip

# Streams as the providers send them, with all that a relay might be tempted to tidy: odd spaces, CRLF, comments,
# fields of tomorrow, characters cut in two, several tool calls at once, events that say nothing.
CHAT = [
    b": OPENROUTER PROCESSING\n\n",
    b'data: {"id":"c-1","object":"chat.completion.chunk","created":1,"model":"gpt","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"x":1}\n\n',
    b'data:  {"id":"c-1", "choices" : [ {"index":0,"delta":{"reasoning_content":"hm"},"finish_reason":null} ] }\n\n',
    'data: {"id":"c-1","choices":[{"index":0,"delta":{"content":"Grüße \U0001f421 \\u00e9"},"finish_reason":null}]}\r\n\r\n'.encode(),
    b'event: chunk\nid: 7\ndata: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_a","type":"function","function":{"name":"add","arguments":""}}]}}]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"call_b","type":"function","function":{"name":"read","arguments":"{\\"p\\""}}]}}]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\\"a\\": 1.0}"}}]}}]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"function":{"arguments":": \\"\\u00fc\\"}"}}]}}]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls","native_finish_reason":"tool_use"}]}\n\n',
    b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":8,"total_tokens":17,"cost":0.25}}\n\n',
    b"data: [DONE]\n\n",
]
MESSAGES = [
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","content":[],"model":"claude","usage":{"input_tokens":3,"cache_read_input_tokens":2,"output_tokens":1}}}\n\n',
    b'event: ping\ndata: {"type": "ping"}\n\n',
    b'event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}  }\n\n',
    'event: content_block_delta\r\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Grüße \U0001f421"}}\r\n\r\n'.encode(),
    b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n',
    b'event: content_block_start\ndata: {"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"toolu_1","name":"add","input":{}}}\n\n',
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\\"signature\\": \\"x\\"}"}}\n\n',
    b'event: content_block_stop\ndata: {"type":"content_block_stop","index":1}\n\n',
    b'event: tomorrow\ndata: {"type":"tomorrow","what":[1,2.50,null]}\n\n',
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":11}}\n\n',
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
]
_RESPONSE = b'{"id":"resp_1","object":"response","status":"completed","model":"gpt","output":[{"type":"message","id":"m1","role":"assistant","status":"completed","content":[{"type":"output_text","text":"Hi","annotations":[]}]},{"type":"function_call","id":"fc1","call_id":"call_a","name":"add","arguments":"{}","status":"completed"},{"type":"custom_tool_call","id":"ct1","call_id":"call_b","name":"read","input":"x\\ny","status":"completed"}],"usage":{"input_tokens":4,"output_tokens":5,"total_tokens":9}}'
RESPONSES = [
    b'event: response.created\ndata: {"type":"response.created","sequence_number":0,"response":{"id":"resp_1","status":"in_progress","output":[]}}\n\n',
    b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","sequence_number":1,"item_id":"m1","output_index":0,"content_index":0,"delta":"Hi","obfuscation":"zzz"}\n\n',
    b'event: response.output_item.added\ndata: {"type":"response.output_item.added","output_index":1,"item":{"type":"function_call","id":"fc1","call_id":"call_a","name":"add","arguments":""}}\n\n',
    b'event: response.function_call_arguments.delta\ndata: {"type":"response.function_call_arguments.delta","item_id":"fc1","output_index":1,"delta":"{}"}\n\n',
    b'event: response.custom_tool_call_input.delta\ndata: {"type":"response.custom_tool_call_input.delta","item_id":"ct1","output_index":2,"delta":"x\\ny"}\n\n',
    b'event: response.completed\ndata: {"type":"response.completed","sequence_number":9,"response":'
    + _RESPONSE
    + b"}\n\n",
]
_CHAT_BODY = {
    "model": "fugu",
    "messages": [{"role": "user", "content": "add"}],
    "tools": [{"type": "function", "function": tool} for tool in TOOLS],
}
_MESSAGES_BODY = {
    "model": "fugu",
    "max_tokens": 500,
    "messages": [{"role": "user", "content": "add"}],
    "tools": [{"name": tool["name"], "input_schema": tool["parameters"]} for tool in TOOLS],
}
_RESPONSES_BODY = {
    "model": "fugu",
    "input": "add",
    "tools": [{"type": "function", **tool} for tool in TOOLS],
}
CASES = [
    pytest.param("openai", "/v1/chat/completions", _CHAT_BODY, CHAT, id="chat"),
    pytest.param("anthropic", "/v1/messages", _MESSAGES_BODY, MESSAGES, id="messages"),
    pytest.param("responses", "/v1/responses", _RESPONSES_BODY, RESPONSES, id="responses"),
]


def ours_taken_out(stream: bytes) -> bytes:
    """A stream without the events and comments that we put in."""
    marks = (b": fugu ", b'"fugu":', b"event: fugu.run")
    kept = [event for event in _events(stream) if not any(mark in event for mark in marks)]
    return b"".join(kept)


def _events(stream: bytes) -> list[bytes]:
    events, event = [], b""
    for line in stream.splitlines(keepends=True):
        event += line
        if not line.strip():
            events.append(event)
            event = b""
    return [*events, event]


@pytest.mark.parametrize(("api", "path", "body", "corpus"), CASES)
@pytest.mark.parametrize("size", [1, 7, 64, 100_000])
async def test_a_stream_is_passed_on_byte_for_byte(
    serve: Callable[..., Any],
    api: str,
    path: str,
    body: dict[str, Any],
    corpus: list[bytes],
    size: int,
) -> None:
    """However the worker's bytes are cut, all of them arrive, in order, unchanged."""
    whole = b"".join(corpus)
    pieces = tuple(whole[at : at + size] for at in range(0, len(whole), size))
    act = Act(headers={"content-type": "text/event-stream"}, pieces=pieces, framing="chunked")
    served = await serve({"w": [act]}, apis={"w": api})
    asked = {**body, "stream": True}
    if api == "openai":
        asked["stream_options"] = {"include_usage": True}
    reply = await served.post(path, asked)
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert ours_taken_out(reply.content) == whole
    assert reply.content != whole  # what we have to say is there too
    run = served.store.last()
    assert run.status == "ok"
    assert [call.name for call in run.tool_calls] == ["add", "read"] if api != "anthropic" else ["add"]  # fmt: skip


async def test_a_client_that_did_not_ask_for_usage_gets_no_chunk_without_choices(
    serve: Callable[..., Any],
) -> None:
    """Simple clients take the first choice of every chunk; ours is a comment then."""
    served = await serve({"w": [sse_reply(CHAT)]})
    reply = await served.post("/v1/chat/completions", {**_CHAT_BODY, "stream": True})
    chunks = [
        json.loads(line[5:]) for line in reply.text.splitlines() if line.startswith("data: {")
    ]
    assert all(chunk["choices"] for chunk in chunks)
    assert reply.content.endswith(b"data: [DONE]\n\n")
    said = next(line for line in reply.text.splitlines() if line.startswith(": fugu "))
    assert json.loads(said[7:])["cost_usd"] == 0.25  # the endpoint's own figure
    assert served.upstream.requests[0].json["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize(
    ("api", "path", "body", "whole"),
    [
        (
            "openai",
            "/v1/chat/completions",
            _CHAT_BODY,
            b'{"id":"c","choices":[ {"index":0,"message":{"role":"assistant","content":"Hi","tool_calls":[{"id":"a","type":"function","function":{"name":"add","arguments":"{\\"a\\":1.0}"}}],"annotations":[]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3,"new":{}}}',
        ),
        (
            "anthropic",
            "/v1/messages",
            _MESSAGES_BODY,
            b'{"id":"m","type":"message","role":"assistant","content":[{"type":"text","text":"Hi","citations":null},{"type":"tool_use","id":"t","name":"add","input":{"a":1.0}}],"stop_reason":"tool_use","usage":{"input_tokens":1,"output_tokens":2,"service_tier":"x"}}',
        ),
        ("responses", "/v1/responses", _RESPONSES_BODY, _RESPONSE),
    ],
)
async def test_a_whole_reply_is_passed_on_byte_for_byte(
    serve: Callable[..., Any], api: str, path: str, body: dict[str, Any], whole: bytes
) -> None:
    """Our field is put before the last brace, and no other byte is touched."""
    act = Act(headers={"content-type": "application/json"}, pieces=(whole,))
    served = await serve({"w": [act]}, apis={"w": api})
    reply = await served.post(path, body)
    assert reply.content.startswith(whole[:-1] + b',"fugu":{"run_id":')
    ours = json.loads(reply.content)
    assert ours.pop("fugu")["worker"] == "w"
    assert ours == json.loads(whole)
    assert reply.headers["x-fugu-worker"] == "w"
    assert float(reply.headers["x-fugu-cost-usd"]) > 0


@pytest.mark.parametrize(("api", "path", "body", "corpus"), CASES)
async def test_a_request_is_passed_on_with_all_that_we_do_not_know(
    serve: Callable[..., Any], api: str, path: str, body: dict[str, Any], corpus: list[bytes]
) -> None:
    """Model and bound are the worker's; settings of tomorrow reach it, our own field does not."""
    served = await serve({"w": [sse_reply(corpus)]}, apis={"w": api})
    extra = {"top_k": 5, "tomorrow": {"a": [1]}, "fugu": {"effort": "low"}}
    await served.post(path, {**body, **extra, "stream": True})
    sent = served.upstream.requests[0].json
    assert sent["model"] == "w-model"
    assert (sent["top_k"], sent["tomorrow"]) == (5, {"a": [1]})
    assert "fugu" not in sent
    assert sent["tools"] == body["tools"]


async def test_cache_markers_documents_and_betas_reach_a_worker_of_the_dialect(
    serve: Callable[..., Any],
) -> None:
    """They would be lost in a translation, and with them nine tenths of the price of a long prompt."""
    served = await serve({"w": [sse_reply(MESSAGES)]}, apis={"w": "anthropic"})
    system = [{"type": "text", "text": "long", "cache_control": {"type": "ephemeral"}}]
    document = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "d"}}  # fmt: skip
    messages = [{"role": "user", "content": [document, {"type": "text", "text": "what?"}]}]
    body = {**_MESSAGES_BODY, "system": system, "messages": messages, "stream": True}
    await served.post("/v1/messages", body, **{"anthropic-beta": "context-1m-2025-08-07, x"})
    request = served.upstream.requests[0]
    assert request.json["system"] == system
    assert request.json["messages"] == messages
    assert request.headers["anthropic-beta"] == "context-1m-2025-08-07,x"


async def test_a_client_of_another_dialect_is_translated_for(serve: Callable[..., Any]) -> None:
    """The same worker, asked in Chat Completions, sends events that are not passed on."""
    served = await serve({"w": [sse_reply(MESSAGES)]}, apis={"w": "anthropic"})
    reply = await served.post("/v1/chat/completions", {**_CHAT_BODY, "stream": True})
    assert b"message_start" not in reply.content
    assert "Gr\u00fc\u00dfe" in reply.text
    chunks = [
        json.loads(line[5:]) for line in reply.text.splitlines() if line.startswith("data: {")
    ]
    calls = [
        call for chunk in chunks for call in chunk["choices"][0]["delta"].get("tool_calls", ())
    ]
    assert calls[0]["function"]["name"] == "add"
    assert json.loads("".join(call["function"]["arguments"] for call in calls)) == {"signature": "x"}  # fmt: skip
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
