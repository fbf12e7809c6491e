"""Continuity of routing over conversations that are built from recorded outcomes.

    python benchmarks/sessions.py --items items.parquet --outcomes outcomes.parquet \
        --workers-file workers.parquet --pools-file pools.json --pools know2024 --split test

A session has eight turns on a growing history. Its kind of task lasts for several turns; a quarter of the
turns are follow-ups ("go ahead"), which show the router no task of their own and are scored on another
item of the task's kind. Decisions are those of the package's own router with the shipped weights, which
are fitted on the train split only. Billed is what a provider with a prompt cache would: the history that
a worker saw within the last five minutes at its cached price, a tenth of the input price.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fugu_adapters.config import Price, RoutingConfig, Worker
from fugu_adapters.evaluate.data import Dataset, read_dataset
from fugu_adapters.evaluate.statistics import paired_bootstrap
from fugu_adapters.policies.follow_up import is_follow_up
from fugu_adapters.policies.routing import Router
from fugu_adapters.pool import Pool
from fugu_adapters.testing.scripted import ManualClock
from fugu_adapters.types import Request

FOLLOW_UPS = Path(__file__).parent / "data" / "follow_ups.jsonl"
TURNS = 8
SAME_KIND = 0.75  # of the turns that begin a task, how many stay with the kind of the one before
FOLLOW_UP = 0.25
BREAK = 0.05  # of the turns come after the cache is gone
CACHED_SHARE = 0.1
CACHE_TTL_S, LEAST_CACHED = 300.0, 1_024
CHARS_PER_TOKEN = 4

OFF: dict[str, Any] = {"sticky": False, "follow_ups": False, "cache_ttl_s": 0.0, "sessions": 0}
POLICIES: dict[str, dict[str, Any]] = {
    "no continuity": OFF,
    "follow-ups only": {"sticky": False, "cache_ttl_s": 0.0},
    "cache-aware only": {"sticky": False, "follow_ups": False},
    "sticky, not cache-aware": {"follow_ups": False, "cache_ttl_s": 0.0},
    "full without follow-ups": {"follow_ups": False},
    "full": {},
}


@dataclass(frozen=True, kw_only=True)
class Step:
    """One turn of a session: what the user says, the item it is scored on, the pause before it."""

    said: str
    item: int
    follow_up: bool
    pause_s: float


@dataclass(frozen=True, kw_only=True)
class Material:
    """One pool with the outcomes of one split.

    Attributes:
        workers: the pool's, those without a price left out.
        prices: of each.
        prompts: of each item.
        kinds: positions of the items of each kind of task.
        score: ``[items, workers]``.
        reply: reply tokens, ``[items, workers]``.
    """

    workers: tuple[str, ...]
    prices: Mapping[str, Price]
    prompts: Sequence[str]
    kinds: Mapping[str, Sequence[int]]
    score: np.ndarray
    reply: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What came of all sessions under one policy, one number a session."""

    score: np.ndarray
    dollars: np.ndarray
    switches: np.ndarray
    follow_ups_kept: float


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("items", "outcomes"):
        parser.add_argument(f"--{name}", type=Path, nargs="+", required=True)
    for name in ("workers-file", "pools-file"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--pools", nargs="+", required=True)
    parser.add_argument("--split", default="dev", choices=("dev", "test"))
    parser.add_argument("--context", type=int, nargs="+", default=[2_000, 20_000])
    parser.add_argument("--sessions", type=int, default=300)
    parser.add_argument("--effort", default="medium")
    parser.add_argument("--sweep", type=float, nargs="*", default=[], help="values of switch_gain")
    options = parser.parse_args()
    detection(options.split)
    data = read_dataset(options.items, options.outcomes, options.workers_file)
    spec = json.loads(options.pools_file.read_text(encoding="utf-8"))
    policies = {**POLICIES, **{f"full, gain {g:g}": {"switch_gain": g} for g in options.sweep}}
    for name in options.pools:
        material = gather(data, spec[name], options.split)
        plans = draw(material, options.sessions, options.split)
        for context in options.context:
            print(
                f"\n#### {name}, {options.split}, effort {options.effort}: {options.sessions} sessions "
                f"of {TURNS} turns, {context:,} tokens of context, {len(material.workers)} workers\n"
            )
            table(material, plans, policies, context, options.effort)


def phrases(split: str) -> list[dict[str, str]]:
    """The labelled turns of one half: dev for choosing words and bounds, test for reporting."""
    rows = [json.loads(line) for line in FOLLOW_UPS.read_text(encoding="utf-8").splitlines()]
    half = {"dev": 0, "test": 1}[split]
    return [row for row in rows if hashlib.sha256(row["text"].encode()).digest()[0] % 2 == half]


def detection(split: str) -> None:
    """Precision and recall of the follow-up rule."""
    rows = phrases(split)
    told = np.array([row["label"] == "follow-up" for row in rows])
    found = np.array([is_follow_up(row["text"], row["task"]) for row in rows])
    right = (told & found).sum()
    print(
        f"follow-ups, {split} half: {len(rows)} turns, {told.sum()} follow-ups, "
        f"precision {right / found.sum():.3f}, recall {right / told.sum():.3f}"
    )


def gather(data: Dataset, entry: Mapping[str, Any], split: str) -> Material:
    """Items that every priced worker of the pool answered."""
    priced = {
        name: Price(input=f.price_in, output=f.price_out, cached_input=CACHED_SHARE * f.price_in)
        for name in entry["workers"]
        if (f := data.facts[name]).price_in is not None and f.price_out is not None
    }
    names = tuple(priced)
    index = np.flatnonzero(np.isin(data.suites, entry["suites"]) & (data.splits == split))
    score = data.matrix(index, names)
    whole = np.isfinite(score).all(axis=1)
    index, score = index[whole], score[whole]
    reply = data.matrix(index, names, "output_tokens")
    kinds: dict[str, list[int]] = {}
    for place, item in enumerate(index):
        kinds.setdefault(data.subdomains[item] or data.suites[item], []).append(place)
    return Material(
        workers=names,
        prices=priced,
        prompts=[data.prompts[item] for item in index],
        kinds={kind: places for kind, places in kinds.items() if len(places) >= TURNS},
        score=score,
        reply=np.where(np.isfinite(reply), reply, np.nanmedian(reply, axis=0)),
    )


def draw(material: Material, sessions: int, split: str) -> list[list[Step]]:
    """The sessions, the same for every policy."""
    rng = random.Random(0)  # noqa: S311
    said = [row["text"] for row in phrases(split) if row["label"] == "follow-up"]
    names = sorted(material.kinds)
    weights = [len(material.kinds[name]) for name in names]
    plans = []
    for _ in range(sessions):
        kind, steps = rng.choices(names, weights)[0], []
        for turn in range(TURNS):
            follow_up = turn > 0 and rng.random() < FOLLOW_UP
            if turn and not follow_up and rng.random() > SAME_KIND:
                kind = rng.choices(names, weights)[0]
            item = rng.choice(material.kinds[kind])
            steps.append(
                Step(
                    said=rng.choice(said) if follow_up else material.prompts[item],
                    item=item,
                    follow_up=follow_up,
                    pause_s=900.0 if rng.random() < BREAK else rng.uniform(5, 120),
                )
            )
        plans.append(steps)
    return plans


def router_for(material: Material, settings: Mapping[str, Any], clock: ManualClock) -> Router:
    """The package's router over the pool."""
    workers = [
        Worker(
            name=name.replace("@", "."),
            profile=name,
            model=name,
            base_url="http://127.0.0.1:1/v1",
            price=material.prices[name],
        )
        for name in material.workers
    ]
    return Router(Pool(workers, routing=RoutingConfig(**settings)), clock=clock)


def play(
    material: Material, plans: Sequence[Sequence[Step]], settings: Mapping[str, Any] | int,
    context: int, effort: Any,
) -> Tally:  # fmt: skip
    """All sessions under one policy; a number instead of settings asks that worker throughout."""
    clock = ManualClock()
    fixed = settings if isinstance(settings, int) else -1
    router = None if isinstance(settings, int) else router_for(material, settings, clock)
    names = [name.replace("@", ".") for name in material.workers]
    filler = "word " * 20_000
    score, dollars, switches, kept = [], [], [], []
    for number, steps in enumerate(plans):
        history = [{"role": "system", "content": filler[: context * CHARS_PER_TOKEN]}]
        warm: dict[int, tuple[int, float]] = {}
        total, paid, moved, before = 0.0, 0.0, 0, -1
        for step in steps:
            clock.now += step.pause_s
            history.append({"role": "user", "content": step.said})
            place = fixed
            if router is not None:
                request = Request(messages=tuple(history))
                chosen = router.decide(request, model="fugu", effort=effort, session=str(number))
                place = names.index(chosen.worker)
            tokens = sum(len(m["content"]) for m in history) // CHARS_PER_TOKEN
            reply = int(min(material.reply[step.item, place], 2_000))
            paid += bill(
                material.prices[material.workers[place]], tokens, reply, warm.get(place), clock.now
            )
            warm[place] = (tokens, clock.now)
            total += float(material.score[step.item, place])
            moved += before not in (-1, place)
            if step.follow_up:
                kept.append(before == place)
            before = place
            history.append({"role": "assistant", "content": filler[: reply * CHARS_PER_TOKEN]})
        clock.now += 100_000
        score.append(total / len(steps))
        dollars.append(paid)
        switches.append(moved)
    return Tally(
        score=np.array(score),
        dollars=np.array(dollars),
        switches=np.array(switches),
        follow_ups_kept=float(np.mean(kept)),
    )


def bill(
    price: Price, tokens: int, reply: int, warm: tuple[int, float] | None, now: float
) -> float:
    """Dollars of a call, with the part of its prompt that the worker saw lately at the cached price."""
    cached = 0
    if warm is not None and now - warm[1] <= CACHE_TTL_S and warm[0] >= LEAST_CACHED:
        cached = warm[0]
    return price.cost(tokens, reply, cached)


def table(
    material: Material, plans: Sequence[Sequence[Step]], policies: Mapping[str, Mapping[str, Any]],
    context: int, effort: str,
) -> None:  # fmt: skip
    """One row a policy, differences against no continuity with 95 % intervals over sessions."""
    rows = {
        name: play(material, plans, chosen, context, effort) for name, chosen in policies.items()
    }
    best = int(np.argmax(material.score.mean(axis=0)))
    rows[f"always `{material.workers[best]}`, the best on this split"] = play(
        material, plans, best, context, effort
    )
    base = rows["no continuity"]
    print("| policy | score | points vs none [95 %] | $ per session | cost vs none [95 %] | switches | follow-ups kept |")  # fmt: skip
    print("|---|---|---|---|---|---|---|")
    for name, row in rows.items():
        gain = paired_bootstrap(row.score, base.score)
        cost = paired_bootstrap(row.dollars, base.dollars)
        mean = base.dollars.mean()
        print(
            f"| {name} | {row.score.mean():.4f} | {100 * gain.mean:+.2f} [{100 * gain.low:+.2f}, "
            f"{100 * gain.high:+.2f}] | {row.dollars.mean():.5f} | {cost.mean / mean:+.0%} "
            f"[{cost.low / mean:+.0%}, {cost.high / mean:+.0%}] | {row.switches.mean():.2f} "
            f"| {row.follow_ups_kept:.0%} |"
        )


if __name__ == "__main__":
    main()
