"""A model that follows a script, in the three dialects that coding assistants speak.

It calls the first tool whose name has ``orchestrate`` in it, with the task that it is started with, and then answers with what
the tool gave. It also plays a worker of a pool that takes its time: ``/slow/v1/chat/completions``.

    python model_endpoint.py PORT LOG TASK SLOW_SECONDS
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

LOG, TASK, SLOW_S = Path(sys.argv[2]), sys.argv[3], float(sys.argv[4])
SAID = "the tool said: "


def log(request: Request, body: Any, **facts: Any) -> None:
    """One line of JSON per request, which the tests read."""
    line = {"path": request.url.path, "at": time.time(), **facts}
    with LOG.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def sse(events: Iterable[dict[str, Any] | str], *, named: bool) -> StreamingResponse:
    """Server-sent events; Anthropic's and the Responses API's have names."""

    def lines() -> Iterable[str]:
        for event in events:
            if isinstance(event, str):
                yield f"data: {event}\n\n"
                continue
            name = f"event: {event['type']}\n" if named else ""
            yield f"{name}data: {json.dumps(event)}\n\n"

    return StreamingResponse(lines(), media_type="text/event-stream")


def flat(value: Any) -> str:
    """All text in a tool's result, whatever it is wrapped in."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return " ".join(flat(each) for each in value.values())
    return " ".join(flat(each) for each in value) if isinstance(value, list) else ""


async def chat(request: Request) -> Response:
    """Chat Completions, as opencode asks."""
    body = await request.json()
    names = [tool["function"]["name"] for tool in body.get("tools") or []]
    results = [flat(m["content"]) for m in body["messages"] if m["role"] == "tool"]
    log(request, body, tools=names, results=results)
    wanted = next((name for name in names if "orchestrate" in name), None)
    base = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": body["model"],
    }
    if wanted and not results:
        function = {"name": wanted, "arguments": json.dumps({"task": TASK})}
        call = {"index": 0, "id": "call_1", "type": "function", "function": function}
        delta: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": [call]}
        reason = "tool_calls"
    else:
        delta, reason = {"role": "assistant", "content": SAID + " ".join(results)}, "stop"
    usage = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
    if not body.get("stream"):
        choice = {"index": 0, "message": delta, "finish_reason": reason}
        return JSONResponse(
            {**base, "object": "chat.completion", "choices": [choice], "usage": usage}
        )
    choices = [
        {"index": 0, "delta": delta, "finish_reason": None},
        {"index": 0, "delta": {}, "finish_reason": reason},
    ]
    chunks = [{**base, "choices": [choice]} for choice in choices]
    return sse([*chunks, {**base, "choices": [], "usage": usage}, "[DONE]"], named=False)


