"""``FuguTool``, called by agents and by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("crewai")

from crewai.tools.tool_failure import ToolFailure
from crews import QUIET, agent, counted, crew, pool_of, reply, stored, task

from crewai_tool import FuguLLM, FuguTool
from crewai_tool.tool import Orchestrated
from fugu_adapters import ConfigError, Fugu, Limits, WorkerUnavailable
from fugu_adapters.testing import ScriptedWorker

pytestmark = [pytest.mark.filterwarnings(line) for line in QUIET]

PRICE = {"input": 1.0, "output": 1.0}


def test_an_agent_reads_answer_route_and_cost(tmp_path: Path) -> None:
    """As JSON; the run is in the store, apart from the crew's own tokens."""
    store, sums = stored(tmp_path)
    expert = ScriptedWorker("expert", reply("42", tokens=(20, 2)), price=PRICE)
    fugu = Fugu(pool_of(expert), store=store)
    tool = FuguTool(fugu=fugu)
    arguments = json.dumps({"task": "Compute 6 * 7.", "context": "In base ten."})
    caller = ScriptedWorker("w", reply("", ("orchestrate", arguments)), reply("42"), tools=True)
    llm = FuguLLM(pool=pool_of(caller), store=False)
    output = crew(task(agent(llm, tools=[tool]))).kickoff()
    assert output.raw == "42"
    assert counted(output) == (14, 6)
    assert sums() == (20, 2)
    offered = caller.requests[0].tools[0]["function"]["parameters"]["properties"]
    assert set(offered) == {"task", "context"}
    assert expert.requests[0].messages[0]["content"] == "In base ten.\n\nCompute 6 * 7."
    told = json.loads(caller.requests[1].messages[-1]["content"].strip())
    last = store.last()
    assert last is not None
    assert told["run_id"] == last.run_id
    assert (told["answer"], told["worker"]) == ("42", "expert")
    assert told["cost_usd"] == pytest.approx(22e-6)
    assert "expert" in told["reason"]
    llm.close()
    fugu.close()


async def test_it_runs_under_a_loop_and_on_it() -> None:
    """``run`` and ``arun`` inside a coroutine; without context the task is all that is asked."""
    worker = ScriptedWorker("w", reply("duck"))
    tool = FuguTool(pool=pool_of(worker), effort="low", limits=Limits(calls=1))
    for given in (tool.run(task="Name a bird."), await tool.arun(task="Name a bird.")):
        assert isinstance(given, Orchestrated)
        assert (given.answer, given.cost_usd, given.input_tokens) == ("duck", None, 7)
    assert [r.messages[0]["content"] for r in worker.requests] == ["Name a bird."] * 2
    tool.close()


async def test_a_failure_is_told_once_and_not_tried_again() -> None:
    """By hand, awaited, and by an agent, which goes on without it."""
    dead = ScriptedWorker("dead", WorkerUnavailable("gone"))
    tool = FuguTool(pool=pool_of(dead), limits=Limits(calls=1))
    for given in (tool.run(task="x"), await tool.arun(task="x")):
        assert isinstance(given, ToolFailure)
        assert given.message.startswith("LimitExceeded: ")
    dead.requests.clear()
    caller = ScriptedWorker(
        "w", reply("", ("orchestrate", '{"task": "x"}')), reply("no answer"), tools=True
    )
    llm = FuguLLM(pool=pool_of(caller), store=False)
    output = await crew(task(agent(llm, tools=[tool]))).kickoff_async()
    assert output.raw == "no answer"
    assert len(dead.requests) == 1
    assert "LimitExceeded" in caller.requests[1].messages[-1]["content"]
    await llm.aclose()
    tool.close()


def test_sources_are_checked_when_the_tool_is_made(tmp_path: Path) -> None:
    """One source at most, and one that can be read."""
    pool = pool_of(ScriptedWorker("w"))
    with pytest.raises(ConfigError, match="one of pool, config"):
        FuguTool(pool=pool, config="x.toml")
    with pytest.raises(ConfigError, match=r"missing\.toml"):
        FuguTool(config=tmp_path / "missing.toml")
    FuguTool(fugu=Fugu(pool, store=False)).close()
