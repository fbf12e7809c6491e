"""Replies in the dialect of OpenAI's Chat Completions, whole and in pieces. No I/O."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic_core import from_json

from fugu_adapters.engine.providers.native import EXTENSION
from fugu_adapters.engine.providers.wire import to_json
from fugu_adapters.messages import REASONING_DETAILS, carried
from fugu_adapters.serve.dialect import Asked, extended, extension, own_usage, sse
from fugu_adapters.serve.problems import Problem
from fugu_adapters.serve.tools import Calls, Tools, freeform_input
from fugu_adapters.types import Delta, Result, ToolCall

__all__ = ["ChatWriter", "error_object", "whole_completion"]

_TYPES = {
    "authentication": "authentication_error",
    "permission": "permission_error",
    "rate_limit": "rate_limit_error",
    "budget": "insufficient_quota",
}
_DONE = b"data: [DONE]\n\n"


def whole_completion(asked: Asked, result: Result) -> bytes:
    """A ``chat.completion``."""
    message: dict[str, Any] = {"role": "assistant", "content": result.text or None}
    if result.tool_calls:
        message["tool_calls"] = [_call(call, asked.tools) for call in result.tool_calls]
    elif message["content"] is None:
        message["content"] = ""
    if result.reasoning:
        message["reasoning_content"] = result.reasoning
    if result.sealed:
        message[REASONING_DETAILS] = carried(result.sealed)
    choice = {"index": 0, "message": message, "finish_reason": result.finish_reason}
    reply = {
        **_head(asked, result.run_id, "chat.completion"),
        "choices": [{**choice, "logprobs": None}],
        "usage": _usage(result),
    }
    return extended(reply, result)


def error_object(problem: Problem) -> dict[str, Any]:
    """An error object."""
    kind = _TYPES.get(problem.kind)
    if kind is None:
        kind = "invalid_request_error" if problem.status < 500 else "server_error"
    error = {
        "message": problem.text,
        "type": kind,
        "param": None,
        "code": problem.code or problem.kind,
    }
    return {"error": error | ({"partial": problem.partial} if problem.partial else {})}


class ChatWriter:
    """Writes ``chat.completion.chunk`` events; see ``Writer``."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        wanted = asked.body.get("stream_options")
        self._tells_usage = isinstance(wanted, Mapping) and wanted.get("include_usage") is True
        self._begun = False
        self._raw = False
        self._head: dict[str, Any] = {}
        self._calls = Calls(asked.tools)
        self._sealed: list[str] = []

    def delta(self, delta: Delta, run_id: str) -> bytes:
        """A chunk; one that came so from the worker goes out as it came."""
        if delta.raw is not None:
            self._raw = True
            return self._passed_on(delta.raw)
        pieces: dict[str, Any] = {}
        if delta.reasoning:
            pieces["reasoning_content"] = delta.reasoning
        if delta.sealed:
            self._sealed.append(delta.sealed)
            pieces[REASONING_DETAILS] = carried(self._sealed)[-1:]
        if delta.text:
            pieces["content"] = delta.text
        if delta.tool_index is not None:
            pieces |= self._call(delta)
        return self._begin(run_id) + self._chunk(pieces) if pieces else b""

    def _call(self, delta: Delta) -> dict[str, Any]:
        call = self._calls.take(delta)
        if call is None:
            return {}
        begins = not call.arguments
        call.arguments.append(delta.arguments)
        if call.tool.freeform:
            custom = {"name": call.tool.name, "input": ""}
            piece = {"index": call.place, "id": call.id, "type": "custom", "custom": custom}
            return {"tool_calls": [piece]} if begins else {}
        function = {"arguments": delta.arguments}
        if not begins:
            return {"tool_calls": [{"index": call.place, "function": function}]}
        piece = {"index": call.place, "id": call.id, "type": "function", "function": {"name": call.tool.name, **function}}  # fmt: skip
        return {"tool_calls": [piece]}

    def _rest(self, result: Result) -> list[dict[str, Any]]:
        """What is still to be said of the calls."""
        pieces: list[dict[str, Any]] = []
        place = len(self._calls.live)
        for whole in result.tool_calls:
            begun = self._calls.rest_of(whole)
            if begun is None:
                pieces.append({"index": place, **_call(whole, self._asked.tools)})
                place += 1
            elif begun[1]:
                call, rest = begun
                said = {"custom": {"input": rest}} if call.tool.freeform else {"function": {"arguments": rest}}  # fmt: skip
                pieces.append({"index": call.place, **said})
        return pieces

    def _passed_on(self, raw: bytes) -> bytes:
        if b"[DONE]" in raw[-16:]:
            return b""  # ours comes at the end
        # We always ask the worker for its usage; clients that did not ask may not expect a chunk without choices.
        if not self._tells_usage and b'"usage"' in raw and _is_only_usage(raw):
            return b""
        return raw

    def _begin(self, run_id: str) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        self._head = _head(self._asked, run_id, "chat.completion.chunk")
        return self._chunk({"role": "assistant", "content": ""})

    def _chunk(self, delta: Mapping[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return sse({**self._head, "choices": [choice]})

    def silence(self, note: str) -> bytes:
        """A comment."""
        return f": {note}\n\n".encode()

    def finish(self, result: Result) -> bytes:
        """What calls lack, the reason, the usage, ``[DONE]``."""
        said = extension(result)
        if not self._tells_usage:
            ours = b": fugu " + to_json(said) + b"\n\n"
        elif self._raw:
            head = _head(self._asked, result.run_id, "chat.completion.chunk")
            ours = sse({**head, "choices": [], EXTENSION: said})
        else:
            ours = b""
        if self._raw:
            return ours + _DONE
        out = self._begin(result.run_id)
        calls = self._rest(result)
        if calls:
            out += self._chunk({"tool_calls": calls})
        out += self._chunk({}, result.finish_reason)
        if self._tells_usage:
            usage = {**self._head, "choices": [], "usage": _usage(result)}
            out += sse({**usage, EXTENSION: said})
        return out + ours + _DONE

    def fail(self, problem: Problem) -> bytes:
        """An error in place of the rest; there is no ``[DONE]``, so that nobody takes it for the whole."""
        return sse(error_object(replace(problem, partial=None)))


def _is_only_usage(raw: bytes) -> bool:
    data = b"".join(line[5:] for line in raw.splitlines() if line.startswith(b"data:"))
    try:
        chunk = from_json(data)
    except ValueError:
        return False
    return isinstance(chunk, dict) and not chunk.get("choices")


def _head(asked: Asked, run_id: str, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{run_id}", "object": kind, "created": int(time.time()), "model": asked.model}  # fmt: skip


def _usage(result: Result) -> dict[str, Any]:
    own, others = own_usage(result)
    prompt, completion = own.input_tokens or 0, own.output_tokens or 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {
            "cached_tokens": own.cached_input_tokens or 0,
            "orchestration_input_tokens": others.input_tokens or 0,
            "orchestration_input_cached_tokens": others.cached_input_tokens or 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": own.reasoning_tokens or 0,
            "orchestration_output_tokens": others.output_tokens or 0,
        },
    }


def _call(call: ToolCall, tools: Tools) -> dict[str, Any]:
    tool = tools.behind(call.name)
    if tool.freeform:
        custom = {"name": tool.name, "input": freeform_input(call.arguments)}
        return {"id": call.id, "type": "custom", "custom": custom}
    function = {"name": tool.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}
