"""The node that picks the next worker, inside of real graphs."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, MessagesState, StateGraph, add_messages
from langgraph.types import CachePolicy, Command, RetryPolicy, Send, interrupt

from fugu_adapters import (
    ConfigError,
    Fugu,
    InputError,
    PolicyError,
    Pool,
    Worker,
    WorkerUnavailable,
)
from fugu_adapters.policies.turns import NextTurn, Stop, Table
from langgraph_node import FuguNode, FuguState
from langgraph_node.state import merge_turns

THREAD: Any = {"configurable": {"thread_id": "t"}}


@dataclass
class Team:
    """Nodes that count their visits and reply from a script."""

    replies: Mapping[str, Any]
    visits: list[str] = field(default_factory=list)

    def node(self, name: str) -> Callable[[Any], dict[str, Any]]:
        def act(state: Any) -> dict[str, Any]:
            self.visits.append(name)
            reply = self.replies[name]
            reply = reply(self) if callable(reply) else reply
            return {"messages": [AIMessage(reply)] if isinstance(reply, str) else reply}

        return act

    def graph(self, node: FuguNode, state: Any = FuguState) -> Any:
        graph = graph_of(state)
        for name in self.replies:
            graph.add_node(name, self.node(name))
        node.add_to(graph)
        graph.add_edge(START, "fugu")
        return graph


def graph_of(state: Any) -> Any:
    """A graph whose type says nothing, because its nodes here are made on the spot."""
    return StateGraph(state)


def always(worker: str) -> Callable[[Table], str]:
    return lambda _: worker


def ask(text: str = "What is 6 * 7?") -> dict[str, Any]:
    return {"messages": [HumanMessage(text)]}


def edges(graph: Any) -> set[tuple[str, str]]:
    return {(edge.source, edge.target) for edge in graph.get_graph().edges}


# --- choosing -----------------------------------------------------------------------------------


def test_it_takes_the_place_of_a_supervisor() -> None:
    """One worker answers, the graph ends, and the state says who and why."""
    team = Team({"a": "42", "b": "43"})
    done = team.graph(FuguNode({"a": "Sums", "b": None}, exclude=["a"])).compile().invoke(ask())
    assert team.visits == ["b"]
    assert [m.content for m in done["messages"]] == ["What is 6 * 7?", "43"]
    kept = done["fugu"]
    assert (kept["worker"], kept["role"], kept["stop"]) == ("b", "worker", "b has answered")
    assert kept["decision"]["worker"] == "b"
    assert "opted out" in kept["decision"]["candidates"][1]["excluded_because"]


def test_the_choice_is_that_of_route() -> None:
    """The same worker as the core chooses for the user's message, and the same reason."""
    workers = [
        Worker(name="small", api="host", profile="gpt-4o-mini"),
        Worker(name="large", api="host", profile="gpt-4o"),
    ]
    team = Team({"small": "x", "large": "x"})
    done = team.graph(FuguNode(workers, effort="xhigh")).compile().invoke(ask("Prove Fermat."))
    decision = Fugu(Pool(workers), store=False).route("Prove Fermat.", effort="xhigh")
    assert team.visits == [decision.worker]
    assert done["fugu"]["decision"]["reason"] == decision.reason


def test_workers_are_named_in_any_form() -> None:
    """A description, fields of a worker, workers and a pool give the same node."""
    fields = {"description": "Sums", "tags": {"eu"}}
    worker = Worker(name="a", api="host", description="Sums", tags=frozenset({"eu"}))
    for workers in ({"a": fields}, [worker], Pool([worker])):
        assert FuguNode(workers).destinations == ("a", END)
    with pytest.raises(ConfigError, match="descriptoin"):
        FuguNode({"a": {"descriptoin": "Sums"}})
    with pytest.raises(ConfigError, match="at least one worker"):
        FuguNode({})
    with pytest.raises(ConfigError, match="max_turns: expected a number from 1, got 0"):
        FuguNode({"a": None}, max_turns=0)


