"""Three agents in a LangGraph graph, and no supervisor model: ``FuguNode`` picks who answers.

The agents answer with small local models: no key, no network.
"""

from __future__ import annotations

import sys
from typing import Any

from langgraph.graph import START, StateGraph

from fugu_adapters import Fugu, FuguError, Pool
from langgraph_node import ChatFugu, FuguNode, FuguState

AGENTS = {  # node: what it is for, and the local model behind it
    "arithmetic": ("Computes sums, products and other arithmetic.", "qwen-0.5b-python"),
    "dates": ("Works out dates: days before, after and between them.", "qwen-0.5b-python"),
    "language": ("Judges the mood of reviews, and writes and corrects text.", "qwen-0.5b-plain"),
}

QUESTIONS = (
    "Compute 487 * 36 + 219.",
    "Which date is 45 days after March 1, 2026? Answer as YYYY-MM-DD.",
    "Is this review positive or negative? 'I loved every minute of it.' Answer with one word.",
)


def agent(fugu: Fugu, worker: str) -> Any:
    """A node that answers with one model; in your graph, whatever your agents are."""
    others = frozenset(other.name for other in fugu.pool) - {worker}
    model = ChatFugu(fugu=fugu, exclude=others, timeout=90, max_tokens=160)
    return lambda state: {"messages": [model.invoke(state["messages"][-1:])]}


def build(fugu: Fugu) -> Any:
    """The agents, and the node in place of the supervisor."""
    graph = StateGraph(FuguState)
    for name, (_, worker) in AGENTS.items():
        graph.add_node(name, agent(fugu, worker))
    FuguNode({name: purpose for name, (purpose, _) in AGENTS.items()}).add_to(graph)
    graph.add_edge(START, "fugu")
    return graph.compile()


def main(fugu: Fugu) -> None:
    """Draw the graph, then ask each question and show who was chosen, why, and the answer."""
    graph = build(fugu)
    print(graph.get_graph().draw_mermaid())
    for question in QUESTIONS:
        print(question)
        asked = {"messages": [{"role": "user", "content": question}]}
        for mode, event in graph.stream(asked, stream_mode=["custom", "values"]):
            if mode == "values":
                last = event["messages"][-1]
            elif event["type"] == "fugu.decision":
                print(f"  -> {event['worker']}: {event['reason']}")
        print(f"  {last.text.strip()}\n")


if __name__ == "__main__":
    try:
        with Fugu(Pool.embedded()) as local:
            main(local)
    except FuguError as error:
        sys.exit(f"{type(error).__name__}: {error}")
