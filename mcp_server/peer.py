"""What a handler may ask of the client that called it, whichever SDK is between them."""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["INVALID_PARAMS", "NOT_FOUND", "Peer", "Refused"]

INVALID_PARAMS = -32602
NOT_FOUND = -32002


class Refused(Exception):
    """A request that is answered with a JSON-RPC error.

    Attributes:
        code: the error's number.
        data: what else a program may want to know of it.
    """

    def __init__(self, code: int, message: str, data: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data


class Peer(Protocol):
    """The client behind one request.

    Attributes:
        caller: who it is; its runs are found by nobody else.
        wants_progress: whether it listens to progress.
        can_sample: whether it offers its own model.
        replays: whether its model is asked by returning the question, to be called again with the answer,
            as protocol 2026-07-28 has it.
    """

    caller: str
    wants_progress: bool
    can_sample: bool
    replays: bool

    async def progress(self, value: float, message: str) -> None:
        """Say how it goes. ``value`` has to grow from call to call."""
        ...

    async def sample(self, params: dict[str, Any]) -> dict[str, Any]:
        """Have the client's model answer, where the client is not one that ``replays``."""
        ...
