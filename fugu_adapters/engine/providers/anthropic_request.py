"""From a chat request in OpenAI's shape to the body of Anthropic's Messages API. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import from_json

from fugu_adapters.config import Worker
from fugu_adapters.engine.providers.native import EXTENSION, native_of, unmarked
from fugu_adapters.engine.providers.sealed import opened
from fugu_adapters.errors import InputError
from fugu_adapters.messages import text_of
from fugu_adapters.types import Message, Native, Request

__all__ = ["DEFAULT_MAX_TOKENS", "encode"]

DEFAULT_MAX_TOKENS = 4096
"""``max_tokens`` has to be sent; this is what is sent where the request does not say."""

_DATA_URL = re.compile(r"data:(image/[a-z0-9.+-]+);base64,([A-Za-z0-9+/=\s]+)", re.IGNORECASE)
_JSON_OBJECT = "Reply with one JSON object and nothing else."

_THINKING = {
    "thinking": "signature",
    "redacted_thinking": "data",
}  # blocks, and what is sealed in them
_LEAST_THINKING = 1_024  # tokens; a smaller budget is refused
_THOUGHT = "(thinking)"  # in place of a turn that another worker spent thinking only; empty ones are refused

_Block = dict[str, Any]


def encode(request: Request, worker: Worker, stream: bool) -> dict[str, Any]:
    """The body of a request.

    Choices where the formats differ:

    * System and developer messages become ``system``, wherever they stood.
    * The worker's effort becomes ``output_config.effort``, which bounds all tokens of the reply and
      needs no ``thinking`` setting. ``thinking`` is not sent, because which form of it is accepted differs by
      model; the blocks of models that think unasked go back to them. ``minimal`` becomes ``low``, and ``none``
      is left out.
    * A JSON schema becomes ``output_config.format``. It is generally available, streams as text and
      goes together with tools, none of which holds for the older way of forcing a tool call.
      ``json_object`` has no equivalent and becomes a sentence in ``system``.
    * ``temperature`` ends at 1 here. There is no ``seed``.

    A request that came in this format goes out as ``_as_it_came`` says.

    Raises:
        InputError: a message holds something that the format has no place for.
    """
    native = native_of(request, "messages")
    if native is not None:
        return _as_it_came(native, request, worker, stream)
    system = [text_of(m) for m in request.messages if m["role"] in ("system", "developer")]
    if (request.response_format or {}).get("type") == "json_object":
        system.append(_JSON_OBJECT)
    joined = "\n\n".join(text for text in system if text.strip())
    messages = _messages(request.messages, worker)
    if not messages:  # at least one is required
        messages, joined = [{"role": "user", "content": [{"type": "text", "text": joined}]}], ""
    bounds = (request.max_output_tokens or DEFAULT_MAX_TOKENS, worker.max_output_tokens)
    temperature = request.temperature
    optional = {
        "system": joined or None,
        "temperature": None if temperature is None else min(temperature, 1.0),
        "top_p": request.top_p,
        "stop_sequences": [text for text in request.stop if text.strip()] or None,
        "tools": [_tool(tool) for tool in request.tools] or None,
        "tool_choice": _tool_choice(request.tool_choice) if request.tools else None,
        "output_config": _output_config(request, worker) or None,
        "stream": True if stream else None,
    }
    return {
        "model": worker.model,
        "max_tokens": min(bound for bound in bounds if bound is not None),
        "messages": messages,
        **{name: value for name, value in optional.items() if value is not None},
    }


def _as_it_came(native: Native, request: Request, worker: Worker, stream: bool) -> dict[str, Any]:
    """The client's own body, for this worker.

    Its cache markers, documents and server-side tools stay. Thinking is sent back to the worker whose it is. The
    effort that it names is meant for us; a budget for thinking shrinks with the bound on the reply.
    """
    body = {name: value for name, value in native.body.items() if name not in (EXTENSION, "stream")}
    bounds = (
        request.max_output_tokens or body.get("max_tokens"),
        worker.max_output_tokens,
    )
    most = min(bound for bound in bounds if bound is not None)
    body |= {
        "model": worker.model,
        "max_tokens": most,
        "messages": [_with_own_thinking(message, worker) for message in body["messages"]],
    }
    config = {name: value for name, value in (body.pop("output_config", None) or {}).items() if name != "effort"}  # fmt: skip
    config |= _effort(worker)
    if config:
        body["output_config"] = config
    thinking = body.get("thinking")
    if isinstance(thinking, Mapping) and isinstance(thinking.get("budget_tokens"), int):
        budget = min(thinking["budget_tokens"], most - 1)
        body["thinking"] = {**thinking, "budget_tokens": budget}
        if budget < _LEAST_THINKING:
            del body["thinking"]
    return body | ({"stream": True} if stream else {})


def _with_own_thinking(message: Message, worker: Worker) -> Message:
    content = message.get("content")
    if message["role"] != "assistant" or not isinstance(content, list):
        return message
    blocks = [_own(block, worker) for block in content]
    kept = [block for block in blocks if block is not None]
    return {**message, "content": kept or [{"type": "text", "text": _THOUGHT}]}


def _own(block: _Block, worker: Worker) -> _Block | None:
    """The block as the worker is sent it; ``None`` where it is another worker's thinking."""
    field = _THINKING.get(block["type"])
    if field is None:
        return block
    sealed = unmarked(block.get(field), worker)
    return None if sealed is None else {**block, field: sealed}


