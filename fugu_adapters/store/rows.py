"""Records to rows and back. What comes back is validated: a file may have been edited.

The database's JSON columns take dataclasses as they are; only a request has parts that are not kept.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from fugu_adapters.errors import ConfigError
from fugu_adapters.messages import text_of
from fugu_adapters.store.records import RunRecord
from fugu_adapters.types import plain_fields

__all__ = ["attempt_rows", "run_record", "run_row", "step_rows"]

_SCALARS = (
    "run_id",
    "created_at",
    "model",
    "status",
    "session",
    "error",
    "finish_reason",
    "worker",
    "cost_usd",
    "seconds",
)
_STEP_FIELDS = ("worker", "answered_by", "access", "subtask", "text")
_CALL_SCALARS = ("worker", "ok", "error", "started_s", "latency_s", "cost_usd")


def run_row(record: RunRecord, keep_text: bool) -> dict[str, Any]:
    """The row of ``fugu_runs`` for a run."""
    only = (record.decision,) == record.decisions
    return {
        **{name: getattr(record, name) for name in _SCALARS},
        "request": plain_fields(record.request) if keep_text else None,
        "sizes": _sizes(record),
        "text": record.text if keep_text else None,
        "tool_calls": record.tool_calls if keep_text else None,
        "decision": record.decision,
        "decisions": None if only else record.decisions,
        "usage": record.usage,
    }


def attempt_rows(record: RunRecord, keep_text: bool) -> list[dict[str, Any]]:
    """The rows of ``fugu_attempts`` for a run."""
    return [
        {
            "run_id": record.run_id,
            "n": number,
            **{name: getattr(attempt, name) for name in _CALL_SCALARS},
            "usage": attempt.usage,
            "steps": list(attempt.steps) if keep_text else [],
        }
        for number, attempt in enumerate(record.attempts)
    ]


def step_rows(record: RunRecord, keep_text: bool) -> list[dict[str, Any]]:
    """The rows of ``fugu_steps`` for a run."""
    return [
        {
            "run_id": record.run_id,
            "n": step.index,
            "worker": step.worker,
            "answered_by": step.answered_by,
            "access": list(step.access),
            "subtask": step.subtask if keep_text else None,
            "text": step.text if keep_text else None,
            "calls": [n for n, call in enumerate(record.attempts) if call.step == step.index],
        }
        for step in record.steps
    ]


def run_record(
    row: Mapping[str, Any],
    calls: Sequence[Mapping[str, Any]],
    steps: Sequence[Mapping[str, Any]] = (),
) -> RunRecord:
    """The run for its rows, those of its calls and those of its steps.

    Raises:
        ConfigError: where they hold something else than a run.
    """
    decisions = row["decisions"]
    if decisions is None:
        decisions = [] if row["decision"] is None else [row["decision"]]
    made_for = {n: step["n"] for step in steps for n in step["calls"]}
    data = {
        **{name: row[name] for name in (*_SCALARS, "request", "text", "decision", "usage")},
        "tool_calls": row["tool_calls"] or (),
        "decisions": decisions,
        "attempts": [
            {
                **{name: call[name] for name in (*_CALL_SCALARS, "usage", "steps")},
                "step": made_for.get(call["n"]),
            }
            for call in calls
        ],
        "steps": [
            {"index": step["n"], **{name: step[name] for name in _STEP_FIELDS}} for step in steps
        ],
    }
    try:
        return _adapter().validate_python(data)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise ConfigError(
            f"run {row['run_id']!r} in the store is damaged at {where}; delete it or the file"
        ) from None


@functools.cache
def _adapter() -> TypeAdapter[RunRecord]:
    return TypeAdapter(RunRecord)


def _sizes(record: RunRecord) -> dict[str, int]:
    request = record.request
    return {
        "messages": len(request.messages) if request else 0,
        "prompt_chars": sum(len(text_of(m)) for m in request.messages) if request else 0,
        "tools": len(request.tools) if request else 0,
        "answer_chars": len(record.text or ""),
    }
