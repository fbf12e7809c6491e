"""The upstream, the client and the server go away in the middle of a reply: nothing hangs, nothing is told twice."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from fugu_adapters.serve.app import Settings
from fugu_adapters.store import Store
from fugu_adapters.testing.acts import Act, anthropic_stream, chat_reply, chat_stream, sse_reply
from fugu_adapters.testing.fault_server import FaultServer

CHAT = "/v1/chat/completions"
BODY = {"model": "fugu", "messages": [{"role": "user", "content": "hi"}], "stream": True}
PIECES = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in ("one ", "two ")]
CALL = {"index": 0, "id": "c1", "type": "function", "function": {"name": "rm", "arguments": '{"a"'}}
DIALECTS = [
    pytest.param(CHAT, {}, b"data: [DONE]", id="chat"),
    pytest.param("/v1/messages", {"max_tokens": 50}, b"message_stop", id="messages"),
    pytest.param("/v1/responses", {}, b"response.completed", id="responses"),
]


def body_for(path: str, extra: dict[str, Any]) -> dict[str, Any]:
    """A streamed request of the path's dialect."""
    if path == "/v1/responses":
        return {"model": "fugu", "input": "hi", "stream": True, **extra}
    return {**BODY, **extra}


@pytest.mark.parametrize(("path", "extra", "end"), DIALECTS)
@pytest.mark.parametrize("how", ["cut", "reset"])
async def test_the_upstream_dies_after_the_first_words(
    serve: Callable[..., Any], path: str, extra: dict[str, Any], end: bytes, how: Any
) -> None:
    """The client has the words, a readable error and no sign that this was all; nobody else is asked."""
    broken = sse_reply(PIECES, end=how, drip=0.05)
    served = await serve({"w": [broken], "v": [broken]})
    reply = await served.post(path, body_for(path, extra))
    assert reply.content.count(b"one ") == 1
    assert b"127.0.0.1" not in reply.content  # where the workers are is nothing to clients
    assert b"error" in reply.content
    assert end not in reply.content
    assert len(served.upstream.requests) == 1
    run = served.store.last()
    assert run.status == "error"
    assert run.text.startswith("one")


async def test_no_tool_call_is_made_twice(serve: Callable[..., Any]) -> None:
    """A call whose arguments were cut is never completed by another worker."""
    act = sse_reply([{"choices": [{"index": 0, "delta": {"tool_calls": [CALL]}}]}], end="cut")
    served = await serve({"w": [act], "v": [act]})
    tools = [{"type": "function", "function": {"name": "rm", "parameters": {"type": "object"}}}]
    reply = await served.post(CHAT, {**BODY, "tools": tools})
    assert reply.content.count(b'"rm"') == 1
    assert b"error" in reply.content
    assert len(served.upstream.requests) == 1


@pytest.mark.parametrize(("path", "extra", "end"), DIALECTS)
async def test_the_upstream_dies_before_the_first_word(
    serve: Callable[..., Any], path: str, extra: dict[str, Any], end: bytes
) -> None:
    """Then another worker answers, and the client sees nothing of it."""
    start = {"type": "message_start", "message": {"usage": {"input_tokens": 1, "output_tokens": 1}}}
    acts = {"w": [sse_reply([start], end="cut")], "v": [anthropic_stream("fine")]}
    served = await serve(acts, apis={"w": "anthropic", "v": "anthropic"})
    reply = await served.post(path, body_for(path, extra))
    assert b"fine" in reply.content
    assert end in reply.content
    assert reply.content.count(b"event: message_start") <= 1
    assert served.store.last().worker == "v"


async def test_a_stalled_upstream_is_waited_for_with_signs_of_life(
    serve: Callable[..., Any],
) -> None:
    """Silence is filled with comments or pings that every client passes over."""
    slow = chat_stream("late", drip=0.6)
    settings = Settings(keep_alive_s=0.15)
    served = await serve({"w": [Act(**{**_fields(slow), "delay": 0.6})]}, settings=settings)
    reply = await served.post(CHAT, BODY)
    assert reply.text.startswith(": working\n\n")
    messages = await served.post("/v1/messages", {**BODY, "max_tokens": 9})
    assert "event: ping" in messages.text.split("message_start")[0]
    assert "late" in reply.text
    assert "late" in messages.text


def _fields(act: Act) -> dict[str, Any]:
    return {name: getattr(act, name) for name in act.__slots__}


@pytest.mark.parametrize("stream", [True, False])
async def test_the_client_hangs_up(serve: Callable[..., Any], stream: bool) -> None:
    """The worker is let go of within moments, the run is in the store, and the server goes on."""
    words = chat_stream(*["word "] * 200, drip=0.05)
    act = words if stream else chat_reply("late", delay=10)
    served = await serve({"w": [act, chat_reply("next")]})
    request = served.http.build_request("POST", CHAT, json={**BODY, "stream": stream})
    asking = asyncio.create_task(served.http.send(request, stream=True))
    seen = await served.upstream.arrived()
    if stream:
        reply = await asking
        async for _ in reply.aiter_bytes():
            break
        await reply.aclose()
    else:
        asking.cancel()
    await asyncio.wait_for(seen.gone.wait(), 20)
    for _ in range(100):
        run = served.store.last()
        if run is not None:
            break
        await asyncio.sleep(0.02)
    assert run is not None
    assert run.status == "cancelled"
    again = await served.post(CHAT, {**BODY, "stream": False})
    assert again.json()["choices"][0]["message"]["content"] == "next"


