"""The records that cross layers: frozen, keyword-only, plain data.

``None`` means *unknown* everywhere and is never mixed with zero. Messages, tools and response formats
are kept in the shape of OpenAI's Chat Completions API; the providers translate.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

__all__ = [
    "Attempt",
    "Candidate",
    "Continuity",
    "Decision",
    "Delta",
    "Dialect",
    "Effort",
    "Event",
    "FinishReason",
    "Item",
    "Limits",
    "Message",
    "Native",
    "Outcome",
    "Reply",
    "Request",
    "Result",
    "StepTrace",
    "ToolCall",
    "Trace",
    "Usage",
    "plain_fields",
    "to_plain",
]

Message: TypeAlias = Mapping[str, Any]
Effort: TypeAlias = Literal["low", "medium", "high", "xhigh"]
Dialect: TypeAlias = Literal["chat", "messages", "responses"]
Continuity: TypeAlias = Literal["new", "kept", "follow-up", "tool-turn", "switched"]
FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter"]
_SCALARS = frozenset({str, int, float, bool})
_APART = MappingProxyType({"plain": False})  # of no interest to records, and not JSON

EventKind: TypeAlias = Literal[
    "decision",
    "step_started",
    "call_started",
    "delta",
    "call_failed",
    "call_finished",
    "step_finished",
    "result",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Native:
    """A request as it came in, in the dialect of its client.

    A worker that speaks the same dialect is sent it as it is, so that what our messages have no place for
    (cache markers, documents, reasoning that the provider has signed) is not lost on the way.

    Attributes:
        dialect: which; a worker of ``api = "openai"`` speaks ``chat``, ``"anthropic"`` ``messages``, ``"responses"`` the third.
        body: the JSON object.
        headers: those that the worker has to see too, with lower-case names; never keys.
        continues: the worker that made the turn before, who may be sent its own unsigned reasoning again.
        messages: the same as ``Request.messages``, as long as nothing was added to the request on its way.
    """

    dialect: Dialect
    body: Mapping[str, Any] = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    continues: str | None = None
    messages: tuple[Message, ...] = field(default=(), repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One chat request, as every worker is asked it.

    Attributes:
        messages: chat messages in OpenAI's shape, at least one.
        tools: function tools in OpenAI's shape.
        tool_choice: ``"auto"``, ``"none"``, ``"required"`` or a named function.
        response_format: ``{"type": "json_object"}`` or ``{"type": "json_schema", ...}``.
        max_output_tokens: bound on the reply; ``None`` leaves it to the engine's effort table.
        temperature: sampling temperature; ``None`` leaves the worker's default.
        top_p: nucleus sampling mass; ``None`` leaves the worker's default.
        stop: strings that end the reply.
        seed: sampling seed, where the worker has one.
        effort: how much the worker should reason, where it has such a setting.
        about: the text that it is routed by, where a host wraps its task in words of its own.
        native: the request as it came in, where it may be passed on so.
    """

    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: str | Mapping[str, Any] | None = None
    response_format: Mapping[str, Any] | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    effort: Effort | None = None
    about: str | None = None
    native: Native | None = field(default=None, repr=False, metadata=_APART)
    _tokens: int | None = field(
        default=None, init=False, repr=False, compare=False, metadata=_APART
    )  # of ``estimate_tokens``, which is asked several times; a changed copy begins anew


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """Tokens that a call was billed for.

    Attributes:
        input_tokens: prompt tokens, cached ones included.
        output_tokens: reply tokens, hidden reasoning included.
        cached_input_tokens: the part of ``input_tokens`` that was read from the prompt cache.
        reasoning_tokens: the part of ``output_tokens`` that was hidden reasoning.
        estimated: whether we counted because the worker did not say.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    reasoning_tokens: int | None = None
    estimated: bool = False

    @property
    def total_tokens(self) -> int | None:
        """Input plus output, or ``None`` where either is unknown."""
        if self.input_tokens is None or self.output_tokens is None:
            return None
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            input_tokens=_add(self.input_tokens, other.input_tokens),
            output_tokens=_add(self.output_tokens, other.output_tokens),
            cached_input_tokens=_add(self.cached_input_tokens, other.cached_input_tokens),
            reasoning_tokens=_add(self.reasoning_tokens, other.reasoning_tokens),
            estimated=self.estimated or other.estimated,
        )


def _add(a: int | None, b: int | None) -> int | None:
    """Sum of what is known; ``None`` only where nothing is."""
    if a is None:
        return b
    return a if b is None else a + b


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolCall:
    """A function call that a worker asks the caller to make. ``arguments`` is JSON text."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Delta:
    """A piece of a streamed reply: text, reasoning, or a piece of one tool call.

    Attributes:
        text: text to append.
        reasoning: what the worker lets be read of its thinking, to append.
        sealed: what the worker wants back of it in later turns; see ``Reply``.
        tool_index: position of the tool call that the other fields belong to, or ``None``.
        tool_id: its id, on its first piece.
        tool_name: its function, on its first piece.
        arguments: JSON text to append to its arguments.
        raw: the server-sent event that it came in, byte for byte, where a native request is passed on; it
            then holds all there is, and the tool call's fields are left out.
    """

    text: str = ""
    reasoning: str = ""
    sealed: str = field(default="", repr=False)
    tool_index: int | None = None
    tool_id: str | None = None
    tool_name: str | None = None
    arguments: str = ""
    raw: bytes | None = field(default=None, repr=False, metadata=_APART)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What one call to one worker returned.

    Attributes:
        text: the visible answer, ``""`` where there are only tool calls.
        tool_calls: calls that the worker asks for.
        usage: tokens, as the worker reported them.
        finish_reason: why it stopped.
        model: the model that the endpoint says it used.
        cost_usd: what the call cost, where the endpoint reports it itself.
        steps: what a program-aided worker did on the way, for the trace.
        reasoning: what it lets be read of its thinking, ``""`` for nothing.
        sealed: what it wants back of its thinking in later turns, each a text that only its own worker can open
            again: put into ``reasoning_details`` of the assistant's message, as OpenRouter does.
        native: the body as it came, where the request was passed on natively and the reply came whole.
    """

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage = field(default_factory=Usage)
    finish_reason: FinishReason = "stop"
    model: str | None = None
    cost_usd: float | None = None
    steps: tuple[str, ...] = ()
    reasoning: str = field(default="", repr=False)
    sealed: tuple[str, ...] = field(default=(), repr=False)
    native: bytes | None = field(default=None, repr=False, metadata=_APART)


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Bounds on one request. Reached means stopped: the error carries what there is so far.

    Attributes:
        usd: dollars, or ``None`` for no cap. Under a cap a worker of unknown price is not asked.
        seconds: total time, waiting and retries included.
        calls: calls to workers, retries included.
        tokens: input plus output tokens over all calls.
        output_tokens: tokens of one reply, or ``None`` for the effort's own bound.
    """

    usd: float | None = None
    seconds: float = 300.0
    calls: int = 8
    tokens: int = 1_000_000
    output_tokens: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """What the policy thinks of one worker for one request.

    Attributes:
        worker: its name.
        p_success: predicted probability of a right answer, or ``None`` where excluded.
        interval: 90 % interval of ``p_success``.
        cost_usd: expected cost of the call, or ``None`` where the price is unknown.
        latency_s: expected seconds, or ``None`` where unknown.
        output_tokens: expected length of the reply, or ``None`` where unknown.
        calibrated: whether measured outcomes stand behind ``p_success``.
        excluded_because: why it cannot be chosen, or ``None``.
    """

    worker: str
    p_success: float | None = None
    interval: tuple[float, float] | None = None
    cost_usd: float | None = None
    latency_s: float | None = None
    output_tokens: int | None = None
    calibrated: bool = False
    excluded_because: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """One output of a policy, with its reasons.

    Attributes:
        worker: who is asked first.
        candidates: every worker of the pool, in the order of preference, excluded ones last.
        reason: one sentence for people.
        policy: which policy decided, with its version.
        model: the model name that the caller asked for, such as ``"fugu"``.
        seconds: what deciding took.
        continuity: how it follows from the conversation: ``new`` where nothing was known of it, ``kept``
            or ``switched`` for the worker of the turn before, ``follow-up`` where it stayed because the
            turn goes on with its task, ``tool-turn`` where it stayed because its calls are being
            answered; ``None`` for a single turn.
    """

    worker: str
    candidates: tuple[Candidate, ...]
    reason: str
    policy: str
    model: str = "fugu"
    seconds: float | None = None
    continuity: Continuity | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One call to one worker, as it went.

    Attributes:
        worker: who was asked.
        ok: whether it gave a usable reply.
        error: the error's class and message, ``None`` where it went well.
        started_s: seconds since the run began.
        latency_s: seconds that the call took.
        usage: tokens, ``None`` where the call did not get that far.
        cost_usd: cost, ``None`` where unknown.
        steps: what a program-aided worker did on the way.
        step: index of the workflow's step that it was made for, ``None`` outside of workflows.
    """

    worker: str
    ok: bool
    error: str | None = None
    started_s: float = 0.0
    latency_s: float | None = None
    usage: Usage | None = None
    cost_usd: float | None = None
    steps: tuple[str, ...] = ()
    step: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StepTrace:
    """One step of a workflow or one turn, as planned and as it went. Its calls are the attempts with its index.

    Attributes:
        index: its place, from 0.
        worker: who was to be asked.
        subtask: what for, a turn's role first; ``None`` where texts are not kept.
        access: the earlier steps whose output it was shown.
        answered_by: who gave its output; ``None`` where the step did not finish.
        text: its output; ``None`` where it did not finish or texts are not kept.
    """

    index: int
    worker: str
    subtask: str | None
    access: tuple[int, ...] = ()
    answered_by: str | None = None
    text: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Trace:
    """The full record of a run: what was decided, the steps of a workflow, every call that was made."""

    decisions: tuple[Decision, ...] = ()
    steps: tuple[StepTrace, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """The answer to a request, with who gave it, why, and at what cost.

    Attributes:
        text: the answer.
        worker: who gave it.
        run_id: key of the run in the store.
        decision: the choice, with all candidates.
        tool_calls: calls that the worker asks the caller to make.
        usage: tokens over all calls of the run.
        cost_usd: dollars over all calls, ``None`` where a price is unknown.
        finish_reason: why the worker stopped.
        trace: decisions and calls.
        stopped: why no further turn was taken, where the policy takes several.
        reasoning: what the worker lets be read of its thinking.
        sealed: what the worker wants back of it in later turns; see ``Reply``.
        native: the worker's reply as it came, where the request was passed on natively and the reply came whole.
    """

    text: str
    worker: str
    run_id: str
    decision: Decision
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage = field(default_factory=Usage)
    cost_usd: float | None = None
    finish_reason: FinishReason = "stop"
    trace: Trace = field(default_factory=Trace)
    stopped: str | None = None
    reasoning: str = field(default="", repr=False)
    sealed: tuple[str, ...] = field(default=(), repr=False)
    native: bytes | None = field(default=None, repr=False, metadata=_APART)


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Something that happened during a run, in order.

    Attributes:
        kind: what happened; only the fields that belong to it are set.
        run_id: the run.
        worker: who it is about.
        decision: for ``decision``.
        delta: for ``delta``.
        attempt: for ``call_failed`` and ``call_finished``.
        result: for ``result``, the last event of a run that succeeded.
        step: index of the workflow's step that it belongs to, from 0.
        subtask: for ``step_started`` and ``step_finished``.
    """

    kind: EventKind
    run_id: str
    worker: str | None = None
    decision: Decision | None = None
    delta: Delta | None = None
    attempt: Attempt | None = None
    result: Result | None = None
    step: int | None = None
    subtask: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One task with a checkable answer.

    Attributes:
        suite: the task suite.
        item_id: its id within the suite.
        prompt: what the worker is asked, as a person would put it.
        domain: the kind of task; never shown to a worker or a policy.
        answer: what a scorer compares with.
        split: ``"train"``, ``"dev"`` or ``"test"``, fixed by the prompt's digest.
    """

    suite: str
    item_id: str
    prompt: str
    domain: str
    answer: str
    split: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How well one worker did on one item.

    Attributes:
        suite: the task suite.
        item_id: the item within its suite.
        worker: profile name of the worker.
        score: 0 to 1.
        input_tokens: prompt tokens.
        output_tokens: reply tokens.
        latency_s: seconds.
        cost_usd: dollars.
        sample: which of several samples.
        answer: the answer as extracted.
    """

    suite: str
    item_id: str
    worker: str
    score: float
    input_tokens: int | None = None
    output_tokens: int | None = None
    latency_s: float | None = None
    cost_usd: float | None = None
    sample: int = 0
    answer: str | None = None


def to_plain(record: Any) -> Any:
    """A record as dicts, lists and scalars, ready for JSON; what was passed on natively is left out."""
    kind = type(record)
    if record is None or kind in _SCALARS:
        return record
    names: tuple[str, ...] | None = _plain_fields(kind)  # type: ignore[arg-type]  # types are hashable
    if names is not None:
        return {name: to_plain(getattr(record, name)) for name in names}
    if isinstance(record, Mapping):
        return {str(key): to_plain(value) for key, value in record.items()}
    if isinstance(record, list | tuple):
        return [to_plain(value) for value in record]
    return record


def plain_fields(record: Any) -> dict[str, Any] | None:
    """A record's fields as they are, without what was passed on natively; ``None`` for ``None``."""
    names: tuple[str, ...] | None = _plain_fields(type(record))  # type: ignore[arg-type]  # as above
    return None if names is None else {name: getattr(record, name) for name in names}


@functools.cache
def _plain_fields(kind: Any) -> tuple[str, ...] | None:
    if not dataclasses.is_dataclass(kind):
        return None
    return tuple(f.name for f in dataclasses.fields(kind) if f.metadata.get("plain", True))
