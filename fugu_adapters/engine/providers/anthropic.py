"""Anthropic's Messages format: sending it, and reading what comes back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic import SecretStr

from fugu_adapters.engine.providers.anthropic_request import encode
from fugu_adapters.engine.providers.http import HttpBackend
from fugu_adapters.engine.providers.sse import SseEvent
from fugu_adapters.engine.providers.wire import (
    Codec,
    Count,
    Index,
    ToolCallParts,
    WireModel,
    finished,
    read_json,
    read_model,
    to_json,
    tool_call,
    truncated,
)
from fugu_adapters.errors import WorkerProtocolError
from fugu_adapters.types import Delta, FinishReason, Reply, Usage

__all__ = ["AnthropicBackend", "AnthropicDecoder", "decode", "encode"]

_VERSION = "2023-06-01"

_FINISH: Mapping[str, FinishReason] = MappingProxyType(
    {
        "end_turn": "stop",
        "stop_sequence": "stop",
        "max_tokens": "length",
        "model_context_window_exceeded": "length",
        "tool_use": "tool_calls",
        "refusal": "content_filter",
    }
)


class _Block(WireModel):
    type: str
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: dict[str, Any] | None = None

    @property
    def sealed(self) -> list[str]:
        """Its thinking, to be given back, as JSON."""
        if self.type == "thinking" and self.signature:
            thought = {"thinking": self.thinking or "", "signature": self.signature}
        elif self.type == "redacted_thinking" and self.data:
            thought = {"data": self.data}
        else:
            return []
        return [to_json({"type": self.type, **thought}).decode()]


class _OutputDetails(WireModel):
    thinking_tokens: Count | None = None


class _Usage(WireModel):
    input_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None
    output_tokens: Count | None = None
    output_tokens_details: _OutputDetails | None = None

    def record(self) -> Usage:
        """Our record of it: Anthropic's ``input_tokens`` leaves the cached ones out, ours does not."""
        parts = (
            self.input_tokens,
            self.cache_creation_input_tokens,
            self.cache_read_input_tokens,
        )
        known = [part for part in parts if part is not None]
        details = self.output_tokens_details
        return Usage(
            input_tokens=sum(known) if known else None,
            output_tokens=self.output_tokens,
            cached_input_tokens=self.cache_read_input_tokens,
            reasoning_tokens=details.thinking_tokens if details else None,
        )

    def updated(self, newer: _Usage | None) -> _Usage:
        """With what a later event says; its counts are totals, not differences."""
        return (
            self if newer is None else self.model_copy(update=newer.model_dump(exclude_none=True))
        )


class _MessageReply(WireModel):
    content: list[_Block]
    stop_reason: str | None = None
    usage: _Usage | None = None
    model: str | None = None


def decode(body: bytes, worker: str) -> Reply:
    """Read a whole reply. Server-side tool blocks are left out.

    Raises:
        WorkerProtocolError: the body cannot be used.
        WorkerError: it holds an error instead of a reply.
    """
    message = read_model(_MessageReply, read_json(body, worker), worker)
    calls = tuple(
        tool_call(block.id or f"call_{index}", block.name or "", _dump(block.input), worker)
        for index, block in enumerate(message.content)
        if block.type == "tool_use"
    )
    texts = [block.text or "" for block in message.content if block.type == "text"]
    reason = finished(message.stop_reason, _FINISH, calls)
    if reason == "stop" and not texts and message.stop_reason is None:
        text = "the reply holds neither text nor tool calls"
        raise WorkerProtocolError(text, worker=worker, cause_kind="empty_reply")
    return Reply(
        text="".join(texts),
        reasoning="\n\n".join(block.thinking for block in message.content if block.thinking),
        sealed=tuple(sealed for block in message.content for sealed in block.sealed),
        tool_calls=calls,
        usage=(message.usage or _Usage()).record(),
        finish_reason=reason,
        model=message.model,
    )


def _dump(value: dict[str, Any] | None) -> str:
    return json.dumps(value, ensure_ascii=False) if value else ""


class _Piece(WireModel):
    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None


class _Start(WireModel):
    usage: _Usage | None = None
    model: str | None = None


class _Event(WireModel):
    type: str
    index: Index | None = None
    message: _Start | None = None
    content_block: _Block | None = None
    delta: _Piece | None = None
    usage: _Usage | None = None


