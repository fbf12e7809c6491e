"""CrewAI's own LLM class as a client of the server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from fugu_adapters.testing.acts import chat_reply, chat_stream

crewai = pytest.importorskip("crewai")


async def test_a_crews_llm(serve: Callable[..., Any]) -> None:
    """Text, a stream and a tool, through the provider that it has for OpenAI-compatible servers."""
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 40, "b": 2}'}}  # fmt: skip
    acts = [chat_reply("It is 42."), chat_stream("It is ", "42."), chat_reply(None, tool_calls=[call]), chat_reply("42 it is.")]  # fmt: skip
    served = await serve({"w": acts})
    made = {"model": "openai/fugu", "base_url": f"{served.url}/v1", "api_key": "any"}
    question = [{"role": "user", "content": "What is 40 + 2?"}]
    assert await asyncio.to_thread(crewai.LLM(**made).call, question) == "It is 42."
    assert await asyncio.to_thread(crewai.LLM(**made, stream=True).call, question) == "It is 42."
    parameters = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}}  # fmt: skip
    tools = [{"type": "function", "function": {"name": "add", "description": "adds", "parameters": parameters}}]  # fmt: skip
    added: list[int] = []

    def add(a: int, b: int) -> str:
        added.append(a + b)
        return str(a + b)

    said = await asyncio.to_thread(
        crewai.LLM(**made).call, question, tools=tools, available_functions={"add": add}
    )
    assert added == [42], json.dumps(str(said))
    assert "42" in str(said)
