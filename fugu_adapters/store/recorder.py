"""Recording runs beside the work: a thread that writes what has come together since it last wrote.

A server has many short runs, and a transaction for each would take longer than the run. A run is known to the store
from its beginning, as ``running``, so that one whose process was killed is not lost without a trace.
"""

from __future__ import annotations

import logging
import queue
import threading

from fugu_adapters.errors import FuguError
from fugu_adapters.store.records import RunRecord
from fugu_adapters.store.store import Store

__all__ = ["Recorder"]

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
        self._queue: queue.Queue[RunRecord | threading.Event | None] = queue.Queue(_WAITING)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def put(self, record: RunRecord) -> None:
        """Take a record to be written soon; a later one of the same run takes its place."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._write, name="fugu-recorder", daemon=True)  # fmt: skip
                self._thread.start()
        try:
            self._queue.put_nowait(record)
        except queue.Full:  # waiting would stop everything else that the server does
            _logger.warning("run %s is not recorded: the store is too slow", record.run_id)

    def flush(self) -> None:
        """Wait until everything so far is written."""
        if self._thread is None:
            return
        written = threading.Event()
        self._queue.put(written)
        written.wait()

    def close(self) -> None:
        """Write what is left, and stop. A later record starts it again."""
        thread = self._thread
        if thread is None:
            return
        self._queue.put(None)
        thread.join()
        with (
            self._lock
        ):  # until here no other thread was started, which could have taken the end for its own
            self._thread = None
            late = []
            while not self._queue.empty():
                late.append(self._queue.get())
        self._write_all([item for item in late if isinstance(item, RunRecord)])

    def _write(self) -> None:
        while True:
            records: dict[str, RunRecord] = {}
            waiting: list[threading.Event] = []
            item = self._queue.get()
            while True:
                if item is None:
                    break
                if isinstance(item, threading.Event):
                    waiting.append(item)
                else:
                    records[item.run_id] = item
                if len(records) >= _MOST or self._queue.empty():
                    break
                item = self._queue.get()
            self._write_all(list(records.values()))
            for written in waiting:
                written.set()
            if item is None:
                return

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
