"""A node that picks the next worker of a graph, in place of a supervisor model."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Mapping
from typing import Any, Literal, Unpack

from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.graph import END, StateGraph
from langgraph.types import Command, Send

from fugu_adapters import ConfigError
from fugu_adapters.policies.turns import NextTurn, Stop, TurnPolicy, nearest
from langgraph_node.choose import Choice, Chooser, Roles, RouteOptions, Workers, emit, read_key
from langgraph_node.state import TOOLS, History, read_history

__all__ = ["FuguNode"]

_PUSH = "__pregel_push"  # what LangGraph's metadata says of a task that a Send has started


class FuguNode(Runnable[Any, Command[Any]]):
    """Picks the node that acts next, and ends the graph when it is done. No model is called.

    The workers are nodes of the same graph; each leads back to this one, or wherever it should. Every
    message of the user gets ``max_turns`` turns at most, and the graph ends before LangGraph runs out
    of steps. Its edges are drawn, and a target that is no node fails ``compile``.

    While a worker's tool calls are open, nothing is decided: they go to ``tools``, or to the caller, and
    their results back to the worker. Called with a ``Send``, it passes on what it was sent, and the
    branch does not count as a turn.

    Args:
        workers: what each node is for: ``{"coder": "Writes and reviews code", ...}``, with a worker's
            fields in place of the text where there is more to say (``profile``, ``price``, ``tags``),
            a sequence of ``Worker(api="host")``, or a ``Pool`` with settings of its own.
        max_turns: turns for each message of the user.
        finish: where it ends: ``END``, or a node that wraps up.
        roles: who is ``"thinker"``, ``"worker"`` and ``"verifier"``; a node may have several.
        policy: who takes the next turn, in place of the default.
        tools: the node that runs the workers' tool calls, if there is one.
        graph: ``Command.PARENT`` where this node is in a subgraph and the workers are its parent's
            nodes. Give the subgraph ``destinations=node.destinations`` there, to have them checked.
        messages_key: where the state keeps its messages.
        steps_per_turn: steps until the graph is back here, this node's included.
        name: what the node is called where the graph is not told.
        **options: for every decision, see ``RouteOptions``.

    Raises:
        ConfigError: where workers, roles or numbers are wrong.
    """

    def __init__(
        self,
        workers: Workers,
        *,
        max_turns: int = 5,
        finish: str = END,
        roles: Roles | None = None,
        policy: TurnPolicy | None = None,
        tools: str | None = None,
        graph: str | None = None,
        messages_key: str = "messages",
        steps_per_turn: int = 2,
        name: str = "fugu",
        **options: Unpack[RouteOptions],
    ) -> None:
        self._chooser = Chooser(
            workers, max_turns=max_turns, roles=roles, policy=policy, options=options
        )
        self.name = name
        self.destinations = tuple(dict.fromkeys([*self._chooser.names, *_given(tools), finish]))
        self._finish, self._tools, self._graph = finish, tools, graph
        self._messages_key = messages_key
        self._reserve = steps_per_turn + (1 if finish == END else 2)
        if graph is None:
            self.__dict__["__call__"] = types.MethodType(_annotated(self.destinations), self)

    def __call__(self, state: Any) -> Command[Any]:
        """As ``invoke``."""
        return self.invoke(state)

    def invoke(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Command[Any]:
        """Choose for a graph's state.

        Raises:
            ConfigError: where the state lacks what the node keeps in it.
            InputError: where no worker may be chosen.
            PolicyError: where the policy chose nothing usable.
        """
        command, event = self._decide(input, config)
        if event is not None:
            emit(event)
        return command

    async def ainvoke(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Command[Any]:
        """As ``invoke``; a long prompt is encoded beside the event loop."""
        command, event = await asyncio.to_thread(self._decide, input, config)
        if event is not None:
            emit(event)
        return command

    def add_to(
        self, graph: StateGraph[Any, Any, Any, Any], name: str | None = None, **options: Any
    ) -> None:
        """Add this node to a graph that has its workers, and lead them back to it.

        Workers that lead somewhere already keep their edges.

        Args:
            graph: the graph.
            name: what the node is called there.
            **options: for ``add_node``, such as ``retry_policy``.

        Raises:
            ConfigError: where a worker, ``tools`` or ``finish`` is no node of the graph.
        """
        name = name or str(self.name)
        graph.add_node(name, self, **options)
        if self._graph is not None:
            return
        for target in self.destinations:
            if target != END and target not in graph.nodes:
                hint = nearest(target, set(graph.nodes) - {name})
                raise ConfigError(f"{target!r} is no node of the graph; {hint}")
        leading = _sources(graph)
        for worker in (*self._chooser.names, *_given(self._tools)):
            if worker not in leading:
                graph.add_edge(worker, name)

    # --- one decision ---------------------------------------------------------------------------

    def _decide(
        self, state: Any, config: RunnableConfig | None
    ) -> tuple[Command[Any], dict[str, Any] | None]:
        """The command, and the event that tells of it."""
        metadata = (config or {}).get("metadata") or {}
        sent = _PUSH in metadata.get("langgraph_triggers", ())
        record = {} if sent else _record(state)
        node = str(metadata.get("langgraph_node") or self.name)
        history = self._history(state)
        turns = history.turns(record, node, self._chooser.names)
        left = self._chooser.max_turns - len(turns)
        steps = None if sent else read_key(state, "remaining_steps")
        if steps is not None and steps < self._reserve:
            choice = Choice.stop("the graph is out of steps", turns)
        elif not (history.open_calls and turns):
            since = history.since(record, node)
            choice = self._chooser.choose(history, turns, since=since, left=left)
        elif self._tools and left > 0 and history.tool_rounds(record, node) < len(turns):
            turn = _turn(node, self._tools, TOOLS, history)
            return self._command(self._tools, {"request": history.request, "turns": [turn]}), None
        else:
            choice = Choice.stop(f"{turns[-1].worker} waits for its tool calls' results", turns)
        if isinstance(choice.next, Stop):
            update = {"request": history.request, "turns": [], "stop": choice.reason}
            goto: str | Send = self._finish
        else:
            update = _update(choice, choice.next, node, history)
            goto = Send(choice.next.worker, state) if sent else choice.next.worker
        return self._command(goto, None if sent else update), {**choice.to_plain(), "node": node}

    def _history(self, state: Any) -> History:
        messages = read_key(state, self._messages_key)
        if messages is None:
            key = self._messages_key
            raise ConfigError(f"the graph's state has no {key!r}; name its messages' messages_key")
        return read_history(messages, self._chooser.names)

    def _command(self, goto: str | Send, update: dict[str, Any] | None) -> Command[Any]:
        written = None if update is None else {"fugu": update}
        return Command(graph=self._graph, goto=goto, update=written)


def _annotated(destinations: tuple[str, ...]) -> Callable[[FuguNode, Any], Command[Any]]:
    """What LangGraph reads a node's edges from, to draw and to check them; what it runs is ``invoke``."""

    def fugu(self: FuguNode, state: Any) -> Command[Any]:
        return self.invoke(state)

    fugu.__annotations__ = {"return": Command[Literal[destinations]]}  # type: ignore[valid-type]
    return fugu


