"""The tables. They are the same on SQLite and PostgreSQL; times are UTC and JSON holds plain records."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)

__all__ = [
    "SCHEMA_VERSION",
    "attempts",
    "feedback",
    "keys",
    "metadata",
    "responses",
    "runs",
    "schema",
    "steps",
    "suspended",
]

SCHEMA_VERSION = 1
"""Raised by one whenever a table changes. A new table changes none: older databases get it when opened."""


class _Utc(TypeDecorator[datetime]):
    """An aware time. SQLite keeps none of the zone, so it is put back."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if not isinstance(value, datetime):
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class _Clean(TypeDecorator[str]):
    """Text that every database takes: PostgreSQL has no NUL, and UTF-8 has no lone surrogates."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


_JSON = JSON(none_as_null=True)

metadata = MetaData()

schema = Table(
    "fugu_schema",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
)

runs = Table(
    "fugu_runs",
    metadata,
    Column("seq", Integer, primary_key=True),  # the order of recording; times may tie
    Column("run_id", String(64), nullable=False, unique=True),
    Column("created_at", _Utc, nullable=False, index=True),
    Column("model", String(100), nullable=False),
    Column("status", String(16), nullable=False),
    Column("session", _Clean, index=True),
    Column("request", _JSON),
    Column("sizes", _JSON),  # kept whether or not texts are
    Column("error", _Clean),
    Column("text", _Clean),
    Column("tool_calls", _JSON),
    Column("finish_reason", String(32)),
    Column("worker", String(100)),
    Column("decision", _JSON),
    Column("decisions", _JSON),
    Column("usage", _JSON),
    Column("cost_usd", Float),
    Column("seconds", Float),
)

attempts = Table(
    "fugu_attempts",
    metadata,
    Column("run_id", ForeignKey("fugu_runs.run_id", ondelete="CASCADE"), primary_key=True),
    Column("n", Integer, primary_key=True),
    Column("worker", String(100), nullable=False),
    Column("ok", Boolean, nullable=False),
    Column("error", _Clean),
    Column("started_s", Float, nullable=False),
    Column("latency_s", Float),
    Column("usage", _JSON),
    Column("cost_usd", Float),
    Column("steps", _JSON),
)

steps = Table(
    "fugu_steps",
    metadata,
    Column("run_id", ForeignKey("fugu_runs.run_id", ondelete="CASCADE"), primary_key=True),
    Column("n", Integer, primary_key=True),
    Column("worker", String(100), nullable=False),
    Column("answered_by", String(100)),
    Column("access", _JSON, nullable=False),
    Column("subtask", _Clean),
    Column("text", _Clean),
    Column("calls", _JSON, nullable=False),  # which of the run's attempts were made for it
)

suspended = Table(
    "fugu_suspended",
    metadata,
    Column("token", String(32), primary_key=True),
    Column("created_at", _Utc, nullable=False, index=True),
    Column("key", String(64), nullable=False),
    Column("waiting", _JSON, nullable=False),
)

keys = Table(
    "fugu_keys",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("budget_usd", Float),
    Column("spent_usd", Float, nullable=False),
    Column("exclude", _JSON),
    Column("created_at", _Utc, nullable=False),
    Column("revoked", Boolean, nullable=False),
)

responses = Table(
    "fugu_responses",
    metadata,
    Column("response_id", String(80), primary_key=True),
    Column("created_at", _Utc, nullable=False, index=True),
    Column("owner", String(64), nullable=False),  # digest of the key that asked, or nothing
    Column("previous", String(80)),  # the response that this one goes on from
    Column("items", _JSON, nullable=False),  # its own input and output
    Column("response", _JSON, nullable=False),
)

feedback = Table(
    "fugu_feedback",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run_id", ForeignKey("fugu_runs.run_id", ondelete="CASCADE"), nullable=False),
    Column("created_at", _Utc, nullable=False),
    Column("score", Float, nullable=False),
    Column("comment", _Clean),
    Index("fugu_feedback_run", "run_id"),
)
