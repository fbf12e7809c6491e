"""``FuguLLM`` under real agents, tasks and crews."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("crewai")

from crewai import Crew, Process
from crewai.hooks import HookAborted
from crews import QUIET, agent, counted, crew, pool_of, reply, stored, task
from look_up import LookUp
from pydantic import BaseModel

from crewai_tool import FuguLLM
from fugu_adapters import (
    ConfigError,
    Fugu,
    FuguError,
    Reply,
    WorkerRateLimited,
    WorkerRefused,
    WorkerUnavailable,
)
from fugu_adapters.engine.retry import RetryPolicy
from fugu_adapters.messages import routing_text
from fugu_adapters.testing import FaultServer, ScriptedWorker, chat_reply, chat_stream, error_reply

pytestmark = [pytest.mark.filterwarnings(line) for line in QUIET]

FAST = RetryPolicy(first=0.001, cap=0.002)


class Word(BaseModel):
    word: str


# --- counting -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kickoff", ["kickoff", "kickoff_async", "akickoff"])
async def test_the_crews_tokens_are_those_in_the_store(tmp_path: Path, kickoff: str) -> None:
    """With one LLM for two agents that work and one that does not; and again after a second kickoff."""
    store, sums = stored(tmp_path)
    worker = ScriptedWorker("w", reply("one", tokens=(7, 3)), reply("two", tokens=(11, 5)))
    llm = FuguLLM("fugu", pool=pool_of(worker), store=store)
    first, second, idle = agent(llm), agent(llm, "Editor"), agent(llm, "Idle")
    both = crew(task(first), task(second), agents=[first, second, idle])
    for expected in ((18, 8), (40, 18)):
        if kickoff == "kickoff":
            output = await asyncio.to_thread(both.kickoff)
        else:
            output = await getattr(both, kickoff)()
        assert counted(output) == sums() == expected
    assert len(worker.requests) == output.token_usage.successful_requests == 4
    await llm.aclose()


def test_a_managers_tokens_are_counted_once(tmp_path: Path) -> None:
    """One LLM for the manager and for coworkers, one of whom is never asked."""
    store, sums = stored(tmp_path)
    told = {"task": "Say it.", "context": "None.", "coworker": "Clerk"}
    worker = ScriptedWorker(
        "w",
        reply("", ("delegate_work_to_coworker", json.dumps(told))),
        reply("from the clerk", tokens=(100, 10)),
        reply("done"),
        tools=True,
    )
    llm = FuguLLM(pool=pool_of(worker), store=store)
    output = Crew(
        agents=[agent(llm), agent(llm, "Idle")],
        tasks=[task()],
        process=Process.hierarchical,
        manager_llm=llm,
    ).kickoff()
    assert output.raw == "done"
    assert counted(output) == sums() == (114, 16)
    assert "from the clerk" in worker.requests[2].messages[-1]["content"]
    llm.close()


def test_copies_of_a_crew_count_for_themselves(tmp_path: Path) -> None:
    """``kickoff_for_each`` copies agents and their LLM."""
    store, sums = stored(tmp_path)
    llm = FuguLLM(pool=pool_of(ScriptedWorker("w", reply("hi"))), store=store)
    outputs = crew(task(agent(llm), "Greet {name}.")).kickoff_for_each(
        [{"name": "Ann"}, {"name": "Bo"}]
    )
    assert [counted(output) for output in outputs] == [(7, 3), (7, 3)]
    assert sums() == (14, 6)
    llm.close()


# --- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "calls", "kind"),
    [(503, 3, WorkerUnavailable), (429, 3, WorkerRateLimited), (401, 1, WorkerRefused)],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_failing_worker_costs_what_our_policy_says(
    status: int, calls: int, kind: type[FuguError], stream: bool
) -> None:
    """Neither the agent's retries nor CrewAI's for rate limits add a request; the error is ours."""
    async with FaultServer() as server:
        server.script("bad", [error_reply(status)])
        pool = pool_of_endpoint(server.url("bad"))
        fugu = Fugu(pool, store=False, retry=FAST)
        failing = crew(task(agent(FuguLLM(fugu=fugu, stream=stream))))
        with pytest.raises(kind) as caught:
            await asyncio.to_thread(failing.kickoff)
        assert isinstance(caught.value, HookAborted)
        assert caught.value.reason == str(caught.value)
        assert len(server.seen("bad")) == calls
        await fugu.aclose()
        await asyncio.to_thread(fugu.close)


def pool_of_endpoint(url: str) -> Any:
    from fugu_adapters import Pool, Worker

    return Pool([Worker(name="w", model="m", base_url=url, tools=True)])


async def test_acall_is_not_retried_either() -> None:
    """One call of ours for one of CrewAI's, though the message speaks of a rate limit."""
    worker = ScriptedWorker("w", WorkerRateLimited("rate limit, too many requests"))
    llm = FuguLLM(pool=pool_of(worker), store=False, max_retries=0)
    with pytest.raises(WorkerRateLimited):
        await llm.acall("hi")
    assert len(worker.requests) == 1
    await llm.aclose()


