"""A server of the one API on loopback, in front of scripted workers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from served import Served, listening, worker

from fugu_adapters import Fugu, Limits, Pool
from fugu_adapters.engine.retry import RetryPolicy
from fugu_adapters.serve.app import Settings, make_app
from fugu_adapters.store import Store
from fugu_adapters.testing.acts import Act
from fugu_adapters.testing.fault_server import FaultServer


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Callable[..., object]]:
    """Starts servers; called with each worker's script, and the APIs of those that do not speak OpenAI's."""
    async with AsyncExitStack() as stack:

        async def start(
            scripts: dict[str, Sequence[Act]],
            *,
            apis: dict[str, str] | None = None,
            settings: Settings | None = None,
            limits: Limits | None = None,
            **more: object,
        ) -> Served:
            upstream = await stack.enter_async_context(FaultServer())
            workers = [
                worker(name, upstream.script(name, acts), (apis or {}).get(name, "openai"), **more)
                for name, acts in scripts.items()
            ]
            store = Store(str(tmp_path / f"{len(scripts)}.db"))
            fugu = Fugu(Pool(workers), store=store, limits=limits, retry=RetryPolicy(attempts=1))
            app = make_app(fugu, store=store, settings=settings)
            url = await stack.enter_async_context(listening(app))
            served = Served(url, upstream, fugu, store)
            stack.push_async_callback(served.http.aclose)
            return served

        yield start
