"""Replies in the dialect of Anthropic's Messages, whole and in pieces. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic_core import from_json

from fugu_adapters.engine.providers.native import EXTENSION
from fugu_adapters.engine.providers.wire import to_json
from fugu_adapters.serve.dialect import Asked, extended, extension, own_usage, sse
from fugu_adapters.serve.problems import Problem
from fugu_adapters.serve.tools import Calls, Tools
from fugu_adapters.types import Delta, Result, ToolCall

__all__ = ["MessagesWriter", "error_object", "whole_message"]

_STOP = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}  # fmt: skip
_TYPES = {
    "authentication": "authentication_error",
    "permission": "permission_error",
    "not_found": "not_found_error",
    "too_large": "request_too_large",
    "budget": "billing_error",
    "rate_limit": "rate_limit_error",
    "overloaded": "overloaded_error",
    "timeout": "timeout_error",
}
_END = b'"message_stop"'


def whole_message(asked: Asked, result: Result) -> bytes:
    """A ``message``."""
    content: list[dict[str, Any]] = [{"type": "text", "text": result.text}] if result.text else []  # fmt: skip
    thoughts = _thoughts(asked, result)
    if _wants_thinking(asked.body):
        content = thoughts + content
    elif result.tool_calls:
        content += thoughts
    content += [_tool_use(call, asked.tools) for call in result.tool_calls]
    reply = {
        **_head(asked, result.run_id),
        "content": content,
        "stop_reason": _STOP[result.finish_reason],
        "usage": _usage(result),
    }
    return extended(reply, result)


def error_object(problem: Problem) -> dict[str, Any]:
    """An error object."""
    kind = _TYPES.get(problem.kind)
    if kind is None:
        kind = "invalid_request_error" if problem.status < 500 else "api_error"
    error = {"type": kind, "message": problem.text}
    if problem.partial:
        error["partial"] = problem.partial
    return {"type": "error", "error": error}


class MessagesWriter:
    """Writes a message's events; see ``Writer``. Its blocks come one after another."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._thinks = _wants_thinking(asked.body)
        self._calls = Calls(asked.tools, in_turn=True)
        self._sealed: list[str] = []
        self._late: list[str] = []
        self._begun = False
        self._index = -1
        self._open = ""
        self._raw = False
        self._end = b""

    def delta(self, delta: Delta, run_id: str) -> bytes:
        """An event; one that came so from the worker goes out as it came."""
        if delta.raw is not None:
            self._raw = True
            if _END in delta.raw and not delta.text:
                self._end = delta.raw  # ours comes before it
                return b""
            return delta.raw
        out = b""
        if delta.reasoning and self._thinks:
            out += self._in("thinking", thinking="", signature="")
            out += self._piece("thinking_delta", thinking=delta.reasoning)
        if delta.sealed:
            out += self._seal(delta.sealed)
        if delta.text:
            out += self._text(delta.text)
        if delta.tool_index is not None:
            out += self._call(delta)
        return self._begin(run_id) + out if out else b""

    def _begin(self, run_id: str) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        message = {
            **_head(self._asked, run_id),
            "content": [],
            "stop_reason": None,
            "usage": {"input_tokens": 0, "output_tokens": 0},
        }
        return _event("message_start", message=message)

    def _in(self, kind: str, **block: Any) -> bytes:
        """A block of this kind, if none is open."""
        return b"" if self._open == kind else self._start(kind, **block)

    def _start(self, kind: str, **block: Any) -> bytes:
        out = self._close()
        self._open, self._index = kind, self._index + 1
        return out + _event("content_block_start", index=self._index, content_block={"type": kind, **block})  # fmt: skip

    def _piece(self, kind: str, **piece: Any) -> bytes:
        return _event("content_block_delta", index=self._index, delta={"type": kind, **piece})

    def _close(self) -> bytes:
        if not self._open:
            return b""
        self._open = ""
        return _event("content_block_stop", index=self._index)

    def _seal(self, sealed: str) -> bytes:
        """What the worker wants back: a client that wants no thinking gets it before a call, where it is needed."""
        if self._open == "thinking":
            return self._piece("signature_delta", signature=sealed) + self._close()
        self._sealed.append(sealed)
        return self._redacted() if self._thinks and not self._calls.unfinished else b""

    def _redacted(self) -> bytes:
        sealed, self._sealed = self._sealed, []
        return b"".join(self._start("redacted_thinking", data=each) + self._close() for each in sealed)  # fmt: skip

    def _text(self, text: str) -> bytes:
        if self._calls.unfinished:  # its block has to end first
            self._late.append(text)
            return b""
        return self._in("text", text="") + self._piece("text_delta", text=text)

    def _call(self, delta: Delta) -> bytes:
        call = self._calls.take(delta)
        if call is None:
            return b""
        out = b""
        if not call.arguments:
            out += self._caught_up() + self._start("tool_use", id=call.id, name=call.tool.name, input={})  # fmt: skip
        call.arguments.append(delta.arguments)
        return out + (self._piece("input_json_delta", partial_json=delta.arguments) if delta.arguments else b"")  # fmt: skip

    def _caught_up(self) -> bytes:
        """What had to wait for the end of a block."""
        late, self._late = "".join(self._late), []
        out = self._in("text", text="") + self._piece("text_delta", text=late) if late else b""
        return out + self._redacted()

    def silence(self, note: str) -> bytes:
        """A ping, which the dialect has for this."""
        return f": {note}\n".encode() + _event("ping")

    def finish(self, result: Result) -> bytes:
        """Calls that have waited, the reason, the usage, the end; what we have to say comes in a ping."""
        ours = _event("ping", **{EXTENSION: extension(result)})
        if self._raw:
            return ours + (self._end or _event("message_stop"))
        out, calls = self._begin(result.run_id), self._calls.waiting(result.tool_calls)
        if not calls:
            self._sealed.clear()
        out += self._caught_up()
        for call in calls:
            block = _tool_use(call, self._asked.tools)
            out += self._start("tool_use", id=block["id"], name=block["name"], input={})
            out += self._piece("input_json_delta", partial_json=to_json(block["input"]).decode())
        out += self._close()
        reason = {"stop_reason": _STOP[result.finish_reason], "stop_sequence": None}
        out += _event("message_delta", delta=reason, usage=_usage(result))
        return out + ours + _event("message_stop")

    def fail(self, problem: Problem) -> bytes:
        """An error in place of the rest."""
        return sse(error_object(replace(problem, partial=None)), name="error")


