"""The fault server itself: what the other tests' counts rest on."""

from __future__ import annotations

import asyncio

import pytest

from fugu_adapters.testing.acts import (
    Act,
    chat_reply,
    error_reply,
    hang,
    raw,
    reset,
    sse_reply,
)
from fugu_adapters.testing.fault_server import FaultServer

POST = b"POST /w/%s/v1/x?q=1 HTTP/1.1\r\nHost: h\r\nX-Key: V\r\nContent-Length: 2\r\n\r\nhi"


async def _connect(
    server: FaultServer,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = server.origin.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))


async def _talk(server: FaultServer, name: bytes) -> bytes:
    """Send one request and return all that comes until the server closes or stays silent."""
    reader, writer = await _connect(server)
    writer.write(POST % name)
    got = b""
    try:
        async with asyncio.timeout(0.15):
            while piece := await reader.read(65536):
                got += piece
    except TimeoutError:
        pass
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)
    return got


async def test_records_what_arrived() -> None:
    """Method, path, headers and body are recorded as they were sent."""
    async with FaultServer() as server:
        server.script("a", [chat_reply("hello")])
        got = await _talk(server, b"a")
        (request,) = server.requests
    assert got.startswith(b"HTTP/1.1 200 ")
    assert b'"content": "hello"' in got
    assert (request.method, request.path, request.body) == ("POST", "/w/a/v1/x?q=1", b"hi")
    assert request.headers["x-key"] == "V"
    assert request.answered.is_set()
    assert not request.disconnected


async def test_acts_are_used_in_order_and_the_last_one_repeats() -> None:
    """Scripts advance by one act for each request; unknown scripts answer 404."""
    async with FaultServer() as server:
        server.script("s", [error_reply(503, retry_after="2"), chat_reply("ok")])
        first, second, third = [await _talk(server, b"s") for _ in range(3)]
        unknown = await _talk(server, b"nothing")
    assert b" 503 " in first
    assert b"retry-after: 2\r\n" in first
    assert b" 200 " in second
    assert b" 200 " in third
    assert b" 404 " in unknown
    assert len(server.seen("s")) == 3


async def test_keeps_connections_alive() -> None:
    """Two requests fit on one connection, even when sent together."""
    async with FaultServer() as server:
        server.script("k", [chat_reply("one"), chat_reply("two")])
        reader, writer = await _connect(server)
        writer.write(POST % b"k" + POST % b"k")
        got = b""
        async with asyncio.timeout(10):
            while got.count(b"HTTP/1.1 200") < 2 or b"two" not in got:
                got += await reader.read(65536)
        writer.close()
        await writer.wait_closed()
    assert [request.connection for request in server.requests] == [0, 0]
    assert server.peak == 1


async def test_notices_a_client_that_goes_away() -> None:
    """A disconnect during a stalled answer is seen at once and ends the request in flight."""
    async with FaultServer() as server:
        server.script("h", [hang()])
        _, writer = await _connect(server)
        writer.write(POST % b"h")
        request = await server.arrived()
        assert server.peak == 1
        writer.close()
        async with asyncio.timeout(10):
            await request.gone.wait()
        await writer.wait_closed()
    assert request.disconnected
    assert not request.answered.is_set()


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (Act(pieces=(b"abc",), declared=9, end="cut"), b"content-length: 9\r\n\r\nabc"),
        (Act(pieces=(b"abc",), framing="close"), b"connection: close\r\n\r\nabc"),
        (Act(pieces=(b"ab",), repeat=3), b"content-length: 6\r\n\r\nababab"),
        (raw(b"SSH-2.0-x\r\n"), b"SSH-2.0-x\r\n"),
        (
            sse_reply([{"type": "t", "n": 1}, "[DONE]", b": note\n"]),
            b'event: t\ndata: {"type": "t", "n": 1}\n\n\r\n'
            b"e\r\ndata: [DONE]\n\n\r\n7\r\n: note\n\r\n0\r\n\r\n",
        ),
        (hang(), b""),
    ],
    ids=["wrong-length", "close", "repeat", "raw", "sse", "hang"],
)
async def test_writes_what_the_act_says(act: Act, expected: bytes) -> None:
    """Framing, lies about it, and raw bytes reach the wire unchanged."""
    async with FaultServer() as server:
        server.script("x", [act])
        assert (await _talk(server, b"x")).endswith(expected)


async def test_reset_is_a_reset() -> None:
    """The client sees a reset connection and not an orderly end."""
    async with FaultServer() as server:
        server.script("r", [reset()])
        reader, writer = await _connect(server)
        writer.write(POST % b"r")
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)
