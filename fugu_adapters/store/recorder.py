"""Recording runs beside the work: a thread that writes what has come together since it last wrote.

A server has many short runs, and a transaction for each would take longer than the run. A run that does not end at once is
known to the store while it goes on, as ``running``, so that one whose process was killed is not lost without a trace.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque

from fugu_adapters.errors import FuguError
from fugu_adapters.store.records import RunRecord
from fugu_adapters.store.store import Store

__all__ = ["Recorder"]

_BEGUN_S = 0.25  # from when on a run that has not ended is written as running
_REST_S = 0.05  # between two transactions, each of which costs four times a record
_MOST = 200  # records in one transaction
_WAITING = 10_000  # records in memory; of a store that is slower than that, no more are
_logger = logging.getLogger("fugu_adapters")


class Recorder:
    """Writes records in the order in which they come. Safe to share between threads.

    Args:
        store: where to.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._items: deque[RunRecord | threading.Event | None] = deque()
        self._idle = False
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def put(self, record: RunRecord) -> None:
        """Take a record to be written soon; a later one of the same run takes its place."""
        if len(self._items) >= _WAITING:  # waiting would stop everything else that the server does
            _logger.warning("run %s is not recorded: the store is too slow", record.run_id)
            return
        self._add(record)
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._work, name="fugu-recorder", daemon=True)  # fmt: skip
                    self._thread.start()

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

    def _add(self, item: RunRecord | threading.Event | None) -> None:
        """Waking the thread for every record would cost more than writing it."""
        self._items.append(item)
        if self._idle:
            self._wake.set()

    def _work(self) -> None:
        """Until it is told to stop: take in what has come, write what is due, rest."""
        begun: dict[str, tuple[float, RunRecord]] = {}  # the oldest first
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
                elif item.status == "running":
                    begun[item.run_id] = time.monotonic() + _BEGUN_S, item
                else:
                    begun.pop(item.run_id, None)
                    ended[item.run_id] = item
            everything, now = stopping or bool(waiting), time.monotonic()
            due = [run for run, (when, _) in begun.items() if everything or when <= now]
            self._write_all([*(begun.pop(run)[1] for run in due), *ended.values()])
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
            self._store.record_all(records)
        except FuguError as problem:  # an answer that was paid for is not lost to a full disk
            if len(records) == 1:
                _logger.warning("run %s could not be recorded: %s", records[0].run_id, problem)
                return
            for record in records:  # one that is refused does not take the others with it
                self._write_all([record])
