"""A five-step chain over a SQLite checkpoint, in a process of its own: it is killed, and started again.

Arguments: the checkpoint's file, the file that calls are counted in, and the step to hang in (0 for none).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langgraph.checkpoint.sqlite import SqliteSaver

from fugu_adapters import Pool, Worker
from fugu_adapters.types import Message
from fugu_adapters.workflow import Step, Workflow
from langgraph_node.compile import compile_workflow

STEPS = 5


def worker(number: int, calls: Path, hangs: bool) -> Worker:
    """A worker that notes each call on disk before it answers, or does not."""

    async def call(messages: Sequence[Message]) -> str:
        with calls.open("a") as file:
            file.write(f"{number}\n")
        if hangs:
            print("hanging", flush=True)
            await asyncio.Event().wait()
        return f"output {number}"

    return Worker(name=f"w{number}", api="callable", call=call)


def main(state: str, calls: str, hang_in: int) -> None:
    """Run the chain, or go on with it where there is a checkpoint."""
    numbers = range(1, STEPS + 1)
    pool = Pool([worker(number, Path(calls), number == hang_in) for number in numbers])
    steps = tuple(
        Step(worker=f"w{n}", subtask=f"Do part {n}.", access=(n - 2,) if n > 1 else ())
        for n in numbers
    )
    config: Any = {"configurable": {"thread_id": "t"}}
    request: Any = {"messages": [{"role": "user", "content": "REQUEST"}]}
    with SqliteSaver.from_conn_string(state) as saver:
        graph = compile_workflow(Workflow(steps=steps), pool, checkpointer=saver)
        begun = graph.get_state(config).values
        out = graph.invoke(None if begun else request, config, durability="sync")
    print(out["messages"][-1].content, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
