"""What programs are called with, and which of them do the same."""

from __future__ import annotations

import asyncio

import pytest

from fugu_adapters import Pool
from fugu_adapters.errors import ConfigError
from fugu_adapters.policies.answers import read_answers
from fugu_adapters.policies.programs import (
    Behaviour,
    Trial,
    read_behaviour,
    same_behaviour,
    trial_of,
)
from fugu_adapters.workers.program import run_program

LARGEST = "Write a function largest(items): the largest number of a list. largest([3, 9, 2]) == 9."
RIGHT = "Here it is:\n```python\ndef largest(items):\n    return max(items)\n```\nprint it."
ALSO = "```python\ndef largest(items):\n    best = items[0]\n    for i in items:\n        best = i if i > best else best\n    return best\n\nprint(largest([1, 2]))\n```"
WRONG = "def largest(items):\n    return sorted(items)[0]"


def did(question: str, *replies: str) -> tuple[Trial, list[Behaviour | None]]:
    """Run the replies' programs on the calls of the first."""
    trial = trial_of(question, replies[0])
    assert trial is not None

    async def one(reply: str) -> Behaviour | None:
        source = trial.source(reply)
        if source is None:
            return None
        return read_behaviour(trial, (await run_program(source, seconds=2)).output)

    async def every() -> list[Behaviour | None]:
        return [await one(reply) for reply in replies]

    return trial, asyncio.run(every())


def test_programs_that_return_the_same_are_the_same() -> None:
    """Another way of writing, another way of failing, and a try of its own do not count."""
    trial, (right, also, wrong) = did(LARGEST, RIGHT, ALSO, WRONG)
    assert right is not None
    assert also is not None
    assert wrong is not None
    assert right != also  # one survives a call that the other does not
    assert same_behaviour(right, also)
    assert not same_behaviour(right, wrong)
    assert [trial.fails(each) for each in (right, also, wrong)] == [False, False, True]


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("largest([3, 9, 2]) == 9", "9"),
        ("`largest([3, 9, 2])` returns `9.0`.", "9"),
        ("`largest([3, 9, 2])` should return 9, and so on", "9"),
        ("largest([3, 9, 2]) -> 9", "9"),
        (">>> largest([3, 9, 2])\n9", "9"),
        ("largest([3, 9, 2]) == [1, (2.0, 'a b')]", "[1, (2, 'a b')]"),
        ("assert largest([3, 9, 2]) == {'b': 1, 'a': 2}  # so", "{'a': 2, 'b': 1}"),
        ("largest([3, 9, 2]) == 3 * 3", None),
        ("largest([3, 9, 2]) is called", None),
        ("largest([3, 9, 2])", None),
    ],
)
def test_the_questions_examples_are_tried_first(said: str, value: str | None) -> None:
    """What they return is read where it is a plain value and nothing goes on behind it."""
    trial = trial_of(f"Write largest. {said}", RIGHT)
    assert trial is not None
    assert trial.inputs[0] == "[3, 9, 2]"
    assert trial.expected == ({} if value is None else {0: value})


def test_calls_that_are_no_plain_values_are_not_tried() -> None:
    """Nothing of the question is run but literals."""
    trial = trial_of("largest(open('x')) == 1, largest(x) == 2, largest(1 + 1) == 3", RIGHT)
    assert trial is not None
    assert not trial.expected
    assert not any("open" in given or given == "x" for given in trial.inputs)


def test_a_name_that_is_asked_for_is_needed() -> None:
    """A program that answers to another name does not do what was asked; without such a demand it may."""
    other = RIGHT.replace("largest", "biggest")
    strict = trial_of(LARGEST, other)
    assert strict is not None
    assert (strict.name, strict.source(other)) == ("largest", None)
    assert strict.source(RIGHT) is not None
    free = trial_of("Write a Python function for the largest number of a list.", RIGHT)
    assert free is not None
    assert free.source(other) is not None


@pytest.mark.parametrize(
    "reply", ["", "no code", "```js\nfunction f() {}\n```", "print(3)", "def f(:", "x = 1", "class A: pass"]
)  # fmt: skip
def test_a_reply_without_a_function_is_not_tried(reply: str) -> None:
    """Nothing to call."""
    assert trial_of("Write f.", reply) is None


def test_too_little_evidence_is_no_agreement() -> None:
    """Two programs that fail nearly everywhere, or return one value, are not said to be the same."""
    assert same_behaviour(("1", "2", "2", None), ("1", "2", "2", "5"))
    assert not same_behaviour(("1", "2", None, None), ("1", "2", "2", "5"))
    assert not same_behaviour(("None",) * 9, ("None",) * 9)
    assert not same_behaviour(("1", "2", "3"), ("1", "2", "4"))


def test_a_program_that_does_not_come_to_its_end_did_nothing() -> None:
    """Cut off, crashed, or printing what looks like an outcome."""
    trial = trial_of(LARGEST, RIGHT)
    assert trial is not None
    assert read_behaviour(trial, "=0 9\n=1 3") is None
    assert read_behaviour(trial, "") is None
    odd = read_behaviour(trial, "=99999 1\n=x 2\n=0 9\n=end")
    assert odd is not None
    assert odd[0] == "9"
    _, (hangs,) = did("Write f.", "def f(x):\n    while True:\n        pass")
    assert hangs is None


def test_floats_are_compared_to_nine_digits() -> None:
    """The order of operations does not separate programs."""
    asked = "Write celsius(f)."
    _, (one, two) = did(
        asked,
        "def celsius(f):\n    return (f - 32) * 5 / 9",
        "def celsius(f):\n    return (f - 32) / 1.8",
    )
    assert one is not None
    assert two is not None
    assert same_behaviour(one, two)


def test_programs_are_compared_only_where_they_were_run() -> None:
    """Otherwise a verifier reads them, as before."""
    same: Behaviour = ("1", "2", "3")
    assert read_answers(LARGEST, [RIGHT, ALSO], ran=[same, same]).keys == (0, 0)
    assert read_answers(LARGEST, [RIGHT, ALSO], ran=[None, same]).keys == (None, 0)
    assert read_answers(LARGEST, [RIGHT, ALSO], ran=[same, same]).comparable
    assert not read_answers(LARGEST, [RIGHT, ALSO]).comparable


def test_a_pool_says_whether_programs_may_be_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Off by default, kept by every changed pool, and refused early without the library that does it."""
    worker = {"name": "a", "api": "openai", "model": "m", "base_url": "http://127.0.0.1:1/v1"}
    data = {"worker": [worker, {**worker, "name": "b"}]}
    assert not Pool.from_dict(data).run_programs
    pool = Pool.from_dict({**data, "pool": {"run_programs": True}})
    assert pool.run_programs
    assert pool.without("b").run_programs
    assert pool.changed(lambda each: each).run_programs
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="asteval"):
        Pool.from_dict({**data, "pool": {"run_programs": True}})
