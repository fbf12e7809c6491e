"""A worker's own reasoning comes back to it with the results of its calls, though CrewAI's messages cannot hold it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("crewai")

from crews import QUIET, agent, crew, pool_of, reply, task
from look_up import LookUp

from crewai_tool import FuguLLM
from crewai_tool.convert import Thoughts
from fugu_adapters import Decision, Result, ToolCall
from fugu_adapters.testing import ScriptedWorker

pytestmark = [pytest.mark.filterwarnings(line) for line in QUIET]


def reasoning_in(messages: Any) -> list[str]:
    """What assistants' messages bring back."""
    return [each["data"] for message in messages for each in message.get("reasoning_details", ())]


def test_an_agent_gives_reasoning_back() -> None:
    """Two rounds of calls: the third request has the reasoning of both, each with its call."""
    called = [
        replace(reply("", ("look_up", '{"what": "it"}')), sealed=("fugu2.w.first",)),
        replace(reply("", ("look_up", '{"what": "that"}')), sealed=("fugu2.w.second",)),
    ]
    called[1] = replace(called[1], tool_calls=(replace(called[1].tool_calls[0], id="call_9"),))
    worker = ScriptedWorker("w", *called, reply("duck"), tools=True)
    clerk = agent(FuguLLM(pool=pool_of(worker), store=False), tools=[LookUp()])
    assert crew(task(clerk)).kickoff().raw == "duck"
    assert [reasoning_in(request.messages) for request in worker.requests] == [
        [],
        ["fugu2.w.first"],
        ["fugu2.w.first", "fugu2.w.second"],
    ]


def test_what_is_kept_is_bounded() -> None:
    """The oldest is forgotten; an answer without reasoning leaves nothing."""
    thoughts, decision = Thoughts(), Decision(worker="w", candidates=(), reason="", policy="")
    for number in range(2_000):
        call = ToolCall(id=str(number), name="f", arguments="{}")
        sealed = (f"thought {number}",) if number != 1_999 else ()
        thoughts.keep(Result(text="", worker="w", run_id="r", decision=decision, tool_calls=(call,), sealed=sealed))  # fmt: skip
    found = []
    for number in (0, 1_998, 1_999):
        messages: list[dict[str, Any]] = [
            {"role": "assistant", "tool_calls": [{"id": str(number), "function": {"name": "f"}}]}
        ]
        thoughts.give_back(messages)
        found.append(reasoning_in(messages))
    assert found == [[], ["thought 1998"], []]
