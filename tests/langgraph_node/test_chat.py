"""``ChatFugu``: a pool, or an endpoint, as one LangChain chat model."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypedDict

import pytest

pytest.importorskip("langchain_core")

from anyio.from_thread import start_blocking_portal
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessageChunk, HumanMessage
from langchain_core.tools import tool
from pydantic import BaseModel, SecretStr, ValidationError
from understanding import WORKER, serving

from fugu_adapters import (
    ConfigError,
    Fugu,
    InputError,
    LimitExceeded,
    Limits,
    Pool,
    Reply,
    ToolCall,
    Usage,
    WorkerError,
    WorkerRefused,
)
from fugu_adapters.testing import (
    Act,
    FaultServer,
    ScriptedWorker,
    chat_reply,
    chat_stream,
    error_reply,
)
from langgraph_node import ChatFugu

KEY = "sk-canary-0123456789"


@tool
def weather(city: str, days: int = 1) -> str:
    """The weather in a city."""
    return "sunny"


class City(BaseModel):
    """A city."""

    name: str
    people: int


class CityDict(TypedDict):
    """A city."""

    name: str
    people: int


def over(*workers: ScriptedWorker, **fields: Any) -> ChatFugu:
    """A model over scripted workers that records nothing."""
    return ChatFugu(pool=Pool([worker.worker for worker in workers]), store=False, **fields)


@pytest.fixture
def model() -> Iterator[ChatFugu]:
    """A model over the worker that does what it is asked."""
    made = ChatFugu(pool=Pool([WORKER]), store=False)
    yield made
    made.close()


# --- asking -----------------------------------------------------------------------------------


async def test_an_answer_tells_its_route() -> None:
    """Who, why, among whom, for how much, and under which run."""
    cheap = ScriptedWorker("cheap", price={"input": 1, "output": 1})
    dear = ScriptedWorker("dear", price={"input": 90, "output": 90})
    answer = await over(cheap, dear, effort="low").ainvoke("What is 2 + 2?")
    about = answer.response_metadata
    asked = {"cheap": cheap, "dear": dear}[about["worker"]]
    assert len(asked.requests) == 1
    assert answer.text == f"{about['worker']} answers"
    assert {c["worker"] for c in about["route"]["candidates"]} == {"cheap", "dear"}
    assert about["route"]["reason"]
    assert about["cost_usd"] > 0
    assert about["model_name"] == "fugu"
    assert answer.usage_metadata is not None


async def test_turns_of_several_workers_are_one_message() -> None:
    """``fugu-trinity`` asks a second worker, and its route says why nobody else was asked."""
    pair = [ScriptedWorker(name, "It is 17.") for name in ("one", "two")]
    answer = await over(*pair, model="fugu-trinity", effort="xhigh").ainvoke("How many are left?")
    assert answer.text == "It is 17."
    assert [len(worker.requests) for worker in pair] == [1, 1]
    assert "2 of 2 give the answer of" in answer.response_metadata["route"]["reason"]
    assert answer.usage_metadata is not None


async def test_settings_reach_the_worker_from_fields_and_from_calls() -> None:
    """What is said per call counts for more than what the model was made with."""
    worker = ScriptedWorker("w")
    model = over(
        worker, temperature=0.5, max_tokens=50, top_p=0.9, seed=1, stop=["END"], effort="high"
    )
    await model.ainvoke("x")
    await model.bind(temperature=0.0, max_tokens=7, effort="low").ainvoke("x", stop=["."])
    first, second = worker.requests
    assert (first.temperature, first.max_output_tokens, first.top_p) == (0.5, 50, 0.9)
    assert (first.seed, first.stop, first.effort) == (1, ("END",), "high")
    assert (second.temperature, second.max_output_tokens, second.top_p) == (0.0, 7, 0.9)
    assert (second.stop, second.effort) == ((".",), "low")


async def test_exclusions_limits_and_timeout_hold() -> None:
    """Each is the facade's own, told per call or as a field."""
    a, b = ScriptedWorker("a"), ScriptedWorker("b", delay=30)
    model = over(a, b, exclude={"a"})
    assert (await model.ainvoke("x", exclude={"b"})).response_metadata["worker"] == "a"
    with pytest.raises(LimitExceeded, match=r"deadline of 0\.05 s"):
        await model.ainvoke("x", timeout=0.05)
    with pytest.raises(LimitExceeded, match="calls"):
        await model.ainvoke("x", limits=Limits(calls=0))
    with pytest.raises(InputError, match="names no worker"):
        await model.ainvoke("x", exclude={"nobody"})
    assert not a.requests[1:]


