"""Tool calls go out while they are written, also where client and worker speak different dialects."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest

from fugu_adapters import Fugu, Pool, Worker
from fugu_adapters.engine.backend import OnDelta
from fugu_adapters.serve.app import make_app
from fugu_adapters.testing.acts import sse_reply
from fugu_adapters.types import Delta, Reply, Request, ToolCall

openai = pytest.importorskip("openai")
anthropic = pytest.importorskip("anthropic")

from served import listening  # noqa: E402

ASK: list[Any] = [{"role": "user", "content": "write two files"}]
PARAMETERS = {"type": "object", "properties": {"path": {"type": "string"}}}
FILES = [{"path": "a.py", "text": "x" * 40}, {"path": "b.py"}]
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": ASK, "tools": [{"type": "function", "function": {"name": "write", "parameters": PARAMETERS}}]},
    "/v1/messages": {"max_tokens": 99, "messages": ASK, "tools": [{"name": "write", "input_schema": PARAMETERS}]},
    "/v1/responses": {"input": ASK, "tools": [{"type": "function", "name": "write", "parameters": PARAMETERS}]},
}  # fmt: skip


def chunk(*calls: Mapping[str, Any], text: str | None = None, end: str | None = None) -> dict[str, Any]:  # fmt: skip
    """A chunk of a worker that speaks Chat Completions."""
    delta = {"content": text, "tool_calls": list(calls)} if calls else {"content": text}
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": end}]}


def piece(index: int, arguments: str, name: str | None = None) -> dict[str, Any]:
    """A piece of a tool call."""
    begun = {"id": f"call_{index}", "type": "function"} if name else {}
    return {"index": index, **begun, "function": {"name": name, "arguments": arguments}}


def events_of(text: str) -> list[dict[str, Any]]:
    """What a client reads of a stream."""
    lines = [line[5:] for line in text.splitlines() if line.startswith("data: {")]
    return [json.loads(line) for line in lines]


def calls_in(path: str, text: str) -> list[tuple[str, str, Any]]:
    """Id, name and arguments of the calls, put together as the dialect's clients do."""
    calls: dict[Any, list[str]] = {}
    for event in events_of(text):
        for choice in event.get("choices", ()):
            for call in choice["delta"].get("tool_calls", ()):
                known = calls.setdefault(call["index"], [call.get("id", ""), call["function"].get("name", ""), ""])  # fmt: skip
                known[2] += call["function"]["arguments"]
        block, item = event.get("content_block", {}), event.get("item", {})
        if block.get("type") == "tool_use":
            calls[event["index"]] = [block["id"], block["name"], ""]
        elif event.get("delta", {}) and event["type"] == "content_block_delta":
            if event["delta"]["type"] == "input_json_delta":
                calls[event["index"]][2] += event["delta"]["partial_json"]
        elif event.get("type") == "response.output_item.added" and item["type"] == "function_call":
            calls[event["output_index"]] = [item["call_id"], item["name"], ""]
        elif event.get("type") == "response.function_call_arguments.delta":
            calls[event["output_index"]][2] += event["delta"]
    return [(call_id, name, json.loads(said or "{}")) for call_id, name, said in calls.values()]


