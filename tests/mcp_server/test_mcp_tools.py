"""The tools, resources and prompts, through the SDK's own client in memory."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from fugu_adapters import WorkerRefused
from fugu_adapters.testing import ScriptedWorker

BAD = [
    ({"task": 3}, "task: input should be a valid string, got 3"),
    ({"task": "x" * 5_000_000}, "task: string should have at most 1000000 characters"),
    ({"task": ""}, "task: string should have at least 1 character"),
    ({"task": "x", "budget_usd": -1}, "budget_usd: input should be greater than or equal to 0"),
    ({"task": "x", "budget_usd": "much"}, "budget_usd: input should be a valid number"),
    ({"task": "x", "deadline_s": 0}, "deadline_s: input should be greater than 0"),
    ({"task": "x", "effort": "most"}, "effort: input should be 'low', 'medium', 'high' or 'xhigh'"),
    ({"task": "x", "model": "gpt-9"}, "model: expected one of fugu"),
    ({"task": "x", "tasks": 1}, "tasks: unknown argument; known: task, context"),
    ({}, "task: missing; it is required"),
]


async def test_an_answer_comes_with_who_gave_it_why_and_at_what_cost(serving: Any) -> None:
    """``orchestrate`` gives text, worker, reason, route, price and run id, as JSON and as text."""
    worker = ScriptedWorker("oracle", "forty-two", price={"input": 1, "output": 1})
    async with serving(worker) as client:
        got = await client.call("orchestrate", task="What is it?", context="Facts first.")
    assert not got.failed
    assert got.body["status"] == "done"
    assert got.body["text"] == "forty-two"
    assert got.body["worker"] == "oracle"
    assert got.body["cost_usd"] > 0
    assert "oracle" in got.body["reason"]
    assert got.body["route"][0].startswith("oracle: answered in ")
    assert len(got.body["run_id"]) == 32
    assert json.loads(got.text) == got.body
    assert worker.requests[0].messages[-1]["content"] == "Facts first.\n\nWhat is it?"
    assert worker.requests[0].about == "What is it?"


async def test_turns_of_several_workers_are_one_answer(serving: Any) -> None:
    """``fugu-trinity`` asks a second worker, and the reason says why nobody else was asked."""
    pair = [ScriptedWorker(name, "It is 17.") for name in ("one", "two")]
    async with serving(*pair) as client:
        got = await client.call(
            "orchestrate", task="How many apples are left?", model="fugu-trinity", effort="xhigh"
        )
    assert got.body["text"] == "It is 17."
    assert [len(worker.requests) for worker in pair] == [1, 1]
    assert "2 of 2 give the answer of" in got.body["reason"]


async def test_progress_says_who_is_asked_and_grows(serving: Any) -> None:
    """A client that listens hears what is being done, with values that only grow."""
    async with serving(ScriptedWorker("slow", delay=0.3)) as client:
        got = await client.call("orchestrate", task="Wait.")
    values = [value for value, _ in got.progress]
    assert values == sorted(set(values))
    assert any("slow is answering" in message for _, message in got.progress)
    assert len(values) >= 4


@pytest.mark.parametrize(("arguments", "says"), BAD, ids=lambda value: str(value)[:40])
async def test_bad_arguments_are_named_and_nobody_is_asked(
    serving: Any, arguments: dict[str, Any], says: str
) -> None:
    """Each mistake is a tool error that a model can read and mend, before any call upstream."""
    worker = ScriptedWorker("w")
    async with serving(worker) as client:
        got = await client.call("orchestrate", **arguments)
    assert got.failed
    assert says in got.text
    assert len(got.text) < 400
    assert worker.requests == []


async def test_null_is_an_argument_left_out(serving: Any) -> None:
    """Models that fill every argument say ``null`` where they have nothing to say."""
    async with serving(ScriptedWorker("w", "yes")) as client:
        got = await client.call("orchestrate", task="x", budget_usd=None, context=None)
    assert got.body["text"] == "yes"


async def test_limits_reach_the_engine(serving: Any) -> None:
    """A deadline stops the worker, and the error says which limit it was."""
    worker = ScriptedWorker("slow", delay=60)
    async with serving(worker) as client:
        late = await client.call("orchestrate", task="x", deadline_s=1)
        dear = await client.call("orchestrate", task="x", budget_usd=0.5)
    assert late.failed
    assert "deadline" in late.text or "seconds" in late.text
    assert worker.cancelled == 1
    assert dear.failed  # under a dollar cap a worker of unknown price is not asked
    assert len(worker.requests) == 1


async def test_a_worker_that_fails_is_told_and_another_answers(serving: Any) -> None:
    """The route lists every call, failed ones with their error."""
    bad = ScriptedWorker("bad", WorkerRefused("no thanks"), description="mathematics")
    good = ScriptedWorker("good", "fine", description="poetry")
    async with serving(bad, good) as client:
        got = await client.call("orchestrate", task="Prove that there are infinitely many primes.")
    assert got.body["text"] == "fine"
    assert [line.split(":")[0] for line in got.body["route"]] in (["bad", "good"], ["good"])


async def test_a_run_that_nobody_answers_fails_with_its_id(serving: Any) -> None:
    """The error says what went wrong; the run is found by its id afterwards."""
    async with serving(ScriptedWorker("bad", WorkerRefused("no thanks"))) as client:
        got = await client.call("orchestrate", task="x")
        again = await client.call("result", run_id=got.body["run_id"])
    assert got.failed
    assert "no thanks" in got.text
    assert got.body["status"] == "failed"
    assert again.failed


async def test_route_decides_without_a_call(serving: Any) -> None:
    """``route`` tells the choice and the forecast of every candidate."""
    workers = [ScriptedWorker(name) for name in ("a", "b")]
    async with serving(*workers) as client:
        got = await client.call("route", task="Write a haiku.", effort="low")
        bad = await client.call("route", task="")
    assert got.body["worker"] in ("a", "b")
    assert {each["worker"] for each in got.body["candidates"]} == {"a", "b"}
    assert got.body["policy"].startswith("selector:")
    assert bad.failed
    assert workers[0].requests == workers[1].requests == []


async def test_the_tool_list_is_small_and_honest(serving: Any) -> None:
    """The whole list stays under 1,200 tokens; nothing is changed, and one tool reaches beyond this machine."""
    async with serving(ScriptedWorker("w")) as client:
        tools = {tool["name"]: tool for tool in await client.listed("tools")}
    assert set(tools) == {"orchestrate", "route", "result"}
    assert len(json.dumps(list(tools.values()), separators=(",", ":"))) < 3_600  # 3 a token
    assert {name: tool["annotations"]["openWorldHint"] for name, tool in tools.items()} == {
        "orchestrate": True, "route": False, "result": False,
    }  # fmt: skip
    for tool in tools.values():
        assert tool["annotations"]["readOnlyHint"] is True
        assert tool["outputSchema"]["type"] == "object"
        assert tool["inputSchema"]["additionalProperties"] is False


async def test_the_pool_is_a_resource_without_addresses(serving: Any) -> None:
    """Clients see who may be asked; not where, and no key."""
    async with serving(
        ScriptedWorker("w", description="does it", price={"input": 1, "output": 2})
    ) as c:
        listed, pool = await c.listed("resources"), await c.read("fugu://pool")
    assert [each["uri"] for each in listed] == ["fugu://pool"]
    assert pool["workers"][0]["name"] == "w"
    assert pool["workers"][0]["price"]["output"] == 2
    assert "base_url" not in json.dumps(pool)


async def test_a_run_is_a_resource_with_its_trace(serving: Any) -> None:
    """The trace of a run holds the decision and every call; it is listed for the one who made it."""
    async with serving(ScriptedWorker("w", "yes")) as client:
        made = await client.call("orchestrate", task="x")
        uri = f"fugu://runs/{made.body['run_id']}"
        listed = [each["uri"] for each in await client.listed("resources")]
        trace = await client.read(uri)
        templates = await client.listed("resource_templates")
    assert uri in listed
    assert trace["decision"]["worker"] == "w"
    assert trace["trace"]["attempts"][0]["ok"] is True
    assert templates[0]["uriTemplate"] == "fugu://runs/{run_id}"


@pytest.mark.parametrize(
    "uri", ["fugu://runs/guess", "fugu://runs/", "fugu://nothing", "file:///etc/passwd"]
)
async def test_unknown_resources_are_errors(serving: Any, uri: str) -> None:
    """A guessed run and an unknown address are refused by the protocol."""
    async with serving(ScriptedWorker("w")) as client:
        with pytest.raises(Exception, match="no such run|no resource"):
            await client.read(uri)


async def test_prompts_say_what_to_do_and_check_their_arguments(serving: Any) -> None:
    """Two prompts; a missing argument and an unknown prompt are refused."""
    async with serving(ScriptedWorker("w")) as client:
        names = [prompt["name"] for prompt in await client.listed("prompts")]
        text = await client.prompt("delegate", task="Count to ten.")
        for name, arguments in (("delegate", {}), ("nope", {}), ("delegate", {"tusk": "x"})):
            with pytest.raises(Exception, match="expected"):
                await client.prompt(name, **arguments)
    assert names == ["delegate", "second-opinion"]
    assert text.endswith("Count to ten.")
    assert "orchestrate" in text


async def test_an_unknown_tool_is_an_error_of_the_protocol(serving: Any) -> None:
    """The client's mistake, not the model's."""
    async with serving(ScriptedWorker("w")) as client:
        with pytest.raises(Exception, match="expected one of orchestrate, route, result"):
            await client.call("conduct", task="x")


async def test_a_pool_that_cannot_be_had_is_told(era: str) -> None:
    """A missing configuration is a readable tool error at the call, not a server that will not start."""
    from mcp_clients import connect

    from fugu_adapters import ConfigError
    from mcp_server.handlers import Handlers
    from mcp_server.sdk import make_server

    def nothing() -> Any:
        raise ConfigError("no pool: write a fugu.toml")

    async with connect(make_server(Handlers(nothing)), era) as client:
        got = await client.call("orchestrate", task="x")
        with pytest.raises(Exception, match=r"write a fugu\.toml"):
            await client.read("fugu://pool")
        assert await client.listed("tools")
    assert got.failed
    assert "ConfigError: no pool: write a fugu.toml" in got.text


async def test_a_worker_that_is_not_known_here_is_told_with_the_pool(serving: Any) -> None:
    """A misspelt local model makes the pool unreadable with a reason, not the server fail."""
    from fugu_adapters import Worker

    async with serving(Worker(name="w", api="embedded", model="qwin")) as client:
        with pytest.raises(Exception, match="no local model 'qwin'"):
            await client.read("fugu://pool")
        got = await client.call("orchestrate", task="x")
    assert "no local model 'qwin'" in got.text


async def test_calls_run_side_by_side(serving: Any) -> None:
    """One client may have several tasks under way."""
    worker = ScriptedWorker("w", delay=0.2)
    async with serving(worker) as client:
        await asyncio.gather(*(client.call("orchestrate", task=f"task {n}") for n in range(4)))
    assert worker.peak == 4
