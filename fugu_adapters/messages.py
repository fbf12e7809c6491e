"""Chat messages in OpenAI's shape: checking them, and what routing and budgets need to know of them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fugu_adapters.errors import InputError
from fugu_adapters.types import Message, Request

__all__ = [
    "MAX_IMAGE_BYTES",
    "MAX_REQUEST_BYTES",
    "REASONING_DETAILS",
    "carried",
    "clip_middle",
    "estimate_tokens",
    "has_images",
    "images_of",
    "parse_messages",
    "routing_text",
    "text_of",
    "wants_json_schema",
]

MAX_REQUEST_BYTES = 4 * 1024 * 1024
"""Text of one request, in UTF-8 bytes. Larger ones are refused before any call."""

MAX_IMAGE_BYTES = 24 * 1024 * 1024
"""Images of one request, as the bytes of their addresses (``data:`` ones hold the image)."""

REASONING_DETAILS = "reasoning_details"
"""The field of an assistant's message that holds what its worker wants back, as at OpenRouter."""

_ROLES = ("system", "developer", "user", "assistant", "tool")
_BYTES_PER_TOKEN = 3.0  # English prose has about 4.2, terse code and numbers 2.5 to 3
_TOKENS_PER_MESSAGE = 8
_TOKENS_PER_IMAGE = 1_600  # the largest that a full-size image costs at the common providers


def parse_messages(messages: str | Sequence[Message]) -> tuple[Message, ...]:
    """Check what the caller passed and return it as a tuple of chat messages.

    Args:
        messages: the user's text, or chat messages in OpenAI's shape.

    Raises:
        InputError: where a message is malformed, or the whole is over ``MAX_REQUEST_BYTES`` or
            ``MAX_IMAGE_BYTES``. The error never quotes the messages.
    """
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    if isinstance(messages, bytes | Mapping) or not isinstance(messages, Iterable):
        raise InputError(
            f"messages: expected text or a list of chat messages, got {type(messages).__name__}"
        )
    parsed = tuple(_parse_message(index, message) for index, message in enumerate(messages))
    if not parsed:
        raise InputError("messages: the list is empty; pass at least one user message")
    if not any(text_of(m).strip() or images_of(m) or m.get("tool_calls") for m in parsed):
        raise InputError("messages: every message is empty; there is nothing to answer")
    _check_size("text", sum(_text_bytes(m) for m in parsed), MAX_REQUEST_BYTES)
    _check_size("images", sum(len(url) for m in parsed for url in images_of(m)), MAX_IMAGE_BYTES)
    return parsed


def _check_size(what: str, size: int, bound: int) -> None:
    if size > bound:
        raise InputError(
            f"messages: {size:,} bytes of {what} is over the bound of {bound:,}; "
            "shorten the request or send it in parts"
        )


def _text_bytes(message: Message) -> int:
    calls = sum(len(call["function"]["arguments"]) for call in message.get("tool_calls") or ())
    return len(text_of(message).encode("utf-8", "replace")) + calls


def _parse_message(index: int, message: Any) -> Message:
    where = f"messages[{index}]"
    if not isinstance(message, Mapping):
        raise InputError(
            f"{where}: expected an object with role and content, got {type(message).__name__}"
        )
    role = message.get("role")
    if role not in _ROLES:
        raise InputError(f"{where}.role: expected one of {', '.join(_ROLES)}, got {role!r:.60}")
    if role == "tool" and not isinstance(message.get("tool_call_id"), str):
        raise InputError(f"{where}.tool_call_id: a tool's result has to name the call it answers")
    _check_tool_calls(f"{where}.tool_calls", message.get("tool_calls"))
    content = message.get("content")
    if isinstance(content, str) or (content is None and message.get("tool_calls")):
        return message
    if isinstance(content, list):
        for number, part in enumerate(content):
            _check_part(f"{where}.content[{number}]", part)
        return message
    raise InputError(
        f"{where}.content: expected text or a list of parts, got {type(content).__name__}"
    )


