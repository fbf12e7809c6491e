"""The routing node's choice as a conditional edge."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.graph import END, START, MessagesState, StateGraph

from fugu_adapters import ConfigError, Fugu, PolicyError, Pool, Worker
from fugu_adapters.policies.turns import Table
from langgraph_node import FuguState, fugu_edge

WORKERS = {"a": "Sums", "b": None}


def build(path: Any, state: Any = MessagesState, *, signed: bool = True, loop: bool = True) -> Any:
    """``gate`` -> path -> ``a`` or ``b`` -> ``gate``, or the end."""
    graph = StateGraph(state)
    graph.add_node("gate", lambda _: {})
    for name in ("a", "b"):
        said = AIMessage(f"from {name}", name=name if signed else None)
        graph.add_node(name, lambda _, said=said: {"messages": [said.model_copy()]})
        graph.add_edge(name, "gate" if loop else END)
    graph.add_edge(START, "gate")
    graph.add_conditional_edges("gate", path)
    return graph


def answers(graph: Any, limit: int = 100) -> list[str]:
    state = {"messages": [HumanMessage("What is 6 * 7?")]}
    done = graph.compile().invoke(state, {"recursion_limit": limit})
    return [message.content for message in done["messages"][1:]]


def test_it_leads_to_the_worker_that_route_chooses() -> None:
    """With a plain message state, from a node and from the start; its options count."""
    decided = Fugu(Pool([Worker(name=n, api="host") for n in WORKERS]), store=False).route("6 * 7")
    assert answers(build(fugu_edge(WORKERS), loop=False)) == [f"from {decided.worker}"]
    assert answers(build(fugu_edge(WORKERS, exclude=["a"]), loop=False)) == ["from b"]
    graph = StateGraph(MessagesState)
    graph.add_node("a", lambda _: {"messages": [AIMessage("42")]})
    graph.add_conditional_edges(START, fugu_edge({"a": None}))
    assert answers(graph) == ["42"]


async def test_asynchronous_graphs_may_use_it() -> None:
    """The same function serves both."""
    graph = build(fugu_edge(WORKERS)).compile()
    done = await graph.ainvoke({"messages": [HumanMessage("What is 6 * 7?")]})
    assert len(done["messages"]) == 2


def test_a_signed_answer_ends_the_loop() -> None:
    """The worker's name on its message is what tells that it has answered."""
    assert answers(build(fugu_edge(WORKERS))) == ["from a"]


def test_answers_without_a_name_are_bounded() -> None:
    """Nobody can tell whose they are, so they count, and the loop ends."""
    assert len(answers(build(fugu_edge(WORKERS, max_turns=3), signed=False))) == 3


def test_it_ends_before_the_steps_run_out() -> None:
    """Where the state has ``remaining_steps``, a policy that never stops is ended by them."""
    path = fugu_edge(WORKERS, policy=lambda _: "a", max_turns=1_000)
    for limit in range(4, 12):
        assert answers(build(path, FuguState), limit) == ["from a"] * ((limit - 2) // 2)


def test_roles_are_read_from_the_names() -> None:
    """Worker, verifier, revision by the other; the policy sees the texts."""
    seen: list[tuple[str, str]] = []

    def policy(table: Table) -> str:
        seen.extend((turn.role, turn.text) for turn in table.turns[-1:])
        return "ab"[len(table.turns) % 2]

    path = fugu_edge(WORKERS, roles={"b": "verifier"}, policy=policy, max_turns=3)
    assert answers(build(path)) == ["from a", "from b", "from a"]
    assert seen == [("worker", "from a"), ("verifier", "from b")]


def test_tool_calls_are_left_to_the_graph() -> None:
    """Open calls end the path's part; their results go back to the worker that signed."""
    call = {"id": "c1", "name": "add", "args": {}}
    asked = [HumanMessage("6 * 7"), AIMessage("Let me see.", name="b")]
    opened = [*asked, AIMessage("", tool_calls=[call])]
    path = fugu_edge(WORKERS)
    assert path({"messages": opened}) == END
    assert path({"messages": [*opened, ToolMessage("42", tool_call_id="c1")]}) == "b"


def test_its_targets_are_drawn_and_checked() -> None:
    """With and without the list; an unknown one fails ``compile``."""
    path = fugu_edge(WORKERS)
    assert path.destinations == ["a", "b", END]
    for given in ((), (path.destinations,)):
        graph = build(path) if not given else StateGraph(MessagesState)
        if given:
            for name in ("gate", "a", "b"):
                graph.add_node(name, lambda _: {})
            graph.add_edge(START, "gate")
            graph.add_conditional_edges("gate", path, *given)
        edges = {(e.source, e.target) for e in graph.compile().get_graph().edges}
        assert {("gate", "a"), ("gate", "b"), ("gate", END)} <= edges
    with pytest.raises(ValueError, match="unknown target 'c'"):
        build(fugu_edge({"a": None, "c": None})).compile()
    with pytest.raises(ValueError, match="unknown target 'wrap'"):
        build(fugu_edge(WORKERS, finish="wrap")).compile()


def test_each_choice_is_a_stream_event() -> None:
    """As the node's are."""
    graph = build(fugu_edge(WORKERS)).compile()
    told = list(graph.stream({"messages": [HumanMessage("6 * 7")]}, stream_mode="custom"))
    assert [event["type"] for event in told] == ["fugu.decision", "fugu.stop"]
    assert told[1]["reason"] == "a has answered"


def test_mistakes_are_named() -> None:
    """A policy's unknown worker, a state without messages, wrong bounds."""
    with pytest.raises(PolicyError, match="'c', which is no worker"):
        answers(build(fugu_edge(WORKERS, policy=lambda _: "c")))
    with pytest.raises(ConfigError, match="no 'dialogue'"):
        answers(build(fugu_edge(WORKERS, messages_key="dialogue")))
    with pytest.raises(ConfigError, match="max_turns"):
        fugu_edge(WORKERS, max_turns=0)
