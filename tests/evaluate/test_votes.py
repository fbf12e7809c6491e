"""Recorded answers and the fixed ways of making one of several."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fugu_adapters.errors import ConfigError, InputError
from fugu_adapters.evaluate.votes import (
    Recorded,
    accepted,
    always,
    answer_codes,
    best_answer,
    best_column,
    early_vote,
    fit_acceptance,
    fit_cascade,
    fit_vote,
    majority,
    normalise,
    read_answers,
)


def made_up(n: int = 400, skill: tuple[float, ...] = (0.8, 0.7, 0.7), seed: int = 0) -> Recorded:
    """Independent workers; wrong answers are one of twenty, the right one is 0."""
    rng = np.random.default_rng(seed)
    p = np.array(skill)
    right = rng.random((n, len(p))) < p
    answer = np.where(right, 0, rng.integers(1, 20, right.shape))
    cost = np.tile(0.001 * np.arange(len(p), 0, -1), (n, 1))
    return Recorded(
        workers=tuple(f"w{index}" for index in range(len(p))), answer=answer,
        scores=right.astype(float), cost=cost, forecast=np.tile(p, (n, 1)),
    )  # fmt: skip


def of(answers: list[list[int]], scores: list[list[float]] | None = None) -> Recorded:
    """A few items by hand; every call costs a dollar."""
    answer = np.array(answers)
    return Recorded(
        workers=tuple("abcd"[: answer.shape[1]]), answer=answer,
        scores=(answer == 0).astype(float) if scores is None else np.array(scores),
        cost=np.ones(answer.shape), forecast=np.full(answer.shape, 0.5),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("18,426", "18426.0"),
        ("$1,000", "1000"),
        (" .5", "0.5"),
        ('{"b": 1.0, "a": 2}', '{"a":2,"b":1}'),
        ("[f(x=1, y='a')]", '[{"f": "{\\"y\\": \\"a\\", \\"x\\": 1}"}]'),
        ("a.f(x=1)", '<tool_call>\n{"arguments": {"x": 1}, "name": "a_f"}\n</tool_call>'),
        ("['f(x=[1, 2])']", "[f(x=[1,2])]"),
        ("[f(x=g)]", "[f(x = g)]"),
        ("\\dfrac{1}{2}", "\\frac {1}{2}"),
        ("one  two\nthree.", "one two three"),
    ],
)
def test_one_spelling(one: str, other: str) -> None:
    """Answers that say the same are spelled the same."""
    assert normalise(one) == normalise(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("1", "2"), ("a", "A"), ("[f(x=1)]", "[f(x=2)]"), ("f(1)", "f(2)"), ("f(**x)", "f(**y)"), ("-1", "1"),
     ("[1, 2]", "[2, 1]"), ("{broken", "{broken too"), ("f(x=1", "f(x=2"), ("'\\d'(", "'\\w'(")],
)  # fmt: skip
def test_different_answers_stay_different(one: str, other: str) -> None:
    """What differs in meaning, or cannot be parsed, is never merged."""
    assert normalise(one) != normalise(other)


def test_codes_number_answers_within_an_item() -> None:
    """Equal answers share a number, none is -1, and an empty answer is an answer."""
    codes = answer_codes([["1", "1.0", None, "2"], ["", None, "", "x"]])
    assert codes.tolist() == [[0, 0, -1, 1], [0, -1, 0, 1]]


def test_no_answer_equals_nothing() -> None:
    """Two workers without an answer do not agree, not even each with itself."""
    same = of([[-1, -1, 0]]).same()[0]
    assert same.tolist() == [[False] * 3, [False] * 3, [False, False, True]]


def test_shapes_are_checked() -> None:
    """A table of another size, or with a hole, is refused."""
    good = of([[0, 1]])
    with pytest.raises(InputError, match="cost"):
        Recorded(workers=good.workers, answer=good.answer, scores=good.scores, cost=np.ones((1, 3)), forecast=good.forecast)  # fmt: skip
    with pytest.raises(InputError, match="scores"):
        of([[0, 1]], [[0.0, np.nan]])


def test_majority_returns_the_commonest_and_a_tie_is_not_right_by_itself() -> None:
    """Of equal counts the first worker's answer is returned, whether or not it is right."""
    items = of([[1, 0, 0], [1, 0, 2], [-1, -1, 0]])
    played = majority(items)
    assert played.score(items).tolist() == [1.0, 0.0, 1.0]
    assert played.calls.tolist() == [3, 3, 3]
    assert played.cost.tolist() == [3, 3, 3]


