"""The routing node's choice as the path of a conditional edge."""

from __future__ import annotations

from typing import Any, Literal, Protocol, Unpack, cast

from langgraph.graph import END

from fugu_adapters import ConfigError
from fugu_adapters.policies.turns import Stop, TurnPolicy
from langgraph_node.choose import Choice, Chooser, Roles, RouteOptions, Workers, emit, read_key
from langgraph_node.state import read_history

__all__ = ["FuguEdge", "fugu_edge"]


class FuguEdge(Protocol):
    """A path for ``add_conditional_edges``.

    Attributes:
        destinations: where it may lead.
    """

    destinations: list[str]

    def __call__(self, state: Any, /) -> str:
        """The node that acts next."""
        ...


def fugu_edge(
    workers: Workers,
    *,
    max_turns: int = 5,
    finish: str = END,
    roles: Roles | None = None,
    policy: TurnPolicy | None = None,
    messages_key: str = "messages",
    steps_per_turn: int = 2,
    **options: Unpack[RouteOptions],
) -> FuguEdge:
    """A path that leads to the node that acts next, for ``graph.add_conditional_edges(source, path)``.

    It keeps nothing in the state and works with any that has messages, so all it knows of earlier turns
    is who signed the messages after the user's: ``AIMessage(..., name=node)``. In a graph that comes back
    to it, workers that do not sign are asked again until ``max_turns`` answers are there.

    Args:
        workers: see ``FuguNode``, as for what follows.
        max_turns: answers for each message of the user, signed or not.
        finish: where it leads at the end.
        roles: who thinks, works and verifies; a worker that signs is taken to act in its first role.
        policy: who takes the next turn, in place of the default.
        messages_key: where the state keeps its messages.
        steps_per_turn: steps until the graph is back here; only where the state has
            ``remaining_steps``, as ``FuguState`` does.
        **options: for every decision, see ``RouteOptions``.

    Raises:
        ConfigError: where workers, roles or numbers are wrong.
    """
    chooser = Chooser(workers, max_turns=max_turns, roles=roles, policy=policy, options=options)
    reserve = steps_per_turn + (1 if finish == END else 2)

    def fugu(state: Any) -> str:
        messages = read_key(state, messages_key)
        if messages is None:
            raise ConfigError(
                f"the graph's state has no {messages_key!r}; name its messages' messages_key"
            )
        history = read_history(messages, chooser.names)
        turns = history.signed_turns(chooser.roles)
        steps = read_key(state, "remaining_steps")
        if steps is not None and steps < reserve:
            choice = Choice.stop("the graph is out of steps", turns)
        elif history.open_calls:
            choice = Choice.stop("the last message's tool calls are open", turns)
        else:
            since = history.since_signed(turns)
            left = max_turns - history.answers
            choice = chooser.choose(history, turns, since=since, left=left)
        emit(choice.to_plain())
        return finish if isinstance(choice.next, Stop) else choice.next.worker

    destinations = list(dict.fromkeys([*chooser.names, finish]))
    # LangGraph draws and checks the targets that an annotation of this form names.
    fugu.__annotations__ = {"return": Literal[tuple(destinations)]}
    edge = cast("FuguEdge", fugu)
    edge.destinations = destinations
    return edge
