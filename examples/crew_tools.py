"""A CrewAI agent with tools and a structured answer, on local models, with no key and no network.

The small models cannot call tools by themselves: the pool does not send them requests with tools, and says
so. A worker of our own stands in for that: it lets a local model fill in the tool's arguments as JSON, and makes
the call out of it. With models that call tools, leave it out. ``crew_tools.py scripted`` uses no model at all.
"""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

from crewai import Agent, Crew, Task
from crewai.tools import BaseTool
from pydantic import BaseModel

from crewai_tool import FuguLLM
from fugu_adapters import Fugu, FuguError, Limits, Pool, Reply, Request, ToolCall, Usage, Worker

PRICES = {"lamp": 40, "chair": 85, "desk": 210}


class Offer(BaseModel):
    """What the crew has to come up with."""

    product: Literal["lamp", "chair", "desk"]
    dollars: int


class Wanted(BaseModel):
    """What the tool has to be told."""

    product: Literal["lamp", "chair", "desk"]


class PriceOf(BaseTool):
    """The price list."""

    name: str = "price_of"
    description: str = "What a product costs."
    args_schema: type[BaseModel] = Wanted

    def _run(self, product: str) -> str:
        return f"One {product} costs {PRICES[product]} dollars."


Caller = Callable[..., Awaitable[Reply]]


def caller(local: Fugu) -> Caller:
    """A worker that calls tools with the help of a local model that cannot."""

    async def call_tools(messages: Sequence[dict[str, Any]], *, request: Request) -> Reply:
        if messages[-1]["role"] == "tool":
            return Reply(text=messages[-1]["content"])
        function = request.tools[0]["function"]
        question = next(m["content"] for m in reversed(messages) if m["role"] == "user")
        told = f"Fill in the arguments of {function['name']} for this: {question}"
        form = {"name": "arguments", "schema": function["parameters"]}
        filled = await local.arun(
            told,
            response_format={"type": "json_schema", "json_schema": form},
            max_output_tokens=48,
        )
        call = ToolCall(id=uuid.uuid4().hex, name=function["name"], arguments=filled.text)
        return Reply(tool_calls=(call,), usage=filled.usage, finish_reason="tool_calls")

    return call_tools


async def scripted(messages: Sequence[dict[str, Any]], *, request: Request) -> Reply:
    """A worker that needs no model: it calls the tool, then passes on or writes down what it said."""
    usage = Usage(input_tokens=25, output_tokens=8)
    if request.response_format is not None:
        return Reply(text=json.dumps({"product": "chair", "dollars": 85}), usage=usage)
    if messages[-1]["role"] == "tool":
        return Reply(text=messages[-1]["content"], usage=usage)
    name = request.tools[0]["function"]["name"]
    call = ToolCall(id=uuid.uuid4().hex, name=name, arguments='{"product": "chair"}')
    return Reply(tool_calls=(call,), usage=usage, finish_reason="tool_calls")


def build(fugu: Fugu) -> Crew:
    """A seller with a price list."""
    llm = FuguLLM("fugu", fugu=fugu, timeout=240, max_tokens=128)
    seller = Agent(
        role="Seller", goal="Quote prices", backstory="Looks them up.", llm=llm, tools=[PriceOf()]
    )
    quote = Task(
        description="What does a chair cost?",
        expected_output="The product and its price in dollars.",
        agent=seller,
        output_pydantic=Offer,
    )
    return Crew(agents=[seller], tasks=[quote])


def main(pool: Pool) -> None:
    """Run the crew twice: blocking, and from asynchronous code."""
    with Fugu(pool) as fugu:
        for output in (build(fugu).kickoff(), asyncio.run(build(fugu).kickoff_async())):
            offer, tokens = output.pydantic, output.token_usage.total_tokens
            print(f"{offer!r} ({tokens} tokens)")


if __name__ == "__main__":
    try:
        if "scripted" in sys.argv:
            main(Pool([Worker(name="script", api="callable", call=scripted, tools=True)]))
        else:
            small = Pool.embedded()
            plain = Pool([small["qwen-0.5b-plain"]])
            with Fugu(plain, store=False, limits=Limits(seconds=120)) as local:
                able = Worker(
                    name="caller",
                    api="callable",
                    call=caller(local),
                    tools=True,
                    json_schema=False,
                )
                main(Pool([*small, able]))
    except FuguError as error:
        sys.exit(f"{type(error).__name__}: {error}")
