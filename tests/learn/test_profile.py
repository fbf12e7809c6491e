"""Profiling: every pair once, within its limits, resumable after any stop, and honest at the end."""

from __future__ import annotations

import asyncio
import json

import pytest

from fugu_adapters.config import Price, Worker
from fugu_adapters.errors import ConfigError, LimitExceeded, WorkerTimeout
from fugu_adapters.learn.headroom import measure_headroom
from fugu_adapters.learn.profile import ProfileLimits, profile, read_outcomes, request_for
from fugu_adapters.types import Item, Outcome, Reply, Usage


def make_items(count):
    """Items whose answer is their number."""
    return [
        Item(
            suite="s", item_id=f"i{n}", prompt=f"say {n}", domain="d", answer=str(n), split="train"
        )
        for n in range(count)
    ]


def make_worker(name, **fields):
    return Worker(name=name, api="callable", call=_unused, price=Price(input=0, output=0), **fields)


async def _unused(messages):
    raise AssertionError("the pool's own call is not used here")


class Calls:
    """Stands for the engine: knows which worker is right on which item, and counts."""

    def __init__(self, right=lambda worker, number: True, usage=None, error=None):
        self.made = []
        self.right = right
        self.usage = usage or Usage(input_tokens=10, output_tokens=2)
        self.error = error
        self.at_once = self.most_at_once = 0

    async def __call__(self, worker, request):
        number = request.messages[0]["content"].removeprefix("say ")
        self.made.append((worker.name, int(number)))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        if self.error is not None:
            raise self.error
        right = self.right(worker.name, int(number))
        return Reply(text=number if right else "no", usage=self.usage)


async def score(item, reply):
    return float(reply == item.answer)


A, B = make_worker("a"), make_worker("b")


async def test_every_pair_is_asked_once_and_recorded(tmp_path):
    """One line per pair, item by item, with score, tokens, latency, cost and the reply."""
    calls, output, seen = Calls(lambda w, n: w == "a"), tmp_path / "deep" / "out.jsonl", []
    summary = await profile(
        [A, B], make_items(3), calls, score, output=output, on_progress=seen.append
    )
    assert calls.made == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2), ("b", 2)]
    outcomes = read_outcomes(output)
    assert len(outcomes) == 6
    first = outcomes[0]
    assert (first.suite, first.item_id, first.worker, first.score) == ("s", "i0", "a", 1.0)
    assert (first.input_tokens, first.output_tokens, first.cost_usd) == (10, 2, 0.0)
    assert first.latency_s is not None
    assert first.answer == "0"
    assert summary.calls == 6
    assert summary.stopped_by is None
    assert [(w.worker, w.items, w.score, w.errors) for w in summary.workers] == [
        ("a", 3, 1.0, 0),
        ("b", 3, 0.0, 0),
    ]
    assert [(p.done, p.total, p.worker, p.score) for p in seen][::5] == [
        (1, 6, "a", 1.0),
        (6, 6, "b", 0.0),
    ]


async def test_a_stopped_run_goes_on_where_it_was(tmp_path):
    """The second run asks only what is missing, and sums up both."""
    output, first = tmp_path / "out.jsonl", Calls()
    stopped = await profile(
        [A, B], make_items(4), first, score, output=output, limits=ProfileLimits(calls=3)
    )
    assert stopped.stopped_by == "3 calls"
    second, seen = Calls(), []
    summary = await profile(
        [A, B], make_items(4), second, score, output=output, on_progress=seen.append
    )
    assert len(first.made) == 3
    assert len(second.made) == 5
    assert not set(first.made) & set(second.made)
    assert seen[0].done == 4
    assert sum(w.items for w in summary.workers) == 8
    third = Calls()
    assert (await profile([A, B], make_items(4), third, score, output=output)).calls == 0
    assert third.made == []


async def test_a_torn_last_line_is_asked_again(tmp_path):
    """A line cut off by a crash is dropped with a warning; the file is whole afterwards."""
    output = tmp_path / "out.jsonl"
    await profile([A], make_items(3), Calls(), score, output=output)
    whole = output.read_bytes()
    output.write_bytes(whole[:-20])
    calls = Calls()
    with pytest.warns(UserWarning, match="cut off"):
        await profile([A], make_items(3), calls, score, output=output)
    assert calls.made == [("a", 2)]
    assert len(read_outcomes(output)) == 3


async def test_a_last_line_without_its_end_is_kept_whole(tmp_path):
    """Nothing is glued to a line that only lacks its line end."""
    output = tmp_path / "out.jsonl"
    await profile([A], make_items(2), Calls(), score, output=output)
    output.write_bytes(output.read_bytes().rstrip(b"\n"))
    await profile([A], make_items(3), Calls(), score, output=output)
    assert sorted(o.item_id for o in read_outcomes(output)) == ["i0", "i1", "i2"]


