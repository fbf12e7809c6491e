"""Requests that no client should send: each is answered with an error that its dialect knows, and never with a 500."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

hypothesis = pytest.importorskip("hypothesis")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from starlette.testclient import TestClient  # noqa: E402

from fugu_adapters import Fugu, Pool, Worker  # noqa: E402
from fugu_adapters.engine.providers import anthropic, openai, responses  # noqa: E402
from fugu_adapters.engine.providers.sealed import seal  # noqa: E402
from fugu_adapters.engine.providers.wire import to_json  # noqa: E402
from fugu_adapters.serve.app import make_app  # noqa: E402
from fugu_adapters.types import Reply  # noqa: E402

_BEHIND = Worker(name="w", base_url="http://127.0.0.1:1/v1", model="m")
_SEALED = seal('{"type": "reasoning", "reasoning_content": "h", "id": "c", "extra_content": {"google": {}}}', _BEHIND)  # fmt: skip
_SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
_IMAGE = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "model": "fugu", "stream": False, "n": 1, "temperature": 0.5, "top_p": 0.9, "max_tokens": 50, "stop": ["x"], "seed": 1,
        "reasoning_effort": "low", "stream_options": {"include_usage": True}, "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": _SCHEMA}},
        "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": _SCHEMA, "strict": True}}, {"type": "custom", "custom": {"name": "g"}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "messages": [
            {"role": "developer", "content": "s"},
            {"role": "user", "content": [{"type": "text", "text": "t"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}, {"id": "d", "type": "custom", "custom": {"name": "g", "input": "i"}}],
             "reasoning_content": "h", "reasoning_details": [{"type": "reasoning.encrypted", "data": _SEALED, "index": 0}]},
            {"role": "tool", "tool_call_id": "c", "content": "r"}, {"role": "user", "content": "go on"},
        ],
        "fugu": {"effort": "high", "exclude": ["x"], "session": "s", "quality": 0.9, "max_cost": 1.0, "limits": {"usd": 1.0, "seconds": 5, "calls": 3, "tokens": 9000, "output_tokens": 50}},
    },
    "/v1/messages": {
        "model": "fugu", "max_tokens": 50, "stream": False, "temperature": 0.5, "top_p": 0.9, "stop_sequences": ["x"], "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
        "tools": [{"name": "f", "description": "d", "input_schema": _SCHEMA}, {"type": "web_search_20250305", "name": "web_search"}], "tool_choice": {"type": "tool", "name": "f"},
        "thinking": {"type": "enabled", "budget_tokens": 2000}, "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": _SCHEMA}}, "metadata": {"user_id": "u"},
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "t"}, {"type": "image", "source": _IMAGE}, {"type": "document", "source": {"type": "text", "data": "d"}}]},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "h", "signature": "s"}, {"type": "redacted_thinking", "data": _SEALED}, {"type": "text", "text": "x"}, {"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "is_error": True, "content": [{"type": "text", "text": "r"}]}, {"type": "text", "text": "go on"}]},
        ],
    },
    "/v1/responses": {
        "model": "fugu", "stream": False, "instructions": "s", "temperature": 0.5, "top_p": 0.9, "max_output_tokens": 50, "store": False, "reasoning": {"effort": "low"},
        "text": {"format": {"type": "json_schema", "name": "a", "schema": _SCHEMA}}, "tool_choice": {"type": "function", "name": "f"},
        "tools": [{"type": "function", "name": "f", "parameters": _SCHEMA}, {"type": "custom", "name": "g", "format": {"syntax": "lark", "definition": "x"}}, {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "f"}]}],
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "t"}, {"type": "input_image", "image_url": "data:image/png;base64,AA"}]},
            {"type": "reasoning", "summary": [], "encrypted_content": "e"}, {"type": "reasoning", "summary": [], "encrypted_content": _SEALED}, {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "x"}]},
            {"type": "function_call", "call_id": "c", "name": "f", "namespace": "n", "arguments": "{}"}, {"type": "function_call_output", "call_id": "c", "output": "r"},
            {"type": "custom_tool_call", "call_id": "d", "name": "g", "input": "i"}, {"type": "custom_tool_call_output", "call_id": "d", "output": [{"type": "input_text", "text": "r"}]},
        ],
    },
}  # fmt: skip
BODIES["/v1/messages/count_tokens"] = BODIES["/v1/messages"]

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
    | st.sampled_from(["", "f", "user", "tool", "fugu", "function", "custom", "text", 0, -1, 2**63, 1e308]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something in a body could be another thing."""
    if path:
        yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()  # fmt: skip
    for key, each in inside:
        yield from places(each, (*path, key))


