"""Reading and comparing the final answers of replies."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from fractions import Fraction

import pytest

from fugu_adapters.policies import answers
from fugu_adapters.policies.answers import kind_of, read_answers, read_number


@pytest.fixture(autouse=True)
def _forget_verifier() -> Iterator[None]:
    answers._verifier.cache_clear()
    yield
    answers._verifier.cache_clear()


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1,234.50", Fraction("1234.5")),
        ("$1,000", Fraction(1000)),
        ("-3/4", Fraction(-3, 4)),
        ("\\frac{3}{4}", Fraction(3, 4)),
        ("-\\dfrac{3}{4}", Fraction(-3, 4)),
        ("1{,}000", Fraction(1000)),
        ("12.5%", Fraction(1, 8)),
        ("1.5e3", Fraction(1500)),
        ("\N{MINUS SIGN}7", Fraction(-7)),
        (" **42.** ", Fraction(42)),
        ("1/0", None),
        ("", None),
        (".", None),
        ("2022-02-27", None),
        ("12 apples", None),
        ("1,23", None),
        ("9" * 400, None),
        ("1e999", None),
    ],
)
def test_a_number_is_read_as_people_write_it(text: str, number: Fraction | None) -> None:
    """Exactly, with nothing beside it, and never at a size that costs time."""
    assert read_number(text) == number


@pytest.mark.parametrize(
    ("question", "kind", "replies", "keys"),
    [
        (
            "What's 47 x 11?",
            "number",
            ["The product of 47 and 11 is 517.", "517", "516"],
            (0, 0, 1),
        ),
        ("How many?", "number", ["\\boxed{1{,}000}", "1,000", "1000.0", "1001"], (0, 0, 0, 1)),
        ("Solve x", "number", ["\\boxed{\\frac{1}{2}}", "0.5", "1/2", "2"], (0, 0, 0, 1)),
        ("Factor it.", "number", ["\\boxed{(x+1)^2}", "\\boxed{ (x + 1)^2 }", "7"], (0, 0, 1)),
        ("Take it.", "number", ["#### 42", "The answer is: 42", "Answer: 43"], (0, 0, 1)),
        ("How many?", "number", ["17", ""], (0, None)),
        ("Who?", "text", ["<think>Bob? No: Ann.</think>\n\nAnn", "Ann"], (0, 0)),
        ("Capital of France?", "text", ["Paris", "The capital is Paris.", "Lyon"], (0, 0, 1)),
        ("Capital of France?", "text", ["Paris", "It is not Paris, but Lyon."], (0, 1)),
        ("Is it?", "text", ["Yes, it is.", "yes", "No.", ""], (0, 0, 1, None)),
        ("When?", "text", ["2022-02-27", "It arrives on 2022-02-27."], (0, 0)),
        ("Who?", "text", ["'André'", "Andre"], (0, 0)),
        ("Q A) cat B) dog", "choice", ["B", "The answer is B) dog.", "dog", "(A)"], (0, 0, 0, 1)),
        ("Q\nA. cat\nB. dog", "choice", ["**B**", "cat or dog", "not the cat"], (0, None, None)),
        ("Q A) cat B) dog", "choice", ["B) dog, since A) is a cat", "A, or else B"], (0, None)),
        ("Data", "json", ['{"a": 1.0, "b": "X"}', '```json\n{"b":"x","a":1}\n```'], (0, 0)),
        ("Data", "json", ['{"a": [1.5]}', '{"a": [2]}', '{"a": ["1.5"]}'], (0, 1, 2)),
    ],
)
def test_equal_answers_get_equal_keys(
    question: str, kind: str, replies: list[str], keys: tuple[int | None, ...]
) -> None:
    """By value and not by wording, for each kind of answer."""
    read = read_answers(question, replies)
    assert (read.kind, read.keys) == (kind, keys)
    assert read.comparable


@pytest.mark.parametrize(
    ("question", "reply", "kind"),
    [
        ("Write a function that adds.", "17", "code"),
        ("Go.", "```python\nprint(1)\n```", "code"),
        ("Go.", "def f():\n    return 1", "code"),
        ("Tell me about tides.", "word " * 60, "open"),
    ],
)
def test_programs_and_essays_are_not_compared(question: str, reply: str, kind: str) -> None:
    """They have no keys, equal texts or not."""
    read = read_answers(question, [reply, reply])
    assert (read.kind, read.keys, read.comparable) == (kind, (None, None), False)


def test_a_caller_that_wants_json_gets_json_compared() -> None:
    """What is no JSON is then no answer."""
    read = read_answers("How many?", ['{"n": 3}', "3", "{", '{"n": 3.0}'], wants_json=True)
    assert (read.kind, read.keys) == ("json", (0, None, None, 0))
    assert read_answers("x", ["[" * 100_000], wants_json=True).keys == (None,)


def test_sameness_joins_no_two_groups() -> None:
    """A text that would fit a group in part stands alone, so that equality stays transitive."""
    read = read_answers("Which?", ["red", "red or blue", "blue"])
    assert read.keys == (0, 0, 1)
    assert read_answers("Which?", ["red", "blue", "red or blue"]).keys == (0, 1, 0)


def test_no_reply_has_no_kind_of_its_own() -> None:
    """The question alone decides; nothing is compared with nothing."""
    assert kind_of("Who?", ["", " "]) == "text"
    assert read_answers("Who?", []).keys == ()


def test_math_verify_is_asked_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its time-outs, which need the main thread; what it cannot parse is different."""
    library = types.ModuleType("math_verify")
    seen = []

    def parse(text: str, *, parsing_timeout: int | None) -> list[str]:
        seen.append(parsing_timeout)
        return [] if "?" in text else ["".join(sorted(text))]

    library.parse = parse  # type: ignore[attr-defined]
    library.verify = lambda one, other, timeout_seconds: one == other  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "math_verify", library)
    read = read_answers("Expand it.", ["\\boxed{a+b}", "\\boxed{b+a}", "\\boxed{?a}", "3"])
    assert read.kind == "number"
    assert read.keys == (0, 0, 1, 2)
    assert set(seen) == {None}


@pytest.mark.parametrize(
    ("formula", "tame"),
    [
        ("a+b", True),
        ("(x+1)^2", True),
        ("x^{2}y^{-1}", True),
        ("2^n", True),
        ("\\frac{\\sqrt{3}}{2}", True),
        ("2^{2^{2^{100}}}", False),
        ("9^{99}", False),
        ("9^9^9", False),
        ("((2^9)^9)^9", False),
        ("2**99**99", False),
        ("(a+b+c+d+e)^2", False),
        ("99999!", False),
        ("\\sum_{k=1}^{n} k", False),
        ("\\int x", False),
        ("1234567", False),
        ("x" * 100, False),
    ],
)
def test_algebra_is_done_only_where_it_ends(formula: str, tame: bool) -> None:
    """A reply cannot stop the process with a tower of powers (measured: math-verify 0.9 hangs on it)."""
    assert answers._is_tame(formula) is tame


def test_formulas_are_compared_as_text_without_math_verify(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spaces and sizes of brackets do not count; another order is another formula."""
    monkeypatch.setitem(sys.modules, "math_verify", None)
    replies = ["\\boxed{\\left( a + b \\right)}", "\\boxed{(a+b)}", "\\boxed{(b+a)}", "5"]
    assert read_answers("Expand it.", replies).keys == (0, 0, 1, 2)
