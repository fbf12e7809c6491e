"""Recording runs beside the work: a thread that writes what has come together since it last wrote.

A server has many short runs, and a transaction for each would take longer than the run. A run that does not end at once is
known to the store while it goes on, as ``running``, so that one whose process was killed is not lost without a trace.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from fugu_adapters.errors import FuguError
from fugu_adapters.store.records import RunRecord
from fugu_adapters.store.store import Store

__all__ = ["Recorder"]

_BEGUN_S = 0.25  # from when on a run that has not ended is written as running
_REST_S = 0.05  # between two transactions, each of which costs four times a record
_MOST = 200  # records in one transaction
_BEHIND = 1_000  # records in memory from which on runs wait before they begin
_WAITING = 10_000  # records in memory; of a store that is slower than that, no more are
_logger = logging.getLogger("fugu_adapters")


class _Begun(NamedTuple):
    run_id: str
    record: Callable[[], RunRecord]


class Recorder:
    """Writes records in the order in which they come. Safe to share between threads.

    Args:
        store: where to.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._items: deque[RunRecord | _Begun | threading.Event | None] = deque()
        self._shown: set[str] = set()  # runs that are in the store as running
        self._idle = False
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def begin(self, run_id: str, record: Callable[[], RunRecord]) -> None:
        """Note that a run has begun; ``record`` is called, by the thread, where it does not end soon."""
        self._take(run_id, _Begun(run_id, record))

    def put(self, record: RunRecord) -> None:
        """Take the record of a run that has ended, to be written soon."""
        self._take(record.run_id, record)

    def _take(self, run_id: str, item: RunRecord | _Begun) -> None:
        if len(self._items) >= _WAITING:  # waiting would stop everything else that the server does
            _logger.warning("run %s is not recorded: the store is too slow", run_id)
            return
        self._add(item)
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._work, name="fugu-recorder", daemon=True)  # fmt: skip
                    self._thread.start()

    async def catch_up(self) -> None:
        """Wait, where very many records wait, until there are fewer: for a second at most.

        A loop that is never idle leaves the thread little of Python's lock.
        """
        for _ in range(100):
            if len(self._items) < _BEHIND:
                return
            await asyncio.sleep(0.01)

    def flush(self) -> None:
        """Wait until everything so far is written."""
        if self._thread is None:
            return
        written = threading.Event()
        self._add(written)
        written.wait()

    def close(self) -> None:
        """Write what is left, and stop. A later record starts it again."""
        with self._lock:
            thread = self._thread
            if thread is None:
                return
            self._add(None)
            thread.join()
            late = [self._items.popleft() for _ in range(len(self._items))]
            self._thread = None
        self._write_all([item for item in late if isinstance(item, RunRecord)])

    def _add(self, item: RunRecord | _Begun | threading.Event | None) -> None:
        """Waking the thread for every record would cost more than writing it."""
        self._items.append(item)
        if self._idle:
            self._wake.set()

    def _work(self) -> None:
        """Until it is told to stop: take in what has come, write what is due, rest."""
        begun: dict[str, tuple[float, _Begun]] = {}  # the oldest first
        while True:
            self._idle = True
            if not self._items:
                first = next(iter(begun.values()), None)
                self._wake.wait(None if first is None else max(0.0, first[0] - time.monotonic()))
            self._idle = False
            self._wake.clear()
            ended: dict[str, RunRecord] = {}
            waiting: list[threading.Event] = []
            stopping = False
            while self._items and len(ended) < _MOST and not stopping:
                item = self._items.popleft()
                if item is None:
                    stopping = True
                elif isinstance(item, threading.Event):
                    waiting.append(item)
                elif isinstance(item, _Begun):
                    begun[item.run_id] = time.monotonic() + _BEGUN_S, item
                else:
                    begun.pop(item.run_id, None)
                    ended[item.run_id] = item
            everything, now = stopping or bool(waiting), time.monotonic()
            due = [run for run, (when, _) in begun.items() if everything or when <= now]
            self._write_all([*(begun.pop(run)[1].record() for run in due), *ended.values()])
            self._shown.difference_update(ended)
            self._shown.update(due)
            for written in waiting:
                written.set()
            if stopping:
                return
            if not self._items or ended:
                time.sleep(_REST_S)

    def _write_all(self, records: list[RunRecord]) -> None:
        if not records:
            return
        try:
            begun = self._shown.intersection(record.run_id for record in records)
            self._store.record_all(records, begun=begun)
        except FuguError as problem:  # an answer that was paid for is not lost to a full disk
            if len(records) == 1:
                _logger.warning("run %s could not be recorded: %s", records[0].run_id, problem)
                return
            for record in records:  # one that is refused does not take the others with it
                self._write_all([record])
