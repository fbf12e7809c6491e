"""Workers that are the host's own coroutine functions."""

from __future__ import annotations

import asyncio
import sys
import types

import pytest

from fugu_adapters.config import Worker
from fugu_adapters.errors import (
    InputError,
    WorkerError,
    WorkerProtocolError,
    WorkerRateLimited,
    WorkerRefused,
    WorkerTimeout,
    WorkerUnavailable,
)
from fugu_adapters.types import Delta, Reply, Request, ToolCall, Usage
from fugu_adapters.workers.callable import CallableBackend

REQUEST = Request(messages=({"role": "user", "content": "hi"},), seed=3)
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}


async def ask(function, *, stream=False, request=REQUEST):
    """The reply, or the reply and its pieces."""
    backend = CallableBackend(Worker(name="mine", api="callable", call=function))
    if not stream:
        return await backend.call(request)
    pieces: list[Delta] = []
    return await backend.call(request, on_delta=pieces.append), pieces


def returning(value):
    async def function(messages):
        return value

    return function


def raising(error):
    async def function(messages):
        raise error

    return function


REPLY = Reply(text="r", usage=Usage(input_tokens=1), cost_usd=0.5)


@pytest.mark.parametrize(
    ("value", "reply"),
    [
        ("hello", Reply(text="hello")),
        ("", Reply(text="")),
        (REPLY, REPLY),
        ({"role": "assistant", "content": "hello"}, Reply(text="hello")),
        ({"content": "hello"}, Reply(text="hello")),
        (
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            Reply(
                tool_calls=(ToolCall(id="c", name="f", arguments='{"a": 1}'),),
                finish_reason="tool_calls",
            ),
        ),
    ],
)
async def test_each_kind_of_answer_becomes_a_reply(value, reply):
    """Text, assistant messages and replies are taken, streamed or not."""
    assert await ask(returning(value)) == reply
    streamed, pieces = await ask(returning(value), stream=True)
    assert streamed == reply
    assert "".join(piece.text for piece in pieces) == reply.text
    assert [p.tool_name for p in pieces if p.tool_index is not None] == [
        call.name for call in reply.tool_calls
    ]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "got NoneType"),
        (3, "got int"),
        (["x"], "got list"),
        ({"role": "user", "content": "x"}, "an assistant message"),
        ({"role": "assistant", "content": ["x"]}, "with text as content"),
        ({"role": "assistant"}, "neither content nor tool_calls"),
        ({"role": "assistant", "tool_calls": [{"id": "c"}]}, "not in OpenAI's shape"),
    ],
)
async def test_another_answer_is_a_protocol_error(value, said):
    """What cannot be used is named by its type, not by its content."""
    with pytest.raises(WorkerProtocolError, match=said) as caught:
        await ask(returning(value))
    assert caught.value.worker == "mine"


async def test_a_plain_function_is_refused():
    """A function that is no coroutine function would block the host's loop."""
    with pytest.raises(WorkerProtocolError, match="async def"):
        await ask(lambda messages: "text")


@pytest.mark.parametrize("wrapped", [False, True])
async def test_pieces_are_passed_on_as_they_come(wrapped):
    """An async generator, returned or awaited, streams; without a listener it is joined."""
    seen = []

    async def pieces(messages):
        for piece in ("a", "", "b"):
            seen.append(piece)
            yield piece

    async def returns_pieces(messages):
        return pieces(messages)

    reply, deltas = await ask(returns_pieces if wrapped else pieces, stream=True)
    assert reply == Reply(text="ab")
    assert [delta.text for delta in deltas] == ["a", "b"]
    assert (await ask(pieces)).text == "ab"


async def test_an_iterator_that_cannot_be_closed_works():
    """Any async iterator of text will do."""

    class Pieces:
        def __init__(self, messages):
            self.left = ["a", "b"]

        def __aiter__(self):
            return self

        async def __anext__(self):
            if not self.left:
                raise StopAsyncIteration
            return self.left.pop(0)

    assert (await ask(Pieces)).text == "ab"


