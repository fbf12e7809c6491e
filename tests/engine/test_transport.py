"""The transport: what it sends, what it refuses, and what it leaves behind."""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from http_worker import CANARY, post, read

from fugu_adapters.engine.transport import _FAILURES, Transport, _translate
from fugu_adapters.errors import (
    ConfigError,
    WorkerError,
    WorkerProtocolError,
    WorkerTimeout,
    WorkerUnavailable,
)
from fugu_adapters.testing.acts import Act, chat_reply, raw, reset
from fugu_adapters.testing.fault_server import FaultServer


async def _failure(transport: Transport, url: str, **options: int) -> WorkerError:
    with pytest.raises(WorkerError) as caught:
        await post(transport, url, **options)
    error = caught.value
    assert error.worker == "w"
    assert error.__cause__ is None
    assert CANARY not in f"{error} {error!r} {error.__dict__}"
    return error


# --- what goes out


async def test_request_on_the_wire() -> None:
    """Body and headers arrive as given, with nothing that invites compression or tracking."""
    async with FaultServer() as server:
        server.script("a", [chat_reply("hi")])
        transport = Transport()
        reply = await post(transport, server.url("a"))
        await transport.aclose()
        (seen,) = server.requests
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"
    assert seen.body == b"{}"
    assert set(seen.headers) == {
        "host",
        "content-type",
        "content-length",
        "x-api-key",
        "accept-encoding",
        "accept",
        "user-agent",
    }
    assert seen.headers["x-api-key"] == CANARY
    assert seen.headers["accept-encoding"] == "identity"
    assert seen.headers["user-agent"] == "fugu-adapters"


async def test_connections_are_reused_and_cookies_are_not_kept() -> None:
    """Calls share a connection, read whole or streamed, and no state of the server's choice."""
    async with FaultServer() as server:
        act = Act(headers={"set-cookie": "id=1; Path=/"}, pieces=(b"{}",))
        server.script("a", [act])
        transport = Transport()
        await post(transport, server.url("a"))
        await read(transport, server.url("a"))
        await post(transport, server.url("a"))
        await transport.aclose()
    assert [seen.connection for seen in server.requests] == [0, 0, 0]
    assert not any("cookie" in seen.headers for seen in server.requests)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirects_are_not_followed(status: int) -> None:
    """The place that a redirect names sees nothing: neither the prompt nor the key."""
    async with FaultServer() as server, FaultServer() as other:
        server.script("a", [Act(status=status, headers={"location": other.url("b")})])
        transport = Transport()
        reply = await post(transport, server.url("a"))
        await transport.aclose()
    assert reply.status == status
    assert other.requests == []
    assert other.connections == 0


