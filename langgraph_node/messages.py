"""Between LangChain's messages and ours: chat messages in OpenAI's shape, results and pieces of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fugu_adapters import Delta, InputError, Result, ToolCall, Usage
from fugu_adapters.hosts import plain_decision
from fugu_adapters.messages import REASONING_DETAILS, carried

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, AIMessageChunk, AnyMessage, BaseMessage
    from langchain_core.messages.ai import UsageMetadata

__all__ = ["for_routing", "to_chunk", "to_last_chunk", "to_message", "to_openai"]

_KNOWN = ("text", "image_url")


def to_openai(messages: Sequence[BaseMessage | AnyMessage]) -> list[dict[str, Any]]:
    """LangChain messages in OpenAI's shape, images, tool calls and tool results included.

    What a model thought, signed or cited is left out of assistant messages: it belongs to the model that
    wrote it, and the next turn may be another one's. Only what ``to_message`` has put there for its own worker
    is kept. Other parts that we do not know are kept too, so that a request with them is refused and not
    answered without them.

    Raises:
        InputError: where a message has no place in a chat request.
    """
    return [plain for index, message in enumerate(messages) for plain in _to_openai(index, message)]


def for_routing(messages: Sequence[BaseMessage | AnyMessage]) -> list[dict[str, Any]]:
    """As ``to_openai``, with text and images only: for choosing who is then asked by the host itself."""
    return [plain for index, message in enumerate(messages) for plain in _routable(index, message)]


def _routable(index: int, message: Any) -> list[dict[str, Any]]:
    """One message, not empty where the user sent nothing but a file."""
    try:
        plain = [_reduced(each) for each in _to_openai(index, message)]
    except InputError:
        if message.type != "human":
            raise
        plain = [{"role": "user", "content": message.text}]
    return [
        each | {"content": "(a file)"} if each["role"] == "user" and not each["content"] else each
        for each in plain
    ]


def _to_openai(index: int, message: Any) -> list[dict[str, Any]]:
    """One message; as several where it holds the results of several calls, as Anthropic's may."""
    from langchain_core.messages import AIMessage, convert_to_openai_messages

    try:
        plain: list[dict[str, Any]] = convert_to_openai_messages([message])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"messages[{index}]: a {type(message).__name__} that has no OpenAI shape; expected "
            f"system, human, AI and tool messages of text and images ({type(error).__name__})"
        ) from None
    if not isinstance(message, AIMessage):
        return plain
    bad = [_bad_call(call) for call in message.invalid_tool_calls]
    calls = {"tool_calls": [*plain[0].get("tool_calls", ()), *bad]} if bad else {}
    sealed = message.additional_kwargs.get(REASONING_DETAILS)
    thoughts = {REASONING_DETAILS: sealed} if sealed else {}
    return [_reduced(plain[0]) | calls | thoughts]


def _reduced(message: dict[str, Any]) -> dict[str, Any]:
    """The message without parts other than text and images; text alone as a string."""
    content = message.get("content")
    if not isinstance(content, list):
        return message
    parts = [part for part in content if isinstance(part, dict) and part.get("type") in _KNOWN]
    if all(part["type"] == "text" for part in parts):
        return message | {"content": "\n".join(part["text"] for part in parts)}
    return message | {"content": parts}


def _bad_call(call: Mapping[str, Any]) -> dict[str, Any]:
    """A call whose arguments are not JSON, as its model wrote it: its result may follow."""
    function = {"name": call.get("name") or "", "arguments": call.get("args") or ""}
    return {"type": "function", "id": call.get("id") or "", "function": function}


def to_message(result: Result, model: str) -> AIMessage:
    """A result as an AI message.

    Args:
        result: what ``Fugu.run`` gave.
        model: the model that was asked for, which LangChain groups usage by.
    """
    from langchain_core.messages import AIMessage

    good, bad = _tool_calls(result.tool_calls)
    return AIMessage(
        content=result.text,
        additional_kwargs=_thoughts(result.reasoning, result.sealed),
        tool_calls=good,
        invalid_tool_calls=bad,
        usage_metadata=_usage(result.usage),
        response_metadata=_metadata(result, model),
    )


def to_chunk(delta: Delta) -> AIMessageChunk:
    """A piece of an answer as a piece of an AI message."""
    from langchain_core.messages import AIMessageChunk
    from langchain_core.messages.tool import tool_call_chunk

    thoughts = _thoughts(delta.reasoning, [delta.sealed] if delta.sealed else [])
    if delta.tool_index is None:
        return AIMessageChunk(content=delta.text, additional_kwargs=thoughts)
    call = tool_call_chunk(
        index=delta.tool_index, id=delta.tool_id, name=delta.tool_name, args=delta.arguments
    )
    return AIMessageChunk(content=delta.text, tool_call_chunks=[call])


def _thoughts(reasoning: str, sealed: Sequence[str]) -> dict[str, Any]:
    """Where LangChain's integrations keep them. Without an index, because equal ones of chunks would be merged."""
    thoughts: dict[str, Any] = {"reasoning_content": reasoning} if reasoning else {}
    if sealed:
        details = carried(sealed)
        thoughts[REASONING_DETAILS] = [{"type": each["type"], "data": each["data"]} for each in details]  # fmt: skip
    return thoughts


def to_last_chunk(result: Result, model: str) -> AIMessageChunk:
    """What completes a streamed AI message: usage and metadata, which pieces must not repeat."""
    from langchain_core.messages import AIMessageChunk

    return AIMessageChunk(
        content="",
        usage_metadata=_usage(result.usage),
        response_metadata=_metadata(result, model),
        chunk_position="last",
    )


def _metadata(result: Result, model: str) -> dict[str, Any]:
    return {
        "model_name": model,
        "model_provider": "fugu",
        "worker": result.worker,
        "finish_reason": result.finish_reason,
        "cost_usd": result.cost_usd,
        "run_id": result.run_id,
        "route": plain_decision(result.decision),
    }


def _tool_calls(calls: Sequence[ToolCall]) -> tuple[list[Any], list[Any]]:
    """Calls with arguments that are a JSON object, and the others."""
    from langchain_core.messages.tool import invalid_tool_call, tool_call

    good, bad = [], []
    for call in calls:
        try:
            arguments = json.loads(call.arguments, strict=False)
        except (ValueError, RecursionError):
            arguments = None
        if isinstance(arguments, dict):
            good.append(tool_call(id=call.id, name=call.name, args=arguments))
        else:
            error = "the arguments are not a JSON object"
            bad.append(
                invalid_tool_call(id=call.id, name=call.name, args=call.arguments, error=error)
            )
    return good, bad


def _usage(usage: Usage) -> UsageMetadata | None:
    """Token counts as LangChain has them; ``None`` where the sum is unknown."""
    from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata

    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    counts = UsageMetadata(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        total_tokens=usage.input_tokens + usage.output_tokens,
    )
    if usage.cached_input_tokens is not None:
        counts["input_token_details"] = InputTokenDetails(cache_read=usage.cached_input_tokens)
    if usage.reasoning_tokens is not None:
        counts["output_token_details"] = OutputTokenDetails(reasoning=usage.reasoning_tokens)
    return counts
