"""Episodes over recorded answers, the searches, and what a fit says about a pool."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from recorded_answers import made_up

from fugu_adapters.errors import ConfigError, InputError, WeightsError
from fugu_adapters.evaluate.votes import Recorded, always, best_column
from fugu_adapters.learn.coordinator_fit import (
    EFFORTS,
    SEARCHES,
    Fitted,
    Plan,
    fit_coordinator,
    fit_efforts,
    headroom,
)
from fugu_adapters.learn.evolve import Budget, best_of, evolve, random_search, reinforce
from fugu_adapters.learn.replay import Price, Replay, play
from fugu_adapters.policies.coordinator import Coordinator

pytestmark = pytest.mark.skipif(find_spec("cmaes") is None, reason="comes with the train extra")

Floats = np.ndarray
SMALL = Budget(generations=4, episodes=64, population=6)
START = np.array([0.2, 0.8, 0.5])


def bowl(numbers: Floats, number: int | None) -> float:
    """Highest at a point that is not the start; every generation sees it a little shifted."""
    shift = 0.0 if number is None else 0.001 * (number % 3)
    return -float(((numbers - np.array([0.7, 0.3, 0.5]) - shift) ** 2).sum())


# --- episodes -------------------------------------------------------------------------------------


def test_nothing_of_an_unasked_worker_is_seen() -> None:
    """Whatever a worker that is never asked would have said, the episode is the same."""
    items = made_up(n=200)
    free = np.ones(items.answer.shape, dtype=bool)
    free[:, 3] = False
    changed = items.answer.copy()
    changed[:, 3] = 0
    cost = items.cost.mean(axis=0)
    first = play(Coordinator(), items, cost, free)
    second = play(Coordinator(), replace(items, answer=changed), cost, free)
    assert (first.choice == second.choice).all()
    assert (first.calls == second.calls).all()
    assert (first.choice != 3).all()


def test_cost_and_calls_add_up() -> None:
    """Every call is paid once, nobody is asked twice, and the reward takes the price off."""
    items = made_up(n=100)
    items = replace(items, forecast=np.full_like(items.forecast, 0.7))
    replay = Replay(items, Price(calls=1.5))
    rule = Coordinator(cap=2, enough=99.0)
    played = play(rule, items, replay.cost)
    assert (played.calls == 2).all()
    assert played.cost == pytest.approx(0.002)
    reward = replay.reward(items, played)
    assert reward == pytest.approx(played.score(items) - 0.001 - 0.0005 * 2)
    assert replay.fitness(rule) == pytest.approx(reward.mean() - 0.1 * 0.5)
    assert replay.fitness(rule, np.arange(10)) == pytest.approx(reward[:10].mean() - 0.1 * 0.5)


def test_speed() -> None:
    """At least 100,000 episodes a minute on one core, with room to spare."""
    items = made_up(n=5_000, skill=(0.8,) * 8)
    began = time.process_time()
    play(Coordinator(), items, items.cost.mean(axis=0))
    assert 5_000 / (time.process_time() - began) * 60 > 100_000


# --- searches -------------------------------------------------------------------------------------


@pytest.mark.parametrize("search", [evolve, random_search, reinforce])
def test_searches_climb_and_repeat(search: object) -> None:
    """Each ends higher than it started, with the same seed in the same bits, with another in others."""
    budget = Budget(generations=25, population=8)
    first, again, other = (search(bowl, START, budget=budget, seed=s) for s in (1, 1, 2))  # type: ignore[operator]
    assert bowl(first, None) > bowl(START, None) + 0.2
    assert first.tobytes() == again.tobytes() != other.tobytes()
    assert ((first >= 0) & (first <= 1)).all()


def test_evolution_sees_equal_episodes_within_a_generation() -> None:
    """All candidates of a generation are given its number, and the curve has a point for each."""
    seen: list[int | None] = []
    curve: list[float] = []

    def noted(numbers: Floats, number: int | None) -> float:
        seen.append(number)
        return bowl(numbers, number)

    evolve(noted, START, budget=SMALL, progress=lambda _done, reward: curve.append(reward))
    assert [seen.count(number) for number in range(4)] == [7] * 4  # six candidates and the centre
    assert len(curve) == 4


def test_resumed_training_is_bit_equal(tmp_path: Path) -> None:
    """Stopped after three generations and gone on with, it ends in the same bits."""
    budget = Budget(generations=8, population=6)
    whole = evolve(bowl, START, budget=budget, seed=3, checkpoint=tmp_path / "a")
    evolve(bowl, START, budget=budget, seed=3, checkpoint=tmp_path / "b", stop_after=3)
    assert (tmp_path / "a").read_bytes() != (tmp_path / "b").read_bytes()
    rest = evolve(bowl, START, budget=budget, seed=3, checkpoint=tmp_path / "b")
    assert whole.tobytes() == rest.tobytes()
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_foreign_checkpoints_are_refused(tmp_path: Path) -> None:
    """Of another seed, another population, or not a checkpoint at all."""
    path = tmp_path / "state"
    evolve(bowl, START, budget=SMALL, checkpoint=path, stop_after=1)
    with pytest.raises(WeightsError, match="another run"):
        evolve(bowl, START, budget=SMALL, seed=9, checkpoint=path)
    with pytest.raises(WeightsError, match="another run"):
        evolve(bowl, START, budget=Budget(population=7), checkpoint=path)
    path.write_bytes(b"nonsense")
    with pytest.raises(WeightsError, match="not a checkpoint"):
        evolve(bowl, START, budget=SMALL, checkpoint=path)


def test_rewards_that_are_no_numbers_lose() -> None:
    """A candidate whose reward is NaN counts as the worst, and never replaces the start."""
    count = iter(range(10_000))
    found = evolve(lambda x, g: np.nan if next(count) % 3 == 0 else bowl(x, g), START, budget=SMALL)
    assert np.isfinite(found).all()
    assert best_of(bowl, START, np.full(3, np.nan)) is START
    assert best_of(lambda _x, _g: np.nan, START, np.zeros(3)) is START


def test_a_start_outside_of_the_cube_is_refused() -> None:
    """As are fewer numbers than separable CMA-ES can do with."""
    with pytest.raises(InputError, match="0 to 1"):
        evolve(bowl, np.array([0.5, 1.5, 0.5]))
    with pytest.raises(InputError, match="two or more"):
        evolve(bowl, np.array([0.5]))


def test_without_cmaes_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The optional dependency is named."""
    monkeypatch.setitem(sys.modules, "cmaes", None)
    with pytest.raises(ConfigError, match="train"):
        evolve(bowl, START)