async def test_a_conversation_stays_with_its_worker() -> None:
    """The history that LangChain sends is recognised, without a session."""
    a, b = ScriptedWorker("a"), ScriptedWorker("b")
    model = over(a, b)
    first = await model.ainvoke("Write a poem about the sea.")
    history = [HumanMessage("Write a poem about the sea."), first, HumanMessage("go on")]
    second = await model.ainvoke(history)
    assert second.response_metadata["worker"] == first.response_metadata["worker"]
    assert second.response_metadata["route"]["continuity"] == "follow-up"


async def test_images_pass_through() -> None:
    """The worker gets the image as it was given."""
    worker = ScriptedWorker("w", images=True)
    image = {"type": "image", "base64": "AAAA", "mime_type": "image/png"}
    await over(worker).ainvoke([HumanMessage([{"type": "text", "text": "What is this?"}, image])])
    assert worker.requests[0].messages[0]["content"][1] == {
        "type": "image_url",
        "image_url": {"url": "data:image/png;base64,AAAA"},
    }


@pytest.mark.parametrize("how", ["sync", "async", "stream", "astream"])
async def test_errors_come_as_they_are_and_once(how: str) -> None:
    """Nothing of LangChain's wraps our errors or asks again."""
    worker = ScriptedWorker("w", WorkerRefused("no", status=400, cause_kind="http_400"))
    model = over(worker)

    async def drained() -> list[Any]:
        return [chunk async for chunk in model.astream("x")]

    asking = {
        "sync": lambda: asyncio.to_thread(model.invoke, "x"),
        "async": lambda: model.ainvoke("x"),
        "stream": lambda: asyncio.to_thread(list, model.stream("x")),
        "astream": drained,
    }
    with pytest.raises(WorkerRefused, match="^no$"):
        await asking[how]()
    assert len(worker.requests) == 1
    await model.aclose()


async def test_retries_are_the_engines() -> None:
    """``max_retries`` says how often one worker is asked again; 0 is never."""
    async with FaultServer() as server:
        server.script("s", [error_reply(503)])
        once = ChatFugu(base_url=server.url("s"), max_retries=0, store=False)
        with pytest.raises(WorkerError):
            await once.ainvoke("x")
        assert len(server.requests) == 1
        await once.aclose()


def test_wrong_words_are_refused_before_any_call() -> None:
    """Unknown options and models name the known ones."""
    worker = ScriptedWorker("w")
    model = over(worker)
    with pytest.raises(
        InputError, match="unknown option 'temprature'; known: effort, .*temperature"
    ):
        model.invoke("x", temprature=1)
    with pytest.raises(InputError, match="model: expected one of fugu.*got 'gpt-9'"):
        model.invoke("x", model="gpt-9")
    with pytest.raises(InputError, match="HumanMessage that has no OpenAI shape"):
        model.invoke([HumanMessage([{"type": "video", "url": "https://x/y.mp4"}])])
    with pytest.raises(ValidationError, match="temprature"):
        over(worker, temprature=1)
    assert worker.requests == []
    model.close()


# --- where it asks ----------------------------------------------------------------------------