def test_converting_to_a_model_does_not_ask_a_dead_worker_again() -> None:
    """CrewAI's converter tries three times after any error but this kind."""
    worker = ScriptedWorker("w", reply("no JSON"), WorkerUnavailable("gone"), json_schema=True)
    llm = FuguLLM(pool=pool_of(worker), store=False, max_retries=0, native=False)
    with pytest.raises(WorkerUnavailable):
        crew(task(agent(llm), output_pydantic=Word)).kickoff()
    assert len(worker.requests) == 2
    llm.close()


# --- tools --------------------------------------------------------------------------------------


def test_native_tools_are_called_and_their_results_come_back() -> None:
    """Function schemas go out, the result goes back under the call's id."""
    worker = ScriptedWorker(
        "w", reply("", ("look_up", '{"what": "pond"}')), reply("It is a duck."), tools=True
    )
    llm, tool = FuguLLM(pool=pool_of(worker), store=False), LookUp()
    output = crew(task(agent(llm, tools=[tool]))).kickoff()
    assert output.raw == "It is a duck."
    assert tool.asked == ["pond"]
    first, second = worker.requests
    assert first.tools[0]["function"]["name"] == "look_up"
    assert second.messages[-1]["tool_call_id"] == "call_0"
    assert "a duck" in second.messages[-1]["content"]
    llm.close()


def test_what_a_worker_invents_after_its_stop_word_is_cut() -> None:
    """In the text form the tool is really asked, and an answer made up in its place is dropped."""
    invented = (
        'Thought: look\nAction: look_up\nAction Input: {"what": "pond"}\n'
        "Observation: FAKE\nThought: I know\nFinal Answer: a fake"
    )
    worker = ScriptedWorker(
        "w", reply(invented), reply("Thought: I know\nFinal Answer: a duck"), tools=False
    )
    llm, tool = FuguLLM(pool=pool_of(worker), store=False), LookUp()
    assert not llm.supports_function_calling()
    assert crew(task(agent(llm, tools=[tool]))).kickoff().raw == "a duck"
    assert tool.asked == ["pond"]
    assert worker.requests[0].tools == ()
    assert "\nObservation:" in worker.requests[0].stop
    assert not any("FAKE" in str(message) for message in worker.requests[1].messages)
    llm.close()


def test_a_long_result_reaches_the_worker_whole() -> None:
    """CrewAI puts results aside that are over a quarter of the window; ours is the pool's."""
    long = "duck " * 2_000
    worker = ScriptedWorker(
        "w",
        reply("", ("look_up", '{"what": "x"}')),
        reply("ok"),
        tools=True,
        context_window=100_000,
    )
    llm = FuguLLM(pool=pool_of(worker), store=False)
    assert llm.get_context_window_size() == 85_000
    crew(task(agent(llm, tools=[LookUp(found=long)]))).kickoff()
    assert long.strip() in worker.requests[1].messages[-1]["content"]
    llm.close()