def _wants_thinking(body: Mapping[str, Any]) -> bool:
    """Whether the client expects thinking blocks; others take the first block for the text."""
    thinking = body.get("thinking")
    return isinstance(thinking, Mapping) and thinking.get("type") in ("enabled", "adaptive")


def _thoughts(asked: Asked, result: Result) -> list[dict[str, Any]]:
    """Thinking blocks of a whole reply."""
    sealed, blocks = list(result.sealed), []
    if _wants_thinking(asked.body) and result.reasoning:
        signature = sealed.pop(0) if sealed else ""
        blocks.append({"type": "thinking", "thinking": result.reasoning, "signature": signature})
    return blocks + [{"type": "redacted_thinking", "data": each} for each in sealed]


def _event(kind: str, **data: Any) -> bytes:
    return sse({"type": kind, **data}, name=kind)


def _head(asked: Asked, run_id: str) -> dict[str, Any]:
    return {"id": f"msg_{run_id}", "type": "message", "role": "assistant", "model": asked.model, "stop_sequence": None}  # fmt: skip


def _usage(result: Result) -> dict[str, Any]:
    """The dialect's ``input_tokens`` leaves the cached ones out, ours does not."""
    own, others = own_usage(result)
    cached = own.cached_input_tokens or 0
    return {
        "input_tokens": max(0, (own.input_tokens or 0) - cached),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": own.output_tokens or 0,
        "orchestration_input_tokens": others.input_tokens or 0,
        "orchestration_input_cached_tokens": others.cached_input_tokens or 0,
        "orchestration_output_tokens": others.output_tokens or 0,
    }


def _tool_use(call: ToolCall, tools: Tools) -> dict[str, Any]:
    try:
        value = from_json(call.arguments)
    except ValueError:
        value = None
    if not isinstance(
        value, dict
    ):  # a worker wrote it, and the client's check of it says what is wrong
        value = {"arguments": call.arguments}
    return {"type": "tool_use", "id": call.id, "name": tools.behind(call.name).name, "input": value}
