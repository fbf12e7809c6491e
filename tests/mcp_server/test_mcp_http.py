"""The server over streamable HTTP, on loopback."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import httpx
import pytest
from mcp_clients import MAJOR, connect

from fugu_adapters import ConfigError, Fugu, Pool
from fugu_adapters.testing import ScriptedWorker

ALICE, BOB = "alice-" + "a" * 24, "bob-" + "b" * 24
ACCEPT = {"accept": "application/json, text/event-stream"}
HELLO: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}


@asynccontextmanager
async def _served(worker: ScriptedWorker, **options: Any) -> AsyncIterator[str]:
    """A server of its own on a free port; its address."""
    import uvicorn

    from mcp_server.handlers import Handlers, Settings
    from mcp_server.http import http_app

    settings = Settings(beat_s=0.05, **options.pop("settings", {}))
    make: Callable[[], Handlers] = lambda: Handlers(  # noqa: E731
        lambda: Pool([worker.worker]), settings, lambda pool: Fugu(pool, store=False)
    )
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            http_app(make, **options), log_level="error", timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve([listening]))
        while not server.started:  # noqa: ASYNC110  it has no event for it
            await asyncio.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
        finally:
            for http in _Session.open_clients:
                await http.aclose()
            _Session.open_clients.clear()
            server.should_exit = True
            await task


class _Session:
    """A client of the handshake era, by hand; closed with the server."""

    open_clients: ClassVar[list[httpx.AsyncClient]] = []

    def __init__(self, url: str, **headers: str) -> None:
        self.http = httpx.AsyncClient(headers=ACCEPT | headers, trust_env=False, timeout=20)
        self.open_clients.append(self.http)
        self.url = url

    async def open(self) -> httpx.Response:
        got = await self.http.post(self.url, json=HELLO)
        if got.status_code == 200:
            self.http.headers["mcp-session-id"] = got.headers["mcp-session-id"]
            self.http.headers["mcp-protocol-version"] = "2025-06-18"
            ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
            await self.http.post(self.url, json=ready)
        return got

    async def call(self, name: str, **arguments: Any) -> dict[str, Any]:
        message = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": name, "arguments": arguments},
        }
        got = await self.http.post(self.url, json=message)
        assert got.status_code == 200, got.text
        data = [line[5:] for line in got.text.splitlines() if line.startswith("data:")]
        result: dict[str, Any] = json.loads(data[-1])["result"]
        return result


async def test_the_sdks_client_works_over_http(era: str) -> None:
    """List, call with progress, read: with the client of the installed SDK, in both eras."""
    async with _served(ScriptedWorker("w", "yes", delay=0.2)) as url, connect(url, era) as client:
        tools = await client.listed("tools")
        got = await client.call("orchestrate", task="x")
        again = await client.call("result", run_id=got.body["run_id"])
        trace = await client.read(f"fugu://runs/{got.body['run_id']}")
    assert len(tools) == 3
    assert got.body["text"] == again.body["text"] == "yes"
    assert any("w is answering" in message for _, message in got.progress)
    assert trace["trace"]["attempts"][0]["worker"] == "w"


async def test_a_client_that_hangs_up_stops_its_run(era: str) -> None:
    """A connection that is closed in the middle of a call leaves no worker running."""
    worker = ScriptedWorker("w", delay=30)
    async with _served(worker) as url, connect(url, era) as client:
        task = asyncio.create_task(client.call("orchestrate", task="x"))
        await asyncio.wait_for(worker.started.wait(), 10)
        await client.cancel(task)
        for _ in range(250):
            if worker.cancelled:
                break
            await asyncio.sleep(0.02)
    assert worker.cancelled == 1


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"host": "127.0.0.1.evil.example:80"}, 421),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
    ],
)
async def test_other_hosts_and_origins_are_refused(headers: dict[str, str], status: int) -> None:
    """No web page reaches the server through its visitor's browser, by name or by origin."""
    worker = ScriptedWorker("w")
    async with _served(worker) as url:
        got = await _Session(url, **headers).open()
    assert got.status_code == status
    assert worker.requests == []


async def test_a_named_host_is_let_in() -> None:
    """An operator behind a name of their own allows it."""
    async with _served(ScriptedWorker("w"), allowed_hosts=["fugu.example:443"]) as url:
        headers = {"host": "fugu.example:443", "origin": "https://fugu.example:443"}
        got = await _Session(url, **headers).open()
    assert got.status_code == 200


@pytest.mark.parametrize(
    "given",
    [None, "", "Bearer", "Bearer wrong", f"Basic {ALICE}", f"Bearer {ALICE}x", "Bearer \u00fc"],
)
async def test_a_missing_or_wrong_token_is_refused(given: str | None) -> None:
    """401 with what is wanted, and nobody is asked."""
    worker = ScriptedWorker("w")
    headers: Any = {} if given is None else {"authorization": given.encode("latin-1")}
    async with _served(worker, tokens=[ALICE]) as url:
        got = await _Session(url, **headers).open()
    assert got.status_code == 401
    assert got.headers["www-authenticate"].startswith("Bearer")
    assert ALICE not in got.text
    assert worker.requests == []


