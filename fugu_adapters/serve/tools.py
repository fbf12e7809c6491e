"""Tools of the dialects as functions, which every worker knows, and the calls of them back again. Pure.

A freeform tool, whose input is any text, becomes a function with one argument ``input``. A tool in a namespace
becomes ``namespace__name``. Tools that a provider runs itself have no function behind them, and are left out for
workers of another dialect.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json

from fugu_adapters.types import ToolCall

__all__ = ["Tool", "Tools", "freeform_input"]

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

    def behind(self, call: ToolCall) -> Tool:
        """The client's tool that a call is for; one of that name where the client has none."""
        return self.by_name.get(call.name) or Tool(name=call.name)


def freeform_input(arguments: str) -> str:
    """The text for a freeform tool; what a worker wrote as it is, where that is not as asked for."""
    try:
        value = from_json(arguments)
    except ValueError:
        return arguments
    text = value.get("input") if isinstance(value, dict) else None
    return text if isinstance(text, str) else arguments