async def test_environment_is_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Proxies, certificate files and .netrc in the environment change nothing."""
    async with FaultServer() as server, FaultServer() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.origin)
        (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
        server.script("a", [chat_reply("hi")])
        transport = Transport()
        await post(transport, server.url("a"))
        await transport.aclose()
    assert proxy.connections == 0
    assert len(server.requests) == 1
    assert "authorization" not in server.requests[0].headers


async def test_certificates_are_checked() -> None:
    """The default context verifies names and certificates; speaking TLS to plain HTTP says so."""
    from fugu_adapters.engine.transport import _default_ssl_context

    context = _default_ssl_context()
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED

    async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"this is no TLS record, and long enough to be read as one")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    transport = Transport()
    error = await _failure(transport, f"https://127.0.0.1:{port}/v1")
    await transport.aclose()
    server.close()
    await server.wait_closed()
    assert error.cause_kind == "tls"


# --- what comes back


@pytest.mark.parametrize(
    ("act", "kind", "cause"),
    [
        (reset(), WorkerUnavailable, "read_error"),
        (raw(), WorkerUnavailable, "disconnected"),
        (raw(b"SSH-2.0-OpenSSH\r\n\r\n"), WorkerUnavailable, "disconnected"),
        (
            Act(pieces=(b'{"a":',), declared=99, end="cut"),
            WorkerProtocolError,
            "truncated",
        ),
        (
            Act(pieces=(b"{}",), framing="chunked", end="cut"),
            WorkerProtocolError,
            "truncated",
        ),
        (
            Act(headers={"content-encoding": "gzip"}, pieces=(b"\x1f\x8b",)),
            WorkerProtocolError,
            "content_encoding",
        ),
        (Act(pieces=(b"x" * 101,)), WorkerProtocolError, "too_long"),
        (
            Act(pieces=(b"x" * 101,), framing="chunked"),
            WorkerProtocolError,
            "too_long",
        ),
    ],
    ids=["reset", "closed", "not-http", "cut-length", "cut-chunks", "gzip", "long", "endless"],
)
async def test_broken_replies(act: Act, kind: type[WorkerError], cause: str) -> None:
    """Each way of breaking a reply has its own class and word, and the next call works."""
    async with FaultServer() as server:
        server.script("a", [act, chat_reply("fine")])
        transport = Transport()
        error = await _failure(transport, server.url("a"), max_bytes=100)
        again = await post(transport, server.url("a"))
        await transport.aclose()
    assert type(error) is kind
    assert error.cause_kind == cause
    assert again.status == 200


async def test_causes_of_no_connection_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed port, a name that does not resolve and silence while connecting are told apart."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        transport = Transport()
        refused = await _failure(transport, f"http://127.0.0.1:{port}/v1?secret=1")
        by_name = await _failure(transport, f"http://localhost:{port}/v1")  # over ::1 as well
        await transport.aclose()

    async def no_name(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", no_name)
    transport = Transport()
    dns = await _failure(transport, "http://no-such-host.invalid/v1")
    await transport.aclose()

    with socket.socket() as full:  # nobody accepts and the queue is full: a black hole
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        blockers = [socket.socket() for _ in range(4)]
        for blocker in blockers:
            blocker.setblocking(False)
            blocker.connect_ex(full.getsockname())
        transport = Transport(connect_timeout=0.1)
        silent = await _failure(transport, f"http://127.0.0.1:{full.getsockname()[1]}/v1")
        await transport.aclose()
        for blocker in blockers:
            blocker.close()

    assert [error.cause_kind for error in (refused, by_name, dns, silent)] == [
        "connect_refused",
        "connect_refused",
        "dns",
        "connect_timeout",
    ]
    assert isinstance(silent, WorkerTimeout)
    assert str(port) in str(refused)
    assert "secret" not in str(refused)


def _subclasses(cls: type[BaseException]) -> Iterator[type[BaseException]]:
    yield cls
    for sub in cls.__subclasses__():
        yield from _subclasses(sub)


@pytest.mark.parametrize("kind", sorted(set(_subclasses(aiohttp.ClientError)), key=str))
def test_every_exception_of_the_library_is_ours(kind: type[Exception]) -> None:
    """Whatever it is, and whatever a later version adds below it, without its text."""
    url = "http://user:pass@host:8080/path?key=secret"
    error = kind.__new__(kind)
    error.args = (f"text with {url}",)
    translated = _translate(error, url, "w")
    assert isinstance(translated, WorkerError | ConfigError)
    assert "secret" not in str(translated)
    if isinstance(translated, WorkerError):
        assert str(translated).startswith("http://host:8080: ")


def test_faults_have_words_of_their_own() -> None:
    """Those that an operator has to tell apart."""
    causes = {kind: _FAILURES[kind][1] for kind in _FAILURES}
    assert causes[aiohttp.ConnectionTimeoutError] == "connect_timeout"
    assert causes[aiohttp.ClientOSError] == "read_error"
    assert causes[aiohttp.ClientPayloadError] == "truncated"
    assert len(set(causes.values())) >= len(causes) - 2


@pytest.mark.parametrize(
    ("cause", "word"),
    [
        (ExceptionGroup("all", [OSError(), ConnectionRefusedError()]), "connect_refused"),
        (OSError(24, "Too many open files"), "connect"),
        (None, "connect"),
    ],
)
def test_why_there_is_no_connection(cause: Exception | None, word: str) -> None:
    """The reason is found behind a group of attempts; an unknown one keeps the general word."""
    error = aiohttp.ClientConnectorError.__new__(aiohttp.ClientConnectorError)
    error.__cause__ = cause
    translated = _translate(error, "http://h/v1", "w")
    assert isinstance(translated, WorkerUnavailable)
    assert translated.cause_kind == word


@pytest.mark.parametrize("url", ["http://[::1", "ftp://host/x", "http://host:notaport/"])
async def test_bad_addresses_are_the_operators_to_fix(url: str) -> None:
    """An address that cannot be used is a configuration error, raised without a connection."""
    transport = Transport()
    with pytest.raises(ConfigError, match="base_url"):
        await post(transport, url)
    await transport.aclose()


async def test_error_bodies_are_bounded_and_optional() -> None:
    """Of a refusal we read only so much, and a body that breaks off does not hide the status."""
    async with FaultServer() as server:
        server.script("long", [Act(status=400, pieces=(b"x" * 65536,), repeat=64)])
        server.script("cut", [Act(status=503, pieces=(b"oh",), declared=50, end="cut")])
        gzip = {"content-encoding": "gzip"}
        server.script("gzip", [Act(status=500, headers=gzip, pieces=(b"\x1f",))])
        transport = Transport()
        long = await post(transport, server.url("long"))
        cut = await post(transport, server.url("cut"))
        encoded = await post(transport, server.url("gzip"))
        await transport.aclose()
    assert long.status == 400
    assert len(long.body) <= 65536
    assert (cut.status, cut.body) == (503, b"oh")
    assert (encoded.status, encoded.body) == (500, b"")


async def test_flood_is_cut() -> None:
    """A body without end is cut at the bound: memory stays, and the connection is closed."""
    megabyte = b"x" * (1024 * 1024)
    async with FaultServer() as server:
        flood = Act(pieces=(megabyte,), repeat=100, framing="chunked")
        server.script("f", [flood, chat_reply("fine")])
        transport = Transport()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        error = await _failure(transport, server.url("f"), max_bytes=2 * 1024 * 1024)
        async with asyncio.timeout(10):  # what was on its way fills a busy machine's buffers first
            await server.requests[0].gone.wait()
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert (await post(transport, server.url("f"))).status == 200
        await transport.aclose()
    assert error.cause_kind == "too_long"
    assert grown < 32 * 1024  # KiB


# --- streams


async def test_stream_arrives_piece_by_piece() -> None:
    """The first piece is there before the server has sent the last."""
    async with FaultServer() as server:
        act = Act(pieces=(b"one", b"two"), drip=0.1, framing="chunked")
        server.script("s", [act])
        transport = Transport()
        async with transport.stream(server.url("s"), headers={}, body=b"", worker="w") as stream:
            first = await anext(stream)
            complete = server.requests[0].answered.is_set()
            rest = [chunk async for chunk in stream]
        await transport.aclose()
    assert (first, rest) == (b"one", [b"two"])
    assert not complete


async def test_stalled_stream_times_out_only_after_it_began() -> None:
    """Silence before the first byte is thinking; silence after it is a stall."""
    async with FaultServer() as server:
        server.script("slow", [Act(pieces=(b"x",), delay=0.8)])
        server.script("stall", [Act(pieces=(b"x",), framing="chunked", end="stall")])
        transport = Transport(idle_timeout=0.4)
        assert await read(transport, server.url("slow")) == b"x"
        with pytest.raises(WorkerTimeout) as caught:
            await read(transport, server.url("stall"))
        async with asyncio.timeout(10):
            await server.seen("stall")[0].gone.wait()
        await transport.aclose()
    assert caught.value.cause_kind == "idle"


async def test_leaving_a_stream_early_closes_its_connection() -> None:
    """What is not wanted is not read."""
    async with FaultServer() as server:
        endless = Act(pieces=(b"x" * 1000,), repeat=10**6, framing="chunked")
        server.script("s", [endless])
        transport = Transport()
        async with transport.stream(server.url("s"), headers={}, body=b"", worker="w") as stream:
            await anext(stream)
        async with asyncio.timeout(10):
            await server.requests[0].gone.wait()
        await transport.aclose()
