"""A server under test on loopback, and the workers behind it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

pytest.importorskip("uvicorn", reason="comes with the serve extra")
pytest.importorskip("prometheus_client", reason="comes with the serve extra")

import httpx
import uvicorn

from fugu_adapters import Fugu, Worker
from fugu_adapters.config import Price
from fugu_adapters.store import Store
from fugu_adapters.testing.fault_server import FaultServer

__all__ = ["Served", "listening", "worker"]


class Served:
    """A server under test: its address, what stands behind it, and a plain client."""

    def __init__(self, url: str, upstream: FaultServer, fugu: Fugu, store: Store) -> None:
        self.url, self.upstream, self.fugu, self.store = url, upstream, fugu, store
        self.http = httpx.AsyncClient(base_url=url, timeout=20, trust_env=False)

    async def post(self, path: str, body: object, **headers: str) -> httpx.Response:
        """One request."""
        return await self.http.post(path, json=body, headers=headers)


@asynccontextmanager
async def listening(app: object) -> AsyncIterator[str]:
    """The application behind uvicorn, in this event loop; its address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(
            uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1, lifespan="on")  # type: ignore[arg-type]
        )
        task = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:  # noqa: ASYNC110  uvicorn has no event for it
            await asyncio.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task


def worker(name: str, url: str, api: str = "openai", **more: object) -> Worker:
    """A worker behind a script; the price makes costs come out."""
    fields = {"model": f"{name}-model", "price": Price(input=1.0, output=2.0), "tools": True}
    return Worker(name=name, api=api, base_url=url, **{**fields, **more})  # type: ignore[arg-type]