def test_no_worker_is_ever_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decision makes no model call, even over workers that the core could ask."""

    async def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a worker was asked")

    monkeypatch.setattr(Fugu, "arun", refuse)
    monkeypatch.setattr(Fugu, "acall", refuse)
    asked: list[str] = []

    async def answer(*_: Any, **__: Any) -> str:
        asked.append("a")
        return "42"

    team = Team({"a": "42"})
    team.graph(FuguNode([Worker(name="a", api="callable", call=answer)])).compile().invoke(ask())
    assert team.visits == ["a"]
    assert asked == []


def test_a_policy_of_ones_own_decides_within_its_bounds() -> None:
    """It sees request, turns with their texts, and what is left; what it says is checked."""
    seen: list[tuple[int, int, tuple[str, ...]]] = []

    def policy(table: Table) -> NextTurn | Stop:
        assert table.messages[-1]["content"] == "What is 6 * 7?"
        seen.append((table.number, table.left, tuple(turn.text for turn in table.turns)))
        return NextTurn(worker="ab"[table.number % 2], reason="in turn")

    team = Team({"a": "from a", "b": "from b"})
    node = FuguNode({"a": None, "b": None}, policy=policy, max_turns=3)
    done = team.graph(node).compile().invoke(ask())
    assert team.visits == ["b", "a", "b"]
    assert seen == [(1, 3, ()), (2, 2, ("from b",)), (3, 1, ("from b", "from a"))]
    assert done["fugu"]["stop"] == "all 3 turns are taken"
    assert done["fugu"]["decision"]["reason"] == "in turn"
    lost = team.graph(FuguNode({"a": None, "b": None}, policy=always("c"))).compile()
    with pytest.raises(PolicyError, match="'c', which is no worker; known: a, b"):
        lost.invoke(ask())


def test_roles_take_turns() -> None:
    """Thinker, worker, verifier; a revision, and the end at the acceptance."""
    team = Team(
        {
            "plan": "Multiply.",
            "a": lambda team: "42" if "check" in team.visits else "41",
            "check": lambda team: "REVISE: no" if team.visits.count("check") == 1 else "ACCEPT",
        }
    )
    roles = {"plan": "thinker", "check": "verifier"}
    node = FuguNode(dict.fromkeys(team.replies), roles=roles, max_turns=9)  # type: ignore[arg-type]
    done = team.graph(node).compile().invoke(ask())
    assert team.visits == ["plan", "a", "check", "a", "check"]
    assert done["fugu"]["stop"] == "check accepts the answer"
    assert [turn["role"] for turn in done["fugu"]["turns"]][:2] == ["thinker", "worker"]


def test_each_message_of_the_user_has_turns_of_its_own() -> None:
    """The budget begins anew in the same thread, and what was kept of the last message goes."""
    team = Team({"a": "x"})
    node = FuguNode({"a": None}, policy=always("a"), max_turns=2)
    graph = team.graph(node).compile(checkpointer=InMemorySaver())
    for visits in (2, 4, 6):
        done = graph.invoke(ask(), THREAD)
        assert len(team.visits) == visits
        assert len(done["fugu"]["turns"]) == 2


def test_a_worker_that_reports_as_a_human_is_no_user() -> None:
    """``HumanMessage(name=worker)`` is that worker's answer: it neither asks nor renews the budget."""
    team = Team({"a": [HumanMessage("42", name="a")]})
    node = FuguNode({"a": None}, max_turns=3)
    assert team.graph(node).compile().invoke(ask())["fugu"]["stop"] == "a has answered"
    assert team.visits == ["a"]


def test_words_of_another_node_call_for_a_new_choice() -> None:
    """A node between worker and router that adds to the task has the choice made anew."""
    team = Team({"a": "42"})
    graph = graph_of(FuguState)
    graph.add_node("a", team.node("a"))
    notes = iter([[SystemMessage("In binary, please.")], []])
    graph.add_node("review", lambda _: {"messages": next(notes)})
    graph.add_edge("a", "review")
    graph.add_edge("review", "fugu")
    FuguNode({"a": None}).add_to(graph)
    graph.add_edge(START, "fugu")
    graph.compile().invoke(ask())
    assert team.visits == ["a", "a"]


def test_an_empty_conversation_is_refused() -> None:
    """There is nothing to choose by."""
    with pytest.raises(InputError, match="empty"):
        Team({"a": "x"}).graph(FuguNode({"a": None})).compile().invoke({"messages": []})


# --- tool calls ---------------------------------------------------------------------------------

CALL = {"id": "c1", "name": "add", "args": {}}


def calling(team: Team) -> Any:
    """A worker that calls a tool on its first visit and answers on its second."""
    return [AIMessage("", tool_calls=[CALL])] if len(team.visits) == 1 else "42"