def _check_tool_calls(where: str, calls: Any) -> None:
    if calls is None:
        return
    if not isinstance(calls, list | tuple):
        raise InputError(f"{where}: expected a list of calls, got {type(calls).__name__}")
    for number, call in enumerate(calls):
        called = call.get("function") if isinstance(call, Mapping) else None
        texts = (
            (call.get("id"), called.get("name"), called.get("arguments"))
            if isinstance(called, Mapping)
            else (None,)
        )
        if not all(isinstance(text, str) for text in texts):
            raise InputError(
                f"{where}[{number}]: expected id and function with name and arguments, all texts"
            )


def _check_part(where: str, part: Any) -> None:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind == "text" and isinstance(part.get("text"), str):
        return
    if kind == "image_url":
        image = part.get("image_url")
        url = image.get("url") if isinstance(image, Mapping) else None
        if isinstance(url, str) and url.startswith(("data:image/", "https://", "http://")):
            return
        raise InputError(f'{where}.image_url: expected {{"url": "data:image/... or https://..."}}')
    raise InputError(f"{where}: expected a text or image_url part, got type {kind!r:.60}")


def carried(sealed: Iterable[str]) -> list[dict[str, Any]]:
    """A reply's ``sealed`` as the assistant's message holds it."""
    return [
        {"type": "reasoning.encrypted", "data": text, "index": index}
        for index, text in enumerate(sealed)
    ]


def text_of(message: Message) -> str:
    """The text of a message, its parts joined by line ends; ``""`` where it has none."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if not content:
        return ""
    return "\n".join(part["text"] for part in content if part.get("type") == "text")


def images_of(message: Message) -> list[str]:
    """Addresses of the images in a message, in order."""
    content = message.get("content")
    if not isinstance(content, list):
        return []
    return [part["image_url"]["url"] for part in content if part.get("type") == "image_url"]


def has_images(request: Request) -> bool:
    """Whether any message holds an image."""
    return any(images_of(message) for message in request.messages)


def wants_json_schema(request: Request) -> bool:
    """Whether the reply must follow a JSON schema."""
    return (request.response_format or {}).get("type") == "json_schema"


def estimate_tokens(request: Request) -> int:
    """Prompt tokens of a request, estimated without a tokenizer.

    On the high side for prose in any script; terse code and long numbers come out about right.
    """
    if request._tokens is None:
        object.__setattr__(request, "_tokens", _count_tokens(request))
    return request._tokens or 0


def _count_tokens(request: Request) -> int:
    images = sum(len(images_of(message)) for message in request.messages)
    extras = [m["tool_calls"] for m in request.messages if m.get("tool_calls")]
    extras += list(request.tools)
    if request.response_format is not None:
        extras.append(request.response_format)
    size = sum(len(text_of(message).encode("utf-8", "replace")) for message in request.messages)
    size += sum(len(json.dumps(extra, default=str)) for extra in extras)
    return (
        math.ceil(size / _BYTES_PER_TOKEN)
        + _TOKENS_PER_MESSAGE * len(request.messages)
        + _TOKENS_PER_IMAGE * images
    )


def routing_text(request: Request, *, max_chars: int = 6_000) -> str:
    """The text that a request is routed by: the last user message, head and tail kept where long.

    Where there is no user message, the last message with text stands in; ``about`` comes first.
    """
    if request.about:
        return clip_middle(request.about, max_chars)
    spoken = [message for message in request.messages if text_of(message).strip()]
    asked = [message for message in spoken if message.get("role") == "user"] or spoken
    text = text_of(asked[-1]) if asked else ""
    return clip_middle(text, max_chars)


def clip_middle(text: str, max_chars: int) -> str:
    """The text with its middle left out where it is longer than ``max_chars`` characters."""
    if len(text) <= max_chars:
        return text
    half = max_chars // 2
    return f"{text[:half]}\n{text[-half:]}"
