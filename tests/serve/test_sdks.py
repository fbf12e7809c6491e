"""The official clients and LangChain's, against the server over a real socket: text, streams, tools, schemas, errors."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from fugu_adapters import Fugu, Pool, Worker
from fugu_adapters.serve.app import make_app
from fugu_adapters.testing.acts import anthropic_reply, chat_reply, chat_stream, error_reply
from fugu_adapters.types import Reply, ToolCall, Usage

openai = pytest.importorskip("openai")
anthropic = pytest.importorskip("anthropic")

from pydantic import BaseModel  # noqa: E402
from served import listening  # noqa: E402

MODEL = {"model": "fugu"}
ASK: list[Any] = [{"role": "user", "content": "What is 40 + 2?"}]
ADD = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": ["a", "b"]}  # fmt: skip
PNG = base64.b64encode(b"\x89PNG not really").decode()


class Total(BaseModel):
    """A structured answer."""

    total: int


class Seen:
    """A worker in this process: keeps the requests, and answers as told."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.replies: list[Reply] = []

    async def __call__(self, messages: list[Any], *, request: Any) -> Reply:
        """The next reply; a plain answer where none is left."""
        self.requests.append(request)
        usage = Usage(input_tokens=12, output_tokens=3, cached_input_tokens=4)
        return self.replies.pop(0) if self.replies else Reply(text="It is 42.", usage=usage)


@pytest.fixture
async def model() -> AsyncIterator[tuple[str, Seen]]:
    """A server in front of one worker, whose dialect is nobody's: all is translated."""
    seen = Seen()
    worker = Worker(name="w", api="callable", call=seen, tools=True, images=True, json_schema=True)
    async with listening(make_app(Fugu(Pool([worker]), store=False))) as url:
        yield url, seen


_OPEN: list[Any] = []


@pytest.fixture(autouse=True)
async def _closed() -> AsyncIterator[None]:
    """Every client that a test has made is closed."""
    yield
    while _OPEN:
        await _OPEN.pop().close()


def openai_of(url: str) -> Any:
    """OpenAI's client, which does not try again."""
    _OPEN.append(openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0))
    return _OPEN[-1]


def anthropic_of(url: str) -> Any:
    """Anthropic's client, which does not try again."""
    _OPEN.append(anthropic.AsyncAnthropic(base_url=url, api_key="any", max_retries=0))
    return _OPEN[-1]


async def test_text_whole_and_streamed(model: tuple[str, Seen]) -> None:
    """The same answer by five ways, with usage where the clients look for it."""
    url, _ = model
    client, other = openai_of(url), anthropic_of(url)
    chat = await client.chat.completions.create(**MODEL, messages=ASK)
    assert chat.choices[0].message.content == "It is 42."
    assert (chat.usage.prompt_tokens, chat.usage.prompt_tokens_details.cached_tokens) == (12, 4)
    assert chat.fugu["worker"] == "w"
    response = await client.responses.create(**MODEL, input="What is 40 + 2?")
    assert response.output_text == "It is 42."
    assert (response.usage.total_tokens, response.status) == (15, "completed")
    message = await other.messages.create(**MODEL, max_tokens=99, messages=ASK)
    assert message.content[0].text == "It is 42."
    assert (message.usage.input_tokens, message.usage.cache_read_input_tokens) == (8, 4)
    text = ""
    options = {"include_usage": True}
    async for chunk in await client.chat.completions.create(**MODEL, messages=ASK, stream=True, stream_options=options):  # fmt: skip
        text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
        usage = chunk.usage
    assert (text, usage.total_tokens) == ("It is 42.", 15)
    async with client.responses.stream(**MODEL, input="What is 40 + 2?") as stream:
        kinds = [event.type async for event in stream]
        assert (await stream.get_final_response()).output_text == "It is 42."
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    async with other.messages.stream(**MODEL, max_tokens=99, messages=ASK) as stream:
        assert "".join([piece async for piece in stream.text_stream]) == "It is 42."
        assert (await stream.get_final_message()).usage.output_tokens == 3


