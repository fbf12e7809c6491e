"""What every HTTP worker promises, whichever wire format it speaks."""

from __future__ import annotations

import asyncio
import json
import pickle
import traceback
from typing import Any

import pytest
from http_worker import CANARY, ENV, ask, serving
from pydantic import SecretStr

from fugu_adapters.config import Worker
from fugu_adapters.engine.providers import auth_headers
from fugu_adapters.errors import (
    ConfigError,
    InputError,
    WorkerError,
    WorkerProtocolError,
    WorkerRateLimited,
    WorkerRefused,
    WorkerTimeout,
    WorkerUnavailable,
)
from fugu_adapters.testing.acts import (
    Act,
    anthropic_reply,
    anthropic_stream,
    chat_reply,
    chat_stream,
    error_reply,
    hang,
    raw,
    reset,
    sse_reply,
)
from fugu_adapters.testing.fault_server import FaultServer
from fugu_adapters.types import Delta, Request

APIS = ["openai", "anthropic"]
REPLY = {"openai": chat_reply, "anthropic": anthropic_reply}
STREAM = {"openai": chat_stream, "anthropic": anthropic_stream}
KEY_HEADER = {"openai": "authorization", "anthropic": "x-api-key"}

both = pytest.mark.parametrize("api", APIS)
either_way = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def _ok(content: bytes, kind: str = "application/json") -> Act:
    return Act(headers={"content-type": kind}, pieces=(content,))


@both
@either_way
async def test_good_reply(api: str, stream: bool) -> None:
    """Text, usage and model come back, and pieces add up to the text."""
    act = STREAM[api]("Hel", "lo \U0001f421") if stream else REPLY[api]("Hello \U0001f421")
    async with serving(api, [act]) as case:
        reply = await case.call(stream=stream)
    assert reply.text == "Hello \U0001f421"
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (5, 5)
    assert reply.finish_reason == "stop"
    assert [delta.text for delta in case.deltas] == (["Hel", "lo \U0001f421"] if stream else [])
    assert case.seen[0].json.get("stream", False) is stream


@both
async def test_key_is_in_its_header_and_nowhere_else(api: str) -> None:
    """The key reaches its own endpoint in one header; errors, reprs and tracebacks do not hold it."""
    echo = {"type": "auth", "code": "invalid_api_key", "message": f"bad key {CANARY}"}
    # The endpoint echoes the key. Frames are searched too: some tools print local variables.
    act = Act(status=401, pieces=(json.dumps({"error": echo}).encode(),))
    async with serving(api, [act]) as case:
        with pytest.raises(WorkerRefused) as caught:
            await case.call()
        (seen,) = case.seen
        shown = repr(vars(case.backend).get("_worker")) + repr(case.backend)
    holders = [name for name, value in seen.headers.items() if CANARY in value]
    assert holders == [KEY_HEADER[api]]
    assert CANARY.encode() not in seen.body
    assert CANARY not in seen.path
    error = caught.value
    told = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error)) + shown
    frames = traceback.TracebackException.from_exception(error, capture_locals=True).stack
    told += repr([frame.locals for frame in frames if "/fugu_adapters/" in frame.filename])
    assert CANARY not in told
    assert CANARY.encode() not in pickle.dumps(error)
    assert "MY_KEY" in str(error)
    assert "invalid_api_key" in str(error)


@both
@pytest.mark.parametrize("value", [None, "", "sk 1", "sk-1\r\nx-evil: 1", "sk-ä", "sk-1\n"])
async def test_unusable_keys_stop_the_call(api: str, value: str | None) -> None:
    """A missing or malformed key is a configuration error by variable name; nothing is sent."""
    env = {} if value is None else {"MY_KEY": value}
    async with serving(api, [REPLY[api]("x")], env=env) as case:
        with pytest.raises(ConfigError, match="MY_KEY") as caught:
            await case.call()
        assert case.server.connections == 0
    assert "sk" not in str(caught.value)