def test_open_tool_calls_go_to_the_tools_and_back_to_their_worker() -> None:
    """The tools are no turn, nothing is decided meanwhile, and the results go to who asked for them."""
    team = Team({"b": "x", "a": calling, "tools": [ToolMessage("42", tool_call_id="c1")]})
    node = FuguNode({"b": None, "a": None}, tools="tools", exclude=["b"], max_turns=2)
    graph = team.graph(node).compile()
    events: list[Any] = list(graph.stream(ask(), stream_mode="custom"))
    assert team.visits == ["a", "tools", "a"]
    assert [event.get("turn") for event in events] == [1, 2, 3]
    assert "goes on with the results" in events[1]["reason"]


def test_tools_that_answer_nothing_do_not_go_round() -> None:
    """A round of tools for each turn at most, even if the calls stay open for ever."""
    team = Team({"a": [AIMessage("", tool_calls=[CALL])], "tools": []})
    done = team.graph(FuguNode({"a": None}, tools="tools")).compile().invoke(ask())
    assert team.visits == ["a", "tools"]
    assert done["fugu"]["stop"] == "a waits for its tool calls' results"


def test_open_calls_are_left_to_the_caller_and_their_results_come_back() -> None:
    """Without a node for tools the graph ends; the caller's results go on with the same worker."""
    team = Team({"b": "x", "a": calling})
    node = FuguNode({"b": None, "a": None}, exclude=["b"])
    graph = team.graph(node).compile(checkpointer=InMemorySaver())
    done = graph.invoke(ask(), THREAD)
    assert done["messages"][-1].tool_calls
    done = graph.invoke({"messages": [ToolMessage("42", tool_call_id="c1")]}, THREAD)
    assert team.visits == ["a", "a"]
    assert done["messages"][-1].content == "42"


# --- building -----------------------------------------------------------------------------------


def test_its_edges_are_drawn() -> None:
    """To each worker and to the end, with and without ``add_to``."""
    drawn = {("fugu", "a"), ("fugu", "b"), ("fugu", END), ("a", "fugu"), (START, "fugu")}
    team = Team({"a": "x", "b": "x"})
    graph = team.graph(FuguNode({"a": None, "b": None})).compile()
    assert edges(graph) == drawn | {("b", "fugu")}
    assert "fugu -.-> a" in graph.get_graph().draw_mermaid()
    plain = graph_of(FuguState)
    plain.add_node(FuguNode({"a": None, "b": None}))
    plain.add_node("a", team.node("a"))
    plain.add_node("b", team.node("b"))
    plain.add_edge(START, "fugu")
    plain.add_edge("a", "fugu")
    assert edges(plain.compile()) == drawn | {("b", END)} - {("b", "fugu")}


def test_an_unknown_target_fails_when_the_graph_is_built() -> None:
    """``add_to`` names the nearest node, ``compile`` the missing one: never a silent end."""
    graph = graph_of(FuguState)
    graph.add_node("coder", Team({}).node("coder"))
    with pytest.raises(ConfigError, match="'codr' is no node of the graph; did you mean 'coder'"):
        FuguNode({"codr": None}).add_to(graph)
    for node in (FuguNode({"codr": None}), FuguNode({"coder": None}, finish="wrap")):
        graph = graph_of(FuguState)
        graph.add_node("coder", Team({}).node("coder"))
        graph.add_node(node)
        graph.add_edge(START, "fugu")
        with pytest.raises(ValueError, match="unknown node `(codr|wrap)`"):
            graph.compile()


def test_workers_that_lead_elsewhere_keep_their_edges() -> None:
    """``add_to`` leads back only those that lead nowhere yet."""
    graph = graph_of(FuguState)
    team = Team(dict.fromkeys("abcde", "x"))
    for name in "abcd":
        graph.add_node(name, team.node(name))
    graph.add_node("e", team.node("e"), destinations=("d",))
    graph.add_edge("a", END)
    graph.add_edge(["b"], "d")
    graph.add_conditional_edges("c", lambda _: END, [END])
    graph.add_edge(START, "fugu")
    FuguNode(dict.fromkeys("abcde")).add_to(graph)
    assert {source for source, target in graph.edges if target == "fugu"} == {START, "d"}