async def test_a_round_of_parallel_tool_calls(model: tuple[str, Seen]) -> None:
    """Two calls go out, two results come back, each in its dialect; the worker sees one history."""
    url, seen = model
    client, other = openai_of(url), anthropic_of(url)
    calls = tuple(ToolCall(id=f"c{n}", name="add", arguments=json.dumps({"a": n, "b": 2})) for n in (1, 2))  # fmt: skip

    def scripted() -> None:
        seen.replies[:] = [Reply(text="Adding.", tool_calls=calls, finish_reason="tool_calls")]

    scripted()
    tools: list[Any] = [{"type": "function", "function": {"name": "add", "parameters": ADD}}]
    first = await client.chat.completions.create(**MODEL, messages=ASK, tools=tools)
    assert [call.function.name for call in first.choices[0].message.tool_calls] == ["add", "add"]
    assert first.choices[0].finish_reason == "tool_calls"
    history = [*ASK, first.choices[0].message.model_dump(exclude_none=True)]
    history += [{"role": "tool", "tool_call_id": call.id, "content": call.id} for call in calls]
    last = await client.chat.completions.create(**MODEL, messages=history, tools=tools)
    assert last.choices[0].message.content == "It is 42."
    expected = [(m["role"], m.get("tool_call_id")) for m in seen.requests[-1].messages]

    scripted()
    asked = {**MODEL, "max_tokens": 99, "tools": [{"name": "add", "input_schema": ADD}]}
    async with other.messages.stream(**asked, messages=ASK) as stream:
        said = await stream.get_final_message()
    assert said.stop_reason == "tool_use"
    assert [block.input for block in said.content if block.type == "tool_use"] == [{"a": 1, "b": 2}, {"a": 2, "b": 2}]  # fmt: skip
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": call.id} for call in calls]  # fmt: skip
    history = [*ASK, {"role": "assistant", "content": said.content}, {"role": "user", "content": results}]  # fmt: skip
    await other.messages.create(**asked, messages=history)
    assert [(m["role"], m.get("tool_call_id")) for m in seen.requests[-1].messages] == expected

    scripted()
    tools = [{"type": "function", "name": "add", "parameters": ADD, "strict": False}]
    async with client.responses.stream(**MODEL, input=ASK, tools=tools) as stream:
        answer = await stream.get_final_response()
    made = [item for item in answer.output if item.type == "function_call"]
    assert [json.loads(item.arguments)["a"] for item in made] == [1, 2]
    items = [*ASK, *(item.model_dump(exclude_none=True) for item in answer.output)]
    items += [{"type": "function_call_output", "call_id": call.id, "output": call.id} for call in calls]  # fmt: skip
    await client.responses.create(**MODEL, input=items, tools=tools)
    assert [(m["role"], m.get("tool_call_id")) for m in seen.requests[-1].messages] == expected


async def test_freeform_tools_and_namespaces(model: tuple[str, Seen]) -> None:
    """What only the Responses dialect has reaches the worker as functions, and comes back as what it is."""
    url, seen = model
    client = openai_of(url)
    tools: list[Any] = [
        {"type": "custom", "name": "apply_patch", "description": "Patches.", "format": {"type": "grammar", "syntax": "lark", "definition": "start: WORD"}},
        {"type": "namespace", "name": "mcp__files", "description": "", "tools": [{"type": "function", "name": "read", "parameters": ADD}]},
        {"type": "web_search"},
    ]  # fmt: skip
    patch, read = ToolCall(id="c1", name="apply_patch", arguments='{"input": "*** Begin"}'), ToolCall(id="c2", name="mcp__files__read", arguments='{"a": 1}')  # fmt: skip
    seen.replies[:] = [Reply(tool_calls=(patch, read), finish_reason="tool_calls")]
    stream = await client.responses.create(**MODEL, input="patch it", tools=tools, stream=True)
    events = [event async for event in stream]
    freeform, function = events[-1].response.output
    assert (freeform.type, freeform.name, freeform.input) == ("custom_tool_call", "apply_patch", "*** Begin")  # fmt: skip
    assert (function.name, function.namespace) == ("read", "mcp__files")
    assert "response.custom_tool_call_input.delta" in [event.type for event in events]
    offered = [tool["function"] for tool in seen.requests[-1].tools]
    assert [tool["name"] for tool in offered] == ["apply_patch", "mcp__files__read"]
    assert "start: WORD" in offered[0]["description"]
    items: list[Any] = [
        {"role": "user", "content": "patch it"},
        freeform.model_dump(exclude_none=True),
        function.model_dump(exclude_none=True),
        {"type": "custom_tool_call_output", "call_id": "c1", "output": "done"},
        {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "file"}]},
    ]  # fmt: skip
    await client.responses.create(**MODEL, input=items, tools=tools)
    sent = seen.requests[-1].messages
    assert [call["function"]["name"] for call in sent[1]["tool_calls"]] == ["apply_patch", "mcp__files__read"]  # fmt: skip
    assert json.loads(sent[1]["tool_calls"][0]["function"]["arguments"]) == {"input": "*** Begin"}
    assert [m["content"] for m in sent[2:]] == ["done", "file"]
    chat: list[Any] = [{"type": "custom", "custom": {"name": "apply_patch"}}]
    seen.replies[:] = [Reply(tool_calls=(patch,), finish_reason="tool_calls")]
    said = await client.chat.completions.create(**MODEL, messages=ASK, tools=chat)
    assert said.choices[0].message.tool_calls[0].custom.input == "*** Begin"


