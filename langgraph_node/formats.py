"""Tools, tool choices and answer formats, from LangChain's words to OpenAI's shape and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from fugu_adapters import InputError

if TYPE_CHECKING:
    from langchain_core.runnables import Runnable
    from langchain_core.tools import BaseTool

__all__ = [
    "METHODS",
    "answer_parser",
    "choice_of",
    "function_tools",
    "response_format",
    "with_raw",
]

METHODS = ("json_schema", "function_calling", "json_mode")
"""Ways to get an answer that follows a schema."""


def function_tools(
    tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
    *,
    strict: bool | None = None,
) -> list[dict[str, Any]]:
    """Tools as function tools in OpenAI's shape.

    Raises:
        InputError: where one is a provider's own tool: nobody could tell which worker has it.
    """
    from langchain_core.utils.function_calling import convert_to_openai_tool

    shaped = [convert_to_openai_tool(tool, strict=strict) for tool in tools]
    for tool in shaped:
        if tool.get("type") != "function":
            raise InputError(f"tools: expected function tools, got type {tool.get('type')!r:.60}")
    return shaped


def choice_of(
    choice: str | dict[str, Any] | bool, tools: Sequence[Mapping[str, Any]]
) -> str | dict[str, Any]:
    """A tool choice in OpenAI's shape.

    Args:
        choice: ``"auto"``, ``"none"``, ``"any"``, ``"required"``, ``True``, a tool's name, or the shape.
        tools: the function tools that are offered.

    Raises:
        InputError: where it is none of these.
    """
    if isinstance(choice, dict) or choice in ("auto", "none", "required"):
        return choice
    if choice is True or choice == "any":
        return "required"
    names = [tool["function"]["name"] for tool in tools]
    if choice in names:
        return {"type": "function", "function": {"name": choice}}
    expected = ", ".join(["auto", "none", "any", *names])
    raise InputError(f"tool_choice: expected one of {expected}, got {choice!r:.60}")


def response_format(schema: dict[str, Any] | type | None, strict: bool | None) -> dict[str, Any]:
    """What holds a worker to a schema, or to any JSON object where there is none."""
    from langchain_core.utils.function_calling import convert_to_openai_function

    if schema is None:
        return {"type": "json_object"}
    function = convert_to_openai_function(schema, strict=strict)
    form = {"name": function["name"], "schema": function.get("parameters", {})}
    if function.get("description"):
        form["description"] = function["description"]
    if strict is not None:
        form["strict"] = strict
    return {"type": "json_schema", "json_schema": form}


def answer_parser(schema: dict[str, Any] | type | None, *, from_tool: bool) -> Runnable[Any, Any]:
    """What reads an answer: an object of the schema's class where it is one, else a dict."""
    from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
    from langchain_core.output_parsers.openai_tools import (
        JsonOutputKeyToolsParser,
        PydanticToolsParser,
    )
    from langchain_core.utils.function_calling import convert_to_openai_tool
    from langchain_core.utils.pydantic import is_basemodel_subclass

    is_class = isinstance(schema, type) and is_basemodel_subclass(schema)
    if not from_tool or schema is None:
        kind: Any = schema
        return PydanticOutputParser(pydantic_object=kind) if is_class else JsonOutputParser()
    if is_class:
        kind = schema
        return PydanticToolsParser(tools=[kind], first_tool_only=True)
    name = convert_to_openai_tool(schema)["function"]["name"]
    return JsonOutputKeyToolsParser(key_name=name, first_tool_only=True)


def with_raw(model: Runnable[Any, Any], parser: Runnable[Any, Any]) -> Runnable[Any, Any]:
    """The model's message beside what was read of it, or the error of reading it."""
    from langchain_core.runnables import RunnableMap, RunnablePassthrough

    parsed = RunnablePassthrough.assign(
        parsed=itemgetter("raw") | parser, parsing_error=lambda _: None
    )
    failed = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=model) | parsed.with_fallbacks([failed], exception_key="parsing_error")
