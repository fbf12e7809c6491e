"""Writing plans by a grammar, what the network may know, and the forecasts."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from conductors import eager

from fugu_adapters.errors import InputError, PlanError, WeightsError
from fugu_adapters.policies import conductor_weights
from fugu_adapters.policies.conductor import (
    EFFORTS,
    FEATURES,
    Board,
    Conductor,
    Move,
    Network,
    Sketch,
    Value,
    expected_asks,
    vote_right,
)
from fugu_adapters.policies.conductor_weights import load_conductor, save_conductor
from fugu_adapters.policies.coordinator import Coordinator
from fugu_adapters.policies.subtasks import ANSWER, LIBRARY, Kind
from fugu_adapters.workflow.compose import workflow_of

NAMES = "abcdef"


def board(rows: int = 200, size: int = 4, seed: int = 0, **options: object) -> Board:
    rng = np.random.default_rng(seed)
    options.setdefault("effort", np.array([2]))
    return Board(rng.random((rows, size)), rng.random(size) + 0.1, **options)  # type: ignore[arg-type]


def test_everything_that_the_grammar_allows_is_a_workflow() -> None:
    """A thousand random plans of all kinds: one to five steps that see earlier ones, and end in an answer."""
    untrained = Conductor(network=Network.untrained())
    sketches = untrained.write(board(1_000), rng=np.random.default_rng(1))
    kinds = {move.kind for sketch in sketches for move in sketch.moves}
    assert kinds == {kind.name for kind in LIBRARY}
    assert {len(sketch.moves) for sketch in sketches} == {1, 2, 3, 4, 5}
    for sketch in sketches:
        workflow = workflow_of(sketch, NAMES)
        used = set(workflow.answering)
        if workflow.aggregate is not None and workflow.aggregate.judge is not None:
            used.add(workflow.aggregate.judge)
        for step in workflow.steps:
            used.update(step.access)
        assert used == set(range(len(workflow.steps)))  # no step is for nothing
        for move, seen in zip(sketch.moves, sketch.access(), strict=True):
            assert bool(seen) == (LIBRARY[move.kind].sees != "nothing")


def test_nobody_answers_the_same_twice_and_bounds_hold() -> None:
    """A worker answers on its own once; steps, workers and kinds that are not there are not used."""
    there = np.tile([True, False, True, True], (300, 1))
    written = board(300, there=there, most=3, kinds=("answer", "plan", "carry-out"))
    sketches = Conductor(network=Network.untrained()).write(written, rng=np.random.default_rng(2))
    for sketch in sketches:
        alone = [move.worker for move in sketch.moves if move.kind == "answer"]
        assert len(alone) == len(set(alone))
        assert len(sketch.moves) <= 3
        assert all(move.worker != 1 for move in sketch.moves)
        assert {move.kind for move in sketch.moves} <= {"answer", "plan", "carry-out"}


def test_workers_have_no_names_and_no_places() -> None:
    """In another order of workers the same plan is written."""
    rng = np.random.default_rng(3)
    network = Network(
        hidden=rng.normal(0, 1, (FEATURES, 8)), bias=rng.normal(0, 1, 8), out=rng.normal(0, 1, 8),
        skip=rng.normal(0, 1, FEATURES),
    )  # fmt: skip
    p, cost, order = rng.random((100, 5)), rng.random(5) + 0.1, rng.permutation(5)
    effort = np.array([3])
    one = Conductor(network=network).write(Board(p, cost, effort))
    other = Conductor(network=network).write(Board(p[:, order], cost[order], effort))
    for a, b in zip(one, other, strict=True):
        assert [(m.kind, m.worker, m.wide) for m in a.moves] == [
            (m.kind, int(order[m.worker]), m.wide) for m in b.moves
        ]


def test_an_added_kind_can_be_planned_and_is_put_into_words() -> None:
    """The library is open; what a new kind sees and gives places it in the grammar."""
    library = LIBRARY.extended(Kind(name="shorten", text="Shorten it to {form}.", sees="answer"))
    written = board(500, library=library)
    sketches = Conductor(network=Network.untrained()).write(written, rng=np.random.default_rng(4))
    using = [s for s in sketches if any(m.kind == "shorten" for m in s.moves)]
    assert using
    workflow = workflow_of(using[0], NAMES, question="How many?", library=library)
    assert any(step.subtask.startswith("Shorten it to ") for step in workflow.steps)
    with pytest.raises(PlanError, match="unknown slot 'colour'"):
        Kind(name="x", text="In {colour}")
    with pytest.raises(PlanError, match="expected an instruction"):
        Kind(name="x", text=" ")
    with pytest.raises(PlanError, match="different names"):
        LIBRARY.extended(Kind(name="answer", text="Again."))
    with pytest.raises(PlanError, match="no kind of subtask 'dance'"):
        LIBRARY["dance"]


def test_kinds_in_words_and_what_they_see() -> None:
    """Advice goes to who carries it out, answers to who merges them, and a judge selects."""
    sketch = Sketch(
        moves=(
            Move(kind="plan", worker=0),
            Move(kind="carry-out", worker=1),
            Move(kind="answer", worker=2),
            Move(kind="check", worker=0),
            Move(kind="revise", worker=2),
        )
    )
    assert sketch.access() == ((), (0,), (), (2,), (2, 3))
    assert sketch.answers() == (1, 4)
    workflow = workflow_of(sketch, NAMES)
    assert workflow.aggregate is not None
    assert (workflow.aggregate.kind, workflow.aggregate.steps) == ("vote", (1, 4))
    judged = Sketch(
        moves=(*(Move(kind="answer", worker=n) for n in range(2)), Move(kind="judge", worker=2))
    )
    chosen = workflow_of(judged, NAMES).aggregate
    assert chosen is not None
    assert (chosen.kind, chosen.steps, chosen.judge) == ("select", (0, 1), 2)
    merged = Sketch(moves=(*judged.moves[:2], Move(kind="merge", worker=3, wide=True)))
    assert merged.access()[-1] == (0, 1)
    assert workflow_of(merged, NAMES).answering == (2,)
    assert workflow_of(Sketch(moves=judged.moves[:1]), NAMES).steps[0].subtask == ANSWER


def test_a_plan_needs_somebody() -> None:
    """Nobody, or arrays that do not fit, is an error."""
    with pytest.raises(InputError, match="somebody"):
        board(2, there=np.zeros((2, 4), dtype=bool))
    with pytest.raises(InputError, match="somebody"):
        board(2, there=np.ones((2, 3), dtype=bool))


def test_effort_bounds_the_steps() -> None:
    """From one call to five."""
    assert [means.steps for means in EFFORTS.values()] == [1, 3, 4, 5]
    for index, means in enumerate(EFFORTS.values()):
        sketches = eager().write(board(20, 6, effort=np.array([index]), most=means.steps, kinds=("answer",)))  # fmt: skip
        assert {len(sketch.moves) for sketch in sketches} == {means.steps}


def test_a_vote_is_right_as_often_as_its_scenarios() -> None:
    """Three at 70 % that err apart: right whenever one is, as wrong answers differ; alike, as a majority."""
    odds = np.log(np.full((1, 3), 0.7) / 0.3)
    all_three = np.ones((1, 3), dtype=bool)
    assert vote_right(odds, all_three, alike=1.0)[0] == pytest.approx(0.7**3 + 3 * 0.7**2 * 0.3)
    assert vote_right(odds, all_three, alike=0.0)[0] == pytest.approx(0.7**3 + 3 * 0.7**2 * 0.3)
    heavy = np.log(np.array([[0.9, 0.6, 0.6]]) / np.array([[0.1, 0.4, 0.4]]))
    alone = vote_right(heavy, np.array([[True, False, False]]))[0]
    assert alone == pytest.approx(0.9)
    assert vote_right(heavy, all_three, alike=1.0)[0] == pytest.approx(0.9)


def test_expected_calls_are_those_of_the_rule() -> None:
    """Enumerated and simulated: each answer right, wrong like the others, or wrong in its own way."""
    rng, rule = np.random.default_rng(5), Coordinator(lift=0.5, enough=3.0, cap=4)
    p = np.array([0.8, 0.75, 0.7, 0.6])
    odds = np.log(p / (1 - p))[None]
    asks = expected_asks(odds, np.ones((1, 4), dtype=bool), rule, alike=0.3)[0]
    seen = np.zeros(4)
    for _ in range(4_000):
        said: dict[int, object] = {}
        for column in range(4):
            seen[column] += 1
            right = rng.random() < p[column]
            said[column] = "right" if right else "alike" if rng.random() < 0.3 else f"own {column}"
            left = [n > column for n in range(4)]
            if rule.decide(p.tolist(), [0.0] * 4, said, left).ask is None:
                break
    assert np.abs(asks - seen / 4_000).max() < 0.03
    few = expected_asks(odds, np.array([[True, True, False, False]]), rule)[0]
    assert few[2:].tolist() == [0, 0]


def test_the_value_of_a_plan() -> None:
    """One answer is its worker's forecast; a vote adds the share that comes true; kinds add what they were measured."""
    p = np.array([[0.7, 0.7, 0.7]])
    one = Sketch(moves=(Move(kind="answer", worker=0),))
    three = Sketch(moves=tuple(Move(kind="answer", worker=n) for n in range(3)))
    whole, part = Value(alike=0.0), Value(alike=0.0, share=0.25)
    assert whole([one], p)[0] == pytest.approx(0.7)
    assert whole([three], p)[0] == pytest.approx(0.784)
    assert part([three], p)[0] == pytest.approx(0.7 + 0.25 * 0.084)
    revised = Sketch(moves=(*one.moves, Move(kind="revise", worker=1)))
    assert whole([revised], p)[0] == pytest.approx(0.7)  # never measured: no gain
    assert Value(gain={"revise": 0.5})([revised], p)[0] > 0.75
    checked = Sketch(
        moves=(*one.moves, Move(kind="check", worker=1), Move(kind="revise", worker=0))
    )
    assert Value(gain={"check": 0.5})([checked], p)[0] > 0.75
    judged = Sketch(moves=(*three.moves, Move(kind="judge", worker=0)))
    assert whole([judged], p)[0] == pytest.approx(0.784)
    merged = Sketch(moves=(*three.moves, Move(kind="merge", worker=0)))
    assert whole([merged], p)[0] == pytest.approx(0.784, abs=0.01)


