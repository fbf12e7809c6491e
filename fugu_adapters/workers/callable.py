"""Workers that are coroutine functions of the host's own."""

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from typing import Any

from fugu_adapters.config import Worker
from fugu_adapters.engine.backend import OnDelta, deliver
from fugu_adapters.errors import (
    FuguError,
    WorkerError,
    WorkerProtocolError,
    WorkerRateLimited,
    WorkerRefused,
    WorkerTimeout,
    WorkerUnavailable,
)
from fugu_adapters.types import Delta, Reply, Request, ToolCall

__all__ = ["CallableBackend", "translated"]

_EXPECTED = "expected text, an assistant message, a Reply or an async iterator of text"


class CallableBackend:
    """Asks ``worker.call``.

    The function gets the messages as a list, and the whole ``Request`` where it takes ``request=``. It
    returns, or yields in pieces, one of: text, an assistant message in OpenAI's shape, a ``Reply``.

    Args:
        worker: a worker with ``api = "callable"``.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._wants_request = _takes(worker.call, "request")

    async def call(self, request: Request, *, on_delta: OnDelta | None = None) -> Reply:
        """Answer one request; see ``Backend.call``."""
        call = self._worker.call
        if call is None:
            raise WorkerProtocolError("the worker has no function", worker=self._worker.name)
        extra = {"request": request} if self._wants_request else {}
        with translated(self._worker.name):
            answer: Any = call([dict(message) for message in request.messages], **extra)
            if inspect.isawaitable(answer):
                answer = await answer
            elif not isinstance(answer, AsyncIterator):
                raise self._protocol(
                    "the function is not a coroutine function; make it `async def`"
                )
            if isinstance(answer, AsyncIterator):
                return Reply(text=await self._collect(answer, on_delta))
        reply = self._reply(answer)
        deliver(reply, on_delta)
        return reply

    async def aclose(self) -> None:
        """Nothing is held."""

    async def _collect(self, pieces: AsyncIterator[Any], on_delta: OnDelta | None) -> str:
        if not hasattr(pieces, "aclose"):
            return await self._join(pieces, on_delta)
        async with aclosing(pieces):  # type: ignore[type-var] # checked on the line above
            return await self._join(pieces, on_delta)

    async def _join(self, pieces: AsyncIterator[Any], on_delta: OnDelta | None) -> str:
        texts: list[str] = []
        async for piece in pieces:
            if not isinstance(piece, str):
                raise self._protocol(f"the iterator gave {type(piece).__name__}, expected text")
            texts.append(piece)
            if on_delta is not None and piece:
                on_delta(Delta(text=piece))
        return "".join(texts)

    def _reply(self, answer: Any) -> Reply:
        if isinstance(answer, Reply):
            return answer
        if isinstance(answer, str):
            return Reply(text=answer)
        if isinstance(answer, Mapping):
            return self._message(answer)
        raise self._protocol(f"{_EXPECTED}, got {type(answer).__name__}")

    def _message(self, message: Mapping[str, Any]) -> Reply:
        content = message.get("content")
        if message.get("role", "assistant") != "assistant" or not isinstance(content, str | None):
            raise self._protocol("expected an assistant message with text as content")
        try:
            calls = tuple(
                ToolCall(
                    id=call["id"],
                    name=call["function"]["name"],
                    arguments=call["function"]["arguments"],
                )
                for call in message.get("tool_calls") or ()
            )
        except (KeyError, TypeError):
            raise self._protocol("its tool_calls are not in OpenAI's shape") from None
        if content is None and not calls:
            raise self._protocol("the message has neither content nor tool_calls")
        return Reply(
            text=content or "",
            tool_calls=calls,
            finish_reason="tool_calls" if calls else "stop",
        )

    def _protocol(self, message: str) -> WorkerProtocolError:
        return WorkerProtocolError(message, worker=self._worker.name)


@contextmanager
def translated(worker: str) -> Iterator[None]:
    """Turn what the host's own code raises into a ``WorkerError`` that names only its class.

    Our own errors, cancellation and a host's interrupts pass through.
    """
    try:
        yield
    except FuguError:
        raise
    except Exception as error:  # the host's code may raise anything; cancellation is no Exception
        if _is_interrupt(error):
            raise
        raise _worker_error(error, worker) from error


def _is_interrupt(error: Exception) -> bool:
    """Whether LangGraph raised it to pause or redirect a graph."""
    errors = sys.modules.get("langgraph.errors")  # never loaded: then none can have been raised
    bubble = getattr(errors, "GraphBubbleUp", None)
    return bubble is not None and isinstance(error, bubble)


def _worker_error(error: Exception, worker: str) -> WorkerError:
    """The error by what it says of itself: a status, as SDKs attach one, or a built-in class."""
    name, status = type(error).__name__, getattr(error, "status_code", None)
    message = f"{name} in the worker's own code"
    if isinstance(status, int) and 400 <= status < 600:
        kind: type[WorkerError] = WorkerRefused
        if status in (408, 429):
            kind = WorkerRateLimited if status == 429 else WorkerTimeout
        elif status >= 500:
            kind = WorkerUnavailable
        return kind(message, worker=worker, status=status, cause_kind=f"http_{status}")
    if isinstance(error, TimeoutError) or "Timeout" in name:
        return WorkerTimeout(message, worker=worker)
    if isinstance(error, ConnectionError) or "ConnectionError" in name or "ConnectError" in name:
        return WorkerUnavailable(message, worker=worker, cause_kind="connect")
    return WorkerError(message, worker=worker, cause_kind="exception")


def _takes(function: Any, name: str) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some built-ins have no signature
        return False
    return any(
        parameter.kind is parameter.VAR_KEYWORD
        or (parameter.name == name and parameter.kind is not parameter.POSITIONAL_ONLY)
        for parameter in parameters
    )
