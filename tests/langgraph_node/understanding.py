"""A double that does what it is asked, by rules: as a worker in process, and as an endpoint on loopback.

LangChain's own tests ask for tool calls and for answers that follow a schema, which scripts cannot know
beforehand. Everything above the worker is the real thing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from anyio.from_thread import start_blocking_portal

from fugu_adapters import Reply, Request, ToolCall, Worker
from fugu_adapters.messages import text_of
from fugu_adapters.testing import FaultServer, chat_reply, sse_reply
from fugu_adapters.testing.acts import Act
from fugu_adapters.testing.fault_server import SeenRequest


def understand(request: Request) -> tuple[str, list[ToolCall]]:
    """The answer's text and its tool calls."""
    last = request.messages[-1]
    form = request.response_format
    if form is not None:
        schema = form.get("json_schema", {}).get("schema") or _NAMED_IN_THE_PROMPT
        return json.dumps(_filled(schema, text_of(last)), ensure_ascii=False), []
    if request.tools and request.tool_choice != "none" and last["role"] == "user":
        call = _call(request, text_of(last))
        if call is not None:
            return "", [call]
    text = "You said: " + text_of(last)
    for end in request.stop:
        text = text.split(end)[0]
    return text or "Well.", []


_NAMED_IN_THE_PROMPT = {
    "properties": {"setup": {"type": "string"}, "punchline": {"type": "string"}}
}


def _call(request: Request, text: str) -> ToolCall | None:
    """The tool that was chosen for it, or that the text is about, with arguments from the text."""
    functions = {tool["function"]["name"]: tool["function"] for tool in request.tools}
    choice = request.tool_choice
    if isinstance(choice, Mapping):
        name: str | None = choice["function"]["name"]
    else:
        about = (n for n in functions if any(word in text.lower() for word in n.split("_")))
        name = next(about, next(iter(functions)) if choice == "required" else None)
    if name is None:
        return None
    arguments = _filled(functions[name].get("parameters") or {}, text)
    return ToolCall(id="call_1", name=name, arguments=json.dumps(arguments, ensure_ascii=False))


def _filled(schema: Mapping[str, Any], text: str) -> dict[str, Any]:
    """An object of the schema: numbers and quoted words in the order in which the text has them."""
    numbers = iter(re.findall(r"-?\d+", text))
    quoted = iter(re.findall(r"'([^']+)'", text))
    filled: dict[str, Any] = {}
    for name, about in (schema.get("properties") or {}).items():
        kinds = [about.get("type"), *(each.get("type") for each in about.get("anyOf", ()))]
        if "integer" in kinds or "number" in kinds:
            filled[name] = int(next(numbers, "1"))
        else:
            filled[name] = next(quoted, f"some {name}")
    return filled


async def _answer(messages: Sequence[Mapping[str, Any]], *, request: Request) -> Reply:
    text, calls = understand(request)
    return Reply(
        text=text, tool_calls=tuple(calls), finish_reason="tool_calls" if calls else "stop"
    )


WORKER = Worker(
    name="understanding",
    api="callable",
    call=_answer,
    tools=True,
    images=True,
    json_schema=True,
    context_window=8_000,
)
"""It in process."""


class _Server(FaultServer):
    """It at an endpoint, streamed or whole as asked."""

    def _begin(self, request: SeenRequest) -> Act:
        super()._begin(request)
        body = request.json
        text, calls = understand(
            Request(
                messages=tuple(body["messages"]),
                tools=tuple(body.get("tools", ())),
                tool_choice=body.get("tool_choice"),
                response_format=body.get("response_format"),
                stop=tuple(body.get("stop", ())),
            )
        )
        shaped = [
            {
                "index": index,
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for index, call in enumerate(calls)
        ]
        reason = "tool_calls" if calls else "stop"
        if not body.get("stream"):
            return chat_reply(text, tool_calls=shaped, finish_reason=reason, model=body["model"])
        return sse_reply([*_pieces(text, shaped, reason), "[DONE]"])


def _pieces(text: str, calls: list[dict[str, Any]], reason: str) -> Iterator[dict[str, Any]]:
    """Chunks: word by word, and each call's arguments in two halves."""
    deltas: list[dict[str, Any]] = [{"content": word} for word in re.findall(r"\S+\s*", text)]
    for call in calls:
        whole = call["function"]["arguments"]
        half = len(whole) // 2
        first = call | {"function": call["function"] | {"arguments": whole[:half]}}
        rest = {"index": call["index"], "function": {"arguments": whole[half:]}}
        deltas += [{"tool_calls": [first]}, {"tool_calls": [rest]}]
    for delta in deltas:
        yield {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}
    yield {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 5}}


@contextmanager
def serving() -> Iterator[FaultServer]:
    """The endpoint, on a loop of its own thread, for synchronous tests."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(_Server()) as server:
        yield server
