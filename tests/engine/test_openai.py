"""OpenAI's wire format: what goes out, byte for byte, and what is made of what comes back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from http_worker import CANARY, ask, serving

from fugu_adapters.config import Worker
from fugu_adapters.engine.providers.openai import OpenAIDecoder, decode, encode
from fugu_adapters.engine.providers.sse import SseEvent
from fugu_adapters.errors import WorkerProtocolError
from fugu_adapters.testing.acts import chat_reply, chat_stream
from fugu_adapters.types import Delta, Request, ToolCall

TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}
PNG = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
MESSAGES = (
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": [{"type": "text", "text": "what is this? \U0001f421"}, PNG]},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "2"},
)


def _worker(**options: Any) -> Worker:
    facts = {"name": "w", "base_url": "http://127.0.0.1:1/v1", "model": "m-1", **options}
    return Worker.model_validate(facts)


def _body(**changes: Any) -> bytes:
    choice = {"index": 0, "message": {"content": "x"}, "finish_reason": "stop"}
    return json.dumps({"choices": [choice], **changes}).encode()


def _with_message(**message: Any) -> bytes:
    return _body(choices=[{"message": message, "finish_reason": "stop"}])


def _feed(*chunks: Any) -> tuple[list[Delta], OpenAIDecoder]:
    decoder = OpenAIDecoder("w")
    deltas: list[Delta] = []
    for chunk in chunks:
        data = chunk if isinstance(chunk, str) else json.dumps(chunk)
        deltas += decoder.feed(SseEvent(data=data))
    return deltas, decoder


def _chunk(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


async def test_full_request_on_the_wire() -> None:
    """Path, headers and body are exactly these; messages, images and tools go out unchanged."""
    request = Request(
        messages=MESSAGES,
        tools=(TOOL,),
        tool_choice={"type": "function", "function": {"name": "add"}},
        response_format={"type": "json_object"},
        max_output_tokens=99,
        temperature=0.0,
        top_p=0.5,
        stop=("END",),
        seed=7,
        effort="low",
    )
    async with serving("openai", [chat_reply("hi")]) as case:
        await case.call(request)
        (seen,) = case.seen
    assert (seen.method, seen.path) == ("POST", "/w/a/v1/chat/completions")
    assert seen.headers["authorization"] == f"Bearer {CANARY}"
    assert seen.headers["content-type"] == "application/json"
    assert seen.headers["accept"] == "application/json"
    assert seen.json == {
        "model": "m-1",
        "messages": list(MESSAGES),
        "max_tokens": 99,
        "temperature": 0.0,
        "top_p": 0.5,
        "seed": 7,
        "stop": ["END"],
        "tools": [TOOL],
        "tool_choice": {"type": "function", "function": {"name": "add"}},
        "response_format": {"type": "json_object"},
    }


async def test_plain_streamed_request_on_the_wire() -> None:
    """Nothing that was not asked for is sent; a stream asks for its usage."""
    async with serving("openai", [chat_stream("hi")]) as case:
        await case.call(stream=True)
        (seen,) = case.seen
    assert seen.headers["accept"] == "text/event-stream"
    assert seen.json == {
        "model": "m-1",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


@pytest.mark.parametrize(
    ("facts", "sent"),
    [
        ({}, {"max_tokens": 9}),
        ({"provider": "openai"}, {"max_completion_tokens": 9}),
        ({"effort": "high"}, {"max_tokens": 9, "reasoning_effort": "high"}),
        ({"provider": "openrouter"}, {"max_tokens": 9, "usage": {"include": True}}),
    ],
)
def test_what_depends_on_the_worker(facts: dict[str, Any], sent: dict[str, Any]) -> None:
    """Bound, effort and cost are asked for in the words that the host knows."""
    body = encode(ask(max_output_tokens=9, effort="low"), _worker(**facts), False)
    assert {key: body[key] for key in body if key not in ("model", "messages")} == sent


def test_tool_choice_needs_tools() -> None:
    """Hosts refuse a tool choice without tools, so it is left out."""
    assert "tool_choice" not in encode(ask(tool_choice="auto"), _worker(), False)


def test_usage_in_full() -> None:
    """Cached and reasoning tokens, and the cost that a gateway reports, are read."""
    reply = decode(
        _body(
            model="m-1-dated",
            usage={
                "prompt_tokens": 100,
                "completion_tokens": 50,
                "prompt_tokens_details": {"cached_tokens": 80},
                "completion_tokens_details": {"reasoning_tokens": 40},
                "cost": 0.00123,
            },
        ),
        "w",
    )
    assert reply.usage.input_tokens == 100
    assert reply.usage.output_tokens == 50
    assert reply.usage.cached_input_tokens == 80
    assert reply.usage.reasoning_tokens == 40
    assert reply.cost_usd == 0.00123
    assert reply.model == "m-1-dated"


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("eos", "stop"),
        ("tool_calls", "stop"),
        (None, "stop"),
    ],
)
def test_finish_reasons(reason: str | None, expected: str) -> None:
    """Known reasons are kept; unknown ones, and tool calls that are not there, count as stop."""
    choice = {"message": {"content": "x"}, "finish_reason": reason}
    assert decode(_body(choices=[choice]), "w").finish_reason == expected


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": ""}, ""),
        ({"content": [{"type": "thinking"}, {"type": "text", "text": "a"}]}, "a"),
        ({"content": "x", "reasoning_content": "hidden", "tool_calls": []}, "x"),
    ],
)
def test_forms_of_content(message: dict[str, Any], text: str) -> None:
    """Text, an empty text and lists of parts are read; reasoning is left out."""
    assert decode(_with_message(**message), "w").text == text


def test_refusals_are_flagged() -> None:
    """A refusal is the text of a filtered reply."""
    reply = decode(_with_message(content=None, refusal="I cannot."), "w")
    assert (reply.text, reply.finish_reason) == ("I cannot.", "content_filter")


def test_a_reply_cut_at_its_bound_may_be_empty() -> None:
    """A reasoning model that used up its tokens gives a flagged, empty reply."""
    choice = {"message": {"content": None}, "finish_reason": "length"}
    reply = decode(_body(choices=[choice]), "w")
    assert (reply.text, reply.finish_reason) == ("", "length")


def test_tool_calls() -> None:
    """Calls are read whatever the finish reason; missing ids and arguments are made up for."""
    calls = [
        CALL,
        {"function": {"name": "now", "arguments": ""}},
        {"id": "c3", "function": {"name": "f", "arguments": {"a": [1]}}},
    ]
    reply = decode(_with_message(content=None, tool_calls=calls), "w")
    assert reply.finish_reason == "tool_calls"
    assert reply.tool_calls == (
        ToolCall(id="c1", name="add", arguments='{"a":1}'),
        ToolCall(id="call_1", name="now", arguments="{}"),
        ToolCall(id="c3", name="f", arguments='{"a": [1]}'),
    )


@pytest.mark.parametrize(
    "body",
    [
        _body(choices=[]),
        _body(choices=None),
        _body(choices={"0": 1}),
        _body(choices="x"),
        _body(choices=[None]),
        _body(choices=[{}]),
        _body(choices=[{"message": None}]),
        _body(choices=[{"message": "x"}]),
        _with_message(),
        _with_message(content=None),
        _with_message(content=7),
        _with_message(content={"text": "x"}),
        _with_message(content=None, tool_calls=[{"id": "c1"}]),
        _with_message(content=None, tool_calls=[{"function": {"arguments": "{}"}}]),
        _with_message(content=None, tool_calls="x"),
        _body(usage={"cost": -1}),
        _body(usage={"cost": 1e300}),
        _body(usage=[1]),
        _body(model=5),
    ],
)
def test_unusable_bodies(body: bytes) -> None:
    """Every malformed reply is a protocol error and nothing else."""
    with pytest.raises(WorkerProtocolError):
        decode(body, "w")


def test_streamed_tool_calls() -> None:
    """Two interleaved calls are put together, and their pieces say which call they belong to."""
    deltas, decoder = _feed(
        _chunk(content="let me see"),
        _chunk(tool_calls=[{"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}}]),
        _chunk(tool_calls=[{"index": 1, "id": "b", "function": {"name": "g", "arguments": "{"}}]),
        _chunk(tool_calls=[{"index": 0, "function": {"arguments": '{"x"'}}]),
        _chunk(tool_calls=[{"index": 0, "function": {"arguments": ":1}"}}]),
        _chunk(tool_calls=[{"index": 1, "function": {"arguments": "}"}}]),
        _chunk("tool_calls"),
        {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}},
        "[DONE]",
    )
    assert deltas[1] == Delta(tool_index=0, tool_id="a", tool_name="f")
    assert deltas[3] == Delta(tool_index=0, arguments='{"x"')
    reply = decoder.finish()
    assert decoder.done
    assert reply.text == "let me see"
    assert reply.tool_calls == (
        ToolCall(id="a", name="f", arguments='{"x":1}'),
        ToolCall(id="b", name="g", arguments="{}"),
    )
    assert reply.finish_reason == "tool_calls"
    assert reply.usage.output_tokens == 4


def test_streamed_tool_calls_without_index() -> None:
    """Servers that leave the index out start a new call with each new id."""
    _, decoder = _feed(
        _chunk(tool_calls=[{"id": "a", "function": {"name": "f", "arguments": "{}"}}]),
        _chunk(tool_calls=[{"id": "b", "function": {"name": "g", "arguments": "{"}}]),
        _chunk("stop", tool_calls=[{"function": {"arguments": "}"}}]),
    )
    assert [(call.id, call.arguments) for call in decoder.finish().tool_calls] == [
        ("a", "{}"),
        ("b", "{}"),
    ]


def test_streamed_tool_calls_that_are_all_number_zero() -> None:
    """Some servers call every parallel call the first: a new id with a name is another call, a new id alone is not."""
    deltas, decoder = _feed(
        _chunk(tool_calls=[{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}}]),
        _chunk(tool_calls=[{"index": 0, "id": "x", "function": {"arguments": '"n": 1}'}}]),
        _chunk(tool_calls=[{"index": 0, "id": "b", "function": {"name": "f", "arguments": "{}"}}]),
        _chunk(tool_calls=[{"index": 0, "id": "b", "function": {"name": "f", "arguments": ""}}]),
        _chunk("tool_calls"),
    )
    assert [(call.id, call.arguments) for call in decoder.finish().tool_calls] == [
        ("a", '{"n": 1}'),
        ("b", "{}"),
    ]
    assert [delta.tool_index for delta in deltas] == [0, 0, 1]


@pytest.mark.parametrize("ids", [("f", "f", "f"), (None, None, None), ("f_2", "f", "f")])
def test_every_call_of_a_reply_has_an_id_of_its_own(ids: tuple[str | None, ...]) -> None:
    """Streamed or whole: the results of tools could not be told apart otherwise."""
    calls = [
        {"index": place, "id": each, "function": {"name": "f", "arguments": f"[{place}]"}}
        for place, each in enumerate(ids)
    ]
    _, decoder = _feed(*(_chunk(tool_calls=[call]) for call in calls), _chunk("tool_calls"))
    body = {"choices": [{"message": {"tool_calls": calls}, "finish_reason": "tool_calls"}]}
    for reply in (decoder.finish(), decode(json.dumps(body).encode(), "w")):
        assert len({call.id for call in reply.tool_calls}) == 3
        assert [call.arguments for call in reply.tool_calls] == ["[0]", "[1]", "[2]"]


@pytest.mark.parametrize(
    "chunks",
    [
        [_chunk(content="x"), "[DONE]"],
        [_chunk(content="x"), _chunk("stop")],
        [_chunk("stop", content="x"), {"choices": [], "usage": None}],
        [{"choices": None}, _chunk(content="x"), {"choices": [{"delta": None}]}, "[DONE]"],
        [_chunk("stop", content="x"), "[DONE]", _chunk(content="after the end")],
    ],
)
def test_ends_of_a_stream(chunks: list[Any]) -> None:
    """Either sign of the end is enough, and what follows it is ignored."""
    _, decoder = _feed(*chunks)
    assert decoder.finish().text == "x"


@pytest.mark.parametrize("chunks", [[], ["[DONE]"], [_chunk(content="x")]])
def test_streams_without_an_end_or_a_reply(chunks: list[Any]) -> None:
    """A stream that just stops, or says only that it is done, is no reply."""
    _, decoder = _feed(*chunks)
    with pytest.raises(WorkerProtocolError) as caught:
        decoder.finish()
    assert caught.value.cause_kind == "truncated"


@pytest.mark.parametrize(
    "chunk",
    [
        {"choices": [{"delta": {"content": 5}}]},
        {"choices": [{"delta": {"tool_calls": [{"index": -1}]}}]},
        {"choices": [{"delta": {"tool_calls": [{"index": 10**12}]}}]},
        {"choices": "x"},
        {"choices": [], "usage": {"prompt_tokens": -4}},
        "{",
    ],
)
def test_unusable_chunks(chunk: Any) -> None:
    """Every malformed chunk is a protocol error and nothing else."""
    with pytest.raises(WorkerProtocolError):
        _feed(chunk)


def test_streamed_refusals_are_flagged() -> None:
    """A streamed refusal is the text of a filtered reply."""
    deltas, decoder = _feed(_chunk(refusal="I can"), _chunk(refusal="not."), _chunk("stop"))
    reply = decoder.finish()
    assert (reply.text, reply.finish_reason) == ("I cannot.", "content_filter")
    assert [delta.text for delta in deltas] == ["I can", "not."]
