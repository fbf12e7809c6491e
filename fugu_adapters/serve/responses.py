"""The dialect of OpenAI's Responses."""

from __future__ import annotations

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
from fugu_adapters.serve.problems import Problem
from fugu_adapters.serve.responses_reply import ResponsesWriter, error_object, whole_response
from fugu_adapters.serve.tools import Tool, Tools
from fugu_adapters.types import Dialect, Native, Result

__all__ = ["ResponsesSpeaker"]

_CALLS = ("function_call", "custom_tool_call")
_OUTPUTS = ("function_call_output", "custom_tool_call_output")


class ResponsesSpeaker:
    """Responses; see ``Speaker``."""

    name: Dialect = "responses"

    def read(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> Asked:
        """A request. What our messages have no place for goes to workers of this dialect only."""
        if body.get("background") is True:
            raise InputError("background: not offered; stream the reply, which can be left and resumed by run id")  # fmt: skip
        if body.get("conversation") is not None:
            raise InputError("conversation: not offered; use previous_response_id or send the whole input")  # fmt: skip
        tools = Tools()
        _take_tools(tools, body.get("tools"), "tools", None)
        items = body.get("input")
        if isinstance(items, str):
            items = [{"role": "user", "content": items}]
        if not isinstance(items, list):
            raise InputError("input: expected text or a list of items")
        instructions = body.get("instructions")
        if not isinstance(instructions, str | None):
            raise InputError("instructions: expected text")
        ours: list[dict[str, Any]] = []
        if instructions:
            ours.append({"role": "system", "content": instructions})
        for index, item in enumerate(items):
            _take_item(ours, f"input[{index}]", item, tools)
        ours = [message for message in ours if not _is_empty(message)]
        reasoning = body.get("reasoning")
        effort = reasoning.get("effort") if isinstance(reasoning, Mapping) else None
        options, limits = read_extension(body, effort)
        options |= _settings(body, tools)
        options["native"] = Native(dialect="responses", body={**body, "input": items})
        return Asked.of(body, whole_history(ours), options, tools, limits)

    def whole(self, asked: Asked, result: Result) -> bytes:
        """A ``response``."""
        return whole_response(asked, result)

    def writer(self, asked: Asked) -> ResponsesWriter:
        """For a streamed reply."""
        return ResponsesWriter(asked)

    def problem(self, problem: Problem) -> dict[str, Any]:
        """An error object."""
        return error_object(problem)


# --- reading ------------------------------------------------------------------------------------


def _take_item(ours: list[dict[str, Any]], where: str, item: Any, tools: Tools) -> None:
    """Put an item at the end of our messages; calls and reasoning join the assistant's message before them."""
    if not isinstance(item, Mapping):
        raise InputError(f"{where}: expected an object")
    kind = item.get("type", "message")
    if kind in _CALLS:
        call = _call(where, item, tools)
        if ours and ours[-1]["role"] == "assistant":
            last = ours.pop()
            ours.append({**last, "tool_calls": [*last.get("tool_calls", ()), call]})
        else:
            ours.append({"role": "assistant", "content": None, "tool_calls": [call]})
    elif kind in _OUTPUTS:
        call_id = item.get("call_id")
        if not isinstance(call_id, str):
            raise InputError(f"{where}.call_id: expected the id of the call that it answers")
        ours.append({"role": "tool", "tool_call_id": call_id, "content": _output(where, item.get("output"))})  # fmt: skip
    elif kind == "message":
        message = _message(where, item)
        if ours and _is_empty(ours[-1]) and message["role"] == "assistant":
            message = ours.pop() | message
        ours.append(message)
    elif kind == "reasoning" and is_sealed(item.get("encrypted_content")):
        last = ours.pop() if ours and ours[-1]["role"] == "assistant" else {"role": "assistant", "content": None}  # fmt: skip
        kept = last.get(REASONING_DETAILS, ())
        ours.append({**last, REASONING_DETAILS: [*kept, *carried([item["encrypted_content"]])]})


def _is_empty(message: Mapping[str, Any]) -> bool:
    """Whether it has nothing but reasoning so far, which comes before what is said."""
    return message["role"] == "assistant" and message["content"] is None and "tool_calls" not in message  # fmt: skip


def _call(where: str, item: Mapping[str, Any], tools: Tools) -> dict[str, Any]:
    call_id, name = item.get("call_id"), item.get("name")
    if not isinstance(call_id, str) or not isinstance(name, str):
        raise InputError(f"{where}: expected call_id and name")
    space = item.get("namespace")
    arguments = item.get("arguments")
    if item.get("type") == "custom_tool_call":
        arguments = to_json({"input": str(item.get("input") or "")}).decode()
    if not isinstance(arguments, str):
        raise InputError(f"{where}.arguments: expected JSON text")
    named = tools.name_of(name, space if isinstance(space, str) else None)
    return {"id": call_id, "type": "function", "function": {"name": named, "arguments": arguments}}


def _output(where: str, output: Any) -> Any:
    if isinstance(output, str):
        return output
    if isinstance(output, list):
        parts = _parts(f"{where}.output", output)
        if all(part["type"] == "text" for part in parts):
            return "\n".join(part["text"] for part in parts)
        return parts
    if output is None:
        return ""
    return to_json({"output": output}).decode()


def _message(where: str, item: Mapping[str, Any]) -> dict[str, Any]:
    role, content = item.get("role"), item.get("content")
    if role not in ("user", "assistant", "system", "developer"):
        raise InputError(f"{where}.role: expected user, assistant, system or developer")
    if isinstance(content, str):
        return {"role": role, "content": content}
    if not isinstance(content, list):
        raise InputError(f"{where}.content: expected text or a list of parts")
    parts = _parts(f"{where}.content", content)
    if role != "user":
        return {"role": role, "content": "".join(part.get("text", "") for part in parts)}
    return {"role": role, "content": parts}


def _parts(where: str, content: list[Any]) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    for number, part in enumerate(content):
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind in ("input_text", "output_text", "text") and isinstance(part.get("text"), str):
            parts.append({"type": "text", "text": part["text"]})
        elif kind == "refusal" and isinstance(part.get("refusal"), str):
            parts.append({"type": "text", "text": part["refusal"]})
        elif kind == "input_image" and isinstance(part.get("image_url"), str):
            parts.append({"type": "image_url", "image_url": {"url": part["image_url"]}})
        elif kind == "input_file":
            parts.append({"type": "text", "text": f"(a file that cannot be shown here: {part.get('filename') or 'unnamed'})"})  # fmt: skip
        else:
            raise InputError(f"{where}[{number}]: expected input_text, input_image or output_text, got {kind!r:.40}")  # fmt: skip
    return parts


def _take_tools(tools: Tools, given: Any, where: str, namespace: str | None) -> None:
    if given is None:
        return
    if not isinstance(given, list):
        raise InputError(f"{where}: expected a list")
    for index, each in enumerate(given):
        kind = each.get("type") if isinstance(each, Mapping) else None
        if not isinstance(kind, str):
            raise InputError(f"{where}[{index}]: expected an object with a type")
        if kind == "namespace" and namespace is None:
            _take_tools(tools, each.get("tools"), f"{where}[{index}].tools", str(each.get("name")))
        elif kind in ("function", "custom"):
            _take_tool(tools, each, f"{where}[{index}]", namespace)


def _take_tool(tools: Tools, tool: Mapping[str, Any], where: str, namespace: str | None) -> None:
    name, parameters = tool.get("name"), tool.get("parameters")
    if not isinstance(name, str):
        raise InputError(f"{where}.name: expected a name")
    if parameters is not None and not isinstance(parameters, Mapping):
        raise InputError(f"{where}.parameters: expected a JSON schema")
    description = tool.get("description")
    freeform, form = tool.get("type") == "custom", tool.get("format")
    if freeform and isinstance(form, Mapping) and form.get("definition"):
        # Other workers know no grammars; that the text has to follow one they can be told.
        description = f"{description or ''}\n\nThe input has to follow this {form.get('syntax')} grammar:\n{form['definition']}"  # fmt: skip
    tools.add(
        Tool(name=name, namespace=namespace, freeform=freeform),
        description=description if isinstance(description, str) else None,
        parameters=parameters,
        strict=tool.get("strict") if isinstance(tool.get("strict"), bool) else None,
    )


def _settings(body: Mapping[str, Any], tools: Tools) -> RunOptions:
    options: RunOptions = {}
    if tools.functions:
        options["tools"] = tools.functions
        choice = body.get("tool_choice")
        if isinstance(choice, Mapping):
            name = choice.get("name")
            named = tools.name_of(name) if isinstance(name, str) else None
            if named in tools.by_name:
                options["tool_choice"] = {"type": "function", "function": {"name": named}}
        elif choice in ("auto", "none", "required"):
            options["tool_choice"] = choice
        elif choice is not None:
            raise InputError("tool_choice: expected auto, none, required or a named function")
    text = body.get("text")
    form = text.get("format") if isinstance(text, Mapping) else None
    if isinstance(form, Mapping) and form.get("type") == "json_schema":
        schema = {name: form[name] for name in ("name", "schema", "strict", "description") if name in form}  # fmt: skip
        options["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif isinstance(form, Mapping) and form.get("type") == "json_object":
        options["response_format"] = {"type": "json_object"}
    bound = integer(body, "max_output_tokens")
    if bound is not None:
        options["max_output_tokens"] = bound
    return options | sampling(body)
