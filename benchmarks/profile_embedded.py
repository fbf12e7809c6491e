"""Measure the embedded workers on the suite of small tasks: items and outcomes as JSON lines.

    python benchmarks/profile_embedded.py --per-kind 25 --gym-per-kind 12 --minutes 40

Continues where it stopped. Local models answer one call at a time here, so that latencies compare.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from fugu_adapters.config import Worker
from fugu_adapters.evaluate.scoring import score_item
from fugu_adapters.evaluate.tasks import build_suite, write_items
from fugu_adapters.learn.profile import ProfileLimits, Progress, Summary, profile
from fugu_adapters.types import Item, Reply, Request
from fugu_adapters.workers.embedded import EmbeddedBackend, embedded_workers

DATA = Path(__file__).parent / "data"
REPLY_TOKENS = 200  # fewer would cut off models that reason before they answer


def request_for(item: Item, _worker: Worker) -> Request:
    """The prompt alone, at temperature 0, with one bound for all kinds and workers."""
    message = {"role": "user", "content": item.prompt}
    return Request(messages=(message,), temperature=0.0, max_output_tokens=REPLY_TOKENS)


async def call(worker: Worker, request: Request) -> Reply:
    """Ask one embedded worker."""
    return await EmbeddedBackend(worker).call(request)


def show(progress: Progress) -> None:
    """One line per hundred calls."""
    if progress.done % 100 == 0:
        print(f"{progress.done}/{progress.total} {progress.worker} {progress.score}", flush=True)


def report(summary: Summary) -> None:
    """Print the table and what it means."""
    for row in summary.workers:
        score = "-" if row.score is None else f"{row.score:.3f}"
        print(f"{row.worker:32s} {row.items:4d} items  {score}  {row.latency_s} s")
    if summary.headroom is not None:
        print(summary.headroom.statement)


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--per-kind", type=int, default=25)
    parser.add_argument("--gym-per-kind", type=int, default=12)
    parser.add_argument("--first", type=int, default=None, help="only the first N items")
    parser.add_argument("--workers", nargs="*", help="names; all whose weights are here by default")
    parser.add_argument("--minutes", type=float, default=None)
    parser.add_argument("--output", type=Path, default=DATA / "embedded_outcomes.jsonl")
    args = parser.parse_args()
    items = build_suite(
        seed=args.seed, per_kind=args.per_kind, gym=True, gym_per_kind=args.gym_per_kind
    )
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_items(args.output.with_name(args.output.name.replace("outcomes", "items")), items)
    workers = [w for w in embedded_workers() if not args.workers or w.name in args.workers]
    limits = ProfileLimits(seconds=None if args.minutes is None else 60 * args.minutes)
    report(
        asyncio.run(
            profile(
                workers,
                items[: args.first],
                call,
                score_item,
                output=args.output,
                limits=limits,
                build_request=request_for,
                on_progress=show,
            )
        )
    )


if __name__ == "__main__":
    main()