def _effort(worker: Worker) -> dict[str, Any]:
    effort = "low" if worker.effort == "minimal" else worker.effort
    return {} if effort in (None, "none") else {"effort": effort}


def _output_config(request: Request, worker: Worker) -> dict[str, Any]:
    config = _effort(worker)
    form = request.response_format or {}
    if form.get("type") == "json_schema":
        schema = (form.get("json_schema") or {}).get("schema")
        if not isinstance(schema, Mapping):
            raise InputError("response_format.json_schema.schema: expected an object")
        config["format"] = {"type": "json_schema", "schema": schema}
    return config


def _tool(tool: Mapping[str, Any]) -> _Block:
    function = tool.get("function")
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise InputError('tools: expected {"type": "function", "function": {"name": ...}}')
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    encoded = {"name": function["name"], "input_schema": schema}
    if function.get("description"):
        encoded["description"] = function["description"]
    return encoded


def _tool_choice(choice: str | Mapping[str, Any] | None) -> _Block | None:
    if isinstance(choice, Mapping):
        name = (choice.get("function") or {}).get("name")
        if not isinstance(name, str):
            raise InputError("tool_choice.function.name: expected the name of a tool")
        return {"type": "tool", "name": name}
    known = {None: None, "auto": "auto", "none": "none", "required": "any"}
    if choice not in known:
        raise InputError(
            f"tool_choice: expected auto, none, required or a function, got {choice!r:.60}"
        )
    kind = known[choice]
    return None if kind is None else {"type": kind}


def _messages(messages: Sequence[Message], worker: Worker) -> list[_Block]:
    """User and assistant turns in alternation, tool results inside user turns."""
    turns: list[_Block] = []
    for message in messages:
        role = message["role"]
        if role in ("system", "developer"):
            continue
        blocks = _tool_result(message) if role == "tool" else _content(message.get("content"))
        if role == "assistant" and blocks + list(message.get("tool_calls") or ()):
            blocks = [thought for thought in opened(message, worker) if thought.get("type") in _THINKING] + blocks  # fmt: skip
        blocks += [_tool_use(call) for call in message.get("tool_calls") or ()]
        speaker = "assistant" if role == "assistant" else "user"
        if not blocks:
            continue  # empty text is refused
        if turns and turns[-1]["role"] == speaker:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": speaker, "content": blocks})
    return turns


def _content(content: Any) -> list[_Block]:
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    return [
        _image(part["image_url"]["url"])
        if part["type"] == "image_url"
        else {"type": "text", "text": part["text"]}
        for part in content or ()
        if part["type"] == "image_url" or part["text"].strip()
    ]


def _image(url: str) -> _Block:
    if url.startswith(("https://", "http://")):
        return {"type": "image", "source": {"type": "url", "url": url}}
    match = _DATA_URL.fullmatch(url)
    if match is None:
        raise InputError("image_url.url: expected https://... or data:image/...;base64,...")
    source = {"type": "base64", "media_type": match[1].lower(), "data": "".join(match[2].split())}
    return {"type": "image", "source": source}


def _tool_result(message: Message) -> list[_Block]:
    call_id = message.get("tool_call_id")
    if not isinstance(call_id, str):
        raise InputError("a tool message: expected tool_call_id, the id of the call it answers")
    result: _Block = {"type": "tool_result", "tool_use_id": call_id}
    content = _content(message.get("content"))
    return [result | {"content": content} if content else result]


def _tool_use(call: Any) -> _Block:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise InputError('tool_calls: expected {"id": ..., "function": {"name": ..., ...}}')
    try:
        arguments = from_json(function.get("arguments") or "{}", allow_inf_nan=False)
    except (ValueError, TypeError):
        arguments = None
    if not isinstance(arguments, dict):
        # A worker wrote this, and the next one should see it rather than the request fail.
        arguments = {"arguments": str(function.get("arguments"))}
    return {
        "type": "tool_use",
        "id": str(call.get("id") or ""),
        "name": function["name"],
        "input": arguments,
    }
