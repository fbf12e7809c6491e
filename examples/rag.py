"""Answers from a few documents: a LangGraph graph that retrieves, and generates with a routed model.

Documents are found with the package's own encoder; the generator is one chat model that is a whole pool of
small local models. No key, no network.
"""

from __future__ import annotations

import sys
from typing import TypedDict

import numpy as np
from langgraph.graph import END, START, StateGraph

from fugu_adapters import FuguError, Pool
from fugu_adapters.encoders import DEFAULT_ENCODER, load_encoder
from langgraph_node import ChatFugu

DOCUMENTS = (
    "The library opens at 9 in the morning and closes at 8 in the evening, on Sundays at 2.",
    "Members may borrow 12 books at a time, for 4 weeks. A book can be renewed twice.",
    "A lost book costs its price plus a fee of 5 dollars.",
    "The reading room on the second floor is silent; group work is welcome in the basement.",
    "Adults pay 30 dollars a year. Children under 14 join for free.",
)
QUESTIONS = (
    "How many books may members borrow at a time?",
    "Where is group work welcome?",
    "Who joins for free?",
)


class State(TypedDict, total=False):
    """What the graph carries."""

    question: str
    documents: list[str]
    answer: str
    worker: str


ENCODER = load_encoder(DEFAULT_ENCODER)
VECTORS = ENCODER.encode(DOCUMENTS)
MODEL = ChatFugu(pool=Pool.embedded(), effort="low", max_tokens=40, timeout=120)


def retrieve(state: State) -> State:
    """The two documents nearest to the question."""
    scores = VECTORS @ ENCODER.encode([state["question"]])[0]
    return {"documents": [DOCUMENTS[i] for i in np.argsort(-scores)[:2]]}


def generate(state: State) -> State:
    """One short answer, by whom the pool chooses."""
    text = "\n".join(state["documents"])
    answer = MODEL.invoke(f"{text}\n\nAnswer from the text above: {state['question']}")
    return {"answer": answer.text, "worker": answer.response_metadata["worker"]}


def main() -> int:
    """Ask each question, and show what was found and who answered."""
    graph = StateGraph(State)
    graph.add_node("retrieve", retrieve)
    graph.add_node("generate", generate)
    graph.add_edge(START, "retrieve")
    graph.add_edge("retrieve", "generate")
    graph.add_edge("generate", END)
    app = graph.compile()
    for question in QUESTIONS:
        done = app.invoke({"question": question})
        print(question)
        print(f"  found: {done['documents'][0]}")
        print(f"  {done['worker']}: {done['answer']}\n")
    MODEL.close()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except FuguError as error:
        sys.exit(f"{type(error).__name__}: {error}")
