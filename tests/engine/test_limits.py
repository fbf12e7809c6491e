"""Caps: reserved before a call, settled after it."""

import asyncio
import math

import pytest

from fugu_adapters.config import Price
from fugu_adapters.engine.limits import Gate, Ledger
from fugu_adapters.errors import LimitExceeded
from fugu_adapters.types import Limits, Usage

PRICE = Price(input=1.0, output=10.0)  # 1,000 + 100 tokens cost $0.002


def test_a_cap_worth_five_calls_admits_five_of_twenty() -> None:
    """Reservations count before anything is sent, so a burst cannot overspend."""
    ledger = Ledger(Limits(usd=0.0101, calls=100))
    admitted = 0
    for _ in range(20):
        try:
            ledger.reserve(PRICE, worker="w", input_tokens=1_000, output_tokens=100)
        except LimitExceeded as error:
            assert error.kind == "budget"
            assert error.limit == 0.0101
        else:
            admitted += 1
    assert admitted == 5
    assert ledger.reserved_micro <= 10_100


def test_settling_frees_what_was_not_used() -> None:
    """The next call may use it; the sum of settled costs is the ledger's."""
    ledger = Ledger(Limits(usd=0.0021, calls=100))
    spent = 0.0
    for _ in range(3):
        reservation = ledger.reserve(PRICE, worker="w", input_tokens=500, output_tokens=100)
        cost = reservation.settle(Usage(input_tokens=100, output_tokens=10))
        assert cost == pytest.approx(0.0002)
        spent += cost or 0
    assert ledger.spent_micro == round(spent * 1e6)
    assert ledger.reserved_micro == ledger.reserved_tokens == 0
    assert ledger.tokens == 330


def test_a_reservation_settles_once() -> None:
    """Releasing after settling changes nothing."""
    ledger = Ledger(Limits())
    reservation = ledger.reserve(PRICE, worker="w", input_tokens=10, output_tokens=100)
    reservation.settle(Usage(input_tokens=10, output_tokens=5))
    before = ledger.spent_micro, ledger.tokens
    reservation.release()
    assert (ledger.spent_micro, ledger.tokens) == before


def test_the_reply_is_shortened_to_what_the_cap_pays() -> None:
    """A long bound on the reply does not refuse a call whose short answer is affordable."""
    ledger = Ledger(Limits(usd=0.002))
    reservation = ledger.reserve(PRICE, worker="w", input_tokens=1_000, output_tokens=8_192)
    assert 64 <= reservation.output_tokens <= 100
    assert reservation.held_micro <= 2_000


def test_a_call_that_cannot_fit_fails_fast_and_says_what_it_costs() -> None:
    """A five-dollar call under a two-dollar cap is refused before it is sent."""
    ledger = Ledger(Limits(usd=2.0))
    dear = Price(input=100, output=100)
    with pytest.raises(LimitExceeded, match=r"at least \$5\..*raise Limits\(usd=") as caught:
        ledger.reserve(dear, worker="w", input_tokens=50_000, output_tokens=100)
    assert caught.value.kind == "budget"
    assert ledger.calls == ledger.reserved_micro == 0


def test_an_unknown_price_is_refused_under_a_cap_only() -> None:
    """Unknown is not zero."""
    Ledger(Limits()).reserve(None, worker="w", input_tokens=1, output_tokens=1)
    with pytest.raises(LimitExceeded, match="price of 'w' is unknown"):
        Ledger(Limits(usd=5)).reserve(None, worker="w", input_tokens=1, output_tokens=1)


def test_calls_and_tokens_are_bounded() -> None:
    """Each has its own error kind."""
    ledger = Ledger(Limits(calls=1, tokens=1_000))
    with pytest.raises(LimitExceeded) as caught:
        ledger.reserve(PRICE, worker="w", input_tokens=990, output_tokens=500)
    assert caught.value.kind == "tokens"
    ledger.reserve(PRICE, worker="w", input_tokens=10, output_tokens=10)
    with pytest.raises(LimitExceeded) as caught:
        ledger.reserve(PRICE, worker="w", input_tokens=10, output_tokens=10)
    assert caught.value.kind == "calls"


def test_a_short_wished_reply_is_fine() -> None:
    """The minimum for a useful reply is no minimum for what the caller asks for."""
    assert (
        Ledger(Limits(usd=1))
        .reserve(PRICE, worker="w", input_tokens=1, output_tokens=5)
        .output_tokens
        == 5
    )


def test_the_endpoints_own_cost_is_believed() -> None:
    """A reported cost replaces the list price."""
    ledger = Ledger(Limits())
    reservation = ledger.reserve(PRICE, worker="w", input_tokens=10, output_tokens=10)
    assert reservation.settle(Usage(input_tokens=10, output_tokens=10), 0.5) == 0.5
    assert ledger.spent_micro == 500_000


def test_long_context_and_cached_prices() -> None:
    """The long price holds for the whole call; cached tokens have their own."""
    price = Price(
        input=2, output=10, cached_input=0.5, long_context_above=1_000, long_input=4, long_output=20
    )
    assert math.isclose(price.cost(1_000, 100), (1_000 * 2 + 100 * 10) / 1e6)
    assert math.isclose(price.cost(1_001, 100), (1_001 * 4 + 100 * 20) / 1e6)
    assert math.isclose(price.cost(1_000, 0, 400), (600 * 2 + 400 * 0.5) / 1e6)


async def test_the_gate_bounds_calls_in_turn_and_frees_cancelled_waiters() -> None:
    """Peak is the limit, a full queue is refused, and a cancelled waiter leaves no hole."""
    gate, running, peak = Gate(2, queue=3), 0, 0
    release = asyncio.Event()

    async def call() -> None:
        nonlocal running, peak
        async with gate.slot("e"):
            running += 1
            peak = max(peak, running)
            await release.wait()
            running -= 1

    tasks = [asyncio.create_task(call()) for _ in range(5)]
    await asyncio.sleep(0)
    with pytest.raises(LimitExceeded, match="already wait") as caught:
        await call()
    assert caught.value.kind == "concurrency"
    tasks[3].cancel()
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(call()))
    await asyncio.sleep(0)
    release.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert peak == 2
    assert running == 0
