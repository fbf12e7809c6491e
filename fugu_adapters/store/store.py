"""The run store: one synchronous object, safe to call from several threads and processes.

Asynchronous code calls it through ``asyncio.to_thread``. Requests hold no keys, so none are stored.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from fugu_adapters.errors import ConfigError, InputError
from fugu_adapters.store.keys import KeyRecord, key_record
from fugu_adapters.store.records import JudgedRun, RunRecord
from fugu_adapters.types import Outcome
from fugu_adapters.workflow.suspension import Suspension, Waiting

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine, Table

    from fugu_adapters.config import StoreConfig

__all__ = ["Store"]

_Records: TypeAlias = list[RunRecord]  # inside the class, ``list`` is a method
_Judged: TypeAlias = list[JudgedRun]
_Rows: TypeAlias = list[Mapping[str, Any]]

_KEPT = timedelta(days=30)  # how long the Responses dialect can go on from a reply
_WAITS = timedelta(days=7)  # how long a workflow waits for the results of tools
_BUSY_SECONDS = 10.0  # how long a writer waits for another one
_SHORTEST_PREFIX = 6


class Store:
    """Runs, their calls and feedback.

    The database is opened, and a SQLite file made (readable by its owner only), on the first write or
    by ``open``. A closed store opens again when it is used.

    Args:
        url: SQLAlchemy URL, or a path. Where not given: ``FUGU_STORE``, or ``fugu.db`` in the user's
            data folder.
        keep_text: whether prompts, answers and tool arguments are kept; otherwise only their sizes.

    Raises:
        ConfigError: where the address cannot be understood.
    """

    def __init__(self, url: str | None = None, *, keep_text: bool = True) -> None:
        self.keep_text = keep_text
        self._url_text = url or os.environ.get("FUGU_STORE") or _default_path()
        self._engine: Engine | None = None
        self._lock = threading.Lock()

    @classmethod
    def from_config(cls, config: StoreConfig) -> Store:
        """The store that a ``[store]`` table asks for."""
        return cls(config.url, keep_text=config.text)

    @property
    def is_open(self) -> bool:
        """Whether it has a connection already."""
        return self._engine is not None

    def open(self) -> None:
        """Connect and create what is missing, to find trouble before money is spent.

        Raises:
            ConfigError: where the database cannot be opened, or a newer version made it.
        """
        with self._begin():
            pass

    def close(self) -> None:
        """Let go of the database."""
        with self._lock:
            engine, self._engine = self._engine, None
        if engine is not None:
            engine.dispose()

    def record(self, record: RunRecord) -> None:
        """Keep one run and its calls, all or nothing.

        Raises:
            InputError: where the run is recorded already.
            ConfigError: where the database cannot be written.
        """
        with self._begin() as connection:
            self._insert(connection, [record])

    def record_all(self, records: Sequence[RunRecord], *, begun: Collection[str] = ()) -> None:
        """Keep several runs in one transaction.

        Args:
            records: the runs.
            begun: ids of those that were kept while they ran, which is replaced.

        Raises:
            ConfigError: where the database cannot be written.
        """
        from sqlalchemy import delete

        from fugu_adapters.store import models

        table = models.runs
        with self._begin() as connection:
            if begun:
                stale = table.c.run_id.in_(begun) & (table.c.status == "running")
                connection.execute(delete(table).where(stale))
            self._insert(connection, records)

    def _insert(self, connection: Connection, records: Sequence[RunRecord]) -> None:
        from fugu_adapters.store import models, rows
        from fugu_adapters.store.database import insert_rows

        keep = self.keep_text
        insert_rows(connection, models.runs, [rows.run_row(record, keep) for record in records])
        for table, rows_of in (
            (models.attempts, rows.attempt_rows),
            (models.steps, rows.step_rows),
        ):
            insert_rows(connection, table, [row for each in records for row in rows_of(each, keep)])

    def get(self, run_id: str) -> RunRecord:
        """The run with this id, or the only one whose id begins so (at least 6 characters).

        Raises:
            InputError: where there is no such run, or there are several.
        """
        from sqlalchemy import select

        from fugu_adapters.store import models

        with self._read() as connection:
            full = self._resolve(connection, run_id)
            query = select(models.runs).where(models.runs.c.run_id == full)
            return self._records(connection, query)[0]

    def suspend(self, suspension: Suspension) -> None:
        """Keep a workflow that waits for tools; those that have waited for a week are forgotten.

        Raises:
            ConfigError: where the database cannot be written.
        """
        from sqlalchemy import delete, insert

        from fugu_adapters.store import models

        now = datetime.now(UTC)
        row = {
            "token": suspension.token,
            "created_at": now,
            "key": suspension.key,
            "waiting": suspension.waiting.to_dict(),
        }
        table = models.suspended
        with self._begin() as connection:
            connection.execute(delete(table).where(table.c.created_at < now - _WAITS))
            connection.execute(insert(table), [row])

    def suspended(self, token: str) -> Suspension | None:
        """The workflow that waits under this token, ``None`` where there is none."""
        from sqlalchemy import select

        from fugu_adapters.store import models

        table = models.suspended
        with self._read() as connection:
            if connection is None:
                return None
            query = select(table).where(table.c.token == token)
            row = connection.execute(query).mappings().first()
        if row is None:
            return None
        waiting = Waiting.from_dict(row["waiting"])
        return Suspension(token=token, key=row["key"], waiting=waiting)

    def add_key(self, key: KeyRecord) -> None:
        """Keep a new key of the one API.

        Raises:
            InputError: where another has its name.
        """
        from sqlalchemy import insert

        from fugu_adapters.store import models

        row = {**asdict(key), "exclude": [*key.exclude]}
        try:
            with self._begin() as connection:
                connection.execute(insert(models.keys), [row])
        except InputError:
            raise InputError(f"there is a key {key.name!r} already; give this one another name") from None  # fmt: skip

    def key(self, digest: str) -> KeyRecord | None:
        """The key with this digest."""
        return next(iter(self._keys(digest)), None)

    def list_keys(self) -> Sequence[KeyRecord]:
        """All keys, the oldest first."""
        return self._keys(None)

    def _keys(self, digest: str | None) -> Sequence[KeyRecord]:
        from sqlalchemy import select

        from fugu_adapters.store import models

        table = models.keys
        query = select(table).order_by(table.c.created_at, table.c.name)
        if digest is not None:
            query = query.where(table.c.digest == digest)
        with self._read() as connection:
            found = [] if connection is None else [*connection.execute(query).mappings()]
        return [key_record(row) for row in found]

    def change_key(self, name: str, **values: Any) -> None:
        """Set ``budget_usd``, ``exclude`` or ``revoked`` of a key.

        Raises:
            InputError: where there is none of this name.
        """
        from sqlalchemy import update

        from fugu_adapters.store import models

        table = models.keys
        with self._begin() as connection:
            done = connection.execute(update(table).where(table.c.name == name).values(**values))
        if not done.rowcount:
            raise InputError(f"no key {name!r}; `fugu keys list` shows them")

    def spend(self, digest: str, usd: float) -> None:
        """Add to what a key has spent."""
        from sqlalchemy import update

        from fugu_adapters.store import models

        table = models.keys
        change = update(table).where(table.c.digest == digest)
        with self._begin() as connection:
            connection.execute(change.values(spent_usd=table.c.spent_usd + usd))

    def keep_response(
        self, response_id: str, owner: str, *, previous: str | None, items: Any, response: Any
    ) -> None:
        """Keep what ``previous_response_id`` may go on from; those of a month ago are forgotten.

        Args:
            response_id: its id.
            owner: whose it is.
            previous: the one that it goes on from itself.
            items: its own input and output, without those of the ones before.
            response: as the client got it.
        """
        from sqlalchemy import delete, insert

        from fugu_adapters.store import models

        table, now = models.responses, datetime.now(UTC)
        row = {
            "response_id": response_id,
            "created_at": now,
            "owner": owner,
            "previous": previous,
            "items": items,
            "response": response,
        }
        with self._begin() as connection:
            connection.execute(delete(table).where(table.c.created_at < now - _KEPT))
            connection.execute(insert(table), [row])

    def response(self, response_id: str, owner: str) -> Mapping[str, Any] | None:
        """A kept response with its items, if it is this owner's."""
        from sqlalchemy import select

        from fugu_adapters.store import models

        table = models.responses
        query = select(table).where(table.c.response_id == response_id, table.c.owner == owner)
        with self._read() as connection:
            row = None if connection is None else connection.execute(query).mappings().first()
        return None if row is None else dict(row)

    def forget_response(self, response_id: str, owner: str) -> bool:
        """Delete a kept response; whether there was one."""
        from sqlalchemy import delete

        from fugu_adapters.store import models

        table = models.responses
        gone = delete(table).where(table.c.response_id == response_id, table.c.owner == owner)
        with self._begin() as connection:
            return bool(connection.execute(gone).rowcount)

    def last(self) -> RunRecord | None:
        """The run that was recorded last, or ``None``."""
        return next(iter(self.list(1)), None)

    def list(self, limit: int = 20) -> _Records:
        """Up to ``limit`` runs, the newest first."""
        from sqlalchemy import select

        from fugu_adapters.store import models

        with self._read() as connection:
            if connection is None:
                return []
            query = select(models.runs).order_by(models.runs.c.seq.desc()).limit(max(0, limit))
            return self._records(connection, query)

    def add_feedback(self, run_id: str, score: float, comment: str | None = None) -> None:
        """Keep how good an answer was. Of several scores for a run the newest counts.

        Args:
            run_id: the run, or the unambiguous beginning of its id.
            score: 0 (wrong) to 1 (right).
            comment: anything worth keeping.

        Raises:
            InputError: where the run is unknown or the score out of range.
        """
        if isinstance(score, str) or not math.isfinite(score) or not 0 <= score <= 1:
            raise InputError(
                f"score: expected a number from 0 (wrong) to 1 (right), got {score!r:.40}"
            )
        from sqlalchemy import insert

        from fugu_adapters.store import models

        with self._read() as connection:
            full = self._resolve(connection, run_id)
        row = {
            "run_id": full,
            "created_at": datetime.now(UTC),
            "score": float(score),
            "comment": comment,
        }
        with self._begin() as connection:
            connection.execute(insert(models.feedback), [row])

    def outcomes(self) -> _Judged:
        """Scored runs whose request was kept, in the order of recording."""
        from sqlalchemy import select

        from fugu_adapters.store import models

        with self._read() as connection:
            if connection is None:
                return []
            scores = select(models.feedback.c.run_id, models.feedback.c.score).order_by(
                models.feedback.c.id
            )
            newest = {row.run_id: row.score for row in connection.execute(scores)}
            judged = select(models.feedback.c.run_id)
            query = select(models.runs).where(models.runs.c.run_id.in_(judged))
            records = self._records(connection, query.order_by(models.runs.c.seq))
        found = [_judge(record, newest[record.run_id]) for record in records]
        return [run for run in found if run is not None]

    def _records(self, connection: Connection, query: Any) -> _Records:
        from fugu_adapters.store import models, rows

        runs = [dict(row) for row in connection.execute(query).mappings()]
        ids = [row["run_id"] for row in runs]
        calls = _grouped(connection, models.attempts, ids)
        steps = _grouped(connection, models.steps, ids)
        return [rows.run_record(row, calls[row["run_id"]], steps[row["run_id"]]) for row in runs]

    def _resolve(self, connection: Connection | None, run_id: str) -> str:
        """The full id for an id or a prefix."""
        from sqlalchemy import select

        from fugu_adapters.store import models

        column, found = models.runs.c.run_id, []
        if connection is not None:
            if connection.scalar(select(column).where(column == run_id)) is not None:
                return run_id
            if len(run_id) >= _SHORTEST_PREFIX:
                like = select(column).where(column.startswith(run_id, autoescape=True))
                found = list(connection.scalars(like.order_by(column).limit(3)))
        if len(found) == 1:
            return str(found[0])
        if found:
            raise InputError(
                f"run {run_id!r}: several begin so: {', '.join(found)}; give more of it"
            )
        raise InputError(
            f"no run {run_id!r} in {self}; give its id or at least its first {_SHORTEST_PREFIX} "
            "characters, as `fugu runs` lists them"
        )

    @contextlib.contextmanager
    def _read(self) -> Iterator[Any]:
        """A connection for reading, or ``None`` where nothing was ever written to the file."""
        if self._engine is None and self._is_absent():
            yield None
        else:
            with self._begin() as connection:
                yield connection

    @contextlib.contextmanager
    def _begin(self) -> Iterator[Connection]:
        """One transaction; what goes wrong in the database is told as a ``ConfigError``."""
        from sqlalchemy.exc import IntegrityError, SQLAlchemyError

        try:
            with self._opened().begin() as connection:
                yield connection
        except IntegrityError:
            raise InputError(f"{self}: that run is recorded already, or is gone") from None
        except SQLAlchemyError as error:
            raise self._problem(error) from None

    def _opened(self) -> Engine:
        from fugu_adapters.store.database import open_database

        with self._lock:
            if self._engine is None:
                self._engine = open_database(self._url(), busy_seconds=_BUSY_SECONDS)
            return self._engine

    def _url(self) -> URL:
        from fugu_adapters.store.database import parse_url

        return parse_url(self._url_text)

    def _is_absent(self) -> bool:
        url = self._url()
        return url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists()

    def _problem(self, error: Exception) -> ConfigError:
        """The error without the statement's parameters, which hold prompts."""
        from fugu_adapters.store.database import reason

        return ConfigError(
            f"{self}: the run store cannot be used ({reason(error)}). Check that it exists, is "
            "writable and has room, or set FUGU_STORE to another path or URL"
        )

    def __repr__(self) -> str:
        return self._url().render_as_string(hide_password=True)


