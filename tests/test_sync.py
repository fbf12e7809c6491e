"""The door from synchronous code: items of an asynchronous generator, one at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator

import pytest

from fugu_adapters import Fugu, Pool, WorkerRefused
from fugu_adapters.sync import SyncDoor
from fugu_adapters.testing import ScriptedWorker


@pytest.fixture
def door() -> Iterator[SyncDoor]:
    """A door that is closed afterwards."""
    made = SyncDoor()
    yield made
    made.close()


class _Numbers:
    """Numbers from 0, and where and how they ended."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.threads: set[str] = set()
        self.is_closed = False

    async def items(self) -> AsyncGenerator[int, None]:
        try:
            for number in range(3):
                self.threads.add(threading.current_thread().name)
                await asyncio.sleep(0)
                yield number
            if self.error is not None:
                raise self.error
        finally:
            self.threads.add(threading.current_thread().name)
            self.is_closed = True


def test_items_come_in_order_from_the_doors_own_thread(door: SyncDoor) -> None:
    """The caller's thread runs none of it."""
    numbers = _Numbers()
    assert list(door.iterate(numbers.items())) == [0, 1, 2]
    assert numbers.is_closed
    assert numbers.threads == {"fugu-adapters"}


def test_leaving_early_closes_the_generator_and_waits_for_it(door: SyncDoor) -> None:
    """Also where nothing was asked of it yet."""
    numbers, untouched = _Numbers(), _Numbers()
    items = door.iterate(numbers.items())
    assert next(items) == 0
    items.close()
    assert numbers.is_closed
    door.iterate(untouched.items()).close()
    assert untouched.threads == set()


def test_errors_come_through(door: SyncDoor) -> None:
    """The generator's own, after what it gave."""
    items = door.iterate(_Numbers(KeyError("x")).items())
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError):
        next(items)


async def test_it_works_inside_a_running_loop(door: SyncDoor) -> None:
    """As in a notebook."""
    assert list(door.iterate(_Numbers().items())) == [0, 1, 2]


def test_a_stream_for_synchronous_code() -> None:
    """``Fugu.stream`` gives the events of ``astream``, and its errors."""
    good = ScriptedWorker("w", "hello")
    with Fugu(Pool([good.worker]), store=False) as fugu:
        events = list(fugu.stream("x"))
    assert events[0].kind == "decision"
    assert events[-1].result is not None
    assert events[-1].result.text == "hello"
    bad = ScriptedWorker("w", WorkerRefused("no", status=400, cause_kind="http_400"))
    with Fugu(Pool([bad.worker]), store=False) as fugu, pytest.raises(WorkerRefused):
        list(fugu.stream("x"))
