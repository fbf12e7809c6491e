"""Function calls: their arguments worked out again from what the user says."""

from __future__ import annotations

import datetime
import json
import re

import pytest

from fugu_adapters.evaluate.probes import level_of, probe_items

ITEMS = list({i.item_id: i for seed in range(6) for i in probe_items(seed)}.values())


def _schema(item):
    tools = json.loads(re.search(r"^\[\{.*\}\]$", item.prompt, re.MULTILINE)[0])
    wanted = json.loads(item.answer)
    [tool] = [tool for tool in tools if tool["name"] == wanted["name"]]
    return tool["parameters"], wanted["arguments"], len(tools)


TYPES = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
}


def test_calls_fit_their_schemas():
    """The function is offered once, all required arguments are there, and the types are right."""
    calls = [i for i in ITEMS if i.domain == "call"]
    for i in calls:
        parameters, arguments, offered = _schema(i)
        assert offered == (1, 2, 3, 4, 4)[level_of(i) - 1]
        assert set(parameters["required"]) <= set(arguments) <= set(parameters["properties"])
        for name, value in arguments.items():
            assert isinstance(value, TYPES[parameters["properties"][name]["type"]])
    assert len({json.loads(i.answer)["name"] for i in calls}) == 8


def _request(item):
    return re.search(r"The user says: (.*)\n", item.prompt)[1]


HOURS = {
    w: h
    for h, w in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
        ]
    )
}


def _timer(text):
    hours, minutes, seconds = map(int, re.findall(r"\d+", text))
    return {"seconds": int(datetime.timedelta(0, seconds, 0, 0, minutes, hours).total_seconds())}


def _thermostat(text):
    fahrenheit, hour = int(re.search(r"(\d+) °F", text)[1]), re.search(r"quarter to (\w+)", text)[1]
    return {"celsius": (fahrenheit - 32) / 1.8, "until": f"{HOURS[hour] + 12 - 1}:45"}


def _table(text):
    today = datetime.date.fromisoformat(re.search(r"\d{4}-\d{2}-\d{2}", text)[0])
    assert f"{today:%A}" in text
    weeks, name = re.search(r"(a week|two weeks) after the coming (\w+)", text).groups()
    coming = next(d for k in range(1, 8) if f"{(d := today + datetime.timedelta(k)):%A}" == name)
    hour, friends = (
        HOURS[re.search(r"half past (\w+)", text)[1]],
        HOURS[re.search(r"(\w+) friends", text)[1]],
    )
    return {
        "date": str(coming + datetime.timedelta(weeks=1 if weeks == "a week" else 2)),
        "time": f"{hour + 12}:30",
        "guests": 2 + 2 + friends,
        "terrace": "not on the terrace" not in text,
    }


def _alarm(text):
    start, ride, ready = map(
        int, re.search(r"at (\d+):00 .* (\d+) minutes .* (\d+) minutes", text).groups()
    )
    wake = datetime.datetime(2000, 1, 3, start) - datetime.timedelta(minutes=ride + ready)
    week = [datetime.date(2024, 1, day) for day in range(1, 8)]
    return {
        "time": f"{wake:%H:%M}",
        "weekdays": [d.isoweekday() for d in week if f"{d:%A}" not in text],
    }


def _meeting(text):
    offset = datetime.timezone(datetime.timedelta(hours=int(re.search(r"UTC([+-]\d+)", text)[1])))
    clock, day = re.search(r"at (\d\d:\d\d) my time on (\S+);", text).groups()
    later, quarters = (
        re.search(r"exactly (\d+) minutes", text)[1],
        re.search(r"last (\d) quarters", text)[1],
    )
    start = datetime.datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=offset)
    start = (start + datetime.timedelta(minutes=int(later))).astimezone(datetime.UTC)
    names = re.search(r"call with (\w+), (\w+) and (\w+)", text).groups()
    told = {
        "start": f"{start:%Y-%m-%dT%H:%M}Z",
        "minutes": 15 * int(quarters),
        "attendees": sorted(names),
    }
    return told | ({"record": True} if "please record" in text else {})


def _parcels(text):
    parcels = [
        {
            "grams": round(float(kg) * 1000),
            "millimetres": sorted((int(s) * 10 for s in sides), reverse=True),
        }
        for kg, *sides in re.findall(r"([\d.]+) kg and (\d+) by (\d+) by (\d+) cm", text)
    ]
    insured = re.search(r"for (\d+) euros and 5 cents", text)
    told = {"parcels": sorted(parcels, key=lambda p: p["grams"])}
    return told | ({"insured_cents": int(insured[1] + "05")} if insured else {})


CALLS = {
    "start_timer": _timer, "set_thermostat": _thermostat, "book_table": _table, "set_alarm": _alarm,
    "schedule_call": _meeting, "quote_parcels": _parcels,
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_arguments_follow_from_the_request(name):
    """Units, times, dates, time zones and sums, worked out from the user's words."""
    wanted = [(i, json.loads(i.answer)) for i in ITEMS if i.domain == "call"]
    wanted = [(i, answer["arguments"]) for i, answer in wanted if answer["name"] == name]
    assert len(wanted) >= 2
    for i, arguments in wanted:
        again = CALLS[name](_request(i))
        assert {key: arguments[key] for key in again if key in arguments} == again, i.item_id
        assert ("record" in arguments) == ("record" in again)
        assert ("insured_cents" in arguments) == ("insured_cents" in again)
