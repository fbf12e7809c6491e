"""The suite of small tasks: the same from a seed, split by digest, and scored without surprises."""

from __future__ import annotations

import hashlib
import json
import sys

import pytest

from fugu_adapters.errors import ConfigError
from fugu_adapters.evaluate import scoring, tasks, tasks_data
from fugu_adapters.evaluate.scoring import score_item
from fugu_adapters.evaluate.tasks import (
    KINDS,
    build_suite,
    read_items,
    split_of,
    write_items,
)
from fugu_adapters.types import Item
from fugu_adapters.workers.program import evaluate_expression


@pytest.fixture(scope="module")
def suite():
    """A whole suite of our own kinds."""
    return build_suite(seed=5, per_kind=25)


def item(domain, answer, prompt="?"):
    return Item(suite="s", item_id="i", prompt=prompt, domain=domain, answer=answer, split="test")


def test_a_seed_gives_one_suite(suite):
    """The same arguments give the same items; another seed gives others."""
    assert build_suite(seed=5, per_kind=25) == suite
    other = build_suite(seed=6, per_kind=25)
    assert {i.prompt for i in other} != {i.prompt for i in suite}


def test_a_kind_does_not_depend_on_the_others(suite):
    """Asking for one kind gives the items that it has in the whole suite."""
    alone = build_suite(seed=5, per_kind=25, kinds=["date"])
    assert alone == [i for i in suite if i.domain == "date"]


def test_every_kind_is_there_in_turns(suite):
    """The first round holds one of each kind, so that a run cut short is balanced."""
    assert [i.domain for i in suite[: len(KINDS)]] == list(KINDS)
    for kind in KINDS:
        assert sum(i.domain == kind for i in suite) >= 18


def test_ids_and_prompts_are_unique(suite):
    """No item is there twice, under whatever id."""
    assert len({i.item_id for i in suite}) == len(suite)
    assert len({i.prompt for i in suite}) == len(suite)


def test_the_split_is_the_prompts_digest(suite):
    """60/20/20 by SHA-256 of the prompt, whatever the seed, the kind or the order."""
    for i in suite:
        share = int(hashlib.sha256(i.prompt.encode()).hexdigest()[:8], 16) / 2**32
        assert i.split == ("train" if share < 0.6 else "dev" if share < 0.8 else "test")
    counts = {split: sum(i.split == split for i in suite) for split in ("train", "dev", "test")}
    assert 0.5 < counts["train"] / len(suite) < 0.7
    assert min(counts.values()) > 0.12 * len(suite)
    assert split_of("What is 2 + 2?") == split_of("What is 2 + 2?")


def test_prompts_do_not_name_their_kind(suite):
    """A policy cannot read the kind of task from a label."""
    for i in suite:
        assert not i.prompt.lower().startswith((i.domain, f"[{i.domain}", "task", "kind"))


def test_facts_are_asked_once(suite):
    """A fact appears under one wording only, so none is in two splits."""
    countries = [c for c, _ in tasks_data.CAPITALS]
    asked = [c for i in suite if i.domain == "capital" for c in countries if c in i.prompt]
    assert len(asked) == len(set(asked)) == 25


def test_an_unknown_kind_is_an_error():
    """It lists the known ones."""
    with pytest.raises(ConfigError, match=r"no task kind 'sums'; known: arithmetic-2"):
        build_suite(seed=1, kinds=["sums"])


def test_items_survive_a_file(suite, tmp_path):
    """Writing and reading gives the same items; a wrong line is named."""
    path = tmp_path / "items.jsonl"
    write_items(path, suite)
    assert read_items(path) == suite
    path.write_text(path.read_text("utf-8") + '{"suite": "s"}\n', "utf-8")
    with pytest.raises(ConfigError, match=rf"items\.jsonl:{len(suite) + 1}: not an item"):
        read_items(path)


def test_arithmetic_answers_are_right(suite):
    """The answers of written sums are what the sums give."""
    checked = 0
    for i in suite:
        if i.domain.startswith("arithmetic") and i.prompt.endswith(" = ?"):
            assert evaluate_expression(i.prompt.removesuffix(" = ?")) == int(i.answer)
            checked += 1
    assert checked >= 3


SOLUTIONS = {
    "add": "return a + b",
    "fib": "x, y = 0, 1\n    for _ in range(n):\n        x, y = y, x + y\n    return x",
    "unique": "out = []\n    for i in items:\n        if i not in out:\n            out.append(i)\n    return out",
    "leap": "return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)",
    "count_items": "return {i: items.count(i) for i in items}",
    "rotate": "return items[k:] + items[:k]",
    "fizz": "return ('Fizz' * (n % 3 == 0) + 'Buzz' * (n % 5 == 0)) or str(n)",
    "hypotenuse": "return (a * a + b * b) ** 0.5",
}


@pytest.mark.parametrize("name", SOLUTIONS)
async def test_right_functions_pass_and_wrong_ones_fail(name):
    """The tests of a task accept a right function and refuse one that returns nothing."""
    signature, _, tests = next(f for f in tasks_data.FUNCTIONS if f[0].startswith(f"{name}("))
    right = f"Here you are:\n```python\ndef {signature}:\n    {SOLUTIONS[name]}\n```\nEnjoy!"
    task = item("code-writing", json.dumps(tests))
    assert await score_item(task, right) == 1.0
    assert await score_item(task, f"def {signature}:\n    return None") == 0.0
    assert await score_item(task, "I would use a loop.") == 0.0


async def test_half_right_code_gets_half():
    """The score is the share of tests that pass."""
    tests = [["f(1)", 1], ["f(2)", 4]]
    assert await score_item(item("code-writing", json.dumps(tests)), "def f(x): return x") == 0.5


