"""The run store: what goes in comes out, privately, from several writers at once."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from fugu_adapters.errors import ConfigError, InputError
from fugu_adapters.pool import Pool
from fugu_adapters.store import RunRecord, Store
from fugu_adapters.types import (
    Attempt,
    Candidate,
    Decision,
    Request,
    Result,
    ToolCall,
    Trace,
    Usage,
)

CREATED = datetime(2026, 5, 4, 12, 30, 15, 123456, tzinfo=timezone(timedelta(hours=2)))
REQUEST = Request(
    messages=(
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "what is the secret?"},
    ),
    tools=({"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}},),
    response_format={"type": "json_object"},
    stop=("END",),
    seed=7,
    effort="high",
)
DECISION = Decision(
    worker="a",
    candidates=(
        Candidate(worker="a", p_success=0.8, interval=(0.7, 0.9), cost_usd=0.01, calibrated=True),
        Candidate(worker="b", excluded_because="cannot call tools"),
    ),
    reason="the best that can call tools",
    policy="selector/1",
)
ATTEMPTS = (
    Attempt(worker="b", ok=False, error="WorkerTimeout: slow", started_s=0.1, latency_s=1.0),
    Attempt(
        worker="a",
        ok=True,
        started_s=1.1,
        latency_s=0.4,
        usage=Usage(input_tokens=10, output_tokens=5, cached_input_tokens=2),
        cost_usd=0.002,
        steps=("print('secret step')",),
    ),
)
RESULT = Result(
    text="a secret answer",
    worker="a",
    run_id="abcdef0123456789",
    decision=DECISION,
    tool_calls=(ToolCall(id="c", name="f", arguments='{"q": "secret argument"}'),),
    usage=Usage(input_tokens=12, output_tokens=6),
    cost_usd=0.003,
    finish_reason="tool_calls",
    trace=Trace(decisions=(DECISION,), attempts=ATTEMPTS, seconds=1.5),
)


def record(**changes):
    fields = {"request": REQUEST, "created_at": CREATED, "session": "s1", **changes}
    return RunRecord.from_result(RESULT, **fields)


def bare(run_id, **changes):
    return RunRecord(run_id=run_id, created_at=CREATED, **changes)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "fugu.db"


@pytest.fixture
def store(path):
    store = Store(str(path))
    yield store
    store.close()


def test_a_run_comes_back_as_it_was(store):
    """Every field survives, the time as the same moment in UTC."""
    store.record(record())
    again = store.get(RESULT.run_id)
    assert again == record()
    assert again.created_at.tzinfo is UTC
    assert again.trace == RESULT.trace


def test_a_failed_run_without_an_answer_comes_back_too(store):
    """Errors and cancellations are kept with the calls that were made."""
    failed = bare(
        "0123456789",
        status="error",
        error="LimitExceeded: over",
        decision=DECISION,
        decisions=(DECISION, DECISION),
        attempts=ATTEMPTS[:1],
    )
    store.record(failed)
    store.record(bare("9876543210", status="cancelled"))
    assert store.get("0123456789") == failed
    assert store.last() == bare("9876543210", status="cancelled")


def test_texts_are_left_out_where_not_wanted(path):
    """With ``text = false`` no word of prompt, answer, tool call or program reaches the disk."""
    store = Store(str(path), keep_text=False)
    store.record(record())
    again = store.get(RESULT.run_id)
    store.close()
    assert (again.request, again.text, again.tool_calls) == (None, None, ())
    assert (again.usage, again.cost_usd, again.decision) == (RESULT.usage, 0.003, DECISION)
    assert [call.steps for call in again.attempts] == [(), ()]
    assert not [f for f in path.parent.iterdir() if b"secret" in f.read_bytes()]
    with sqlite3.connect(path) as raw:
        (sizes,) = raw.execute("SELECT sizes FROM fugu_runs").fetchone()
    raw.close()
    assert '"answer_chars":15' in sizes


def test_the_newest_run_comes_first(store):
    """Runs are listed by when they were recorded."""
    for number in range(5):
        store.record(bare(f"run-00000{number}"))
    assert [run.run_id[-1] for run in store.list(3)] == ["4", "3", "2"]
    assert store.last().run_id == "run-000004"
    assert store.list(0) == []


def test_an_unused_store_leaves_no_file(store, path):
    """Reading creates nothing."""
    assert store.last() is None
    assert store.list() == []
    assert store.outcomes() == []
    with pytest.raises(InputError, match="no run 'abcdef'"):
        store.get("abcdef")
    assert not path.parent.exists()


def test_the_file_is_its_owners(store, path):
    """Prompts are private: nobody else may read the file, its log, or the folder we made."""
    store.record(record())
    files = list(path.parent.iterdir())
    assert len(files) > 1  # the write-ahead log is there
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_run_is_found_by_the_beginning_of_its_id(store):
    """Six characters are enough where they are unambiguous."""
    for run_id in ("abcdef01", "abcdef02", "abc%ef99"):
        store.record(bare(run_id))
    assert store.get("abcdef02").run_id == "abcdef02"
    assert store.get("abc%ef").run_id == "abc%ef99"
    with pytest.raises(InputError, match="several begin so: abcdef01, abcdef02"):
        store.get("abcdef")
    for unknown in ("abcde", "abcdefff", "%%%%%%", ""):
        with pytest.raises(InputError, match="no run"):
            store.get(unknown)


def test_a_run_is_recorded_once(store):
    """A second record under the same id is refused, and the first stays."""
    store.record(record())
    with pytest.raises(InputError, match="recorded already"):
        store.record(bare(RESULT.run_id))
    assert store.get(RESULT.run_id) == record()


def test_a_record_is_whole_or_absent(store):
    """Where a call cannot be kept, neither is its run."""
    broken = record()
    object.__setattr__(broken, "attempts", (Attempt(worker=None, ok=True),))
    with pytest.raises(InputError):
        store.record(broken)
    assert store.list() == []


@pytest.mark.parametrize("score", [-0.1, 1.1, float("nan"), float("inf"), "1"])
def test_a_score_is_a_number_from_0_to_1(store, score):
    """Anything else is refused before the database is touched."""
    store.record(record())
    with pytest.raises(InputError, match="score: expected a number from 0"):
        store.add_feedback(RESULT.run_id, score)


def test_feedback_needs_a_run(store):
    """A score for an unknown run is an error, not a silent nothing."""
    store.record(record())
    with pytest.raises(InputError, match="no run 'ffffff'"):
        store.add_feedback("ffffff", 1)


def test_feedback_becomes_outcomes(store):
    """Scored runs come back with their request and the answering call; the newest score counts."""
    store.record(record())
    store.record(bare("unscored-run", request=REQUEST, worker="a"))
    store.add_feedback(RESULT.run_id[:6], 0, comment="meh")
    store.add_feedback(RESULT.run_id, True)
    (judged,) = store.outcomes()
    assert judged.request == REQUEST
    outcome = judged.outcome
    assert (outcome.suite, outcome.item_id, outcome.worker) == ("feedback", RESULT.run_id, "a")
    assert (outcome.score, outcome.answer) == (1.0, "a secret answer")
    assert (outcome.input_tokens, outcome.output_tokens) == (10, 5)
    assert (outcome.latency_s, outcome.cost_usd) == (0.4, 0.002)


def test_runs_without_request_or_worker_teach_nothing(path):
    """Where texts were not kept there is nothing to learn from."""
    store = Store(str(path), keep_text=False)
    store.record(record())
    store.add_feedback(RESULT.run_id, 1)
    store.keep_text = True
    store.record(bare("nobody-answered", request=REQUEST))
    store.add_feedback("nobody-answered", 0)
    assert store.outcomes() == []
    store.close()


@pytest.mark.parametrize("text", ["nul \0 inside", "half \ud800 pair", "猫\u2028", "x" * 100_000])
def test_awkward_text_is_kept(store, text):
    """What a worker says cannot break the store."""
    store.record(
        bare(
            "awkward-run",
            text=text,
            error=text,
            request=Request(messages=({"role": "user", "content": text},)),
        )
    )
    again = store.get("awkward-run")
    assert len(again.text) == len(text)
    assert again.request.messages[0]["content"] == text


def test_a_closed_store_opens_again(store):
    """Closing lets go of the file; closing twice and using it later are fine."""
    store.record(bare("first-run"))
    store.close()
    store.close()
    store.record(bare("second-run"))
    assert len(store.list()) == 2


WRITER = """
import sys
from datetime import UTC, datetime
from fugu_adapters.store import RunRecord, Store
store = Store(sys.argv[1])
for number in range(20):
    store.record(RunRecord(run_id=f"{sys.argv[2]}-{number:06}", created_at=datetime.now(UTC)))
