"""Crews and workers for the tests of this folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fugu_adapters import Pool, Reply, ToolCall, Usage
from fugu_adapters.store import Store
from fugu_adapters.testing import ScriptedWorker

QUIET = [
    "ignore:.*deprecated:DeprecationWarning:crewai",  # its own use of its own deprecated fields
]


def reply(text: str = "", *calls: tuple[str, str], tokens: tuple[int, int] = (7, 3)) -> Reply:
    """A reply with counted tokens and calls of tools, by name and JSON arguments."""
    made = tuple(
        ToolCall(id=f"call_{number}", name=name, arguments=arguments)
        for number, (name, arguments) in enumerate(calls)
    )
    return Reply(
        text=text,
        tool_calls=made,
        usage=Usage(input_tokens=tokens[0], output_tokens=tokens[1]),
        finish_reason="tool_calls" if made else "stop",
    )


def pool_of(*workers: ScriptedWorker) -> Pool:
    return Pool([worker.worker for worker in workers])


def agent(llm: Any, role: str = "Clerk", **settings: Any) -> Any:
    from crewai import Agent

    return Agent(role=role, goal="Be right", backstory="Brief.", llm=llm, **settings)


def task(agent: Any = None, description: str = "Say hello.", **settings: Any) -> Any:
    from crewai import Task

    return Task(description=description, expected_output="A word.", agent=agent, **settings)


def crew(*tasks: Any, **settings: Any) -> Any:
    """A crew of the tasks' agents."""
    from crewai import Crew

    agents = list({id(each.agent): each.agent for each in tasks if each.agent}.values())
    return Crew(**{"agents": agents, "tasks": list(tasks), **settings})


def stored(path: Path) -> tuple[Store, Any]:
    """A store, and a function that sums the tokens of its runs: input, output."""
    store = Store(f"sqlite:///{path / 'runs.db'}")

    def sums() -> tuple[int, int]:
        runs = store.list(1000)
        return (
            sum(run.usage.input_tokens or 0 for run in runs if run.usage),
            sum(run.usage.output_tokens or 0 for run in runs if run.usage),
        )

    return store, sums


def counted(output: Any) -> tuple[int, int]:
    """The crew's own sums: input, output."""
    return output.token_usage.prompt_tokens, output.token_usage.completion_tokens
