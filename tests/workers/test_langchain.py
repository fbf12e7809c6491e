"""Workers that are LangChain chat models or runnables."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest

pytest.importorskip("langchain_core")

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableLambda

from fugu_adapters.config import Worker
from fugu_adapters.errors import (
    ConfigError,
    WorkerError,
    WorkerProtocolError,
    WorkerRateLimited,
    WorkerRefused,
)
from fugu_adapters.types import Reply, Request, ToolCall, Usage
from fugu_adapters.workers.langchain import LangChainBackend

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
ANSWER = AIMessage(
    content="hello",
    usage_metadata={
        "input_tokens": 10,
        "output_tokens": 4,
        "total_tokens": 14,
        "input_token_details": {"cache_read": 6},
        "output_token_details": {"reasoning": 3},
    },
    response_metadata={"finish_reason": "stop", "model_name": "m-1"},
)


class Model(BaseChatModel):
    """A chat model that gives what it is told to, and notes how it was asked."""

    answer: Any = ANSWER
    chunks: Any = ()
    temperature: float | None = None
    max_tokens: int | None = None
    asked: Any = None

    @property
    def _llm_type(self):
        return "scripted"

    def bind_tools(self, tools, *, tool_choice=None, **kwargs):
        return self.bind(tools=tools, tool_choice=tool_choice, **kwargs)

    def _note(self, messages, stop, kwargs):
        settings = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        self.asked.append((messages, {"stop": stop, **settings, **kwargs}))

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        self._note(messages, stop, kwargs)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return ChatResult(generations=[ChatGeneration(message=self.answer)])

    async def _astream(self, messages, stop=None, run_manager=None, **kwargs):
        self._note(messages, stop, kwargs)
        for chunk in self.chunks:
            await asyncio.sleep(0)
            yield ChatGenerationChunk(message=chunk)


class NoTools(Model):
    def bind_tools(self, tools, **kwargs):
        raise NotImplementedError


def model(**fields):
    return Model(asked=[], **fields)


async def ask(runnable, *, stream=False, content="hi", **changes):
    messages = changes.pop("messages", ({"role": "user", "content": content},))
    backend = LangChainBackend(Worker(name="lc", api="langchain", runnable=runnable))
    request = Request(messages=messages, **changes)
    if not stream:
        return await backend.call(request)
    pieces = []
    return await backend.call(request, on_delta=pieces.append), pieces


async def test_an_answer_keeps_usage_model_and_finish():
    """Tokens, cached and reasoning ones included, come from the message."""
    assert await ask(model()) == Reply(
        text="hello",
        usage=Usage(input_tokens=10, output_tokens=4, cached_input_tokens=6, reasoning_tokens=3),
        model="m-1",
    )


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"finish_reason": "length"}, "length"),
        ({"stop_reason": "max_tokens"}, "length"),
        ({"finish_reason": "SAFETY"}, "content_filter"),
        ({"stop_reason": "end_turn"}, "stop"),
        ({}, "stop"),
    ],
)
async def test_finish_reasons_of_several_providers_are_understood(metadata, reason):
    """Whatever the provider calls it, a cut or filtered reply is told."""
    answer = AIMessage(content="x", response_metadata=metadata)
    assert (await ask(model(answer=answer))).finish_reason == reason


async def test_messages_arrive_in_langchains_shape():
    """Every kind of message, images included, is converted and keeps its meaning."""
    runnable = model()
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    messages = (
        {"role": "system", "content": "s"},
        {"role": "developer", "content": "d"},
        {"role": "user", "content": [{"type": "text", "text": "what?"}, image]},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c", "content": "a cat"},
    )
    await ask(runnable, messages=messages)
    ((sent, _),) = runnable.asked
    assert [type(m) for m in sent] == [
        SystemMessage,
        SystemMessage,
        HumanMessage,
        AIMessage,
        ToolMessage,
    ]
    assert sent[2].content[1] == image
    assert sent[3].tool_calls[0]["args"] == {"a": 1}
    assert sent[4].tool_call_id == "c"


async def test_tools_format_and_settings_reach_the_model():
    """Only settings that the model declares are set, on a copy of it."""
    runnable = model()
    await ask(
        runnable,
        tools=(TOOL,),
        tool_choice="required",
        response_format={"type": "json_object"},
        stop=("END",),
        temperature=0.5,
        max_output_tokens=99,
        top_p=0.1,
        seed=3,
    )
    ((_, options),) = runnable.asked
    assert options["tools"] == [TOOL]
    assert options["tool_choice"] == "required"
    assert options["response_format"] == {"type": "json_object"}
    assert (options["stop"], options["temperature"], options["max_tokens"]) == (["END"], 0.5, 99)
    assert not {"top_p", "seed"} & set(options)
    assert (runnable.temperature, runnable.max_tokens) == (None, None)


async def test_tools_that_may_not_be_called_are_not_bound():
    """``tool_choice="none"`` asks for text."""
    runnable = model()
    await ask(runnable, tools=(TOOL,), tool_choice="none")
    assert "tools" not in runnable.asked[0][1]


async def test_tool_calls_come_back_even_with_broken_arguments():
    """Arguments are JSON text; what is not JSON is passed on as it came, as OpenAI's API does."""
    answer = AIMessage(
        content="",
        tool_calls=[{"name": "f", "args": {"a": 1}, "id": "c"}],
        invalid_tool_calls=[{"name": "g", "args": "{oops", "id": "d", "error": "bad"}],
    )
    reply = await ask(model(answer=answer), tools=(TOOL,))
    assert reply.finish_reason == "tool_calls"
    assert reply.tool_calls == (
        ToolCall(id="c", name="f", arguments='{"a": 1}'),
        ToolCall(id="d", name="g", arguments="{oops"),
    )