async def test_pieces_have_to_be_text():
    """Another piece ends the call and closes the generator."""
    closed = []

    async def pieces(messages):
        try:
            yield "a"
            yield 3
        finally:
            closed.append(True)

    with pytest.raises(WorkerProtocolError, match="the iterator gave int"):
        await ask(pieces)
    assert closed == [True]


async def test_the_request_is_passed_where_it_is_wanted():
    """A function that takes ``request`` sees tools and settings; the messages are its own copies."""
    seen = {}

    async def narrow(messages):
        messages[0]["content"] = "changed"
        return "x"

    async def wide(messages, *, request):
        seen["named"] = request
        return "x"

    async def widest(messages, **options):
        seen["any"] = options
        return "x"

    async def other(request, /):
        seen["first"] = request
        return "x"

    for function in (narrow, wide, widest, other):
        await ask(function)
    assert seen["named"] is REQUEST
    assert seen["any"] == {"request": REQUEST}
    assert seen["first"] == [{"role": "user", "content": "hi"}]
    assert REQUEST.messages[0]["content"] == "hi"


def with_status(status):
    error = Exception("secret body")
    error.status_code = status
    return error


class APIConnectionError(Exception):
    """As SDKs name theirs."""


@pytest.mark.parametrize(
    ("error", "kind", "cause"),
    [
        (ValueError("secret"), WorkerError, "exception"),
        (TimeoutError("secret"), WorkerTimeout, "timeout"),
        (ConnectionResetError("secret"), WorkerUnavailable, "connect"),
        (APIConnectionError("secret"), WorkerUnavailable, "connect"),
        (with_status(429), WorkerRateLimited, "http_429"),
        (with_status(408), WorkerTimeout, "http_408"),
        (with_status(503), WorkerUnavailable, "http_503"),
        (with_status(401), WorkerRefused, "http_401"),
        (with_status(200), WorkerError, "exception"),
    ],
)
async def test_what_the_function_raises_is_told_by_class_only(error, kind, cause):
    """The engine can act on the class; the message, which may hold anything, stays in the chain."""
    with pytest.raises(WorkerError) as caught:
        await ask(raising(error))
    assert type(caught.value) is kind
    assert (caught.value.cause_kind, caught.value.worker) == (cause, "mine")
    assert str(caught.value) == f"{type(error).__name__} in the worker's own code"
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [InputError("x"), WorkerRefused("x"), asyncio.CancelledError()])
async def test_our_own_errors_and_cancellation_pass_through(error):
    """Nothing of ours is wrapped a second time."""
    with pytest.raises(type(error)) as caught:
        await ask(raising(error))
    assert caught.value is error


async def test_a_graph_interrupt_passes_through(monkeypatch):
    """LangGraph pauses a graph with an exception, which belongs to the host."""
    module = types.ModuleType("langgraph.errors")
    module.GraphBubbleUp = type("GraphBubbleUp", (Exception,), {})
    monkeypatch.setitem(sys.modules, "langgraph.errors", module)
    interrupt = type("GraphInterrupt", (module.GraphBubbleUp,), {})()
    with pytest.raises(module.GraphBubbleUp):
        await ask(raising(interrupt))
    with pytest.raises(WorkerError):
        await ask(raising(ValueError()))


async def test_cancelling_stops_the_function():
    """A cancelled call leaves nothing running: the generator is closed."""
    events = []

    async def pieces(messages):
        try:
            yield "a"
            await asyncio.sleep(30)
        finally:
            events.append("closed")

    task = asyncio.create_task(ask(pieces, stream=True))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert events == ["closed"]
    assert len(asyncio.all_tasks()) == 1


async def test_closing_twice_is_fine():
    """Nothing is held, and a closed backend can be used again."""
    backend = CallableBackend(Worker(name="mine", api="callable", call=returning("x")))
    await backend.aclose()
    await backend.aclose()
    assert (await backend.call(REQUEST)).text == "x"
