"""Final answers are found wherever they are stated, and nothing said on the way counts."""

from __future__ import annotations

import json
import time

import pytest

from fugu_adapters.evaluate.scoring import score_item
from fugu_adapters.evaluate.scoring_probes import (
    SUITE_PROBES,
    score_call,
    score_choice,
    score_final,
    score_rules,
)
from fugu_adapters.types import Item


@pytest.mark.parametrize(
    "reply",
    [
        "1081",
        "1,081",
        "1081.",
        "1081.0",
        "**1081**",
        "Answer: 1081",
        "answer: 1081 apples",
        "**Answer:** 1081",
        "**Answer**: `1081`",
        "### Final Answer\n1081",
        "Answer:\n1081",
        "Answer:\n\n$$\n1081\n$$",
        "Answer: <1081>",
        r"Answer: \(\boxed{1081}\)",
        r"So it is $\boxed{1{,}081}$.",
        "First 40 * 23 = 920, then 7 * 23 = 161.\nAnswer: 1081",
        "Answer: 1080? No, let me redo this.\nAnswer: 1081",
        "Answer: 47 * 23 = 1081",
        "Answer: 1081 (that is 920 + 161)",
        "Answer: 1081\n\nCheck: 920 + 161 adds up, and 1082 would be even.",
        "Answer: 1081\nThe answer is not 1082.",
        "The answer is 1081",
        "47 times 23 is 1081.",
        "We get 920 + 161.\n\nSo the product is 1081.",
        "1081\n\nI multiplied the tens and the ones and added them.",
        "<think>Answer: 5? Hmm, 12.</think>\n1081",
        "I first thought of 12.</think>1081",
        "```\n1081\n```",
        "Answer: 1 081".replace(" 081", "\u202f081"),
    ],
)
def test_a_right_number_counts_however_it_is_wrapped(reply):
    """Bare, stated, boxed, set in bold or after reasoning."""
    assert score_final(reply, "1081") == 1.0


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "10810",
        "-1081",
        "1081.5",
        "1081e2",
        "Answer:",
        "Answer: none",
        "Answer: 1082",
        "Answer: 1081 or 1082",
        "Answer: 1081, 1082",
        "Is it 1081? Let me see.\nAnswer: 1082",
        "The answer is 1081 at first sight.\nAnswer: 1082",
        "1081\n\nAnswer: 1082",
        "1081\nActually, it is 1082.",
        "1081\n\nIt could be 1082 or 1083, too.",
        "Answer: 1081\nWait, that was wrong. It is 1082.",
        "Answer: 1081\nNo mistake there? There is one: 1082",
        r"\boxed{1081} was a first guess, so \boxed{1082}",
        "It is 1081, not 1082.",
        "1081 and 1082 are both possible.",
        "<think>It must be 1081. Answer: 1081",
        "<think>Answer: 1081</think>I do not know.",
        "9" * 6_000,
        "1e999999999",
        "1/0",
    ],
)
def test_a_wrong_number_never_counts(reply):
    """Mentioned in passing, retracted, one of several, only thought, or absurdly long."""
    assert score_final(reply, "1081") == 0.0


