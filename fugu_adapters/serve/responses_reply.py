"""Replies in the dialect of OpenAI's Responses, whole and in pieces. No I/O."""

from __future__ import annotations

import time
from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from fugu_adapters.engine.providers.native import EXTENSION
from fugu_adapters.serve.dialect import Asked, extended, extension, own_usage, sse
from fugu_adapters.serve.problems import Problem
from fugu_adapters.serve.tools import Calls, Tool, freeform_input
from fugu_adapters.types import Delta, Result, ToolCall

__all__ = ["ResponsesWriter", "error_object", "whole_response"]

_ENDS = (b'"response.completed"', b'"response.incomplete"', b'"response.failed"')
_ECHOED = ("instructions", "metadata", "parallel_tool_calls", "previous_response_id", "temperature", "text", "tool_choice", "tools", "top_p", "truncation", "max_output_tokens", "reasoning", "user")  # fmt: skip
_ABSENT: Mapping[str, Any] = {"metadata": {}, "parallel_tool_calls": True, "tool_choice": "auto", "tools": []}  # fmt: skip


def whole_response(asked: Asked, result: Result) -> bytes:
    """A ``response``."""
    return extended(_response(asked, result, _whole_output(asked, result)), result)


def error_object(problem: Problem) -> dict[str, Any]:
    """An error object."""
    kind = "invalid_request_error" if problem.status < 500 else "server_error"
    error = {"message": problem.text, "type": kind, "param": None, "code": _code(problem)}
    return {"error": error | ({"partial": problem.partial} if problem.partial else {})}


def _code(problem: Problem) -> str:
    codes = {"rate_limit": "rate_limit_exceeded", "budget": "insufficient_quota", "overloaded": "server_is_overloaded"}  # fmt: skip
    return problem.code or codes.get(problem.kind, problem.kind)