def test_the_state_has_to_keep_the_turns() -> None:
    """A schema without the key is an error that names the one to use, at the first step."""
    graph = graph_of(MessagesState)
    graph.add_node("a", Team({"a": "x"}).node("a"))
    FuguNode({"a": None}).add_to(graph)
    graph.add_edge(START, "fugu")
    with pytest.raises(ConfigError, match="FuguState"):
        graph.compile().invoke(ask())
    with pytest.raises(ConfigError, match="no 'dialogue'"):
        Team({"a": "x"}).graph(FuguNode({"a": None}, messages_key="dialogue")).compile().invoke(
            ask()
        )


def test_any_kind_of_state_will_do() -> None:
    """A dataclass with its own key for the messages."""

    @dataclass
    class Own:
        dialogue: Annotated[list[AnyMessage], add_messages]
        fugu: Annotated[dict[str, Any], merge_turns] = field(default_factory=dict)

    team = Team({"a": "x"})
    graph = graph_of(Own)
    graph.add_node("a", lambda _: {"dialogue": team.node("a")(None)["messages"]})
    FuguNode({"a": None}, messages_key="dialogue").add_to(graph)
    graph.add_edge(START, "fugu")
    done = graph.compile().invoke({"dialogue": [HumanMessage("hi")]})
    assert [m.content for m in done["dialogue"]] == ["hi", "x"]


def test_it_may_end_at_a_node() -> None:
    """``finish`` wraps up, once, and is drawn."""
    team = Team({"a": "42"})
    graph = graph_of(FuguState)
    graph.add_node("a", team.node("a"))
    graph.add_node("wrap", lambda _: {"messages": [AIMessage("done")]})
    FuguNode({"a": None}, finish="wrap").add_to(graph)
    graph.add_edge(START, "fugu")
    for limit in (4, 5, 6, 50):
        done = graph.compile().invoke(ask(), {"recursion_limit": limit})
        assert done["messages"][-1].content == "done"


def test_called_outside_of_a_graph_it_still_chooses() -> None:
    """For tests of one's own: there is no stream to write to, and nothing else is different."""
    node = FuguNode({"a": None})
    state = {"messages": [HumanMessage("hi")], "fugu": {}}
    assert node(state).goto == node.invoke(state).goto == "a"


# --- running ------------------------------------------------------------------------------------


async def test_asynchronous_graphs_work_the_same() -> None:
    """The same visits, state and events, and many at a time."""
    team = Team({"a": "42", "b": "43"})
    graph = team.graph(FuguNode({"a": None, "b": None})).compile()
    events = [event async for event in graph.astream(ask(), stream_mode="custom")]
    assert events == list(graph.stream(ask(), stream_mode="custom"))
    done = await asyncio.gather(*(graph.ainvoke(ask()) for _ in range(20)))
    assert all(len(each["messages"]) == 2 for each in done)
    assert len(team.visits) == 22


def test_each_decision_is_a_stream_event() -> None:
    """Beside the other modes; the event is plain JSON and says who, why and out of whom."""
    team = Team({"a": "42", "b": "43"})
    graph = team.graph(FuguNode({"a": None, "b": None})).compile()
    modes = ["custom", "updates", "values"]
    told = list(graph.stream(ask(), stream_mode=modes))
    custom = [event for mode, event in told if mode == "custom"]
    assert [event["type"] for event in custom] == ["fugu.decision", "fugu.stop"]
    first = json.loads(json.dumps(custom[0]))
    assert (first["worker"], first["role"], first["turn"]) == ("a", "worker", 1)
    assert first["reason"]
    assert [c["worker"] for c in first["candidates"]] == ["a", "b"]
    updated = [next(iter(event)) for mode, event in told if mode == "updates"]
    assert updated == ["fugu", "a", "fugu"]


def test_the_checkpoint_is_plain_json(tmp_path: Path) -> None:
    """Kept in SQLite, read in another graph, and nothing but JSON of ours in it."""
    team = Team({"a": "42"})
    graph = team.graph(FuguNode({"a": None}))
    with sqlite3.connect(tmp_path / "kept.db", check_same_thread=False) as connection:
        graph.compile(checkpointer=SqliteSaver(connection)).invoke(ask(), THREAD)
        kept = graph.compile(checkpointer=SqliteSaver(connection)).get_state(THREAD).values["fugu"]
    connection.close()
    assert json.loads(json.dumps(kept)) == kept
    assert kept["worker"] == "a"