@both
async def test_keys_are_read_at_each_call(api: str) -> None:
    """A key that changes in the environment is used from the next call on."""
    env = {"MY_KEY": "one"}
    async with serving(api, [REPLY[api]("x")], env=env) as case:
        await case.call()
        env["MY_KEY"] = "two"
        await case.call()
        sent = [seen.headers[KEY_HEADER[api]] for seen in case.seen]
    assert [value.removeprefix("Bearer ") for value in sent] == ["one", "two"]


@both
async def test_no_key_configured_sends_none(api: str) -> None:
    """A local server without keys gets no authentication header."""
    async with serving(api, [REPLY[api]("x")], api_key_env=None) as case:
        await case.call()
        headers = case.seen[0].headers
    assert "authorization" not in headers
    assert "x-api-key" not in headers


@both
async def test_auth_headers(api: str) -> None:
    """The headers for other requests to the endpoint hold the key, wrapped."""
    facts = {"name": "w", "api": api, "model": "m", "base_url": "http://h/v1"}
    worker = Worker.model_validate({**facts, "api_key_env": "MY_KEY"})
    headers = auth_headers(worker, ENV)
    secret = headers[KEY_HEADER[api]]
    assert isinstance(secret, SecretStr)
    assert secret.get_secret_value().endswith(CANARY)
    assert CANARY not in repr(headers)
    with pytest.raises(ConfigError, match="MY_KEY"):
        auth_headers(worker, {})


@both
@either_way
@pytest.mark.parametrize(
    ("act", "kind", "cause"),
    [
        (_ok(b"not json"), WorkerProtocolError, "invalid_json"),
        (_ok(b""), WorkerProtocolError, "invalid_json"),
        (_ok(b'\xef\xbb\xbf{"choices": []}'), WorkerProtocolError, "invalid_json"),
        (_ok(b"[" * 100_000), WorkerProtocolError, "invalid_json"),
        (_ok(b'{"a":' * 100_000), WorkerProtocolError, "invalid_json"),
        (_ok(b'{"model": NaN}'), WorkerProtocolError, "invalid_json"),
        (_ok(b"1" * 5000), WorkerProtocolError, "invalid_json"),
        (_ok(b'"text"'), WorkerProtocolError, "invalid_reply"),
        (_ok(b"null"), WorkerProtocolError, "invalid_reply"),
        (_ok(b"{}"), WorkerProtocolError, "invalid_reply"),
        (_ok(b'{"error": {"message": "secret"}}'), WorkerProtocolError, "error_in_body"),
        (_ok(b'{"error": {"code": 502}}'), WorkerUnavailable, "http_502"),
        (_ok(b'{"error": {"type": "overloaded_error"}}'), WorkerUnavailable, "http_529"),
        (_ok(b'{"error": {"code": 429}}'), WorkerRateLimited, "http_429"),
        (Act(pieces=(b"{}",), declared=9, end="cut"), WorkerProtocolError, "truncated"),
        (error_reply(400, message="secret"), WorkerRefused, "http_400"),
        (error_reply(404), WorkerRefused, "http_404"),
        (error_reply(429, retry_after="7"), WorkerRateLimited, "http_429"),
        (error_reply(429, code="insufficient_quota"), WorkerRefused, "quota"),
        (error_reply(503, retry_after="7"), WorkerUnavailable, "http_503"),
        (Act(status=307, headers={"location": "/w/b/v1"}), WorkerRefused, "redirect"),
        (reset(), WorkerUnavailable, "read_error"),
        (raw(), WorkerUnavailable, "disconnected"),
    ],
)
async def test_faults(
    api: str, stream: bool, act: Act, kind: type[WorkerError], cause: str
) -> None:
    """Every fault is one of our errors with its own word, after exactly one request."""
    if cause == "truncated" and stream:
        cause = "invalid_json"  # the cut piece is an event of its own kind there
        act = sse_reply([b'data: {"cho'])
    async with serving(api, [act]) as case:
        with pytest.raises(WorkerError) as caught:
            await case.call(stream=stream)
        assert len(case.seen) == 1
    error = caught.value
    assert type(error) is kind
    assert (error.cause_kind, error.worker) == (cause, "w")
    assert "secret" not in str(error)
    assert error.retry_after == (7.0 if "retry-after" in act.headers else None)