# --- weights --------------------------------------------------------------------------------------


def test_weights_come_back(tmp_path: Path) -> None:
    """What is written is read, to the last bit of float32."""
    conductor = Conductor(
        network=Network.untrained(seed=1), value=Value(share=0.3, gain={"plan": 0.1}), kinds=("answer", "plan")
    )  # fmt: skip
    save_conductor(conductor, tmp_path / "c", {"seed": 1})
    again = load_conductor(tmp_path / "c")
    assert again.value == conductor.value
    assert again.kinds == conductor.kinds
    assert np.array_equal(again.network.hidden, conductor.network.hidden.astype(np.float32))


def test_the_shipped_conductor_is_there() -> None:
    """It loads, and plans for a pool that nobody has seen."""
    conductor = load_conductor()
    assert "answer" in conductor.kinds
    assert 0 < conductor.value.share < 1
    assert conductor.write(board(3, kinds=conductor.kinds))


@pytest.mark.parametrize(
    "harm", ["tensor", "manifest", "format", "features", "gone", "big", "kinds"]
)
def test_altered_weights_are_refused(
    harm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Digest, sizes, shapes and version are checked before use."""
    folder = tmp_path / harm
    save_conductor(Conductor(network=Network.untrained()), folder, {})
    tensors, manifest = folder / "conductor.safetensors", folder / "manifest.json"
    text = manifest.read_text()
    match harm:
        case "tensor":
            body = tensors.read_bytes()
            tensors.write_bytes(body[:-1] + bytes([body[-1] ^ 1]))
        case "manifest":
            manifest.write_text("{")
        case "format":
            manifest.write_text(text.replace('"format": 1', '"format": 2'))
        case "features":
            manifest.write_text(text.replace(f'"features": {FEATURES}', '"features": 3'))
        case "gone":
            tensors.unlink()
        case "big":
            monkeypatch.setattr(conductor_weights, "_MAX_BYTES", 10)
        case _:
            manifest.write_text(text.replace('"kinds"', '"sorts"'))
    with pytest.raises(WeightsError):
        load_conductor(folder)


def test_numbers_that_do_not_fit_are_no_network() -> None:
    """Shapes and finiteness."""
    fits = Network.untrained()
    for name, index in itertools.product(("hidden", "out", "skip"), (0,)):
        broken = getattr(fits, name).copy()
        broken[index] = np.nan
        parts = {n: getattr(fits, n) for n in ("hidden", "bias", "out", "skip")} | {name: broken}
        with pytest.raises(InputError, match=name):
            Network(**parts)