@st.composite
def mutated(draw: Any) -> tuple[str, dict[str, Any]]:
    """A sound request with up to three things in it replaced, removed or repeated."""
    path = draw(st.sampled_from(sorted(BODIES)))
    body = copy.deepcopy(BODIES[path])
    for _ in range(draw(st.integers(1, 3))):
        where = draw(st.sampled_from(list(places(body))))
        holder = body
        for key in where[:-1]:
            holder = holder[key]
        how = draw(st.sampled_from(["replace", "replace", "remove", "repeat"]))
        if how == "replace":
            holder[where[-1]] = draw(_JSON)
        elif how == "remove":
            del holder[where[-1]]
        elif isinstance(holder, list):
            holder.append(copy.deepcopy(holder[where[-1]]))
        if not body:
            break
    return path, body


_ENCODERS = (openai.encode, anthropic.encode, responses.encode)


async def _parrot(messages: list[Any], *, request: Any) -> Reply:
    """Puts the request into the bodies of all three dialects, as workers behind HTTP are sent it."""
    hosts = [_BEHIND.model_copy(update={"provider": name}) for name in ("openai", "google", "deepseek")]  # fmt: skip
    bodies = [to_json(encode(request, host, True)) for encode in _ENCODERS for host in hosts]
    return Reply(text=str(sum(map(len, bodies))))


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    """A client in this process: hundreds of requests need no sockets."""
    worker = Worker(name="w", api="callable", call=_parrot, tools=True, images=True, json_schema=True)  # fmt: skip
    app = make_app(Fugu(Pool([worker]), store=False))
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as made:
        yield made


def test_the_sound_requests_are_answered(client: TestClient) -> None:
    """Else the fuzzing would prove nothing."""
    for path, body in BODIES.items():
        reply = client.post(path, json={**body, "fugu": {}})
        assert reply.status_code == 200, reply.text


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=mutated())
def test_no_request_is_a_500(client: TestClient, case: tuple[str, dict[str, Any]]) -> None:
    """Answered, or refused with a text that names something; never an error of ours."""
    path, body = case
    reply = client.post(path, json=body)
    assert reply.status_code in (200, 400, 402, 404, 413), (reply.status_code, reply.text)
    if reply.status_code != 200:
        assert reply.json()["error"]["message"]


@pytest.mark.parametrize("path", sorted(BODIES))
@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"a":' * 50_000, b"[" * 100_000, b'{"model":NaN}', b'{"model":"\\ud800","messages":[]}'],
)  # fmt: skip
def test_bodies_that_are_not_a_request(client: TestClient, path: str, data: bytes) -> None:
    """Not JSON, not an object, or nested without end."""
    reply = client.post(path, content=data)
    assert reply.status_code in (400, 404)
    assert reply.json()["error"]["message"]


def test_what_is_not_there(client: TestClient) -> None:
    """Other addresses and methods get an error of a dialect too."""
    assert client.get("/v1/nothing").status_code == 404
    assert client.get("/v1/chat/completions").json()["error"]["type"] == "invalid_request_error"
    headers = {"anthropic-version": "2023-06-01"}
    assert client.get("/v1/nothing", headers=headers).json()["type"] == "error"
