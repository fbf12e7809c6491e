"""Tasks whose answer is a number or a date: arithmetic, word problems, dates, units, short code."""

from __future__ import annotations

import datetime
import random
from collections.abc import Sequence
from typing import NamedTuple

__all__ = [
    "Draft",
    "code_reading",
    "dates",
    "three_digits",
    "two_digits",
    "units",
    "word_problems",
]


class Draft(NamedTuple):
    """A task before it gets its id and split."""

    prompt: str
    answer: str


_SUMS = {
    "+": (
        "What is {a} + {b}?",
        "Add {a} and {b}. Reply with only the number.",
        "How much is {a} plus {b}?",
        "Can you work out {a} + {b} for me?",
        "{a} + {b} = ?",
    ),
    "-": (
        "What is {a} - {b}?",
        "Subtract {b} from {a}. Reply with only the number.",
        "How much is {a} minus {b}?",
        "If I take {b} away from {a}, what is left?",
        "{a} - {b} = ?",
    ),
    "*": (
        "What is {a} times {b}?",
        "Multiply {a} by {b}. Reply with only the number.",
        "What's the product of {a} and {b}?",
        "I need {a} x {b}, please.",
        "{a} * {b} = ?",
    ),
}


def two_digits(rng: random.Random, count: int) -> list[Draft]:
    """Sums, differences and products of two-digit numbers."""
    return [_arithmetic(rng, 10, 99) for _ in range(count)]


def three_digits(rng: random.Random, count: int) -> list[Draft]:
    """Sums, differences and products of three-digit numbers."""
    return [_arithmetic(rng, 100, 999) for _ in range(count)]


def _arithmetic(rng: random.Random, low: int, high: int) -> Draft:
    sign = rng.choice("+-*")
    b, a = sorted((rng.randint(low, high), rng.randint(low, high)))
    answer = {"+": a + b, "-": a - b, "*": a * b}[sign]
    return Draft(rng.choice(_SUMS[sign]).format(a=a, b=b), str(answer))


_PEOPLE = ("Anna", "Tom", "Priya", "Luis", "Mei", "Omar", "Nora", "Jack", "Ines", "Kofi")
_THINGS = ("apples", "marbles", "stamps", "pencils", "cookies", "shells", "cards", "plums")


def word_problems(rng: random.Random, count: int) -> list[Draft]:
    """Everyday problems of one to three steps, from a dozen stories."""
    stories = (
        _story_share, _story_shop, _story_bus, _story_rows, _story_saving, _story_trip,
        _story_age, _story_twice, _story_paint, _story_pages, _story_change, _story_garden,
    )  # fmt: skip
    drafts = [rng.choice(stories)(rng) for _ in range(count)]
    endings = ("", "", " Reply with only the number.", " Just give me the number.")
    return [Draft(draft.prompt + rng.choice(endings), draft.answer) for draft in drafts]


def _story_share(rng: random.Random) -> Draft:
    each, friends, left = rng.randint(3, 14), rng.randint(3, 9), rng.randint(1, 20)
    who, what = rng.choice(_PEOPLE), rng.choice(_THINGS)
    total = each * friends + left
    return Draft(
        f"{who} has {total} {what}, keeps {left} and divides the rest equally among {friends} "
        f"friends. How many {what} does each friend get?",
        str(each),
    )


def _story_shop(rng: random.Random) -> Draft:
    a, b, pa, pb = rng.randint(2, 9), rng.randint(2, 9), rng.randint(2, 12), rng.randint(3, 15)
    return Draft(
        f"At the stationer's a notebook costs ${pa} and a folder costs ${pb}. "
        f"How many dollars do {a} notebooks and {b} folders cost together?",
        str(a * pa + b * pb),
    )


