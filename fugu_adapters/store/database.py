"""Opening a database: its address, a private file, its schema; and writing many rows to it."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json
from sqlalchemy import URL, create_engine, event, make_url, select, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.schema import CreateIndex, CreateTable

from fugu_adapters.errors import ConfigError
from fugu_adapters.store import models
from fugu_adapters.types import to_plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, Engine, Table

__all__ = ["insert_rows", "open_database", "parse_url", "reason"]

_MOST_VALUES = 900  # in one statement; SQLite before 3.32 takes 999
_REMEDY = "expected a path, sqlite:////path/to/fugu.db or postgresql://user@host/name"


def parse_url(address: str) -> URL:
    """A path or SQLAlchemy URL as a URL.

    Raises:
        ConfigError: where it is neither; the message does not quote it, since it may hold a password.
    """
    if "://" not in address:
        return URL.create("sqlite", database=str(Path(address).expanduser()))
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        raise ConfigError(f"store: the URL cannot be parsed; {_REMEDY}") from None
    if url.drivername in ("postgres", "postgresql"):
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise ConfigError(f"store: a database in memory would be lost and unshared; {_REMEDY}")
    return url


def open_database(url: URL, *, busy_seconds: float) -> Engine:
    """An engine whose schema is there and is ours.

    Args:
        url: from ``parse_url``.
        busy_seconds: how long to wait for another writer, or for a server to accept us.

    Raises:
        ConfigError: where a driver is missing, the file cannot be made, or the schema is newer.
        SQLAlchemyError: anything else; the caller says what it was about.
    """
    is_file = url.get_backend_name() == "sqlite"
    wait = {"timeout": busy_seconds} if is_file else {"connect_timeout": math.ceil(busy_seconds)}
    if is_file:
        _make_private_file(Path(str(url.database)))
    shown = url.render_as_string(hide_password=True)
    try:
        # Parameters hold prompts: they must not appear in the text of an error.
        engine = create_engine(
            url,
            hide_parameters=True,
            pool_pre_ping=not is_file,
            connect_args=wait,
            json_serializer=_json,
        )
    except (ImportError, NoSuchModuleError):
        raise ConfigError(
            f"{shown}: its driver is not installed; for PostgreSQL: pip install "
            '"fugu-adapters[postgres]"'
        ) from None
    if is_file:
        event.listen(engine, "connect", _prepare_sqlite)
    try:
        with engine.begin() as connection:
            _create_schema(connection, shown)
    except (SQLAlchemyError, ConfigError):
        engine.dispose()
        raise
    return engine


def _make_private_file(path: Path) -> None:
    """Create the file for its owner only; SQLite gives its side files the same mode."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise ConfigError(
            f"{path}: the run store cannot be made there ({error.strerror}); "
            "set FUGU_STORE to a path that can be written"
        ) from None


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _create_schema(connection: Connection, shown: str) -> None:
    """Create what is missing; several processes may do this at once."""
    if connection.dialect.name == "sqlite":
        connection.execute(text("BEGIN IMMEDIATE"))
    elif connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(1718974325)"))  # "fugu"
    for table in models.metadata.sorted_tables:
        connection.execute(CreateTable(table, if_not_exists=True))
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            connection.execute(CreateIndex(index, if_not_exists=True))
    found = connection.scalar(select(models.schema.c.version).where(models.schema.c.id == 1))
    if found is None:
        connection.execute(models.schema.insert(), [{"id": 1, "version": models.SCHEMA_VERSION}])
    elif found != models.SCHEMA_VERSION:
        raise ConfigError(
            f"{shown}: its tables have version {found}, this program knows {models.SCHEMA_VERSION}; "
            "upgrade fugu-adapters, or set FUGU_STORE to another path"
        )


def insert_rows(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows with the same columns.

    SQLite's driver gives up Python's lock for every row of ``executemany``, and gets it back from a busy event loop
    after a whole switch interval only. So many rows are one statement there.
    """
    if not rows:
        return
    if connection.dialect.name != "sqlite":
        connection.execute(table.insert(), [dict(row) for row in rows])
        return
    dialect = connection.dialect
    ways = [
        (column.name, column.type.dialect_impl(dialect).bind_processor(dialect))
        for column in table.columns
        if column.name in rows[0]
    ]
    names = ", ".join(name for name, _ in ways)
    place = f"({', '.join('?' * len(ways))})"
    left, most = list(rows), _MOST_VALUES // len(ways)
    while left:  # in powers of two, because the driver keeps every statement that it has compiled
        count = 1 << (min(len(left), most).bit_length() - 1)
        part, left = left[:count], left[count:]
        values = [way(row[name]) if way else row[name] for row in part for name, way in ways]
        # Table and columns are those of ``models``, and what a row holds is bound.
        statement = f"INSERT INTO {table.name} ({names}) VALUES {', '.join([place] * len(part))}"  # noqa: S608
        connection.exec_driver_sql(statement, tuple(values))


def reason(error: Exception) -> str:
    """What the database said, without statements and parameters."""
    said = str(getattr(error, "orig", None) or "").strip().splitlines()
    return f"{type(error).__name__}: {said[0]}" if said else type(error).__name__


def _json(value: Any) -> str:
    """A record as JSON. What the fast way cannot write, such as half a surrogate pair, the other one escapes."""
    try:
        return to_json(value).decode()
    except ValueError:
        return json.dumps(to_plain(value))
