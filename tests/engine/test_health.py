"""The breaker and the retry budget of an endpoint."""

from fugu_adapters.engine.health import Health, HealthPolicy

POLICY = HealthPolicy(failures=3, cooldown=2.0, max_cooldown=60.0, retry_share=0.2, retry_reserve=5)


def _opened(now: float = 0.0) -> Health:
    health = Health(POLICY)
    for _ in range(POLICY.failures):
        assert health.admit("e", now=now)
        health.failure("e", now=now)
    return health


def test_opens_after_failures_in_a_row_only() -> None:
    """A success in between starts the count anew."""
    health = Health(POLICY)
    for _ in range(10):
        health.failure("e", now=0)
        health.failure("e", now=0)
        health.success("e", now=0)
    assert health.admit("e", now=0)
    health = _opened()
    assert not health.admit("e", now=1.9)
    assert health.wait("e", now=0.5) == 1.5


def test_endpoints_are_apart() -> None:
    """One endpoint's failures do not close another."""
    assert _opened().admit("other", now=0)


def test_half_open_lets_exactly_one_probe_through() -> None:
    """Of twenty callers after the cooling one may call; success then opens the way for all."""
    health = _opened()
    assert [health.admit("e", now=2.0) for _ in range(20)].count(True) == 1
    health.success("e", now=2.1)
    assert all(health.admit("e", now=2.1) for _ in range(20))


def test_a_failed_probe_lengthens_the_cooling() -> None:
    """Two, four, eight seconds, up to the maximum."""
    health, now = _opened(), 0.0
    for cooling in (4.0, 8.0, 16.0, 32.0, 60.0, 60.0):
        now += health.wait("e", now=now)
        assert health.admit("e", now=now)
        health.failure("e", now=now)
        assert health.wait("e", now=now) == cooling


def test_a_cancelled_probe_is_no_failure_and_frees_its_place() -> None:
    """The next caller may probe at once."""
    health = _opened()
    assert health.admit("e", now=2.0)
    health.abandon("e")
    assert health.admit("e", now=2.0)


def test_hints_extend_and_never_shorten_the_quiet() -> None:
    """A later, shorter hint or a late success does not end a longer quiet; it is bounded."""
    health = Health(POLICY)
    health.failure("e", now=0, hint=10.0)
    health.failure("e", now=1, hint=1.0)
    health.success("e", now=2)  # a call that was sent before
    assert health.wait("e", now=2) == 8.0
    health.failure("e", now=3, hint=3600.0)
    assert health.wait("e", now=3) == POLICY.max_cooldown


def test_repetitions_are_a_share_of_the_traffic() -> None:
    """A dead endpoint gets at most the reserve plus a fifth of the calls again."""
    health = Health(HealthPolicy(failures=10**9, retry_share=0.2, retry_reserve=5))
    repeated = 0
    for _ in range(100):
        assert health.admit("e", now=0)
        health.failure("e", now=0)
        repeated += health.may_retry("e")
    assert 15 <= repeated <= 25
    for _ in range(50):
        health.admit("e", now=0)
        health.success("e", now=0)
    assert sum(health.may_retry("e") for _ in range(50)) == 5
