"""What the HTTP tests share: plain requests, and a worker of either wire format at a server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from fugu_adapters.config import Worker
from fugu_adapters.engine.providers.anthropic import AnthropicBackend
from fugu_adapters.engine.providers.openai import OpenAIBackend
from fugu_adapters.engine.transport import HttpReply, Transport
from fugu_adapters.testing.acts import Act
from fugu_adapters.testing.fault_server import FaultServer, SeenRequest
from fugu_adapters.types import Delta, Reply, Request

CANARY = "sk-canary-0123456789"
ENV = {"MY_KEY": CANARY}


async def post(transport: Transport, url: str, **options: int) -> HttpReply:
    """One request whose reply is read whole."""
    headers = {"content-type": "application/json", "x-api-key": SecretStr(CANARY)}
    return await transport.post(url, headers=headers, body=b"{}", worker="w", **options)


async def read(transport: Transport, url: str) -> bytes:
    """One request whose reply is read as a stream."""
    async with transport.stream(url, headers={}, body=b"{}", worker="w") as stream:
        return await stream.read()


def ask(text: str = "hi", **options: Any) -> Request:
    """A request with one user message."""
    return Request(messages=({"role": "user", "content": text},), **options)


@dataclass(kw_only=True)
class Case:
    """A worker at a fault server."""

    server: FaultServer
    backend: OpenAIBackend | AnthropicBackend
    deltas: list[Delta] = field(default_factory=list)

    @property
    def seen(self) -> list[SeenRequest]:
        """What arrived."""
        return self.server.requests

    @property
    def streamed(self) -> str:
        """The text that was delivered piece by piece."""
        return "".join(delta.text for delta in self.deltas)

    async def call(self, request: Request | None = None, *, stream: bool = False) -> Reply:
        """Ask once."""
        on_delta = self.deltas.append if stream else None
        return await self.backend.call(request or ask(), on_delta=on_delta)


@asynccontextmanager
async def serving(
    api: str, acts: Sequence[Act], *, env: dict[str, str] | None = None, **worker: Any
) -> AsyncIterator[Case]:
    """Serve a script to a worker of one wire format."""
    async with FaultServer() as server:
        options = {"model": "m-1", "api_key_env": "MY_KEY", **worker}
        configured = Worker.model_validate(
            {"name": "w", "api": api, "base_url": server.script("a", acts), **options}
        )
        transport = Transport(idle_timeout=0.5)
        kind = OpenAIBackend if api == "openai" else AnthropicBackend
        backend = kind(configured, transport, env=ENV if env is None else env)
        try:
            yield Case(server=server, backend=backend)
        finally:
            await backend.aclose()
            await transport.aclose()
