"""The dialect of OpenAI's Responses."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from fugu_adapters.engine.providers.wire import to_json
from fugu_adapters.errors import InputError
from fugu_adapters.options import RunOptions
from fugu_adapters.serve.chat import sampling
from fugu_adapters.serve.dialect import (
    Asked,
    extended,
    extension,
    integer,
    own_usage,
    read_extension,
    sse,
)
from fugu_adapters.serve.history import whole_history
from fugu_adapters.serve.problems import Problem
from fugu_adapters.serve.tools import Tool, Tools, freeform_input
from fugu_adapters.types import Delta, Dialect, Native, Result, ToolCall

__all__ = ["ResponsesSpeaker"]

_CALLS = ("function_call", "custom_tool_call")
_OUTPUTS = ("function_call_output", "custom_tool_call_output")
_ENDS = (b'"response.completed"', b'"response.incomplete"', b'"response.failed"')
_ECHOED = ("instructions", "metadata", "parallel_tool_calls", "previous_response_id", "temperature", "text", "tool_choice", "tools", "top_p", "truncation", "max_output_tokens", "reasoning", "user")  # fmt: skip
_ABSENT: Mapping[str, Any] = {"metadata": {}, "parallel_tool_calls": True, "tool_choice": "auto", "tools": []}  # fmt: skip


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
        reasoning = body.get("reasoning")
        effort = reasoning.get("effort") if isinstance(reasoning, Mapping) else None
        options, limits = read_extension(body, effort)
        options |= _settings(body, tools)
        options["native"] = Native(dialect="responses", body={**body, "input": items})
        return Asked.of(body, whole_history(ours), options, tools, limits)

    def whole(self, asked: Asked, result: Result) -> bytes:
        """A ``response``."""
        return extended(_response(asked, result), result)

    def writer(self, asked: Asked) -> ResponsesWriter:
        """For a streamed reply."""
        return ResponsesWriter(asked)

    def problem(self, problem: Problem) -> dict[str, Any]:
        """An error object."""
        kind = "invalid_request_error" if problem.status < 500 else "server_error"
        error = {"message": problem.text, "type": kind, "param": None, "code": _code(problem)}
        return {"error": error | ({"partial": problem.partial} if problem.partial else {})}


def _code(problem: Problem) -> str:
    codes = {"rate_limit": "rate_limit_exceeded", "budget": "insufficient_quota", "overloaded": "server_is_overloaded"}  # fmt: skip
    return problem.code or codes.get(problem.kind, problem.kind)


class ResponsesWriter:
    """Writes a response's events; see ``Writer``. Tool calls come whole at the end."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._number = 0
        self._begun = ""
        self._text: list[str] = []
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
        if not delta.text:
            return b""
        out = self._begin(run_id)
        if not self._text:
            out += self._open_text()
        self._text.append(delta.text)
        return out + self._event(
            "response.output_text.delta", **self._place(), delta=delta.text, logprobs=[]
        )

    def _event(self, kind: str, **data: Any) -> bytes:
        self._number += 1
        return sse({"type": kind, "sequence_number": self._number - 1, **data}, name=kind)

    def _place(self) -> dict[str, Any]:
        return {"item_id": f"msg_{self._begun}", "output_index": 0, "content_index": 0}

    def _begin(self, run_id: str) -> bytes:
        if self._begun:
            return b""
        self._begun = run_id
        response = {**_head(self._asked, run_id), "status": "in_progress", "output": [], "usage": None}  # fmt: skip
        return self._event("response.created", response=response) + self._event(
            "response.in_progress", response=response
        )

    def _open_text(self) -> bytes:
        item = {**_message_item(self._begun, ""), "status": "in_progress", "content": []}
        part = {"type": "output_text", "text": "", "annotations": []}
        return self._event("response.output_item.added", output_index=0, item=item) + self._event(
            "response.content_part.added", **self._place(), part=part
        )

    def silence(self, note: str) -> bytes:
        """A comment."""
        return f": {note}\n\n".encode()

    def finish(self, result: Result) -> bytes:
        """Tool calls and the whole response; what we have to say comes before it."""
        if self._raw:
            return sse({"type": "fugu.run", **extension(result)}, name="fugu.run") + self._end
        out = self._begin(result.run_id)
        response = _response(self._asked, result)
        for index, item in enumerate(response["output"]):
            if item["type"] == "message":
                if not self._text:  # it came whole
                    out += self.delta(Delta(text=result.text), result.run_id)
                part = item["content"][0]
                out += self._event("response.output_text.done", **self._place(), text=part["text"], logprobs=[])  # fmt: skip
                out += self._event("response.content_part.done", **self._place(), part=part)
            else:
                out += self._call(index, item)
            out += self._event("response.output_item.done", output_index=index, item=item)
        kind = f"response.{response['status']}"
        return out + self._event(kind, response={**response, "fugu": extension(result)})

    def _call(self, index: int, item: dict[str, Any]) -> bytes:
        field = "input" if item["type"] == "custom_tool_call" else "arguments"
        prefix = "response.custom_tool_call_input" if field == "input" else "response.function_call_arguments"  # fmt: skip
        place = {"item_id": item["id"], "output_index": index}
        begun = {**item, field: "", "status": "in_progress"}
        return (
            self._event("response.output_item.added", output_index=index, item=begun)
            + self._event(f"{prefix}.delta", **place, delta=item[field])
            + self._event(f"{prefix}.done", **place, **{field: item[field]})
        )

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


def _response(asked: Asked, result: Result) -> dict[str, Any]:
    output = [_message_item(result.run_id, result.text)] if result.text or not result.tool_calls else []  # fmt: skip
    output += [
        _call_item(f"{result.run_id}_{index}", call, asked.tools)
        for index, call in enumerate(result.tool_calls)
    ]
    cut = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(result.finish_reason)  # fmt: skip
    return {
        **_head(asked, result.run_id),
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": cut} if cut else None,
        "output": output,
        "usage": _usage(result),
    }


def _call_item(key: str, call: ToolCall, tools: Tools) -> dict[str, Any]:
    tool = tools.behind(call)
    kind = "custom_tool_call" if tool.freeform else "function_call"
    item: dict[str, Any] = {"type": kind, "id": f"{'ctc' if tool.freeform else 'fc'}_{key}", "call_id": call.id, "name": tool.name, "status": "completed"}  # fmt: skip
    if tool.namespace is not None:
        item["namespace"] = tool.namespace
    said = {"input": freeform_input(call.arguments)} if tool.freeform else {"arguments": call.arguments}  # fmt: skip
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


# --- reading ------------------------------------------------------------------------------------


def _take_item(ours: list[dict[str, Any]], where: str, item: Any, tools: Tools) -> None:
    """Put an item at the end of our messages; calls join the assistant's message before them."""
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
        ours.append(_message(where, item))


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
