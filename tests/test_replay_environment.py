"""Episodes over recorded answers, the coordinator's pure part, and the searches."""

from __future__ import annotations

import json
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from fugu_adapters.errors import ConfigError, InputError, WeightsError
from fugu_adapters.evaluate.votes import Recorded, always, best_column
from fugu_adapters.learn.coordinator_fit import FitPlan, fit_coordinator
from fugu_adapters.learn.evolve import SEARCHES, Budget, best_of, evolve
from fugu_adapters.learn.replay import (
    Price,
    Replay,
    fit_coordinator_vote,
    reference_cost,
    simple_heads,
)
from fugu_adapters.policies.coordinator import (
    FEATURES,
    Coordinator,
    State,
    Vote,
    load_coordinator,
    save_coordinator,
)

SMALL = Budget(generations=4, episodes=64, population=6)

NEEDS_CMAES = pytest.mark.skipif(find_spec("cmaes") is None, reason="comes with the train extra")


def made_up(n: int = 600, skill: tuple[float, ...] = (0.75, 0.72, 0.7, 0.68), seed: int = 0) -> Recorded:  # fmt: skip
    """Independent workers of like price; wrong answers are one of thirty, the right one is 0."""
    rng = np.random.default_rng(seed)
    p = np.array(skill)
    right = rng.random((n, len(p))) < p
    answer = np.where(right, 0, rng.integers(1, 30, right.shape))
    answer[rng.random(answer.shape) < 0.02] = -1
    return Recorded(
        workers=tuple(f"w{index}" for index in range(len(p))), answer=answer,
        scores=(answer == 0).astype(float), cost=np.full(answer.shape, 0.001),
        forecast=np.clip(np.tile(p, (n, 1)) + rng.normal(0, 0.02, answer.shape), 0, 1),
    )  # fmt: skip


def built(items: Recorded, head: int = 40) -> tuple[Coordinator, Replay]:
    """A vote fitted to the items with one of the simple heads."""
    vote = fit_coordinator_vote(items, turns=4)
    reference, cost = reference_cost(items)
    coordinator = Coordinator(
        workers=items.workers, vote=vote, cost=cost, turns=4, head=simple_heads(len(items.workers))[head]
    )  # fmt: skip
    return coordinator, Replay(items, vote, Price(), reference)


def test_vote_is_calibrated() -> None:
    """Leading answers are right about as often as they are said to be, and firm ones are."""
    items, fresh = made_up(n=4_000), made_up(n=4_000, seed=1)
    vote = fit_coordinator_vote(items, turns=4)
    assert (vote.agree > 0).all()
    assert (vote.dissent < 0).all()
    p = np.clip(fresh.forecast, 0.01, 0.99)
    state = State.start(vote, np.log(p / (1 - p)))
    rows, same = np.arange(len(fresh)), fresh.same()
    for worker in range(3):
        state.tell(rows, np.full(len(rows), worker), same[:, worker])
    lead, logit = state.leader()
    q, right = 1 / (1 + np.exp(-logit)), fresh.scores[rows, lead]
    firm = q > 0.9
    assert q[firm].mean() == pytest.approx(right[firm].mean(), abs=0.02)
    assert q.mean() == pytest.approx(right.mean(), abs=0.05)
    assert right[firm].mean() > right[~firm].mean() + 0.4


def test_agreement_raises_and_dissent_lowers() -> None:
    """A second equal answer makes the first more probable, another one less; none is dissent, and never leads."""
    vote = Vote(bias=0.0, agree=np.ones(3), dissent=-np.ones(3), agree_slope=0.0, dissent_slope=0.0, herd=0.1)  # fmt: skip
    coordinator = Coordinator(workers=("a", "b", "c"), vote=vote, cost=np.ones(3), head=simple_heads(3)[0])  # fmt: skip
    p = [0.5] * 3
    _, _, one = coordinator.decide(p, {0: "x"})
    _, lead, two = coordinator.decide(p, {0: "x", 1: "x"})
    _, _, split = coordinator.decide(p, {0: "x", 1: "y"})
    _, kept, mute = coordinator.decide(p, {1: None, 0: "x"})
    assert split < one < two
    assert (lead, kept) == (0, 0)
    assert mute == pytest.approx(split)


def test_decide_agrees_with_the_environment() -> None:
    """Played one request at a time through ``decide``, an episode asks the same workers and ends the same."""
    items = made_up(n=60)
    coordinator, replay = built(items)
    played = replay.play(coordinator)
    assert 1 < played.calls.mean() < 4
    for row in range(len(items)):
        answers: dict[int, object] = {}
        while True:
            ask, lead, _ = coordinator.decide(items.forecast[row], answers)
            if ask is None:
                break
            code = int(items.answer[row, ask])
            answers[ask] = None if code < 0 else code
        assert (lead, len(answers)) == (played.choice[row], played.calls[row])


