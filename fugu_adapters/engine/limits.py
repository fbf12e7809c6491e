"""Money, tokens, calls and concurrency: reserved before a call, settled after it.

Amounts are kept in whole micro-dollars, so that sums are exact and a cap cannot be passed by rounding.
"""

from __future__ import annotations

import asyncio
import math
import threading
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fugu_adapters.config import Price
from fugu_adapters.errors import LimitExceeded
from fugu_adapters.types import Effort, Limits, Usage

__all__ = ["MIN_OUTPUT_TOKENS", "OUTPUT_TOKENS", "Account", "Gate", "Ledger", "Reservation"]

OUTPUT_TOKENS: dict[Effort, int] = {
    "low": 2_048,
    "medium": 8_192,
    "high": 16_384,
    "xhigh": 32_768,
}
"""Bound on one reply by effort, hidden reasoning included, where the caller names none."""

MIN_OUTPUT_TOKENS = 64
"""A cap that leaves less than this for the reply refuses the call instead of truncating it."""

_MICRO = 1_000_000


def _micro(usd: float) -> int:
    return math.ceil(round(usd * _MICRO, 6))


@dataclass(slots=True)
class Reservation:
    """What one call may use, until it is settled.

    Attributes:
        output_tokens: bound on the reply that the caps leave room for.
    """

    ledger: Ledger
    price: Price | None
    input_tokens: int
    output_tokens: int
    held_micro: int
    settled: bool = False

    def settle(self, usage: Usage, cost_usd: float | None = None) -> float | None:
        """Replace the reservation by what was used and return its cost in dollars.

        Args:
            usage: the worker's count.
            cost_usd: the endpoint's own figure, which is believed over the list price.
        """
        if cost_usd is None and self.price is not None:
            cost_usd = self.price.cost(
                usage.input_tokens or 0, usage.output_tokens or 0, usage.cached_input_tokens or 0
            )
        self._close(usage.total_tokens or 0, cost_usd)
        return cost_usd

    def release(self) -> None:
        """Give the reservation back after a call that the endpoint does not bill."""
        self._close(0, 0.0)

    def _close(self, tokens: int, cost_usd: float | None) -> None:
        if self.settled:
            return
        self.settled = True
        ledger = self.ledger
        ledger.reserved_micro -= self.held_micro
        ledger.reserved_tokens -= self.input_tokens + self.output_tokens
        cost_micro = 0 if cost_usd is None else _micro(cost_usd)
        ledger.spent_micro += cost_micro
        if ledger.account is not None:
            ledger.account.settle(self.held_micro, cost_micro)
        ledger.tokens += tokens


class Account:
    """Dollars that several runs share, whichever threads they are in.

    Args:
        usd: the cap.
        spent: dollars of it that were spent before.
    """

    def __init__(self, usd: float, *, spent: float = 0.0) -> None:
        self.usd = usd
        self._spent_micro = _micro(spent)
        self._reserved_micro = 0
        self._lock = threading.Lock()

    @property
    def spent(self) -> float:
        """Dollars spent so far, calls under way not included."""
        return self._spent_micro / _MICRO

    @property
    def left(self) -> float:
        """Dollars that may still be reserved; below 0 where more was spent than is allowed now."""
        return self.usd - (self._spent_micro + self._reserved_micro) / _MICRO

    def spent_elsewhere(self, usd: float) -> None:
        """Take in what was spent by others than the runs of this process."""
        with self._lock:
            self._spent_micro += _micro(usd)

    def hold(self, micro: int) -> bool:
        """Reserve micro-dollars, if there are so many."""
        with self._lock:
            if self._spent_micro + self._reserved_micro + micro > _micro(self.usd):
                return False
            self._reserved_micro += micro
            return True

    def settle(self, held_micro: int, cost_micro: int) -> None:
        """Replace a reservation by what was used."""
        with self._lock:
            self._reserved_micro -= held_micro
            self._spent_micro += cost_micro


