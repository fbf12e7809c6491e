"""Workers that follow a script, and a clock that moves when told: for unit tests of anything above."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, TypeAlias

from fugu_adapters.config import Worker
from fugu_adapters.types import Message, Reply, Request

__all__ = ["ManualClock", "ScriptedWorker", "Step"]

Step: TypeAlias = str | Reply | BaseException


class ScriptedWorker:
    """A worker that gives prepared replies, one per call; the last one repeats.

    Args:
        name: its name in the pool.
        steps: text, a whole reply, or an exception to raise.
        delay: seconds that each reply takes.
        **facts: anything else of ``Worker``: price, capabilities, tags, profile, ...

    Attributes:
        requests: what it was asked, in order.
        running: calls under way.
        peak: the most calls that were under way at a time.
        cancelled: calls that were cancelled.
        started: set once a call is under way.
    """

    def __init__(self, name: str, *steps: Step, delay: float = 0.0, **facts: Any) -> None:
        self.steps: Sequence[Step] = steps or (f"{name} answers",)
        self.delay = delay
        self.requests: list[Request] = []
        self.running = self.peak = self.cancelled = 0
        self.started = asyncio.Event()
        self.worker = Worker(name=name, api="callable", call=self._call, **facts)

    async def _call(self, messages: Sequence[Message], *, request: Request) -> str | Reply:
        step = self.steps[min(len(self.requests), len(self.steps) - 1)]
        self.requests.append(request)
        self.running += 1
        self.started.set()
        self.peak = max(self.peak, self.running)
        try:
            await asyncio.sleep(self.delay)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        if isinstance(step, BaseException):
            raise step
        return step


class ManualClock:
    """Monotonic seconds that pass only when somebody sleeps on it or moves it.

    Attributes:
        now: the time.
        slept: what was slept, in order.
    """

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
        self.slept: list[float] = []

    def __call__(self) -> float:
        """The time, in seconds."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Pass the time at once, giving other tasks a turn."""
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)
