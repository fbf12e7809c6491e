"""No loop without an end: random graphs, random policies, random limits."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command

from fugu_adapters import Fugu
from fugu_adapters.policies.turns import ROLES, NextTurn, Stop, Table, TurnPolicy
from langgraph_node import FuguNode, FuguState, fugu_edge

GRAPHS = 80


class Calls:
    """Counts what would cost money: the workers' visits and any call of the core."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.workers = self.tools = self.core = 0

        async def called(*_: Any, **__: Any) -> None:
            self.core += 1

        monkeypatch.setattr(Fugu, "arun", called)
        monkeypatch.setattr(Fugu, "acall", called)


def reply(rng: random.Random, name: str) -> list[Any]:
    """What a worker may write, helpful or not."""
    call = {"id": f"c{rng.random()}", "name": "add", "args": {}}
    return rng.choice(
        [
            [AIMessage(rng.choice(["42", "ACCEPT", "REVISE: no", "", "ACCEPT or REVISE"]))],
            [AIMessage("42", name=name), AIMessage("and 43", name="somebody")],
            [HumanMessage("done", name=name)],
            [AIMessage("", tool_calls=[call])],
            [AIMessage("", tool_calls=[call]), ToolMessage("7", tool_call_id=call["id"])],
            [SystemMessage("go on")],
            [],
        ]
    )


def policy(rng: random.Random, names: list[str]) -> TurnPolicy | None:
    """The default, one that never stops, one that stops at random, one that stays."""

    def never_stops(_: Table) -> str:
        return rng.choice(names)

    def may_stop(_: Table) -> NextTurn | Stop:
        stop = rng.random() < 0.3
        return Stop(reason="enough") if stop else NextTurn(worker=rng.choice(names))

    return rng.choice([None, None, never_stops, may_stop, lambda _: names[0]])


def worker(rng: random.Random, name: str, calls: Calls) -> Callable[[Any], Any]:
    def act(_: Any) -> Any:
        calls.workers += 1
        return {"messages": reply(rng, name)}

    return act


def tools(rng: random.Random, calls: Calls) -> Callable[[Any], Any]:
    """Runs the calls, or only says that it would."""

    def act(state: Any) -> Any:
        calls.tools += 1
        last = state["messages"][-1]
        results = [ToolMessage("7", tool_call_id=call["id"]) for call in last.tool_calls]
        again = [AIMessage("", tool_calls=[{"id": "x", "name": "add", "args": {}}])]
        return {"messages": rng.choice([results, results, again, []])}

    return act


def build(rng: random.Random, calls: Calls) -> tuple[Any, int, int]:
    """A graph, its turns for each message of the user, and the steps that one turn may take."""
    names = [f"w{n}" for n in range(rng.randint(1, 6))]
    graph: Any = StateGraph(FuguState)
    detour = rng.randint(0, 2)
    for name in names:
        graph.add_node(name, worker(rng, name, calls))
    for step in range(detour):
        graph.add_node(f"s{step}", lambda _: {})
        graph.add_edge(f"s{step}", f"s{step + 1}" if step + 1 < detour else "fugu")
    graph.add_node("handoff", lambda _: Command(goto="fugu"), destinations=("fugu",))
    for name in names:
        if detour and rng.random() < 0.6:
            graph.add_edge(name, "s0")
        elif rng.random() < 0.2:
            graph.add_edge(name, END)
        elif rng.random() < 0.2:
            graph.add_edge(name, "handoff")
    finish, has_tools = END, rng.random() < 0.5
    if has_tools:
        graph.add_node("tools", tools(rng, calls))
    if rng.random() < 0.3:
        finish = "wrap"
        graph.add_node("wrap", lambda _: {})
    roles: Any = {name: rng.choice(ROLES) for name in names[1:]} if rng.random() < 0.5 else None
    max_turns, steps = rng.randint(1, 8), 2 + max(detour, 1)
    FuguNode(
        dict.fromkeys(names),
        max_turns=max_turns,
        finish=finish,
        roles=roles,
        policy=policy(rng, names),
        tools="tools" if has_tools else None,
        steps_per_turn=steps,
    ).add_to(graph)
    graph.add_edge(START, "fugu")
    return graph, max_turns, steps


def test_every_routed_graph_ends_within_its_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """No recursion error, at most ``max_turns`` visits for each message of the user, no call of ours."""
    rng, calls, most = random.Random(20), Calls(monkeypatch), 0
    for _ in range(GRAPHS):
        graph, max_turns, steps = build(rng, calls)
        app = graph.compile(checkpointer=InMemorySaver())
        for _ in range(2):
            calls.workers = calls.tools = 0
            limit = rng.randint(steps + 2, 40)
            thread: Any = {"configurable": {"thread_id": "t"}, "recursion_limit": limit}
            state = app.invoke({"messages": [HumanMessage("What is 6 * 7?")]}, thread)
            assert calls.workers <= max_turns
            assert calls.tools <= max_turns
            assert len(state["fugu"]["turns"]) <= 2 * max_turns
            assert app.get_state(thread).next == ()
            most = max(most, calls.workers)
    assert most == 8, "the policies were too tame to show anything"
    assert calls.core == 0


async def test_in_asynchronous_graphs_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, through ``ainvoke``."""
    rng, calls = random.Random(21), Calls(monkeypatch)
    for _ in range(20):
        graph, max_turns, _ = build(rng, calls)
        calls.workers = 0
        await graph.compile().ainvoke({"messages": [HumanMessage("6 * 7")]})
        assert calls.workers <= max_turns
    assert calls.core == 0


def test_every_graph_with_an_edge_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without anything kept in the state: by what the messages and the remaining steps tell."""
    rng, calls = random.Random(22), Calls(monkeypatch)
    for _ in range(60):
        names = [f"w{n}" for n in range(rng.randint(1, 6))]
        graph: Any = StateGraph(FuguState)
        max_turns = rng.randint(1, 8)
        graph.add_node("gate", lambda _: {})
        for name in names:
            graph.add_node(name, worker(rng, name, calls))
            graph.add_edge(name, "gate" if rng.random() < 0.9 else END)
        graph.add_edge(START, "gate")
        path = fugu_edge(dict.fromkeys(names), max_turns=max_turns, policy=policy(rng, names))
        graph.add_conditional_edges("gate", path, path.destinations)
        graph.compile().invoke(
            {"messages": [HumanMessage("6 * 7")]}, {"recursion_limit": rng.randint(4, 60)}
        )
    assert calls.core == 0