def test_one_source_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Contradictions are errors when the model is made; what is written counts for more than the environment."""
    pool = Pool([WORKER])
    (tmp_path / "fugu.toml").write_text(
        '[[worker]]\nname = "mine"\nbase_url = "http://127.0.0.1:9/v1"\nmodel = "m"\n'
    )
    with pytest.raises(ConfigError, match="expected one of pool, base_url"):
        ChatFugu(pool=pool, base_url="http://127.0.0.1:9/v1")
    with pytest.raises(ConfigError, match="expected one of fugu, config"):
        ChatFugu(fugu=Fugu(pool, store=False), config=tmp_path / "fugu.toml")
    with pytest.raises(ConfigError, match="api_key is for an endpoint"):
        ChatFugu(pool=pool, api_key=KEY)
    with pytest.raises(ConfigError, match="max_retries and store"):
        ChatFugu(fugu=Fugu(pool, store=False), max_retries=1)
    with pytest.raises(ConfigError, match="quality is for a pool in this process"):
        ChatFugu(base_url="http://127.0.0.1:9/v1", quality=0.9)
    with pytest.raises(ConfigError, match="no such file"):
        ChatFugu(config=tmp_path / "nothing.toml")
    with pytest.raises(ConfigError, match="base_url"):
        ChatFugu(base_url="http://user:pass@host/v1")
    with pytest.raises(ConfigError, match=r"Pool\.embedded|fugu pull|key"):
        ChatFugu()
    assert "mine=m" in ChatFugu(config=tmp_path / "fugu.toml")._identifying_params["workers"]
    monkeypatch.setenv("FUGU_BASE_URL", "http://127.0.0.1:9/v1")
    assert ChatFugu(pool=pool)._identifying_params["base_url"] is None
    assert ChatFugu()._identifying_params["base_url"] == "http://127.0.0.1:9/v1"


async def test_an_endpoint_gets_model_effort_and_key() -> None:
    """Every name passes there, per call too; the key is in the header and nowhere else."""
    async with FaultServer() as server:
        url = server.script("s", [chat_reply("hello", usage=(3, 2))])
        model = ChatFugu(base_url=url, api_key=KEY, model="fugu-ultra", effort="high", store=False)
        answer = await model.ainvoke("x")
        other = await model.ainvoke("x", model="fugu-trinity", effort="low")
        first, second = server.requests
        assert (first.json["model"], first.json["reasoning_effort"]) == ("fugu-ultra", "high")
        assert (second.json["model"], second.json["reasoning_effort"]) == ("fugu-trinity", "low")
        assert first.headers["authorization"] == f"Bearer {KEY}"
        assert answer.response_metadata["model_name"] == "fugu-ultra"
        assert other.response_metadata["model_name"] == "fugu-trinity"
        assert answer.usage_metadata == {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
        with pytest.raises(InputError, match="max_cost is for a pool in this process"):
            await model.ainvoke("x", max_cost=1.0)
        await model.aclose()
    shown = [repr(model), str(model), str(model.asdict()), model._get_llm_string(), str(answer)]
    assert not any(KEY in text for text in [*shown, first.body.decode(), *os.environ.values()])
    assert model.api_key == SecretStr(KEY)


async def test_a_refused_key_is_told_without_it() -> None:
    """A 401 names neither the key nor the endpoint's words."""
    async with FaultServer() as server:
        url = server.script("s", [error_reply(401)])
        model = ChatFugu(base_url=url, api_key=KEY, store=False)
        with pytest.raises(WorkerRefused) as caught:
            await model.ainvoke("x")
        assert caught.value.status == 401
        assert KEY not in str(caught.value)
        await model.aclose()


async def test_calls_share_connections_and_closing_closes_all() -> None:
    """No client for each request; after ``aclose`` nothing is left open in either loop, and it opens again."""
    async with FaultServer() as server:
        model = ChatFugu(base_url=server.script("s", [chat_reply("x")]), store=False)
        for _ in range(3):
            await model.ainvoke("x")
        assert server.connections == 1
        await asyncio.to_thread(lambda: [model.invoke("x") for _ in range(3)])
        assert server.connections == 2  # the synchronous side has a loop of its own
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            await model.aclose()
            gc.collect()
        async with asyncio.timeout(10):
            for connection in list(server._open):
                await connection.lost.wait()
        assert "fugu-adapters" not in {thread.name for thread in threading.enumerate()}
        assert (await model.ainvoke("x")).text == "x"
        await model.aclose()


def test_one_model_serves_loops_and_threads(model: ChatFugu) -> None:
    """Several event loops in turn, and several threads at a time."""
    for _ in range(2):
        assert asyncio.run(model.ainvoke("hi")).text == "You said: hi"
    answers = model.batch([f"{n}" for n in range(20)])
    assert [answer.text for answer in answers] == [f"You said: {n}" for n in range(20)]