# --- fits -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("search", SEARCHES)
def test_no_search_ends_below_its_start(search: str) -> None:
    """On what it was fitted to; and the same seed gives the same numbers."""
    items, plan = made_up(n=300), Plan(search=search, budget=SMALL)
    found = fit_coordinator([items], plan, seed=1)
    assert found == fit_coordinator([items], plan, seed=1)
    replay = Replay(items, plan.price)
    assert replay.fitness(found) >= replay.fitness(Coordinator(cap=plan.cap))


def fitted(train: Recorded) -> Fitted:
    """As the evaluation does it."""
    found = fit_coordinator([train], Plan(budget=SMALL))
    room = headroom(train, Plan(budget=SMALL))
    return Fitted(coordinator=found, cost=train.cost.mean(axis=0), headroom=room)


def test_asking_more_pays_where_it_can() -> None:
    """On fresh items of independent workers it beats the best one by far, in few calls."""
    train, test = made_up(n=1_000), made_up(n=2_000, seed=5)
    ours = fitted(train)
    assert ours.headroom.pays
    assert "asks on" in str(ours.headroom)
    played, alone = ours.play(test), always(best_column(train))(test)
    assert played.score(test).mean() > alone.score(test).mean() + 0.1
    assert played.calls.mean() < 3


def test_without_headroom_it_stays_with_one_call() -> None:
    """Workers that all say the same leave nothing to gain, and it says so."""
    rng = np.random.default_rng(0)
    right = np.repeat(rng.random((300, 1)) < 0.7, 3, axis=1)
    same = Recorded(
        workers=("a", "b", "c"), answer=np.where(right, 0, 1), scores=right.astype(float),
        cost=np.ones((300, 3)), forecast=np.full((300, 3), 0.7),
    )  # fmt: skip
    ours = fitted(same)
    assert not ours.headroom.pays
    assert "no headroom" in str(ours.headroom)
    assert (ours.play(same).calls == 1).all()


def test_the_best_single_worker_stands_where_the_selector_is_worse() -> None:
    """Without headroom the one call goes to whoever did better: here not to the forecast's favourite."""
    items = made_up(n=400, skill=(0.9, 0.3))
    misled = replace(items, forecast=items.forecast[:, ::-1])
    room = headroom(misled, Plan(cap=1, budget=SMALL))
    assert (room.single, room.pays) == (0, False)
    ours = Fitted(coordinator=Coordinator(), cost=items.cost.mean(axis=0), headroom=room)
    assert (ours.play(misled).choice == 0).all()


def test_trust_is_calibrated_on_fresh_items() -> None:
    """Answers are right about as often as they are said to be, the firm ones too."""
    found = fit_coordinator([made_up(n=4_000)], Plan(budget=SMALL))
    fresh = made_up(n=4_000, seed=1)
    played = play(found, fresh, fresh.cost.mean(axis=0))
    trust, right = np.asarray(played.trust), played.score(fresh)
    assert trust.mean() == pytest.approx(right.mean(), abs=0.02)
    firm = trust > np.median(trust)
    assert trust[firm].mean() == pytest.approx(right[firm].mean(), abs=0.03)
    assert right[firm].mean() > right[~firm].mean() + 0.1


def test_effort_buys_calls() -> None:
    """More effort is more calls, within its bound."""
    items = made_up(n=800, skill=(0.8, 0.75, 0.7, 0.68, 0.66))
    found = fit_efforts([items], generations=5)
    calls = [play(each, items, items.cost.mean(axis=0)).calls for each in found.values()]
    assert list(found) == list(EFFORTS)
    assert all(each.max() <= cap for each, cap in zip(calls, (2, 3, 4, 5), strict=True))
    assert calls[0].mean() < calls[2].mean() <= calls[3].mean()


def test_a_pool_that_shrinks_is_trained_for() -> None:
    """With only half of the workers in each episode less is to be had, as the curve shows."""
    curves: dict[float, list[float]] = {0.5: [], 1.0: []}
    for keep, curve in curves.items():
        plan = Plan(budget=replace(SMALL, episodes=500, keep=keep))
        fit_coordinator([made_up(n=500)], plan, progress=lambda _n, r, c=curve: c.append(r))
    assert np.mean(curves[0.5]) < np.mean(curves[1.0]) - 0.02


def test_fits_refuse_too_little_and_unknown_searches() -> None:
    """Errors say what was expected."""
    with pytest.raises(InputError, match="20 items"):
        fit_coordinator([made_up(n=5)])
    with pytest.raises(InputError, match="at least one pool"):
        fit_coordinator([])
    with pytest.raises(InputError, match="reinforce"):
        fit_coordinator([made_up(n=50)], Plan(search="magic"))