def test_an_interrupt_does_not_repeat_or_change_a_decision() -> None:
    """A human between choice and answer: the worker re-runs, the decision stands."""
    team = Team({"a": lambda _: interrupt("may I?"), "b": "x"})
    graph = team.graph(FuguNode({"a": None, "b": None})).compile(checkpointer=InMemorySaver())
    graph.invoke(ask(), THREAD)
    kept = graph.get_state(THREAD)
    assert kept.next == ("a",)
    done = graph.invoke(Command(resume="yes"), THREAD)
    assert team.visits == ["a", "a"]
    assert done["messages"][-1].content == "yes"
    assert done["fugu"]["decision"] == kept.values["fugu"]["decision"]


def test_run_again_the_decision_is_the_same() -> None:
    """From the same checkpoint, in this process and in another one: it depends on the state alone."""
    workers = {"a": {"profile": "gpt-4o"}, "b": {"profile": "gpt-4o-mini"}}
    team = Team({"a": "x", "b": "x"})
    saver = InMemorySaver()
    graph = team.graph(FuguNode(workers)).compile(checkpointer=saver)
    for text in ("Prove Fermat.", "Now in French, please.", "What is 2 + 2?"):
        graph.invoke(ask(text), THREAD)
    fresh = team.graph(FuguNode(workers)).compile(checkpointer=saver)
    for again in (graph, fresh):
        before = [kept for kept in again.get_state_history(THREAD) if kept.next == ("fugu",)]
        for kept in before[-2:]:  # the first message: nothing came before it
            ended = again.invoke(None, kept.config)
            assert ended["fugu"]["turns"][0]["worker"] == team.visits[0]


def test_a_graph_may_stop_at_the_workers_and_go_on() -> None:
    """``interrupt_before`` a worker, as for any other node."""
    team = Team({"a": "42"})
    graph = team.graph(FuguNode({"a": None})).compile(
        checkpointer=InMemorySaver(), interrupt_before=["a"]
    )
    graph.invoke(ask(), THREAD)
    assert team.visits == []
    graph.invoke(None, THREAD)
    assert team.visits == ["a"]


def test_a_failure_reaches_the_graphs_own_handling_once() -> None:
    """Our errors were retried before they leave the engine: LangGraph's default does not again."""

    def fail(_: Any) -> Any:
        raise WorkerUnavailable("down", worker="a")

    for kind, visits in ((fail, 1), (lambda _: 1 / 0 and "", 1)):
        team = Team({"a": kind})
        graph = graph_of(FuguState)
        graph.add_node("a", team.node("a"), retry_policy=RetryPolicy(initial_interval=0.001))
        FuguNode({"a": None}).add_to(graph)
        graph.add_edge(START, "fugu")
        with pytest.raises((WorkerUnavailable, ZeroDivisionError)):
            graph.compile().invoke(ask())
        assert len(team.visits) == visits
    handled: list[str] = []
    team = Team({"a": fail})
    graph = graph_of(FuguState)

    def rescue(state: Any) -> dict[str, Any]:
        handled.append("a")
        return {"messages": [AIMessage("sorry")]}

    graph.add_node("a", team.node("a"), retry_policy=RetryPolicy(), error_handler=rescue)
    FuguNode({"a": None}).add_to(graph, retry_policy=RetryPolicy())
    graph.add_edge(START, "fugu")
    graph.compile().invoke(ask())
    assert (team.visits, handled) == (["a"], ["a"])


def test_a_node_of_others_is_retried_without_another_decision() -> None:
    """What LangGraph retries is the worker, not the choice, and it is still one turn."""
    team = Team({"a": lambda team: ["42", ConnectionError][len(team.visits) < 3]})

    def act(state: Any) -> dict[str, Any]:
        said = team.node("a")(state)["messages"]
        if said is ConnectionError:
            raise ConnectionError("flaky")
        return {"messages": said}

    graph = graph_of(FuguState)
    graph.add_node("a", act, retry_policy=RetryPolicy(initial_interval=0.001, jitter=False))
    FuguNode({"a": None}).add_to(graph)
    graph.add_edge(START, "fugu")
    events = list(graph.compile().stream(ask(), stream_mode="custom"))
    assert len(team.visits) == 3
    assert [event["type"] for event in events] == ["fugu.decision", "fugu.stop"]