class ResponsesWriter:
    """Writes a response's events; see ``Writer``. Items may be under way beside one another."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._number = 0
        self._begun = ""
        self._output: list[dict[str, Any]] = []
        self._thought: int | None = None
        self._message: int | None = None
        self._calls = Calls(asked.tools)
        self._places: dict[str, int] = {}
        self._raw = False
        self._end = b""

    def delta(self, delta: Delta, run_id: str) -> bytes:
        """An event; one that came so from the worker goes out as it came."""
        if delta.raw is not None:
            self._raw = True
            if not delta.text and any(end in delta.raw[:200] for end in _ENDS):
                self._end = delta.raw  # ours comes before it
                return b""
            return delta.raw
        out = self._begin(run_id)
        if delta.reasoning:
            out += self._think(delta.reasoning)
        if delta.sealed:
            out += self._seal(delta.sealed)
        if delta.text:
            out += self._say(delta.text)
        if delta.tool_index is not None:
            out += self._call(delta)
        return out

    def _event(self, kind: str, **data: Any) -> bytes:
        self._number += 1
        return sse({"type": kind, "sequence_number": self._number - 1, **data}, name=kind)

    def _begin(self, run_id: str) -> bytes:
        if self._begun:
            return b""
        self._begun = run_id
        response = {**_head(self._asked, run_id), "status": "in_progress", "output": [], "usage": None}  # fmt: skip
        return self._event("response.created", response=response) + self._event(
            "response.in_progress", response=response
        )

    def _add(self, item: dict[str, Any], **begun: Any) -> bytes:
        """A new item, which has begun with these fields."""
        self._output.append(item)
        place = len(self._output) - 1
        return self._event("response.output_item.added", output_index=place, item={**item, **begun})

    def _about(self, place: int) -> dict[str, Any]:
        return {"item_id": self._output[place]["id"], "output_index": place}

    def _done(self, place: int) -> bytes:
        return self._event(
            "response.output_item.done", output_index=place, item=self._output[place]
        )

    # --- reasoning -----------------------------------------------------------------------------

    def _think(self, text: str) -> bytes:
        out = b""
        if self._thought is None:
            item = _reasoning_item(f"{self._begun}_{len(self._output)}", "", None)
            out += self._add(item)
            item["summary"] = [_summary("")]
            self._thought = len(self._output) - 1
            out += self._event("response.reasoning_summary_part.added", **self._about(self._thought), summary_index=0, part=_summary(""))  # fmt: skip
        part = self._output[self._thought]["summary"][0]
        part["text"] += text
        return out + self._event("response.reasoning_summary_text.delta", **self._about(self._thought), summary_index=0, delta=text)  # fmt: skip

    def _seal(self, sealed: str) -> bytes:
        if self._thought is None:
            item = _reasoning_item(f"{self._begun}_{len(self._output)}", "", sealed)
            return self._add(item) + self._done(len(self._output) - 1)
        self._output[self._thought]["encrypted_content"] = sealed
        return self._end_thought()

    def _end_thought(self) -> bytes:
        if self._thought is None:
            return b""
        place, self._thought = self._thought, None
        part = self._output[place]["summary"][0]
        about = {**self._about(place), "summary_index": 0}
        return (
            self._event("response.reasoning_summary_text.done", **about, text=part["text"])
            + self._event("response.reasoning_summary_part.done", **about, part=part)
            + self._done(place)
        )

    # --- text and calls ------------------------------------------------------------------------

    def _say(self, text: str) -> bytes:
        out = self._end_thought()
        if self._message is None:
            item = _message_item(self._begun, "")
            out += self._add(item, status="in_progress", content=[])
            self._message = len(self._output) - 1
            part = {"type": "output_text", "text": "", "annotations": []}
            out += self._event("response.content_part.added", **self._about(self._message), content_index=0, part=part)  # fmt: skip
        self._output[self._message]["content"][0]["text"] += text
        return out + self._event("response.output_text.delta", **self._about(self._message), content_index=0, delta=text, logprobs=[])  # fmt: skip

    def _call(self, delta: Delta) -> bytes:
        call = self._calls.take(delta)
        if call is None:
            return b""
        out = self._end_thought()
        if call.id not in self._places:
            item = _call_item(f"{self._begun}_{len(self._output)}", call.id, call.tool, "")
            out += self._add(item, status="in_progress")
            self._places[call.id] = len(self._output) - 1
        place = self._places[call.id]
        call.arguments.append(delta.arguments)
        if call.tool.freeform or not delta.arguments:
            return out
        return out + self._event("response.function_call_arguments.delta", **self._about(place), delta=delta.arguments)  # fmt: skip

    def silence(self, note: str) -> bytes:
        """A comment."""
        return f": {note}\n\n".encode()

    def finish(self, result: Result) -> bytes:
        """What is under way ends, calls that have waited, and the whole response; what we have to say is in it."""
        if self._raw:
            return sse({"type": "fugu.run", **extension(result)}, name="fugu.run") + self._end
        out = self._begin(result.run_id) + self._end_thought()
        if self._message is None and not result.tool_calls:
            out += self._say("")
        if self._message is not None:
            out += self._end_message(self._message)
        for call in result.tool_calls:
            out += self._end_call(call)
        response = _response(self._asked, result, self._output)
        kind = f"response.{response['status']}"
        return out + self._event(kind, response={**response, EXTENSION: extension(result)})

    def _end_message(self, place: int) -> bytes:
        part = self._output[place]["content"][0]
        about = {**self._about(place), "content_index": 0}
        return (
            self._event("response.output_text.done", **about, text=part["text"], logprobs=[])
            + self._event("response.content_part.done", **about, part=part)
            + self._done(place)
        )

    def _end_call(self, whole: ToolCall) -> bytes:
        out, begun = b"", self._calls.rest_of(whole)
        place = len(self._output) if begun is None else self._places[whole.id]
        item = _call_item(f"{self._begun}_{place}", whole.id, self._asked.tools.behind(whole.name), whole.arguments)  # fmt: skip
        field = "input" if item["type"] == "custom_tool_call" else "arguments"
        prefix = "response.custom_tool_call_input" if field == "input" else "response.function_call_arguments"  # fmt: skip
        if begun is None:
            out += self._add(item, **{field: ""}, status="in_progress")
        self._output[place] = item
        rest = item[field] if begun is None else begun[1]
        if rest:
            out += self._event(f"{prefix}.delta", **self._about(place), delta=rest)
        return out + self._event(f"{prefix}.done", **self._about(place), **{field: item[field]}) + self._done(place)  # fmt: skip

    def fail(self, problem: Problem) -> bytes:
        """A failed response in place of the rest."""
        error = {"code": _code(problem), "message": problem.text}
        response = {**_head(self._asked, self._begun or "failed"), "status": "failed", "output": [], "usage": None, "error": error}  # fmt: skip
        return self._event("response.failed", response=response)


def _head(asked: Asked, run_id: str) -> dict[str, Any]:
    echoed = {name: asked.body.get(name, _ABSENT.get(name)) for name in _ECHOED}
    return {
        "id": f"resp_{run_id}",
        "object": "response",
        "created_at": int(time.time()),
        "model": asked.model,
        "error": None,
        "incomplete_details": None,
        **echoed,
        "store": asked.body.get("store") is not False,
    }


def _message_item(run_id: str, text: str) -> dict[str, Any]:
    return {
        "type": "message",
        "id": f"msg_{run_id}",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}],
    }


def _summary(text: str) -> dict[str, Any]:
    return {"type": "summary_text", "text": text}


def _reasoning_item(key: str, text: str, sealed: str | None) -> dict[str, Any]:
    summary = [_summary(text)] if text else []
    return {"type": "reasoning", "id": f"rs_{key}", "summary": summary, "encrypted_content": sealed}


def _whole_output(asked: Asked, result: Result) -> list[dict[str, Any]]:
    """The items of a reply that came whole."""
    texts = [result.reasoning] if result.reasoning else []
    thoughts = zip_longest(texts, result.sealed)
    output = [
        _reasoning_item(f"{result.run_id}_{n}", text or "", sealed)
        for n, (text, sealed) in enumerate(thoughts)
    ]
    if result.text or not result.tool_calls:
        output.append(_message_item(result.run_id, result.text))
    for call in result.tool_calls:
        tool, key = asked.tools.behind(call.name), f"{result.run_id}_{len(output)}"
        output.append(_call_item(key, call.id, tool, call.arguments))
    return output


def _response(asked: Asked, result: Result, output: list[dict[str, Any]]) -> dict[str, Any]:
    cut = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(result.finish_reason)  # fmt: skip
    return {
        **_head(asked, result.run_id),
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": cut} if cut else None,
        "output": output,
        "usage": _usage(result),
    }


def _call_item(key: str, call_id: str, tool: Tool, arguments: str) -> dict[str, Any]:
    kind = "custom_tool_call" if tool.freeform else "function_call"
    item: dict[str, Any] = {"type": kind, "id": f"{'ctc' if tool.freeform else 'fc'}_{key}", "call_id": call_id, "name": tool.name, "status": "completed"}  # fmt: skip
    if tool.namespace is not None:
        item["namespace"] = tool.namespace
    said = {"input": freeform_input(arguments)} if tool.freeform else {"arguments": arguments}
    return item | said


def _usage(result: Result) -> dict[str, Any]:
    own, others = own_usage(result)
    given, written = own.input_tokens or 0, own.output_tokens or 0
    return {
        "input_tokens": given,
        "input_tokens_details": {
            "cached_tokens": own.cached_input_tokens or 0,
            "orchestration_input_tokens": others.input_tokens or 0,
            "orchestration_input_cached_tokens": others.cached_input_tokens or 0,
        },
        "output_tokens": written,
        "output_tokens_details": {
            "reasoning_tokens": own.reasoning_tokens or 0,
            "orchestration_output_tokens": others.output_tokens or 0,
        },
        "total_tokens": given + written,
    }
