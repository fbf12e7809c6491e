"""The server as a client's own process, on standard input and output."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp_clients import connect

CHILD = [sys.executable, str(Path(__file__).with_name("noisy_stdio_child.py"))]
FUGU = [sys.executable, "-c", "from fugu_adapters.cli import main; main()", "mcp"]
HELLO: dict[str, Any] = {
    "id": 0,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
READY = {"method": "notifications/initialized"}


def _lines(*messages: dict[str, Any]) -> bytes:
    return b"".join(json.dumps({"jsonrpc": "2.0", **m}).encode() + b"\n" for m in messages)


def _call(request_id: int, task: str) -> dict[str, Any]:
    return {
        "id": request_id,
        "method": "tools/call",
        "params": {
            "name": "orchestrate",
            "arguments": {"task": task},
            "_meta": {"progressToken": 7},
        },
    }


@pytest.fixture
async def child() -> Any:
    """A server process to write lines to."""
    process = await asyncio.create_subprocess_exec(
        *CHILD,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=2**24,
    )
    yield process
    if process.returncode is None:
        process.kill()
    await process.communicate()


async def _until(child: Any, request_id: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Messages up to the answer of a request, every one of which is JSON, and that answer."""
    before = []
    while True:
        message = json.loads(await asyncio.wait_for(child.stdout.readline(), 30))
        if message.get("id") == request_id:
            return before, message
        before.append(message)


async def test_the_sdks_client_works_over_stdio(era: str) -> None:
    """Start, list, call, read: with the client of the installed SDK, in both eras."""
    async with connect(CHILD, era) as client:
        tools = await client.listed("tools")
        got = await client.call("orchestrate", task="hello")
        pool = await client.read("fugu://pool")
    assert len(tools) == 3
    assert got.body["text"] == "answer to hello"
    assert got.progress
    assert pool["workers"][0]["name"] == "w"


async def test_nothing_but_the_protocol_is_on_standard_output(child: Any) -> None:
    """Whatever prints, from Python or from C, is on standard error; every line we get is a message."""
    child.stdin.write(_lines(HELLO, READY, _call(1, "hello")))
    heard, answer = await _until(child, 1)
    child.stdin.close()
    rest = await asyncio.wait_for(child.stdout.read(), 30)
    noise = (await child.stderr.read()).decode()
    assert answer["result"]["structuredContent"]["text"] == "answer to hello"
    assert rest == b""
    assert [m["method"] for m in heard if "method" in m] == ["notifications/progress"] * (
        len(heard) - 1
    )
    for said in ("a library talks", "so does one written in C", "whoever makes the pool"):
        assert said in noise
    assert await child.wait() == 0


async def test_the_handshake_is_answered_once(child: Any) -> None:
    """The SDK is told of it later, and its own answer to it is left out."""
    child.stdin.write(_lines(HELLO, READY, {"id": 1, "method": "tools/list"}, _call(2, "x")))
    heard, _ = await _until(child, 2)
    assert [message["id"] for message in heard if "id" in message] == [0, 1]


async def test_a_client_that_leaves_stops_the_run(child: Any) -> None:
    """The end of our input stops the worker and ends the process."""
    child.stdin.write(_lines(HELLO, READY, _call(1, "slowly")))
    while b"has begun" not in await asyncio.wait_for(child.stderr.readline(), 30):
        pass
    child.stdin.close()
    assert await asyncio.wait_for(child.wait(), 30) == 0
    assert b"the worker was stopped" in await child.stderr.read()


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_the_run(child: Any, sent: signal.Signals) -> None:
    """Clients that end their servers by a signal leave no worker running, and no traceback."""
    child.stdin.write(_lines(HELLO, READY, _call(1, "slowly")))
    while b"has begun" not in await asyncio.wait_for(child.stderr.readline(), 30):
        pass
    child.send_signal(sent)
    await asyncio.wait_for(child.wait(), 30)
    noise = await child.stderr.read()
    assert b"the worker was stopped" in noise
    assert b"Traceback" not in noise


async def test_a_task_of_five_megabytes_is_refused_over_stdio(child: Any) -> None:
    """It is read, named as too long, and nobody is asked."""
    child.stdin.write(_lines(HELLO, READY, _call(1, "x" * 5_000_000)))
    await child.stdin.drain()
    _, answer = await _until(child, 1)
    assert answer["result"]["isError"] is True
    assert "at most 1000000 characters" in answer["result"]["content"][0]["text"]


async def test_garbage_does_not_end_the_server(child: Any) -> None:
    """After lines that are no messages it still answers."""
    child.stdin.write(
        _lines(HELLO, READY) + b"not json\n\xff\xfe\n[1, 2]\n" + _lines(_call(1, "x"))
    )
    _, answer = await _until(child, 1)
    assert answer["result"]["structuredContent"]["text"] == "answer to x"


def test_fugu_mcp_serves_and_says_how_it_is_set_up() -> None:
    """The command answers on standard output; its help has a line for every client."""
    served = subprocess.run(
        FUGU,
        input=_lines(HELLO, {"id": 1, "method": "tools/list"}),
        capture_output=True,
        timeout=60,
    )
    answers = [json.loads(line) for line in served.stdout.splitlines()]
    assert served.returncode == 0, served.stderr
    assert [answer["id"] for answer in answers] == [0, 1]
    shown = subprocess.run([*FUGU, "--help"], capture_output=True, text=True, timeout=60).stdout
    for client in ("Claude Code", "Codex", "Cursor", "VS Code", "opencode"):
        assert client in shown
    assert "claude mcp add fugu -- fugu mcp" in shown


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--on-cancel", "maybe"], "expected stop or keep"),
        (["--http", "--host", "192.0.2.1"], "FUGU_MCP_TOKEN"),
        (["--patience", "0"], "patience"),
    ],
)
def test_wrong_options_are_refused(options: list[str], says: str) -> None:
    """Before anything is served."""
    ran = subprocess.run([*FUGU, *options], capture_output=True, text=True, timeout=60)
    assert ran.returncode in (2, 3, 4)
    assert says in ran.stderr
    assert "Traceback" not in ran.stderr