def _given(name: str | None) -> tuple[str, ...]:
    return () if name is None else (name,)


def _record(state: Any) -> Mapping[str, Any]:
    record = read_key(state, "fugu")
    if not isinstance(record, Mapping):
        raise ConfigError(
            "the graph's state has no key 'fugu', in which FuguNode keeps its turns: make it of "
            "langgraph_node.FuguState, as StateGraph(FuguState) or class State(FuguState)"
        )
    return record


def _turn(node: str, worker: str, role: str | None, history: History) -> dict[str, Any]:
    return {"node": node, "worker": worker, "role": role, "after": history.after}


def _update(choice: Choice, turn: NextTurn, node: str, history: History) -> dict[str, Any]:
    told = choice.to_plain()
    return {
        "request": history.request,
        "turns": [_turn(node, turn.worker, turn.role, history)],
        "worker": turn.worker,
        "role": turn.role,
        "decision": {key: told[key] for key in ("worker", "reason", "candidates")},
        "stop": None,
    }


def _sources(graph: StateGraph[Any, Any, Any, Any]) -> set[str]:
    """Nodes that lead somewhere."""
    joined = {start for starts, _ in graph.waiting_edges for start in starts}
    commanding = {name for name, spec in graph.nodes.items() if spec.ends}
    return {start for start, _ in graph.edges} | joined | commanding | set(graph.branches)