def test_nothing_of_an_unasked_worker_is_seen() -> None:
    """Whatever a worker that is never asked would have said, the episode is the same."""
    items = made_up(n=200)
    coordinator, replay = built(items)
    free = np.ones(items.answer.shape, dtype=bool)
    free[:, 3] = False
    changed = items.answer.copy()
    changed[:, 3] = 0
    other = Recorded(workers=items.workers, answer=changed, scores=items.scores, cost=items.cost, forecast=items.forecast)  # fmt: skip
    again = Replay(other, coordinator.vote, Price(), replay.reference)
    first, second = replay.play(coordinator, available=free), again.play(coordinator, available=free)  # fmt: skip
    assert (first.choice == second.choice).all()
    assert (first.choice != 3).all()


def test_cost_and_calls_add_up() -> None:
    """Every call is paid once, nobody is asked twice, turns are bounded, and the reward takes the price off."""
    items = made_up(n=100)
    coordinator, replay = built(items)
    always_on = coordinator.with_head(np.array([1.0, *[0.0] * (len(FEATURES) - 1), *[5.0] * 4]))
    played = replay.play(always_on)
    assert (played.calls == 4).all()
    assert played.cost == pytest.approx(4 * 0.001)
    reward = replay.reward(played)
    assert reward == pytest.approx(played.score(items) - 3 * 0.001 - 0.0005 * 4)
    assert replay.fitness(played) == pytest.approx(reward.mean() - 0.1 * (4 - 2.4))
    once = replay.play(coordinator.with_head(simple_heads(4)[0] - np.eye(11)[3] * 5))
    assert (once.calls == 1).all()


def test_a_chosen_stop_is_obeyed_and_the_bound_holds() -> None:
    """With a chooser of one's own the episode follows it."""
    items = made_up(n=50)
    coordinator, replay = built(items)
    played = replay.play(coordinator, choose=lambda _f, worth, turn: np.full(len(worth), turn if turn < 2 else -1))  # fmt: skip
    assert (played.calls == 2).all()


def test_speed() -> None:
    """At least 100,000 episodes a minute on one core, with room to spare."""
    items = made_up(n=2_000, skill=(0.8,) * 8)
    coordinator, replay = built(items)
    began = time.process_time()
    replay.play(coordinator, np.random.default_rng(0).integers(0, 2_000, 5_000))
    assert 5_000 / (time.process_time() - began) * 60 > 100_000


@NEEDS_CMAES
def test_asking_more_pays_where_it_can() -> None:
    """On fresh items of independent workers the coordinator beats the best one, in few calls."""
    train, test = made_up(n=1_000), made_up(n=2_000, seed=5)
    fitted = fit_coordinator(train, FitPlan(budget=SMALL))
    assert fitted.pays
    played = fitted.play(test)
    alone = always(best_column(train))(test)
    assert played.score(test).mean() > alone.score(test).mean() + 0.03
    assert played.calls.mean() < 2.7
    assert fitted.simple(test).calls.mean() > 1


@NEEDS_CMAES
def test_without_headroom_it_stays_with_one_call() -> None:
    """Workers that all say the same leave nothing to gain, and it says so."""
    rng = np.random.default_rng(0)
    right = np.repeat(rng.random((300, 1)) < 0.7, 3, axis=1)
    same = Recorded(
        workers=("a", "b", "c"), answer=np.where(right, 0, 1), scores=right.astype(float),
        cost=np.ones((300, 3)), forecast=np.full((300, 3), 0.7),
    )  # fmt: skip
    fitted = fit_coordinator(same, FitPlan(budget=SMALL))
    assert not fitted.pays
    assert "no headroom" in fitted.notes["decision"]
    assert (fitted.play(same).calls == 1).all()


def test_fit_refuses_too_little_and_unknown_searches() -> None:
    """Errors say what was expected."""
    with pytest.raises(InputError, match="20 items"):
        fit_coordinator(made_up(n=5))
    with pytest.raises(InputError, match="reinforce"):
        fit_coordinator(made_up(n=50), FitPlan(search="magic"))


@NEEDS_CMAES
@pytest.mark.parametrize("name", sorted(SEARCHES))
def test_no_search_is_worse_than_its_start(name: str) -> None:
    """On what it was trained on, and the same seed gives the same head."""
    coordinator, replay = built(made_up(n=150), head=3)
    found = SEARCHES[name](replay, coordinator, budget=SMALL, seed=1)
    again = SEARCHES[name](replay, coordinator, budget=SMALL, seed=1)
    assert (found.head == again.head).all()
    assert replay.fitness(replay.play(found)) >= replay.fitness(replay.play(coordinator))


@NEEDS_CMAES
def test_evolution_improves_a_bad_start() -> None:
    """From a head that never asks twice it climbs, and the curve says so."""
    coordinator, replay = built(made_up(n=400), head=0)
    curve: list[float] = []
    found = evolve(
        replay, coordinator, budget=Budget(generations=30, episodes=256, population=10),
        progress=lambda _n, reward: curve.append(reward),
    )  # fmt: skip
    assert len(curve) == 30
    assert replay.fitness(replay.play(found)) > replay.fitness(replay.play(coordinator)) + 0.01


