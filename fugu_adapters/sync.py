"""The one door from synchronous code to the asynchronous core."""

from __future__ import annotations

import atexit
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal

__all__ = ["SyncDoor"]

T = TypeVar("T")


class SyncDoor:
    """Runs coroutines on an event loop of its own thread, started at the first call.

    It works whether or not the calling thread runs a loop itself, as a notebook or an agent framework
    does. An interrupt in the calling thread cancels the coroutine.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._context: AbstractContextManager[BlockingPortal] | None = None
        self._portal: BlockingPortal | None = None

    def call(self, function: Callable[[], Awaitable[T]]) -> T:
        """Run ``function()`` on the loop and wait for its result."""
        future = self._open().start_task_soon(function)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def iterate(self, items: AsyncGenerator[T, None]) -> Generator[T, None, None]:
        """Go through ``items`` on the loop. Leaving early closes them there, and waits for that."""

        async def following() -> tuple[T, ...]:
            async for item in items:
                return (item,)
            return ()

        try:
            while found := self.call(following):
                yield found[0]
        finally:
            self.call(items.aclose)

    def _open(self) -> BlockingPortal:
        with self._lock:
            if self._portal is None:
                from anyio.from_thread import start_blocking_portal

                self._context = start_blocking_portal(name="fugu-adapters")
                self._portal = self._context.__enter__()
                # anyio's context, collected at exit, waits for ever for a loop that stopped with its thread
                atexit.register(self.close)
            return self._portal

    def close(self) -> None:
        """Stop the thread. A later call starts a new one. Left out, it is done when Python ends."""
        atexit.unregister(self.close)
        with self._lock:
            context, self._context, self._portal = self._context, None, None
        if context is not None:
            context.__exit__(None, None, None)