async def test_synchronous_calls_work_inside_a_running_loop(model: ChatFugu) -> None:
    """As in a notebook."""
    assert model.invoke("hi").text == "You said: hi"
    assert "".join(chunk.text for chunk in model.stream("hi")) == "You said: hi"


def test_a_fugu_of_ones_own_stays_open() -> None:
    """Closing the model does not close what the caller made."""
    worker = ScriptedWorker("w")
    with Fugu(Pool([worker.worker]), store=False) as fugu:
        model = ChatFugu(fugu=fugu)
        assert model.invoke("x").text == "w answers"
        model.close()
        assert fugu.run("x").text == "w answers"


# --- streaming --------------------------------------------------------------------------------


def _slow() -> Act:
    return chat_stream(*(f"word{n} " for n in range(500)), drip=0.02)


async def test_closing_a_stream_early_stops_the_call() -> None:
    """The endpoint sees the connection go; nothing keeps reading for nobody."""
    async with FaultServer() as server:
        model = ChatFugu(base_url=server.script("s", [_slow()]), store=False)
        async with aclosing(model.astream("x")) as chunks:
            async for chunk in chunks:
                assert chunk.text == "word0 "
                break
        async with asyncio.timeout(10):
            await server.requests[0].gone.wait()
        await model.aclose()


async def test_cancelling_a_stream_stops_the_call() -> None:
    """A cancelled task ends with CancelledError, and the endpoint sees it go."""
    async with FaultServer() as server:
        model = ChatFugu(base_url=server.script("s", [_slow()]), store=False)
        begun = asyncio.Event()

        async def read() -> None:
            async for _ in model.astream("x"):
                begun.set()

        task = asyncio.create_task(read())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(10):
            await server.requests[0].gone.wait()
        await model.aclose()


