"""A LangGraph graph that asks a person between the choice of an agent and its answer.

The agents answer with small local models: no key, no network. A choice costs no call, so nothing is
spent before somebody has said yes.
"""

from __future__ import annotations

import sys
from typing import Any

from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

from fugu_adapters import Fugu, FuguError, Pool
from langgraph_node import ChatFugu, FuguNode, FuguState

AGENTS = {  # node: what it is for, and the local model behind it
    "arithmetic": ("Computes sums, products and other arithmetic.", "smol-calculator"),
    "language": ("Judges the mood of reviews, and writes and corrects text.", "qwen-0.5b-plain"),
}

QUESTION = "Compute 487 * 36 + 219."
CORRECTION = "Compute 487 * 36 - 219."


def agent(fugu: Fugu, worker: str) -> Any:
    """A node that answers with one model, once a person agrees."""
    others = frozenset(other.name for other in fugu.pool) - {worker}
    model = ChatFugu(fugu=fugu, exclude=others, timeout=90, max_tokens=160)

    def answer(state: FuguState) -> dict[str, Any]:
        verdict = interrupt(state["fugu"]["decision"])
        if verdict != "yes":  # the person's own words: the choice is made anew
            return {"messages": [HumanMessage(verdict)]}
        return {"messages": [model.invoke(state["messages"][-1:])]}

    return answer


def build(fugu: Fugu) -> Any:
    """A graph that can be interrupted, because it keeps its state."""
    graph = StateGraph(FuguState)
    for name, (_, worker) in AGENTS.items():
        graph.add_node(name, agent(fugu, worker))
    FuguNode({name: purpose for name, (purpose, _) in AGENTS.items()}).add_to(graph)
    graph.add_edge(START, "fugu")
    return graph.compile(checkpointer=InMemorySaver())


def main(fugu: Fugu) -> None:
    """Ask, be asked for approval, correct the question, approve."""
    graph = build(fugu)
    thread = {"configurable": {"thread_id": "approval"}}
    print(QUESTION)
    state = graph.invoke({"messages": [HumanMessage(QUESTION)]}, thread)
    for verdict in (CORRECTION, "yes"):
        decision = state["__interrupt__"][0].value
        print(f"  -> {decision['worker']}: {decision['reason']}")
        print(f"  approve? {verdict}")
        state = graph.invoke(Command(resume=verdict), thread)
    print(f"  {state['messages'][-1].text.strip()}")


if __name__ == "__main__":
    try:
        with Fugu(Pool.embedded()) as local:
            main(local)
    except FuguError as error:
        sys.exit(f"{type(error).__name__}: {error}")
