"""From turn to turn: who answered a conversation before, and whether to leave it with them.

Pure: what is known of a conversation is a ``State``, passed in and returned, with the time as an argument.
``Sessions`` keeps the states between requests. A conversation is found by its own beginning: a chat host
sends the whole history, so all that comes before the last assistant message is what the request before
ended with. For hosts that keep the history to themselves, it is found by the caller's session.

The rule for a turn whose conversation is known:

1. While its tool calls are being answered, the worker that made them stays.
2. Otherwise the selector decides anew, with the part of the history that the last worker has cached
   counted at the cached price. Whom it picks takes over where that is cheaper even so, or where the
   expected gain is above ``switch_gain``. Else the last worker stays.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

from fugu_adapters.config import Price, RoutingConfig
from fugu_adapters.messages import clip_middle, estimate_tokens, images_of, routing_text, text_of
from fugu_adapters.policies.follow_up import is_follow_up
from fugu_adapters.policies.selector import Choice
from fugu_adapters.types import Candidate, Continuity, Message, Request

__all__ = [
    "Sessions",
    "State",
    "Trail",
    "Turn",
    "Verdict",
    "cached_price",
    "decide",
    "keys_after",
    "keys_before",
    "read_turn",
    "trail_of",
]

_LEAST_CACHED = 1_024  # tokens; the common providers cache no shorter prefix
_LOOK_BACK = 8  # user turns in which the task of a follow-up is searched
_MAX_TASK = 6_000  # characters, as many as a request is routed by


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """What is kept of a conversation between its turns.

    Attributes:
        worker: who was chosen last, or answered in their place.
        task: the text that the last turn was routed by.
        trail: digest of its messages.
        tokens: its prompt tokens, which the worker's provider may have cached.
        at: when it was, in seconds of the caller's clock.
    """

    worker: str
    task: str
    trail: bytes
    tokens: int
    at: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Trail:
    """Digests of a request's messages.

    Attributes:
        whole: of all of them; the next request's ``before``.
        before: of those before the last assistant message; ``None`` where none are.
    """

    whole: bytes
    before: bytes | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """One request as a turn of its conversation.

    Attributes:
        text: what it is routed by: its own last user message, or the task it goes on with.
        trail: digests of its messages.
        tokens: its prompt tokens.
        cached: the part of them that the last worker's provider is taken to have cached.
        follow_up: whether ``text`` is an earlier task.
        answers_calls: whether it brings the results of tool calls, and nothing from the user.
        gain: expected score from which another worker takes over.
        known: whether anything came before it.
    """

    text: str
    trail: Trail
    tokens: int
    cached: int = 0
    follow_up: bool = False
    answers_calls: bool = False
    gain: float = 0.0
    known: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """A decision with its place in the conversation, and what to remember for the next turn."""

    choice: Choice
    continuity: Continuity | None
    state: State


class Sessions:
    """States of recent conversations. Bounded; safe to share between threads.

    Args:
        size: how many are kept; the ones stored longest ago go first.
        ttl_s: seconds after which one is forgotten.
    """

    def __init__(self, size: int, ttl_s: float) -> None:
        self._size = size
        self._ttl_s = ttl_s
        self._lock = threading.Lock()
        self._states: OrderedDict[Hashable, State] = OrderedDict()

    def __len__(self) -> int:
        return len(self._states)

    def get(self, key: Hashable, now: float) -> State | None:
        """The state under a key, unless it is too old."""
        with self._lock:
            state = self._states.get(key)
            if state is not None and now - state.at > self._ttl_s:
                del self._states[key]
                return None
            return state

    def put(self, key: Hashable, state: State) -> None:
        """Keep a state, the newest of all."""
        with self._lock:
            self._states[key] = state
            self._states.move_to_end(key)
            if len(self._states) > self._size:
                self._states.popitem(last=False)


def trail_of(messages: Sequence[Message]) -> Trail:
    """Digests by which the next request of a conversation is recognised.

    What hosts change from turn to turn without changing what was said, such as cache markers or the
    split of a text into parts, does not count.
    """
    last = max((i for i, m in enumerate(messages) if m.get("role") == "assistant"), default=0)
    before, digest = None, blake2b(digest_size=16)
    for index, message in enumerate(messages):
        if index == last and index > 0:
            before = digest.digest()
        text = text_of(message).encode("utf-8", "surrogatepass")
        digest.update(f"{message.get('role')} {len(text)} ".encode())
        digest.update(text)
        ids = [message.get("tool_call_id"), *(c.get("id") for c in message.get("tool_calls") or ())]
        images = [f"{len(url)}:{url[-200:]}" for url in images_of(message)]
        if images or any(ids):
            digest.update(json.dumps([ids, images]).encode())
    return Trail(whole=digest.digest(), before=before)


def keys_after(session: str | None, trail: Trail) -> tuple[Hashable, ...]:
    """What a turn is remembered by: its messages, and the caller's session where there is one."""
    return ((session, trail.whole),) if session is None else ((session, trail.whole), session)


def keys_before(session: str | None, trail: Trail) -> tuple[Hashable, ...]:
    """Where the turn before is looked for, the surest first; nowhere for a single turn.

    Messages come first because the agents of one session may share its id, each with a history of its own.
    """
    exact = () if trail.before is None else ((session, trail.before),)
    return exact if session is None else (*exact, session)


