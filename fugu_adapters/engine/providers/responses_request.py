"""From a chat request in OpenAI's shape to the body of its Responses API. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fugu_adapters.config import Worker
from fugu_adapters.engine.providers.native import EXTENSION, native_of, unmarked
from fugu_adapters.engine.providers.sealed import opened
from fugu_adapters.errors import InputError
from fugu_adapters.messages import text_of
from fugu_adapters.types import Message, Native, Request

__all__ = ["encode"]

_Item = dict[str, Any]

# What is ours to say, or names something that the worker's host keeps for the client: ours does not send it there.
_OURS = frozenset({EXTENSION, "model", "input", "stream", "stream_options", "max_output_tokens", "store", "previous_response_id", "conversation", "background", "prompt"})  # fmt: skip


def encode(request: Request, worker: Worker, stream: bool) -> dict[str, Any]:
    """The body of a request.

    Choices where the formats differ:

    * System messages become ``instructions``; there are no stop strings and no seed, which are left out.
    * Nothing is kept at the worker's host (``store`` is false), so its reasoning comes back encrypted, and goes
      there again in later turns where the client kept it. It is asked for where the worker is known to reason:
      OpenAI's host answers 400 ("Encrypted content is not supported with this model") for models that do not.

    A request that came in this format keeps everything but what is ours to say.

    Raises:
        InputError: a tool or a format is not as expected.
    """
    native = native_of(request, "responses")
    body = _as_it_came(native, worker) if native else _translated(request, worker)
    asked = body.pop("reasoning", None)
    reasoning = {**asked} if isinstance(asked, Mapping) else {}
    reasoning.pop("effort", None)
    if worker.effort is not None:
        reasoning["effort"] = worker.effort
    if reasoning:
        body["reasoning"] = reasoning
    if request.max_output_tokens is not None:
        body["max_output_tokens"] = request.max_output_tokens
    body |= {"model": worker.model, "store": False}
    return body | ({"stream": True} if stream else {})


def _as_it_came(native: Native, worker: Worker) -> dict[str, Any]:
    body = {name: value for name, value in native.body.items() if name not in _OURS}
    items = native.body["input"]
    if isinstance(items, str):
        items = [{"role": "user", "content": items}]
    return body | {"input": [kept for kept in (_own(item, worker) for item in items) if kept]}


def _own(item: Mapping[str, Any], worker: Worker) -> _Item | None:
    """The item as the worker is sent it; ``None`` where it is another worker's reasoning, or only a reference."""
    if item.get("type") == "item_reference":
        return None
    # Ids are those of the host that made them, and nothing of ours is kept there.
    sent = {name: value for name, value in item.items() if name not in ("id", EXTENSION)}
    if "encrypted_content" not in item and item.get("type") != "reasoning":
        return sent
    sealed = unmarked(item.get("encrypted_content"), worker)
    return None if sealed is None else sent | {"encrypted_content": sealed}


def _translated(request: Request, worker: Worker) -> dict[str, Any]:
    system = [text_of(m) for m in request.messages if m["role"] in ("system", "developer")]
    items = [item for message in request.messages for item in _items(message, worker)]
    reasons = worker.reasoning if worker.effort is None else worker.effort != "none"
    joined = "\n\n".join(text for text in system if text.strip())
    if not items:
        items, joined = [_message("user", joined)], ""
    optional = {
        "instructions": joined or None,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "tools": [_tool(tool) for tool in request.tools] or None,
        "tool_choice": _tool_choice(request.tool_choice) if request.tools else None,
        "text": _text(request.response_format),
        "include": ["reasoning.encrypted_content"] if reasons else None,
    }
    return {
        "input": items,
        **{name: value for name, value in optional.items() if value is not None},
    }


def _message(role: str, content: Any) -> _Item:
    return {"type": "message", "role": role, "content": content}


def _items(message: Message, worker: Worker) -> list[_Item]:
    role = message["role"]
    if role in ("system", "developer"):
        return []
    if role == "tool":
        parts = _parts(message)
        only_text = all(part["type"] == "input_text" for part in parts)
        output = text_of(message) if only_text else parts
        return [
            {"type": "function_call_output", "call_id": message["tool_call_id"], "output": output}
        ]
    if role == "user":
        return [_message("user", _parts(message))]
    text = text_of(message)
    said = [thought for thought in opened(message, worker) if thought.get("type") == "reasoning"]
    said += [_message("assistant", [{"type": "output_text", "text": text}])] if text else []
    return said + [
        {
            "type": "function_call",
            "call_id": call["id"],
            "name": call["function"]["name"],
            "arguments": call["function"]["arguments"],
        }
        for call in message.get("tool_calls") or ()
    ]


def _parts(message: Message) -> list[_Item]:
    content = message.get("content")
    if isinstance(content, str):
        return [{"type": "input_text", "text": content}]
    return [
        {"type": "input_image", "image_url": part["image_url"]["url"]}
        if part["type"] == "image_url"
        else {"type": "input_text", "text": part["text"]}
        for part in content or ()
    ]


def _tool(tool: Mapping[str, Any]) -> _Item:
    function = tool.get("function")
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise InputError('tools: expected {"type": "function", "function": {"name": ...}}')
    return {"type": "function", "strict": False, "parameters": {"type": "object", "properties": {}}, **function}  # fmt: skip


def _tool_choice(choice: str | Mapping[str, Any] | None) -> Any:
    if not isinstance(choice, Mapping):
        return choice
    name = (choice.get("function") or {}).get("name")
    if not isinstance(name, str):
        raise InputError("tool_choice.function.name: expected the name of a tool")
    return {"type": "function", "name": name}


def _text(form: Mapping[str, Any] | None) -> _Item | None:
    if form is None:
        return None
    if form.get("type") != "json_schema":
        return {"format": dict(form)}
    schema = form.get("json_schema")
    if not isinstance(schema, Mapping) or not isinstance(schema.get("schema"), Mapping):
        raise InputError("response_format.json_schema.schema: expected an object")
    return {"format": {"type": "json_schema", "name": "reply", **schema}}
