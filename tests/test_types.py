"""The records that cross layers."""

from __future__ import annotations

import dataclasses
import json

import pytest

from fugu_adapters import types
from fugu_adapters.types import Attempt, Candidate, Decision, Request, Trace, Usage, to_plain

RECORDS = [
    value
    for value in vars(types).values()
    if dataclasses.is_dataclass(value) and value.__module__ == types.__name__
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_records_are_frozen_keyword_only_and_listed(record):
    """Adding a field never breaks a caller, and nobody changes a record behind another's back."""
    assert record.__dataclass_params__.frozen
    assert all(field.kw_only for field in dataclasses.fields(record))
    assert "__slots__" in vars(record)
    assert record.__name__ in types.__all__
    assert record.__doc__


def test_public_names_are_sorted():
    """The list is kept in order, so that a change shows as one line."""
    assert types.__all__ == sorted(types.__all__, key=lambda name: (name.islower(), name))


def test_unknown_tokens_are_not_zero():
    """A total is unknown where a part is, and adding keeps what is known."""
    known, unknown = Usage(input_tokens=3, output_tokens=4), Usage()
    assert known.total_tokens == 7
    assert Usage(input_tokens=3).total_tokens is None
    assert unknown + unknown == Usage()
    assert (known + unknown).total_tokens == 7
    assert known + known == Usage(input_tokens=6, output_tokens=8)


def test_an_estimate_stays_marked():
    """A sum with one estimated part is an estimate."""
    assert (Usage(estimated=True) + Usage()).estimated
    assert not (Usage() + Usage()).estimated


def test_to_plain_gives_json():
    """Nested records, tuples and mappings become what JSON can hold."""
    trace = Trace(
        decisions=(
            Decision(
                worker="a",
                candidates=(Candidate(worker="a", interval=(0.1, 0.9)),),
                reason="r",
                policy="p/1",
            ),
        ),
        attempts=(Attempt(worker="a", ok=True, usage=Usage(input_tokens=1)),),
    )
    plain = json.loads(json.dumps(to_plain(trace)))
    assert plain["decisions"][0]["candidates"][0]["interval"] == [0.1, 0.9]
    assert plain["attempts"][0]["usage"]["output_tokens"] is None
    assert to_plain(Request(messages=({"role": "user", "content": "x"},)))["tools"] == []
