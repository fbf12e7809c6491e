"""Keys of the one API, as the store has them. Only their digests are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fugu_adapters.errors import InputError

__all__ = ["KeyRecord", "key_record"]


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyRecord:
    """One key.

    Attributes:
        name: what people call it.
        digest: SHA-256 of the key, as hexadecimal digits.
        budget_usd: dollars that it may spend in all, or ``None`` for no bound.
        spent_usd: dollars that it has spent.
        exclude: workers that are not asked for it: names, ``provider:NAME`` or tags.
        created_at: when it was made.
        revoked: whether it was taken back.
    """

    name: str
    digest: str
    budget_usd: float | None = None
    spent_usd: float = 0.0
    exclude: tuple[str, ...] = ()
    created_at: datetime
    revoked: bool = False


def key_record(row: Mapping[str, Any]) -> KeyRecord:
    """A row of ``fugu_keys``.

    Raises:
        InputError: the row was edited into something else.
    """
    exclude = row["exclude"] or []
    if not isinstance(exclude, list):
        raise InputError(f"key {row['name']!r}: exclude is not a list")
    return KeyRecord(
        name=row["name"],
        digest=row["digest"],
        budget_usd=row["budget_usd"],
        spent_usd=row["spent_usd"],
        exclude=tuple(str(each) for each in exclude),
        created_at=row["created_at"] or datetime.now(UTC),
        revoked=row["revoked"],
    )
