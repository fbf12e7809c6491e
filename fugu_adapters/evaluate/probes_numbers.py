"""Probes whose answer is computed: products, powers, determinants, chances, counts, stories, dates.

Every maker takes a generator and a level, 1 (trivial) to 5 (hard for the best models).
"""

from __future__ import annotations

import datetime
import functools
import itertools
import math
import random
from collections.abc import Sequence
from fractions import Fraction

from fugu_adapters.evaluate.probes_common import PEOPLE, closing, listed
from fugu_adapters.evaluate.tasks_numbers import Draft

__all__ = ["counting", "date", "determinant", "modular", "multiply", "probability", "story"]


def multiply(rng: random.Random, level: int) -> Draft:
    """Products of two to sixteen digits."""
    sizes = ((2, 1), (2, 2), (3, 3), (5, 5), (8, 8))[level - 1]
    a, b = (rng.randrange(10 ** (size - 1) + 1, 10**size) for size in sizes)
    ask = rng.choice(
        (f"Calculate {a} x {b}.", f"Find {a} * {b}.", f"Evaluate the product {a}·{b}.")
    )
    return Draft(f"{ask} {closing(rng, '<number>')}", str(a * b))


def modular(rng: random.Random, level: int) -> Draft:
    """Remainders of powers."""
    low, high = ((2, 9), (2, 12), (3, 30), (11, 99), (100, 999))[level - 1]
    exponents = ((2, 2), (3, 5), (9, 20), (60, 300), (1_000, 99_999))[level - 1]
    moduli = ((5, 9), (7, 20), (21, 60), (101, 499), (501, 2_999))[level - 1]
    a, b, m = rng.randint(low, high), rng.randint(*exponents), rng.randint(*moduli)
    ask = rng.choice(
        (
            f"What is the remainder when {a}^{b} is divided by {m}?",
            f"Evaluate {a}^{b} mod {m}.",
            f"Let r be the integer with 0 ≤ r < {m} and r ≡ {a}^{b} (mod {m}). Find r.",
        )
    )
    return Draft(f"{ask} {closing(rng, '<number>')}", str(pow(a, b, m)))


def determinant(rng: random.Random, level: int) -> Draft:
    """Determinants of integer matrices from 2 x 2 to 5 x 5."""
    size, low, high = ((2, 0, 4), (2, -12, 12), (3, -6, 6), (4, -6, 6), (5, -8, 8))[level - 1]
    rows = [[rng.randint(low, high) for _ in range(size)] for _ in range(size)]
    text = "\n".join(" ".join(f"{cell:3d}" for cell in row) for row in rows)
    ask = f"Compute the determinant of this {size} x {size} matrix.\n\n{text}\n\n"
    return Draft(ask + closing(rng, "<integer>"), str(_determinant(rows)))


def _determinant(rows: Sequence[Sequence[int]]) -> int:
    """By expansion along the first row."""
    if len(rows) == 1:
        return rows[0][0]
    minors = ([[*row[:i], *row[i + 1 :]] for row in rows[1:]] for i in range(len(rows)))
    signs = itertools.cycle((1, -1))
    return sum(s * c * _determinant(m) for s, c, m in zip(signs, rows[0], minors, strict=False))


def probability(rng: random.Random, level: int) -> Draft:
    """Dice and urns, by enumeration, as a reduced fraction."""
    makers = (_one_die, _two_dice, _urn_pair, _urn_three, _conditional_dice)
    ask, share = makers[level - 1](rng)
    while not 0 < share < 1:
        ask, share = makers[level - 1](rng)
    return Draft(f"{ask} {closing(rng, '<reduced fraction a/b>')}", str(share))


def _one_die(rng: random.Random) -> tuple[str, Fraction]:
    faces = rng.choice((6, 8, 10, 12))
    bound = rng.randint(2, faces - 2)
    ask = f"A fair die has {faces} faces numbered 1 to {faces}. What is the probability of rolling"
    return f"{ask} a number greater than {bound}?", Fraction(faces - bound, faces)


def _two_dice(rng: random.Random) -> tuple[str, Fraction]:
    total = rng.randint(3, 11)
    rolls = list(itertools.product(range(1, 7), repeat=2))
    ask = f"Two fair six-sided dice are rolled. What is the probability that the sum is {total}?"
    return ask, Fraction(sum(sum(roll) == total for roll in rolls), len(rolls))


def _urn_pair(rng: random.Random) -> tuple[str, Fraction]:
    red, blue = rng.randint(3, 9), rng.randint(3, 9)
    same = math.comb(red, 2) + math.comb(blue, 2)
    ask = (
        f"An urn holds {red} red and {blue} blue balls. Two balls are drawn at random without "
        "replacement. What is the probability that they have the same colour?"
    )
    return ask, Fraction(same, math.comb(red + blue, 2))