store.close()
"""


def test_two_processes_write_at_once(store, path):
    """Both create the same new file and all their runs are kept."""
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), name]) for name in "ab"]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    assert len(store.list(100)) == 40


def test_threads_share_one_store(store):
    """Writers in threads do not disturb each other or a reader."""

    def write(name):
        for number in range(20):
            store.record(bare(f"{name}-{number:06}", attempts=ATTEMPTS))
            store.list(2)

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert len(store.list(100)) == 80


def test_the_environment_names_the_default(monkeypatch, tmp_path):
    """``FUGU_STORE`` is a path or URL; an argument wins over it, the user's folder is the last resort."""
    monkeypatch.setenv("FUGU_STORE", str(tmp_path / "env.db"))
    assert str(Store()).endswith("/env.db")
    assert str(Store(str(tmp_path / "mine.db"))).endswith("/mine.db")
    monkeypatch.delenv("FUGU_STORE")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert str(Store()) == f"sqlite:///{tmp_path}/data/fugu-adapters/fugu.db"


def test_a_pool_names_its_store(tmp_path):
    """The ``[store]`` table decides where and how much is kept."""
    pool = Pool.from_dict(
        {
            "worker": [{"name": "a", "api": "embedded", "model": "m"}],
            "store": {"url": f"sqlite:///{tmp_path}/x.db", "text": False},
        }
    )
    store = Store.from_config(pool.store)
    assert (str(store), store.keep_text) == (f"sqlite:///{tmp_path}/x.db", False)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql+nothing://u:pa55word@h/db", "driver is not installed"),
        ("postgresql://u:pa55word@h/db", "fugu-adapters[postgres]"),
        ("://pa55word", "cannot be parsed"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
    ],
)
def test_an_address_that_cannot_be_used_is_told_without_its_password(monkeypatch, url, said):
    """The error names the remedy and never shows the password."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    store = Store(url)
    with pytest.raises(ConfigError) as caught:
        store.open()
    assert said in str(caught.value)
    assert "pa55word" not in str(caught.value)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    """The error names the path and the variable that changes it."""
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ConfigError) as caught:
        Store(str(tmp_path / "file" / "fugu.db")).open()
    assert str(tmp_path / "file" / "fugu.db") in str(caught.value)
    assert "FUGU_STORE" in str(caught.value)


def test_a_file_that_is_no_database_is_named(path):
    """Somebody else's file is neither used nor harmed."""
    path.parent.mkdir()
    path.write_text("not a database, but a text of some length " * 40)
    with pytest.raises(ConfigError, match="file is not a database"):
        Store(str(path)).open()
    assert path.read_text().startswith("not a database")


