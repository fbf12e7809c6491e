"""When a call is repeated, and after how long."""

import random

import pytest

from fugu_adapters import errors
from fugu_adapters.engine.retry import RetryPolicy, action_for, delay_before

POLICY = RetryPolicy(first=0.5, cap=4.0)


def _worker_errors() -> list[type[errors.WorkerError]]:
    kinds = [getattr(errors, name) for name in errors.__all__]
    return [k for k in kinds if isinstance(k, type) and issubclass(k, errors.WorkerError)]


@pytest.mark.parametrize("kind", _worker_errors())
def test_every_worker_error_has_an_action(kind: type[errors.WorkerError]) -> None:
    """The table is complete, subclasses included."""
    subclass = type("Sub", (kind,), {})
    assert action_for(kind("x")) == action_for(subclass("x"))
    assert action_for(kind("x")) in ("retry", "next", "stop")


@pytest.mark.parametrize(
    ("status", "action"),
    [(400, "stop"), (422, "stop"), (401, "next"), (404, "next"), (413, "next"), (302, "next")],
)
def test_a_wrong_request_is_not_sent_to_everybody(status: int, action: str) -> None:
    """400 and 422 end the run; other refusals concern one endpoint."""
    assert action_for(errors.WorkerRefused("no", status=status)) == action


def test_delays_grow_and_keep_their_jitter_at_the_cap() -> None:
    """Half to all of the exponential base, also from the attempt on that reaches the cap."""
    rng = random.Random(0)
    for attempt, base in [(2, 0.5), (3, 1.0), (4, 2.0), (5, 4.0), (9, 4.0), (60, 4.0)]:
        drawn = [delay_before(attempt, hint=None, policy=POLICY, rng=rng) for _ in range(200)]
        assert base / 2 <= min(drawn) < max(drawn) <= base
        assert max(drawn) - min(drawn) > base / 4


def test_a_hint_is_a_floor() -> None:
    """Jitter only adds to what the endpoint asked for."""
    rng = random.Random(0)
    drawn = [delay_before(2, hint=1.0, policy=POLICY, rng=rng) for _ in range(200)]
    assert min(drawn) >= 1.0
    assert max(drawn) < 1.6