def _story_bus(rng: random.Random) -> Draft:
    start, off, on = rng.randint(25, 60), rng.randint(5, 24), rng.randint(3, 18)
    return Draft(
        f"A bus sets off with {start} people on board. At the first stop {off} get off and {on} "
        "get on. How many people are on the bus now?",
        str(start - off + on),
    )


def _story_rows(rng: random.Random) -> Draft:
    rows, seats, broken = rng.randint(8, 25), rng.randint(9, 24), rng.randint(3, 15)
    return Draft(
        f"A cinema has {rows} rows of {seats} seats. {broken} seats are broken. "
        "How many seats can be used?",
        str(rows * seats - broken),
    )


def _story_saving(rng: random.Random) -> Draft:
    week, weeks, spent = rng.randint(6, 25), rng.randint(4, 12), rng.randint(5, 20)
    who = rng.choice(_PEOPLE)
    return Draft(
        f"{who} puts {week} dollars aside every week for {weeks} weeks and then buys a present "
        f"for {spent} dollars. How many dollars are left?",
        str(week * weeks - spent),
    )


def _story_trip(rng: random.Random) -> Draft:
    speed, hours, extra = rng.randint(40, 95), rng.randint(2, 6), rng.randint(10, 60)
    return Draft(
        f"A lorry drives for {hours} hours at {speed} km per hour and then another {extra} km. "
        "How many kilometres is that in total?",
        str(speed * hours + extra),
    )


def _story_age(rng: random.Random) -> Draft:
    child, gap, years = rng.randint(4, 15), rng.randint(20, 38), rng.randint(3, 12)
    who = rng.choice(_PEOPLE)
    return Draft(
        f"{who} is {child} and her mother is {gap} years older. "
        f"How old will her mother be in {years} years?",
        str(child + gap + years),
    )


def _story_twice(rng: random.Random) -> Draft:
    base, more = rng.randint(12, 60), rng.randint(3, 20)
    a, b = rng.sample(_PEOPLE, 2)
    what = rng.choice(_THINGS)
    return Draft(
        f"{a} collected {base} {what}. {b} collected twice as many plus {more} more. "
        f"How many {what} do they have together?",
        str(3 * base + more),
    )


def _story_paint(rng: random.Random) -> Draft:
    per, rooms, over = rng.randint(2, 6), rng.randint(3, 9), rng.randint(1, 12)
    tins = per * rooms + over
    return Draft(
        f"Painting one room takes {per} tins. A builder has {tins} tins and paints {rooms} rooms. "
        "How many tins will be over?",
        str(over),
    )


def _story_pages(rng: random.Random) -> Draft:
    day, days, rest = rng.randint(12, 40), rng.randint(5, 14), rng.randint(20, 90)
    who = rng.choice(_PEOPLE)
    return Draft(
        f"{who} read {day} pages a day for {days} days and still has {rest} pages to go. "
        "How many pages does the book have?",
        str(day * days + rest),
    )


def _story_change(rng: random.Random) -> Draft:
    price, count = rng.randint(2, 9), rng.randint(2, 9)
    return Draft(
        f"I bought {count} sandwiches at {price} euros each and paid with a 100 euro note. "
        "How much change did I get, in euros?",
        str(100 - price * count),
    )


def _story_garden(rng: random.Random) -> Draft:
    length, width = rng.randint(9, 40), rng.randint(5, 30)
    return Draft(
        f"How many metres of fence do I need to go once around a rectangular garden that is "
        f"{length} m long and {width} m wide?",
        str(2 * (length + width)),
    )


def dates(rng: random.Random, count: int) -> list[Draft]:
    """Days before and after, weekdays, and days between."""
    return [_date(rng) for _ in range(count)]