def test_a_window_may_be_given_and_is_assumed_where_unknown() -> None:
    """Settings first, then the pool's largest, then 128,000."""
    small, large = (
        ScriptedWorker("a", context_window=1_000),
        ScriptedWorker("b", context_window=4_000),
    )
    assert FuguLLM(pool=pool_of(small, large)).get_context_window_size() == 3_400
    unknown = pool_of(ScriptedWorker("w"))
    assert FuguLLM(pool=unknown).get_context_window_size() == 108_800
    assert FuguLLM(pool=unknown, context_window=2_000).get_context_window_size() == 1_700
    llm = FuguLLM(pool=unknown)
    assert llm.get_input_tokens_count("a" * 300) == 108
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    assert llm.get_input_tokens_count("a" * 300, tools, Word) > 108


def test_functions_that_are_passed_along_are_carried_out() -> None:
    """For callers that want the result of the call and not the call."""
    worker = ScriptedWorker("w", reply("", ("double", '{"n": 4}')), tools=True)
    llm = FuguLLM(pool=pool_of(worker), store=False)
    tools = [{"type": "function", "function": {"name": "double", "parameters": {}}}]
    assert llm.call("x", tools=tools, available_functions={"double": lambda n: n * 2}) == "8"
    calls = llm.call("x", tools=tools)
    assert calls[0]["function"] == {"name": "double", "arguments": '{"n": 4}'}
    llm.close()


# --- structure ----------------------------------------------------------------------------------


def test_an_answer_follows_its_model() -> None:
    """A worker that keeps to schemas is held to it; one that does not is only asked."""
    for able in (True, False):
        worker = ScriptedWorker("w", reply('{"word": "duck"}'), json_schema=able)
        llm = FuguLLM(pool=pool_of(worker), store=False)
        assert llm.call("x", response_model=Word) == Word(word="duck")
        form = worker.requests[0].response_format
        assert (form is not None) is able
        if form is not None:
            assert form["json_schema"]["schema"]["required"] == ["word"]
        llm.close()


def test_a_tasks_answer_becomes_its_model() -> None:
    """``output_pydantic`` is filled, through a second call where the first gave prose."""
    worker = ScriptedWorker("w", reply("Duck it is."), reply('{"word": "duck"}'), tools=True)
    llm = FuguLLM(pool=pool_of(worker), store=False)
    worked = task(agent(llm, tools=[LookUp()]), output_pydantic=Word)
    output = crew(worked).kickoff()
    assert output.pydantic == Word(word="duck")
    assert output.token_usage.successful_requests == 2
    llm.close()


def test_an_answer_that_does_not_follow_is_an_error() -> None:
    """It was paid for all the same, and counts."""
    llm = FuguLLM(pool=pool_of(ScriptedWorker("w", reply("prose"))), store=False)
    with pytest.raises(ValueError, match="Word"):
        llm.call("x", response_model=Word)
    assert llm.get_token_usage_summary().total_tokens == 10
    llm.close()


# --- conversations ------------------------------------------------------------------------------


def test_each_agent_and_task_is_a_conversation(tmp_path: Path) -> None:
    """The calls of one tool loop share a session and a worker; another agent has its own."""
    store, _ = stored(tmp_path)
    look = ("look_up", '{"what": "x"}')
    one = ScriptedWorker("one", reply("", look), reply("1"), reply("2"), tools=True)
    two = ScriptedWorker("two", reply("", look), reply("1"), reply("2"), tools=True)
    llm = FuguLLM(pool=pool_of(one, two), store=store)
    first, second = agent(llm, tools=[LookUp()]), agent(llm, "Editor")
    tasks = task(first), task(second, "Write a poem.")
    crew(*tasks).kickoff()
    runs = sorted(store.list(), key=lambda run: run.created_at)
    expected = [(first, tasks[0]), (first, tasks[0]), (second, tasks[1])]
    assert [run.session for run in runs] == [f"crewai:{a.id}:{t.id}" for a, t in expected]
    assert runs[0].worker == runs[1].worker
    assert runs[1].decision is not None
    assert runs[1].decision.continuity == "tool-turn"
    llm.close()