@both
@pytest.mark.parametrize("content", [b"<html><body>Sign in</body></html>", b"", b": ping\n\n"])
async def test_a_stream_without_a_reply(api: str, content: bytes) -> None:
    """A page, nothing, or only comments is no answer, though the status says success."""
    async with serving(api, [_ok(content, "text/html")]) as case:
        with pytest.raises(WorkerProtocolError) as caught:
            await case.call(stream=True)
    assert caught.value.cause_kind == "truncated"
    assert case.deltas == []


@both
@pytest.mark.parametrize(
    ("end", "kind", "cause"),
    [
        ("finish", WorkerProtocolError, "truncated"),
        ("cut", WorkerProtocolError, "truncated"),
        ("reset", WorkerProtocolError, "truncated"),
        ("stall", WorkerTimeout, "idle"),
    ],
)
async def test_streams_that_break_off(
    api: str, end: Any, kind: type[WorkerError], cause: str
) -> None:
    """After some text the stream may end, break, reset or stall: an error, and the text just once."""
    pieces = STREAM[api]("some ", "text").pieces
    start = [piece for piece in pieces if b"stop" not in piece and b"DONE" not in piece]
    begun = [
        piece for piece in start if b'usage": {"output' not in piece and b'[], "us' not in piece
    ]
    async with serving(api, [sse_reply(begun, end=end, drip=0.02)]) as case:
        with pytest.raises(WorkerError) as caught:
            await case.call(stream=True)
    assert type(caught.value) is kind
    assert caught.value.cause_kind == cause
    assert case.streamed == "some text"


@both
async def test_error_event_after_text(api: str) -> None:
    """An error in the middle of a stream is raised as what it says it is."""
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "secret"}}
    pieces = STREAM[api]("some ", "text").pieces
    until = next(number for number, piece in enumerate(pieces) if b"some " in piece) + 1
    async with serving(api, [sse_reply([*pieces[:until], error])]) as case:
        with pytest.raises(WorkerUnavailable) as caught:
            await case.call(stream=True)
    assert caught.value.status == 529
    assert case.streamed == "some "
    assert "secret" not in str(caught.value)


@both
async def test_stream_in_odd_pieces(api: str) -> None:
    """Split characters, CRLF, comments, and a missing last line change nothing."""
    content = b"".join(STREAM[api]("süß ", "\U0001f421").pieces)
    content = (b": hello\n\n" + content).replace(b"\n", b"\r\n").rstrip(b"\r\n")
    pieces = tuple(content[start : start + 3] for start in range(0, len(content), 3))
    act = Act(headers={"content-type": "text/event-stream"}, pieces=pieces, framing="close")
    async with serving(api, [act]) as case:
        reply = await case.call(stream=True)
    assert reply.text == case.streamed == "süß \U0001f421"
    assert reply.usage.output_tokens == 5


@both
async def test_streams_reuse_their_connection(api: str) -> None:
    """After a complete stream the next call goes out on the same connection."""
    async with serving(api, [STREAM[api]("x")]) as case:
        for _ in range(3):
            await case.call(stream=True)
        assert {seen.connection for seen in case.seen} == {0}


@both
async def test_a_server_that_never_hangs_up(api: str) -> None:
    """A stream that is complete but left open is an answer, not a stall."""
    pieces = STREAM[api]("done").pieces
    async with serving(api, [sse_reply(pieces, end="stall")]) as case:
        async with asyncio.timeout(10):
            assert (await case.call(stream=True)).text == "done"


