"""Probes of instructions kept to the letter: function calls with normalised arguments, and formats."""

from __future__ import annotations

import datetime
import json
import random
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from fugu_adapters.evaluate.probes_common import PEOPLE, WORDS
from fugu_adapters.evaluate.tasks_numbers import Draft

__all__ = ["call", "format_rules"]

Arguments: TypeAlias = dict[str, Any]
Ask: TypeAlias = tuple[str, str, Arguments]

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def _function(name: str, about: str, required: Sequence[str], **fields: Any) -> Mapping[str, Any]:
    """A function as it is described to models, its fields as ``"type: description"`` or schemas."""
    parameters = {
        field: dict(zip(("type", "description"), told.split(": ", 1), strict=True))
        if isinstance(told, str)
        else told
        for field, told in fields.items()
    }
    schema = {"type": "object", "properties": parameters, "required": list(required)}
    return {"name": name, "description": about, "parameters": schema}


_PLACE = {
    "type": "object",
    "properties": {
        "country": {"type": "string", "description": "ISO 3166 code of two letters, upper case"},
        "postcode": {"type": "string", "description": "without spaces"},
    },
}
_PARCELS = {
    "type": "array",
    "description": "lightest parcel first",
    "items": {
        "type": "object",
        "properties": {
            "grams": {"type": "integer", "description": "weight in g"},
            "millimetres": {
                "type": "array",
                "description": "the three sides in mm, longest first",
                "items": {"type": "integer"},
            },
        },
    },
}

_FUNCTIONS = {
    f["name"]: f
    for f in (
        _function("get_weather", "Current weather of a city.", ["city"], city="string: name of the city"),
        _function("convert_currency", "Converts an amount of money.", ["amount", "source", "target"],
                  amount="number: how much", source="string: ISO 4217 code, upper case",
                  target="string: ISO 4217 code, upper case"),
        _function("start_timer", "Starts a countdown.", ["seconds"], seconds="integer: length in seconds",
                  label="string: name of the timer in lower case; only if the user gives one"),
        _function("set_alarm", "Rings at a time of day.", ["time"], time="string: HH:MM, 24 hours",
                  weekdays="array: days on which it rings again, 1 = Monday to 7 = Sunday, ascending; only "
                  "for repeating alarms"),
        _function("book_table", "Books a table in a restaurant.", ["restaurant", "date", "time", "guests"],
                  restaurant="string: its name", date="string: YYYY-MM-DD", time="string: HH:MM, 24 hours",
                  guests="integer: all who will sit at the table",
                  terrace="boolean: only if the user asks for or against it"),
        _function("set_thermostat", "Sets a room's target temperature.", ["room", "celsius"],
                  room="string: lower case", celsius="number: degrees Celsius",
                  until="string: HH:MM, 24 hours; only if the user gives an end"),
        _function("schedule_call", "Schedules a video call.", ["start", "minutes", "attendees"],
                  start="string: UTC, as YYYY-MM-DDTHH:MMZ", minutes="integer: length in minutes",
                  attendees="array: first names in alphabetical order, the user not included",
                  record="boolean: default false; leave it out where it is the default"),
        _function("quote_parcels", "Price of sending parcels.", ["sender", "receiver", "parcels"],
                  sender=_PLACE, receiver=_PLACE, parcels=_PARCELS,
                  insured_cents="integer: insured value in cents; leave it out where nothing is insured"),
    )
}  # fmt: skip

_CITIES = (
    "Lisbon",
    "Oslo",
    "Nairobi",
    "Quito",
    "Hanoi",
    "Dublin",
    "Tunis",
    "Perth",
    "Riga",
    "Lima",
)
_MONEY = (("US dollars", "USD"), ("euros", "EUR"), ("Japanese yen", "JPY"), ("British pounds", "GBP"),
          ("Swiss francs", "CHF"), ("Indian rupees", "INR"), ("Canadian dollars", "CAD"))  # fmt: skip
_ZONES = (("Tokyo", 9), ("Dubai", 4), ("Nairobi", 3), ("Bogotá", -5), ("Buenos Aires", -3))
_COUNTRIES = (("Germany", "DE"), ("Switzerland", "CH"), ("Spain", "ES"), ("Japan", "JP"),
              ("Austria", "AT"), ("South Korea", "KR"), ("Denmark", "DK"), ("Estonia", "EE"))  # fmt: skip
_TABLES = ("Casa Verde", "The Copper Pot", "Little Saigon", "Mare Nostrum")
_COUNT = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def call(rng: random.Random, level: int) -> Draft:
    """Choose a function and fill in its arguments, converting units, times and dates."""
    makers = (
        (_weather,),
        (_currency,),
        (_timer, _thermostat),
        (_table, _alarm),
        (_meeting, _parcels),
    )
    request, name, arguments = rng.choice(makers[level - 1])(rng)
    others = [other for other in sorted(_FUNCTIONS) if other != name]
    names = [name, *rng.sample(others, (0, 1, 2, 3, 3)[level - 1])]
    rng.shuffle(names)
    tools = json.dumps([_FUNCTIONS[each] for each in names], ensure_ascii=False)
    ask = (
        f"You can call these functions:\n\n{tools}\n\nThe user says: {request}\n\nReply with exactly one "
        'JSON object of the form {"name": <function>, "arguments": {<parameter>: <value>, ...}} that '
        "serves the request. Leave out optional parameters that it does not call for."
    )
    return Draft(ask, json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False))