@pytest.mark.parametrize(
    ("domain", "answer", "reply", "score"),
    [
        ("arithmetic-2", "1081", "1081", 1),
        ("arithmetic-2", "1081", "47 times 23 is 1,081.", 1),
        ("arithmetic-2", "1081", r"So we get \boxed{1081}, twice 540.5", 1),
        ("arithmetic-2", "1081", "The answer is 1081. (40 * 23 + 7 * 23)", 1),
        ("arithmetic-2", "1081", "1081.0", 1),
        ("arithmetic-2", "1081", "10810", 0),
        ("arithmetic-2", "1081", "1081 or maybe 1082", 0),
        ("arithmetic-2", "1081", "about a thousand", 0),
        ("arithmetic-2", "-4", "4 - 8 = -4", 1),
        ("unit", "37", "37 kilograms", 1),
        ("unit", "0.5", ".5", 1),
        ("date", "2024-03-02", "It arrives on 2024-03-02.", 1),
        ("date", "2024-03-02", "2024-03-021", 0),
        ("date", "Monday", "that was a monday", 1),
        ("date", "40", "There are 40 days.", 1),
        ("sentiment", "positive", "Positive.", 1),
        ("sentiment", "positive", "This review is positive", 1),
        ("sentiment", "positive", "Negative, not positive", 0),
        ("sentiment", "positive", "It is positive or negative.", 0),
        ("sentiment", "negative", "Negativity abounds", 0),
        ("sentiment", "positive", "", 0),
        ("yes-no", "no", "No, spiders are arachnids.", 1),
        ("yes-no", "no", "Nobody knows", 0),
        ("yes-no", "yes", "I'd say yes", 1),
        ("capital", "Lima", "The capital of Peru is Lima.", 1),
        ("capital", "Lima", "Limassol", 0),
        ("capital", "Addis Ababa", "addis ababa!", 1),
        ("translation", "árbol", "El arbol", 1),
        ("translation", "cœur", "le coeur", 1),
        ("translation", "grün", "GRÜN", 1),
        ("translation", "chien", "chienne", 0),
        ("string", "tenalp", "The word is 'tenalp'.", 1),
        ("string", "tenalp", "tenalp", 1),
        ("string", "tenalp", "tenalpx", 0),
        ("string", "a", "The letter is a", 1),
        ("string", "a", "I am not a friend of this", 0),
        ("string", "3", "It appears 3 times", 1),
        ("string", "ant, lion, tiger", "1. Ant\n2. Lion\n3. Tiger", 1),
        ("string", "ant, lion, tiger", "From tiger, ant, lion we get: ant, lion, tiger", 1),
        ("string", "ant, lion, tiger", "ant, tiger, lion", 0),
        ("code-reading", "42", "The output is `42`", 1),
        ("code-reading", "HAR", "It prints HAR", 1),
        ("code-reading", "HAR", "It prints HARBOUR", 0),
        ("other", "42", "it is 42", 1),
        ("other", "blue", "deep Blue sea", 1),
    ],
)
async def test_replies_are_read_as_people_would(domain, answer, reply, score):
    """Wrapped answers count, other candidates and mere prefixes do not."""
    assert await score_item(item(domain, answer), reply) == score


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("B", 1), ("(B)", 1), ("B) Mars", 1), ("The answer is B.", 1), ("**B**", 1), ("Mars", 1),
        ("A", 0), ("A) Venus or B) Mars", 0), ("A planet that is red: Mars", 1), ("", 0),
        ("The answer is (A) Venus, not B.", 0),
    ],
)  # fmt: skip
async def test_letters_are_read_as_choices(reply, score):
    """A letter, or the option's text where there is none; the article is not option A."""
    task = item("knowledge", json.dumps({"letter": "B", "text": "Mars"}))
    assert await score_item(task, reply) == score


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ('{"name": "Ida", "age": 31}', 1),
        ('Sure:\n```json\n{"age": "31", "Name": "ida "}\n```', 1),
        ('{"name": "Ida", "age": 31, "more": null}', 1),
        ('{"name": "Ida"}', 0),
        ('{"name": "Ida", "age": 13}', 0),
        ('{"name": "Ida", "age": true}', 0),
        ("{'name': 'Ida', 'age': 31}", 0),
        ("{broken {", 0),
        ("[1]", 0),
    ],
)
async def test_json_is_compared_by_value(reply, score):
    """Order, case, spacing and numbers as text do not matter; wrong or missing values do."""
    task = item("json", json.dumps({"name": "Ida", "age": 31}))
    assert await score_item(task, reply) == score


@pytest.mark.parametrize(
    ("rule", "reply", "score"),
    [
        ({"contains": "SEE YOU"}, "SEE YOU", 1),
        ({"contains": "SEE YOU"}, "See you", 0),
        ({"bullets": 2}, "- one\n- two", 1),
        ({"bullets": 2}, "Here:\n* one\n* two\n* three", 0),
        ({"bullets": 2}, "1. one\n2. two", 1),
        ({"words": 3}, "Warm, dark, bitter.", 1),
        ({"words": 3}, "It's nice", 0),
    ],
)
async def test_formats_are_counted(rule, reply, score):
    """Capitals as they are, bullets and words by number."""
    assert await score_item(item("format", json.dumps(rule)), reply) == score


def test_without_reasoning_gym_the_extra_is_named(monkeypatch):
    """Its tasks are optional."""
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    with pytest.raises(ConfigError, match=r"fugu-adapters\[train\]"):
        scoring.load_gym("gcd", seed=0, size=1)
    assert tasks.build_suite(seed=1, per_kind=1)
