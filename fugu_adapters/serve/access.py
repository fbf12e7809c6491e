"""Who may use the server, and how much: keys of our own, with budgets and opt-outs.

A key is shown once, when it is made; its digest is kept. What it has spent is kept in the store, so that a budget
holds over restarts; of several server processes each sees what the others spent after a few seconds.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass

from fugu_adapters.engine.limits import Account
from fugu_adapters.serve.problems import Problem
from fugu_adapters.store import KeyRecord, Store

__all__ = ["Access", "Denied", "Guest", "digest_of", "new_key"]

_FRESH_S = 5.0  # how long what the store says of a key is believed
_LONGEST = 200


class Denied(Exception):
    """A request that may not be made."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.text)
        self.problem = problem


@dataclass(slots=True)
class Guest:
    """A key's holder, as this process knows it.

    Attributes:
        key: as the store has it.
        account: its budget, with the calls under way; ``None`` where it has none.
        told: dollars of ours that the store knows of.
        at: when the store was asked.
    """

    key: KeyRecord
    account: Account | None
    told: float = 0.0
    at: float = 0.0


def new_key() -> str:
    """A key: 256 random bits."""
    return f"fugu-{secrets.token_urlsafe(32)}"


def digest_of(key: str) -> str:
    """What is kept of a key. It has entropy enough that a plain digest cannot be turned round."""
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


class Access:
    """Checks keys.

    Args:
        store: where they are kept; ``None`` where the server takes none.
        required: whether a request without a key is refused.
    """

    def __init__(self, store: Store | None, *, required: bool) -> None:
        self._store = store
        self._required = required
        self._guests: dict[str, Guest] = {}

    async def admit(self, headers: Mapping[str, str]) -> Guest | None:
        """The holder of the key that a request brings; ``None`` for a request that needs none.

        Raises:
            Denied: there is no key, or it is unknown, revoked, or has spent its budget.
        """
        if not self._required or self._store is None:
            return None
        given = _given(headers)
        if given is None:
            raise Denied(_unauthorized("no key: send it as Authorization: Bearer, or as x-api-key"))
        guest = await self._known(digest_of(given))
        if guest is None or guest.key.revoked:
            raise Denied(_unauthorized("this key is not known here, or was revoked"))
        if guest.account is not None and guest.account.left <= 0:
            spent = f"${guest.account.spent:.4f} of ${guest.account.usd:g}"
            text = f"the budget of this key is used up: {spent}; `fugu keys set {guest.key.name} --budget` raises it"
            raise Denied(Problem(status=402, kind="budget", text=text))
        return guest

    async def _known(self, digest: str) -> Guest | None:
        guest, now = self._guests.get(digest), time.monotonic()
        if guest is not None and now - guest.at < _FRESH_S:
            return guest
        if self._store is None:
            return None
        key = await asyncio.to_thread(self._store.key, digest)
        if key is None:
            self._guests.pop(digest, None)
            return None
        # Others may have asked meanwhile, and all of them have to share one account.
        guest = self._guests.setdefault(digest, Guest(key, None))
        if key.budget_usd is None:
            guest.account = None
        elif guest.account is None:
            guest.account, guest.told = Account(key.budget_usd, spent=key.spent_usd), key.spent_usd
        else:
            guest.account.usd = key.budget_usd
            elsewhere = key.spent_usd - guest.told
            if elsewhere > 0:
                guest.account.spent_elsewhere(elsewhere)
                guest.told = key.spent_usd
        guest.key, guest.at = key, now
        return guest

    async def spend(self, guest: Guest, usd: float | None) -> None:
        """Note what a run of a key's holder cost."""
        if usd and self._store is not None:
            guest.told += usd
            await asyncio.to_thread(self._store.spend, guest.key.digest, usd)


def _given(headers: Mapping[str, str]) -> str | None:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    key = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "").strip()
    return key if 0 < len(key) <= _LONGEST else None


def _unauthorized(text: str) -> Problem:
    return Problem(status=401, kind="authentication", text=text, code="invalid_api_key")