def test_a_task_is_routed_by_its_description_alone(tmp_path: Path) -> None:
    """The sentences that CrewAI puts around it are sent, and do not sway the choice."""
    store, _ = stored(tmp_path)
    worker = ScriptedWorker("w", reply("positive"))
    llm = FuguLLM(pool=pool_of(worker), store=store)
    asked = "Is this review positive or negative? 'I loved it.'"
    crew(task(agent(llm), asked)).kickoff()
    run = store.last()
    assert run is not None
    assert run.request is not None
    assert routing_text(run.request) == asked
    assert "Current Task: " in worker.requests[0].messages[-1]["content"]
    llm.close()


# --- streams and events -------------------------------------------------------------------------


async def test_a_streaming_crew_yields_the_text_as_it_comes() -> None:
    """The pieces of the worker's stream, in order; the result follows and is counted."""
    async with FaultServer() as server:
        server.script("w", [chat_stream("a ", "small ", "duck", usage=(9, 4))])
        llm = FuguLLM(pool=pool_of_endpoint(server.url("w")), store=False)

        def run() -> tuple[list[str], Any]:
            stream = crew(task(agent(llm)), stream=True).kickoff()
            return [chunk.content for chunk in stream], stream.result

        pieces, output = await asyncio.to_thread(run)
        assert "".join(pieces) == output.raw == "a small duck"
        assert len(pieces) == 3
        assert counted(output) == (9, 4)
        await llm.aclose()


async def test_acall_streams_and_answers() -> None:
    """On the caller's own loop, with and without a stream."""
    async with FaultServer() as server:
        server.script("s", [chat_stream("du", "ck")])
        server.script("w", [chat_reply("duck")])
        for name, stream in (("s", True), ("w", False)):
            llm = FuguLLM(pool=pool_of_endpoint(server.url(name)), store=False, stream=stream)
            assert await llm.acall([{"role": "user", "content": "x"}]) == "duck"
            await llm.aclose()


async def test_call_works_under_a_running_loop() -> None:
    """As in a notebook."""
    llm = FuguLLM(pool=pool_of(ScriptedWorker("w", reply("duck"))), store=False)
    assert llm.call("x") == "duck"
    await llm.aclose()


def test_events_tell_how_a_call_went() -> None:
    """Every call begins and ends; the end has tokens, dollars, and the run's id or the error."""
    from crewai.events import crewai_event_bus
    from crewai.events.types.llm_events import (
        LLMCallCompletedEvent,
        LLMCallFailedEvent,
        LLMCallStartedEvent,
    )

    seen: list[Any] = []
    worker = ScriptedWorker(
        "w", reply("duck"), WorkerUnavailable("gone"), price={"input": 1.0, "output": 1.0}
    )
    llm = FuguLLM(pool=pool_of(worker), store=False, max_retries=0)
    with crewai_event_bus.scoped_handlers():
        for kind in (LLMCallStartedEvent, LLMCallCompletedEvent, LLMCallFailedEvent):
            crewai_event_bus.on(kind)(lambda _, event: seen.append(event))
        llm.call("x")
        with pytest.raises(WorkerUnavailable):
            llm.call("x")
        crewai_event_bus.flush()
    kinds = sorted(type(event).__name__ for event in seen)
    assert kinds == sorted(
        [
            "LLMCallStartedEvent",
            "LLMCallCompletedEvent",
            "LLMCallStartedEvent",
            "LLMCallFailedEvent",
        ]
    )
    done = next(event for event in seen if isinstance(event, LLMCallCompletedEvent))
    assert done.usage["total_tokens"] == 10
    assert done.usage["cost_usd"] == pytest.approx(10e-6)
    assert done.response_id
    failed = next(event for event in seen if isinstance(event, LLMCallFailedEvent))
    assert "gone" in failed.error
    llm.close()


