"""A prompted local model as writer of workflows, beside the learned conductor, on recorded answers.

    python benchmarks/writer_prompted.py --items items.parquet --outcomes outcomes.parquet --answers answers.parquet \
        --facts workers.parquet --suites rgym_hard,mmlu_pro --without qwq --count 60

For so many items to report of each suite the embedded Qwen2.5-Coder of half a billion parameters is asked for a
workflow over the suite's pool, as ``[conductor] worker`` would. A reply that holds none is one call to the selector's
choice. Workflows are played as ``learn/writer_fit.py`` says: a step that sees others votes with them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path

import numpy as np

from fugu_adapters.config import Worker
from fugu_adapters.errors import PlanError
from fugu_adapters.evaluate.statistics import paired_bootstrap
from fugu_adapters.evaluate.votes import best_column
from fugu_adapters.learn.conductor_fit import play_conductor
from fugu_adapters.learn.coordinator_data import Records, Suite, read_suites
from fugu_adapters.learn.writer_fit import answer_of
from fugu_adapters.policies.conductor_weights import load_conductor
from fugu_adapters.types import Candidate, Request
from fugu_adapters.workers.embedded import EmbeddedBackend, embedded_workers
from fugu_adapters.workflow.parse import parse_workflow
from fugu_adapters.workflow.writer import writing_request


async def main() -> None:
    """Read the arguments, ask, and print a line of JSON for each suite."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("items", "outcomes", "answers", "facts"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--suites", required=True)
    parser.add_argument("--without", default="")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--cache", type=Path)
    args = parser.parse_args()
    suites = read_suites(
        Records(
            items=[args.items],
            outcomes=[args.outcomes],
            answers=[args.answers],
            facts=args.facts,
            suites=tuple(args.suites.split(",")),
            without=tuple(filter(None, args.without.split(","))),
            cache=args.cache,
        )
    )
    named = {worker.name: worker for worker in embedded_workers()}
    for suite in suites:
        print(json.dumps(await compare(suite, named["qwen-0.5b-plain"], args.count)), flush=True)


async def compare(suite: Suite, writer: Worker, count: int) -> dict[str, object]:
    """Ask the writer for some items of a suite, and compare with the conductor on the same ones."""
    test, cost = suite.test, suite.fit.cost.mean(axis=0)
    rng = np.random.default_rng(0)
    rows = np.sort(rng.choice(len(test), min(count, len(test)), replace=False))
    backend, parsed = EmbeddedBackend(writer), 0
    right, calls = np.zeros(len(rows)), np.ones(len(rows))
    for place, row in enumerate(rows):
        columns = rng.permutation(len(test.workers))
        shown = [
            Candidate(
                worker=str(c), p_success=float(test.forecast[row, c]), cost_usd=float(cost[c])
            )
            for c in columns
        ]
        asked = Request(
            messages=({"role": "user", "content": suite.test_prompts[row]},), temperature=0.0
        )
        reply = await backend.call(writing_request(asked, shown))
        try:
            workflow = parse_workflow(reply.text, [str(c) for c in columns])
        except PlanError:
            chosen = int(np.argmax(test.forecast[row]))
        else:
            parsed += 1
            chosen, calls[place] = answer_of(workflow, test, int(row)), len(workflow.steps)
        right[place] = test.scores[row, chosen]
    items = test.take(rows)
    ours = play_conductor(load_conductor(), items, cost, "high")
    single = items.scores[:, best_column(suite.fit)]
    gap = paired_bootstrap(ours.score(items), right)
    return {
        "suite": suite.name,
        "items": len(rows),
        "parsed": round(parsed / len(rows), 3),
        "prompted": round(float(right.mean()), 4),
        "prompted_calls": round(float(calls.mean()), 2),
        "conductor": round(float(ours.score(items).mean()), 4),
        "conductor_calls": round(float(ours.calls.mean()), 2),
        "best_single": round(float(single.mean()), 4),
        "conductor_ahead": [round(x, 4) for x in (gap.mean, gap.low, gap.high)],
    }


if __name__ == "__main__":
    asyncio.run(main())
