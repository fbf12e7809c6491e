"""What a routed graph keeps between its steps, as plain JSON, and how its messages are read."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    ToolMessage,
    convert_to_messages,
)
from langgraph.graph import MessagesState
from langgraph.managed import RemainingSteps

from fugu_adapters.policies.turns import Role, Turn

__all__ = ["TOOLS", "FuguState", "History", "merge_turns", "read_history"]

TOOLS = "tools"
"""In place of a role: a round of the node that runs the workers' tool calls. It is no turn."""


def merge_turns(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    """The reducer of ``fugu``: turns add up while the user's message is the same.

    Nodes of parallel branches may both write it. With the next message of the user it begins anew.
    """
    if not left or left.get("request") != right.get("request"):
        return dict(right)
    return {**left, **right, "turns": [*left.get("turns", ()), *right.get("turns", ())]}


class FuguState(MessagesState):
    """A graph's state with what ``FuguNode`` keeps in it.

    Attributes:
        fugu: ``request`` (id of the user's message), ``turns`` (``node``, ``worker``, ``role``, ``after``
            each), the last ``worker`` and ``role``, the last ``decision`` (``worker``, ``reason``,
            ``candidates``) and ``stop``, the reason for the end or ``None``.
        remaining_steps: set by LangGraph; a routed graph ends before they run out.
    """

    fugu: Annotated[dict[str, Any], merge_turns]
    remaining_steps: RemainingSteps


@dataclass(frozen=True, kw_only=True, slots=True)
class History:
    """A graph's messages, split at the user's last one.

    Attributes:
        asked: the messages up to it, itself included; all where there is none.
        written: the messages after it.
        request: its key; ``""`` where there is none.
        after: key of the last message.
    """

    asked: tuple[BaseMessage, ...]
    written: tuple[BaseMessage, ...]
    request: str
    after: str

    @property
    def open_calls(self) -> bool:
        """Whether the last message asks for tool calls."""
        return bool(self.written) and _calls(self.written[-1])

    def turns(
        self, record: Mapping[str, Any], node: str, workers: Collection[str]
    ) -> tuple[Turn, ...]:
        """The turns that a node has given since the user's last message, each with what was written."""
        told = self._told(record, node, tools=False)
        starts = [self._position(turn["after"]) for turn in told]
        ends = [*starts, len(self.written)][1:]
        return tuple(
            Turn(
                worker=turn["worker"],
                role=turn["role"],
                text=_said(self.written[start:end], turn["worker"], workers),
            )
            for turn, start, end in zip(told, starts, ends, strict=True)
        )

    def since(self, record: Mapping[str, Any], node: str) -> Literal["tool", "other"] | None:
        """What came after the last turn's answer, see ``Table.since``."""
        told = self._told(record, node, tools=False)
        return _since(self.written[self._position(told[-1]["after"]) :]) if told else None

    @property
    def answers(self) -> int:
        """Messages that may be answers, whoever wrote them."""
        return sum(isinstance(m, AIMessage | HumanMessage) and not _calls(m) for m in self.written)

    def signed_turns(self, workers: Mapping[str, tuple[Role, ...]]) -> tuple[Turn, ...]:
        """The turns as far as the messages alone tell: answers that bear a worker's name."""
        spoken = [m for m in self.written if isinstance(m, AIMessage | HumanMessage)]
        signed = [(m.name, str(m.text)) for m in spoken if m.name and not _calls(m)]
        return tuple(
            Turn(worker=name, role=workers[name][0], text=text)
            for name, text in signed
            if name in workers
        )

    def since_signed(self, turns: Sequence[Turn]) -> Literal["tool", "other"] | None:
        """``since`` for turns that were read from the messages."""
        return _since(self.written) if turns else None

    def tool_rounds(self, record: Mapping[str, Any], node: str) -> int:
        """How often the workers' tool calls were led to the node that runs them."""
        return len(self._told(record, node, tools=True))

    def _told(
        self, record: Mapping[str, Any], node: str, *, tools: bool
    ) -> list[Mapping[str, Any]]:
        """What a node has on record for this message of the user: its turns, or rounds of tools."""
        if record.get("request") != self.request:
            return []
        told = [turn for turn in record.get("turns", ()) if turn["node"] == node]
        return [turn for turn in told if (turn["role"] == TOOLS) == tools]

    def _position(self, key: str) -> int:
        """Where in ``written`` the messages after the one with this key begin."""
        offset = len(self.asked)
        places = (n for n, m in enumerate(self.written, 1) if _key(m, offset + n - 1) == key)
        return next(places, 0)


def read_history(messages: Sequence[Any], workers: Collection[str]) -> History:
    """Split a graph's messages at the user's last one.

    A ``HumanMessage`` with a worker's name is that worker's: agents that report to others write such.
    """
    read = convert_to_messages(messages)
    asked = [n for n, m in enumerate(read) if isinstance(m, HumanMessage) and m.name not in workers]
    end = asked[-1] + 1 if asked else len(read)
    return History(
        asked=tuple(read[:end]),
        written=tuple(read[end:]),
        request=_key(read[end - 1], end - 1) if asked else "",
        after=_key(read[-1], len(read) - 1) if read else "",
    )


def _key(message: BaseMessage, place: int) -> str:
    """What a message is found again by: its id, which LangGraph's own reducer always gives it."""
    return message.id or f"#{place}"


def _calls(message: BaseMessage) -> bool:
    return isinstance(message, AIMessage) and bool(message.tool_calls)


def _since(written: Sequence[BaseMessage]) -> Literal["tool", "other"] | None:
    if not written or isinstance(written[-1], AIMessage | HumanMessage):
        return None
    return "tool" if isinstance(written[-1], ToolMessage) else "other"


def _said(written: Sequence[BaseMessage], worker: str, workers: Collection[str]) -> str:
    """The last text of a turn; that of a parallel branch's worker is not its own."""
    spoken = [m for m in written if isinstance(m, AIMessage | HumanMessage) and str(m.text).strip()]
    own = [m for m in spoken if m.name == worker] or [m for m in spoken if m.name not in workers]
    return str(own[-1].text) if own else ""
