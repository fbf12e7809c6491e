"""Anthropic's wire format, outwards: what becomes of messages, tools and settings."""

from __future__ import annotations

from typing import Any

import pytest
from http_worker import CANARY, ask, serving

from fugu_adapters.config import Worker
from fugu_adapters.engine.providers.anthropic import encode
from fugu_adapters.errors import InputError
from fugu_adapters.testing.acts import anthropic_reply, anthropic_stream
from fugu_adapters.types import Request

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
TOOL = {
    "type": "function",
    "function": {"name": "add", "description": "adds", "parameters": SCHEMA},
}


def _worker(**options: Any) -> Worker:
    facts = {"name": "w", "api": "anthropic", "base_url": "http://127.0.0.1:1/v1", "model": "m-1"}
    return Worker.model_validate({**facts, **options})


def _call(id: str, arguments: str) -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": "add", "arguments": arguments}}


def _encode(*messages: dict[str, Any], **options: Any) -> dict[str, Any]:
    return encode(Request(messages=messages, **options), _worker(), False)


def _user(*content: Any) -> dict[str, Any]:
    return _encode({"role": "user", "content": list(content)})["messages"][0]["content"]


async def test_full_request_on_the_wire() -> None:
    """Path, headers and body are exactly these."""
    request = Request(
        messages=(
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "1+1?"},
            {"role": "user", "content": "quick"},
            {"role": "assistant", "content": None, "tool_calls": [_call("c1", '{"a":1}')]},
            {"role": "tool", "tool_call_id": "c1", "content": "2"},
            {"role": "developer", "content": "in German"},
            {"role": "user", "content": "so?"},
        ),
        tools=(TOOL,),
        tool_choice="required",
        max_output_tokens=99,
        temperature=1.5,
        top_p=0.5,
        stop=("END", "\n"),
        seed=7,
        effort="low",
    )
    async with serving("anthropic", [anthropic_reply("hi")]) as case:
        await case.call(request)
        (seen,) = case.seen
    assert (seen.method, seen.path) == ("POST", "/w/a/v1/messages")
    assert seen.headers["x-api-key"] == CANARY
    assert seen.headers["anthropic-version"] == "2023-06-01"
    assert "authorization" not in seen.headers
    assert seen.json == {
        "model": "m-1",
        "max_tokens": 99,
        "system": "be brief\n\nin German",
        "messages": [
            {
                "role": "user",
                "content": [{"type": "text", "text": "1+1?"}, {"type": "text", "text": "quick"}],
            },
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "c1", "name": "add", "input": {"a": 1}}],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "c1",
                        "content": [{"type": "text", "text": "2"}],
                    },
                    {"type": "text", "text": "so?"},
                ],
            },
        ],
        "tools": [{"name": "add", "description": "adds", "input_schema": SCHEMA}],
        "tool_choice": {"type": "any"},
        "temperature": 1.0,
        "top_p": 0.5,
        "stop_sequences": ["END"],
    }


async def test_plain_streamed_request_on_the_wire() -> None:
    """Nothing that was not asked for is sent, except the bound that the format requires."""
    async with serving("anthropic", [anthropic_stream("hi")]) as case:
        await case.call(stream=True)
        (seen,) = case.seen
    assert seen.headers["accept"] == "text/event-stream"
    assert seen.json == {
        "model": "m-1",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
        "stream": True,
    }


@pytest.mark.parametrize(
    ("asked", "allowed", "sent"),
    [(None, None, 4096), (None, 1000, 1000), (99, None, 99), (5000, 1000, 1000)],
)
def test_max_tokens(asked: int | None, allowed: int | None, sent: int) -> None:
    """The required bound is the request's, a default, or what the endpoint allows."""
    worker = _worker(max_output_tokens=allowed)
    assert encode(ask(max_output_tokens=asked), worker, False)["max_tokens"] == sent


@pytest.mark.parametrize(
    ("effort", "config"),
    [
        (None, None),
        ("none", None),
        ("minimal", {"effort": "low"}),
        ("high", {"effort": "high"}),
        ("max", {"effort": "max"}),
    ],
)
def test_effort(effort: str | None, config: dict[str, str] | None) -> None:
    """The worker's effort becomes ``output_config.effort``; thinking is never configured."""
    body = encode(ask(effort="low"), _worker(effort=effort), False)
    assert body.get("output_config") == config
    assert "thinking" not in body


