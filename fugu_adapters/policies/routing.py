"""From a request to a decision: who may be asked, what each would cost, and what the selector says."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from fugu_adapters.config import Price, Worker
from fugu_adapters.encoders import load_encoder
from fugu_adapters.errors import InputError
from fugu_adapters.policies.aliases import match_profile
from fugu_adapters.policies.continuity import (
    Sessions,
    State,
    Turn,
    cached_price,
    decide,
    keys_after,
    keys_before,
    read_turn,
    trail_of,
)
from fugu_adapters.policies.descriptions import Descriptions
from fugu_adapters.policies.rule import Arm
from fugu_adapters.policies.selector import TOLERANCE, Choice, ClusterSelector
from fugu_adapters.policies.weights import Bundle, default_bundle, load_bundle
from fugu_adapters.pool import Pool
from fugu_adapters.types import Decision, Effort, Request

__all__ = ["Router"]

_REMEMBERED = 256  # vectors of recent texts: a host often routes a text and then runs it


class Router:
    """Decides for one pool. Weights and encoder are loaded at the first decision.

    Args:
        pool: the workers; its ``selector`` names the weights, its ``routing`` how turns hang together.
        clock: seconds, for the age of conversations and caches.
    """

    def __init__(self, pool: Pool, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.pool = pool
        self._clock = clock
        self._sessions = Sessions(pool.routing.sessions, pool.routing.session_ttl_s)
        self._lock = threading.Lock()
        self._selector: ClusterSelector | None = None
        self._known: list[tuple[str, str | None, Price | None]] | None = None
        self._texts = {
            worker.name: worker.description.strip()
            for worker in pool
            if worker.description and worker.description.strip()
        }
        self._descriptions: Descriptions | None = None
        self._encode = lru_cache(maxsize=_REMEMBERED)(self._encode_text)

    @property
    def selector(self) -> ClusterSelector:
        """The selector over the pool's weights.

        Raises:
            WeightsError: where the weights do not pass their checks.
        """
        with self._lock:
            if self._selector is None:
                self._selector = ClusterSelector(self._bundle())
            return self._selector

    @property
    def is_loaded(self) -> bool:
        """Whether weights and encoder are there already."""
        return self._selector is not None and self._encode.cache_info().currsize > 0

    def _bundle(self) -> Bundle:
        if self.pool.selector is not None:
            return load_bundle(self.pool.selector)
        # Local models differ by kind of everyday task, of which the public outcomes have little.
        local = all(worker.api == "embedded" and worker.path is None for worker in self.pool)
        return default_bundle("local" if local else "selector")

    def profile_of(self, worker: Worker) -> str | None:
        """The learned profile that stands for a worker, or ``None`` where nothing was measured."""
        return match_profile(worker.profile_name, self.selector.bundle)

    def decide(
        self,
        request: Request,
        *,
        model: str,
        effort: Effort,
        exclude: Iterable[str] = (),
        unready: Mapping[str, str] | None = None,
        session: str | None = None,
        quality: float | None = None,
        max_cost: float | None = None,
        remember: bool = True,
    ) -> Decision:
        """Choose a worker, and remember the choice for the conversation's next turn.

        Args:
            request: what would be asked.
            model: name of the policy that the caller asked for.
            effort: how much expected quality may be given up for a lower price.
            exclude: labels of workers not to ask.
            unready: workers that cannot be asked from here, each with what is missing.
            session: the conversation; without it, one is recognised by its history.
            quality: in place of the effort's tolerance, the least expected score relative to the best,
                1 being equal to it. It bounds ``switch_gain`` too.
            max_cost: dollars that the call may be expected to cost.
            remember: whether it is a turn of its conversation; otherwise what was before does not count.

        Raises:
            InputError: where nobody may be asked, or nobody within ``max_cost``.
            WeightsError: where the weights do not pass their checks.
        """
        began, now = time.perf_counter(), self._clock()
        settings = self.pool.routing
        reasons = self.pool.eligibility(request, exclude, unready)
        tolerance = TOLERANCE[effort] if quality is None else 1.0 - quality
        gain = settings.switch_gain if quality is None else min(settings.switch_gain, tolerance)
        state, turn = self._turn(request, session, gain, now, known=remember)
        arms = self._arms(request, reasons, turn)
        if state is not None:
            arms = [_with_cache(arm, turn) if arm.worker == state.worker else arm for arm in arms]
        choice = self._choose(turn.text, arms, tolerance, max_cost)
        verdict = decide(state, choice, turn, now, settings)
        for key in keys_after(session, turn.trail) if remember else ():
            self._sessions.put(key, verdict.state)
        return Decision(
            worker=verdict.choice.candidates[0].worker,
            candidates=verdict.choice.candidates,
            reason=verdict.choice.reason,
            policy=self.selector.name,
            model=model,
            seconds=time.perf_counter() - began,
            continuity=verdict.continuity,
        )

    def answered(self, request: Request, worker: str, *, session: str | None = None) -> None:
        """Say who answered a decided request where it was not the chosen worker: the next turn is theirs."""
        trail = trail_of(request.messages)
        for key in keys_after(session, trail):
            state = self._sessions.get(key, self._clock())
            if state is not None and state.trail == trail.whole:  # no other turn came in between
                self._sessions.put(key, replace(state, worker=worker))

    def _turn(
        self, request: Request, session: str | None, gain: float, now: float, *, known: bool
    ) -> tuple[State | None, Turn]:
        """What is known of the conversation, and this request as its next turn."""
        trail = trail_of(request.messages)
        keys = keys_before(session, trail) if known else ()
        states = (self._sessions.get(key, now) for key in keys)
        state = next((state for state in states if state is not None), None)
        turn = read_turn(
            request,
            state,
            self.pool.routing,
            trail=trail,
            now=now,
            gain=gain,
            known=bool(keys),
        )
        return state, turn

    def _arms(self, request: Request, reasons: Mapping[str, str | None], turn: Turn) -> list[Arm]:
        fits = self._described().fits(turn.text) if self._texts else {}
        if self._known is None:
            self._known = [(w.name, self.profile_of(w), w.known_price) for w in self.pool]
        return [
            Arm(
                worker=name,
                profile=profile,
                price=price,
                input_tokens=turn.tokens,
                max_output_tokens=request.max_output_tokens,
                fit=fits.get(name),
                excluded_because=reasons[name],
            )
            for name, profile, price in self._known
        ]

    def _choose(
        self, text: str, arms: list[Arm], tolerance: float, max_cost: float | None
    ) -> Choice:
        vector = self._encode(text)
        choice = self.selector.decide(vector, arms, tolerance=tolerance)
        if max_cost is None:
            return choice
        return self.selector.decide(
            vector, _affordable(arms, choice, max_cost), tolerance=tolerance
        )

    def _described(self) -> Descriptions:
        """The pool's descriptions, encoded at the first decision."""
        if self._descriptions is None:  # two threads at once make the same
            bundle, encode = self.selector.bundle, self._encode
            wanted = self.pool.routing.description_encoder
            if wanted is not None and wanted != bundle.encoder:
                bundle = default_bundle("local" if wanted == "use-m3" else "selector")
                encode = lru_cache(maxsize=_REMEMBERED)(partial(_vector, wanted))
            self._descriptions = Descriptions.build(self._texts, encode, bundle)
        return self._descriptions

    def _encode_text(self, text: str) -> NDArray[np.float32]:
        return _vector(self.selector.bundle.encoder, text)


