"""Exam questions: ten options, and the right one worked out again from the prompt by other means."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from fugu_adapters.evaluate.probes import level_of, probe_items
from fugu_adapters.evaluate.probes_exam import LETTERS

ITEMS = list({i.item_id: i for seed in range(6) for i in probe_items(seed)}.values())
EXAMS = [i for i in ITEMS if i.domain.startswith("exam-")]


def _options(item):
    return dict(re.findall(r"^([A-J])\. (.*)$", item.prompt, re.MULTILINE))


def _numbers(item):
    """Numbers of the question, thousands separators dropped."""
    question = item.prompt.split("\nA. ")[0].replace(",0", "0")
    return [
        float(n)
        for n in re.findall(r"(?<![\w.])\d+(?:\.\d+)?", re.sub(r"(?<=\d),(?=\d{3})", "", question))
    ]


def test_questions_have_ten_distinct_options():
    """A to J in order, all texts different, the answer among them."""
    for i in EXAMS:
        options = _options(i)
        assert list(options) == list(LETTERS), i.item_id
        assert len(set(options.values())) == 10, i.item_id
        assert i.answer in options


def test_the_right_letter_is_spread():
    """No letter is right much more often than the others, nor is the longest option."""
    counts = Counter(i.answer for i in EXAMS)
    assert max(counts.values()) < 2 * len(EXAMS) / 10
    longest = sum(_options(i)[i.answer] == max(_options(i).values(), key=len) for i in EXAMS)
    assert longest < 0.2 * len(EXAMS)


def _settle(start, best, count, rounds=400):
    """Quantities when every firm in turn answers the others best."""
    chosen = [start] * count
    for turn in range(rounds):
        k = turn % count
        chosen[k] = best(sum(chosen) - chosen[k])
    return chosen


def _cournot(n):
    firms, top, cost = n
    chosen = _settle(1.0, lambda others: (top - cost - others) / 2, int(firms))
    return (top - sum(chosen) - cost) * chosen[0]


def _leader(n):
    top, lead, follow = n[0], n[2], n[4]
    grid = np.linspace(0, top, 200_001)
    return float(((top - grid - np.maximum((top - follow - grid) / 2, 0) - lead) * grid).max())


def _deadweight(n):
    a, b, d, tax = n
    quantity = a * d / (b + d) - tax * b * d / (b + d)
    units = np.linspace(quantity, a * d / (b + d), 100_001)
    loss = (a - units) / b - units / d
    return float(((loss[1:] + loss[:-1]) / 2 * np.diff(units)).sum())


def _overshoot(n):
    gain, pole = n[0], n[1]
    y, v, peak, dt = 0.0, 0.0, 0.0, 2e-4
    for _ in range(20_000):
        v += dt * (gain * (1 - y) - pole * v)
        y += dt * v
        peak = max(peak, y)
    return 100 * (peak - 1)


def _collision(n):
    m, v, big, u = n[:4]
    frame = (m * v - big * u) / (m + big)
    return frame + (u + frame)


def _relativity(n):
    a, b, distance = n[:3]
    rapidity = math.atanh(a) + math.atanh(b)
    return distance / math.sinh(rapidity)


def _rescorla(n):
    rate, first, both = n[1], int(n[3]), int(n[4])
    held = np.zeros(2)
    for trial in range(first + both):
        present = np.array([1.0, float(trial >= first)])
        held = held + rate * present * (1 - held @ present)
    return held[1]


def _drug(n):
    half, dose, every, share, number = n
    levels = [dose * share / 100 * 0.5 ** (every * k / half) for k in range(1, int(number))]
    return sum(levels)


def _predictive(n):
    share, sensitive, specific = (x / 100 for x in n)
    people = 1_000_000
    true = people * share * sensitive
    return 100 * true / (true + people * (1 - share) * (1 - specific))


def _automaton(n):
    m, ones = int(n[1]), int(n[-1])
    texts = [""] + ["".join(t) for k in range(1, 8) for t in itertools.product("01", repeat=k)]

    def accepts(text):
        return int("0" + text, 2) % m == 0 and text.count("1") % ones == 0

    return len({tuple(accepts(t + end) for end in texts[:127]) for t in texts[:127]})


def _orders(prompt):
    order, cyclic = map(int, re.search(r"exactly (\d+) .* Z_(\d+) have", prompt).groups())
    shapes = {1: 1, 2: 9, 3: 8, 4: 6}
    additive = Counter(cyclic // math.gcd(k, cyclic) for k in range(cyclic))
    return sum(
        a * b
        for (p, a), (q, b) in itertools.product(shapes.items(), additive.items())
        if math.lcm(p, q) == order
    )


def _homomorphisms(prompt):
    a, b, c = map(int, re.findall(r"Z_(\d+)", prompt))
    return sum(a * x % c == 0 and b * y % c == 0 for x in range(c) for y in range(c))


def _buffer(n):
    volume, acid, pka, base, added = n[:5]
    h = 10.0**-14
    ka, sodium = 10**-pka, base * volume + added
    total = (acid + base) * volume
    for _ in range(200):  # charge balance, water neglected as in the lesson
        h = ka * (total - sodium) / sodium
    return -math.log10(h)


NUMERIC = {
    ("exam-physics", 1): lambda n: n[0] * n[1],
    ("exam-physics", 2): lambda n: n[0] * n[1] ** 2 / 2_000,
    ("exam-physics", 3): lambda n: n[0] * n[1] / (n[0] - n[1]),
    ("exam-physics", 4): _collision,
    ("exam-physics", 5): _relativity,
    ("exam-engineering", 2): lambda n: n[0] + 1 / (1 / n[1] + 1 / n[2]),
    ("exam-engineering", 3): lambda n: max(
        (n[1] * n[0] / 2 + n[2] / 2) * x - n[1] * x * x / 2 for x in np.linspace(0, n[0] / 2, 1001)
    ),
    ("exam-engineering", 5): _overshoot,
    ("exam-economics", 3): _deadweight,
    ("exam-economics", 4): _cournot,
    ("exam-economics", 5): _leader,
    ("exam-health", 4): _predictive,
    ("exam-health", 5): _drug,
    ("exam-psychology", 5): _rescorla,
    ("exam-computing", 5): _automaton,
    ("exam-chemistry", 5): _buffer,
}


@pytest.mark.parametrize(("kind", "level"), NUMERIC)
def test_computed_options_are_right_and_alone(kind, level):
    """Found by simulation, search or counting; no other option comes near."""
    items = [i for i in EXAMS if (i.domain, level_of(i)) == (kind, level)]
    assert len(items) >= 4
    for i in items:
        wanted = NUMERIC[kind, level](_numbers(i))
        shown = {
            a: float(re.sub(r"[^\d.-]", "", re.sub(r"[^\d.]+$", "", t)))
            for a, t in _options(i).items()
        }
        nearest = min(shown, key=lambda letter: abs(shown[letter] - wanted))
        assert nearest == i.answer, (i.item_id, wanted)
        assert math.isclose(shown[nearest], wanted, rel_tol=0.006), (i.item_id, wanted)


def test_group_elements_are_counted():
    """Images that respect the orders of the generators; orders from cycle shapes."""
    for i in EXAMS:
        if i.domain == "exam-mathematics" and level_of(i) > 3:
            count = _homomorphisms if level_of(i) == 4 else _orders
            assert int(_options(i)[i.answer]) == count(i.prompt.split("where")[0]), i.item_id


def test_crosses_are_counted():
    """All pairs of gametes of the two parents."""
    for i in EXAMS:
        if (i.domain, level_of(i)) == ("exam-biology", 3):
            parents = re.search(r"cross (\w+) x (\w+)", i.prompt).groups()
            gametes = [list(itertools.product(p[:2], p[2:])) for p in parents]
            children = list(itertools.product(*gametes))
            second = "dominant" if "of both genes" in i.prompt else "recessive"
            hits = sum(
                any(g[0] == "A" for g in child)
                and any(g[1] == "B" for g in child) == (second == "dominant")
                for child in children
            )
            assert Fraction(_options(i)[i.answer]) == Fraction(hits, len(children))


def _read(text):
    """A formula as a function of a dict of truth values."""
    text = text.strip()
    for sign, join in (("<->", lambda a, b: a == b), ("->", lambda a, b: not a or b)):
        if sign in text:
            left, right = map(_read, text.split(sign))
            return lambda w: join(left(w), right(w))
    text = text.strip("()")
    for sign, fold in (("|", any), ("&", all)):
        if sign in text:
            parts = [_read(part) for part in text.split(sign)]
            return lambda w: fold(part(w) for part in parts)
    return (lambda w: not w[text[1]]) if text[0] == "~" else (lambda w: w[text])


def test_exactly_one_formula_is_entailed():
    """Truth tables of the premises and of all ten options."""
    for i in EXAMS:
        if i.domain == "exam-philosophy" and level_of(i) > 3:
            given = [_read(text) for text in re.findall(r"^\d\. (.*)$", i.prompt, re.MULTILINE)]
            worlds = [
                dict(zip("PQRSTU", w, strict=True))
                for w in itertools.product((True, False), repeat=6)
            ]
            left = [w for w in worlds if all(g(w) for g in given)]
            right = [a for a, text in _options(i).items() if all(map(_read(text), left))]
            assert left
            assert right == [i.answer], i.item_id


def _true(text, classes):
    form = re.fullmatch(r"(All|No|Some) (\w+) are (not )?(\w+)\.", text)
    if form is None:
        return False
    first, second = classes[form[2]], classes[form[4]]
    if form[1] == "Some":
        return bool(first - second if form[3] else first & second)
    return first <= second if form[1] == "All" else not first & second


def test_exactly_one_conclusion_follows():
    """All ways to fill three classes with people of eight kinds."""
    for i in EXAMS:
        if i.domain == "exam-philosophy" and level_of(i) == 3:
            premises = re.findall(r"^\d\. (.*)$", i.prompt, re.MULTILINE)
            names = list(
                dict.fromkeys(
                    re.findall(r"(?:All|No|Some) (\w+)|are (?:not )?(\w+)\.", " ".join(premises))
                )
            )
            names = sorted({n for pair in names for n in pair if n})
            alive = set(_options(i))
            for people in range(256):
                kinds = {k for k in range(8) if people >> k & 1}
                classes = {n: {k for k in kinds if k >> c & 1} for c, n in enumerate(names)}
                if all(_true(p, classes) for p in premises):
                    alive = {a for a in alive if _true(_options(i)[a], classes)}
            assert alive == {i.answer}, i.item_id


def test_the_earliest_event_is_the_earliest():
    """The oldest of the events that everybody can place."""
    order = (
        "Charlemagne",
        "Hastings",
        "Magna Carta",
        "Constantinople",
        "Ninety-five",
        "Westphalia",
    )
    for i in EXAMS:
        if (i.domain, level_of(i)) == ("exam-history", 2):
            shown = " ".join(_options(i).values())
            assert next(name for name in order if name in shown) in _options(i)[i.answer]
