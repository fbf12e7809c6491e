"""The error tree."""

from __future__ import annotations

import asyncio
import copy
import inspect
import re

import pytest

from fugu_adapters import errors
from fugu_adapters.errors import FuguError, LimitExceeded, PlanError, WorkerError, WorkerTimeout

ALL = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, FuguError)
]
WORKER_ERRORS = [kind for kind in ALL if issubclass(kind, WorkerError)]


def drawn_tree():
    """Name and parent of every class in the module's drawing."""
    parents, stack = {}, []
    for line in errors.__doc__.splitlines():
        entry = re.match(r"^( {4,})([A-Z]\w+)", line)
        if entry is None:
            continue
        depth = len(entry[1])
        stack = [(d, name) for d, name in stack if d < depth]
        parents[entry[2]] = stack[-1][1] if stack else "RuntimeError"
        stack.append((depth, entry[2]))
    return parents


def test_the_drawing_is_the_tree():
    """The docstring shows each class under its real parent."""
    real = {kind.__name__: kind.__bases__[0].__name__ for kind in ALL}
    assert drawn_tree() == real


def test_every_error_is_public_and_a_runtime_error():
    """LangGraph retries plain exceptions, and we have retried already."""
    assert {kind.__name__ for kind in ALL} <= set(errors.__all__)
    assert all(issubclass(kind, RuntimeError) for kind in ALL)
    assert not any(issubclass(kind, asyncio.CancelledError) for kind in ALL)


@pytest.mark.parametrize("kind", WORKER_ERRORS, ids=lambda kind: kind.__name__)
def test_a_worker_error_says_who_how_often_and_what_kind(kind):
    """All worker errors carry the same fields, with a word of their own for the cause."""
    plain = kind("it failed")
    told = kind("it failed", worker="a", attempts=3, status=503, cause_kind="http_503")
    assert (plain.worker, plain.attempts, plain.status) == ("", 1, None)
    assert (told.worker, told.attempts, told.status) == ("a", 3, 503)
    assert told.cause_kind == "http_503"
    assert str(told) == "it failed"


def test_causes_differ_by_class():
    """Logs can tell the classes apart by one word."""
    words = [kind("x").cause_kind for kind in WORKER_ERRORS]
    assert len(set(words)) == len(words)


def test_a_timeout_is_the_builtin_one_too():
    """``except TimeoutError`` works."""
    assert issubclass(WorkerTimeout, TimeoutError)


def test_a_limit_and_a_plan_error_carry_their_facts():
    """Who catches them can act without reading the message."""
    limit = LimitExceeded("over", kind="budget", limit=1.0, value=1.5)
    assert (limit.kind, limit.limit, limit.value, limit.partial) == ("budget", 1.0, 1.5, None)
    assert PlanError("bad", path="steps[2].access").path == "steps[2].access"


def test_an_error_can_be_copied():
    """Hosts copy exceptions between tasks; the facts stay."""
    again = copy.copy(WorkerError("x", worker="a", status=500))
    assert (str(again), again.worker, again.status) == ("x", "a", 500)
