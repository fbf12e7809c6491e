"""Group-relative policy optimisation, workflows over recorded answers, and what a trained conductor gains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recorded_answers import made_up

from fugu_adapters.errors import ConfigError, InputError
from fugu_adapters.evaluate.votes import always
from fugu_adapters.learn import grpo as learning
from fugu_adapters.learn.conductor_eval import compare_conductors, plain_conductors
from fugu_adapters.learn.conductor_fit import Training, fit_conductor, fit_value, play_conductor
from fugu_adapters.learn.conductor_replay import Recordings, carry_out, order_of
from fugu_adapters.learn.coordinator_data import Suite
from fugu_adapters.learn.grpo import Recipe, advantages, grpo
from fugu_adapters.policies.conductor import EFFORTS, Conductor, Move, Network, Price, Sketch
from fugu_adapters.policies.coordinator import Coordinator

QUICK = Training(recipe=Recipe(iterations=40, groups=32))
MEANS = tuple(EFFORTS.values())


def scenes(price: float = 0.0, **options: object) -> Recordings:
    prices = tuple(Price(call=price, spend=0.0) for _ in MEANS)
    return Recordings(made_up(), prices, tuple(m.steps for m in MEANS), **options)  # type: ignore[arg-type]


def test_advantages_are_within_a_group() -> None:
    """A plan is compared with the others of its request, and with nothing else."""
    found = advantages(np.array([1.0, 0.0, 5.0, 5.0]), 2)
    assert found.tolist() == [2.0, -2.0, 0.0, 0.0]


def test_the_gradient_is_that_of_the_objective() -> None:
    """By finite differences, of every part of the network."""
    rng = np.random.default_rng(0)
    network = Network.untrained(seed=3, units=3)
    episodes = scenes().draw(6, 4, rng)
    steps = learning._roll(episodes.board, network, rng)
    gain = rng.normal(size=24)
    parts = {name: getattr(network, name).copy() for name in learning._PARTS}

    def objective(weights: dict[str, np.ndarray]) -> float:
        total = 0.0
        for step in steps:
            logits = np.where(step.legal, Network(**weights)(step.features), -np.inf)
            log_p = logits[np.arange(len(step.rows)), step.choice] - learning._log_sum(logits)
            total += float((gain[step.rows] * np.exp(log_p - step.log_p)).sum())
        return total

    slope = learning._slope(parts, steps, gain, clip=10.0)
    for name in learning._PARTS:
        flat = int(np.argmax(np.abs(slope[name])))
        place = np.unravel_index(flat, slope[name].shape)
        nudged = {key: value.copy() for key, value in parts.items()}
        nudged[name][place] += 1e-6
        assert (objective(nudged) - objective(parts)) / 1e-6 == pytest.approx(
            float(slope[name][place]), rel=1e-3
        )


def test_what_is_clipped_has_no_gradient() -> None:
    """A choice that is already much likelier than when it was drawn is not pushed further."""
    rng = np.random.default_rng(0)
    network = Network.untrained(seed=3, units=3)
    episodes = scenes().draw(2, 2, rng)
    steps = learning._roll(episodes.board, network, rng)
    parts = {name: getattr(network, name) for name in learning._PARTS}
    for step in steps:
        step.log_p = step.log_p - 1.0
    slope = learning._slope(parts, steps, np.ones(4), clip=0.2)
    assert all((value == 0).all() for value in slope.values())


def test_price_decides_how_much_is_asked() -> None:
    """Free calls are made, dear ones are not."""
    calls = []
    for price in (0.0, 0.5):
        network = grpo([scenes(price, subsets=False)], Network.untrained(), QUICK.recipe, seed=0)
        sketches = Conductor(network=network).write(scenes().draw(200, 1, np.random.default_rng(9)).board)  # fmt: skip
        calls.append(np.mean([len(sketch.moves) for sketch in sketches]))
    assert calls[0] > 2
    assert calls[1] < 1.1


def test_a_training_that_was_cut_off_ends_in_the_same_bits(tmp_path: Path) -> None:
    """The state holds weights and moments; each iteration has a generator of its own."""
    recipe, start = Recipe(iterations=20, groups=8), Network.untrained()
    whole = grpo([scenes()], start, recipe, seed=1)
    file = tmp_path / "state"

    class Cut(Exception):
        pass

    def cut(iteration: int, reward: float) -> None:
        if iteration == 13:
            raise Cut

    with pytest.raises(Cut):
        grpo([scenes()], start, recipe, seed=1, checkpoint=file, progress=cut)
    again = grpo([scenes()], start, recipe, seed=1, checkpoint=file)
    for name in learning._PARTS:
        assert np.array_equal(getattr(whole, name), getattr(again, name))
    with pytest.raises(ConfigError, match="seed 1"):
        grpo([scenes()], start, recipe, seed=2, checkpoint=file)
    with pytest.raises(ConfigError, match="another network"):
        grpo([scenes()], Network.untrained(units=2), recipe, seed=1, checkpoint=file)
    file.write_bytes(b"no")
    with pytest.raises(ConfigError, match="no state"):
        grpo([scenes()], start, recipe, seed=1, checkpoint=file)


def test_a_vote_that_ends_early_gives_the_same_answer() -> None:
    """Where the lead cannot be caught, the rest is not asked, and nothing changes but the price."""
    items, rule = made_up(), Coordinator(enough=99.0)
    order = np.tile(np.arange(4), (len(items), 1))
    whole, early = (carry_out(items, order, rule, replan=replan) for replan in (False, True))
    assert whole.score(items).mean() == early.score(items).mean()
    assert early.calls.mean() < whole.calls.mean() == 4
    assert (early.cost <= whole.cost + 1e-12).all()
    lone = carry_out(items, np.full((len(items), 1), 2), rule)
    assert (lone.choice == 2).all()


def test_orders_of_plans() -> None:
    """Columns in order, -1 where nobody is asked."""
    sketches = [Sketch(moves=(Move(kind="answer", worker=2), Move(kind="answer", worker=0)))]
    assert order_of(sketches).tolist() == [[2, 0, -1, -1, -1]]


def test_items_on_which_workers_differ_can_be_drawn_more_often() -> None:
    """The share is that of the draws."""
    recordings = scenes(disagreeing=0.9)
    split = np.ptp(recordings.items.scores, axis=1) > 0
    rows = recordings.draw(4_000, 1, np.random.default_rng(0)).rows
    assert split[rows].mean() == pytest.approx(0.9, abs=0.03)
    assert split.mean() < 0.85


def test_a_trained_conductor_gains_and_an_untrained_one_does_not_know_when_to_stop() -> None:
    """Independent workers leave much to gain; at equal calls the trained one is at least as good."""
    train, test = made_up(seed=0), made_up(seed=1)
    conductor = fit_conductor([train], QUICK)
    cost = train.cost.mean(axis=0)
    ours = play_conductor(conductor, test, cost, "high")
    assert ours.score(test).mean() > always()(test).score(test).mean() + 0.03
    assert ours.calls.mean() < 3.5
    one = play_conductor(conductor, test, cost, "low")
    assert (one.calls == 1).all()
    blind = replace(conductor, value=replace(conductor.value, share=0.0))
    assert (play_conductor(blind, test, cost, "high").calls == 1).all()


def test_the_value_is_calibrated_on_plans() -> None:
    """What it forecasts for a pool like that is about what happens."""
    train, test = made_up(seed=0), made_up(seed=1)
    conductor = fit_conductor([train], QUICK)
    value = fit_value(conductor, [train])
    three = [Sketch(moves=tuple(Move(kind="answer", worker=n) for n in range(3)))] * len(test)
    happened = carry_out(test, order_of(three), replan=True).score(test).mean()
    assert value(three, test.forecast).mean() == pytest.approx(happened, abs=0.07)


def test_too_little_is_an_error() -> None:
    """No pool, or one of too few items."""
    with pytest.raises(InputError, match="at least one pool"):
        fit_conductor([])
    with pytest.raises(InputError, match="20 items"):
        fit_conductor([made_up(n=10)])


def test_the_comparison_has_every_method() -> None:
    """Accuracy, calls, dollars, share of tokens, and forecasts beside what happened."""
    pytest.importorskip("cmaes", reason="comes with the train extra")

    def suite(name: str, seed: int) -> Suite:
        fit, test = (replace(each, tokens=np.full(each.scores.shape, 10.0)) for each in (made_up(300, seed=seed), made_up(200, seed=seed + 1)))  # fmt: skip
        return Suite(name=name, fit=fit, test=test, estimated=())

    told: list[tuple[str, int, int]] = []
    reports = compare_conductors(
        [suite("east", 0), suite("west", 5)],
        training=Training(recipe=Recipe(iterations=10, groups=16)),
        seeds=1,
        progress=lambda *said: told.append(said),
    )
    assert told[-1][1] == told[-1][2] == 3
    blocks = plain_conductors(reports)["suites"]
    assert list(blocks) == ["east", "west"]
    for block in blocks.values():
        methods = block["methods"]
        for name in ("ultra", "ultra_low", "ultra_at_once", "ultra_from_elsewhere", "without_value", "untrained", "untrained_with_value", "trinity", "selector", "best_single", "majority_vote", "majority_of_three", "weighted_vote", "moa", "oracle"):  # fmt: skip
            assert {"accuracy", "ci", "mean_calls", "cost_usd_per_1k", "vs_best_single", "ultra_ahead", "orchestration_token_share"} <= set(methods[name])  # fmt: skip
        assert methods["moa"]["mean_calls"] == 4
        assert methods["best_single"]["orchestration_token_share"] == 0
        assert methods["majority_vote"]["orchestration_token_share"] == pytest.approx(0.75)
        assert methods["majority_of_three"]["accuracy"] <= methods["oracle"]["accuracy"]
        high = block["forecasts"]["high"]
        assert high["calls"] == pytest.approx(high["actual_calls"], rel=0.25)
