"""Recording beside the work: in order, in few transactions, and nothing lost."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fugu_adapters.store import Recorder, RunRecord, Store
from fugu_adapters.types import Attempt


def record(number: int, **more: object) -> RunRecord:
    """A run."""
    values = {"run_id": f"run-{number}", "created_at": datetime.now(UTC), "text": str(number)}
    return RunRecord(**{**values, **more})  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store(str(tmp_path / "r.db"))


def test_all_are_written(store: Store) -> None:
    """From eight threads at once; closing waits for the last."""
    recorder = Recorder(store)

    def many(start: int) -> None:
        for number in range(start, start + 50):
            recorder.put(record(number))

    threads = [threading.Thread(target=many, args=(100 * n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recorder.close()
    assert len(store.list(1_000)) == 400
    recorder.put(record(9_999))  # it starts again
    recorder.flush()
    assert store.last().run_id == "run-9999"  # type: ignore[union-attr]
    recorder.close()


def test_a_run_is_known_from_its_beginning(store: Store) -> None:
    """Its end takes the place of its beginning, whether or not both are written at once."""
    recorder = Recorder(store)
    begun = record(1, status="running", text="")
    recorder.begin(begun.run_id, lambda: begun)
    recorder.flush()
    assert store.get("run-1").status == "running"
    recorder.put(replace(begun, status="ok", text="done", attempts=(Attempt(worker="w", ok=True),)))
    recorder.begin("run-2", lambda: record(2, status="running"))
    recorder.put(record(2, status="cancelled"))
    recorder.close()
    assert [(run.run_id, run.status) for run in store.list()] == [("run-2", "cancelled"), ("run-1", "ok")]  # fmt: skip
    assert store.get("run-1").attempts[0].worker == "w"


def test_one_that_is_refused_does_not_take_the_others_with_it(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """It is named in a warning."""
    store.record(record(1))
    recorder = Recorder(store)
    with caplog.at_level(logging.WARNING, logger="fugu_adapters"):
        for number in (1, 2, 3):
            recorder.put(record(number))
        recorder.close()
    assert {run.run_id for run in store.list()} == {"run-1", "run-2", "run-3"}
    assert "run-1 could not be recorded" in caplog.text


async def test_runs_wait_while_the_store_is_behind(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it has caught up; for a store that writes nothing, a second at most."""
    recorder, write, free = Recorder(store), store.record_all, threading.Event()

    def slowly(records: list[RunRecord], **begun: object) -> None:
        free.wait()
        write(records, **begun)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "record_all", slowly)
    await recorder.catch_up()  # there is nothing to wait for
    for number in range(1_500):
        recorder.put(record(number))
    began = time.monotonic()
    await recorder.catch_up()
    assert 0.9 < time.monotonic() - began < 10
    waiting = asyncio.create_task(recorder.catch_up())
    free.set()
    await waiting
    await asyncio.to_thread(recorder.close)
    assert len(store.list(2_000)) == 1_500


def test_closing_twice_and_never_used(store: Store) -> None:
    """Both are fine, and open no database."""
    recorder = Recorder(store)
    recorder.flush()
    recorder.close()
    recorder.close()
    assert not store.is_open


@pytest.mark.parametrize("count", [1, 2, 3, 64, 201])
def test_many_at_once_come_back_as_they_were(store: Store, count: int) -> None:
    """In their order, with their calls and with texts that a database does not like."""
    awkward = ("a\0b", "\ud800", "'; DROP TABLE fugu_runs; --", "?,?", "\N{SNOWMAN}")
    sent = [
        record(
            number,
            text=f"{awkward[number % 5]} {number}",
            attempts=tuple(Attempt(worker=f"w{n}", ok=n == 1, cost_usd=0.5) for n in range(number % 3)),
        )
        for number in range(count)
    ]  # fmt: skip
    store.record_all(sent)
    found = list(reversed(store.list(1_000)))
    assert [run.run_id for run in found] == [run.run_id for run in sent]
    assert [run.attempts for run in found] == [run.attempts for run in sent]
    kept = ("a\N{REPLACEMENT CHARACTER}b", "?", *awkward[2:])
    assert [run.text for run in found] == [f"{kept[n % 5]} {n}" for n in range(count)]