def test_leaving_a_synchronous_stream_stops_the_call() -> None:
    """``break`` is enough: the generator's end waits until the call has stopped."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(FaultServer()) as server,
    ):
        model = ChatFugu(base_url=server.script("s", [_slow()]), store=False)
        for chunk in model.stream("x"):
            assert chunk.text == "word0 "
            break
        seen = server.requests[0]

        async def gone() -> None:
            async with asyncio.timeout(10):
                await seen.gone.wait()

        portal.call(gone)
        model.close()


def test_streamed_tool_calls_come_in_pieces_over_the_wire() -> None:
    """Pieces carry an index, add up to the call, and the last one carries usage and route."""
    with serving() as server:
        model = ChatFugu(base_url=server.url("s"), store=False)
        chunks = list(model.bind_tools([weather], tool_choice="any").stream("in 'Rome', 3 days"))
        pieces = [piece for chunk in chunks for piece in chunk.tool_call_chunks]
        assert len(pieces) == 2
        assert {piece["index"] for piece in pieces} == {0}
        whole = AIMessageChunk(content="")
        for chunk in chunks:
            whole += chunk
        assert [(c["name"], c["args"]) for c in whole.tool_calls] == [
            ("weather", {"city": "Rome", "days": 3})
        ]
        assert whole.usage_metadata is not None
        assert whole.usage_metadata["total_tokens"] == 12
        assert whole.response_metadata["route"]["worker"] == "endpoint"
        model.close()


class _Tokens(BaseCallbackHandler):
    def __init__(self) -> None:
        self.tokens: list[str] = []

    def on_llm_new_token(self, token: str, **kwargs: Any) -> None:
        self.tokens.append(token)


def test_callbacks_see_tokens(model: ChatFugu) -> None:
    """With ``streaming=True`` a plain ``invoke`` tells them too; without it, it does not."""

    async def answer(messages: Any) -> AsyncIterator[str]:
        for word in ("one ", "two"):
            yield word

    pool = Pool([WORKER.model_copy(update={"call": answer})])
    for streaming in (True, False):
        seen, made = _Tokens(), ChatFugu(pool=pool, store=False, streaming=streaming)
        answer_text = made.invoke("x", config={"callbacks": [seen]}).text
        assert answer_text == "one two"
        assert [token for token in seen.tokens if token] == (["one ", "two"] if streaming else [])
        made.close()


async def test_usage_details_come_with_a_stream() -> None:
    """Cached and reasoning tokens, once, on the last piece."""
    usage = Usage(input_tokens=9, output_tokens=4, cached_input_tokens=6, reasoning_tokens=3)
    model = over(ScriptedWorker("w", Reply(text="hi", usage=usage)))
    chunks = [chunk async for chunk in model.astream("x")]
    told = [chunk.usage_metadata for chunk in chunks if chunk.usage_metadata]
    assert len(told) == 1
    assert told[0]["input_token_details"] == {"cache_read": 6}
    assert told[0]["output_token_details"] == {"reasoning": 3}


# --- tools and formats ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("any", "required"),
        (True, "required"),
        ("required", "required"),
        ("auto", "auto"),
        ("none", "none"),
        ("weather", {"type": "function", "function": {"name": "weather"}}),
        ({"type": "function", "function": {"name": "weather"}},) * 2,
        (None, None),
        (False, None),
    ],
)
async def test_tool_choices_go_out_in_openais_shape(choice: Any, sent: Any) -> None:
    """Each of LangChain's words for a choice, and a tool's name."""
    worker = ScriptedWorker("w", tools=True)
    await over(worker).bind_tools([weather], tool_choice=choice).ainvoke("x")
    assert worker.requests[0].tool_choice == sent
    assert worker.requests[0].tools[0]["function"]["name"] == "weather"


def test_tools_that_nobody_could_call_are_refused() -> None:
    """Unknown choices, providers' own tools, and pools that cannot call any."""
    worker = ScriptedWorker("w", tools=False)
    model = over(worker)
    with pytest.raises(
        InputError, match="expected one of auto, none, any, weather, got 'sunshine'"
    ):
        model.bind_tools([weather], tool_choice="sunshine")
    with pytest.raises(InputError, match="expected function tools, got type 'web_search'"):
        model.bind_tools([{"type": "web_search"}])
    with pytest.raises(InputError, match="w cannot call tools"):
        model.bind_tools([weather]).invoke("x")
    assert model.bind_tools([weather], tool_choice="none").invoke("x").text == "w answers"
    model.close()


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
@pytest.mark.parametrize("schema", [City, CityDict, City.model_json_schema()])
def test_answers_follow_a_schema(model: ChatFugu, method: Any, schema: Any) -> None:
    """An object of a pydantic class, otherwise a dict, whole and streamed."""
    asking = model.with_structured_output(schema, method=method, strict=True)
    expected = {"name": "Rome", "people": 3}
    for answer in (asking.invoke("'Rome' 3"), list(asking.stream("'Rome' 3"))[-1]):
        assert (answer.model_dump() if schema is City else answer) == expected


async def test_formats_on_their_way() -> None:
    """The schema with its name, description and strictness, or any JSON."""
    worker = ScriptedWorker("w", '{"name": "Rome", "people": 3}', json_schema=True)
    model = over(worker)
    await model.with_structured_output(City, strict=True).ainvoke("x")
    form = worker.requests[0].response_format["json_schema"]
    assert (form["name"], form["description"], form["strict"]) == ("City", "A city.", True)
    assert form["schema"]["additionalProperties"] is False
    await model.with_structured_output(City).ainvoke("x")
    assert "strict" not in worker.requests[1].response_format["json_schema"]
    found = await model.with_structured_output(method="json_mode").ainvoke("x")
    assert worker.requests[2].response_format == {"type": "json_object"}
    assert found == {"name": "Rome", "people": 3}


async def test_raw_answers_beside_what_was_read() -> None:
    """A bad answer is kept with its error, and raises only where nobody asked for the raw one."""
    worker = ScriptedWorker("w", "no city", '{"name": "Rome", "people": 3}', json_schema=True)
    model = over(worker)
    bad = await model.with_structured_output(City, include_raw=True).ainvoke("x")
    assert (bad["raw"].text, bad["parsed"]) == ("no city", None)
    assert "no city" in str(bad["parsing_error"])
    good = await model.with_structured_output(City, include_raw=True).ainvoke("x")
    assert (good["parsed"], good["parsing_error"]) == (City(name="Rome", people=3), None)
    called = Reply(tool_calls=(ToolCall(id="a", name="City", arguments='{"name": "Rome"}'),))
    half = over(ScriptedWorker("w", called, tools=True))
    with pytest.raises(ValidationError, match="people"):
        await half.with_structured_output(City, method="function_calling").ainvoke("x")


