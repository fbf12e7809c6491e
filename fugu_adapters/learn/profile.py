"""Measuring what each worker of a pool can do: run it over items, keep every outcome, sum up.

Outcomes are appended one JSON line at a time, so that a run can be stopped at any moment and
continued later; pairs of worker and item that are in the file are not asked again. A call that fails
leaves no outcome: its score is unknown, not zero, and the next run asks again.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
import warnings
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO, TypeAlias

import numpy as np

from fugu_adapters.config import Worker
from fugu_adapters.errors import ConfigError, LimitExceeded, WorkerError
from fugu_adapters.evaluate.probes import REPLY_TOKENS
from fugu_adapters.evaluate.scoring_probes import SUITE_PROBES
from fugu_adapters.learn.headroom import Headroom, measure_headroom
from fugu_adapters.messages import estimate_tokens
from fugu_adapters.types import Item, Outcome, Reply, Request, to_plain

__all__ = [
    "Choose",
    "OnProgress",
    "Pairs",
    "ProfileLimits",
    "Progress",
    "Summary",
    "WorkerSummary",
    "profile",
    "read_outcomes",
    "request_for",
]

Call: TypeAlias = Callable[[Worker, Request], Awaitable[Reply]]
Score: TypeAlias = Callable[[Item, str], Awaitable[float]]
Pairs: TypeAlias = Iterator[tuple[Worker, Item]]
Choose: TypeAlias = Callable[[Sequence[Outcome]], Pairs]
"""Gives the pairs to ask, one by one, looking at the outcomes so far, a list that grows meanwhile."""

_GIVE_UP = 5  # failures in a row after which a worker is left out
_KEPT_CHARS = 400  # of each reply; of a probe's the last ones, where the answer stands
_REPLY_TOKENS = 256
_REPLY_TOKENS_LOCAL = 512  # of a probe to a local model, which would go on for minutes


@dataclass(frozen=True, kw_only=True, slots=True)
class ProfileLimits:
    """Bounds on one profiling run; what is in the file already does not count.

    Attributes:
        usd: dollars, or ``None`` for no cap. Under a cap a worker of unknown price is left out.
        calls: calls to workers.
        seconds: after which no further call starts, ``None`` for no bound.
    """

    usd: float | None = 1.0
    calls: int = 10_000
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Where a profiling run is.

    Attributes:
        done: pairs that need no further call, earlier runs included.
        total: pairs in all.
        spent_usd: dollars so far, as far as known.
        worker: who answered last.
        score: what it scored, ``None`` where the call failed.
    """

    done: int
    total: int
    spent_usd: float
    worker: str
    score: float | None


