"""TRINITY, and the other policies, over the embedded pool on generated tasks, live, against its best single member.

    python benchmarks/trinity_live.py fill --workers qwen-0.5b-python smol-calculator
    python benchmarks/trinity_live.py play --efforts low medium high xhigh
    python benchmarks/trinity_live.py play --efforts high --without thinker
    python benchmarks/trinity_live.py report

``fill`` asks workers the bare tasks and keeps their replies; ``play`` runs ``fugu`` and ``fugu-trinity`` over the
pool, through the engine, and asks whatever is not kept yet; ``report`` prints the table. All continue where they
stopped. Tasks are generated anew from a seed, and none that the selector's outcomes hold is among them. Replies
are kept by request, sampled at temperature 0, with the seconds that they took. The pool is free, so that calls
and seconds stand for the price. The best single worker is chosen on the outcomes that were measured before.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import fugu_adapters
from fugu_adapters.config import Price, Worker
from fugu_adapters.errors import FuguError
from fugu_adapters.evaluate.scoring import score_item
from fugu_adapters.evaluate.statistics import bootstrap_mean, mcnemar, paired_bootstrap
from fugu_adapters.evaluate.tasks import build_suite, read_items
from fugu_adapters.fugu import Fugu
from fugu_adapters.policies import trinity
from fugu_adapters.policies.answers import read_answers
from fugu_adapters.pool import Pool
from fugu_adapters.types import Effort, Item, Limits, Message, Reply, Request, Usage
from fugu_adapters.workers.embedded import EmbeddedBackend, embedded_workers

DATA = Path(__file__).parent / "data"
LOCAL = Path(fugu_adapters.__file__).parent / "weights" / "local"
SEED = 424_242
REPLY_TOKENS = 200  # as where the selector's outcomes were measured


def held_out(count: int) -> list[Item]:
    """Tasks from a seed of their own, without any whose prompt was measured before."""
    known = {item.prompt for item in read_items(DATA / "embedded_items.jsonl")}
    items = build_suite(seed=SEED, per_kind=40, gym=True, gym_per_kind=20)
    return [item for item in items if item.prompt not in known][:count]


class Replies:
    """Replies by worker and request, in a file of JSON lines that several processes may extend."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept: dict[str, dict[str, Any]] = {}
        self._read = 0
        self._refresh()

    def _refresh(self) -> None:
        """Take in the whole lines that were added since."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            added = file.read()
        whole = added[: added.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            row = json.loads(line)
            self._kept[row["key"]] = row

    async def reply(self, worker: Worker, request: Request) -> Reply:
        """The kept reply, or a new one."""
        key = _key(worker.name, request)
        if key not in self._kept:
            self._refresh()
        row = self._kept.get(key)
        if row is None:
            began = time.perf_counter()
            reply = await EmbeddedBackend(worker).call(request)
            row = {
                "key": key,
                "worker": worker.name,
                "text": reply.text,
                "finish_reason": reply.finish_reason,
                "tokens": [reply.usage.input_tokens, reply.usage.output_tokens],
                "seconds": round(time.perf_counter() - began, 3),
            }
            self._kept[key] = row
            self._append(row)
        given, written = row["tokens"]
        return Reply(
            text=row["text"],
            finish_reason=row["finish_reason"],
            usage=Usage(input_tokens=given, output_tokens=written),
        )

    def seconds(self, worker: str, request: Request) -> float:
        """What the kept reply took when it was made."""
        return float(self._kept[_key(worker, request)]["seconds"])

    def __contains__(self, asked: tuple[str, Request]) -> bool:
        return _key(*asked) in self._kept

    def _append(self, row: Mapping[str, Any]) -> None:
        line = json.dumps(row, ensure_ascii=False) + "\n"
        handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)


def _key(worker: str, request: Request) -> str:
    asked = [
        worker,
        [[m["role"], m["content"]] for m in request.messages],
        request.temperature,
        request.max_output_tokens,
        request.response_format,
    ]
    return hashlib.blake2b(json.dumps(asked).encode(), digest_size=12).hexdigest()


def bare(item: Item) -> Request:
    """The task alone, as a worker's first turn is asked it."""
    message = {"role": "user", "content": item.prompt}
    return Request(messages=(message,), temperature=0.0, max_output_tokens=REPLY_TOKENS)