async def test_content_blocks_give_their_text():
    """Reasoning blocks are not part of the answer."""
    answer = AIMessage(
        content=[{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "yes"}]
    )
    assert (await ask(model(answer=answer))).text == "yes"


async def test_a_stream_gives_pieces_and_the_whole():
    """Text and tool calls arrive in pieces, and the reply is their sum with its usage."""
    chunks = [
        AIMessageChunk(content="he"),
        AIMessageChunk(content="llo"),
        AIMessageChunk(
            content="",
            tool_call_chunks=[{"index": 0, "id": "c", "name": "f", "args": '{"a"'}],
        ),
        AIMessageChunk(
            content="", tool_call_chunks=[{"index": 0, "id": None, "name": None, "args": ": 1}"}]
        ),
        AIMessageChunk(
            content="", usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
        ),
    ]
    reply, pieces = await ask(model(chunks=chunks), stream=True)
    assert [piece.text for piece in pieces if piece.text] == ["he", "llo"]
    assert "".join(piece.arguments for piece in pieces) == '{"a": 1}'
    assert [p.tool_id for p in pieces if p.tool_index == 0] == ["c", None]
    assert reply.text == "hello"
    assert reply.tool_calls == (ToolCall(id="c", name="f", arguments='{"a": 1}'),)
    assert reply.usage.total_tokens == 3


async def test_another_runnable_gets_the_messages():
    """A chain may return text or a message, streamed or whole."""

    async def text(messages):
        return f"got {len(messages)}"

    async def message(messages):
        return ANSWER

    assert (await ask(RunnableLambda(text))).text == "got 1"
    reply, pieces = await ask(RunnableLambda(text), stream=True)
    assert (reply.text, [p.text for p in pieces]) == ("got 1", ["got 1"])
    reply, pieces = await ask(RunnableLambda(message), stream=True)
    assert (reply.text, [p.text for p in pieces]) == ("hello", ["hello"])


@pytest.mark.parametrize(
    ("runnable", "changes"),
    [
        (RunnableLambda(lambda m: "x"), {"tools": (TOOL,)}),
        (RunnableLambda(lambda m: "x"), {"response_format": {"type": "json_object"}}),
        (NoTools(asked=[]), {"tools": (TOOL,)}),
    ],
)
async def test_what_a_runnable_cannot_take_is_refused(runnable, changes):
    """Dropping tools or a format silently would give a wrong answer."""
    with pytest.raises(WorkerRefused) as caught:
        await ask(runnable, **changes)
    assert (caught.value.cause_kind, caught.value.worker) == ("unsupported", "lc")


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_of_another_kind_is_a_protocol_error(stream):
    """Only messages and text can be used."""
    with pytest.raises(WorkerProtocolError, match="got int"):
        await ask(RunnableLambda(lambda m: 3), stream=stream)


async def test_errors_are_told_by_class_and_status():
    """An SDK's error becomes ours by its status; its text, which may hold the prompt, does not show."""
    limited = RuntimeError("secret")
    limited.status_code = 429
    with pytest.raises(WorkerRateLimited) as caught:
        await ask(model(answer=limited))
    assert "secret" not in str(caught.value)
    with pytest.raises(WorkerError, match="ValueError in the worker's own code"):
        await ask(model(answer=ValueError("secret")))


async def test_cancelling_passes_through():
    """A cancelled call ends at once with the cancellation."""

    async def slow(messages):
        await asyncio.sleep(30)

    task = asyncio.create_task(ask(RunnableLambda(slow)))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_missing_library_names_the_extra(monkeypatch):
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "langchain_core.messages", None)
    with pytest.raises(ConfigError, match=r"fugu-adapters\[langchain\]"):
        LangChainBackend(Worker(name="lc", api="langchain", runnable=object()))


def test_what_is_no_runnable_is_refused():
    """The mistake shows when the worker is built."""
    with pytest.raises(ConfigError, match="worker 'lc': runnable has to be .* got object"):
        LangChainBackend(Worker(name="lc", api="langchain", runnable=object()))


def test_importing_the_module_does_not_import_langchain():
    """The library is loaded for a LangChain worker only."""
    code = (
        "import sys, fugu_adapters.workers.langchain\n"
        "assert not [m for m in sys.modules if m.startswith('langchain')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
