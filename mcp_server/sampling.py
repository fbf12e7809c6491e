"""The client's own model as a worker: MCP calls it sampling. No key is needed, and the client may refuse.

A worker with ``api = "host"`` in ``fugu.toml`` is that model. It is left out where a client does not offer
sampling. Tools and images are not passed on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import Any, TypeAlias

from fugu_adapters.config import Worker
from fugu_adapters.errors import WorkerProtocolError, WorkerRefused
from fugu_adapters.messages import text_of
from fugu_adapters.pool import Pool
from fugu_adapters.types import FinishReason, Message, Reply, Request

__all__ = ["AskHost", "asking_host", "host_names", "with_host_model"]

AskHost: TypeAlias = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
"""From the params of ``sampling/createMessage`` to its result."""

asking_host: ContextVar[AskHost] = ContextVar("asking_host")
"""How the client is asked; set in the task that carries out a run."""

_LONGEST = 4_096  # a bound on the reply is required; this where the request has none

_FINISHED: dict[str, FinishReason] = {"maxTokens": "length"}


def host_names(pool: Pool) -> frozenset[str]:
    """The workers that are the client's own model."""
    return frozenset(worker.name for worker in pool if worker.api == "host")


def with_host_model(pool: Pool) -> Pool:
    """The pool with its ``host`` workers answered by the client's model."""

    def change(worker: Worker) -> Worker:
        if worker.api != "host":
            return worker
        able = {"tools": False, "images": False, "json_schema": False}
        return worker.model_copy(update={"api": "callable", "call": _ask, **able})

    return pool.changed(change)


async def _ask(messages: list[dict[str, Any]], *, request: Request) -> Reply:
    ask = asking_host.get(None)
    if ask is None:
        raise WorkerRefused("the client's model can only be asked during a client's call")
    result = await ask(_params(request))
    content = result.get("content")
    parts = content if isinstance(content, list) else [content]
    texts = [p.get("text") for p in parts if isinstance(p, Mapping) and p.get("type") == "text"]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise WorkerProtocolError("the client's model gave no text")
    return Reply(
        text="".join(texts),  # type: ignore[arg-type]  # checked on the line above
        model=result.get("model"),
        finish_reason=_FINISHED.get(result.get("stopReason") or "", "stop"),
    )


def _params(request: Request) -> dict[str, Any]:
    system = [text_of(m) for m in request.messages if m["role"] in ("system", "developer")]
    params: dict[str, Any] = {
        "messages": [_message(m) for m in request.messages if m["role"] in ("user", "assistant")],
        "maxTokens": request.max_output_tokens or _LONGEST,
        "systemPrompt": "\n\n".join(system) or None,
        "temperature": request.temperature,
        "stopSequences": list(request.stop) or None,
    }
    return {key: value for key, value in params.items() if value is not None}


def _message(message: Message) -> dict[str, Any]:
    return {"role": message["role"], "content": {"type": "text", "text": text_of(message)}}
