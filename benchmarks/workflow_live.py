"""What the parts of a workflow do, live: the embedded pool on generated tasks.

    python benchmarks/workflow_live.py play --tasks 100
    python benchmarks/workflow_live.py report

Fixed workflows over the embedded pool, each as it is and with one thing changed: what a step sees of the others
(its access list, everything, nothing), whether steps have subtasks of their own, one more round that sees the
previous answer. Tasks, kept replies and the pool are those of ``trinity_live.py``. Continues where it stopped; all
workflows are played on a task before the next one is begun.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from trinity_live import DATA, REPLY_TOKENS, Replies, held_out, pool_of, read_rows, report

from fugu_adapters.evaluate.scoring import score_item
from fugu_adapters.fugu import Fugu
from fugu_adapters.policies.subtasks import ANSWER, LIBRARY
from fugu_adapters.types import Limits, Message
from fugu_adapters.workflow import Aggregate, Step, Workflow

ABLE, PLAIN, SMALL = "qwen-0.5b-python", "qwen-0.5b-plain", "smol-calculator"


def _step(kind: str, worker: str, *access: int) -> Step:
    return Step(worker=worker, subtask=LIBRARY[kind].subtask(), access=access)


def _seeing(workflow: Workflow, everything: bool) -> Workflow:
    """Each step sees all of the others before it, or none."""
    steps = (
        replace(step, access=tuple(range(index)) if everything else ())
        for index, step in enumerate(workflow.steps)
    )
    return Workflow(steps=tuple(steps))


def _without_subtasks(workflow: Workflow) -> Workflow:
    return Workflow(steps=tuple(replace(step, subtask=ANSWER) for step in workflow.steps))


PLANNED = Workflow(
    steps=(_step("plan", PLAIN), _step("carry-out", ABLE, 0), _step("revise", PLAIN, 1))
)
CHECKED = Workflow(
    steps=(_step("answer", ABLE), _step("check", PLAIN, 0), _step("revise", ABLE, 0, 1))
)
SOLO = (_step("answer", ABLE), _step("answer", PLAIN), _step("answer", SMALL))
WORKFLOWS: Mapping[str, Workflow] = {
    "one call": Workflow(steps=SOLO[:1]),
    "plan, carry out": Workflow(steps=PLANNED.steps[:2]),
    "plan, carry out, revise": PLANNED,
    "plan, carry out, revise: shared transcript": _seeing(PLANNED, True),
    "plan, carry out, revise: no access": _seeing(PLANNED, False),
    "plan, carry out, revise: no subtasks": _without_subtasks(PLANNED),
    "answer, check, revise": CHECKED,
    "answer, check, revise: no subtasks": _without_subtasks(CHECKED),
    "one more round (recursion)": Workflow(steps=(SOLO[0], _step("revise", PLAIN, 0))),
    "one more round, same worker": Workflow(steps=(SOLO[0], _step("revise", ABLE, 0))),
    "three answers, vote": Workflow(steps=SOLO, aggregate=Aggregate(kind="vote", steps=(0, 1, 2))),
    "three answers, merged (MoA)": Workflow(steps=(*SOLO, _step("merge", ABLE, 0, 1, 2))),
    "two answers, judged": Workflow(
        steps=(*SOLO[:2], _step("judge", PLAIN, 0, 1)),
        aggregate=Aggregate(kind="select", steps=(0, 1), judge=2),
    ),
}


async def play(tasks: int, replies: Replies, out: Path) -> None:
    """Carry the workflows out on tasks that they were not carried out on."""
    done = {(row["method"], row["item_id"]) for row in read_rows(out)}
    every = held_out(520)
    items = every[:: max(1, len(every) // tasks)][:tasks]
    spent: list[float] = []
    async with Fugu(pool_of(replies, spent), store=False) as fugu:
        for number, item in enumerate(items, start=1):
            for name, workflow in WORKFLOWS.items():
                if (name, item.item_id) in done:
                    continue
                spent.clear()
                message: Message = {"role": "user", "content": item.prompt}
                result = await fugu.arun(
                    [message],
                    workflow=workflow,
                    temperature=0.0,
                    max_output_tokens=REPLY_TOKENS,
                    limits=Limits(output_tokens=REPLY_TOKENS, seconds=600),
                )
                row = {
                    "method": name,
                    "item_id": item.item_id,
                    "score": await score_item(item, result.text),
                    "calls": len(spent),
                    "seconds": round(sum(spent), 3),
                    "tokens": result.usage.total_tokens,
                }
                with out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
            print(f"{time.strftime('%H:%M:%S')} {number}/{len(items)}", flush=True)


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("play", "report"))
    parser.add_argument("--tasks", type=int, default=100)
    parser.add_argument("--replies", type=Path, default=DATA / "trinity_live_replies.jsonl")
    parser.add_argument("--output", type=Path, default=DATA / "workflow_live.jsonl")
    args = parser.parse_args()
    if args.what == "play":
        asyncio.run(play(args.tasks, Replies(args.replies), args.output))
        return
    rows = read_rows(args.output)
    whole = {row["item_id"] for row in rows}
    for name in WORKFLOWS:
        whole &= {row["item_id"] for row in rows if row["method"] == name}
    kept = [row for row in rows if row["item_id"] in whole]
    for line in report(kept, "one call"):
        print(json.dumps(line))


if __name__ == "__main__":
    main()