def _weather(rng: random.Random) -> Ask:
    city = rng.choice(_CITIES)
    ask = rng.choice(("What's the weather like in {} right now?", "Is it raining in {}?"))
    return ask.format(city), "get_weather", {"city": city}


def _currency(rng: random.Random) -> Ask:
    (source, code), (target, other) = rng.sample(_MONEY, 2)
    amount = 50 * rng.randint(2, 90)
    ask = f"I have {amount:,} {source}. How much is that in {target}?"
    return ask, "convert_currency", {"amount": amount, "source": code, "target": other}


def _timer(rng: random.Random) -> Ask:
    hours, minutes, seconds = rng.randint(1, 3), rng.randint(3, 55), 5 * rng.randint(1, 11)
    label = rng.choice(("Pasta", "Laundry", "Bread"))
    ask = f"Start a {label} timer for {hours} h {minutes} min {seconds} s, please."
    total = 3600 * hours + 60 * minutes + seconds
    return ask, "start_timer", {"seconds": total, "label": label.lower()}


def _thermostat(rng: random.Random) -> Ask:
    celsius, hour = 5 * rng.randint(3, 5), rng.randint(5, 11)
    room = rng.choice(("Kitchen", "Nursery", "Office"))
    ask = f"Make the {room} {celsius * 9 // 5 + 32} °F until a quarter to {_clock(hour)} tonight."
    return ask, "set_thermostat", {
        "room": room.lower(), "celsius": celsius, "until": f"{hour + 11}:45"
    }  # fmt: skip


def _clock(hour: int) -> str:
    return (*_COUNT, "ten", "eleven")[hour]


def _table(rng: random.Random) -> Ask:
    today = datetime.date(2025, 1, 6) + datetime.timedelta(days=rng.randint(0, 340))
    day, weeks = rng.randrange(7), rng.randint(1, 2)
    ahead = (day - today.weekday() - 1) % 7 + 1
    date = today + datetime.timedelta(days=ahead + 7 * weeks)
    hour, friends = rng.randint(6, 9), rng.randint(2, 6)
    name, terrace = rng.choice(_TABLES), rng.choice((True, False))
    week = "a week" if weeks == 1 else "two weeks"
    ask = (
        f"Today is {_WEEKDAYS[today.weekday()]}, {today.isoformat()}. Get my wife, our twins and me a "
        f"table at {name}, {week} after the coming {_WEEKDAYS[day]}, half past {_clock(hour)} in the "
        f"evening; {_COUNT[friends]} friends will join us. "
        + ("We'd love to sit outside on the terrace." if terrace else "Please not on the terrace.")
    )
    return ask, "book_table", {
        "restaurant": name, "date": date.isoformat(), "time": f"{hour + 12}:30",
        "guests": friends + 4, "terrace": terrace,
    }  # fmt: skip


def _alarm(rng: random.Random) -> Ask:
    bus, ride, ready = rng.randint(6, 8), rng.randint(21, 49), rng.randint(50, 75)
    off = sorted(rng.sample(range(1, 8), 3))
    days = [day for day in range(1, 8) if day not in off]
    rings = 60 * bus + 60 * 3 - ride - ready
    free = [_WEEKDAYS[day - 1] for day in reversed(off)]
    ask = (
        f"My shift starts at {bus + 3}:00 am on every day of the week except {free[0]}, {free[1]} and "
        f"{free[2]}. The ride takes {ride} minutes and I need {ready} minutes to get ready. Wake me on "
        "those days so that I arrive exactly on time."
    )
    return ask, "set_alarm", {"time": f"{rings // 60:02d}:{rings % 60:02d}", "weekdays": days}


def _meeting(rng: random.Random) -> Ask:
    (here, offset), (there, other) = rng.sample(_ZONES, 2)
    names = rng.sample(PEOPLE, 4)
    local = datetime.datetime(2025, 1, 1, 0, 20) + datetime.timedelta(
        days=rng.randint(20, 350), hours=rng.choice((0, 1, 2, 21, 22, 23))
    )
    length, later = rng.randint(5, 9), rng.randint(95, 190)
    start = local + datetime.timedelta(minutes=later) - datetime.timedelta(hours=offset)
    record = rng.choice((True, False))
    ask = (
        f"I'm in {here} (UTC{offset:+d}) and {names[0]} is in {there} (UTC{other:+d}). My flight lands "
        f"at {local:%H:%M} my time on {local.date().isoformat()}; start the call with {names[0]}, "
        f"{names[1]} and {names[2]} exactly {later} minutes after that. {names[3]} can't make it, so "
        f"leave out {names[3]}. It should last {length} quarters of an hour. "
        + ("And please record it." if record else "No need to record it.")
    )
    arguments: Arguments = {
        "start": f"{start:%Y-%m-%dT%H:%M}Z", "minutes": 15 * length, "attendees": sorted(names[:3])
    }  # fmt: skip
    return ask, "schedule_call", arguments | ({"record": True} if record else {})


