"""The dialect of OpenAI's Chat Completions."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic_core import from_json

from fugu_adapters.engine.providers.wire import to_json
from fugu_adapters.errors import InputError
from fugu_adapters.messages import parse_messages
from fugu_adapters.options import RunOptions
from fugu_adapters.serve.dialect import (
    Asked,
    extended,
    extension,
    integer,
    number,
    own_usage,
    read_extension,
    sse,
)
from fugu_adapters.serve.history import whole_history
from fugu_adapters.serve.problems import Problem
from fugu_adapters.serve.tools import Tool, Tools, freeform_input
from fugu_adapters.types import Delta, Dialect, Native, Result, ToolCall

__all__ = ["ChatSpeaker"]

_TYPES = {
    "authentication": "authentication_error",
    "permission": "permission_error",
    "rate_limit": "rate_limit_error",
    "budget": "insufficient_quota",
}
_DONE = b"data: [DONE]\n\n"


class ChatSpeaker:
    """Chat Completions; see ``Speaker``."""

    name: Dialect = "chat"

    def read(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> Asked:
        """A request. Its messages are in our shape already."""
        if body.get("n") not in (None, 1):
            raise InputError("n: expected 1; ask several times for several answers")
        if body.get("functions") is not None:
            raise InputError("functions: this older form is not known; use tools")
        tools = _tools(body.get("tools"))
        messages = body.get("messages")
        if not isinstance(messages, list):
            raise InputError("messages: expected a list of chat messages")
        ours = [_message(index, message, tools) for index, message in enumerate(messages)]
        options, limits = read_extension(body, body.get("reasoning_effort"))
        options |= _settings(body, tools)
        if any(message.get("tool_calls") or message.get("role") == "tool" for message in ours):
            parse_messages(ours)  # their ids are looked at next
        sound = whole_history(ours)
        plain = not any(tool.freeform for tool in tools.by_name.values())
        if plain and list(map(id, sound)) == list(map(id, messages)):  # nothing had to be changed
            options["native"] = Native(dialect="chat", body=body)
        return Asked.of(body, sound, options, tools, limits)

    def whole(self, asked: Asked, result: Result) -> bytes:
        """A ``chat.completion``."""
        message: dict[str, Any] = {"role": "assistant", "content": result.text or None}
        if result.tool_calls:
            message["tool_calls"] = [_call(call, asked.tools) for call in result.tool_calls]
        elif message["content"] is None:
            message["content"] = ""
        choice = {"index": 0, "message": message, "finish_reason": result.finish_reason}
        reply = {
            **_head(asked, result.run_id, "chat.completion"),
            "choices": [{**choice, "logprobs": None}],
            "usage": _usage(result),
        }
        return extended(reply, result)

    def writer(self, asked: Asked) -> ChatWriter:
        """For a streamed reply."""
        return ChatWriter(asked)

    def problem(self, problem: Problem) -> dict[str, Any]:
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

    def delta(self, delta: Delta, run_id: str) -> bytes:
        """A chunk; one that came so from the worker goes out as it came."""
        if delta.raw is not None:
            self._raw = True
            return self._passed_on(delta.raw)
        if not delta.text:
            return b""
        return self._begin(run_id) + self._chunk({"content": delta.text})

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
        """Tool calls, the reason, the usage, ``[DONE]``."""
        said = to_json(extension(result))
        if not self._tells_usage:
            ours = b": fugu " + said + b"\n\n"
        elif self._raw:
            head = _head(self._asked, result.run_id, "chat.completion.chunk")
            ours = sse({**head, "choices": [], "fugu": extension(result)})
        else:
            ours = b""
        if self._raw:
            return ours + _DONE
        out = self._begin(result.run_id)
        if result.tool_calls:
            calls = [
                {"index": index, **_call(call, self._asked.tools)}
                for index, call in enumerate(result.tool_calls)
            ]
            out += self._chunk({"tool_calls": calls})
        out += self._chunk({}, result.finish_reason)
        if self._tells_usage:
            usage = {**self._head, "choices": [], "usage": _usage(result)}
            out += sse({**usage, "fugu": extension(result)})
        return out + ours + _DONE

    def fail(self, problem: Problem) -> bytes:
        """An error in place of the rest; there is no ``[DONE]``, so that nobody takes it for the whole."""
        return sse(ChatSpeaker().problem(replace(problem, partial=None)))


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
    tool = tools.behind(call)
    if tool.freeform:
        custom = {"name": tool.name, "input": freeform_input(call.arguments)}
        return {"id": call.id, "type": "custom", "custom": custom}
    function = {"name": tool.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def _tools(given: Any) -> Tools:
    tools = Tools()
    if given is None:
        return tools
    if not isinstance(given, list):
        raise InputError("tools: expected a list")
    for index, each in enumerate(given):
        kind = each.get("type") if isinstance(each, Mapping) else None
        said = each.get(kind) if kind in ("function", "custom") else None
        if not isinstance(said, Mapping) or not isinstance(said.get("name"), str):
            raise InputError(
                f'tools[{index}]: expected {{"type": "function", "function": {{"name": ...}}}}'
            )
        parameters = said.get("parameters")
        if parameters is not None and not isinstance(parameters, Mapping):
            raise InputError(f"tools[{index}].function.parameters: expected a JSON schema")
        tools.add(
            Tool(name=said["name"], freeform=kind == "custom"),
            description=_text_or_none(said.get("description"), f"tools[{index}].description"),
            parameters=parameters,
            strict=said.get("strict") if isinstance(said.get("strict"), bool) else None,
        )
    return tools


def _text_or_none(value: Any, where: str) -> str | None:
    if not isinstance(value, str | None):
        raise InputError(f"{where}: expected text")
    return value


def _message(index: int, message: Any, tools: Tools) -> dict[str, Any]:
    """The message itself, unless it has to be put differently."""
    if not isinstance(message, dict):
        raise InputError(f"messages[{index}]: expected an object with role and content")
    calls = message.get("tool_calls")
    if calls == []:
        return {name: value for name, value in message.items() if name != "tool_calls"}
    if message.get("role") == "assistant" and message.get("content") is None and not calls:
        return {**message, "content": message.get("refusal") or ""}
    if not isinstance(calls, list) or all(
        not isinstance(call, Mapping) or call.get("type") != "custom" for call in calls
    ):
        return message
    return {**message, "tool_calls": [_as_function(call, tools) for call in calls]}


def _as_function(call: Any, tools: Tools) -> Any:
    custom = call.get("custom") if isinstance(call, Mapping) else None
    if not isinstance(custom, Mapping):
        return call
    arguments = to_json({"input": str(custom.get("input", ""))}).decode()
    function = {"name": tools.name_of(str(custom.get("name", ""))), "arguments": arguments}
    return {"id": call.get("id"), "type": "function", "function": function}


def _settings(body: Mapping[str, Any], tools: Tools) -> RunOptions:
    options: RunOptions = {}
    if tools.functions:
        options["tools"] = tools.functions
        choice = body.get("tool_choice")
        if isinstance(choice, Mapping):
            said = choice.get("function") or choice.get("custom")
            name = said.get("name") if isinstance(said, Mapping) else None
            if not isinstance(name, str):
                raise InputError("tool_choice: expected auto, none, required or a named function")
            choice = {"type": "function", "function": {"name": tools.name_of(name)}}
        elif choice not in (None, "auto", "none", "required"):
            raise InputError("tool_choice: expected auto, none, required or a named function")
        options["tool_choice"] = choice
    form = _form(body.get("response_format"))
    if form is not None:
        options["response_format"] = form
    bound = integer(body, "max_completion_tokens", "max_tokens")
    if bound is not None:
        options["max_output_tokens"] = bound
    options |= sampling(body)
    stop = body.get("stop")
    if isinstance(stop, str):
        stop = [stop]
    if stop is not None:
        if not isinstance(stop, list) or not all(isinstance(each, str) for each in stop):
            raise InputError("stop: expected a text or a list of texts")
        options["stop"] = stop
    seed = body.get("seed")
    if isinstance(seed, int) and not isinstance(seed, bool):
        options["seed"] = seed
    return options


def _form(form: Any) -> dict[str, Any] | None:
    if form is None:
        return None
    if not isinstance(form, Mapping) or not isinstance(form.get("json_schema", {}), Mapping):
        raise InputError("response_format: expected an object, and so its json_schema")
    return None if form.get("type") == "text" else dict(form)


def sampling(body: Mapping[str, Any]) -> RunOptions:
    """What all dialects say alike of sampling."""
    options: RunOptions = {}
    temperature, top_p = number(body, "temperature"), number(body, "top_p")
    if temperature is not None:
        options["temperature"] = temperature
    if top_p is not None:
        options["top_p"] = top_p
    return options
