"""The probes: the same from a seed, spread over kinds and levels, scored as right by their answers."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import subprocess
import sys
from collections import Counter

import pytest

from fugu_adapters.evaluate.probes import LEVELS, PROBE_KINDS, level_of, probe_items
from fugu_adapters.evaluate.scoring import score_item
from fugu_adapters.evaluate.scoring_probes import SUITE_PROBES
from fugu_adapters.evaluate.tasks import build_suite, split_of
from fugu_adapters.types import Item


@pytest.fixture(scope="module")
def probes():
    """The suite of the default seed."""
    return probe_items()


def test_a_seed_gives_one_suite_whatever_the_hash_seed(probes):
    """Another process with other string hashes makes the same items; another seed others."""
    code = (
        "import hashlib; from fugu_adapters.evaluate.probes import probe_items; "
        "print(hashlib.sha256(repr(probe_items()).encode()).hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONHASHSEED": "77"}, capture_output=True, check=True
    )
    assert done.stdout.decode().strip() == hashlib.sha256(repr(probes).encode()).hexdigest()
    assert len({i.prompt for i in probe_items(1)} & {i.prompt for i in probes}) < 0.2 * len(probes)


def test_every_kind_has_every_level(probes):
    """Two of each, one of each in the exams; about 300 in all."""
    counts = Counter((i.domain, level_of(i)) for i in probes)
    assert counts == {
        (kind, level): 1 if kind.startswith("exam-") else 2
        for kind in PROBE_KINDS
        for level in LEVELS
    }
    assert 280 <= len(probes) <= 330
    assert len(PROBE_KINDS) >= 25


@pytest.mark.parametrize("first", [32, 64, 128])
def test_every_beginning_is_mixed(probes, first):
    """The first 32 hold every level about as often, most kinds, and not only exams or only tasks."""
    items = probes[:first]
    levels = Counter(level_of(i) for i in items)
    assert max(levels.values()) - min(levels.values()) <= 0.15 * first
    assert len({i.domain for i in items}) >= min(0.85 * first, len(PROBE_KINDS) - 6)
    assert 0.1 < sum(i.domain.startswith("exam-") for i in items) / first < 0.45


def test_items_are_distinct_and_belong_to_the_suite(probes):
    """No prompt or id twice, none of the small suite's, the split by digest."""
    assert {i.suite for i in probes} == {SUITE_PROBES}
    assert len({i.item_id for i in probes}) == len({i.prompt for i in probes}) == len(probes)
    assert not {i.prompt for i in probes} & {i.prompt for i in build_suite(seed=0)}
    assert all(i.split == split_of(i.prompt) for i in probes)


def test_prompts_show_neither_kind_nor_answer(probes):
    """No label of kind or level; long answers do not stand in the prompt."""
    for i in probes:
        assert not i.prompt.lower().startswith((i.domain, "level", "["))
        if len(i.answer) > 8 and i.domain not in ("knights", "call", "format"):
            assert i.answer not in i.prompt, i.item_id


def test_prompts_say_how_to_answer_and_are_short(probes):
    """All ask for a last line with the answer, but for calls and formats; a few kB at most."""
    for i in probes:
        assert ("`Answer: " in i.prompt) != (i.domain in ("call", "format")), i.item_id
        assert len(i.prompt) < 6_500
        assert len(i.answer) < 600


async def test_the_right_answer_scores_and_others_do_not(probes):
    """Bare or after reasoning; the answer of another item, an empty and a vague reply score nothing."""
    for place, i in enumerate(probes):
        if i.domain == "format":
            continue
        assert await score_item(i, i.answer) == 1.0, i.item_id
        assert await score_item(i, f"Let me see: 7, then B.\n\nAnswer: {i.answer}") == 1.0, (
            i.item_id
        )
        assert await score_item(i, f"<think>Hm, 3?</think>Answer: {i.answer}") == 1.0, i.item_id
        other = next(
            o.answer
            for o in probes[place + 1 :] + probes
            if o.domain == i.domain and o.answer != i.answer
        )
        assert await score_item(i, f"Answer: {other}") == 0.0, i.item_id
        assert await score_item(i, f"It may be {i.answer}.\n\nAnswer: {other}") == 0.0, i.item_id
        assert await score_item(i, "") == await score_item(i, "I am not sure.") == 0.0


FILLERS = {letter: [] for letter in "abcdefghijklmnopqrstuvwxyz"}
for _word in (  # noqa: SIM905 - easier to read
    "stars scorn slip snug skull sun soft sand spin still stiff stop stir swift swung sing sink skip sly stomp "
    "thin torn tall trim tusk thus trap topic tuft tint tribal oxygen old odd ocean omit only our origin orb orchid "
    "rain rusty rift rock ruin rich rough raw road rim most mild mist much mud myth moon malt mint musk cold calm "
    "crow cups clown cub cross clung cost cut curl claws lush long low lump loud loft lost lend lands label unfurl "
    "us up under upon urn undo under upset usual deep dusk dull draw dark dust dry drop drum dew new now nor north "
    "never noon none number nudge gently grey gale grand glue grew great gaze glance ideas ink inlet inky ills inner "
    "infer idle is it hope hold hurt high huge hunt hour horn help hotel hover hear heath agate aunt after ashen "
    "angel amber as at arc they then there the trees tender tiger until unit under"
).split():
    FILLERS[_word[0]].append(_word)


def _fulfil(rules):
    """A text that keeps the rules, for any that the suite may ask for."""
    if "is" in rules:
        return rules["is"]
    banned = rules.get("without", "#")
    fill = iter(dict.fromkeys(w for letter in FILLERS for w in FILLERS[letter] if banned not in w))
    if "words" in rules:
        return " ".join(next(fill) for _ in range(rules["words"]))
    ends, lines = rules.get("ends"), []
    heads = [next(w for w in FILLERS[c] if banned not in w) for c in rules.get("starts", "")]
    used = {*heads, *rules.get("ends", ())}
    for number, count in enumerate(rules["words_per_line"]):
        line = heads[number : number + 1]
        need = count - len(line) - bool(ends)
        while need:
            word = next(fill)
            if word not in used:
                line.append(word)
                used.add(word)
                need -= 1
        lines.append(line + ([ends[number]] if ends else []))
    for word, times in rules.get("times", {}).items():
        lines[0][:times] = [word] * times
    return "\n".join(map(" ".join, lines))


async def test_every_format_can_be_kept_and_broken():
    """Some text keeps all the rules together; one word more or a capital breaks them."""
    for seed, level in itertools.product(range(12), LEVELS):
        prompt, answer = PROBE_KINDS["format"](random.Random(seed), level)
        item = Item(
            suite=SUITE_PROBES,
            item_id="i",
            prompt=prompt,
            domain="format",
            answer=answer,
            split="dev",
        )
        text = _fulfil(json.loads(answer))
        assert await score_item(item, text) == 1.0, (prompt, text)
        assert await score_item(item, f"{text} zzz") == 0.0
        assert await score_item(item, text.swapcase()) == 0.0
