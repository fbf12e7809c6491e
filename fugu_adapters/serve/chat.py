"""The dialect of OpenAI's Chat Completions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fugu_adapters.engine.providers.wire import to_json
from fugu_adapters.errors import InputError
from fugu_adapters.messages import parse_messages
from fugu_adapters.options import RunOptions
from fugu_adapters.serve.chat_reply import ChatWriter, error_object, whole_completion
from fugu_adapters.serve.dialect import (
    Asked,
    integer,
    number,
    read_extension,
)
from fugu_adapters.serve.history import whole_history
from fugu_adapters.serve.problems import Problem
from fugu_adapters.serve.tools import Tool, Tools
from fugu_adapters.types import Dialect, Native, Result

__all__ = ["ChatSpeaker"]


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
        return whole_completion(asked, result)

    def writer(self, asked: Asked) -> ChatWriter:
        """For a streamed reply."""
        return ChatWriter(asked)

    def problem(self, problem: Problem) -> dict[str, Any]:
        """An error object."""
        return error_object(problem)


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
