"""A server in this process, over scripted workers, for the clients of either SDK."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mcp_clients import ERAS, MAJOR, Connected, connect

from fugu_adapters import Fugu, Pool, Worker
from fugu_adapters.engine.retry import RetryPolicy
from fugu_adapters.testing import ScriptedWorker

collect_ignore_glob = [] if MAJOR else ["test_*.py"]


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    """Every way in which a client of the installed SDK may begin."""
    return str(request.param)


@pytest.fixture
def serving(era: str) -> Callable[..., Any]:
    """Opens a client of a server over the workers that it is given, as a context."""
    from mcp_server.handlers import Handlers, Settings
    from mcp_server.sdk import make_server

    @asynccontextmanager
    async def opened(
        *workers: ScriptedWorker | Worker, sampling: Any = None, **settings: Any
    ) -> AsyncIterator[Connected]:
        pool = Pool([w.worker if isinstance(w, ScriptedWorker) else w for w in workers])
        if "patience_s" in settings:  # a client of SDK 2 in memory listens without saying so
            settings.setdefault("silent_s", settings["patience_s"])
        handlers = Handlers(
            lambda: pool,
            Settings(**{"beat_s": 0.05, **settings}),
            lambda pool: Fugu(pool, store=False, retry=RetryPolicy(attempts=1)),
        )
        try:
            async with connect(make_server(handlers), era, sampling=sampling) as client:
                yield client
        finally:
            await handlers.aclose()

    return opened