@pytest.mark.parametrize(
    ("answer", "reply", "score"),
    [
        ("3/8", "Answer: 3/8", 1),
        ("3/8", r"Answer: \(\frac{3}{8}\)", 1),
        ("3/8", "P = 3/8", 1),
        ("3/8", "Answer: 3/8 = 0.375", 1),
        ("3/8", "0.375", 1),
        ("3/8", "Answer: 6/16", 1),
        ("1/3", "Answer: 0.33", 0),
        ("3/8", "Answer: 8/3", 0),
        ("3/8", "Answer: 3/8 or 5/8", 0),
        ("3/8", "3/8 is the complement.\nAnswer: 5/8", 0),
        ("3/8", "Answer: 3/0", 0),
        ("2024-03-02", "Answer: Saturday, 2024-03-02", 1),
        ("2024-03-02", "Answer: 2024-03-021", 0),
        ("2024-03-02", "Answer: 2024-03-01 or 2024-03-02", 0),
        ("2024-03-02", "From 2024-02-01 on we reach 2024-03-02.\nAnswer: 2024-03-03", 0),
        ("Ada, Ivy", "Answer: Ada, Ivy", 1),
        ("Ada, Ivy", "Answer: Ada and Ivy", 1),
        ("Ada, Ivy", "Answer: [Ada, Ivy]", 1),
        ("Ada, Ivy", "The knights are Ada and Ivy.", 1),
        ("Ada, Ivy", "Answer: Ivy, Ada", 0),
        ("Ada, Ivy", "Answer: Ada, Ivy, Hugo", 0),
        ("Ada", "Answer: Ada, Ivy", 0),
        ("Ada", "Answer: Adam", 0),
        ("pale moon", 'Answer: "Pale moon"', 1),
        ("pale moon", "The decoded message is: pale moon", 1),
        ("pale moon", "pale moon shines", 0),
        ("pale moon", "moon pale", 0),
        ("2, -3, NULL", "Answer: 2, -3, NULL", 1),
        ("2, -3, NULL", "Answer: 2 | -3 | null", 1),
        ("2, -3, NULL", "Answer: 2, 3, NULL", 0),
        ("-3", "Answer: -3", 1),
        ("-3", "Answer: \u22123", 1),
        ("-3", "Answer: 3", 0),
        ("['a', 'b']", 'Answer: ["a","b"]', 1),
        ("['a', 'b']", "Answer:\n```python\n['a', 'b']\n```", 1),
        ("['a', 'b']", "['b', 'a']", 0),
        ("[1, 2]", "Answer: 1, 2", 0),
        ("xagrRE", "Answer: `xagrRE`", 1),
    ],
)
def test_other_answers_are_compared_by_what_they_are(answer, reply, score):
    """Fractions by value, dates whole, lists in order, texts word for word."""
    assert score_final(reply, answer) == score


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("C", 1), ("c", 1), ("(C)", 1), ("C.", 1), ("C. 12 m/s", 1), ("Answer: C", 1), ("Answer: c", 1),
        ("Answer: (C) 12 m/s", 1), ("Answer: C 12 m/s", 1), ("**Answer: C**", 1), (r"Answer: \boxed{C}", 1),
        (r"\boxed{\text{C}}", 1), ("Answer: option C", 1), ("The correct option is C.", 1),
        ("A is too small and B too large.\nThe answer is (C).", 1), ("Answer: <C>", 1), ("Answer: the right option is C", 1), ("So it is C.", 1),
        ("The correct answer is: **C. 12 m/s**", 1), ("Answer: letter C", 1), ("It is B or C.", 0),
        ("D", 0), ("Answer: C or D", 0), ("Answer: C, D", 0), ("C is tempting.\nAnswer: D", 0),
        ("Answer: C\nHold on, the sign is wrong. It is D", 0), ("Answer: Carbon", 0), ("", 0),
        ("I think that C is one option", 0), ("Answer: 12 m/s", 0), ("Answer: not C", 0),
    ],
)  # fmt: skip
def test_a_choice_is_one_letter(reply, score):
    """Read at the end, with or without its text; two letters or another one are wrong."""
    assert score_choice(reply, "C") == score


def test_words_that_begin_with_a_letter_are_no_choice():
    """The article and the pronoun are words, not options."""
    assert score_choice("Answer: A planet", "A") == 0.0
    assert score_choice("I think so", "I") == 0.0
    assert score_choice("Answer: I", "I") == score_choice("Answer: A", "A") == 1.0


WANTED = {"name": "book", "arguments": {"day": "2025-02-03", "guests": 4, "out": True}}


def _with(**changes):
    return json.dumps({**WANTED, "arguments": {**WANTED["arguments"], **changes}})


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        (json.dumps(WANTED), 1),
        (json.dumps(WANTED, indent=2), 1),
        (f"```json\n{json.dumps(WANTED)}\n```", 1),
        (f"Answer: {json.dumps(WANTED)}", 1),
        (json.dumps(dict(reversed(WANTED.items()))), 1),
        (json.dumps({"name": "book", "arguments": json.dumps(WANTED["arguments"])}), 1),
        (_with(guests=4.0), 1),
        (f'{{"name": "draft"}}\nAnswer: {json.dumps(WANTED)}', 1),
        (_with(guests=5), 0),
        (_with(guests="4"), 0),
        (_with(out=1), 0),
        (_with(out="true"), 0),
        (_with(day="2025-2-3"), 0),
        (_with(note="x"), 0),
        (_with(note=None), 0),
        (f"{_with(guests=5)}\n{json.dumps(WANTED)}", 0),
        (f"{json.dumps(WANTED)}\n{_with(guests=5)}", 0),
        (json.dumps({"name": "look", "arguments": WANTED["arguments"]}), 0),
        (json.dumps(WANTED["arguments"]), 0),
        (json.dumps({"call": WANTED}), 0),
        ('{"name": "book", "arguments": {', 0),
        ('{"name": "book", "arguments": "{"}', 0),
        ("book(day='2025-02-03', guests=4, out=True)", 0),
        ('{"a":' * 50_000, 0),
        ("", 0),
    ],
)
def test_a_call_is_the_one_object_with_these_values(reply, score):
    """Key order and layout do not matter; types, extra fields and a second call do."""
    assert score_call(reply, json.dumps(WANTED)) == score


