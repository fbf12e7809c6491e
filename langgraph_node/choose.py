"""The choice that node and edge share: workers of a graph, a selector over them, a turn policy."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Self, TypeAlias, TypedDict

from fugu_adapters import ConfigError, Decision, Fugu
from fugu_adapters.hosts import Team, plain_decision, team_pool
from fugu_adapters.policies.turns import (
    NextTurn,
    Role,
    Stop,
    Table,
    Turn,
    TurnPolicy,
    in_order,
    next_turn,
    one_worker,
    read_roles,
)
from fugu_adapters.types import Effort
from langgraph_node.messages import for_routing
from langgraph_node.state import History

__all__ = ["Choice", "Chooser", "Roles", "RouteOptions", "Workers", "emit", "read_key"]

Workers: TypeAlias = Team
"""Nodes of a graph: workers, or names with what each is for or with a worker's fields."""

Roles: TypeAlias = Mapping[str, Role | Collection[Role]]


class RouteOptions(TypedDict, total=False):
    """What may be said of every decision, as for ``Fugu.route``.

    Attributes:
        effort: ``low`` takes the cheapest worker that is nearly as good, ``xhigh`` the best.
        exclude: workers not to choose, by name or tag.
        quality: least expected score relative to the best worker's, above 0 to 1.
        max_cost: dollars that a worker's call may be expected to cost.
    """

    effort: Effort
    exclude: Sequence[str] | set[str] | frozenset[str]
    quality: float | None
    max_cost: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """A checked choice and what it was made by.

    Attributes:
        next: the turn, or the stop.
        turn: its number, from 1.
        decision: the selector's, as JSON; ``None`` where the policy did not ask for it.
    """

    next: NextTurn | Stop
    turn: int
    decision: Mapping[str, Any] | None = None

    @classmethod
    def stop(cls, reason: str, turns: Sequence[Turn]) -> Self:
        """The end, without asking the policy."""
        return cls(next=Stop(reason=reason), turn=len(turns) + 1)

    @property
    def reason(self) -> str:
        """One sentence for people."""
        return self.next.reason or (str(self.decision["reason"]) if self.decision else "")

    def to_plain(self) -> dict[str, Any]:
        """The choice as JSON, for the state and for the stream."""
        if isinstance(self.next, Stop):
            return {"type": "fugu.stop", "turn": self.turn, "reason": self.reason}
        return {
            "type": "fugu.decision",
            "worker": self.next.worker,
            "role": self.next.role,
            "turn": self.turn,
            "reason": self.reason,
            "candidates": self.decision["candidates"] if self.decision else [],
        }


class Chooser:
    """Chooses among the nodes of a graph. It asks nobody, whatever the workers' ``api``.

    Args:
        workers: see ``Workers``.
        max_turns: turns that each message of the user may take.
        roles: who may think, work and verify; everybody works where not given.
        policy: takes the place of the default, which is one worker, or the roles in order.
        options: for every decision.

    Raises:
        ConfigError: where workers, roles or ``max_turns`` are wrong.
    """

    def __init__(
        self,
        workers: Workers,
        *,
        max_turns: int,
        roles: Roles | None,
        policy: TurnPolicy | None,
        options: RouteOptions,
    ) -> None:
        if not isinstance(max_turns, int) or max_turns < 1:
            raise ConfigError(f"max_turns: expected a number from 1, got {max_turns!r}")
        self.fugu = Fugu(team_pool(workers), store=False)
        self.names = tuple(worker.name for worker in self.fugu.pool)
        self.roles = read_roles(self.names, roles)
        self.max_turns = max_turns
        self._policy = policy or (in_order if roles else one_worker)
        self._options = options

    def choose(
        self,
        history: History,
        turns: Sequence[Turn],
        *,
        since: Literal["tool", "other"] | None,
        left: int,
    ) -> Choice:
        """The next turn of a request.

        Raises:
            InputError: where nobody may be asked.
            PolicyError: where the policy chose nothing usable.
        """
        messages = tuple(for_routing(history.asked))
        decided: list[Decision] = []

        @cache
        def decide() -> Decision:
            decided.append(self.fugu.route(messages, **self._options))
            return decided[0]

        table = Table(
            messages=messages,
            roles=self.roles,
            decide=decide,
            turns=tuple(turns),
            since=since,
            left=left,
        )
        chosen = next_turn(self._policy, table)
        decision = plain_decision(decided[0]) if decided else None
        return Choice(next=chosen, turn=table.number, decision=decision)


def read_key(state: Any, key: str) -> Any:
    """A value of a graph's state, which is a dict, a dataclass or a pydantic model."""
    return state.get(key) if isinstance(state, Mapping) else getattr(state, key, None)


def emit(event: Mapping[str, Any]) -> None:
    """Write a custom stream event; outside of a graph there is nobody to read it."""
    from langgraph.config import get_stream_writer

    try:
        write = get_stream_writer()
    except RuntimeError:
        return
    write(dict(event))