def _date(rng: random.Random) -> Draft:
    day = datetime.date(2019, 1, 1) + datetime.timedelta(days=rng.randint(0, 3_600))
    gap = rng.randint(5, 75)
    later = day + datetime.timedelta(days=gap)
    spoken = f"{day:%B} {day.day}, {day.year}"
    until = f"{later:%B} {later.day}, {later.year}"
    return rng.choice(
        (
            Draft(f"What date is {gap} days after {spoken}? Answer as YYYY-MM-DD.", str(later)),
            Draft(f"Which date comes {gap} days before {until}? Use the form YYYY-MM-DD.", str(day)),
            Draft(f"How many days are there from {spoken} to {until}?", str(gap)),
            Draft(f"On which day of the week did {spoken} fall?", f"{day:%A}"),
            Draft(f"My parcel left on {day} and takes {gap} days. When does it arrive (YYYY-MM-DD)?",
                  str(later)),
        )
    )  # fmt: skip


_UNITS = (
    ("kilometres", "metres", 1_000), ("hours", "minutes", 60), ("days", "hours", 24),
    ("kilograms", "grams", 1_000), ("metres", "centimetres", 100), ("weeks", "days", 7),
    ("minutes", "seconds", 60), ("litres", "millilitres", 1_000), ("feet", "inches", 12),
    ("dozen", "pieces", 12), ("yards", "feet", 3), ("pounds", "ounces", 16),
)  # fmt: skip


def units(rng: random.Random, count: int) -> list[Draft]:
    """Conversions between everyday units, in both directions, and temperatures."""
    return [_unit(rng) for _ in range(count)]


def _unit(rng: random.Random) -> Draft:
    if rng.random() < 0.2:
        celsius = 5 * rng.randint(-4, 20)
        return Draft(
            f"What is {celsius} degrees Celsius in Fahrenheit?", f"{celsius * 9 // 5 + 32}"
        )
    big, small, factor = rng.choice(_UNITS)
    amount = rng.randint(2, 48)
    return rng.choice(
        (
            Draft(f"How many {small} are there in {amount} {big}?", str(amount * factor)),
            Draft(f"Convert {amount} {big} to {small}. Number only.", str(amount * factor)),
            Draft(f"I have {amount * factor} {small}. How many {big} is that?", str(amount)),
        )
    )


def code_reading(rng: random.Random, count: int) -> list[Draft]:
    """What a few lines of Python print."""
    return [_snippet(rng) for _ in range(count)]


def _snippet(rng: random.Random) -> Draft:
    a, b, c = rng.randint(2, 9), rng.randint(3, 12), rng.randint(2, 7)
    numbers = [rng.randint(1, 20) for _ in range(5)]
    word = rng.choice(("lantern", "harbour", "compass", "meadow", "blanket", "thunder", "velvet"))
    asks = (
        "What does this Python code print?\n\n{code}",
        "{code}\n\nWhat is the output of this program? Reply with only the output.",
        "I run the following in Python. What appears on the screen?\n\n{code}",
    )
    code, answer = rng.choice(_snippets(a, b, c, numbers, word))
    return Draft(rng.choice(asks).format(code=code), answer)


def _snippets(
    a: int, b: int, c: int, numbers: Sequence[int], word: str
) -> tuple[tuple[str, str], ...]:
    listed = list(numbers)
    return (
        (f"x = {a}\nfor i in range({c}):\n    x = x + {b}\nprint(x)", str(a + b * c)),
        (f"numbers = {listed}\nprint(max(numbers) - min(numbers))", str(max(listed) - min(listed))),
        (f"print(len('{word}') * {a})", str(len(word) * a)),
        (f"word = '{word}'\nprint(word[{a % 5}])", word[a % 5]),
        (f"print(sum(n for n in {listed} if n % 2 == 0))", str(sum(n for n in listed if n % 2 == 0))),
        (f"x, y = {a}, {b}\nx, y = y, x + y\nprint(x * y)", str(b * (a + b))),
        (f"print('{word}'.upper()[:{c}])", word.upper()[:c]),
        (f"def f(n):\n    return n * {a} - {c}\nprint(f({b}))", str(b * a - c)),
    )  # fmt: skip
