"""Adaptive probing: the most telling probe next, resumable, and no answer counted twice."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fugu_adapters.config import Price, Worker
from fugu_adapters.encoders import load_encoder
from fugu_adapters.errors import WorkerTimeout
from fugu_adapters.evaluate.probes import level_of, probe_items
from fugu_adapters.fugu import Fugu
from fugu_adapters.learn.probing import Probing
from fugu_adapters.learn.profile import ProfileLimits, profile, read_outcomes
from fugu_adapters.policies.weights import Bundle, Settings
from fugu_adapters.pool import Pool
from fugu_adapters.testing import ScriptedWorker
from fugu_adapters.types import Item, Outcome, Reply, Request, Usage

ITEMS = probe_items()[:80]


def make_bundle(**changes: Any) -> Bundle:
    """Eight centroids among the probes, six workers of very different ability."""
    centroids = load_encoder("static-1").encode([item.prompt for item in ITEMS[::10]])
    size = len(centroids)
    p = np.repeat(np.linspace(0.2, 0.8, 6), size).reshape(6, size).astype(np.float32)
    bundle = Bundle(
        encoder="static-1",
        profiles=tuple(f"w{n}" for n in range(6)),
        labels=tuple(f"area {n}" for n in range(size)),
        settings=Settings(),
        centroids=centroids.astype(np.float32),
        area=np.arange(size, dtype=np.float32),
        mass=np.full(size, 1 / size, dtype=np.float32),
        reach=np.full(size, 0.2, dtype=np.float32),
        p=p,
        sd=np.full_like(p, 0.02),
        level=p,
        count=np.full_like(p, 50),
        log_tokens=np.full_like(p, 5.0),
        seconds=np.full_like(p, -1.0),
        crowd=np.zeros(size, dtype=np.float32),
        tier=np.array([0, 0, 1.2, 0], dtype=np.float32),
        digest="d" * 64,
    )
    return replace(bundle, **changes)


BUNDLE = make_bundle()


def make_worker(name: str) -> Worker:
    return ScriptedWorker(name, profile=f"{name}-profile", price=Price(input=1, output=1)).worker


class Calls:
    """Stands for the engine: right up to a level."""

    def __init__(self, level: int, *, finish: Any = "stop", fails: int = 0) -> None:
        self.level, self.finish, self.fails = level, finish, fails
        self.items: list[Item] = []
        self.bounds: list[int | None] = []

    async def __call__(self, worker: Worker, request: Request) -> Reply:
        item = next(i for i in ITEMS if i.prompt == request.messages[0]["content"])
        self.items.append(item)
        self.bounds.append(request.max_output_tokens)
        if len(self.items) <= self.fails:
            raise WorkerTimeout("slow", worker=worker.name)
        text = "right" if level_of(item) <= self.level else "wrong"
        return Reply(text=text, finish_reason=self.finish, usage=Usage(input_tokens=9, output_tokens=90))  # fmt: skip


async def score(_item: Item, text: str) -> float:
    return float(text == "right")


async def run(
    calls: Calls, path: Any, workers: Sequence[Worker], count: int, bundle: Bundle = BUNDLE, **options: Any
) -> tuple[Probing, list[Outcome]]:  # fmt: skip
    known = read_outcomes(path) if path.exists() else []
    probing = Probing(bundle, workers, ITEMS, count=count, known=known)
    await profile(workers, ITEMS, calls, score, output=path, choose=probing.pairs, **options)
    return probing, read_outcomes(path)


async def test_the_strong_are_told_from_the_weak(tmp_path) -> None:
    """Sixteen probes move a strong worker up and a weak one down, and the next probes follow."""
    found, levels = {}, {}
    for name, level in (("strong", 5), ("weak", 0)):
        calls = Calls(level)
        probing, outcomes = await run(calls, tmp_path / name, [make_worker(name)], 16)
        found[name] = probing.placed(outcomes)[0]
        levels[name] = np.mean([level_of(item) for item in calls.items[4:]])
        assert len({item.item_id for item in calls.items}) == 16
    mass = BUNDLE.mass
    assert found["strong"].after.average(mass)[0] > 0.7 > 0.3 > found["weak"].after.average(mass)[0]
    assert found["strong"].before.average(mass) == found["weak"].before.average(mass)
    assert levels["strong"] > levels["weak"] + 0.5
    assert (found["strong"].right, found["weak"].right) == (1.0, 0.0)
    assert found["weak"].spent_usd == pytest.approx(16 * 99e-6)


async def test_a_second_run_goes_on_and_asks_nothing_twice(tmp_path) -> None:
    """Stopped after five, the run continues to twelve; a third one makes no call."""
    worker, path = make_worker("new"), tmp_path / "o"
    first = Calls(3)
    await run(first, path, [worker], 12, limits=ProfileLimits(calls=5))
    second = Calls(3)
    probing, outcomes = await run(second, path, [worker], 12)
    assert (len(first.items), len(second.items)) == (5, 7)
    assert not {i.item_id for i in first.items} & {i.item_id for i in second.items}
    third = Calls(3)
    await run(third, path, [worker], 12)
    assert third.items == []
    assert probing.placed(outcomes)[0].probes == 12


async def test_a_row_does_not_count_its_own_probes_again(tmp_path) -> None:
    """Where the pool already uses the new row, a rerun leaves it as it is, and more probes add to it."""
    worker, path = make_worker("new"), tmp_path / "o"
    probing, outcomes = await run(Calls(4), path, [worker], 8)
    placed = probing.extended(outcomes, base="b")
    assert placed.provenance["placed"]["new-profile"]["base"] == "b"
    again, _ = await run(Calls(4), path, [worker], 8, bundle=placed)
    same = again.extended(outcomes, base="b")
    np.testing.assert_allclose(same.p[-1], placed.p[-1], atol=0.02)
    assert same.count[-1].sum() == 8
    more, outcomes = await run(Calls(4), path, [worker], 10, bundle=placed)
    grown = more.extended(outcomes, base="b")
    assert grown.count[-1].sum() == 10
    assert len(grown.provenance["placed"]["new-profile"]["probes"]) == 10


async def test_several_workers_take_turns(tmp_path) -> None:
    """A run cut short has asked all of them about as often."""
    workers = [make_worker("a"), make_worker("b")]
    _, outcomes = await run(
        Calls(3), tmp_path / "o", workers, 6, limits=ProfileLimits(calls=7), concurrency=2
    )
    count = {name: sum(o.worker == name for o in outcomes) for name in ("a-profile", "b-profile")}
    assert sorted(count.values()) == [3, 4]


async def test_failures_leave_no_outcome_and_end(tmp_path) -> None:
    """A failed probe is passed over in this run; a worker that only fails is asked five times."""
    some = Calls(3, fails=2)
    _, outcomes = await run(some, tmp_path / "some", [make_worker("a")], 6)
    assert (len(some.items), len(outcomes)) == (6, 4)
    none = Calls(3, fails=99)
    probing, outcomes = await run(none, tmp_path / "none", [make_worker("a")], 12)
    assert (len(none.items), outcomes) == (5, [])
    assert probing.extended(outcomes, base="b") is BUNDLE
    assert probing.placed(outcomes)[0].right is None


async def test_others_answers_tell_how_hard_a_probe_is(tmp_path) -> None:
    """What every known worker failed costs a new one little."""
    worker = make_worker("new")
    mine = [
        Outcome(suite=i.suite, item_id=i.item_id, worker="new-profile", score=0.0)
        for i in ITEMS[:6]
    ]
    others = [
        Outcome(suite=i.suite, item_id=i.item_id, worker=f"w{n}", score=0.0)
        for i in ITEMS[:6]
        for n in range(6)
    ]
    alone = Probing(BUNDLE, [worker], ITEMS, count=6).placed(mine)[0]
    beside = Probing(BUNDLE, [worker], ITEMS, count=6, known=others).placed(mine)[0]
    assert beside.after.p.mean() > alone.after.p.mean() + 0.05


async def test_a_measured_worker_is_named_as_such() -> None:
    """One with a row starts from it, and its outcomes are told."""
    worker = ScriptedWorker("known", profile="w5").worker
    placed = Probing(BUNDLE, [worker], ITEMS, count=4).placed([])[0]
    assert placed.measured == 400
    np.testing.assert_allclose(placed.before.p, 0.8, atol=0.01)


async def test_scripted_workers_are_probed_through_the_engine(tmp_path) -> None:
    """The facade's own calls carry the probe: room to reason first, and nothing from a cut-off reply."""
    cut = Reply(text="x" * 999 + "Answer: 1", finish_reason="length", usage=Usage(output_tokens=3))
    scripted = ScriptedWorker("new", cut, price=Price(input=0, output=0))
    probing = Probing(BUNDLE, [scripted.worker], ITEMS, count=3)

    async def generous(_item: Item, _text: str) -> float:
        return 1.0

    async with Fugu(Pool([scripted.worker]), store=False) as fugu:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            await profile([scripted.worker], ITEMS, fugu.acall, generous, output=tmp_path / "o",
                          choose=probing.pairs)  # fmt: skip
    outcomes = read_outcomes(tmp_path / "o")
    assert [o.score for o in outcomes] == [0.0] * 3
    assert all(len(o.answer or "") == 400 and (o.answer or "").endswith("Answer: 1") for o in outcomes)  # fmt: skip
    assert {request.max_output_tokens for request in scripted.requests} == {2_048}