async def test_two_hundred_streams_at_once_leave_nothing_behind(serve: Callable[..., Any]) -> None:
    """Each has its own words; afterwards no task of ours is left."""
    served = await serve({"w": [chat_stream(*["a"] * 20, drip=0.01)]})
    before = len(asyncio.all_tasks())
    replies = await asyncio.gather(*(served.post(CHAT, BODY) for _ in range(200)))
    assert all(reply.content.count(b'"content": "a"') == 20 for reply in replies)
    await asyncio.sleep(0.2)
    assert (
        len(asyncio.all_tasks()) <= before + 205
    )  # the connections that are kept, and nothing else


async def _read_to_the_end(pieces: Any) -> None:
    async for _ in pieces:
        pass


class _Process:
    """``fugu serve`` as a process of its own."""

    def __init__(self, folder: Path, upstream: str, *options: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        config = folder / "fugu.toml"
        config.write_text(f'[[worker]]\nname = "w"\nmodel = "m"\nbase_url = "{upstream}"\n[store]\nurl = "{folder / "runs.db"}"\n')  # fmt: skip
        code = "from fugu_adapters.cli import main; main()"
        command = [sys.executable, "-c", code, "serve", "-c", str(config), "--port", str(port)]
        self.process = subprocess.Popen([*command, *options], stderr=subprocess.DEVNULL)
        self.url = f"http://127.0.0.1:{port}"

    async def ready(self) -> None:
        """Wait until it answers."""
        async with httpx.AsyncClient(trust_env=False) as http:
            for _ in range(200):
                try:
                    await http.get(f"{self.url}/health")
                    return
                except httpx.HTTPError:
                    await asyncio.sleep(0.05)
        raise AssertionError("it does not answer")

    async def ended(self) -> int:
        """Its exit status."""
        return await asyncio.wait_for(asyncio.to_thread(self.process.wait), 15)


@pytest.mark.parametrize(("patience", "whole"), [("10", True), ("0", False)])
async def test_sigterm_lets_streams_end(tmp_path: Path, patience: str, whole: bool) -> None:
    """A reply under way ends, or is cut with a readable error when time is up; new requests find nobody."""
    async with FaultServer() as upstream:
        url = upstream.script("w", [chat_stream(*["word "] * 30, drip=0.05)])
        server = _Process(tmp_path, url, "--drain", patience)
        await server.ready()
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=20) as http:
                async with http.stream("POST", f"{server.url}{CHAT}", json=BODY) as reply:
                    pieces, stopped = [], False
                    async for piece in reply.aiter_text():
                        pieces.append(piece)
                        if not stopped:
                            stopped = True
                            server.process.send_signal(signal.SIGTERM)
                with pytest.raises(httpx.TransportError):  # also of a connection that it has closed
                    await http.get(f"{server.url}/health")
            text = "".join(pieces)
            assert ("data: [DONE]" in text) is whole
            assert ("the server is being stopped" in text) is not whole
            assert text.count("word ") == 30 if whole else text.count("word ") < 30
            await server.ended()
        finally:
            server.process.kill()
            await server.ended()
    run = Store(str(tmp_path / "runs.db")).last()
    assert run is not None
    assert run.status == ("ok" if whole else "cancelled")


async def test_a_killed_server_leaves_the_run_in_the_store(tmp_path: Path) -> None:
    """The client sees the connection break at once; the store knows that the run was begun."""
    async with FaultServer() as upstream:
        url = upstream.script("w", [chat_stream(*["word "] * 200, drip=0.05)])
        server = _Process(tmp_path, url)
        await server.ready()
        began = time.monotonic()
        try:
            async with (
                httpx.AsyncClient(trust_env=False, timeout=20) as http,
                http.stream("POST", f"{server.url}{CHAT}", json=BODY) as reply,
            ):
                pieces = reply.aiter_text()
                await anext(pieces)
                await asyncio.sleep(0.3)
                server.process.kill()
                with pytest.raises(httpx.HTTPError):
                    await _read_to_the_end(pieces)
            # Not the twenty seconds after which the client gives up.
            assert time.monotonic() - began < 10
        finally:
            server.process.kill()
            await server.ended()
        await asyncio.wait_for(upstream.requests[0].gone.wait(), 20)
    runs = Store(str(tmp_path / "runs.db")).list()
    assert [run.status for run in runs] == ["running"]
    assert runs[0].request is not None
    json.dumps(runs[0].session)