def _parcels(rng: random.Random) -> Ask:
    (start, code), (end, other) = rng.sample(_COUNTRIES, 2)
    codes = [str(rng.randint(10_000, 99_999)) for _ in range(2)]
    parcels = []
    told = []
    for tenths in sorted(rng.sample(range(12, 95), 3), key=lambda _: rng.random()):
        sides = [rng.randint(15, 80) for _ in range(3)]
        parcels.append(
            {"grams": 100 * tenths, "millimetres": sorted((10 * s for s in sides), reverse=True)}
        )
        told.append(f"{tenths / 10:.1f} kg and {sides[0]} by {sides[1]} by {sides[2]} cm")
    euros, insured = rng.randint(40, 900), rng.choice((True, False))
    ask = (
        f"What would it cost to send three parcels from {codes[0][:3]} {codes[0][3:]} in {start} to "
        f"{codes[1][:2]} {codes[1][2:]} in {end}? One is {told[0]}, one {told[1]}, the last {told[2]}. "
        + (f"Insure them for {euros} euros and 5 cents." if insured else "They need no insurance.")
    )
    arguments: Arguments = {
        "sender": {"country": code, "postcode": codes[0]},
        "receiver": {"country": other, "postcode": codes[1]},
        "parcels": sorted(parcels, key=lambda parcel: str(parcel["grams"]).zfill(6)),
    }
    return ask, "quote_parcels", arguments | ({"insured_cents": 100 * euros + 5} if insured else {})


_THEMES = (
    "a harbour at night",
    "an old library",
    "a storm",
    "making bread",
    "a train journey",
    "autumn",
)


def format_rules(rng: random.Random, level: int) -> Draft:
    """One to six rules about words, lines and letters that a text has to keep at once."""
    theme = rng.choice(_THEMES)
    makers = (_echo, _word_count, _line_counts, _acrostic, _acrostic)
    ask, rules = makers[level - 1](rng, level, theme)
    return Draft(f"{ask} Reply with nothing else, no title and no comment.", json.dumps(rules))


def _echo(rng: random.Random, level: int, theme: str) -> tuple[str, Mapping[str, Any]]:
    word = rng.choice(WORDS)
    return f"Reply with the word {word}, in capital letters.", {"is": word.upper()}


def _word_count(rng: random.Random, level: int, theme: str) -> tuple[str, Mapping[str, Any]]:
    count = rng.randint(3, 6)
    ask = f"Write exactly {count} words about {theme}, all in lower case, on one line."
    return ask, {"words": count, "lower": True, "lines": 1}


def _line_counts(rng: random.Random, level: int, theme: str) -> tuple[str, Mapping[str, Any]]:
    counts = rng.sample(range(3, 9), 3)
    word = rng.choice(("wind", "light", "slow", "old"))
    ask = (
        f"Write three lines about {theme}: the first of exactly {counts[0]} words, the second of "
        f"{counts[1]}, the third of {counts[2]}. Use the word '{word}' exactly twice in all, and only "
        "lower-case letters."
    )
    return ask, {"words_per_line": counts, "times": {word: 2}, "lower": True}


def _acrostic(rng: random.Random, level: int, theme: str) -> tuple[str, Mapping[str, Any]]:
    spine, banned, ends = rng.choice(
        (
            ("storm", "e", ["dark", "floor", "snow", "glass", "blood"]),
            ("cloud", "i", ["stone", "road", "moss", "hand", "door"]),
            ("north", "a", ["bell", "home", "fire", "wolf", "deep"]),
            ("giant", "o", ["leaf", "rain", "bells", "glass", "hearth"]),
        )
    )
    counts = [rng.randint(5, 9) for _ in spine]
    lines = "; ".join(
        f"line {i}: {n} words" + (f", the last one '{end}'" if level > 4 else "")
        for i, (n, end) in enumerate(zip(counts, ends, strict=True), start=1)
    )
    ask = (
        f"Write a poem of five lines about {theme}. The first letters of the lines spell "
        f"'{spine}'. Write only lower-case letters. The lines have exactly these lengths: {lines}."
    )
    rules: dict[str, Any] = {"starts": spine, "words_per_line": counts, "lower": True}
    if level > 4:
        ask += f" The letter '{banned}' must not occur anywhere, and no word may be used twice."
        rules |= {"ends": ends, "without": banned, "distinct": True}
    return ask, rules
