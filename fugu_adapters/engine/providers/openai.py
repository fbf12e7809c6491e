"""OpenAI's Chat Completions format, which most hosts and local servers speak."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import Field

from fugu_adapters.config import Worker
from fugu_adapters.engine.providers.http import HttpBackend
from fugu_adapters.engine.providers.native import EXTENSION, native_of
from fugu_adapters.engine.providers.openai_reasoning import Thought, sent_messages
from fugu_adapters.engine.providers.sse import SseEvent
from fugu_adapters.engine.providers.wire import (
    Codec,
    Count,
    Index,
    ToolCallParts,
    WireModel,
    bearer,
    finished,
    own_id,
    read_json,
    read_model,
    tool_call,
    truncated,
)
from fugu_adapters.errors import WorkerProtocolError
from fugu_adapters.types import Delta, FinishReason, Native, Reply, Request, Usage

__all__ = ["OpenAIBackend", "OpenAIDecoder", "decode", "encode"]

_FINISH: Mapping[str, FinishReason] = MappingProxyType(
    {
        "stop": "stop",
        "length": "length",
        "tool_calls": "tool_calls",
        "content_filter": "content_filter",
    }
)


_OURS = frozenset({EXTENSION, "model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "reasoning_effort"})  # fmt: skip
_OPENAI_ONLY = frozenset({"store", "metadata", "service_tier", "user", "prompt_cache_key", "prompt_cache_retention", "safety_identifier", "verbosity"})  # fmt: skip


def encode(request: Request, worker: Worker, stream: bool) -> dict[str, Any]:
    """The body of a request. Messages and tools are in this format already and go out unchanged.

    OpenAI's own host refuses ``max_tokens`` for its reasoning models, and local servers do not all
    know ``max_completion_tokens``, so ``provider = "openai"`` decides which one is sent; and whether
    ``developer`` is a role, or one that most chat templates do not know. The effort is
    the worker's own: there is no telling whether a worker without one would accept the setting.
    """
    native = native_of(request, "chat")
    body: dict[str, Any] = _as_it_came(native, worker) if native else {}
    body |= {
        "model": worker.model,
        "messages": sent_messages(
            native.body["messages"] if native else request.messages, native, worker
        ),
    }
    openai = worker.provider == "openai"
    bound = "max_completion_tokens" if openai else "max_tokens"
    optional = {
        bound: request.max_output_tokens,
        "reasoning_effort": worker.effort,
        "usage": {"include": True} if worker.provider == "openrouter" else None,
    }
    if native is None:
        optional |= _settings(request)
    body.update((name, value) for name, value in optional.items() if value is not None)
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body


def _settings(request: Request) -> dict[str, Any]:
    return {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "seed": request.seed,
        "stop": list(request.stop) or None,
        "tools": [dict(tool) for tool in request.tools] or None,
        "tool_choice": request.tool_choice if request.tools else None,
        "response_format": request.response_format,
    }


def _as_it_came(native: Native, worker: Worker) -> dict[str, Any]:
    """The client's settings, without those that are ours to say or that OpenAI's own host alone knows."""
    ours = _OURS if worker.provider == "openai" else _OURS | _OPENAI_ONLY
    return {name: value for name, value in native.body.items() if name not in ours}


class _Function(WireModel):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None

    @property
    def text(self) -> str:
        """The arguments as JSON text; some servers send them as an object."""
        if isinstance(self.arguments, dict):
            return json.dumps(self.arguments)
        return self.arguments or ""


class _Call(WireModel):
    index: Index | None = None
    id: str | None = None
    function: _Function = _Function()
    extra_content: Any = None


class _Part(WireModel):
    type: str = ""
    text: str | None = None


class _Message(WireModel):
    content: str | list[_Part] | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None
    reasoning_content: Any = None
    reasoning: Any = None
    reasoning_details: Any = None

    @property
    def thinks(self) -> bool:
        """Whether it says something of its reasoning."""
        return bool(self.reasoning_content or self.reasoning or self.reasoning_details)

    @property
    def text(self) -> str:
        """The visible text; parts of other kinds, such as reasoning, are left out."""
        content = self.content
        if isinstance(content, list):
            content = "".join(part.text or "" for part in content if part.type == "text")
        return content or self.refusal or ""


class _Choice(WireModel):
    message: _Message
    finish_reason: str | None = None


class _InputDetails(WireModel):
    cached_tokens: Count | None = None


class _OutputDetails(WireModel):
    reasoning_tokens: Count | None = None


class _Usage(WireModel):
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None
    cost: Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)] | None = None

    def record(self) -> Usage:
        """Our record of it."""
        prompt, completion = self.prompt_tokens_details, self.completion_tokens_details
        return Usage(
            input_tokens=self.prompt_tokens,
            output_tokens=self.completion_tokens,
            cached_input_tokens=prompt.cached_tokens if prompt else None,
            reasoning_tokens=completion.reasoning_tokens if completion else None,
        )


class _Completion(WireModel):
    choices: Annotated[list[_Choice], Field(min_length=1)]
    usage: _Usage | None = None
    model: str | None = None


class _ChunkChoice(WireModel):
    delta: _Message | None = None
    finish_reason: str | None = None


class _Chunk(WireModel):
    choices: list[_ChunkChoice] | None = None
    usage: _Usage | None = None
    model: str | None = None


def decode(body: bytes, worker: str) -> Reply:
    """Read a whole reply.

    Raises:
        WorkerProtocolError: the body cannot be used.
        WorkerError: it holds an error instead of a reply.
    """
    completion = read_model(_Completion, read_json(body, worker), worker)
    choice, usage = completion.choices[0], completion.usage or _Usage()
    message = choice.message
    ids: list[str] = []
    for call in message.tool_calls or ():
        ids.append(own_id(call.id, ids))
    calls = tuple(
        tool_call(id, call.function.name or "", call.function.text, worker)
        for id, call in zip(ids, message.tool_calls or (), strict=True)
    )
    thought = Thought()
    if message.thinks:
        thought.add(vars(message))
    signatures = [
        signature
        for made, call in zip(message.tool_calls or (), calls, strict=True)
        for signature in thought.signature(call.id, made.extra_content)
    ]
    reason = finished(choice.finish_reason, _FINISH, calls)
    if reason == "stop" and message.content is None and message.refusal is None:
        text = "the reply holds neither text nor tool calls"
        raise WorkerProtocolError(text, worker=worker, cause_kind="empty_reply")
    return Reply(
        text=message.text,
        tool_calls=calls,
        usage=usage.record(),
        finish_reason="content_filter" if message.refusal else reason,
        model=completion.model,
        cost_usd=usage.cost,
        reasoning=thought.text,
        sealed=(*thought.take(), *signatures),
    )


class OpenAIDecoder:
    """Decodes one streamed reply; see ``StreamDecoder``.

    Both ``[DONE]`` and a finish reason count as the end, because some servers send only one of them.
    """

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._text: list[str] = []
        self._thought = Thought()
        self._sealed: list[str] = []
        self._calls = ToolCallParts(worker)
        self._usage = _Usage()
        self._reason: str | None = None
        self._refused = False
        self._model: str | None = None
        self.done = False

    def feed(self, event: SseEvent) -> list[Delta]:
        """Take one event."""
        if self.done:
            return []
        if event.data.strip() == "[DONE]":
            self.done = True
            return []
        chunk = read_model(_Chunk, read_json(event.data, self._worker), self._worker)
        self._usage = chunk.usage or self._usage
        self._model = chunk.model or self._model
        return self._take(chunk.choices[0]) if chunk.choices else []

    def _take(self, choice: _ChunkChoice) -> list[Delta]:
        self._reason = choice.finish_reason or self._reason
        piece = choice.delta or _Message()
        self._refused = self._refused or bool(piece.refusal)
        deltas: list[Delta] = []
        if piece.thinks:
            thought = self._thought.add(vars(piece))
            deltas += [Delta(reasoning=thought)] if thought else []
        if self._thought.waits and (piece.text or piece.tool_calls):
            deltas += self._seal(self._thought.take())
        if piece.text:
            self._text.append(piece.text)
            deltas.append(Delta(text=piece.text))
        for call in piece.tool_calls or ():
            deltas += self._take_call(call)
        return deltas

    def _take_call(self, call: _Call) -> list[Delta]:
        delta = self._calls.add(
            call.index, id=call.id, name=call.function.name, arguments=call.function.text
        )
        deltas = []
        if call.extra_content:  # before the call that it belongs to
            call_id = self._calls.id_of(call.index)
            deltas += self._seal(self._thought.signature(call_id, call.extra_content))
        return deltas if delta is None else [*deltas, delta]

    def _seal(self, thoughts: list[str]) -> list[Delta]:
        self._sealed += thoughts
        return [Delta(sealed=thought) for thought in thoughts]

    def finish(self) -> Reply:
        """The whole reply."""
        if self._reason is None and not (self.done and (self._text or self._calls)):
            raise truncated(self._worker)
        calls = self._calls.calls()
        reason = finished(self._reason, _FINISH, calls)
        return Reply(
            text="".join(self._text),
            tool_calls=calls,
            usage=self._usage.record(),
            finish_reason="content_filter" if self._refused else reason,
            model=self._model,
            cost_usd=self._usage.cost,
            reasoning=self._thought.text,
            sealed=tuple(self._sealed),
        )


class OpenAIBackend(HttpBackend):
    """A worker that speaks Chat Completions at ``{base_url}/chat/completions``.

    Args as of ``HttpBackend``.
    """

    codec = Codec(
        dialect="chat",
        path="/chat/completions",
        headers=bearer,
        encode=encode,
        decode=decode,
        decoder=OpenAIDecoder,
    )