async def test_sessions_and_runs_belong_to_their_token() -> None:
    """Another caller who knows a session or a run id gets nothing from either."""
    async with _served(ScriptedWorker("w", "mine"), tokens=[ALICE, BOB]) as url:
        alice = _Session(url, authorization=f"Bearer {ALICE}")
        bob = _Session(url, authorization=f"Bearer {BOB}")
        assert (await alice.open()).status_code == (await bob.open()).status_code == 200
        made = (await alice.call("orchestrate", task="x"))["structuredContent"]
        stolen = await bob.call("result", run_id=made["run_id"])
        bob.http.headers["mcp-session-id"] = alice.http.headers["mcp-session-id"]
        ping = {"jsonrpc": "2.0", "id": 3, "method": "ping"}
        hijacked = await bob.http.post(url, json=ping)
        second = _Session(url, authorization=f"Bearer {ALICE}")  # reconnected
        await second.open()
        found = await second.call("result", run_id=made["run_id"])
    assert stolen["isError"] is True
    assert "no such run of yours" in stolen["content"][0]["text"]
    assert hijacked.status_code == 404
    assert found["structuredContent"]["text"] == "mine"


async def test_without_tokens_runs_belong_to_their_session() -> None:
    """Two programs of one machine do not see each other's runs."""
    async with _served(ScriptedWorker("w", "mine")) as url:
        one, two = _Session(url), _Session(url)
        await one.open()
        await two.open()
        made = (await one.call("orchestrate", task="x"))["structuredContent"]
        stolen = await two.call("result", run_id=made["run_id"])
        found = await one.call("result", run_id=made["run_id"])
    assert stolen["isError"] is True
    assert found["structuredContent"]["text"] == "mine"


async def test_a_body_of_five_megabytes_is_refused() -> None:
    """413 before it is parsed."""
    worker = ScriptedWorker("w")
    async with _served(worker) as url:
        session = _Session(url)
        await session.open()
        got = await session.http.post(
            url, content=b" " * 5_000_000, headers={"content-type": "application/json"}
        )
    assert got.status_code == 413
    assert worker.requests == []


async def test_an_unknown_session_is_told_so() -> None:
    """404, upon which clients begin anew."""
    async with _served(ScriptedWorker("w")) as url:
        got = await _Session(url, **{"mcp-session-id": "0" * 32}).http.post(
            url, json={"jsonrpc": "2.0", "id": 1, "method": "ping"}
        )
    assert got.status_code == 404


@pytest.mark.skipif(MAJOR < 2, reason="SDK 1 does not speak it")
async def test_tokens_bind_runs_without_sessions_too() -> None:
    """Since 2026-07-28 there is no session; the token says whose a run is."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    }

    async def call(url: str, token: str, name: str, **arguments: Any) -> dict[str, Any]:
        headers = {
            **ACCEPT,
            "authorization": f"Bearer {token}",
            "mcp-protocol-version": "2026-07-28",
            "mcp-method": "tools/call",
            "mcp-name": name,
        }
        params = {"name": name, "arguments": arguments, "_meta": meta}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        async with httpx.AsyncClient(trust_env=False) as http:
            got = await http.post(url, json=message, headers=headers)
        text = next((ln[5:] for ln in got.text.splitlines() if ln.startswith("data:")), got.text)
        result: dict[str, Any] = json.loads(text)["result"]
        return result

    async with _served(ScriptedWorker("w", "mine"), tokens=[ALICE, BOB]) as url:
        made = (await call(url, ALICE, "orchestrate", task="x"))["structuredContent"]
        stolen = await call(url, BOB, "result", run_id=made["run_id"])
        found = await call(url, ALICE, "result", run_id=made["run_id"])
    assert stolen["isError"] is True
    assert found["structuredContent"]["text"] == "mine"


def test_a_network_needs_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond loopback nothing is served without one, and a short one is refused."""
    from mcp_server.http import TOKEN, is_loopback, serve_http, tokens_from_env

    def never() -> Any:
        raise AssertionError

    with pytest.raises(ConfigError, match="lets others connect"):
        serve_http(never, host="0.0.0.0")  # noqa: S104
    assert [is_loopback(h) for h in ("127.0.0.1", "::1", "localhost", "127.9.9.9")] == [True] * 4
    assert [is_loopback(h) for h in ("192.168.1.2", "example.org", "::")] == [False] * 3
    monkeypatch.setenv(TOKEN, "short")
    with pytest.raises(ConfigError, match="16 characters"):
        tokens_from_env()
    monkeypatch.setenv(TOKEN, f"{ALICE} {BOB}")
    assert tokens_from_env() == (ALICE, BOB)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
async def test_fugu_mcp_serves_over_http_until_interrupted() -> None:
    """The command listens where it says, answers, and ends without a traceback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    fugu = "from fugu_adapters.cli import main; main()"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", fugu, "mcp", "--http", "--port", str(port)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        url = f"http://127.0.0.1:{port}/mcp"
        session = _Session(url)
        for _ in range(150):
            try:
                got = await session.open()
                break
            except httpx.ConnectError:
                await asyncio.sleep(0.1)
        assert got.status_code == 200
        process.send_signal(signal.SIGINT)
        out, noise = await asyncio.wait_for(process.communicate(), 15)
    finally:
        await session.http.aclose()
        _Session.open_clients.clear()
        if process.returncode is None:
            process.kill()
            await process.communicate()
    assert out == b""
    assert url in noise.decode()
    assert "Traceback" not in noise.decode()
