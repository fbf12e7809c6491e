"""A workflow as a LangGraph graph that is cut off in its second step and resumed from a SQLite checkpoint.

Runs on small local models, without a key and without a network. What was finished is not asked again.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from contextlib import aclosing
from pathlib import Path
from typing import Any

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from fugu_adapters import Fugu, FuguError, Limits, Pool
from fugu_adapters.workflow import Step, Workflow
from langgraph_node import compile_workflow

QUESTION = "A shop gets 12 trays of 18 eggs each. How many eggs is that?"
THREAD: Any = {"configurable": {"thread_id": "eggs"}}


class PowerCut(Exception):
    """What ends the first run."""


WORKFLOW = Workflow(
    steps=(
        Step(worker="qwen-0.5b-plain", subtask="Say which calculation is needed."),
        Step(worker="qwen-0.5b-python", subtask="Compute the number.", access=(0,)),
        Step(worker="qwen-0.5b-plain", subtask="Repeat the number of step 2.", access=(1,)),
    )
)


async def go_on(graph: Any, request: Any, *, cut_in: int | None = None) -> list[int]:
    """Run or resume the graph; returns the steps that were begun, from 1."""
    begun: list[int] = []
    events = graph.astream(request, THREAD, stream_mode="custom", durability="sync")
    async with aclosing(events):
        async for event in events:
            if event["type"] == "fugu.step_started":
                begun.append(event["step"] + 1)
                print(f"  step {begun[-1]}: {event['worker']} is asked")
                if begun[-1] == cut_in:
                    raise PowerCut
    return begun


async def run(checkpoints: Path) -> None:
    """The whole story, in two runs over one file."""
    print(WORKFLOW.draw(), "\n")
    limits = Limits(seconds=90, output_tokens=120)
    async with Fugu(Pool.embedded(), store=False) as fugu:
        async with AsyncSqliteSaver.from_conn_string(str(checkpoints)) as saver:
            graph = compile_workflow(WORKFLOW, fugu, checkpointer=saver, limits=limits)
            print(graph.get_graph().draw_mermaid())
            print("First run:")
            try:
                await go_on(graph, {"messages": [{"role": "user", "content": QUESTION}]}, cut_in=2)
            except PowerCut:
                print("  the power went out\n")
        async with AsyncSqliteSaver.from_conn_string(str(checkpoints)) as saver:
            graph = compile_workflow(WORKFLOW, fugu, checkpointer=saver, limits=limits)
            print("Resumed:")
            asked = await go_on(graph, None)
            state = await graph.aget_state(THREAD)
    print(f"  asked again: {', '.join(map(str, asked))}\n")
    print(state.values["messages"][-1].content)


def main() -> int:
    """Keep the checkpoints in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder) / "checkpoints.db"))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except FuguError as error:
        sys.exit(f"{type(error).__name__}: {error}")