class Slow:
    """A worker in this process that says when it goes on."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    async def call(self, request: Request, *, on_delta: OnDelta | None = None) -> Reply:
        """Half of a call, then a pause, then the rest."""
        assert on_delta is not None
        on_delta(Delta(tool_index=0, tool_id="c", tool_name="write", arguments='{"path": '))
        await self.go_on.wait()
        on_delta(Delta(tool_index=0, arguments='"a.py"}'))
        call = ToolCall(id="c", name="write", arguments='{"path": "a.py"}')
        return Reply(tool_calls=(call,), finish_reason="tool_calls")

    async def aclose(self) -> None:
        """Nothing is held."""


@pytest.fixture
async def slow(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[str, Slow]]:
    """A server in front of a worker that pauses within a call."""
    backend = Slow()
    monkeypatch.setattr("fugu_adapters.fugu.build_backend", lambda *_: backend)
    worker = Worker(name="w", base_url="http://127.0.0.1:1/v1", model="m", tools=True)
    async with listening(make_app(Fugu(Pool([worker]), store=False))) as url:
        yield url, backend


@pytest.mark.parametrize("path", sorted(BODIES))
async def test_a_call_is_seen_before_it_is_whole(path: str, slow: tuple[str, Slow]) -> None:
    """The client has half of the arguments while the worker still writes the rest."""
    import httpx

    url, backend = slow
    body, text = {"model": "fugu", "stream": True, **BODIES[path]}, ""
    async with (
        asyncio.timeout(10),
        httpx.AsyncClient(trust_env=False) as http,
        http.stream("POST", url + path, json=body) as reply,
    ):
        async for part in reply.aiter_text():
            text += part
            if '{\\"path\\": ' in text and not backend.go_on.is_set():
                assert "a.py" not in text
                backend.go_on.set()
    assert backend.go_on.is_set()
    assert calls_in(path, text) == [("c", "write", {"path": "a.py"})]


@pytest.mark.parametrize("path", sorted(BODIES)[1:])
@pytest.mark.parametrize("interleaved", [False, True])
async def test_parallel_calls_in_pieces(serve: Callable[..., Any], path: str, interleaved: bool) -> None:  # fmt: skip
    """Two calls arrive whole and once, in turn or mixed, each under its id; text between them is not lost."""
    first, second = (json.dumps(file) for file in FILES)
    pieces = [piece(0, "", "write"), piece(0, first[:9]), piece(0, first[9:])]
    others = [piece(1, second[:4], "write"), piece(1, second[4:])]
    order = [*pieces[:2], others[0], pieces[2], others[1]] if interleaved else [*pieces, *others]
    events = [chunk(text="On it. "), *(chunk(each) for each in order)]
    events.insert(3, chunk(text="Nearly."))  # within the first call
    served = await serve({"w": [sse_reply([*events, chunk(end="tool_calls"), "[DONE]"])]})
    reply = await served.post(path, {"model": "fugu", "stream": True, **BODIES[path]})
    calls = calls_in(path, reply.text)
    assert calls == [("call_0", "write", FILES[0]), ("call_1", "write", FILES[1])]
    events = events_of(reply.text)
    texts = [e["delta"] for e in events if e["type"] == "response.output_text.delta"]
    texts += [e["delta"]["text"] for e in events if e.get("delta") and e["type"] == "content_block_delta" and "text" in e["delta"]]  # fmt: skip
    assert "".join(texts) == "On it. Nearly."
    if path == "/v1/messages":  # its blocks come one after another, numbered from 0
        marks = [(e["type"], e["index"]) for e in events if e["type"] in ("content_block_start", "content_block_stop")]  # fmt: skip
        blocks = len(marks) // 2
        assert marks == [(f"content_block_{kind}", n) for n in range(blocks) for kind in ("start", "stop")]  # fmt: skip
    else:
        ends = [e["item"]["id"] for e in events if e["type"] == "response.output_item.done"]
        whole = events[-1]["response"]["output"]
        assert sorted(ends) == sorted(item["id"] for item in whole)
        assert [item["type"] for item in whole] == ["message", "function_call", "function_call"]


async def test_the_clients_put_calls_together(serve: Callable[..., Any]) -> None:
    """The official clients read the pieces of a worker of another dialect, and a call without arguments."""
    events = [chunk(piece(0, "", "write")), chunk(piece(1, '{"path":', "write")), chunk(piece(1, ' "b"}'))]  # fmt: skip
    act = sse_reply([*events, chunk(end="tool_calls"), "[DONE]"])
    served = await serve({"w": [act]})
    async with anthropic.AsyncAnthropic(base_url=served.url, api_key="k", max_retries=0) as client:
        asked = {"model": "fugu", **BODIES["/v1/messages"]}
        async with client.messages.stream(**asked) as stream:
            said = await stream.get_final_message()
    assert [block.input for block in said.content] == [{}, {"path": "b"}]
    async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="k", max_retries=0) as other:
        asked = {"model": "fugu", **BODIES["/v1/responses"]}
        async with other.responses.stream(**asked) as stream:
            answer = await stream.get_final_response()
    assert [item.arguments for item in answer.output] == ["{}", '{"path": "b"}']


@pytest.mark.parametrize("path", sorted(BODIES)[1:])
async def test_an_upstream_that_breaks_off_within_a_call(serve: Callable[..., Any], path: str) -> None:  # fmt: skip
    """The half of a call is no call: an error ends the stream, and no other worker is asked for a second one."""
    broken = sse_reply([chunk(piece(0, '{"path":', "write"))], end="reset")
    served = await serve({"w": [broken], "v": [broken]})
    reply = await served.post(path, {"model": "fugu", "stream": True, **BODIES[path]})
    events = events_of(reply.text)
    assert events[-1]["type"] in ("error", "response.failed")
    assert not any(e["type"] in ("message_stop", "response.completed") for e in events)
    assert len(served.upstream.requests) == 1
    assert served.store.last().status == "error"


@pytest.mark.parametrize("path", sorted(BODIES)[1:])
@pytest.mark.parametrize("ids", [("x", "y"), ("write", "write")])
async def test_parallel_calls_that_a_worker_numbers_alike(serve: Callable[..., Any], path: str, ids: tuple[str, str]) -> None:  # fmt: skip
    """One index for both, or one id for both: the client has two calls that it can tell apart."""
    same_index = ids[0] != ids[1]
    chunks = [
        chunk({**piece(0 if same_index else place, json.dumps(file), "write"), "id": ids[place]})
        for place, file in enumerate(FILES)
    ]
    served = await serve({"w": [sse_reply([*chunks, chunk(end="tool_calls"), "[DONE]"])]})
    reply = await served.post(path, {"model": "fugu", "stream": True, **BODIES[path]})
    calls = calls_in(path, reply.text)
    assert [arguments for _, _, arguments in calls] == FILES
    assert len({call_id for call_id, _, _ in calls}) == 2