@pytest.mark.parametrize(
    ("rules", "reply", "score"),
    [
        ({"is": "OAK"}, "OAK", 1), ({"is": "OAK"}, "OAK.", 1), ({"is": "OAK"}, "oak", 0),
        ({"is": "OAK"}, "The word: OAK", 0),
        ({"words": 3, "lower": True, "lines": 1}, "grey cold sea", 1),
        ({"words": 3, "lower": True, "lines": 1}, "grey cold\nsea", 0),
        ({"words": 3, "lower": True, "lines": 1}, "Grey cold sea", 0),
        ({"words": 3, "lower": True, "lines": 1}, "<think>Four Words In It</think>grey cold sea", 1),
        ({"words_per_line": [2, 1], "times": {"old": 2}}, "old old\nsea", 1),
        ({"words_per_line": [2, 1], "times": {"old": 2}}, "old sea\nolder", 0),
        ({"words_per_line": [2, 1]}, "old\nold sea", 0),
        ({"starts": "ab", "ends": ["x", "y"], "without": "e", "distinct": True}, "an x\n\nby y", 1),
        ({"starts": "ab", "ends": ["x", "y"], "without": "e", "distinct": True}, "an x\nbe y", 0),
        ({"starts": "ab", "ends": ["x", "y"]}, "an x\nby z", 0),
        ({"starts": "ab"}, "by x\nan y", 0),
        ({"distinct": True}, "sea to sea", 0),
        ({"lower": True}, "", 0),
    ],
)  # fmt: skip
def test_every_rule_of_a_format_has_to_be_kept(rules, reply, score):
    """One broken rule is enough to fail."""
    assert score_rules(reply, json.dumps(rules)) == score


@pytest.mark.parametrize(
    ("domain", "answer", "reply"),
    [
        ("exam-law", "B", "Answer: B"),
        ("multiply", "12", "Answer: 12"),
        ("format", '{"is": "OAK"}', "OAK"),
        ("call", json.dumps(WANTED), json.dumps(WANTED)),
    ],
)
async def test_the_suite_and_the_domain_choose_the_scorer(domain, answer, reply):
    """Items of the probes are scored by their own rules."""
    item = Item(
        suite=SUITE_PROBES, item_id="i", prompt="?", domain=domain, answer=answer, split="test"
    )
    assert await score_item(item, reply) == 1.0
    assert await score_item(item, "Answer: C") == 0.0


@pytest.mark.parametrize(
    "piece",
    [
        '{"a":', "{", "<think>", "</think>", "Answer: ", "answer ", r"\boxed{", ".", "A.", " (", "[", "```\n",
        "1,234,", "1 ", "-", "\n", " ", "A or ",
    ],
)  # fmt: skip
async def test_no_reply_takes_long(piece):
    """A reply that goes round in circles for 200 kB is scored at once, by every scorer."""
    answers = {
        "call": json.dumps(WANTED),
        "exam-law": "B",
        "format": '{"lower": true}',
        "sql": "a, 1",
    }
    answers |= {"grid": "12", "date": "2024-03-02", "probability": "1/3", "python-loops": "[1, 2]"}
    began = time.process_time()
    for domain, answer in answers.items():
        item = Item(
            suite=SUITE_PROBES, item_id="i", prompt="?", domain=domain, answer=answer, split="test"
        )
        await score_item(item, piece * (200_000 // len(piece)) + "x")
    assert time.process_time() - began < 3
