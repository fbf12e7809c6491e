"""What a ``FaultServer`` does with a request: records, and makers for the common ones."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

__all__ = [
    "Act",
    "anthropic_reply",
    "anthropic_stream",
    "chat_reply",
    "chat_stream",
    "error_reply",
    "hang",
    "raw",
    "reset",
    "sse_reply",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Act:
    """How one request is answered.

    Attributes:
        status: HTTP status.
        headers: sent as they are, besides those for the framing.
        pieces: the body, written piece by piece.
        repeat: how often the pieces are sent, for floods.
        delay: seconds before anything is sent.
        drip: seconds between two pieces.
        framing: how the length is told: ``content-length``, chunked, or by closing the connection.
        declared: a ``content-length`` to claim instead of the true one.
        end: afterwards keep the connection (``finish``), close it without the framing's end (``cut``),
            reset it, or leave it open and say nothing more (``stall``).
        head: whether status line and headers are sent; without them the pieces are all there is.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    pieces: Sequence[bytes] = ()
    repeat: int = 1
    delay: float = 0.0
    drip: float = 0.0
    framing: Literal["length", "chunked", "close"] = "length"
    declared: int | None = None
    end: Literal["finish", "cut", "reset", "stall"] = "finish"
    head: bool = True


def hang() -> Act:
    """Take the request and never answer."""
    return Act(head=False, end="stall")


def reset(*pieces: bytes) -> Act:
    """Reset the connection (RST), after the raw ``pieces`` if there are any."""
    return Act(head=False, pieces=pieces, end="reset")


def raw(*pieces: bytes, drip: float = 0.0) -> Act:
    """Send these bytes, which need not be HTTP, and close the connection."""
    return Act(head=False, pieces=pieces, drip=drip, end="cut")


def _json_act(
    value: Any,
    *,
    status: int = 200,
    delay: float = 0.0,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Act:
    return Act(
        status=status,
        headers={"content-type": "application/json", **headers},
        pieces=(json.dumps(value).encode(),),
        delay=delay,
    )


def error_reply(
    status: int,
    *,
    code: str | None = None,
    type: str = "error",
    message: str = "scripted error",
    retry_after: str | None = None,
) -> Act:
    """An error with a body that both OpenAI's and Anthropic's clients understand."""
    error = {"type": type, "code": code, "message": message}
    headers = {} if retry_after is None else {"retry-after": retry_after}
    return _json_act({"type": "error", "error": error}, status=status, headers=headers)


def chat_reply(
    text: str | None = "",
    *,
    usage: tuple[int, int] | None = (5, 5),
    tool_calls: Sequence[Mapping[str, Any]] = (),
    finish_reason: str = "stop",
    model: str = "test-model",
    delay: float = 0.0,
    **extra: Any,
) -> Act:
    """A whole Chat Completions reply.

    Args:
        text: the answer.
        usage: prompt and completion tokens, or ``None`` to leave them out.
        tool_calls: in OpenAI's shape.
        finish_reason: as the endpoint would say it.
        model: as the endpoint would say it.
        delay: seconds before it is sent.
        extra: more top-level fields.
    """
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if tool_calls:
        message["tool_calls"] = list(tool_calls)
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    body: dict[str, Any] = {
        "object": "chat.completion",
        "model": model,
        "choices": [choice],
        **extra,
    }
    if usage is not None:
        body["usage"] = _chat_usage(usage)
    return _json_act(body, delay=delay)


def _chat_usage(usage: tuple[int, int]) -> dict[str, int]:
    return {
        "prompt_tokens": usage[0],
        "completion_tokens": usage[1],
        "total_tokens": usage[0] + usage[1],
    }


def anthropic_reply(
    text: str = "",
    *,
    usage: tuple[int, int] | None = (5, 5),
    tool_uses: Sequence[Mapping[str, Any]] = (),
    stop_reason: str = "end_turn",
    model: str = "test-model",
    delay: float = 0.0,
) -> Act:
    """A whole Messages reply; ``tool_uses`` are blocks with ``id``, ``name`` and ``input``."""
    blocks: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
    blocks += [{"type": "tool_use", **block} for block in tool_uses]
    body: dict[str, Any] = {
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": blocks,
        "stop_reason": stop_reason,
    }
    if usage is not None:
        body["usage"] = {"input_tokens": usage[0], "output_tokens": usage[1]}
    return _json_act(body, delay=delay)


def sse_reply(
    events: Iterable[Mapping[str, Any] | str | bytes],
    *,
    delay: float = 0.0,
    drip: float = 0.0,
    end: Literal["finish", "cut", "reset", "stall"] = "finish",
) -> Act:
    """A stream of server-sent events, one piece each.

    Args:
        events: an object becomes an event's data, and its ``type``, where there is one, the event's
            name; text becomes an event's data; bytes are sent as they are.
        delay: seconds before anything is sent.
        drip: seconds between two events.
        end: see ``Act``.
    """
    return Act(
        headers={"content-type": "text/event-stream"},
        pieces=tuple(_event(event) for event in events),
        delay=delay,
        drip=drip,
        framing="chunked",
        end=end,
    )


def _event(event: Mapping[str, Any] | str | bytes) -> bytes:
    if isinstance(event, bytes):
        return event
    if isinstance(event, str):
        return f"data: {event}\n\n".encode()
    name = f"event: {event['type']}\n" if "type" in event else ""
    return f"{name}data: {json.dumps(event, ensure_ascii=False)}\n\n".encode()


def chat_stream(
    *texts: str,
    usage: tuple[int, int] | None = (5, 5),
    finish_reason: str = "stop",
    drip: float = 0.0,
) -> Act:
    """A streamed Chat Completions reply, one chunk for each text."""
    events: list[Mapping[str, Any] | str] = [
        {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}
        for text in texts
    ]
    events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish_reason}]})
    if usage is not None:
        events.append({"choices": [], "usage": _chat_usage(usage)})
    return sse_reply([*events, "[DONE]"], drip=drip)


def anthropic_stream(
    *texts: str,
    usage: tuple[int, int] = (5, 5),
    stop_reason: str = "end_turn",
    drip: float = 0.0,
) -> Act:
    """A streamed Messages reply with one text block, one delta for each text."""
    start = {"model": "test-model", "usage": {"input_tokens": usage[0], "output_tokens": 1}}
    deltas = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
        for text in texts
    ]
    return sse_reply(
        [
            {"type": "message_start", "message": start},
            {
                "type": "content_block_start",
                "index": 0,
                "content_block": {"type": "text", "text": ""},
            },
            {"type": "ping"},
            *deltas,
            {"type": "content_block_stop", "index": 0},
            {
                "type": "message_delta",
                "delta": {"stop_reason": stop_reason},
                "usage": {"output_tokens": usage[1]},
            },
            {"type": "message_stop"},
        ],
        drip=drip,
    )
