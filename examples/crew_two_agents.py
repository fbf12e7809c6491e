"""Two agents of a CrewAI crew on one pool: ``FuguLLM`` finds a worker for each of them.

The agents answer with small local models: no key, no network. ``crew_two_agents.py scripted`` has workers
with prepared answers in their place. CrewAI itself sends telemetry unless it is told not to: docs/crewai.md.
"""

from __future__ import annotations

import asyncio
import sys

from crewai import Agent, Crew, Task

from crewai_tool import FuguLLM
from fugu_adapters import Fugu, FuguError, Pool, Reply, Usage
from fugu_adapters.testing import ScriptedWorker

SUM = "Compute 487 * 36 + 219."


def build(fugu: Fugu) -> Crew:
    """A clerk who computes, and a planner who works out when it is due."""
    llm = FuguLLM("fugu", fugu=fugu, timeout=120, max_tokens=160)
    clerk = Agent(role="Clerk", goal="Compute exactly", backstory="Good at sums.", llm=llm)
    planner = Agent(role="Planner", goal="Work out dates", backstory="Good at calendars.", llm=llm)
    compute = Task(description=SUM, expected_output="The number.", agent=clerk)
    due = Task(
        description="Which date is 45 days after March 1, 2026? Answer as YYYY-MM-DD.",
        expected_output="The date.",
        agent=planner,
    )
    return Crew(agents=[clerk, planner], tasks=[compute, due])


def scripted() -> Pool:
    """Workers that need no model: one reply after the other."""
    replies = [
        Reply(text=text, usage=Usage(input_tokens=20, output_tokens=5))
        for text in ("17751", "2026-04-15")
    ]
    return Pool([ScriptedWorker("script", *replies, *replies).worker])


def main(fugu: Fugu) -> None:
    """Run the crew twice: blocking, and from asynchronous code."""
    with fugu:
        for kickoff in ("kickoff", "kickoff_async"):
            crew = build(fugu)
            output = crew.kickoff() if kickoff == "kickoff" else asyncio.run(crew.kickoff_async())
            print(kickoff)
            for task in output.tasks_output:
                print(f"  {task.agent}: {task.raw.strip()}")
            print(f"  {output.token_usage.total_tokens} tokens")


if __name__ == "__main__":
    try:
        main(Fugu(scripted() if "scripted" in sys.argv else Pool.embedded()))
    except FuguError as error:
        sys.exit(f"{type(error).__name__}: {error}")