async def test_structured_answers_and_images(model: tuple[str, Seen]) -> None:
    """A schema and an image, as each client says them, arrive as one."""
    url, seen = model
    client, other = openai_of(url), anthropic_of(url)
    seen.replies[:] = [Reply(text='{"total": 42}') for _ in range(3)]
    data = f"data:image/png;base64,{PNG}"
    content = [{"type": "text", "text": "add"}, {"type": "image_url", "image_url": {"url": data}}]
    parsed = await client.chat.completions.parse(**MODEL, messages=[{"role": "user", "content": content}], response_format=Total)  # fmt: skip
    assert parsed.choices[0].message.parsed == Total(total=42)
    items = [{"role": "user", "content": [{"type": "input_text", "text": "add"}, {"type": "input_image", "image_url": data}]}]  # fmt: skip
    answer = await client.responses.parse(**MODEL, input=items, text_format=Total)
    assert answer.output_parsed == Total(total=42)
    blocks = [{"type": "text", "text": "add"}, {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}]  # fmt: skip
    schema = {"format": {"type": "json_schema", "schema": Total.model_json_schema()}}
    await other.messages.create(**MODEL, max_tokens=99, messages=[{"role": "user", "content": blocks}], extra_body={"output_config": schema})  # fmt: skip
    forms = [request.response_format["json_schema"]["schema"]["required"] for request in seen.requests]  # fmt: skip
    assert forms == [["total"]] * 3
    images = [request.messages[-1]["content"][-1] for request in seen.requests]
    assert images == [{"type": "image_url", "image_url": {"url": data}}] * 3


async def test_settings_in_each_dialect(model: tuple[str, Seen]) -> None:
    """Bounds, stop strings, sampling, system messages and effort."""
    url, seen = model
    client, other = openai_of(url), anthropic_of(url)
    system = {"role": "system", "content": "brief"}
    await client.chat.completions.create(**MODEL, messages=[system, *ASK], max_completion_tokens=77, stop="END", temperature=0.5, top_p=0.9, reasoning_effort="high")  # fmt: skip
    await client.responses.create(**MODEL, input="What is 40 + 2?", instructions="brief", max_output_tokens=77, temperature=0.5, top_p=0.9, reasoning={"effort": "high"})  # fmt: skip
    await other.messages.create(**MODEL, messages=ASK, system=[{"type": "text", "text": "brief"}], max_tokens=77, stop_sequences=["END"], extra_body={"output_config": {"effort": "high"}, "temperature": 0.5, "top_p": 0.9})  # fmt: skip
    for request in seen.requests:
        assert request.messages[0] == system
        assert (request.max_output_tokens, request.temperature, request.top_p) == (77, 0.5, 0.9)
        assert request.effort == "high"
    assert [request.stop for request in seen.requests] == [("END",), (), ("END",)]