def read_turn(
    request: Request,
    state: State | None,
    settings: RoutingConfig,
    *,
    trail: Trail,
    now: float,
    gain: float | None = None,
    known: bool = True,
) -> Turn:
    """A request as a turn of its conversation.

    Args:
        request: what would be asked.
        state: what is known of the conversation.
        settings: the pool's.
        trail: from ``trail_of``.
        now: seconds of the clock that ``state`` was stamped with.
        gain: in place of the settings' ``switch_gain``.
        known: whether anything came before it.
    """
    own = routing_text(request)
    looks_back = settings.follow_ups and known and not request.about
    task = _task(request, state, own) if looks_back else own
    tokens = estimate_tokens(request)
    return Turn(
        text=task,
        trail=trail,
        tokens=tokens,
        cached=0 if state is None else _cached(state, trail, tokens, now - state.at, settings),
        follow_up=task != own,
        answers_calls=_answers_calls(request.messages),
        gain=settings.switch_gain if gain is None else gain,
        known=known,
    )


def _task(request: Request, state: State | None, own: str) -> str:
    """The text of the task that the last user message belongs to; itself where it begins one."""
    said = [text_of(m) for m in request.messages if m.get("role") == "user"]
    said = [text for text in said if text.strip()][-_LOOK_BACK:]
    if not said:
        return own
    if state is not None:
        return state.task if is_follow_up(said[-1], state.task) else own
    task = said[0]
    for text in said[1:]:
        task = task if is_follow_up(text, task) else text
    return clip_middle(task, _MAX_TASK)


def _answers_calls(messages: Sequence[Message]) -> bool:
    for message in reversed(messages):
        if message.get("role") == "assistant":
            return bool(message.get("tool_calls"))
        if message.get("role") == "user" and text_of(message).strip():
            return False
    return messages[-1].get("role") == "tool"  # of a host that sends no history


def _cached(state: State, trail: Trail, tokens: int, age: float, settings: RoutingConfig) -> int:
    """Prompt tokens that the last worker's provider is taken to have cached."""
    if state.trail not in (trail.before, trail.whole) or age > settings.cache_ttl_s:
        return 0
    cached = min(state.tokens, tokens)
    return cached if cached >= _LEAST_CACHED else 0


def cached_price(price: Price | None, turn: Turn) -> Price | None:
    """A price list that gives for a turn's prompt what it costs with the cached part."""
    if price is None or not turn.cached or price.cached_input is None:
        return price
    share = turn.cached / turn.tokens

    def mixed(full: float | None) -> float | None:
        return None if full is None else full + share * ((price.cached_input or 0.0) - full)

    return price.model_copy(
        update={"input": mixed(price.input), "long_input": mixed(price.long_input)}
    )


def decide(
    state: State | None, choice: Choice, turn: Turn, now: float, settings: RoutingConfig
) -> Verdict:
    """Place a choice in its conversation.

    Args:
        state: what is known of the conversation, or ``None``.
        choice: the selector's, its costs with the cached history.
        turn: the request.
        now: seconds of the clock that ``state`` was stamped with.
        settings: the pool's.
    """
    continuity: Continuity | None = "new" if turn.known else None
    if state is not None:
        choice, continuity = _follow(state, choice, turn, settings)
    elif turn.follow_up:
        continuity = "follow-up"
        choice = replace(choice, reason=_after_task(choice.reason))
    return Verdict(
        choice=choice,
        continuity=continuity,
        state=State(
            worker=choice.candidates[0].worker,
            task=turn.text,
            trail=turn.trail.whole,
            tokens=turn.tokens,
            at=now,
        ),
    )


def _follow(
    state: State, choice: Choice, turn: Turn, settings: RoutingConfig
) -> tuple[Choice, Continuity]:
    first = choice.candidates[0]
    last = next((c for c in choice.candidates if c.worker == state.worker), None)
    kept: Continuity = "follow-up" if turn.follow_up else "kept"
    if last is None or last.excluded_because is not None:
        why = "is no longer in the pool" if last is None else last.excluded_because
        reason = f"{state.worker}, who answered before, {why}. {choice.reason}"
        return replace(choice, reason=reason), "switched"
    if turn.answers_calls:
        reason = f"{last.worker} stays, because the tool calls that are being answered are its own."
        return _promote(choice, last, reason), "tool-turn"
    if first.worker == last.worker:
        reason = _after_task(choice.reason) if turn.follow_up else choice.reason
        return replace(choice, reason=reason + _of_cache(turn)), kept
    gain = (first.p_success or 0.0) - (last.p_success or 0.0)
    if not settings.sticky or gain > turn.gain or _is_cheaper(first, last):
        reason = f"Takes over from {last.worker}. {choice.reason}"
        return replace(choice, reason=reason), "switched"
    return _promote(choice, last, _why_stay(last, first, gain, turn) + _of_cache(turn)), kept


def _is_cheaper(one: Candidate, other: Candidate) -> bool:
    if one.cost_usd is None or other.cost_usd is None:
        return False
    return one.cost_usd < other.cost_usd


def _promote(choice: Choice, last: Candidate, reason: str) -> Choice:
    """The choice with another worker first; the rest by expected score, excluded ones last."""
    rest = [c for c in choice.candidates if c.worker != last.worker]
    rest.sort(key=lambda c: (c.excluded_because is not None, -(c.p_success or 0.0)))
    return Choice(candidates=(last, *rest), reason=reason)


def _after_task(reason: str) -> str:
    return f"Goes on with the task before. {reason}"


def _of_cache(turn: Turn) -> str:
    return (
        f" It has {turn.cached:,} of {turn.tokens:,} prompt tokens cached." if turn.cached else ""
    )


def _why_stay(last: Candidate, first: Candidate, gain: float, turn: Turn) -> str:
    lead = (
        "goes on with the task it answered before"
        if turn.follow_up
        else "answered before and stays"
    )
    points = round(100 * gain)
    if points > 0:
        better = f"{points} point{'s' if points > 1 else ''} better"
        return f"{last.worker} {lead}; {first.worker} would be {better}, too little for a switch."
    return f"{last.worker} {lead}; {first.worker} would be no better, and no cheaper with the history so far."
