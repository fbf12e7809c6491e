"""What the dialects of the one API share: a request as read, and how replies are written. No I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from fugu_adapters.engine.providers.native import EXTENSION
from fugu_adapters.engine.providers.wire import to_json
from fugu_adapters.errors import InputError
from fugu_adapters.options import RunOptions
from fugu_adapters.serve.problems import Problem, without_addresses
from fugu_adapters.serve.tools import Tools
from fugu_adapters.types import Delta, Dialect, Effort, Limits, Message, Result, Usage

__all__ = [
    "Asked",
    "Speaker",
    "Writer",
    "capped",
    "effort_of",
    "extended",
    "extension",
    "integer",
    "number",
    "own_usage",
    "read_extension",
    "spliced",
    "sse",
]

_EFFORTS: Mapping[str, Effort] = {
    "none": "low",
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "xhigh",
}
_LIMITS = ("usd", "seconds", "calls", "tokens", "output_tokens")


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A client's request, read.

    Attributes:
        messages: chat messages in our shape.
        options: what else was said, as the core takes it.
        model: the model's name as the client wrote it.
        body: all that was sent.
        stream: whether the reply is wanted piece by piece.
        tools: what the client's tools are called in the core, and back.
        limits: caps that the client set.
    """

    messages: Sequence[Message]
    options: RunOptions
    model: str
    body: Mapping[str, Any] = field(repr=False)
    stream: bool = False
    tools: Tools = field(default_factory=Tools)
    limits: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        body: Mapping[str, Any],
        messages: Sequence[Message],
        options: RunOptions,
        tools: Tools,
        limits: Mapping[str, float],
    ) -> Asked:
        """With what all dialects call the same."""
        return cls(
            messages=messages,
            options=options,
            model=str(body.get("model")),
            body=body,
            stream=body.get("stream") is True,
            tools=tools,
            limits=limits,
        )


class Writer(Protocol):
    """Writes one streamed reply. Each method gives the bytes that go out next, ``b""`` for none."""

    def delta(self, delta: Delta, run_id: str) -> bytes:
        """A piece of the answer."""
        ...

    def silence(self, note: str) -> bytes:
        """Something that keeps the connection alive and that clients pass over."""
        ...

    def finish(self, result: Result) -> bytes:
        """The end of a reply that went well."""
        ...

    def fail(self, problem: Problem) -> bytes:
        """The end of one that did not."""
        ...