class Ledger:
    """The caps of one run and what was used of them. Its methods never await, so they are atomic.

    Args:
        limits: the run's own.
        account: what it shares with other runs.
    """

    def __init__(self, limits: Limits, account: Account | None = None) -> None:
        self.limits = limits
        self.account = account
        self.calls = 0
        self.tokens = 0
        self.spent_micro = 0
        self.reserved_micro = 0
        self.reserved_tokens = 0

    def reserve(
        self, price: Price | None, *, worker: str, input_tokens: int, output_tokens: int
    ) -> Reservation:
        """Set aside one call, shortening the reply where that makes it fit the caps.

        Args:
            price: list price, or ``None`` where unknown.
            worker: its name, for messages.
            input_tokens: upper estimate of the prompt.
            output_tokens: wished bound on the reply.

        Raises:
            LimitExceeded: where no useful call fits any more.
        """
        limits = self.limits
        if self.calls >= limits.calls:
            raise LimitExceeded(
                f"the limit of {limits.calls} calls is used up; raise Limits(calls=...)",
                kind="calls",
                limit=limits.calls,
                value=self.calls + 1,
            )
        least = min(MIN_OUTPUT_TOKENS, output_tokens)
        room = limits.tokens - self.tokens - self.reserved_tokens - input_tokens
        output_tokens = min(output_tokens, room)
        if output_tokens < least:
            raise LimitExceeded(
                f"asking {worker!r} would pass the limit of {limits.tokens:,} tokens; "
                "raise Limits(tokens=...)",
                kind="tokens",
                limit=limits.tokens,
                value=self.tokens + input_tokens + least,
            )
        output_tokens, held = self._affordable(price, worker, input_tokens, output_tokens)
        self.calls += 1
        self.reserved_micro += held
        self.reserved_tokens += input_tokens + output_tokens
        return Reservation(self, price, input_tokens, output_tokens, held)

    def _affordable(
        self, price: Price | None, worker: str, input_tokens: int, output_tokens: int
    ) -> tuple[int, int]:
        """The longest reply that the dollar cap pays for, and what it holds in micro-dollars."""
        cap, account = self.limits.usd, self.account
        if price is None:
            if cap is None and account is None:
                return output_tokens, 0
            raise LimitExceeded(
                f"the price of {worker!r} is unknown, so it is not asked under a dollar cap; "
                "give it a price in fugu.toml or leave Limits(usd=...) out",
                kind="budget",
                limit=cap if cap is not None or account is None else account.usd,
            )
        held = _micro(price.cost(input_tokens, output_tokens))
        if cap is None and account is None:
            return output_tokens, held
        room = self._room()
        if held <= room and (account is None or account.hold(held)):
            return output_tokens, held
        rate = price.cost(input_tokens, 1_000) - price.cost(input_tokens, 0)
        prompt = price.cost(input_tokens, 0)
        fits = int((room / _MICRO - prompt) / rate * 1_000) if rate > 0 else 0
        least = min(MIN_OUTPUT_TOKENS, output_tokens)
        fits = min(fits, output_tokens)
        if fits < least:
            needed = prompt + rate * least / 1_000
            raise self._unaffordable(worker, needed, room)
        held = min(room, _micro(price.cost(input_tokens, fits)))
        if account is not None and not account.hold(held):  # another thread was faster
            raise self._unaffordable(worker, held / _MICRO, self._room())
        return fits, held

    def _room(self) -> int:
        """Micro-dollars that the caps leave."""
        cap, account = self.limits.usd, self.account
        rooms = [] if cap is None else [_micro(cap) - self.spent_micro - self.reserved_micro]
        rooms += [] if account is None else [math.floor(round(account.left * _MICRO, 6))]
        return min(rooms)

    def _unaffordable(self, worker: str, needed: float, room: int) -> LimitExceeded:
        cap, account = self.limits.usd, self.account
        own = math.inf if cap is None else _micro(cap) - self.spent_micro - self.reserved_micro
        if account is not None and room < own:
            cap, which = account.usd, f"the budget of ${account.usd:g}"
            advice, used = "raise the budget", account.usd - account.left
        else:
            which, advice = f"the cap of ${cap:g}", "raise Limits(usd=...)"
            used = (self.spent_micro + self.reserved_micro) / _MICRO
        return LimitExceeded(
            f"asking {worker!r} costs at least ${needed:.6f}, and ${max(0, room) / _MICRO:.6f} "
            f"of {which} is left; {advice} or allow a cheaper worker",
            kind="budget",
            limit=cap,
            value=used + needed,
        )


class Gate:
    """Bounds the calls to one endpoint that are under way, and the queue for them.

    The HTTP library's own bound is not used for this: it is one for all endpoints, and knows no full queue.
    """

    def __init__(self, limit: int, *, queue: int = 1_000) -> None:
        self.limit = limit
        self.queue = queue
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore]
        self._loops = weakref.WeakKeyDictionary()
        self._waiting = 0

    @asynccontextmanager
    async def slot(self, endpoint: str) -> AsyncIterator[None]:
        """Wait for a place in turn.

        Raises:
            LimitExceeded: where the queue is full.
        """
        loop = asyncio.get_running_loop()
        semaphore = self._loops.get(loop)
        if semaphore is None:
            semaphore = self._loops[loop] = asyncio.Semaphore(self.limit)
        if self._waiting >= self.queue:
            raise LimitExceeded(
                f"{self.queue} calls already wait for {endpoint}; try again later",
                kind="concurrency",
                limit=self.queue,
                value=self._waiting + 1,
            )
        self._waiting += 1
        try:
            await semaphore.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            semaphore.release()