async def test_another_file_is_not_appended_to(tmp_path):
    """A file of something else is an error that names the line, and stays as it was."""
    output = tmp_path / "out.jsonl"
    output.write_text('{"worker": "a"}\n{}\n')
    with pytest.raises(ConfigError, match=r"out\.jsonl:1: not an outcome"):
        await profile([A], make_items(1), Calls(), score, output=output)
    assert output.read_text() == '{"worker": "a"}\n{}\n'


async def test_dollars_are_reserved_before_a_call(tmp_path):
    """No call starts that could break the limit, and the spent sum stays under it."""
    dear = Worker(
        name="dear", api="callable", call=_unused, price=Price(input=0, output=1_000.0)
    )  # $0.256 at most for a reply of 256 tokens
    calls = Calls(usage=Usage(input_tokens=10, output_tokens=256))
    summary = await profile(
        [dear],
        make_items(9),
        calls,
        score,
        output=tmp_path / "o",
        limits=ProfileLimits(usd=1.0),
        concurrency=4,
    )
    assert len(calls.made) == 3
    assert summary.spent_usd == pytest.approx(0.768)
    assert summary.stopped_by == "$1"


async def test_unknown_prices_are_left_out_under_a_limit(tmp_path):
    """Unknown is not free: such a worker is asked only where there is no dollar limit."""
    unknown = Worker(name="u", api="callable", call=_unused)
    calls = Calls()
    summary = await profile([unknown, A], make_items(2), calls, score, output=tmp_path / "o")
    assert {name for name, _ in calls.made} == {"a"}
    assert "price is unknown" in (summary.workers[1].left_out or "")
    summary = await profile(
        [unknown],
        make_items(2),
        calls,
        score,
        output=tmp_path / "o",
        limits=ProfileLimits(usd=None),
    )
    assert summary.workers[0].items == 2
    assert read_outcomes(tmp_path / "o")[-1].cost_usd is None


async def test_time_ends_a_run(tmp_path):
    """No call starts after the given seconds."""
    calls = Calls()
    limits = ProfileLimits(seconds=0)
    summary = await profile([A], make_items(2), calls, score, output=tmp_path / "o", limits=limits)
    assert calls.made == []
    assert summary.stopped_by == "0 seconds"


@pytest.mark.parametrize(
    "error", [WorkerTimeout("slow", worker="a"), LimitExceeded("late", kind="deadline")]
)
async def test_a_failed_call_has_no_score(tmp_path, error):
    """It is counted, not recorded as zero, and asked again by the next run."""
    output, seen = tmp_path / "o", []
    summary = await profile(
        [A], make_items(2), Calls(error=error), score, output=output, on_progress=seen.append
    )
    assert read_outcomes(output) == []
    assert (summary.workers[0].errors, summary.workers[0].score) == (2, None)
    assert [p.score for p in seen] == [None, None]
    calls = Calls()
    await profile([A], make_items(2), calls, score, output=output)
    assert len(calls.made) == 2


async def test_a_dead_worker_is_given_up(tmp_path):
    """After five failures in a row it is left out, and the others go on."""

    class Half(Calls):
        async def __call__(self, worker, request):
            reply = await super().__call__(worker, request)
            if worker.name == "b":
                raise WorkerTimeout("slow", worker="b")
            return reply

    calls = Half()
    summary = await profile([A, B], make_items(9), calls, score, output=tmp_path / "o")
    assert sum(name == "b" for name, _ in calls.made) == 5
    assert sum(name == "a" for name, _ in calls.made) == 9
    assert "5 failures in a row" in (summary.workers[1].left_out or "")


async def test_a_misconfigured_worker_is_left_out_at_once(tmp_path):
    """A missing key or missing weights cost one attempt, and the reason is shown."""
    calls = Calls(error=ConfigError("no key in X"))
    summary = await profile([A], make_items(9), calls, score, output=tmp_path / "o")
    assert len(calls.made) == 1
    assert summary.workers[0].left_out == "no key in X"


async def test_calls_run_side_by_side_up_to_the_bound(tmp_path):
    """Concurrency is what was asked for, and no pair is asked twice."""
    calls = Calls()
    await profile([A, B], make_items(10), calls, score, output=tmp_path / "o", concurrency=3)
    assert calls.most_at_once == 3
    assert len(calls.made) == len(set(calls.made)) == 20


async def test_cancelling_keeps_what_is_known(tmp_path):
    """Every finished pair is in the file when a run is cancelled."""
    output = tmp_path / "o"
    calls = Calls()

    def stop(progress):
        if progress.done == 3:
            task.cancel()

    task = asyncio.create_task(
        profile([A], make_items(9), calls, score, output=output, on_progress=stop)
    )
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(read_outcomes(output)) == 3