class Speaker(Protocol):
    """One dialect."""

    name: Dialect

    def read(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> Asked:
        """A request.

        Raises:
            InputError: naming the field that is wrong.
        """
        ...

    def whole(self, asked: Asked, result: Result) -> bytes:
        """A reply that goes out in one piece, and did not come so from the worker."""
        ...

    def writer(self, asked: Asked) -> Writer:
        """For a reply that goes out in pieces."""
        ...

    def problem(self, problem: Problem) -> dict[str, Any]:
        """An error, as the dialect's clients read it."""
        ...


def read_extension(body: Mapping[str, Any], effort: Any) -> tuple[RunOptions, dict[str, float]]:
    """What a request's own field of ours says: options and caps.

    Args:
        body: the request.
        effort: what the dialect's own field for it says.

    Raises:
        InputError: naming what is wrong.
    """
    given = body.get(EXTENSION) or {}
    if not isinstance(given, Mapping):
        raise InputError(f"{EXTENSION}: expected an object")
    known = ("effort", "limits", "exclude", "session", "quality", "max_cost")
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise InputError(f"{EXTENSION}.{unknown[0]}: unknown; expected {', '.join(known)}")
    options: RunOptions = {}
    chosen = effort_of(given.get("effort", effort))
    if chosen is not None:
        options["effort"] = chosen
    exclude = given.get("exclude")
    if exclude is not None:
        if not isinstance(exclude, list) or not all(isinstance(each, str) for each in exclude):
            raise InputError(f"{EXTENSION}.exclude: expected a list of texts")
        options["exclude"] = exclude
    if given.get("session") is not None:
        options["session"] = given["session"]
    if given.get("quality") is not None:
        options["quality"] = given["quality"]
    if given.get("max_cost") is not None:
        options["max_cost"] = given["max_cost"]
    limits = given.get("limits") or {}
    if not isinstance(limits, Mapping) or set(limits) - set(_LIMITS):
        raise InputError(f"{EXTENSION}.limits: expected an object with {', '.join(_LIMITS)}")
    caps = {name: number(limits, name, where=f"{EXTENSION}.limits") for name in limits}
    return options, {name: cap for name, cap in caps.items() if cap is not None}


def effort_of(value: Any) -> Effort | None:
    """An effort, by any of the words that the dialects have for it."""
    if value is None:
        return None
    if not isinstance(value, str) or value not in _EFFORTS:
        raise InputError(f"effort: expected one of {', '.join(_EFFORTS)}, got {value!r:.40}")
    return _EFFORTS[value]


def number(body: Mapping[str, Any], name: str, *, where: str = "") -> float | None:
    """A number of 0 or more, or ``None`` where there is none.

    Raises:
        InputError: it is something else.
    """
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        path = f"{where}.{name}" if where else name
        raise InputError(f"{path}: expected a number, 0 or more, got {value!r:.40}")
    return value


def integer(body: Mapping[str, Any], *names: str) -> int | None:
    """A whole number of 1 or more, under the first of the names that is there.

    Raises:
        InputError: it is something else.
    """
    for name in names:
        value = body.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 2**31:
            raise InputError(f"{name}: expected a whole number, 1 or more, got {value!r:.40}")
        return value
    return None


def capped(limits: Limits, asked: Mapping[str, float]) -> Limits:
    """The server's caps, lowered to the client's where these are lower."""
    if not asked:
        return limits
    lowered: dict[str, Any] = {}
    for name, cap in asked.items():
        ours = getattr(limits, name)
        lowered[name] = cap if ours is None else min(ours, cap)
        if name not in ("usd", "seconds"):
            lowered[name] = int(lowered[name])
    return replace(limits, **lowered)


def own_usage(result: Result) -> tuple[Usage, Usage]:
    """Tokens of the call that gave the answer, and of all others, which only helped it.

    The first is what a client's picture of its context has to be made from.
    """
    calls = [call for call in result.trace.attempts if call.usage is not None]
    own = [call for call in calls if call.ok and call.worker == result.worker]
    if not own:
        return result.usage, Usage()
    answer = own[-1]
    others = [call.usage for call in calls if call is not answer and call.usage is not None]
    return answer.usage or Usage(), sum(others, start=Usage())


def extension(result: Result) -> dict[str, Any]:
    """What we say of a run beside the reply: who answered, why, at what cost."""
    usage, decision = result.usage, result.decision
    return {
        "run_id": result.run_id,
        "worker": result.worker,
        "policy": decision.policy,
        "reason": decision.reason,
        "stopped": result.stopped,
        "cost_usd": result.cost_usd,
        "seconds": round(result.trace.seconds, 3),
        "usage": {
            "input_tokens": usage.input_tokens,
            "cached_input_tokens": usage.cached_input_tokens,
            "output_tokens": usage.output_tokens,
            "reasoning_tokens": usage.reasoning_tokens,
            "estimated": usage.estimated,
        },
        "calls": [
            {
                "worker": call.worker,
                "step": call.step,
                "ok": call.ok,
                "error": call.error and without_addresses(call.error),
                "seconds": None if call.latency_s is None else round(call.latency_s, 3),
                "input_tokens": call.usage.input_tokens if call.usage else None,
                "output_tokens": call.usage.output_tokens if call.usage else None,
                "cost_usd": call.cost_usd,
            }
            for call in result.trace.attempts
        ],
    }


def extended(reply: dict[str, Any], result: Result) -> bytes:
    """A reply of our own writing, with our field."""
    return to_json({**reply, EXTENSION: extension(result)})


def spliced(native: bytes, result: Result) -> bytes:
    """A worker's own reply with our field at its end; nothing else of it changes."""
    body = native.rstrip()
    return body[:-1] + b',"' + EXTENSION.encode() + b'":' + to_json(extension(result)) + b"}"


def sse(data: Mapping[str, Any], *, name: str | None = None) -> bytes:
    """One server-sent event."""
    head = b"" if name is None else b"event: " + name.encode() + b"\n"
    return head + b"data: " + to_json(data) + b"\n\n"