OnProgress: TypeAlias = Callable[[Progress], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerSummary:
    """How one worker did over the items it answered.

    Attributes:
        worker: profile name.
        items: how many were scored.
        score: mean score, ``None`` where nothing was.
        latency_s: median seconds, ``None`` where unknown.
        errors: calls that failed in this run.
        left_out: why it was asked no more, or ``None``.
    """

    worker: str
    items: int
    score: float | None
    latency_s: float | None
    errors: int
    left_out: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """What a profiling run did and found.

    Attributes:
        calls: calls made by this run.
        spent_usd: dollars of this run, as far as known.
        stopped_by: the limit that ended it, or ``None`` where it is complete.
        workers: one row each, best first.
        headroom: ``None`` where no item was answered by two or more workers.
    """

    calls: int
    spent_usd: float
    stopped_by: str | None
    workers: tuple[WorkerSummary, ...]
    headroom: Headroom | None


def request_for(item: Item, worker: Worker | None = None) -> Request:
    """The item as a request: its prompt, at temperature 0, with a bounded reply.

    Replies are short, except to a probe: there the worker may reason first.
    """
    bound = _REPLY_TOKENS
    if item.suite == SUITE_PROBES:
        local = worker is not None and worker.api == "embedded"
        bound = _REPLY_TOKENS_LOCAL if local else REPLY_TOKENS
    return Request(
        messages=({"role": "user", "content": item.prompt},),
        temperature=0.0,
        max_output_tokens=bound,
    )


async def profile(
    workers: Sequence[Worker],
    items: Sequence[Item],
    call: Call,
    score: Score,
    *,
    output: Path,
    limits: ProfileLimits | None = None,
    concurrency: int = 1,
    build_request: Callable[[Item, Worker], Request] = request_for,
    choose: Choose | None = None,
    on_progress: OnProgress | None = None,
) -> Summary:
    """Ask every worker every item, record the outcomes, and sum up.

    Args:
        workers: whom to ask.
        items: what to ask.
        call: asks one worker; the engine's or a backend's.
        score: compares a reply with the item's answer, 0 to 1.
        output: outcomes as JSON lines, continued where it exists.
        limits: bounds on this run.
        concurrency: calls at a time.
        build_request: turns an item into a request to a worker.
        choose: gives the pairs to ask, among these workers and items; all of them where not given.
        on_progress: called after every call.

    Raises:
        ConfigError: where ``output`` holds something else.
    """
    known = _repair(output)
    run = _Run(workers, items, call, score, limits or ProfileLimits(), build_request, on_progress)
    run.skip(known)
    with output.open("a", encoding="utf-8") as file:
        todo = run.pairs() if choose is None else choose(run.outcomes)
        async with asyncio.TaskGroup() as group:
            for _ in range(max(1, concurrency)):
                group.create_task(run.work(todo, file))
    return run.summary()


class _Run:
    """The state of one run: its limits, its tallies, and what it has found."""

    def __init__(
        self,
        workers: Sequence[Worker],
        items: Sequence[Item],
        call: Call,
        score: Score,
        limits: ProfileLimits,
        build_request: Callable[[Item, Worker], Request],
        on_progress: OnProgress | None,
    ) -> None:
        self.outcomes: list[Outcome] = []
        self._workers, self._items = workers, items
        self._call, self._score, self._build = call, score, build_request
        self._limits, self._on_progress = limits, on_progress
        self._started = time.monotonic()
        self._wanted = {(w.profile_name, i.suite, i.item_id) for i in items for w in workers}
        self._done: set[tuple[str, str, str]] = set()
        self._calls = 0
        self._spent = self._reserved = 0.0
        self._errors: Counter[str] = Counter()
        self._in_a_row: Counter[str] = Counter()
        self._left_out: dict[str, str] = {}
        self._stopped_by: str | None = None

    def skip(self, known: Sequence[Outcome]) -> None:
        """Do not ask again what is known."""
        self.outcomes.extend(known)
        self._done |= {(o.worker, o.suite, o.item_id) for o in known}

    def pairs(self) -> Pairs:
        """What is left to ask, item by item, so that a run cut short still compares workers."""
        for item in self._items:
            for worker in self._workers:
                if (worker.profile_name, item.suite, item.item_id) not in self._done:
                    yield worker, item

    async def work(self, todo: Pairs, file: TextIO) -> None:
        """Take pairs until none is left or a limit is reached."""
        for worker, item in todo:
            name = worker.profile_name
            if name in self._left_out:
                continue
            request = self._build(item, worker)
            price = self._worst_cost(worker, request)
            if price is None:
                self._left_out[name] = "its price is unknown and there is a dollar limit"
                continue
            self._stopped_by = self._stopped_by or self._limit_reached(price)
            if self._stopped_by is not None:
                return
            self._calls += 1
            self._reserved += price
            try:
                await self._ask(worker, item, request, file)
            finally:
                self._reserved -= price

    def _worst_cost(self, worker: Worker, request: Request) -> float | None:
        """Dollars that the call may cost; 0 without a dollar limit, ``None`` where unknown."""
        if self._limits.usd is None:
            return 0.0
        if worker.known_price is None:
            return None
        return worker.known_price.cost(estimate_tokens(request), request.max_output_tokens or 4_096)

    def _limit_reached(self, price: float) -> str | None:
        limits = self._limits
        if self._calls >= limits.calls:
            return f"{limits.calls} calls"
        if limits.usd is not None and self._spent + self._reserved + price > limits.usd:
            return f"${limits.usd:g}"
        if limits.seconds is not None and time.monotonic() - self._started >= limits.seconds:
            return f"{limits.seconds:g} seconds"
        return None

    async def _ask(self, worker: Worker, item: Item, request: Request, file: TextIO) -> None:
        name, began = worker.profile_name, time.perf_counter()
        try:
            reply = await self._call(worker, request)
        except ConfigError as error:  # no key, no weights: the other workers can still be asked
            self._errors[name] += 1
            self._left_out[name] = str(error)
            self._report(name, None)
            return
        except (WorkerError, LimitExceeded) as error:
            self._errors[name] += 1
            self._in_a_row[name] += 1
            if self._in_a_row[name] >= _GIVE_UP:
                self._left_out[name] = f"{_GIVE_UP} failures in a row, the last: {error}"
            self._report(name, None)
            return
        latency = time.perf_counter() - began
        self._in_a_row[name] = 0
        outcome = Outcome(
            suite=item.suite,
            item_id=item.item_id,
            worker=name,
            score=round(await self._graded(item, reply), 4),
            input_tokens=reply.usage.input_tokens,
            output_tokens=reply.usage.output_tokens,
            latency_s=round(latency, 3),
            cost_usd=_cost(worker, reply),
            answer=_kept(item, reply.text),
        )
        self._spent += outcome.cost_usd or 0.0
        self._done.add((name, item.suite, item.item_id))
        self.outcomes.append(outcome)
        file.write(json.dumps(to_plain(outcome), ensure_ascii=False) + "\n")
        file.flush()
        self._report(name, outcome.score)

    async def _graded(self, item: Item, reply: Reply) -> float:
        """The reply's score; a probe whose reply was cut off gave no final answer."""
        if item.suite == SUITE_PROBES and reply.finish_reason == "length":
            return 0.0
        return await self._score(item, reply.text)

    def _report(self, worker: str, score: float | None) -> None:
        if self._on_progress is not None:
            asked = {w.profile_name for w in self._workers}
            keys = {(i.suite, i.item_id) for i in self._items}
            done = sum(name in asked and (s, i) in keys for name, s, i in self._done)
            total = len(asked) * len(keys)
            self._on_progress(
                Progress(done=done, total=total, spent_usd=self._spent, worker=worker, score=score)
            )

    def summary(self) -> Summary:
        """Everything known of these workers on these items."""
        names = list(dict.fromkeys(worker.profile_name for worker in self._workers))
        mine = [o for o in self.outcomes if (o.worker, o.suite, o.item_id) in self._wanted]
        rows = [self._row(name, [o for o in mine if o.worker == name]) for name in names]
        rows.sort(key=lambda row: -1.0 if row.score is None else row.score, reverse=True)
        return Summary(
            calls=self._calls,
            spent_usd=self._spent,
            stopped_by=self._stopped_by,
            workers=tuple(rows),
            headroom=measure_headroom(mine),
        )

    def _row(self, name: str, outcomes: Sequence[Outcome]) -> WorkerSummary:
        seconds = [o.latency_s for o in outcomes if o.latency_s is not None]
        return WorkerSummary(
            worker=name,
            items=len(outcomes),
            score=float(np.mean([o.score for o in outcomes])) if outcomes else None,
            latency_s=float(np.median(seconds)) if seconds else None,
            errors=self._errors[name],
            left_out=self._left_out.get(name),
        )


def _kept(item: Item, text: str) -> str:
    return text[-_KEPT_CHARS:] if item.suite == SUITE_PROBES else text[:_KEPT_CHARS]


def _cost(worker: Worker, reply: Reply) -> float | None:
    """Dollars of a call, ``None`` where unknown."""
    usage, price = reply.usage, worker.known_price
    if reply.cost_usd is not None:
        return reply.cost_usd
    if price is None or usage.input_tokens is None or usage.output_tokens is None:
        return None
    return price.cost(usage.input_tokens, usage.output_tokens, usage.cached_input_tokens or 0)


def read_outcomes(path: Path) -> list[Outcome]:
    """Read outcomes from JSON lines. A last line that was cut off is left out with a warning.

    Raises:
        ConfigError: where another line is not an outcome; it names file and line.
    """
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    outcomes = []
    for number, line in enumerate(lines, start=1):
        try:
            outcomes += [Outcome(**json.loads(line))] if line else []
        except (ValueError, TypeError) as error:
            if number < len(lines):
                raise ConfigError(f"{path}:{number}: not an outcome ({error})") from None
            warnings.warn(f"{path}: its last line was cut off and is ignored", stacklevel=2)
    return outcomes


def _repair(path: Path) -> list[Outcome]:
    """The outcomes so far, the file cut back to its last whole line."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        return []
    outcomes = read_outcomes(path)
    content = path.read_bytes()
    if not content.endswith(b"\n"):
        os.truncate(path, content.rfind(b"\n") + 1)
        outcomes = read_outcomes(path)
    return outcomes
