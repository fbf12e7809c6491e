"""Recording runs beside the work: a thread that writes what has come together since it last wrote.

A server has many short runs, and a transaction for each would take longer than the run. A run that does not end at once is
known to the store while it goes on, as ``running``, so that one whose process was killed is not lost without a trace.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
import time

from fugu_adapters.errors import FuguError
from fugu_adapters.store.records import RunRecord
from fugu_adapters.store.store import Store

__all__ = ["Recorder"]

_BEGUN_S = 0.25  # from when on a run that has not ended is written as running
_LINGER_S = 0.05  # how long a record waits for others: a transaction costs four times a record
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
        """Until it is told to stop: take records in, and write those whose time has come, all at once."""
        ended: dict[str, RunRecord] = {}
        begun: dict[str, tuple[float, RunRecord]] = {}  # the oldest first
        at = math.inf  # when to write next
        stopping = False
        while not stopping:
            waiting: threading.Event | None = None
            try:
                wait = None if at == math.inf else max(0.0, at - time.monotonic())
                item = self._queue.get(timeout=wait)
            except queue.Empty:
                pass
            else:
                now = time.monotonic()
                if item is None:
                    stopping = True
                elif isinstance(item, threading.Event):
                    waiting = item
                elif item.status == "running":
                    begun[item.run_id] = now + _BEGUN_S, item
                else:
                    begun.pop(item.run_id, None)
                    ended[item.run_id] = item
                at = min(at, now + (_LINGER_S if ended else _BEGUN_S))
                if not (stopping or waiting or len(ended) >= _MOST or now >= at):
                    continue
            everything = stopping or waiting is not None
            due = [
                run for run, (when, _) in begun.items() if everything or when <= time.monotonic()
            ]
            self._write_all([*(begun.pop(run)[1] for run in due), *ended.values()])
            ended.clear()
            at = min((when for when, _ in begun.values()), default=math.inf)
            if waiting is not None:
                waiting.set()

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