def _grouped(connection: Connection, table: Table, ids: Sequence[str]) -> dict[str, _Rows]:
    """The rows of a table that belong to these runs, by run, in order."""
    from sqlalchemy import select

    found: dict[str, _Rows] = {run_id: [] for run_id in ids}
    wanted = select(table).where(table.c.run_id.in_(ids)).order_by(table.c.n)
    for row in connection.execute(wanted).mappings():
        found[row["run_id"]].append(dict(row))
    return found


def _default_path() -> str:
    import platformdirs

    return str(platformdirs.user_data_path("fugu-adapters") / "fugu.db")


def _judge(record: RunRecord, score: float) -> JudgedRun | None:
    if record.request is None or record.worker is None:
        return None
    calls = [call for call in record.attempts if call.ok and call.worker == record.worker]
    call = calls[-1] if calls else None
    usage = (call and call.usage) or record.usage
    return JudgedRun(
        run_id=record.run_id,
        request=record.request,
        outcome=Outcome(
            suite="feedback",
            item_id=record.run_id,
            worker=record.worker,
            score=score,
            input_tokens=usage.input_tokens if usage else None,
            output_tokens=usage.output_tokens if usage else None,
            latency_s=call.latency_s if call else record.seconds,
            cost_usd=call.cost_usd if call else record.cost_usd,
            answer=record.text,
        ),
    )
