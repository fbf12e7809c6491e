"""An HTTP server on the loopback interface that answers by script, well or badly.

::

    async with FaultServer() as server:
        server.script("flaky", [error_reply(503), chat_reply("hello")])
        worker = Worker(name="w", model="m", base_url=server.url("flaky"))
        ...
        assert len(server.seen("flaky")) == 2

It writes to the socket itself, so that it can send what no framework would: half a reply, a reset, a
wrong length. It keeps connections alive, and it notices at once when the other side goes away.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fugu_adapters.testing.acts import Act

__all__ = ["FaultServer", "SeenRequest"]

_HEAD_END = b"\r\n\r\n"
_LINGER_OFF = struct.pack("ii", 1, 0)


@dataclass(kw_only=True, eq=False)
class SeenRequest:
    """A request as it arrived.

    Attributes:
        time: when, in seconds of the event loop's clock.
        method: such as ``"POST"``.
        path: with the query.
        headers: with lower-case names.
        body: as sent.
        connection: number of the connection, from 0; equal numbers mean that it was reused.
        gone: set when the other side disconnected before its answer was complete.
        answered: set when the answer was complete.
    """

    time: float
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    connection: int
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    answered: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def disconnected(self) -> bool:
        """Whether the other side went away before its answer was complete."""
        return self.gone.is_set()

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class FaultServer:
    """Serves scripts at ``/w/<name>/v1/...``; use it as an async context manager.

    Attributes:
        requests: everything that arrived, in order.
        peak: the most requests that were in flight at a time.
        connections: how many connections were opened.
    """

    def __init__(self) -> None:
        self.requests: list[SeenRequest] = []
        self.peak = 0
        self.connections = 0
        self._scripts: dict[str, Sequence[Act]] = {}
        self._served: dict[str, int] = {}
        self._in_flight = 0
        self._arrival = asyncio.Event()
        self._open: set[_Connection] = set()
        self._server: asyncio.Server | None = None
        self._port = 0

    async def __aenter__(self) -> FaultServer:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        connections = list(self._open)
        for connection in connections:
            connection.abort()
        for connection in connections:
            await connection.lost.wait()
        if self._server is not None:
            await self._server.wait_closed()

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self._port}"

    def url(self, name: str) -> str:
        """The ``base_url`` at which a script is served."""
        return f"{self.origin}/w/{name}/v1"

    def script(self, name: str, acts: Sequence[Act]) -> str:
        """Answer the requests to ``url(name)`` with one act each, the last one again and again.

        Returns:
            ``url(name)``.
        """
        self._scripts[name] = tuple(acts)
        self._served[name] = 0
        return self.url(name)

    def seen(self, name: str) -> list[SeenRequest]:
        """The requests to one script, in order."""
        return [request for request in self.requests if _script_of(request.path) == name]

    async def arrived(self, count: int = 1) -> SeenRequest:
        """Wait until so many requests have arrived, and return the last of them."""
        while len(self.requests) < count:
            self._arrival.clear()
            await self._arrival.wait()
        return self.requests[count - 1]

    def _begin(self, request: SeenRequest) -> Act:
        self.requests.append(request)
        self._arrival.set()
        self._in_flight += 1
        self.peak = max(self.peak, self._in_flight)
        name = _script_of(request.path)
        acts = self._scripts.get(name, ())
        if not acts:
            return Act(status=404)
        number = self._served[name]
        self._served[name] = number + 1
        return acts[min(number, len(acts) - 1)]

    def _end(self) -> None:
        self._in_flight -= 1


def _script_of(path: str) -> str:
    parts = path.split("?")[0].split("/")
    return parts[2] if len(parts) > 2 and parts[1] == "w" else ""


class _Connection(asyncio.Protocol):
    """One connection: reads requests one after the other and performs an act for each."""

    def __init__(self, server: FaultServer) -> None:
        self._server = server
        self._number = server.connections
        server.connections += 1
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._request: SeenRequest | None = None
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._transport = transport
        self._server._open.add(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._next()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, error: Exception | None) -> None:
        if self._request is not None:
            self._request.gone.set()
            self._server._end()
        if self._task is not None:
            self._task.cancel()
        self._server._open.discard(self)
        self.lost.set()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _next(self) -> None:
        """Start on the next request if it is there and nothing else is being answered."""
        if self._task is None and (request := self._parse()) is not None:
            self._request = request
            self._task = asyncio.ensure_future(self._answer(request, self._server._begin(request)))

    def _parse(self) -> SeenRequest | None:
        end = self._buffer.find(_HEAD_END)
        if end < 0:
            return None
        first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        start = end + len(_HEAD_END)
        length = int(headers.get("content-length", "0"))
        if len(self._buffer) < start + length:
            return None
        body = bytes(self._buffer[start : start + length])
        del self._buffer[: start + length]
        method, path, *_ = first.split(" ")
        return SeenRequest(
            time=asyncio.get_running_loop().time(),
            method=method,
            path=path,
            headers=headers,
            body=body,
            connection=self._number,
        )

    async def _answer(self, request: SeenRequest, act: Act) -> None:
        await self._perform(act)
        request.answered.set()
        self._request = self._task = None
        self._server._end()
        self._next()

    async def _perform(self, act: Act) -> None:
        if act.delay:
            await asyncio.sleep(act.delay)
        if act.head:
            await self._write(_head(act))
        for number, piece in enumerate(_body(act)):
            if number and act.drip:
                await asyncio.sleep(act.drip)
            await self._write(piece)
        if act.end == "stall":
            await asyncio.Event().wait()
        if act.end == "reset":
            self._reset()
        elif act.end == "cut" or act.framing == "close":
            self._close()
        elif act.framing == "chunked":
            await self._write(b"0\r\n\r\n")

    async def _write(self, data: bytes) -> None:
        await self._writable.wait()
        if self._transport is not None:
            self._transport.write(data)

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _reset(self) -> None:
        if self._transport is not None:
            raw = self._transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_OFF)
            self._transport.abort()


def _head(act: Act) -> bytes:
    headers = dict(act.headers)
    if act.framing == "length":
        true = sum(map(len, act.pieces)) * act.repeat
        headers["content-length"] = str(true if act.declared is None else act.declared)
    elif act.framing == "chunked":
        headers["transfer-encoding"] = "chunked"
    else:
        headers["connection"] = "close"
    lines = [f"HTTP/1.1 {act.status} Scripted", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join(lines).encode("latin-1") + _HEAD_END


def _body(act: Act) -> Iterator[bytes]:
    for _ in range(act.repeat):
        for piece in act.pieces:
            if act.head and act.framing == "chunked":
                yield f"{len(piece):x}\r\n".encode() + piece + b"\r\n"
            else:
                yield piece