def test_weighted_vote_beats_majority_where_skill_differs() -> None:
    """One strong worker outvotes two weak ones that say different things, and weights follow skill."""
    train, test = made_up(skill=(0.9, 0.35, 0.35)), made_up(skill=(0.9, 0.35, 0.35), seed=1)
    vote, weight = fit_vote(train)
    assert weight[0] > weight[1] > 0
    assert vote(test).score(test).mean() >= majority(test).score(test).mean() - 0.01
    assert (
        vote(test).score(test).mean() >= always(best_column(train))(test).score(test).mean() - 0.01
    )


def test_early_vote_stops_and_says_the_same_when_it_cannot_be_caught() -> None:
    """Stopping only when the lead is safe changes no answer's score, and saves calls."""
    items = made_up(skill=(0.8, 0.75, 0.7, 0.6))
    weight = np.array([2.0, 1.1, 0.9, 0.4])
    full = np.array([[(items.same()[i] @ weight).max()] for i in range(len(items))])
    safe = early_vote(weight, [0, 1, 2, 3], agreeing=None)(items)
    won = np.array([(items.same()[i] @ weight)[c] for i, c in enumerate(safe.choice)])
    assert np.allclose(won, full[:, 0])
    assert safe.calls.mean() < 4
    two = early_vote(weight, [0, 1, 2, 3])(items)
    assert two.calls.min() == 2
    assert two.calls.mean() <= safe.calls.mean()


def test_cascade_keeps_to_its_budget() -> None:
    """The mean cost on the items that it was tuned on is within the budget, and more budget never hurts there."""
    train = made_up(n=300, skill=(0.85, 0.7, 0.5))
    means = []
    for budget in (0.0011, 0.002, np.inf):
        method, words = fit_cascade(train, budget=budget)
        played = method(train)
        assert played.cost.mean() <= budget * 1.0001
        assert "w" in words
        means.append(played.score(train).mean())
    assert means == sorted(means)


def test_cascade_without_money_asks_the_cheapest() -> None:
    """Where no list fits the budget the cheapest worker answers alone."""
    train = made_up(n=50)
    method, words = fit_cascade(train, budget=0.0)
    assert words.startswith("w2 ")
    assert (method(train).choice == 2).all()


def test_bounds() -> None:
    """The oracle is at least every method; the selector's choice is the highest forecast."""
    items = made_up()
    top = best_answer(items).score(items)
    assert (top >= majority(items).score(items)).all()
    assert (always()(items).choice == 0).all()
    assert always(2)(items).cost.tolist() == items.cost[:, 2].tolist()


def test_read_answers(tmp_path: Path) -> None:
    """Answers land in the row of their item and the column of their worker; others are passed over."""
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    rows = {"suite": ["s"] * 4, "item_id": ["1", "1", "2", "9"], "worker": ["b", "a", "a", "a"], "answer": ["7", "7.0", None, "x"]}  # fmt: skip
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table(rows), path)
    assert read_answers([path], [("s", "1"), ("s", "2")], ["a", "b"]).tolist() == [[0, 0], [-1, -1]]
    (tmp_path / "b.parquet").write_bytes(b"no")
    with pytest.raises(ConfigError, match=r"b\.parquet"):
        read_answers([tmp_path / "b.parquet"], [("s", "1")], ["a"])


def test_acceptance_keeps_errors_within_what_is_allowed() -> None:
    """With calibrated trust, few accepted answers are wrong, fresh ones too, and most are accepted."""
    rng = np.random.default_rng(0)
    trust = rng.beta(8, 0.8, 20_000)
    scores = (rng.random(20_000) < trust).astype(float)
    level = fit_acceptance(trust[:10_000], scores[:10_000])
    share, wrong = accepted(trust[10_000:], scores[10_000:], level)
    assert share > 0.6
    assert wrong < 0.06
    assert fit_acceptance(trust[:10_000], scores[:10_000], wrong=0.02) > level


def test_acceptance_of_nothing() -> None:
    """Where all are wrong, or there are too few to tell, nothing is accepted; equal trust goes together."""
    assert fit_acceptance(np.full(100, 0.9), np.zeros(100)) > 1
    assert fit_acceptance(np.full(5, 0.9), np.ones(5)) > 1
    assert accepted(np.full(5, 0.9), np.ones(5), 2.0) == (0.0, 0.0)
    half = np.tile([1.0, 0.0], 100)
    assert fit_acceptance(np.full(200, 0.9), np.sort(half)[::-1]) > 1
