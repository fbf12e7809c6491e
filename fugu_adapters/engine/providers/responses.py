"""OpenAI's Responses format: sending it, and reading what comes back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from fugu_adapters.engine.providers.http import HttpBackend
from fugu_adapters.engine.providers.responses_request import encode
from fugu_adapters.engine.providers.sse import SseEvent
from fugu_adapters.engine.providers.wire import (
    Codec,
    Count,
    Index,
    ToolCallParts,
    WireModel,
    bearer,
    finished,
    read_json,
    read_model,
    to_json,
    tool_call,
    truncated,
)
from fugu_adapters.engine.status import error_in_body
from fugu_adapters.errors import WorkerProtocolError
from fugu_adapters.types import Delta, FinishReason, Reply, ToolCall, Usage

__all__ = ["ResponsesBackend", "ResponsesDecoder", "decode", "encode"]

_FINISH: Mapping[str, FinishReason] = MappingProxyType(
    {"max_output_tokens": "length", "content_filter": "content_filter"}
)
_ENDS = ("response.completed", "response.incomplete", "response.failed")
_TEXT = ("response.output_text.delta", "response.refusal.delta")
_THOUGHT = ("response.reasoning_summary_text.delta", "response.reasoning_text.delta")
_ARGUMENTS = ("response.function_call_arguments.delta",)


class _InputDetails(WireModel):
    cached_tokens: Count | None = None


class _OutputDetails(WireModel):
    reasoning_tokens: Count | None = None


class _Usage(WireModel):
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    input_tokens_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None

    def record(self) -> Usage:
        """Our record of it."""
        given, written = self.input_tokens_details, self.output_tokens_details
        return Usage(
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cached_input_tokens=given.cached_tokens if given else None,
            reasoning_tokens=written.reasoning_tokens if written else None,
        )


class _Part(WireModel):
    type: str = ""
    text: str | None = None
    refusal: str | None = None


class _Item(WireModel):
    type: str = "message"
    content: list[_Part] | None = None
    call_id: str | None = None
    id: str | None = None
    name: str | None = None
    arguments: str | None = None
    input: str | None = None
    summary: list[_Part] | None = None
    encrypted_content: str | None = None

    @property
    def thought(self) -> str:
        """What can be read of the reasoning in it."""
        if self.type != "reasoning":
            return ""
        parts = self.summary or self.content or ()
        return "\n\n".join(part.text for part in parts if part.text)

    @property
    def sealed(self) -> list[str]:
        """Its reasoning, to be given back, as JSON; an id would name something that is not kept there."""
        if self.type != "reasoning" or not self.encrypted_content:
            return []
        summary = [{"type": part.type, "text": part.text or ""} for part in self.summary or ()]
        item = {"type": "reasoning", "summary": summary, "encrypted_content": self.encrypted_content}  # fmt: skip
        return [to_json(item).decode()]

    @property
    def text(self) -> str:
        """What is said in it."""
        parts = self.content or ()
        return "".join(part.text or part.refusal or "" for part in parts if part.type != "reasoning_text")  # fmt: skip

    @property
    def is_call(self) -> bool:
        """Whether it asks for a tool."""
        return self.type in ("function_call", "custom_tool_call")

    def call(self, worker: str) -> ToolCall:
        """The call that it asks for; a freeform tool's text becomes its one argument."""
        arguments = self.arguments or ""
        if self.type == "custom_tool_call":
            arguments = json.dumps({"input": self.input or ""}, ensure_ascii=False)
        return tool_call(self.call_id or self.id or "", self.name or "", arguments, worker)


class _Incomplete(WireModel):
    reason: str | None = None


class _Response(WireModel):
    output: tuple[_Item, ...] = ()
    status: str | None = None
    error: dict[str, Any] | None = None
    incomplete_details: _Incomplete | None = None
    usage: _Usage | None = None
    model: str | None = None


def decode(body: bytes, worker: str) -> Reply:
    """Read a whole reply. Server-side tools are left out.

    Raises:
        WorkerProtocolError: the body cannot be used.
        WorkerError: it holds an error instead of a reply.
    """
    return _reply(read_model(_Response, read_json(body, worker), worker), worker)