def test_decisions_may_be_cached() -> None:
    """With a cache policy the same state is decided once, and its target is still gone to."""
    asked: list[int] = []

    def policy(table: Table) -> str | Stop:
        asked.append(table.number)
        return Stop(reason="done") if table.turns else "a"

    team = Team({"a": [AIMessage("x", id="answer")]})
    graph = graph_of(FuguState)
    graph.add_node("a", team.node("a"))
    FuguNode({"a": None}, policy=policy).add_to(graph, cache_policy=CachePolicy())
    graph.add_edge(START, "fugu")
    app = graph.compile(cache=InMemoryCache())
    for _ in range(3):
        app.invoke({"messages": [HumanMessage("hi", id="question")]})
    assert len(team.visits) == 3
    assert asked.count(1) == 1


# --- parallel branches and subgraphs ------------------------------------------------------------


def test_parallel_branches_may_each_route() -> None:
    """Two nodes decide in the same step and both write: neither loses its turn or counts the other's."""
    team = Team({"a": "x", "b": "y"})
    graph = graph_of(FuguState)
    for name in team.replies:
        graph.add_node(name, team.node(name))
    FuguNode({"a": None}, max_turns=1).add_to(graph, "left")
    FuguNode({"b": None}, max_turns=1).add_to(graph, "right")
    graph.add_edge(START, "left")
    graph.add_edge(START, "right")
    done = graph.compile().invoke(ask())
    assert sorted(team.visits) == ["a", "b"]
    assert {turn["node"] for turn in done["fugu"]["turns"]} == {"left", "right"}


def test_each_branch_of_a_send_is_routed_by_what_it_was_sent() -> None:
    """Its worker gets what the branch was sent, beside the others, and no turn of the user is used."""
    seen: list[str] = []

    def act(state: Any) -> dict[str, Any]:
        seen.append(state["messages"][-1].content)
        return {"messages": [AIMessage(f"did {seen[-1]}")]}

    def split(_: Any) -> list[Send]:
        return [Send("fugu", {"messages": [HumanMessage(part)]}) for part in ("one", "two")]

    graph = graph_of(FuguState)
    graph.add_node("split", lambda _: {})
    graph.add_node("a", act)
    graph.add_edge("a", END)
    FuguNode({"a": None}).add_to(graph)
    graph.add_edge(START, "split")
    graph.add_conditional_edges("split", split, ["fugu"])
    done = graph.compile().invoke(ask())
    assert sorted(seen) == ["one", "two"]
    assert [m.content for m in done["messages"]] == ["What is 6 * 7?", "did one", "did two"]
    assert done["fugu"] == {}


def test_a_subgraph_may_hand_back_to_the_router() -> None:
    """A worker that is a graph of its own, ending with ``Command.PARENT``."""
    inner = graph_of(MessagesState)
    reply = [AIMessage("42")]
    inner.add_node(
        "deep",
        lambda _: Command(graph=Command.PARENT, goto="fugu", update={"messages": reply}),
        destinations=(),
    )
    inner.add_edge(START, "deep")
    graph = graph_of(FuguState)
    graph.add_node("team", inner.compile(), destinations=("fugu",))
    FuguNode({"team": None}).add_to(graph)
    graph.add_edge(START, "fugu")
    done = graph.compile().invoke(ask())
    assert [m.content for m in done["messages"]] == ["What is 6 * 7?", "42"]
    assert ("team", "fugu") in edges(graph.compile())


def test_from_a_subgraph_it_chooses_the_parents_nodes() -> None:
    """With ``graph=Command.PARENT``; the parent draws and checks the targets, and keeps the turns."""
    node = FuguNode({"a": None, "b": None}, graph=Command.PARENT)
    inner = graph_of(FuguState)
    node.add_to(inner)
    inner.add_edge(START, "fugu")
    team = Team({"a": "x", "b": "y"})

    def outer(*names: str) -> Any:
        graph = graph_of(FuguState)
        graph.add_node("desk", inner.compile(), destinations=node.destinations)
        for name in names:
            graph.add_node(name, team.node(name))
            graph.add_edge(name, "desk")
        graph.add_edge(START, "desk")
        return graph

    graph = outer("a", "b").compile()
    done = graph.invoke(ask())
    assert team.visits == ["a"]
    assert done["fugu"]["stop"] == "a has answered"
    assert ("desk", "b") in edges(graph)
    with pytest.raises(ValueError, match="unknown node `b`"):
        outer("a").compile()