def _vector(encoder: str, text: str) -> NDArray[np.float32]:
    vector: NDArray[np.float32] = load_encoder(encoder).encode([text])[0]
    vector.flags.writeable = False  # it is shared by every later request with this text
    return vector


def _with_cache(arm: Arm, turn: Turn) -> Arm:
    return replace(arm, price=cached_price(arm.price, turn))


def _affordable(arms: Iterable[Arm], choice: Choice, max_cost: float) -> list[Arm]:
    """The arms, with those excluded whose expected cost is above the bound or unknown.

    Raises:
        InputError: where nobody is left.
    """
    costs = {c.worker: c.cost_usd for c in choice.candidates if c.excluded_because is None}
    dear = {name: _too_dear(cost, max_cost) for name, cost in costs.items()}
    if all(dear.values()):
        known = [cost for cost in costs.values() if cost is not None]
        least = (
            f"the cheapest is expected to cost ${min(known):.2g}" if known else "no price is known"
        )
        raise InputError(f"max_cost: nobody can answer for ${max_cost:.2g}; {least}")
    return [replace(arm, excluded_because=arm.excluded_because or dear[arm.worker]) for arm in arms]


def _too_dear(cost: float | None, max_cost: float) -> str | None:
    if cost is None:
        return "has an unknown price, and max_cost is set"
    return f"is expected to cost ${cost:.2g}, above max_cost" if cost > max_cost else None