async def responses(request: Request) -> Response:
    """The Responses API, as Codex asks; its MCP tools come in a namespace."""
    body = await request.json()
    tools = [(None, tool) for tool in body.get("tools") or []]
    tools += [(tool["name"], each) for _, tool in tools for each in tool.get("tools") or []]
    names = [tool.get("name") or tool["type"] for _, tool in tools]
    items = body["input"] if isinstance(body["input"], list) else []
    results = [flat(i["output"]) for i in items if i.get("type") == "function_call_output"]
    log(request, body, tools=names, results=results)
    space, tool = next(
        ((s, t) for s, t in tools if "orchestrate" in t.get("name", "")), (None, None)
    )
    if tool and not results:
        item: dict[str, Any] = {
            "type": "function_call", "id": "fc_1", "call_id": "call_1", "status": "completed",
            "name": tool["name"], "arguments": json.dumps({"task": TASK}),
        }  # fmt: skip
        item |= {"namespace": space} if space else {}
    else:
        content = [{"type": "output_text", "text": SAID + " ".join(results), "annotations": []}]
        item = {
            "type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content,
        }  # fmt: skip
    usage = {"input_tokens": 5, "output_tokens": 5, "total_tokens": 10}
    usage |= {
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }
    whole = {
        "id": "resp_1", "object": "response", "created_at": 0, "status": "completed",
        "model": body["model"], "output": [item], "usage": usage,
    }  # fmt: skip
    begun = {**whole, "status": "in_progress", "output": []}
    events: list[Any] = [
        {"type": "response.created", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": whole},
    ]
    for number, event in enumerate(events):
        event["sequence_number"] = number
    return sse(events, named=True)


async def messages(request: Request) -> Response:
    """Anthropic Messages, as Claude Code asks."""
    body = await request.json()
    names = [tool["name"] for tool in body.get("tools") or []]
    blocks = [b for m in body["messages"] if isinstance(m["content"], list) for b in m["content"]]
    results = [flat(b.get("content")) for b in blocks if b["type"] == "tool_result"]
    log(request, body, tools=names, results=results)
    wanted = next((name for name in names if "orchestrate" in name), None)
    calls = bool(wanted and not results)
    block: dict[str, Any] = {"type": "text", "text": SAID + " ".join(results)}
    if calls:
        block = {"type": "tool_use", "id": "toolu_1", "name": wanted, "input": {"task": TASK}}
    reason = "tool_use" if calls else "end_turn"
    usage = {"input_tokens": 5, "output_tokens": 5}
    message = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": body["model"],
        "content": [block], "stop_reason": reason, "stop_sequence": None, "usage": usage,
    }  # fmt: skip
    if not body.get("stream"):
        return JSONResponse(message)
    empty = {**block, "input": {}} if calls else {"type": "text", "text": ""}
    delta = (
        {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        if calls
        else {"type": "text_delta", "text": block["text"]}
    )
    begun = {**message, "content": [], "stop_reason": None}
    return sse(
        [
            {"type": "message_start", "message": begun},
            {"type": "content_block_start", "index": 0, "content_block": empty},
            {"type": "content_block_delta", "index": 0, "delta": delta},
            {"type": "content_block_stop", "index": 0},
            {
                "type": "message_delta",
                "delta": {"stop_reason": reason, "stop_sequence": None},
                "usage": usage,
            },
            {"type": "message_stop"},
        ],
        named=True,
    )


async def slow(request: Request) -> Response:
    """A worker of the pool that thinks for a while."""
    body = await request.json()
    log(request, body, tools=[], results=[])
    await asyncio.sleep(SLOW_S)
    message = {"role": "assistant", "content": "patience is rewarded"}
    usage = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    chunk = {"id": "x", "object": "chat.completion", "created": 0, "model": "slow", "usage": usage}
    if not body.get("stream"):
        return JSONResponse({**chunk, "choices": [choice]})
    choice = {"index": 0, "delta": message, "finish_reason": "stop"}
    return sse([{**chunk, "choices": [choice]}, "[DONE]"], named=False)


async def count(request: Request) -> Response:
    """Claude Code counts tokens before it asks."""
    return JSONResponse({"input_tokens": 10})


async def models(request: Request) -> Response:
    """The one model."""
    model = {"id": "scripted", "object": "model", "created": 0, "owned_by": "test"}
    return JSONResponse({"object": "list", "data": [model]})


async def other(request: Request) -> Response:
    """Whatever else a client asks for; logged, so that a test can say so."""
    log(request, None, tools=[], results=[])
    return JSONResponse({"error": {"message": "not found", "type": "not_found"}}, 404)


app = Starlette(
    routes=[
        Route("/v1/chat/completions", chat, methods=["POST"]),
        Route("/v1/responses", responses, methods=["POST"]),
        Route("/v1/messages", messages, methods=["POST"]),
        Route("/v1/messages/count_tokens", count, methods=["POST"]),
        Route("/slow/v1/chat/completions", slow, methods=["POST"]),
        Route("/v1/models", models),
        Route("/{path:path}", other, methods=["GET", "POST", "HEAD"]),
    ]
)

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