class _Thoughts:
    """The thinking of a streamed reply: what can be read of it, and whole blocks to give back."""

    def __init__(self) -> None:
        self.read: list[str] = []
        self.sealed: list[str] = []
        self._block: _Block | None = None
        self._pieces: list[str] = []
        self._signature: list[str] = []

    def start(self, block: _Block) -> Delta | None:
        """A block begins."""
        self._block, self._pieces, self._signature = block, [], []
        return self.extend(block.thinking or "", block.signature or "")

    def extend(self, text: str, signature: str) -> Delta | None:
        """It goes on."""
        self._signature.append(signature)
        if not text:
            return None
        before = "\n\n" if self.read and not self._pieces else ""
        self._pieces.append(text)
        self.read.append(before + text)
        return Delta(reasoning=before + text)

    def stop(self) -> Delta | None:
        """A block ends, which need not be one of these."""
        if self._block is None:
            return None
        said = {"thinking": "".join(self._pieces), "signature": "".join(self._signature)}
        sealed, self._block = self._block.model_copy(update=said).sealed, None
        self.sealed += sealed
        return Delta(sealed=sealed[0]) if sealed else None


class AnthropicDecoder:
    """Decodes one streamed reply; see ``StreamDecoder``. Pings are left out."""

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._text: list[str] = []
        self._thoughts = _Thoughts()
        self._calls = ToolCallParts(worker)
        self._usage = _Usage()
        self._reason: str | None = None
        self._model: str | None = None
        self.done = False

    def feed(self, event: SseEvent) -> list[Delta]:
        """Take one event."""
        if self.done:
            return []
        parsed = read_model(_Event, read_json(event.data, self._worker), self._worker)
        delta: Delta | None = None
        if parsed.type == "message_start" and parsed.message is not None:
            self._usage = self._usage.updated(parsed.message.usage)
            self._model = parsed.message.model
        elif parsed.type == "content_block_start" and parsed.content_block is not None:
            delta = self._start_block(parsed.index, parsed.content_block)
        elif parsed.type == "content_block_delta" and parsed.delta is not None:
            delta = self._extend_block(parsed.index, parsed.delta)
        elif parsed.type == "content_block_stop":
            delta = self._thoughts.stop()
        elif parsed.type == "message_delta":
            self._usage = self._usage.updated(parsed.usage)
            self._reason = (parsed.delta.stop_reason if parsed.delta else None) or self._reason
        elif parsed.type == "message_stop":
            self.done = True
        return [] if delta is None else [delta]

    def _start_block(self, index: int | None, block: _Block) -> Delta | None:
        if block.type == "tool_use":
            # Its input is empty here as a rule, and whole where a server does not send it in pieces.
            return self._calls.add(
                index, id=block.id, name=block.name, arguments=_dump(block.input)
            )
        if block.type in ("thinking", "redacted_thinking"):
            return self._thoughts.start(block)
        return self._say(block.text) if block.type == "text" else None

    def _extend_block(self, index: int | None, piece: _Piece) -> Delta | None:
        if piece.type == "text_delta":
            return self._say(piece.text)
        if piece.type in ("thinking_delta", "signature_delta"):
            return self._thoughts.extend(piece.thinking or "", piece.signature or "")
        if piece.type == "input_json_delta":
            return self._calls.add(index, id=None, name=None, arguments=piece.partial_json or "")
        return None

    def _say(self, text: str | None) -> Delta | None:
        if not text:
            return None
        self._text.append(text)
        return Delta(text=text)

    def finish(self) -> Reply:
        """The whole reply."""
        if self._reason is None and not (self.done and (self._text or self._calls)):
            raise truncated(self._worker)
        calls = self._calls.calls()
        return Reply(
            text="".join(self._text),
            reasoning="".join(self._thoughts.read),
            sealed=tuple(self._thoughts.sealed),
            tool_calls=calls,
            usage=self._usage.record(),
            finish_reason=finished(self._reason, _FINISH, calls),
            model=self._model,
        )


def _headers(key: SecretStr | None) -> dict[str, str | SecretStr]:
    version: dict[str, str | SecretStr] = {"anthropic-version": _VERSION}
    return version if key is None else {**version, "x-api-key": key}


class AnthropicBackend(HttpBackend):
    """A worker that speaks Messages at ``{base_url}/messages``; ``base_url`` ends in ``/v1``.

    Args as of ``HttpBackend``.
    """

    codec = Codec(
        dialect="messages",
        path="/messages",
        headers=_headers,
        encode=encode,
        decode=decode,
        decoder=AnthropicDecoder,
    )