async def fill(names: list[str], items: list[Item], replies: Replies) -> None:
    """Ask each of the workers every task."""
    workers = {worker.name: worker for worker in embedded_workers()}
    for name in names:
        for number, item in enumerate(items, start=1):
            await replies.reply(workers[name], bare(item))
            if number % 50 == 0:
                print(f"{time.strftime('%H:%M:%S')} {name} {number}/{len(items)}", flush=True)


# --- playing --------------------------------------------------------------------------------------


def pool_of(replies: Replies, spent: list[float]) -> Pool:
    """The embedded pool with kept replies, and the selector that it has; ``spent`` takes each call's seconds."""

    def kept(worker: Worker) -> Worker:
        async def call(messages: Any, *, request: Request) -> Reply:
            began = time.perf_counter()
            try:
                reply = await replies.reply(worker, request)
            except FuguError:
                spent.append(time.perf_counter() - began)
                raise
            spent.append(replies.seconds(worker.name, request))
            return reply

        return Worker(
            name=worker.name,
            api="callable",
            call=call,
            profile=worker.profile_name,
            price=Price(input=0.0, output=0.0),
        )

    return Pool([kept(worker) for worker in embedded_workers()], selector=LOCAL, run_programs=True)


async def play(
    model: str, effort: Effort, items: list[Item], replies: Replies, out: Path, without: str = ""
) -> None:
    """Run a policy over the tasks that it has not been run over, and keep how each went."""
    name = f"{model}-{effort}" if model != "fugu" else "selector"
    name += f"-without-{without}" if without else ""
    done = {row["item_id"] for row in read_rows(out) if row["method"] == name}
    spent: list[float] = []
    async with Fugu(pool_of(replies, spent), store=False) as fugu:
        for item in items:
            if item.item_id in done:
                continue
            spent.clear()
            message: Message = {"role": "user", "content": item.prompt}
            result = await fugu.arun(
                [message],
                model=model,
                effort=effort,
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
                "worker": result.worker,
                "roles": [str(step.subtask).split(":")[0] for step in result.trace.steps],
                "stopped": result.stopped,
            }
            with out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """What was played so far."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


# --- reporting ------------------------------------------------------------------------------------


def best_before() -> str:
    """The worker that scored best where the pool was measured before, on items that all have."""
    rows = read_rows(DATA / "embedded_outcomes.jsonl")
    names = {worker.profile_name: worker.name for worker in embedded_workers()}
    scores: dict[str, dict[str, float]] = defaultdict(dict)
    for row in rows:
        if row["worker"] in names:
            scores[names[row["worker"]]][row["item_id"]] = row["score"]
    shared = set.intersection(*(set(each) for each in scores.values()))
    return max(scores, key=lambda name: sum(scores[name][item] for item in shared))


async def singles(items: list[Item], replies: Replies) -> list[dict[str, Any]]:
    """Rows of each worker alone, and of the vote and the best of all where every reply is kept."""
    rows = []
    names = [worker.name for worker in embedded_workers()]
    workers = {worker.name: worker for worker in embedded_workers()}
    for item in items:
        asked = [name for name in names if (name, bare(item)) in replies]
        said = [(await replies.reply(workers[name], bare(item))).text for name in asked]
        scores = [await score_item(item, text) for text in said]
        took = [replies.seconds(name, bare(item)) for name in asked]
        for name, score, seconds in zip(asked, scores, took, strict=True):
            rows.append(_row(name, item, score, 1, seconds))
        if len(asked) == len(names):
            keys = read_answers(item.prompt, said).keys
            votes = [sum(k is not None and k == other for other in keys) for k in keys]
            lead = max(range(len(names)), key=lambda n: (votes[n], names[n] == best_before()))
            rows.append(_row("majority_vote", item, scores[lead], len(names), sum(took)))
            rows.append(_row("oracle", item, max(scores), len(names), sum(took)))
    return rows


def _row(method: str, item: Item, score: float, calls: int, seconds: float) -> dict[str, Any]:
    return {
        "method": method,
        "item_id": item.item_id,
        "score": score,
        "calls": calls,
        "seconds": seconds,
    }


def report(rows: list[dict[str, Any]], best: str) -> list[dict[str, Any]]:
    """One line a method, each compared with the best single worker on the items that both have."""
    by: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for row in rows:
        by[row["method"]][row["item_id"]] = row
    table = []
    for method, mine in by.items():
        shared = [item for item in mine if item in by[best]]
        ours = np.array([mine[item]["score"] for item in shared])
        theirs = np.array([by[best][item]["score"] for item in shared])
        mean = bootstrap_mean(ours)
        table.append(
            {
                "method": method,
                "items": len(shared),
                "accuracy": round(mean.mean, 4),
                "ci": [round(mean.low, 4), round(mean.high, 4)],
                "mean_calls": round(float(np.mean([mine[i]["calls"] for i in shared])), 3),
                "seconds": round(float(np.mean([mine[i]["seconds"] for i in shared])), 2),
                "vs_best_single": _gain(mine, by[best]),
                "vs_selector": _gain(mine, by.get("selector", {})),
                "mcnemar_p": round(mcnemar(ours, theirs), 5),
            }
        )
    return sorted(table, key=lambda line: line["accuracy"])


def _gain(mine: Mapping[str, Any], others: Mapping[str, Any]) -> list[float] | None:
    """The mean difference on shared items, and its 95 % interval."""
    shared = [item for item in mine if item in others]
    if not shared:
        return None
    gain = paired_bootstrap(
        [mine[item]["score"] for item in shared], [others[item]["score"] for item in shared]
    )
    return [round(x, 4) for x in (gain.mean, gain.low, gain.high)]


def stops(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """How often runs of turns ended in which way, and how many of those answers are right."""
    scores: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows:
        if row.get("stopped"):
            said = row["stopped"]
            why = (
                "agreed" if "on their own" in said else "accepted" if "accepts" in said else "other"
            )
            scores[row["method"], why].append(row["score"])
    return [
        {"method": method, "stopped": why, "items": len(each), "right": round(np.mean(each), 4)}
        for (method, why), each in sorted(scores.items())
    ]


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("fill", "play", "report"))
    parser.add_argument("--workers", nargs="*", default=[])
    parser.add_argument("--efforts", nargs="*", default=["low", "medium", "high", "xhigh"])
    parser.add_argument(
        "--without", choices=("thinker", "verifier"), default="", help="play without one role"
    )
    parser.add_argument(
        "--model", default="fugu-trinity", choices=("fugu-trinity", "fugu-ultra", "fugu-auto")
    )
    parser.add_argument("--backwards", action="store_true", help="fill from the last task")
    parser.add_argument("--tasks", type=int, default=520)
    parser.add_argument("--replies", type=Path, default=DATA / "trinity_live_replies.jsonl")
    parser.add_argument("--output", type=Path, default=DATA / "trinity_live.jsonl")
    args = parser.parse_args()
    items, replies = held_out(args.tasks), Replies(args.replies)
    if args.what == "fill":
        asyncio.run(fill(args.workers, items[::-1] if args.backwards else items, replies))
    elif args.what == "play":
        asyncio.run(play("fugu", "medium", items, replies, args.output))
        never = dict.fromkeys(trinity.TURNS, 0.0)  # forecasts below which a role is taken: none
        if args.without:
            setattr(trinity, {"thinker": "_THINKS", "verifier": "_DOUBT"}[args.without], never)
        for effort in args.efforts:
            asyncio.run(play(args.model, effort, items, replies, args.output, args.without))
            print(f"{time.strftime('%H:%M:%S')} {effort}", flush=True)
    else:
        rows = asyncio.run(singles(items, replies)) + read_rows(args.output)
        for line in [*report(rows, best_before()), *stops(rows)]:
            print(json.dumps(line))


if __name__ == "__main__":
    main()
