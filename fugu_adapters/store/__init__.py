"""Runs, their calls and feedback, kept in SQLite or PostgreSQL. SQLAlchemy is loaded on first use."""

from __future__ import annotations

from fugu_adapters.store.keys import KeyRecord
from fugu_adapters.store.recorder import Recorder
from fugu_adapters.store.records import JudgedRun, RunRecord, RunStatus
from fugu_adapters.store.store import Store

__all__ = ["JudgedRun", "KeyRecord", "Recorder", "RunRecord", "RunStatus", "Store"]