def _reply(response: _Response, worker: str) -> Reply:
    if response.status == "failed":
        raise error_in_body(response.error or {}, worker)
    calls = tuple(item.call(worker) for item in response.output if item.is_call)
    texts = [item.text for item in response.output if item.type == "message"]
    if not texts and not calls and response.status != "incomplete":
        text = "the reply holds neither text nor tool calls"
        raise WorkerProtocolError(text, worker=worker, cause_kind="empty_reply")
    thoughts = [item.thought for item in response.output if item.thought]
    sealed = [each for item in response.output for each in item.sealed]
    return _built(response, texts, calls, thoughts, sealed)


def _built(
    response: _Response,
    texts: list[str],
    calls: tuple[ToolCall, ...],
    thoughts: list[str],
    sealed: list[str],
) -> Reply:
    details = response.incomplete_details
    return Reply(
        text="".join(texts),
        reasoning="\n\n".join(thoughts),
        sealed=tuple(sealed),
        tool_calls=calls,
        usage=(response.usage or _Usage()).record(),
        finish_reason=finished(details.reason if details else None, _FINISH, calls),
        model=response.model,
    )


class _Event(WireModel):
    type: str
    delta: str | None = None
    output_index: Index | None = None
    item: _Item | None = None
    response: _Response | None = None
    code: str | None = None


class ResponsesDecoder:
    """Decodes one streamed reply; see ``StreamDecoder``.

    The last event holds the whole reply. What was streamed stands in where a server leaves it empty.
    """

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._text: list[str] = []
        self._thoughts: list[str] = []
        self._sealed: list[str] = []
        self._calls = ToolCallParts(worker)
        self._whole: dict[int, ToolCall] = {}
        self._end: _Response | None = None
        self.done = False

    def feed(self, event: SseEvent) -> list[Delta]:
        """Take one event."""
        if self.done or event.data.strip() == "[DONE]":
            return []
        parsed = read_model(_Event, read_json(event.data, self._worker), self._worker)
        if parsed.type in _ENDS:
            self._end, self.done = parsed.response or _Response(), True
            return []
        if parsed.type == "error":
            raise error_in_body({"code": parsed.code}, self._worker)
        delta: Delta | None = None
        if parsed.type in _TEXT and parsed.delta:
            self._text.append(parsed.delta)
            delta = Delta(text=parsed.delta)
        elif parsed.type in _THOUGHT and parsed.delta:
            delta = self._think(parsed.delta)
        elif parsed.type in _ARGUMENTS:
            delta = self._calls.add(parsed.output_index, id=None, name=None, arguments=parsed.delta or "")  # fmt: skip
        elif parsed.item is not None and parsed.item.is_call:
            delta = self._take_call(parsed)
        elif parsed.item is not None and parsed.type == "response.output_item.done":
            self._sealed += parsed.item.sealed
            return [Delta(sealed=sealed) for sealed in parsed.item.sealed]
        elif parsed.type == "response.reasoning_summary_part.added" and self._thoughts:
            delta = self._think("\n\n")
        return [] if delta is None else [delta]

    def _think(self, piece: str) -> Delta:
        self._thoughts.append(piece)
        return Delta(reasoning=piece)

    def _take_call(self, event: _Event) -> Delta | None:
        item = event.item
        if item is None:
            return None
        if event.type == "response.output_item.done":
            self._whole[event.output_index or 0] = item.call(self._worker)
            return None
        return self._calls.add(
            event.output_index, id=item.call_id or item.id, name=item.name, arguments=""
        )

    def finish(self) -> Reply:
        """The whole reply."""
        if self._end is None:
            raise truncated(self._worker)
        end = self._end
        if end.output or end.status == "failed":
            return _reply(end, self._worker)
        thoughts = ["".join(self._thoughts)]
        return _built(end, self._text, tuple(self._whole.values()), thoughts, self._sealed)


class ResponsesBackend(HttpBackend):
    """A worker that speaks Responses at ``{base_url}/responses``.

    Args as of ``HttpBackend``.
    """

    codec = Codec(
        dialect="responses",
        path="/responses",
        headers=bearer,
        encode=encode,
        decode=decode,
        decoder=ResponsesDecoder,
    )