@both
async def test_a_server_that_does_not_stream(api: str) -> None:
    """A whole reply to a request for a stream is delivered as one piece, tool calls too."""
    call = {"id": "c1", "function": {"name": "f", "arguments": '{"a": 1}'}}
    use = {"id": "c1", "name": "f", "input": {"a": 1}}
    calls: dict[str, Any] = {"openai": {"tool_calls": [call]}, "anthropic": {"tool_uses": [use]}}
    async with serving(api, [REPLY[api]("all at once", **calls[api])]) as case:
        reply = await case.call(stream=True)
    assert reply.text == case.streamed == "all at once"
    piece = Delta(tool_index=0, tool_id="c1", tool_name="f", arguments='{"a": 1}')
    assert case.deltas[1:] == [piece]


@both
@either_way
async def test_cancellation_reaches_the_server(api: str, stream: bool) -> None:
    """A cancelled call ends in CancelledError and its connection goes at once."""
    async with serving(api, [hang(), REPLY[api]("fine")]) as case:
        task = asyncio.ensure_future(case.call(stream=stream))
        await case.server.arrived()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(10):
            await case.seen[0].gone.wait()
        assert (await case.call()).text == "fine"


@both
async def test_key_does_not_follow_a_redirect(api: str) -> None:
    """Another server that a redirect names sees neither prompt nor key."""
    async with FaultServer() as other:
        act = Act(status=307, headers={"location": other.url("b")})
        async with serving(api, [act]) as case:
            with pytest.raises(WorkerRefused):
                await case.call()
        assert other.connections == 0


@both
@pytest.mark.parametrize(
    "content", ["\ud800", float("nan"), {1, 2}], ids=["surrogate", "nan", "set"]
)
async def test_requests_that_are_not_json(api: str, content: Any) -> None:
    """What JSON cannot carry is refused before anything is sent, without being quoted."""
    function = {"name": "f", "parameters": {"default": content}}
    request = ask(tools=({"type": "function", "function": function},))
    async with serving(api, [REPLY[api]("x")]) as case:
        with pytest.raises(InputError, match="JSON"):
            await case.call(request)
        assert case.server.connections == 0


@both
@pytest.mark.parametrize("count", [-1, 1.5, "many", 10**12, 10**400])
async def test_impossible_token_counts(api: str, count: Any) -> None:
    """Counts that would corrupt a budget make the reply unusable."""
    names = {"openai": ("prompt_tokens", "completion_tokens")}
    first, second = names.get(api, ("input_tokens", "output_tokens"))
    body = json.loads(REPLY[api]("x").pieces[0])
    for usage in ({first: count, second: 1}, {first: 1, second: count}):
        body["usage"] = usage
        async with serving(api, [_ok(json.dumps(body).encode())]) as case:
            with pytest.raises(WorkerProtocolError) as caught:
                await case.call()
        assert caught.value.cause_kind == "invalid_reply"
        assert "many" not in str(caught.value)


@both
async def test_missing_usage_is_unknown(api: str) -> None:
    """No usage is ``None``, never zero."""
    async with serving(api, [REPLY[api]("x", usage=None)]) as case:
        usage = (await case.call()).usage
    assert usage.input_tokens is None
    assert usage.output_tokens is None
    assert usage.total_tokens is None


@both
async def test_many_calls_share_one_backend(api: str) -> None:
    """Concurrent calls do not mix: each gets the reply to its own request."""
    acts = [REPLY[api](f"reply {number}", delay=0.02) for number in range(8)]
    async with serving(api, acts) as case:
        replies = await asyncio.gather(
            *(case.call(Request(messages=({"role": "user", "content": "x"},))) for _ in acts)
        )
        assert case.server.peak == 8
    assert sorted(reply.text for reply in replies) == [f"reply {n}" for n in range(8)]