def test_a_full_disk_is_told_without_the_prompt(store, path):
    """A write that fails says why, and nothing of what was written."""
    store.open()
    with pytest.raises(ConfigError) as caught:
        _fill(store)
    assert "full" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert str(path) in str(caught.value)


def _fill(store):
    """Write through a connection that may not grow the file."""
    from sqlalchemy import event

    event.listen(
        store._opened(),
        "checkout",
        lambda raw, *_: raw.execute("PRAGMA max_page_count = 1"),
    )
    store.record(bare("big-run", text="secret " * 100_000))


def test_a_newer_schema_is_refused(store, path):
    """An old program does not write into tables that it does not know."""
    store.record(record())
    store.close()
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE fugu_schema SET version = 99")
    raw.close()
    with pytest.raises(ConfigError, match="version 99, this program knows 1; upgrade"):
        store.last()


def test_a_damaged_row_is_named(store, path):
    """An edited file gives an error that says which run, not a wrong record."""
    store.record(record())
    with sqlite3.connect(path) as raw:
        raw.execute("""UPDATE fugu_runs SET "usage" = '{"input_tokens": "many"}'""")
    raw.close()
    with pytest.raises(
        ConfigError, match=r"run 'abcdef0123456789' in the store is damaged at usage"
    ):
        store.get(RESULT.run_id)


def test_the_schema_is_the_same_for_postgresql():
    """Every table and index can be expressed for both databases."""
    from sqlalchemy.dialects import postgresql
    from sqlalchemy.schema import CreateTable

    from fugu_adapters.store.models import metadata

    ddl = [
        str(CreateTable(t).compile(dialect=postgresql.dialect())) for t in metadata.sorted_tables
    ]
    assert len(ddl) == 8
    assert "seq SERIAL" in "".join(ddl)
    assert "TIMESTAMP WITH TIME ZONE" in "".join(ddl)


@pytest.mark.skipif("FUGU_TEST_POSTGRES" not in os.environ, reason="needs a PostgreSQL server")
def test_postgresql_keeps_runs_too():
    """The same calls work on PostgreSQL, from a database that had nothing in it or much."""
    store = Store(os.environ["FUGU_TEST_POSTGRES"])
    run_id = f"pg-{datetime.now(UTC):%H%M%S%f}"
    store.record(bare(run_id, request=REQUEST, worker="a", text="nul \0", attempts=ATTEMPTS))
    store.add_feedback(run_id[:-1], 0.5)
    assert store.last().request == REQUEST
    assert store.get(run_id).created_at == CREATED
    assert store.outcomes()[-1].outcome.score == 0.5
    with pytest.raises(InputError):
        store.record(bare(run_id))
    store.close()


def test_importing_the_store_loads_no_database():
    """SQLAlchemy is loaded when a store is used, not before."""
    code = (
        "import sys, fugu_adapters.store as s\n"
        "s.Store('x.db')\n"
        "assert 'sqlalchemy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert not Path("x.db").exists()
