"""A hierarchical CrewAI crew: ``FuguLLM`` as the manager's LLM, and as that of those whom it delegates to.

The coworkers answer with small local models: no key, no network. Those are too small to manage, so a worker
of our own does it by rule: it hands the task to the coworker whose role it names. With models that call tools,
leave it out and give the manager the whole pool. ``crew_hierarchical.py scripted`` uses no model at all.
"""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from collections.abc import Sequence
from typing import Any

from crewai import Agent, Crew, Process, Task

from crewai_tool import FuguLLM
from fugu_adapters import Fugu, FuguError, Pool, Reply, Request, ToolCall, Usage, Worker
from fugu_adapters.testing import ScriptedWorker

USAGE = Usage(input_tokens=30, output_tokens=10)


async def manage(messages: Sequence[dict[str, Any]], *, request: Request) -> Reply:
    """Delegate once, then pass on what came back."""
    if messages[-1]["role"] == "tool":
        return Reply(text=messages[-1]["content"], usage=USAGE)
    tool = next(t["function"] for t in request.tools if "delegate" in t["function"]["name"])
    told = {"task": "Compute 487 * 36 + 219.", "context": "For an invoice.", "coworker": "Clerk"}
    call = ToolCall(id=uuid.uuid4().hex, name=tool["name"], arguments=json.dumps(told))
    return Reply(tool_calls=(call,), usage=USAGE, finish_reason="tool_calls")


def build(manager: Fugu, coworkers: Fugu) -> Crew:
    """Two coworkers and the task, which belongs to nobody yet."""
    llm = FuguLLM("fugu", fugu=coworkers, timeout=120, max_tokens=160)
    clerk = Agent(role="Clerk", goal="Compute exactly", backstory="Good at sums.", llm=llm)
    editor = Agent(role="Editor", goal="Write clearly", backstory="Short and friendly.", llm=llm)
    total = Task(description="What is the invoice's total?", expected_output="The number.")
    return Crew(
        agents=[clerk, editor],
        tasks=[total],
        process=Process.hierarchical,
        manager_llm=FuguLLM("fugu", fugu=manager),
    )


def main(pool: Pool) -> None:
    """Run the crew twice: blocking, and from asynchronous code."""
    boss = Worker(name="boss", api="callable", call=manage, tools=True)
    with Fugu(Pool([boss])) as manager, Fugu(pool) as coworkers:
        output = build(manager, coworkers).kickoff()
        print(f"kickoff: {output.raw.strip()} ({output.token_usage.total_tokens} tokens)")
        output = asyncio.run(build(manager, coworkers).kickoff_async())
        print(f"kickoff_async: {output.raw.strip()} ({output.token_usage.total_tokens} tokens)")


def scripted() -> Pool:
    """A coworker with a prepared answer."""
    reply = Reply(text="17751", usage=Usage(input_tokens=20, output_tokens=5))
    return Pool([ScriptedWorker("script", reply).worker])


if __name__ == "__main__":
    try:
        main(scripted() if "scripted" in sys.argv else Pool.embedded())
    except FuguError as error:
        sys.exit(f"{type(error).__name__}: {error}")
