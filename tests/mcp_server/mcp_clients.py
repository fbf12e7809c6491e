"""The SDK's own client, in either of its majors, as one thing to test with."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

__all__ = ["ERAS", "MAJOR", "Connected", "Outcome", "connect"]

try:
    MAJOR = int(version("mcp").split(".")[0])
except PackageNotFoundError:
    MAJOR = 0

ERAS = ("handshake", "2026-07-28") if MAJOR >= 2 else ("handshake",)
"""The two ways in which a protocol of MCP begins; SDK 1 knows the first."""

Sampler = Callable[[dict[str, Any]], str]


@dataclass
class Outcome:
    """What a tool gave."""

    failed: bool
    text: str
    body: dict[str, Any]
    progress: list[tuple[float, str]] = field(default_factory=list)


class Connected:
    """A client that is connected."""

    def __init__(self, client: Any) -> None:
        self.client = client

    async def call(self, name: str, timeout: float | None = None, **arguments: Any) -> Outcome:
        """Call a tool, listening to its progress."""
        heard: list[tuple[float, str]] = []

        async def listen(value: float, total: float | None, message: str | None) -> None:
            heard.append((value, message or ""))

        limit: Any = timeout
        if MAJOR < 2 and timeout is not None:
            from datetime import timedelta

            limit = timedelta(seconds=timeout)
        result = await self.client.call_tool(name, arguments, limit, progress_callback=listen)
        plain = result.model_dump(by_alias=True, mode="json", exclude_none=True)
        return Outcome(
            failed=plain.get("isError", False),
            text=plain["content"][0]["text"],
            body=plain.get("structuredContent", {}),
            progress=heard,
        )

    async def cancel(self, task: asyncio.Task[Any]) -> None:
        """Leave a call that is under way, and tell the server. The client of SDK 1 does not tell it."""
        if MAJOR < 2:
            from mcp import types

            number = self.client._request_id - 1
            gone = types.CancelledNotificationParams(requestId=number, reason="no longer wanted")
            await self.client.send_notification(
                types.ClientNotification(types.CancelledNotification(params=gone))
            )
        task.cancel()
        await asyncio.wait({task})

    async def listed(self, what: str) -> list[dict[str, Any]]:
        """``tools``, ``prompts``, ``resources`` or ``resource_templates``."""
        found = (await getattr(self.client, f"list_{what}")()).model_dump(
            by_alias=True, mode="json", exclude_none=True
        )
        return next(value for value in found.values() if isinstance(value, list))

    async def read(self, uri: str) -> Any:
        """The JSON of a resource."""
        address: Any = uri
        if MAJOR < 2:
            from pydantic import AnyUrl

            address = AnyUrl(uri)
        return json.loads((await self.client.read_resource(address)).contents[0].text)

    async def prompt(self, name: str, **arguments: str) -> str:
        """The text of a prompt."""
        found = await self.client.get_prompt(name, arguments)
        return str(found.messages[0].content.text)


def _sampling(answer: Sampler | None) -> Any:
    if answer is None:
        return None
    from mcp import types

    async def callback(context: Any, params: Any) -> Any:
        plain = params.model_dump(by_alias=True, mode="json", exclude_none=True)
        text = answer(plain)
        if text == "declined":
            return types.ErrorData(code=-1, message="the user said no")
        return types.CreateMessageResult.model_validate(
            {
                "role": "assistant",
                "content": {"type": "text", "text": text},
                "model": "the-clients-own",
                "stopReason": "endTurn",
            }
        )

    return callback


@asynccontextmanager
async def connect(
    server: Any, era: str = "handshake", *, sampling: Sampler | None = None
) -> AsyncIterator[Connected]:
    """Connect to a server object, to a command as ``[program, *arguments]``, or to a URL."""
    if MAJOR >= 2:
        from mcp import Client, StdioServerParameters

        if isinstance(server, list):
            server = StdioServerParameters(command=server[0], args=server[1:])
        mode: Any = "legacy" if era == "handshake" else era
        async with Client(server, mode=mode, sampling_callback=_sampling(sampling)) as client:
            yield Connected(client)
        return
    async with _session_1(server, _sampling(sampling)) as session:
        yield Connected(session)


@asynccontextmanager
async def _session_1(server: Any, sampling: Any) -> AsyncIterator[Any]:
    from mcp import ClientSession, StdioServerParameters, stdio_client
    from mcp.client.streamable_http import streamable_http_client
    from mcp.shared.memory import create_connected_server_and_client_session

    if isinstance(server, list):
        opened: Any = stdio_client(StdioServerParameters(command=server[0], args=server[1:]))
    elif isinstance(server, str):
        opened = streamable_http_client(server)
    else:
        async with create_connected_server_and_client_session(
            server, sampling_callback=sampling
        ) as session:
            yield session
        return
    async with (
        opened as streams,
        ClientSession(streams[0], streams[1], sampling_callback=sampling) as session,
    ):
        await session.initialize()
        yield session