def _urn_three(rng: random.Random) -> tuple[str, Fraction]:
    counts = [rng.randint(2, 6) for _ in range(3)]
    balls = [colour for colour, count in enumerate(counts) for _ in range(count)]
    draws = list(itertools.combinations(balls, 4))
    hits = sum(len(set(draw)) == 2 for draw in draws)
    ask = (
        f"A bag contains {counts[0]} red, {counts[1]} green and {counts[2]} yellow marbles. Four "
        "marbles are drawn at random without replacement. What is the probability that exactly two "
        "of the three colours appear among them?"
    )
    return ask, Fraction(hits, len(draws))


def _conditional_dice(rng: random.Random) -> tuple[str, Fraction]:
    floor, gap = rng.randint(11, 15), rng.randint(3, 6)
    rolls = itertools.product(range(1, 7), range(1, 9), range(1, 13))
    given = [roll for roll in rolls if sum(roll) >= floor]
    hits = sum(max(roll) - min(roll) == gap for roll in given)
    ask = (
        "A six-sided, an eight-sided and a twelve-sided fair die are rolled together. Given that the "
        f"three numbers add up to at least {floor}, what is the probability that the largest of the "
        f"three exceeds the smallest by exactly {gap}?"
    )
    return ask, Fraction(hits, len(given))


def counting(rng: random.Random, level: int) -> Draft:
    """How many numbers, solutions, words or paths there are."""
    makers = (_multiples, _either, _solutions, _avoiding, _lattice)
    ask, count = makers[level - 1](rng)
    return Draft(f"{ask} {closing(rng, '<number>')}", str(count))


def _multiples(rng: random.Random) -> tuple[str, int]:
    n, a = rng.randint(10, 30), rng.randint(2, 5)
    return f"How many integers from 1 to {n} are multiples of {a}?", n // a


def _either(rng: random.Random) -> tuple[str, int]:
    n, (a, b) = rng.randint(100, 400), rng.sample((4, 6, 7, 9, 10, 15), 2)
    both = n // math.lcm(a, b)
    ask = f"How many integers from 1 to {n} are divisible by {a} or by {b}, but not by both?"
    return ask, n // a + n // b - 2 * both


def _solutions(rng: random.Random) -> tuple[str, int]:
    n, top, low = rng.randint(14, 26), rng.randint(4, 9), rng.randint(2, 5)
    count = sum(n - x - y >= low for x in range(top + 1) for y in range(n + 1))
    ask = (
        f"How many triples (x, y, z) of non-negative integers satisfy x + y + z = {n}, x ≤ {top} "
        f"and z ≥ {low}?"
    )
    return ask, count


def _avoiding(rng: random.Random) -> tuple[str, int]:
    length, (first, second, even) = rng.randint(7, 9), rng.sample("ABC", 3)
    states = {("", 0): 1}
    for _ in range(length):
        after: dict[tuple[str, int], int] = {}
        for (last, parity), ways in states.items():
            for letter in "ABC":
                if (last, letter) != (first, second):
                    key = (letter, parity ^ (letter == even))
                    after[key] = after.get(key, 0) + ways
        states = after
    ask = (
        f"How many words of length {length} over the alphabet {{A, B, C}} never have {first} "
        f"immediately followed by {second} and contain the letter {even} an even number of times "
        "(zero counts as even)?"
    )
    return ask, sum(ways for (_, parity), ways in states.items() if not parity)


def _lattice(rng: random.Random) -> tuple[str, int]:
    width, height, turns = rng.randint(6, 7), rng.randint(6, 7), rng.randint(5, 7)
    inside = [(x, y) for x in range(width + 1) for y in range(height + 1)]
    blocked = sorted(rng.sample(inside[1:-1], 4))

    @functools.cache
    def ways(x: int, y: int, heading: str, left: int) -> int:
        if (x, y) == (width, height):
            return 1
        total = 0
        for name, nx, ny in (("right", x + 1, y), ("up", x, y + 1)):
            rest = left - (heading not in ("", name))
            if nx <= width and ny <= height and (nx, ny) not in blocked and rest >= 0:
                total += ways(nx, ny, name, rest)
        return total

    points = listed([f"({x}, {y})" for x, y in blocked])
    ask = (
        f"A lattice path goes from (0, 0) to ({width}, {height}) in unit steps right or up. How many "
        f"such paths avoid the points {points} and change direction at most {turns} times?"
    )
    return ask, ways(0, 0, "", turns)


_GOODS = ("stamps", "marbles", "tokens", "postcards", "badges", "coins")
_ASIDES = (
    "The shop next door has {n} shelves.", "A box weighs {n} grams when empty.",
    "Their street has {n} houses.", "The bus ride home takes {n} minutes.",
)  # fmt: skip