def test_structured_output() -> None:
    """A schema becomes ``output_config.format`` beside the effort; a bare JSON object is asked for."""
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}}
    body = encode(ask(response_format=form), _worker(effort="low"), False)
    expected = {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}}
    assert body["output_config"] == expected
    bare = encode(ask(response_format={"type": "json_object"}), _worker(), False)
    assert "JSON object" in bare["system"]
    assert "output_config" not in bare


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ("required", {"type": "any"}),
        ({"type": "function", "function": {"name": "add"}}, {"type": "tool", "name": "add"}),
        (None, None),
    ],
)
def test_tool_choice(choice: Any, sent: dict[str, str] | None) -> None:
    """Each way to choose tools has its counterpart, and none is sent without tools."""
    body = encode(ask(tools=(TOOL,), tool_choice=choice), _worker(), False)
    assert body.get("tool_choice") == sent
    assert "tool_choice" not in encode(ask(tool_choice=choice), _worker(), False)


def test_a_tool_without_parameters() -> None:
    """The format requires a schema, so an empty one is made up."""
    tool = {"type": "function", "function": {"name": "now"}}
    (sent,) = encode(ask(tools=(tool,)), _worker(), False)["tools"]
    assert sent == {"name": "now", "input_schema": {"type": "object", "properties": {}}}


def test_images() -> None:
    """Data URLs become base64 sources and web addresses stay addresses."""
    data = {"type": "image_url", "image_url": {"url": "data:image/PNG;base64,AA\nAA"}}
    web = {"type": "image_url", "image_url": {"url": "https://host/x.png", "detail": "low"}}
    assert _user(data, web, {"type": "text", "text": "?"}) == [
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"},
        },
        {"type": "image", "source": {"type": "url", "url": "https://host/x.png"}},
        {"type": "text", "text": "?"},
    ]


def test_empty_texts_are_left_out() -> None:
    """The format refuses empty blocks, and a conversation without any user turn."""
    assert _user({"type": "text", "text": " "}, {"type": "text", "text": "a"}) == [
        {"type": "text", "text": "a"}
    ]
    body = _encode(
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "b"},
    )
    assert [message["role"] for message in body["messages"]] == ["user"]
    alone = _encode({"role": "system", "content": "hi"})
    assert alone["messages"] == [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]
    assert "system" not in alone
    (turn,) = _encode({"role": "tool", "tool_call_id": "c", "content": ""})["messages"]
    assert turn["content"] == [{"type": "tool_result", "tool_use_id": "c"}]


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        ('{"a": 1}', {"a": 1}),
        ("", {}),
        ("{broken", {"arguments": "{broken"}),
        ("[1]", {"arguments": "[1]"}),
    ],
)
def test_arguments_that_a_worker_wrote(arguments: str, sent: dict[str, Any]) -> None:
    """Arguments become an object, also where another worker wrote something that is none."""
    body = _encode({"role": "assistant", "content": "ok", "tool_calls": [_call("c", arguments)]})
    assert body["messages"][0]["content"][1]["input"] == sent


@pytest.mark.parametrize(
    ("message", "options"),
    [
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}, {}),
        ({"role": "tool", "content": "2"}, {}),
        ({"role": "assistant", "content": "x", "tool_calls": ["x"]}, {}),
        ({"role": "user", "content": "x"}, {"tools": ({"type": "web_search"},)}),
        ({"role": "user", "content": "x"}, {"tools": (TOOL,), "tool_choice": "sometimes"}),
        ({"role": "user", "content": "x"}, {"tools": (TOOL,), "tool_choice": {"type": "x"}}),
        ({"role": "user", "content": "x"}, {"response_format": {"type": "json_schema"}}),
    ],
)
def test_requests_that_cannot_be_translated(
    message: dict[str, Any], options: dict[str, Any]
) -> None:
    """What the format has no place for is refused before any call."""
    with pytest.raises(InputError, match="expected"):
        _encode(message, **options)
