"""What the wire formats share: strict reading of JSON, and the shape of a codec. No I/O."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_core import from_json

from fugu_adapters.config import Worker
from fugu_adapters.engine.providers.sse import SseEvent
from fugu_adapters.engine.status import error_in_body
from fugu_adapters.errors import InputError, WorkerProtocolError
from fugu_adapters.types import Delta, Dialect, FinishReason, Reply, Request, ToolCall

__all__ = [
    "Codec",
    "Count",
    "Index",
    "StreamDecoder",
    "ToolCallParts",
    "WireModel",
    "bearer",
    "finished",
    "own_id",
    "read_json",
    "read_model",
    "to_json",
    "tool_call",
    "truncated",
]

M = TypeVar("M", bound=BaseModel)

Count = Annotated[int, Field(ge=0, le=1_000_000_000)]
"""A number of tokens. Anything else would corrupt budgets, so it is refused."""

Index = Annotated[int, Field(ge=0, le=10_000)]


class WireModel(BaseModel):
    """What we read of an endpoint's reply; everything else in it is ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class StreamDecoder(Protocol):
    """Turns the events of one streamed reply into pieces, and at the end into the whole."""

    @property
    def done(self) -> bool:
        """Whether the endpoint has said that the reply is complete."""
        ...

    def feed(self, event: SseEvent) -> list[Delta]:
        """Take one event. Raises ``WorkerError`` for errors in the stream."""
        ...

    def finish(self) -> Reply:
        """The whole reply. Raises ``WorkerProtocolError`` where the stream ended too early."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Codec:
    """One wire format, as pure functions.

    Attributes:
        dialect: its name; requests that came in it may be passed on as they are.
        path: appended to the worker's ``base_url``.
        headers: from the key, or ``None`` where there is none, to headers.
        encode: ``(request, worker, stream)`` to the JSON body.
        decode: ``(body, worker name)`` to the reply; what is to be given back is not sealed yet.
        decoder: worker name to a fresh stream decoder, likewise.
    """

    dialect: Dialect
    path: str
    headers: Callable[[SecretStr | None], dict[str, str | SecretStr]]
    encode: Callable[[Request, Worker, bool], dict[str, Any]]
    decode: Callable[[bytes, str], Reply]
    decoder: Callable[[str], StreamDecoder]


def bearer(key: SecretStr | None) -> dict[str, str | SecretStr]:
    """The header by which most endpoints know us."""
    return {} if key is None else {"authorization": SecretStr(f"Bearer {key.get_secret_value()}")}


def to_json(payload: Mapping[str, Any]) -> bytes:
    """A request body.

    Raises:
        InputError: the request holds something that JSON or UTF-8 cannot carry.
    """
    try:
        return _ENCODER.encode(payload).encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(
            "the request cannot be sent as JSON: expected plain data and valid text in messages, "
            f"tools and response_format ({type(error).__name__})"
        ) from None


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_plain)


def read_json(data: bytes | str, worker: str) -> dict[str, Any]:
    """Read one JSON object from an endpoint.

    Raises:
        WorkerProtocolError: it is not JSON, or not an object.
        WorkerError: it holds an error instead of a reply.
    """
    try:
        value = from_json(data, allow_inf_nan=False)
    except ValueError:
        text = "the endpoint sent something that is not JSON; check base_url"
        raise WorkerProtocolError(text, worker=worker, cause_kind="invalid_json") from None
    if not isinstance(value, dict):
        text = f"expected a JSON object, got {type(value).__name__}"
        raise WorkerProtocolError(text, worker=worker, cause_kind="invalid_reply")
    if value.get("error"):
        raise error_in_body(value["error"], worker)
    return value


def read_model(model: type[M], data: Mapping[str, Any], worker: str) -> M:
    """Check what an endpoint sent.

    Raises:
        WorkerProtocolError: naming the field, never its content.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        text = f"the reply does not have the expected form: {where:.80}: {problem['type']}"
        raise WorkerProtocolError(text, worker=worker, cause_kind="invalid_reply") from None


def finished(
    reason: str | None, known: Mapping[str, FinishReason], calls: tuple[ToolCall, ...]
) -> FinishReason:
    """Why a reply ended. Some servers say "stop" beside tool calls, and new words appear."""
    mapped = known.get(reason or "", "stop")
    if mapped in ("stop", "tool_calls"):
        return "tool_calls" if calls else "stop"
    return mapped


def truncated(worker: str) -> WorkerProtocolError:
    """The error for a stream that ended before the endpoint said that it was complete."""
    text = "the stream ended before the reply was complete"
    return WorkerProtocolError(text, worker=worker, cause_kind="truncated")


def own_id(given: str | None, taken: Sequence[str]) -> str:
    """An id for the next call of a reply: the endpoint's, unless it has none or has used it for another call.

    Some servers take the tool's name for it. Results could not be told apart then.
    """
    wanted = given or f"call_{len(taken)}"
    while wanted in taken:
        wanted += f"_{len(taken)}"
    return wanted


@dataclass(kw_only=True, slots=True)
class _Call:
    position: int
    given: str | None
    id: str
    name: str = ""
    arguments: list[str] = field(default_factory=list)


class ToolCallParts:
    """Puts streamed tool calls together."""

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._calls: list[_Call] = []
        self._at: dict[int, _Call] = {}  # by the endpoint's index, the one that is under way there

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(
        self, index: int | None, *, id: str | None, name: str | None, arguments: str
    ) -> Delta | None:
        """Take one piece; ``None`` where it adds nothing.

        Args:
            index: which call. Some servers leave it out: then a new id starts a new call. Some say 0 for all parallel
                calls: so does a new id with a name.
            id: on the first piece.
            name: on the first piece.
            arguments: JSON text to append.
        """
        call = self._known(index)
        if call is not None and id and id != call.given and (index is None or name):
            call = None  # another one begins
        fresh = call is None
        if call is None:
            taken = [each.id for each in self._calls]
            call = _Call(position=len(taken), given=id, id=own_id(id, taken))
            self._calls.append(call)
            if index is not None:
                self._at[index] = call
        named = name if name and not call.name else None
        call.name = named or call.name
        call.arguments.append(arguments)
        if not (fresh or named or arguments):
            return None
        return Delta(
            tool_index=call.position,
            tool_id=call.id if fresh else None,
            tool_name=named,
            arguments=arguments,
        )

    def _known(self, index: int | None) -> _Call | None:
        if index is None:
            return self._calls[-1] if self._calls else None
        return self._at.get(index)

    def id_of(self, index: int | None) -> str:
        """The id of the call under way at the endpoint's index; of the last one where it gave none."""
        call = self._known(index)
        return "" if call is None else call.id

    def calls(self) -> tuple[ToolCall, ...]:
        """The whole calls.

        Raises:
            WorkerProtocolError: one has no name.
        """
        return tuple(
            tool_call(call.id, call.name, "".join(call.arguments), self._worker)
            for call in self._calls
        )


def tool_call(id: str, name: str, arguments: str, worker: str) -> ToolCall:
    """One call, with ``{}`` for the arguments that some servers leave empty."""
    if not name:
        text = "the reply asks for a tool call without a name"
        raise WorkerProtocolError(text, worker=worker, cause_kind="invalid_reply")
    return ToolCall(id=id, name=name, arguments=arguments or "{}")
