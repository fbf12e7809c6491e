"""Anthropic's wire format, inwards: what is made of replies and streams."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fugu_adapters.engine.providers.anthropic import AnthropicDecoder, decode
from fugu_adapters.engine.providers.sse import SseEvent
from fugu_adapters.errors import WorkerProtocolError
from fugu_adapters.types import Delta, ToolCall


def _feed(*events: dict[str, Any]) -> tuple[list[Delta], AnthropicDecoder]:
    decoder = AnthropicDecoder("w")
    deltas: list[Delta] = []
    for event in events:
        deltas += decoder.feed(SseEvent(name=event.get("type", ""), data=json.dumps(event)))
    return deltas, decoder


def _body(**changes: Any) -> bytes:
    block = {"type": "text", "text": "x"}
    return json.dumps({"content": [block], "stop_reason": "end_turn", **changes}).encode()


def test_usage_counts_cached_tokens_as_input() -> None:
    """Their input tokens leave the cached ones out; ours include them."""
    usage = {
        "input_tokens": 10,
        "cache_creation_input_tokens": 20,
        "cache_read_input_tokens": 70,
        "output_tokens": 9,
        "output_tokens_details": {"thinking_tokens": 4},
    }
    reply = decode(_body(usage=usage, model="m-1-dated"), "w")
    assert reply.usage.input_tokens == 100
    assert reply.usage.cached_input_tokens == 70
    assert reply.usage.output_tokens == 9
    assert reply.usage.reasoning_tokens == 4
    assert reply.model == "m-1-dated"


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        ("tool_use", "stop"),
        ("pause_turn", "stop"),
        ("something_new", "stop"),
    ],
)
def test_stop_reasons(reason: str, expected: str) -> None:
    """Known reasons are translated; unknown ones, and tool calls that are not there, are stops."""
    assert decode(_body(stop_reason=reason), "w").finish_reason == expected


def test_blocks() -> None:
    """Texts are joined, tool calls are read, and other blocks are left out."""
    blocks = [
        {"type": "thinking", "thinking": "hmm", "signature": "s"},
        {"type": "text", "text": "a"},
        {"type": "tool_use", "id": "t1", "name": "add", "input": {"a": "ü"}},
        {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}},
        {"type": "text", "text": "b"},
    ]
    reply = decode(_body(content=blocks, stop_reason="tool_use"), "w")
    assert reply.text == "ab"
    assert reply.tool_calls == (ToolCall(id="t1", name="add", arguments='{"a": "ü"}'),)
    assert reply.finish_reason == "tool_calls"


@pytest.mark.parametrize(
    "body",
    [
        _body(content=None),
        _body(content="x"),
        _body(content=[None]),
        _body(content=[{"text": "x"}]),
        _body(content=[{"type": "text", "text": 5}]),
        _body(content=[{"type": "tool_use", "id": "t", "input": {}}]),
        _body(content=[{"type": "tool_use", "id": "t", "name": "f", "input": "x"}]),
        _body(content=[], stop_reason=None),
        _body(usage="x"),
        b"{}",
    ],
)
def test_unusable_bodies(body: bytes) -> None:
    """Every malformed reply is a protocol error and nothing else."""
    with pytest.raises(WorkerProtocolError):
        decode(body, "w")


def test_streamed_blocks() -> None:
    """Text, thinking and tool input are put together; pings and unknown events are left out."""
    usage = {"input_tokens": 3, "cache_read_input_tokens": 4, "output_tokens": 1}
    tool = {"type": "tool_use", "id": "t1", "name": "add", "input": {}}
    deltas, decoder = _feed(
        {"type": "message_start", "message": {"model": "m-1", "usage": usage}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking"}},
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "thinking_delta", "thinking": "hmm"},
        },
        {"type": "ping"},
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "signature_delta", "signature": "c2VhbA"},
        },
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "so"}},
        {"type": "content_block_stop", "index": 1},
        {"type": "content_block_start", "index": 2, "content_block": tool},
        {
            "type": "content_block_delta",
            "index": 2,
            "delta": {"type": "input_json_delta", "partial_json": ""},
        },
        {
            "type": "content_block_delta",
            "index": 2,
            "delta": {"type": "input_json_delta", "partial_json": '{"a":'},
        },
        {
            "type": "content_block_delta",
            "index": 2,
            "delta": {"type": "input_json_delta", "partial_json": "1}"},
        },
        {"type": "something_new", "delta": {"type": "x"}},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use"},
            "usage": {"output_tokens": 42},
        },
        {"type": "message_stop"},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "!"}},
    )
    thought = '{"type": "thinking", "thinking": "hmm", "signature": "c2VhbA"}'
    assert deltas == [
        Delta(reasoning="hmm"),
        Delta(sealed=thought),
        Delta(text="so"),
        Delta(tool_index=0, tool_id="t1", tool_name="add"),
        Delta(tool_index=0, arguments='{"a":'),
        Delta(tool_index=0, arguments="1}"),
    ]
    reply = decoder.finish()
    assert decoder.done
    assert reply.text == "so"
    assert (reply.reasoning, reply.sealed) == ("hmm", (thought,))
    assert reply.tool_calls == (ToolCall(id="t1", name="add", arguments='{"a":1}'),)
    assert reply.finish_reason == "tool_calls"
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (7, 42)
    assert reply.usage.cached_input_tokens == 4
    assert reply.model == "m-1"


def test_streams_without_an_end_or_a_reply() -> None:
    """A stream that just stops, or says only that it is done, is no reply."""
    text = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x"}}
    for events in ([], [text], [{"type": "message_stop"}]):
        _, decoder = _feed(*events)
        with pytest.raises(WorkerProtocolError) as caught:
            decoder.finish()
        assert caught.value.cause_kind == "truncated"


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"type": 5},
        {"type": "message_start", "message": "x"},
        {"type": "message_start", "message": {"usage": {"input_tokens": -1}}},
        {"type": "content_block_start", "index": -1, "content_block": {"type": "text"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": {}}},
        {"type": "message_delta", "usage": {"output_tokens": 10**18}},
    ],
)
def test_unusable_events(event: dict[str, Any]) -> None:
    """Every malformed event is a protocol error and nothing else."""
    with pytest.raises(WorkerProtocolError):
        _feed(event)