# --- settings -----------------------------------------------------------------------------------


async def test_an_endpoint_is_asked_by_name_with_its_key() -> None:
    """Any model's name; the key is in the header and in nothing that is shown or saved."""
    async with FaultServer() as server:
        server.script("w", [chat_reply("duck")])
        llm = FuguLLM(
            "fugu-ultra", base_url=server.url("w"), api_key="sk-secret", store=False, timeout=5
        )
        assert await llm.acall("x") == "duck"
        (seen,) = server.seen("w")
        assert seen.json["model"] == "fugu-ultra"
        assert seen.headers["authorization"] == "Bearer sk-secret"
        assert "sk-secret" not in repr(llm) + llm.model_dump_json() + str(llm.to_config_dict())
        await llm.aclose()


def test_settings_reach_the_worker() -> None:
    """What CrewAI names differently included."""
    worker = ScriptedWorker("w", reply("duck"))
    llm = FuguLLM(
        pool=pool_of(worker),
        store=False,
        temperature=0.5,
        top_p=0.9,
        max_tokens=12,
        seed=3,
        stop="X",
    )
    llm.call("x")
    (request,) = worker.requests
    assert (request.temperature, request.top_p, request.seed) == (0.5, 0.9, 3)
    assert (request.max_output_tokens, request.stop) == (12, ("X",))
    llm.close()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"nonsense": 1}, "unknown setting 'nonsense'"),
        ({"n": 2}, "unknown setting 'n'"),
        ({"model": "fugu-9"}, "got 'fugu-9'"),
        ({"base_url": "http://127.0.0.1:1/v1"}, "one of pool, base_url"),
        ({"config": "x.toml"}, "one of pool, config"),
        ({"api_key": "k"}, "api_key is for an endpoint"),
        ({"pool": None, "base_url": "http://127.0.0.1:1/v1", "quality": 0.5}, "quality is for"),
        ({"pool": None, "config": "missing.toml"}, "missing.toml"),
    ],
)
def test_settings_that_cannot_be_heeded_are_refused(settings: dict[str, Any], message: str) -> None:
    """When the LLM is made, and not in the middle of a crew's work."""
    with pytest.raises(ConfigError, match=message):
        FuguLLM(**{"pool": pool_of(ScriptedWorker("w")), **settings})


def test_a_given_fugu_keeps_its_own_settings() -> None:
    """Its store and retries are not ours to change, nor is it ours to close."""
    fugu = Fugu(pool_of(ScriptedWorker("w", reply("duck"))), store=False)
    with pytest.raises(ConfigError, match="max_retries and store are for the Fugu"):
        FuguLLM(fugu=fugu, max_retries=1)
    llm = FuguLLM(fugu=fugu)
    llm.close()
    assert llm.call("x") == "duck"
    fugu.close()


def test_images_are_promised_where_a_worker_reads_them() -> None:
    """In OpenAI's shape, whatever the worker."""
    assert not FuguLLM(pool=pool_of(ScriptedWorker("w"))).supports_multimodal()
    llm = FuguLLM(pool=pool_of(ScriptedWorker("w", images=True)))
    assert llm.supports_multimodal()
    assert llm._multimodal_formatter_name() == "openai"


def test_calls_whose_arguments_are_no_text_are_sent_as_text() -> None:
    """Histories from elsewhere may hold them as objects; notes of CrewAI's own are left out."""
    from crewai_tool.convert import plain_messages

    call = {"id": "1", "function": {"name": "f", "arguments": {"a": 1}}}
    history = [
        {"role": "user", "content": "x", "cache_breakpoint": True},
        {"role": "assistant", "content": None, "tool_calls": [call]},
    ]
    plain = plain_messages(history)
    assert plain[0] == {"role": "user", "content": "x"}
    assert plain[1]["tool_calls"][0]["function"]["arguments"] == '{"a": 1}'
    assert plain_messages([{"role": "assistant", "content": None}])[0]["content"] == ""
    assert Reply().usage.total_tokens is None