def test_methods_are_checked(model: ChatFugu) -> None:
    """An unknown one, and a schema that is missing."""
    with pytest.raises(InputError, match="json_schema, function_calling, json_mode, got 'magic'"):
        model.with_structured_output(City, method="magic")
    with pytest.raises(InputError, match="function_calling needs a schema"):
        model.with_structured_output(method="function_calling")


# --- what LangChain asks ----------------------------------------------------------------------


def test_the_profile_is_what_the_pool_can_do() -> None:
    """The largest window, because a long request goes to it; nothing where nothing is known."""
    small = ScriptedWorker("a", context_window=1_000, tools=True, images=False)
    large = ScriptedWorker("b", context_window=9_000, json_schema=True, images=False)
    assert over(small, large).profile == {
        "max_input_tokens": 9_000,
        "tool_calling": True,
        "image_inputs": False,
        # 'structured_output' is not promised: who calls tools is not known to keep to a schema
    }
    assert over(large).profile == {
        "max_input_tokens": 9_000,
        "image_inputs": False,
        "structured_output": True,
    }
    assert over(ScriptedWorker("c")).profile == {}


def test_traces_name_the_model_that_was_asked(model: ChatFugu) -> None:
    """The call's own settings come before the model's."""
    told = model.model_copy(update={"temperature": 0.5, "stop": ["x"]})._get_ls_params(
        model="fugu-auto", max_tokens=3
    )
    assert told == {
        "ls_provider": "fugu",
        "ls_model_name": "fugu-auto",
        "ls_model_type": "chat",
        "ls_temperature": 0.5,
        "ls_max_tokens": 3,
        "ls_stop": ["x"],
    }
    assert (model._llm_type, model.lc_secrets) == ("fugu-chat", {"api_key": "FUGU_API_KEY"})
    assert model.is_lc_serializable() is False


def test_cached_answers_are_not_another_pools() -> None:
    """The key of LangChain's cache tells pools and settings apart, and is the same in every process."""
    a, b = ScriptedWorker("a"), ScriptedWorker("b")
    one, other = over(a), over(b)
    keys = {m._get_llm_string() for m in (one, other, over(a, effort="low"), over(a, b))}
    assert len(keys) == 4
    excluding = over(a, b, ScriptedWorker("c"), exclude={"b", "a"})
    assert "['a', 'b']" in excluding._get_llm_string()


def test_tokens_are_counted_without_a_tokenizer(model: ChatFugu) -> None:
    """So that ``trim_messages`` and summarising middleware work without downloads."""
    short, long = model.get_num_tokens("hi"), model.get_num_tokens("hi " * 300)
    assert 0 < short < 20 < 200 < long
    with_tools = model.get_num_tokens_from_messages([HumanMessage("hi")], tools=[weather])
    assert with_tools > short


def test_copies_share_connections(model: ChatFugu) -> None:
    """LangChain copies models to change settings: that must not open another client."""
    copied = model.model_copy(update={"temperature": 0.1})
    assert copied._orchestrator("fugu", None) is model._orchestrator("fugu", None)


def test_a_missing_extra_is_named() -> None:
    """Without LangChain the import says what to install."""
    probe = "\n".join(
        [
            "import sys",
            "sys.modules['langchain_core'] = None",
            "import langgraph_node",
            "from fugu_adapters import ConfigError",
            "try: langgraph_node.ChatFugu",
            "except ConfigError as error: print(error)",
        ]
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert 'pip install "fugu-adapters[langchain]"' in done.stdout


def test_the_store_keeps_runs_and_feedback(tmp_path: Path) -> None:
    """The run id in the answer is the store's key."""
    from fugu_adapters.store import Store

    store = Store(f"sqlite:///{tmp_path / 'runs.db'}")
    model = ChatFugu(pool=Pool([WORKER]), store=store, session="s")
    answer = model.invoke("hi")
    model.close()
    with Fugu(Pool([WORKER]), store=store) as fugu:
        fugu.feedback(answer.response_metadata["run_id"], 1.0)
    assert json.dumps(answer.response_metadata)
