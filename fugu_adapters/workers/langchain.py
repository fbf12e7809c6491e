"""Workers that are LangChain chat models, or runnables that take messages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fugu_adapters.config import Worker
from fugu_adapters.engine.backend import OnDelta, deliver
from fugu_adapters.errors import ConfigError, WorkerProtocolError, WorkerRefused
from fugu_adapters.types import Delta, FinishReason, Reply, Request, ToolCall, Usage
from fugu_adapters.workers.callable import translated

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, AIMessageChunk

__all__ = ["LangChainBackend"]

# What integrations call one setting. Only fields that a model declares are set: passing an unknown
# one with the call fails in some integrations and is ignored in others.
_FIELDS = {
    "max_output_tokens": ("max_tokens", "max_output_tokens", "num_predict"),
    "temperature": ("temperature",),
    "top_p": ("top_p",),
    "seed": ("seed",),
}
_FINISH: dict[str, FinishReason] = {
    "length": "length",
    "max_tokens": "length",
    "content_filter": "content_filter",
    "refusal": "content_filter",
    "safety": "content_filter",
}


class LangChainBackend:
    """Asks ``worker.runnable``.

    A chat model gets the request's tools, response format and settings. Another runnable gets the
    messages only, and is refused requests that need more. Most chat models retry by themselves, where
    our limits do not see it: make them with ``max_retries=0``.

    Args:
        worker: a worker with ``api = "langchain"``.

    Raises:
        ConfigError: where langchain-core is not installed or the object has no ``ainvoke``.
    """

    def __init__(self, worker: Worker) -> None:
        try:
            import langchain_core.messages  # noqa: F401 - only to say early that it is missing
        except ImportError:
            raise ConfigError(
                f"worker {worker.name!r}: api = 'langchain' needs langchain-core: "
                'pip install "fugu-adapters[langchain]"'
            ) from None
        if not hasattr(worker.runnable, "ainvoke"):
            raise ConfigError(
                f"worker {worker.name!r}: runnable has to be a LangChain chat model or runnable, "
                f"got {type(worker.runnable).__name__}"
            )
        self._worker = worker

    async def call(self, request: Request, *, on_delta: OnDelta | None = None) -> Reply:
        """Answer one request; see ``Backend.call``."""
        from langchain_core.messages import convert_to_messages

        with translated(self._worker.name):
            model = self._bound(request)
            messages = convert_to_messages([dict(message) for message in request.messages])
            if on_delta is None:
                answer = await model.ainvoke(messages)
                return self._reply(answer)
            return await self._stream(model, messages, on_delta)

    async def aclose(self) -> None:
        """Nothing is held: the runnable is the host's."""

    async def _stream(self, model: Any, messages: Any, on_delta: OnDelta) -> Reply:
        from langchain_core.messages import BaseMessageChunk

        whole: Any = None
        async for chunk in model.astream(messages):
            if isinstance(chunk, BaseMessageChunk):
                _emit(chunk, on_delta)
            elif isinstance(chunk, str):
                on_delta(Delta(text=chunk))
            else:
                reply = self._reply(chunk)  # a runnable that cannot stream gives its answer whole
                deliver(reply, on_delta)
                return reply
            whole = chunk if whole is None else whole + chunk
        return self._reply(whole)

    def _bound(self, request: Request) -> Any:
        """The runnable with the request's tools, format and settings."""
        from langchain_core.language_models import BaseChatModel

        model = self._worker.runnable
        uses_tools = bool(request.tools) and request.tool_choice != "none"
        if not isinstance(model, BaseChatModel):
            if uses_tools or request.response_format is not None:
                raise self._refused("a runnable that is no chat model takes messages only")
            return model
        bound: Any = model.model_copy(update=_settings(model, request))
        if uses_tools:
            choice = {} if request.tool_choice is None else {"tool_choice": request.tool_choice}
            try:
                bound = bound.bind_tools([dict(tool) for tool in request.tools], **choice)
            except NotImplementedError:
                raise self._refused("this chat model cannot be given tools") from None
        extra: dict[str, Any] = {}
        if request.response_format is not None:
            extra["response_format"] = dict(request.response_format)
        if request.stop:
            extra["stop"] = list(request.stop)
        return bound.bind(**extra) if extra else bound

    def _reply(self, answer: Any) -> Reply:
        from langchain_core.messages import AIMessage

        if isinstance(answer, str):
            return Reply(text=answer)
        if not isinstance(answer, AIMessage):
            raise WorkerProtocolError(
                f"expected an AI message or text, got {type(answer).__name__}",
                worker=self._worker.name,
            )
        calls = _tool_calls(answer)
        about: Mapping[str, Any] = answer.response_metadata
        why = str(about.get("finish_reason") or about.get("stop_reason") or "").lower()
        model = about.get("model_name") or about.get("model")
        return Reply(
            text=str(answer.text),
            tool_calls=calls,
            usage=_usage(answer.usage_metadata),
            finish_reason=_FINISH.get(why) or ("tool_calls" if calls else "stop"),
            model=model if isinstance(model, str) else None,
        )

    def _refused(self, message: str) -> WorkerRefused:
        return WorkerRefused(message, worker=self._worker.name, cause_kind="unsupported")


def _settings(model: Any, request: Request) -> dict[str, Any]:
    """The fields of the chat model that hold the request's settings."""
    declared = type(model).model_fields
    settings = {}
    for ours, theirs in _FIELDS.items():
        value = getattr(request, ours)
        field = next((name for name in theirs if name in declared), None)
        if value is not None and field is not None:
            settings[field] = value
    return settings


def _emit(chunk: Any, on_delta: OnDelta) -> None:
    text = str(chunk.text)
    if text:
        on_delta(Delta(text=text))
    for piece in getattr(chunk, "tool_call_chunks", ()):
        on_delta(
            Delta(
                tool_index=piece.get("index") or 0,
                tool_id=piece.get("id"),
                tool_name=piece.get("name"),
                arguments=piece.get("args") or "",
            )
        )


def _tool_calls(answer: AIMessage | AIMessageChunk) -> tuple[ToolCall, ...]:
    """The calls, those with arguments that are not JSON included, as OpenAI's API gives them."""
    good = [
        ToolCall(id=call["id"] or "", name=call["name"], arguments=json.dumps(call["args"]))
        for call in answer.tool_calls
    ]
    bad = [
        ToolCall(id=call["id"] or "", name=call["name"] or "", arguments=call["args"] or "")
        for call in answer.invalid_tool_calls
    ]
    return (*good, *bad)


def _usage(usage: Mapping[str, Any] | None) -> Usage:
    if not usage:
        return Usage()
    return Usage(
        input_tokens=usage.get("input_tokens"),
        output_tokens=usage.get("output_tokens"),
        cached_input_tokens=(usage.get("input_token_details") or {}).get("cache_read"),
        reasoning_tokens=(usage.get("output_token_details") or {}).get("reasoning"),
    )