def story(rng: random.Random, level: int) -> Draft:
    """A story of several people who gain, lose, share and swap, in 2 to 18 steps."""
    steps, count = ((2, 1), (4, 2), (7, 2), (11, 3), (18, 4))[level - 1]
    people = sorted(rng.sample(PEOPLE, count))
    goods = rng.choice(_GOODS)
    owned = {name: 6 * rng.randint(2, 12) for name in people}
    told = [f"{listed([f'{name} has {owned[name]}' for name in people])} {goods}."]
    for step in range(steps):
        told.append(_event(rng, owned, goods))
        if level >= 3 and step % 3 == 2:
            told.append(rng.choice(_ASIDES).format(n=rng.randint(3, 90)))
    asked = rng.choice(people)
    question = f"How many {goods} does {asked} have at the end?"
    return Draft(f"{' '.join(told)} {question} {closing(rng, '<number>')}", str(owned[asked]))


def _event(rng: random.Random, owned: dict[str, int], goods: str) -> str:
    """One sentence, its effect already applied to ``owned``."""
    people = sorted(owned)
    name = rng.choice(people)
    other = rng.choice([p for p in people if p != name] or [name])
    has = owned[name]
    parts = [part for part in (2, 3, 4) if has % part == 0 and has]
    options = ["buys"]
    options += ["loses"] * (has > 12) + ["doubles"] * (has < 60)
    options += ["gives"] * 2 * (other != name and bool(parts))
    match rng.choice(options):
        case "loses":
            n = rng.randint(3, has - 5)
            owned[name] -= n
            return f"{name} loses {n} of them."
        case "doubles":
            owned[name] *= 2
            return f"Then {name} finds as many {goods} as {name} already has."
        case "gives":
            part = rng.choice(parts)
            owned[name] -= has // part
            owned[other] += has // part
            share = {2: "half", 3: "a third", 4: "a quarter"}[part]
            return f"{name} gives {share} of the {goods} {name} has to {other}."
    n = rng.randint(4, 40)
    owned[name] += n
    return f"{name} buys {n} more {goods}."


_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def date(rng: random.Random, level: int) -> Draft:
    """Days after a date, across years, by weekdays, by working days with closures."""
    start = datetime.date(2021, 1, 1) + datetime.timedelta(days=rng.randint(0, 2_500))
    if level == 1:
        start = start.replace(day=rng.randint(1, 18))
    makers = (_days_after, _days_after, _days_after, _weekday_after, _working_days)
    ask, end = makers[level - 1](rng, start, level)
    return Draft(f"{ask} {closing(rng, 'YYYY-MM-DD')}", end.isoformat())


def _days_after(rng: random.Random, start: datetime.date, level: int) -> tuple[str, datetime.date]:
    gap = rng.randint(*((2, 9), (25, 70), (300, 900))[level - 1])
    sign = rng.choice((1, -1)) if level == 3 else 1
    word = "after" if sign > 0 else "before"
    end = start + datetime.timedelta(days=sign * gap)
    return f"Which calendar date is {gap} days {word} {start.isoformat()}?", end


def _weekday_after(
    rng: random.Random, start: datetime.date, level: int
) -> tuple[str, datetime.date]:
    weeks, back, day = rng.randint(5, 30), rng.randint(10, 45), rng.randrange(7)
    landed = start + datetime.timedelta(days=7 * weeks - back)
    end = landed + datetime.timedelta(days=(day - landed.weekday() - 1) % 7 + 1)
    ask = (
        f"Start at {start.isoformat()}, which is a {_DAYS[start.weekday()]}. Go forward {weeks} weeks, "
        f"then back {back} days, then forward to the next {_DAYS[day]} (if you are already on a "
        f"{_DAYS[day]}, go to the following one). Which date do you reach?"
    )
    return ask, end


def _working_days(
    rng: random.Random, start: datetime.date, level: int
) -> tuple[str, datetime.date]:
    count = rng.randint(45, 110)
    offsets = sorted(rng.sample(range(5, count), 6))
    closed = [start + datetime.timedelta(days=offset) for offset in offsets]
    end, left = start, count
    while left:
        end += datetime.timedelta(days=1)
        left -= end.weekday() < 5 and end not in closed
    ask = (
        f"A contract is signed on {start.isoformat()} (a {_DAYS[start.weekday()]}). It must be "
        f"fulfilled within {count} working days, the first being the first working day after the "
        "signature. Working days are Monday to Friday, except these closing days, some of which may "
        f"fall on a weekend: {', '.join(day.isoformat() for day in closed)}. On which date does "
        f"working day number {count} fall?"
    )
    return ask, end
