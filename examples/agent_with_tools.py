"""A tool-calling agent on local models, with no key and no network: LangChain's ``create_agent`` over ChatFugu.

The small models cannot call tools by themselves: the pool does not send them requests with tools, and says
so. A worker of our own stands in for that. It lets a local model fill in a JSON schema that has one form
for each tool, and makes the call out of it. With models that call tools, leave it out.
"""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from langchain.agents import create_agent
from langchain_core.tools import tool

from fugu_adapters import Fugu, FuguError, Limits, Pool, Reply, Request, ToolCall, Worker
from langgraph_node import ChatFugu

EMBEDDED = Pool.embedded()
LOCAL = Fugu(Pool([EMBEDDED["qwen-0.5b-plain"]]), store=False, limits=Limits(seconds=120))
PRICES = {"lamp": 40, "chair": 85, "desk": 210}


@tool
def price_of(product: Literal["lamp", "chair", "desk"]) -> str:
    """What a product costs."""
    return f"One {product} costs {PRICES[product]} dollars."


@tool
def shipping_to(country: Literal["Japan", "Brazil", "Kenya"]) -> str:
    """How long shipping to a country takes."""
    return f"Shipping to {country} takes {len(country)} days."


def one_of(tools: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A format with one form for each tool: its name and its arguments."""
    forms = []
    for function in (each["function"] for each in tools):
        fields = {"tool": {"const": function["name"]}, "arguments": function["parameters"]}
        forms.append({"type": "object", "properties": fields, "required": list(fields)})
    return {"type": "json_schema", "json_schema": {"name": "call", "schema": {"anyOf": forms}}}


async def call_tools(messages: Sequence[dict[str, Any]], *, request: Request) -> Reply:
    """A call where the user has asked; an answer where there is a result."""
    question = next(m["content"] for m in reversed(messages) if m["role"] == "user")
    if messages[-1]["role"] == "tool":
        text = f"{messages[-1]['content']} {question} Answer in one short sentence."
        return Reply(text=(await LOCAL.arun(text, max_output_tokens=32)).text)
    offered = "\n".join(json.dumps(each["function"]) for each in request.tools)
    told = f"Tools:\n{offered}\n\nWhich call answers this question? {question}"
    filled = await LOCAL.arun(told, response_format=one_of(request.tools), max_output_tokens=48)
    wanted = json.loads(filled.text)
    arguments = json.dumps(wanted["arguments"])
    call = ToolCall(id=uuid.uuid4().hex, name=wanted["tool"], arguments=arguments)
    return Reply(tool_calls=(call,), finish_reason="tool_calls")


def main() -> int:
    """Ask two questions and show every step with who made it."""
    caller = Worker(name="caller", api="callable", call=call_tools, tools=True)
    model = ChatFugu(pool=Pool([*EMBEDDED, caller]), timeout=240)
    agent = create_agent(model, [price_of, shipping_to])
    for question in ("What does a chair cost?", "How long does shipping to Japan take?"):
        for message in agent.invoke({"messages": [("user", question)]})["messages"]:
            who = message.response_metadata.get("worker", message.type)
            calls = [f"{c['name']}({c['args']})" for c in getattr(message, "tool_calls", ())]
            print(f"{who:8} {' '.join(calls) or message.text}")
        why_not = message.response_metadata["route"]["candidates"][-1]
        print(f"         ({why_not['worker']} {why_not['excluded_because']})\n")
    model.close()
    LOCAL.close()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except FuguError as error:
        sys.exit(f"{type(error).__name__}: {error}")
