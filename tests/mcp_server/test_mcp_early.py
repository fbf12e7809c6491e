"""What is answered before the SDK is loaded is what the SDK would have answered."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from typing import Any

import pytest
from mcp_clients import MAJOR

from mcp_server.early import HANDSHAKES, MODERN, answer_early

LISTS = ("tools/list", "prompts/list", "resources/list", "resources/templates/list")
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
}


def _line(method: str, request_id: int | None = None, **params: Any) -> bytes:
    message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
    if request_id is not None:
        message["id"] = request_id
    if params:
        message["params"] = params
    return json.dumps(message).encode() + b"\n"


def _hello(version: str = "2025-06-18", request_id: int = 0) -> bytes:
    return _line(
        "initialize",
        request_id,
        protocolVersion=version,
        capabilities={},
        clientInfo={"name": "test", "version": "1"},
    )


def _early(
    *lines: bytes, sdk_major: int = MAJOR
) -> tuple[list[dict[str, Any]], list[bytes] | None]:
    answers: list[dict[str, Any]] = []
    left = answer_early(
        io.BytesIO(b"".join(lines)),
        lambda line: answers.append(json.loads(line)),
        sdk_major=sdk_major,
    )
    return answers, left


async def _by_sdk(*lines: bytes) -> list[dict[str, Any]]:
    """What the SDK answers to the same lines."""
    from mcp.server.stdio import stdio_server

    from fugu_adapters import Pool
    from fugu_adapters.testing import ScriptedWorker
    from mcp_server.handlers import Handlers
    from mcp_server.sdk import make_server
    from mcp_server.stdio import _Input, _Output

    out = io.BytesIO()
    server = make_server(Handlers(lambda: Pool([ScriptedWorker("w").worker])))
    gate = _Gate([line for line in lines if b'"id"' in line], out)
    async with stdio_server(
        _Input(list(lines), gate),  # type: ignore[arg-type]  # what it uses of a file
        _Output([b""], out),
    ) as (read, write):
        await server.run(read, write, server.create_initialization_options())
    return [json.loads(line) for line in out.getvalue().splitlines()]


class _Gate(io.BytesIO):
    """A wire that ends once every request has been answered."""

    def __init__(self, requests: list[bytes], out: io.BytesIO) -> None:
        super().__init__()
        self._requests, self._out = requests, out

    def readline(self, size: int | None = -1, /) -> bytes:
        import time

        for _ in range(500):
            if self._out.getvalue().count(b"\n") >= len(self._requests):
                break
            time.sleep(0.01)
        return b""


@pytest.mark.parametrize("version", HANDSHAKES)
async def test_a_handshake_is_answered_as_the_sdk_does(version: str) -> None:
    """Version, capabilities, identity, instructions, lists and ping: word for word."""
    lines = [
        _hello(version),
        _line("notifications/initialized"),
        *(_line(method, place) for place, method in enumerate(LISTS, 1)),
        _line("ping", 9),
    ]
    answers, left = _early(*lines)
    assert left is None
    by_id = {answer["id"]: answer for answer in await _by_sdk(*lines)}
    assert {answer["id"]: answer for answer in answers} == by_id
    assert len(answers) == 6


@pytest.mark.skipif(MAJOR < 2, reason="SDK 1 does not speak it")
async def test_the_modern_protocol_is_answered_as_the_sdk_does() -> None:
    """Discovery and lists of 2026-07-28: word for word."""
    methods = ("server/discover", *LISTS)
    lines = [_line(method, place, _meta=META) for place, method in enumerate(methods)]
    answers, left = _early(*lines)
    assert left is None
    by_id = {answer["id"]: answer for answer in await _by_sdk(*lines)}
    assert {answer["id"]: answer for answer in answers} == by_id


@pytest.mark.parametrize(
    "line",
    [
        b"not json\n",
        b"[]\n",
        b"5\n",
        b'{"jsonrpc": "1.0", "id": 1, "method": "ping"}\n',
        b'{"jsonrpc": "2.0", "id": 1, "method": 7}\n',
        b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": []}\n',
        b'{"jsonrpc": "2.0", "id": 1.5, "method": "initialize"}\n',
        _hello("1999-01-01"),
        _line("initialize", 1),
        _line("tools/list", 1),
        _line("tools/call", 1, name="route", arguments={}),
        _line("notifications/initialized"),
        _line("notifications/cancelled", requestId=3),
        _line(
            "tools/list", 1, _meta=META | {"io.modelcontextprotocol/protocolVersion": "2099-01-01"}
        ),
        _line("tools/list", 1, _meta={"io.modelcontextprotocol/protocolVersion": MODERN}),
        _line("tools/list", 1, cursor="x", _meta=META),
        _line("completion/complete", 1, _meta=META),
    ],
    ids=lambda line: line.decode()[:60],
)
def test_whatever_is_unusual_is_left_to_the_sdk(line: bytes) -> None:
    """Nothing is answered, and the line is handed on as it came."""
    assert _early(line, sdk_major=2) == ([], [line])


def test_the_sdk_is_told_of_the_handshake_first() -> None:
    """The lines that made the session what it is come before the one that needs the SDK."""
    hello, ready = _hello(), _line("notifications/initialized")
    call = _line("tools/call", 2, name="route", arguments={"task": "x"})
    answers, left = _early(hello, ready, _line("tools/list", 1), call)
    assert [answer["id"] for answer in answers] == [0, 1]
    assert left == [hello, ready, call]


def test_sdk_1_is_left_the_modern_protocol() -> None:
    """It refuses it, and clients then fall back to the handshake."""
    line = _line("server/discover", 0, _meta=META)
    assert _early(line, sdk_major=1) == ([], [line])


def test_a_second_handshake_is_left_to_the_sdk() -> None:
    """Whatever it means, it is not ours to say."""
    again = _hello(request_id=5)
    answers, left = _early(_hello(), again)
    assert len(answers) == 1
    assert left == [_hello(), again]


def test_neither_sdk_nor_engine_is_loaded_for_it() -> None:
    """The start of the server imports no framework, no model and no SDK."""
    code = (
        "import sys, mcp_server.stdio, mcp_server.early, fugu_adapters.cli.mcp;"
        "from mcp_server.tools import listing; listing('tools/list');"
        "print([m for m in ('mcp', 'numpy', 'aiohttp', 'httpx', 'anyio', 'fugu_adapters.fugu', 'starlette',"
        " 'fugu_adapters.policies', 'sqlalchemy') if m in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert out.stdout.strip() == "[]"
