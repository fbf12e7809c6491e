"""What the engine needs of a worker, whatever it is: one coroutine that turns a request into a reply."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol, TypeAlias

from fugu_adapters.types import Delta, Reply, Request

__all__ = ["Backend", "OnDelta", "deliver", "pieces_of"]

OnDelta: TypeAlias = Callable[[Delta], None]


class Backend(Protocol):
    """One worker's way of answering. It never retries, never falls back and keeps no deadline.

    The engine bounds its time, retries it, and cancels it; a cancelled call has to stop its work.
    """

    async def call(self, request: Request, *, on_delta: OnDelta | None = None) -> Reply:
        """Answer one request.

        Args:
            request: what to answer. Capabilities were checked before.
            on_delta: called with each piece as it arrives. Without it the reply may come whole.

        Returns:
            The whole reply, whether or not it was streamed.

        Raises:
            WorkerError: the subclass says whether trying again can help.
        """
        ...

    async def aclose(self) -> None:
        """Release what the backend holds. Calling it twice is fine."""
        ...


def pieces_of(reply: Reply) -> Iterator[Delta]:
    """A reply that came whole, as it would have come in pieces."""
    if reply.reasoning:
        yield Delta(reasoning=reply.reasoning)
    for sealed in reply.sealed:
        yield Delta(sealed=sealed)
    if reply.text:
        yield Delta(text=reply.text)
    for index, call in enumerate(reply.tool_calls):
        yield Delta(
            tool_index=index, tool_id=call.id, tool_name=call.name, arguments=call.arguments
        )


def deliver(reply: Reply, on_delta: OnDelta | None) -> Reply:
    """Hand a reply that came whole to a caller who listens for pieces."""
    if on_delta is not None:
        for piece in pieces_of(reply):
            on_delta(piece)
    return reply
