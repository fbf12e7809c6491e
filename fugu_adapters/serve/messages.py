"""The dialect of Anthropic's Messages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fugu_adapters.engine.providers.sealed import is_sealed
from fugu_adapters.engine.providers.wire import to_json
from fugu_adapters.errors import InputError
from fugu_adapters.messages import REASONING_DETAILS, carried
from fugu_adapters.options import RunOptions
from fugu_adapters.serve.chat import sampling
from fugu_adapters.serve.dialect import (
    Asked,
    integer,
    read_extension,
)
from fugu_adapters.serve.history import whole_history
from fugu_adapters.serve.messages_reply import MessagesWriter, error_object, whole_message
from fugu_adapters.serve.problems import Problem
from fugu_adapters.serve.tools import Tool, Tools
from fugu_adapters.types import Dialect, Native, Result

__all__ = ["MessagesSpeaker"]

_THINKING = ("thinking", "redacted_thinking")
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_BETAS = "anthropic-beta"
_WORDS = re.compile(r"[A-Za-z0-9_.,-]{1,1000}")


class MessagesSpeaker:
    """Messages; see ``Speaker``."""

    name: Dialect = "messages"

    def read(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> Asked:
        """A request. What our messages have no place for goes to workers of this dialect only."""
        tools = _tools(body.get("tools"))
        given = body.get("messages")
        if not isinstance(given, list):
            raise InputError("messages: expected a list")
        ours = _system(body.get("system"))
        for index, message in enumerate(given):
            ours += _message(f"messages[{index}]", message, tools)
        config = body.get("output_config")
        if config is not None and not isinstance(config, Mapping):
            raise InputError("output_config: expected an object")
        options, limits = read_extension(body, (config or {}).get("effort"))
        options |= _settings(body, config or {}, tools)
        betas = headers.get(_BETAS, "").replace(" ", "")
        options["native"] = Native(
            dialect="messages",
            body=body,
            headers={_BETAS: betas} if _WORDS.fullmatch(betas) else {},
        )
        return Asked.of(body, whole_history(ours), options, tools, limits)

    def whole(self, asked: Asked, result: Result) -> bytes:
        """A ``message``."""
        return whole_message(asked, result)

    def writer(self, asked: Asked) -> MessagesWriter:
        """For a streamed reply."""
        return MessagesWriter(asked)

    def problem(self, problem: Problem) -> dict[str, Any]:
        """An error object."""
        return error_object(problem)


# --- reading ------------------------------------------------------------------------------------


def _system(system: Any) -> list[dict[str, Any]]:
    text = system if isinstance(system, str) else _texts("system", system or [])
    return [{"role": "system", "content": text}] if text.strip() else []


def _texts(where: str, blocks: Any) -> str:
    if not isinstance(blocks, list) or not all(isinstance(block, Mapping) for block in blocks):
        raise InputError(f"{where}: expected text or a list of blocks")
    texts = [block.get("text") for block in blocks if block.get("type") == "text"]
    if not all(isinstance(text, str) for text in texts):
        raise InputError(f"{where}: a text block has no text")
    return "\n\n".join(str(text) for text in texts)


def _message(where: str, message: Any, tools: Tools) -> list[dict[str, Any]]:
    role = message.get("role") if isinstance(message, Mapping) else None
    if role not in ("user", "assistant", "system"):
        raise InputError(f"{where}.role: expected user or assistant, got {role!r:.40}")
    content = message.get("content")
    if isinstance(content, str):
        return [{"role": role, "content": content}]
    if not isinstance(content, list):
        raise InputError(f"{where}.content: expected text or a list of blocks")
    for number, block in enumerate(content):
        if not isinstance(block, Mapping) or not isinstance(block.get("type"), str):
            raise InputError(f"{where}.content[{number}]: expected a block with a type")
    if role == "system":
        return _system(content)
    if role == "assistant":
        return [_assistant(where, content, tools)]
    results = [
        _result(f"{where}.content[{number}]", block)
        for number, block in enumerate(content)
        if block["type"] == "tool_result"
    ]
    parts = _parts(where, content)
    return results + ([{"role": "user", "content": parts}] if parts else [])


def _assistant(where: str, content: list[Any], tools: Tools) -> dict[str, Any]:
    text = "".join(str(block.get("text") or "") for block in content if block["type"] == "text")
    calls = [_call(where, block, tools) for block in content if block["type"] == "tool_use"]
    message: dict[str, Any] = {"role": "assistant", "content": text or (None if calls else "")}
    sealed = [block.get("signature") or block.get("data") for block in content if block["type"] in _THINKING]  # fmt: skip
    kept = [each for each in sealed if is_sealed(each)]
    if kept:
        message[REASONING_DETAILS] = carried(kept)
    return message | ({"tool_calls": calls} if calls else {})


def _call(where: str, block: Mapping[str, Any], tools: Tools) -> dict[str, Any]:
    name, call_id = block.get("name"), block.get("id")
    if not isinstance(name, str) or not isinstance(call_id, str):
        raise InputError(f"{where}: a tool_use block needs id and name")
    arguments = to_json(block.get("input") or {}).decode()
    function = {"name": tools.name_of(name), "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


def _result(where: str, block: Mapping[str, Any]) -> dict[str, Any]:
    call_id, content = block.get("tool_use_id"), block.get("content")
    if not isinstance(call_id, str):
        raise InputError(f"{where}.tool_use_id: expected the id of the call that it answers")
    if content is None or isinstance(content, str):
        said: Any = content or ""
    elif isinstance(content, list) and all(isinstance(part, Mapping) for part in content):
        said = _parts(where, content)
        if all(part["type"] == "text" for part in said):
            said = "\n".join(part["text"] for part in said)
    else:
        raise InputError(f"{where}.content: expected text or a list of blocks")
    if block.get("is_error") is True and isinstance(said, str):
        said = f"(the tool failed) {said}"
    return {"role": "tool", "tool_call_id": call_id, "content": said}


def _parts(where: str, content: list[Any]) -> list[dict[str, Any]]:
    """What a user shows, as parts of our messages; a document without text is named only."""
    parts: list[dict[str, Any]] = []
    for number, block in enumerate(content):
        kind = block.get("type")
        if kind == "text":
            if not isinstance(block.get("text"), str):
                raise InputError(f"{where}.content[{number}].text: expected text")
            parts.append({"type": "text", "text": block["text"]})
        elif kind == "image":
            url = _image_url(f"{where}.content[{number}]", block.get("source"))
            parts.append({"type": "image_url", "image_url": {"url": url}})
        elif kind == "document":
            parts.append({"type": "text", "text": _document(block)})
    return parts


def _image_url(where: str, source: Any) -> str:
    if isinstance(source, Mapping):
        if source.get("type") == "url" and isinstance(source.get("url"), str):
            return str(source["url"])
        if source.get("type") == "base64" and isinstance(source.get("data"), str):
            return f"data:{source.get('media_type')};base64,{source['data']}"
    raise InputError(f"{where}.source: expected an image as base64 or url")


def _document(block: Mapping[str, Any]) -> str:
    source = block.get("source")
    if isinstance(source, Mapping) and source.get("type") == "text":
        return str(source.get("data") or "")
    return f"(a document that cannot be shown here: {block.get('title') or 'untitled'})"


def _tools(given: Any) -> Tools:
    tools = Tools()
    if given is None:
        return tools
    if not isinstance(given, list):
        raise InputError("tools: expected a list")
    for index, each in enumerate(given):
        name = each.get("name") if isinstance(each, Mapping) else None
        if not isinstance(name, str):
            raise InputError(f"tools[{index}].name: expected a name")
        schema = each.get("input_schema")
        if schema is None:
            continue  # a tool of the provider's own
        if not isinstance(schema, Mapping) or not isinstance(each.get("description"), str | None):
            raise InputError(f"tools[{index}]: expected input_schema as an object, description as text")  # fmt: skip
        tools.add(Tool(name=name), description=each.get("description"), parameters=schema)
    return tools


def _settings(body: Mapping[str, Any], config: Mapping[str, Any], tools: Tools) -> RunOptions:
    options: RunOptions = {}
    if tools.functions:
        options["tools"] = tools.functions
        choice = body.get("tool_choice")
        kind = choice.get("type") if isinstance(choice, Mapping) else None
        if isinstance(choice, Mapping) and kind == "tool" and isinstance(choice.get("name"), str):
            function = {"name": tools.name_of(choice["name"])}
            options["tool_choice"] = {"type": "function", "function": function}
        elif isinstance(kind, str) and kind in _CHOICES:
            options["tool_choice"] = _CHOICES[kind]
        elif choice is not None:
            raise InputError("tool_choice: expected auto, any, none or a named tool")
    form = config.get("format")
    if form is not None:
        if not isinstance(form, Mapping) or not isinstance(form.get("schema"), Mapping):
            raise InputError("output_config.format: expected type json_schema and a schema")
        schema = {"name": "reply", "schema": form["schema"], "strict": True}
        options["response_format"] = {"type": "json_schema", "json_schema": schema}
    bound = integer(body, "max_tokens")
    if bound is not None:
        options["max_output_tokens"] = bound
    options |= sampling(body)
    stop = body.get("stop_sequences")
    if stop is not None:
        if not isinstance(stop, list) or not all(isinstance(each, str) for each in stop):
            raise InputError("stop_sequences: expected a list of texts")
        options["stop"] = stop
    return options
