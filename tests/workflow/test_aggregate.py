"""Votes and verdicts."""

from __future__ import annotations

import itertools
import random

import pytest

from fugu_adapters.workflow import Aggregate
from fugu_adapters.workflow.aggregate import choose, normalise, select, vote


@pytest.mark.parametrize(
    "text",
    ["1234", " 1,234 ", "**1234.**", "$1,234.00", "Answer: 1,234", "So:\nThe final answer is 1234.",
     r"Thus \boxed{1234}", "work 1 2 3\nAnswer: **1,234.0**", "+1234", "\uff11\uff12\uff13\uff14"],
)  # fmt: skip
def test_ways_to_write_a_number_are_one_answer(text: str) -> None:
    """Commas, zeros, boxes, emphasis, currency and full-width digits do not count."""
    assert normalise(text) == "1234"


def test_different_answers_stay_different() -> None:
    """Normalising never makes one of two."""
    answers = ["12", "1.2", "-12", "120", "0.12", "12 cm", "yes", "no", "1,2", "(B)", "(C)"]
    assert len({normalise(answer) for answer in answers}) == len(answers)
    assert normalise("Yes!") == normalise("YES") == "yes"
    assert normalise("10") == "10"
    assert normalise("The answer") == "the answer"


def test_most_votes_win_then_most_weight_then_the_first() -> None:
    """A tie is decided the same way every time."""
    assert vote(["a", "b", "B."]) == 1
    assert vote(["a", "b"]) == 0
    assert vote(["a", "b"], [0.2, 0.7]) == 1
    assert vote(["a", "b", "a", "b"], [0.5, 0.2, 0.0, 0.2]) == 0
    assert vote(["a", "b", "b"], [0.9, 0.1, 0.2]) == 2  # votes before weight, then the better text
    assert vote(["", " ", "c"]) == 2
    assert vote(["", ""]) == 0


def test_a_vote_does_not_depend_on_the_order_without_ties() -> None:
    """The winning answer is the same for every order of the ballots."""
    for order in itertools.permutations(["x", "x", "y", "z"]):
        assert order[vote(order)] == "x"
    rng = random.Random(1)
    for _ in range(200):
        texts = [rng.choice("abc") for _ in range(rng.randint(1, 5))]
        most = max(texts.count(text) for text in texts)
        assert texts.count(texts[vote(texts)]) == most


@pytest.mark.parametrize(
    ("verdict", "index"),
    [
        ("Best: step 2", 1),
        ("Both fine.\n\n**Best: Step 1.**", 0),
        ("Best: step 1\nNo, wait.\nBest: step 2", 1),
        ("Best: step 3", None),
        ("Best: step 12", None),
        ("Best: step 0", None),
        ("The best: step 1 is worse than step 2", None),
        ("", None),
    ],
)
def test_a_verdict_counts_only_where_it_names_a_choice(verdict: str, index: int | None) -> None:
    """The last line of its own that names one of the steps."""
    assert select(verdict, (0, 1)) == index


def test_the_judge_chooses_and_without_a_verdict_the_vote_does() -> None:
    """Weights decide the vote's ties by step."""
    judged = Aggregate(kind="select", steps=(0, 1), judge=2)
    outputs = {0: "x", 1: "y", 2: "Best: step 2"}
    assert choose(judged, outputs) == 1
    assert choose(judged, {**outputs, 2: "hard to say"}) == 0
    assert choose(judged, {**outputs, 2: "hard to say"}, {1: 0.5}) == 1
    assert choose(Aggregate(kind="vote", steps=(1, 3, 4)), {1: "a", 3: "b", 4: "b"}) == 3