@NEEDS_CMAES
def test_resumed_training_is_bit_equal(tmp_path: Path) -> None:
    """Stopped after three generations and gone on with, it ends in the same bits."""
    coordinator, replay = built(made_up(n=200), head=0)
    budget = Budget(generations=8, episodes=64, population=6, keep=0.75)
    whole = evolve(replay, coordinator, budget=budget, seed=3, checkpoint=tmp_path / "a")
    evolve(replay, coordinator, budget=budget, seed=3, checkpoint=tmp_path / "b", stop_after=3)
    assert (tmp_path / "a").read_bytes() != (tmp_path / "b").read_bytes()
    rest = evolve(replay, coordinator, budget=budget, seed=3, checkpoint=tmp_path / "b")
    assert whole.head.tobytes() == rest.head.tobytes()
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@NEEDS_CMAES
def test_foreign_checkpoints_are_refused(tmp_path: Path) -> None:
    """Of another seed, another population, or not a checkpoint at all."""
    coordinator, replay = built(made_up(n=100))
    path = tmp_path / "state"
    evolve(replay, coordinator, budget=SMALL, checkpoint=path, stop_after=1)
    with pytest.raises(WeightsError, match="another run"):
        evolve(replay, coordinator, budget=SMALL, seed=9, checkpoint=path)
    with pytest.raises(WeightsError, match="another run"):
        evolve(replay, coordinator, budget=Budget(population=7), checkpoint=path)
    path.write_bytes(b"nonsense")
    with pytest.raises(WeightsError, match="not a checkpoint"):
        evolve(replay, coordinator, budget=SMALL, checkpoint=path)


@NEEDS_CMAES
def test_evolution_survives_rewards_that_are_no_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A candidate whose reward is NaN counts as the worst; the result is finite."""
    coordinator, replay = built(made_up(n=100))
    plain = replay.fitness
    count = iter(range(10_000))
    monkeypatch.setattr(replay, "fitness", lambda played, rows=None: np.nan if next(count) % 3 == 0 else plain(played, rows))  # fmt: skip
    found = evolve(replay, coordinator, budget=SMALL)
    assert np.isfinite(found.head).all()
    assert best_of(replay, coordinator, [np.full(len(coordinator.head), np.nan)]) is coordinator


def test_without_cmaes_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The optional dependency is named."""
    coordinator, replay = built(made_up(n=50))
    monkeypatch.setitem(sys.modules, "cmaes", None)
    with pytest.raises(ConfigError, match="train"):
        evolve(replay, coordinator, budget=SMALL)


def test_weights_come_back_as_they_were_written(tmp_path: Path) -> None:
    """Every number, exactly; and it decides the same."""
    coordinator, replay = built(made_up(n=100))
    save_coordinator(coordinator, tmp_path)
    back = load_coordinator(tmp_path)
    assert back.head.tobytes() == coordinator.head.tobytes()
    assert (back.workers, back.turns, back.vote.herd) == (coordinator.workers, 4, coordinator.vote.herd)  # fmt: skip
    assert (replay.play(back).choice == replay.play(coordinator).choice).all()


@pytest.mark.parametrize("harm", ["missing", "json", "format", "features", "digest", "workers"])
def test_damaged_weights_are_refused(tmp_path: Path, harm: str) -> None:
    """Whatever is wrong with the folder, it is an error of weights that names it."""
    coordinator, _ = built(made_up(n=50))
    save_coordinator(coordinator, tmp_path)
    manifest, tensors = tmp_path / "manifest.json", tmp_path / "coordinator.safetensors"
    written = json.loads(manifest.read_text(encoding="utf-8"))
    if harm == "missing":
        tensors.unlink()
    elif harm == "json":
        manifest.write_text("{", encoding="utf-8")
    elif harm == "digest":
        tensors.write_bytes(tensors.read_bytes()[:-1] + b"x")
    else:
        written[harm] = {"format": 99, "features": ["gain"], "workers": ["w0"]}[harm]
        manifest.write_text(json.dumps(written), encoding="utf-8")
    with pytest.raises(WeightsError):
        load_coordinator(tmp_path)


def test_a_head_of_another_size_is_refused() -> None:
    """Sizes and finiteness are checked when a coordinator is made."""
    coordinator, _ = built(made_up(n=50))
    with pytest.raises(InputError, match="expected 11"):
        coordinator.with_head(np.zeros(3))
    with pytest.raises(InputError):
        coordinator.with_head(np.full(11, np.nan))


def test_nobody_to_ask_is_an_error() -> None:
    """Masking all workers raises before any answer; after one it is a stop."""
    coordinator, _ = built(made_up(n=50))
    with pytest.raises(InputError, match="nobody"):
        coordinator.decide([0.5] * 4, {}, [False] * 4)
    ask, lead, _ = coordinator.decide([0.5] * 4, {2: "x"}, [False] * 4)
    assert (ask, lead) == (None, 2)
