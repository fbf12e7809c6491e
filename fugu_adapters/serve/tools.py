"""Tools of the dialects as functions, which every worker knows, and the calls of them back again. Pure.

A freeform tool, whose input is any text, becomes a function with one argument ``input``. A tool in a namespace
becomes ``namespace__name``. Tools that a provider runs itself have no function behind them, and are left out for
workers of another dialect.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json

from fugu_adapters.types import Delta, ToolCall

__all__ = ["Call", "Calls", "Tool", "Tools", "freeform_input"]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_INPUT = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}


@dataclass(frozen=True, kw_only=True, slots=True)
class Tool:
    """A client's tool as it is known there."""

    name: str
    namespace: str | None = None
    freeform: bool = False


@dataclass(slots=True)
class Tools:
    """The tools of one request.

    Attributes:
        functions: in the shape of Chat Completions.
        by_name: what stands behind each function's name.
    """

    functions: list[dict[str, Any]] = field(default_factory=list)
    by_name: dict[str, Tool] = field(default_factory=dict)

    def add(
        self,
        tool: Tool,
        *,
        description: str | None,
        parameters: Mapping[str, Any] | None,
        strict: bool | None = None,
    ) -> None:
        """Take in a tool; the first of a name stays."""
        name = self.name_of(tool.name, tool.namespace)
        if name in self.by_name:
            return
        self.by_name[name] = tool
        function: dict[str, Any] = {"name": name}
        if description:
            function["description"] = description
        if tool.freeform:
            function["parameters"] = _INPUT
        elif parameters is not None:
            function["parameters"] = parameters
        if strict is not None and not tool.freeform:
            function["strict"] = strict
        self.functions.append({"type": "function", "function": function})

    def name_of(self, name: str, namespace: str | None = None) -> str:
        """The function's name for a client's tool."""
        full = f"{namespace}__{name}" if namespace else name
        if _NAME.fullmatch(full):
            return full
        digest = hashlib.blake2b(full.encode("utf-8", "replace"), digest_size=4).hexdigest()
        return f"{re.sub(r'[^A-Za-z0-9_-]', '_', full)[:55]}_{digest}"

    def behind(self, name: str) -> Tool:
        """The client's tool that a call of a function is for; one of that name where the client has none."""
        return self.by_name.get(name) or Tool(name=name)


@dataclass(slots=True)
class Call:
    """A call that goes out while it is written.

    Attributes:
        place: among those that do, from 0.
        id: the worker's.
        tool: what it calls.
        arguments: pieces of JSON, so far.
    """

    place: int
    id: str
    tool: Tool
    arguments: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether the arguments are all there."""
        try:
            from_json("".join(self.arguments))
        except ValueError:
            return False
        return True


class Calls:
    """The calls of one streamed reply: which go out while they are written, and which whole at its end.

    Those wait of which a worker says no id or no name at first.

    Args:
        tools: the request's.
        in_turn: whether the dialect has one call at a time: one that begins within another waits.
    """

    def __init__(self, tools: Tools, *, in_turn: bool = False) -> None:
        self._tools, self._in_turn = tools, in_turn
        self._live: dict[int, Call | None] = {}
        self._last: Call | None = None

    def take(self, delta: Delta) -> Call | None:
        """The call that a piece belongs to, if it goes out now; one without arguments yet has just begun."""
        index = delta.tool_index
        if index is None:
            return None
        if index not in self._live:
            self._live[index] = self._begin(delta)
        call = self._live[index]
        if call is None or (self._in_turn and call is not self._last):
            return None
        return call

    def _begin(self, delta: Delta) -> Call | None:
        if not delta.tool_id or not delta.tool_name:
            return None
        if self._in_turn and self.unfinished:
            return None
        tool = self._tools.behind(delta.tool_name)
        self._last = Call(place=len(self.live), id=delta.tool_id, tool=tool)
        return self._last

    @property
    def live(self) -> list[Call]:
        """Those that went out, or have begun to."""
        return [call for call in self._live.values() if call is not None]

    @property
    def unfinished(self) -> bool:
        """Whether the last that went out is not all there."""
        return self._last is not None and not self._last.whole

    def rest_of(self, whole: ToolCall) -> tuple[Call, str] | None:
        """A call that has begun to go out, and what is still to be said: a freeform tool's input, ``{}`` for nothing."""
        for call in self.live:
            if call.id == whole.id:
                said = "".join(call.arguments)
                if call.tool.freeform:
                    return call, freeform_input(whole.arguments)
                return call, whole.arguments[len(said) :] if whole.arguments.startswith(said) else ""  # fmt: skip
        return None

    def waiting(self, calls: Sequence[ToolCall]) -> list[ToolCall]:
        """Of all calls of the reply, those that did not go out."""
        gone = {call.id for call in self.live}
        return [call for call in calls if call.id not in gone]


def freeform_input(arguments: str) -> str:
    """The text for a freeform tool; what a worker wrote as it is, where that is not as asked for."""
    try:
        value = from_json(arguments)
    except ValueError:
        return arguments
    text = value.get("input") if isinstance(value, dict) else None
    return text if isinstance(text, str) else arguments