def test_requests_are_short_and_repeatable():
    """The default request asks the prompt alone, at temperature 0, with a bounded reply."""
    request = request_for(make_items(1)[0])
    assert request.messages == ({"role": "user", "content": "say 0"},)
    assert (request.temperature, request.max_output_tokens) == (0.0, 256)


PROBE = Item(suite="fugu-probes", item_id="p-1-x", prompt="say 7", domain="story", answer="7", split="train")  # fmt: skip


def test_a_probe_leaves_room_to_reason():
    """Probes may take a longer reply; a local model's stays shorter, for its speed."""
    local = Worker(name="l", api="embedded", model="m")
    assert request_for(PROBE, A).max_output_tokens == 2_048
    assert request_for(PROBE, local).max_output_tokens == 512
    assert request_for(make_items(1)[0], local).max_output_tokens == 256


@pytest.mark.parametrize(("finish", "right"), [("stop", 1.0), ("length", 0.0)])
async def test_a_probe_that_was_cut_off_has_no_answer(tmp_path, finish, right):
    """A reply that ran into its bound scores nothing, whatever it says; its end is what is kept."""

    async def call(worker, request):
        return Reply(text="first 7 " + "x" * 500 + " 7", finish_reason=finish)

    async def always(item, reply):
        return 1.0

    output = tmp_path / "o"
    await profile([A], [PROBE], call, always, output=output)
    (outcome,) = read_outcomes(output)
    assert outcome.score == right
    assert len(outcome.answer) == 400
    assert outcome.answer.endswith("x 7")


async def test_pairs_may_be_chosen_as_answers_come(tmp_path):
    """A chooser sees every outcome so far, those of earlier runs first, and is held to the limits."""
    items, output, seen = make_items(9), tmp_path / "o", []
    await profile([A], items[:2], Calls(), score, output=output)

    def choose(outcomes):
        for item in reversed(items):
            seen.append(len(outcomes))
            yield A, item

    calls = Calls()
    found = await profile([A], items, calls, score, output=output, choose=choose, limits=ProfileLimits(calls=3))  # fmt: skip
    assert seen == [2, 3, 4, 5]
    assert [number for _, number in calls.made] == [8, 7, 6]
    assert found.stopped_by == "3 calls"
    assert found.workers[0].items == 5


def outcomes_of(**scores):
    """Outcomes from one list of scores per worker."""
    return [
        Outcome(suite="s", item_id=str(n), worker=name, score=value)
        for name, values in scores.items()
        for n, value in enumerate(values)
    ]


def test_headroom_is_oracle_minus_best():
    """Two workers that complement each other have headroom, with its interval."""
    found = measure_headroom(outcomes_of(a=[1, 1, 0] * 40, b=[0, 0, 1] * 40))
    assert found.best == "a"
    assert found.best_score == pytest.approx(2 / 3)
    assert found.oracle_score == 1.0
    assert found.gain == pytest.approx(1 / 3)
    low, high = found.interval
    assert 0.2 < low < 1 / 3 < high < 0.5
    assert found.statement.startswith("choosing per item can gain up to 33.3%")


def test_no_headroom_is_said_plainly():
    """A worker that is never beaten leaves nothing to gain; nor does a single lucky item."""
    dominated = measure_headroom(outcomes_of(a=[1, 1, 0] * 40, b=[1, 0, 0] * 40))
    assert dominated.statement.startswith("no headroom: always asking 'a'")
    lucky = measure_headroom(outcomes_of(a=[1] * 99 + [0], b=[0] * 99 + [1]))
    assert lucky.gain == pytest.approx(0.01)
    assert lucky.statement.startswith("no headroom")


def test_headroom_needs_shared_items():
    """Only items that all workers answered count; without any, or with one worker, there is none."""
    assert measure_headroom(outcomes_of(a=[1, 0])) is None
    apart = [
        Outcome(suite="s", item_id="1", worker="a", score=1.0),
        Outcome(suite="s", item_id="2", worker="b", score=1.0),
    ]
    assert measure_headroom(apart) is None
    found = measure_headroom([*outcomes_of(a=[1, 0, 1], b=[0, 1]), *apart[:0]])
    assert found.items == 2


async def test_outcomes_are_plain_json(tmp_path):
    """Each line is one object with the fields of an outcome."""
    output = tmp_path / "o"
    await profile([A], make_items(1), Calls(), score, output=output)
    line = json.loads(output.read_text().splitlines()[0])
    assert set(line) == set(Outcome.__dataclass_fields__)