@pytest.mark.parametrize(
    ("act", "openai_error", "anthropic_error"),
    [
        (error_reply(429, retry_after="7"), "RateLimitError", "RateLimitError"),
        (error_reply(400), "BadRequestError", "BadRequestError"),
        (error_reply(401), "InternalServerError", "InternalServerError"),
        (error_reply(503), "InternalServerError", "InternalServerError"),
    ],
)
async def test_errors_are_those_that_the_clients_know(
    serve: Callable[..., Any], act: Any, openai_error: str, anthropic_error: str
) -> None:
    """By class, with a text that says what to do; the operator's key is the operator's business."""
    served = await serve({"w": [act]})
    client, other = openai_of(served.url), anthropic_of(served.url)
    for stream in (False, True):
        with pytest.raises(getattr(openai, openai_error)) as caught:
            await client.chat.completions.create(**MODEL, messages=ASK, stream=stream)
        with pytest.raises(getattr(openai, openai_error)):
            await client.responses.create(**MODEL, input="hi", stream=stream)
        with pytest.raises(getattr(anthropic, anthropic_error)):
            await other.messages.create(**MODEL, max_tokens=9, messages=ASK, stream=stream)
    if openai_error == "RateLimitError":
        assert 1 <= int(caught.value.response.headers["retry-after"]) <= 7


async def test_a_model_that_is_not_there(serve: Callable[..., Any]) -> None:
    """404, with the names that there are."""
    served = await serve({"w": [chat_reply("hi")]})
    with pytest.raises(openai.NotFoundError, match="fugu-ultra") as caught:
        await openai_of(served.url).chat.completions.create(model="gpt-9", messages=ASK)
    assert caught.value.code == "model_not_found"
    with pytest.raises(anthropic.NotFoundError):
        await anthropic_of(served.url).messages.create(model="claude-9", max_tokens=9, messages=ASK)
    models = [model.id async for model in openai_of(served.url).models.list()]
    assert models == ["fugu", "fugu-trinity", "fugu-ultra", "fugu-auto"]
    assert [model.id async for model in anthropic_of(served.url).models.list()] == models
    count = await anthropic_of(served.url).messages.count_tokens(model="fugu", messages=ASK)
    assert 5 < count.input_tokens < 50


async def test_the_other_models_stream_and_tell_what_they_do(serve: Callable[..., Any]) -> None:
    """Turns and workflows go out as comments while they happen, and their tokens apart from the answer's."""
    acts = [chat_stream("#### 42", usage=(20, 5)), chat_reply("#### 42", usage=(20, 5))]
    served = await serve({"w": acts[1:], "v": acts[1:]})
    body = {"model": "fugu-trinity", "messages": ASK, "stream": True, "stream_options": {"include_usage": True}, "fugu": {"effort": "xhigh"}}  # fmt: skip
    reply = await served.post("/v1/chat/completions", body)
    assert ": step 1, " in reply.text
    last = [json.loads(line[5:]) for line in reply.text.splitlines() if line.startswith("data: {")][-1]  # fmt: skip
    calls = len(last["fugu"]["calls"])
    others = last["usage"]["prompt_tokens_details"]["orchestration_input_tokens"]
    assert last["usage"]["prompt_tokens"] == 20
    assert others == 20 * (calls - 1)


async def test_langchains_client(serve: Callable[..., Any]) -> None:
    """ChatOpenAI, with a tool, through both of OpenAI's APIs; ChatAnthropic has its own set."""
    langchain = pytest.importorskip("langchain_openai")
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1, "b": 2}'}}  # fmt: skip
    served = await serve({"w": [chat_reply(None, tool_calls=[call])], "v": [anthropic_reply("x")]})
    async with httpx.AsyncClient(trust_env=False) as http:
        for responses in (False, True):
            chat = langchain.ChatOpenAI(
                model="fugu", base_url=f"{served.url}/v1", api_key="any", use_responses_api=responses, http_async_client=http
            )  # fmt: skip
            tool = {"type": "function", "function": {"name": "add", "description": "adds", "parameters": ADD}}  # fmt: skip
            bound = chat.bind_tools([tool])
            said = await bound.ainvoke("What is 1 + 2?", extra_body={"fugu": {"exclude": ["v"]}})
            assert said.tool_calls[0]["args"] == {"a": 1, "b": 2}
            assert said.usage_metadata["total_tokens"] == 10
