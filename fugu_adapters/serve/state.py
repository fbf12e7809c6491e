"""What the Responses dialect goes on from: earlier replies by their id, each for its own key only."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from pydantic_core import from_json

from fugu_adapters.errors import InputError
from fugu_adapters.store import Store

__all__ = ["Conversations"]

_IN_MEMORY = 1_024
_LONGEST = 10_000  # replies of a conversation


class Conversations:
    """Replies and what led to them.

    Args:
        store: where they are kept; in memory where there is none, or texts are not kept.
    """

    def __init__(self, store: Store | None) -> None:
        self._store = store if store is not None and store.keep_text else None
        self._memory: OrderedDict[tuple[str, str], Mapping[str, Any]] = OrderedDict()

    async def continued(self, body: Mapping[str, Any], owner: str) -> Mapping[str, Any]:
        """A request with the items of the conversation that it goes on with before its own.

        Raises:
            InputError: that conversation is not known here.
        """
        previous = body.get("previous_response_id")
        before: list[list[Any]] = []
        if previous is None:
            return body
        while previous is not None and len(before) < _LONGEST:
            found = await self.get(str(previous), owner)
            if found is None:
                raise InputError(
                    f"previous_response_id: {str(previous)[:80]!r} is not known here; it was made with store = false, "
                    "by another key, or more than a month ago. Send the whole input"
                )
            before.append(found["items"])
            previous = found["previous"]
        items = [item for earlier in reversed(before) for item in earlier]
        return {**body, "input": [*items, *_items(body.get("input"))]}

    async def get(self, response_id: str, owner: str) -> Mapping[str, Any] | None:
        """A kept reply, with the items that led to it and its own."""
        if self._store is None:
            return self._memory.get((response_id, owner))
        return await asyncio.to_thread(self._store.response, response_id, owner)

    def keeper(
        self, body: Mapping[str, Any], owner: str
    ) -> Callable[[bytes], Awaitable[None]] | None:
        """Keeps the reply to a request, whole or the end of its stream; ``None`` where the client does not want that."""
        if body.get("store") is False:
            return None

        async def keep(reply: bytes) -> None:
            response = _response_in(reply)
            if response is not None:
                await self._keep(body, response, owner)

        return keep

    async def _keep(self, body: Mapping[str, Any], response: Mapping[str, Any], owner: str) -> None:
        response_id, output = response.get("id"), response.get("output")
        previous = body.get("previous_response_id")
        if not isinstance(response_id, str):
            return
        kept: dict[str, Any] = {
            "previous": None if previous is None else str(previous),
            "items": [*_items(body.get("input")), *_items(output)],
            "response": dict(response),
        }
        if self._store is not None:
            await asyncio.to_thread(self._store.keep_response, response_id, owner, **kept)
            return
        self._memory[response_id, owner] = kept
        while len(self._memory) > _IN_MEMORY:
            self._memory.popitem(last=False)

    async def forget(self, response_id: str, owner: str) -> bool:
        """Delete a kept reply; whether there was one."""
        if self._store is None:
            return self._memory.pop((response_id, owner), None) is not None
        return await asyncio.to_thread(self._store.forget_response, response_id, owner)


def _items(given: Any) -> list[Any]:
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    return given if isinstance(given, list) else []


def _response_in(reply: bytes) -> Mapping[str, Any] | None:
    """The response in a whole reply, or in the last event of a stream."""
    data = reply if reply.startswith(b"{") else reply.rstrip().rpartition(b"\ndata:")[2]
    try:
        value = from_json(data)
    except ValueError:
        return None
    if isinstance(value, dict) and "response" in value:
        value = value["response"]
    return value if isinstance(value, dict) else None
