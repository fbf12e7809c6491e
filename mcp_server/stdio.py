"""The server on standard input and output, which a client starts as its own process."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, BinaryIO

from mcp_server.early import answer_early
from mcp_server.sdk import make_server, sdk_major

if TYPE_CHECKING:
    from mcp_server.handlers import Handlers

__all__ = ["serve_stdio"]


def serve_stdio(make_handlers: Callable[[], Handlers]) -> None:
    """Serve the client that started this process, until it closes our input or stops us.

    Whatever a library prints goes to standard error: only the protocol is written to standard output.

    Args:
        make_handlers: called in the event loop, at the first message that needs it.

    Raises:
        ConfigError: where the MCP SDK is missing.
    """
    major = sdk_major()
    wire_in, wire_out = _claim(0, os.O_RDONLY, "rb"), _claim(1, None, "wb")

    def write(answer: bytes) -> None:
        wire_out.write(answer)
        wire_out.flush()

    with contextlib.suppress(BrokenPipeError):  # the client is gone, and nobody left to answer
        seen = answer_early(wire_in, write, sdk_major=major)
        if seen is not None:
            asyncio.run(_serve(make_handlers, _Input(seen, wire_in), _Output(seen, wire_out)))


def _claim(descriptor: int, diversion: int | None, mode: str) -> BinaryIO:
    """A private copy of a standard stream, whose number then leads elsewhere.

    Children read nothing from the client, and what is printed goes to standard error.
    """
    private = os.dup(descriptor)
    if diversion is None:
        sys.stdout.flush()
        os.dup2(2, descriptor)
    else:
        nowhere = os.open(os.devnull, diversion)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
    # The process ends with these, while a thread may still be reading.
    return os.fdopen(private, mode, closefd=False)  # type: ignore[return-value]


async def _serve(make_handlers: Callable[[], Handlers], source: _Input, sink: _Output) -> None:
    from mcp.server.stdio import stdio_server

    task = asyncio.current_task()
    if task is not None and sys.platform != "win32":
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    handlers = make_handlers()
    server = make_server(handlers)
    try:
        async with stdio_server(source, sink) as (read, write):
            await server.run(read, write, server.create_initialization_options())
    except asyncio.CancelledError:
        pass  # SIGTERM: an orderly end
    finally:
        await handlers.aclose()


class _Input:
    """Lines that have been read already, then those of the wire; what the SDK reads from."""

    def __init__(self, seen: list[bytes], wire: BinaryIO) -> None:
        self._seen = seen
        self._wire = wire

    async def __aiter__(self) -> AsyncIterator[str]:
        for line in self._seen:
            yield line.decode("utf-8", errors="replace")
        lines: asyncio.Queue[bytes] = asyncio.Queue(1)
        # Python waits for the threads of a pool when it ends, and this one may be reading for ever.
        reader = threading.Thread(
            target=self._read, args=(asyncio.get_running_loop(), lines), daemon=True
        )
        reader.start()
        while line := await lines.get():
            yield line.decode("utf-8", errors="replace")

    def _read(self, loop: asyncio.AbstractEventLoop, lines: asyncio.Queue[bytes]) -> None:
        line = b"begin"
        with contextlib.suppress(RuntimeError, concurrent.futures.CancelledError):  # the loop ended
            while line:
                line = self._wire.readline()
                asyncio.run_coroutine_threadsafe(lines.put(line), loop).result()


class _Output:
    """What the SDK writes to. It leaves out the answer to a handshake that has been answered."""

    def __init__(self, seen: list[bytes], wire: BinaryIO) -> None:
        self._wire = wire
        self._answered = None if len(seen) < 2 else json.loads(seen[0])["id"]

    async def write(self, text: str) -> None:
        if self._answered is not None:
            answered, self._answered = self._answered, None
            if json.loads(text).get("id") == answered:
                return
        with contextlib.suppress(BrokenPipeError):  # its input has ended too, which ends the server
            await asyncio.to_thread(self._send, text.encode("utf-8"))

    def _send(self, line: bytes) -> None:
        self._wire.write(line)
        self._wire.flush()

    async def flush(self) -> None:
        """Nothing is held back."""
