"""Between CrewAI's messages, tools and counts and ours, which both follow OpenAI's shape."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fugu_adapters import Result
from fugu_adapters.messages import REASONING_DETAILS, carried

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = [
    "Asked",
    "Thoughts",
    "plain_calls",
    "plain_messages",
    "plain_usage",
    "response_format",
    "session_of",
]

_REMEMBERED = 512  # calls whose reasoning is kept
_KNOWN = ("role", "content", "name", "tool_calls", "tool_call_id")


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """One call of CrewAI's.

    Attributes:
        messages: as CrewAI formats them.
        tools: functions that are offered.
        functions: what carries them out, where CrewAI leaves that to the LLM.
        task: whose call it is, as ``agent``; ``None`` where CrewAI does not say.
        agent: see ``task``.
        form: the model that the answer has to follow.
    """

    messages: list[Any]
    tools: list[Any] | None
    functions: dict[str, Any] | None
    task: Any
    agent: Any
    form: type[BaseModel] | None

    @property
    def whose(self) -> dict[str, Any]:
        """What every event says of the call."""
        return {"from_task": self.task, "from_agent": self.agent}


class Thoughts:
    """What workers want back of the reasoning behind their calls: CrewAI's messages have no place for it.

    It is kept in this process, so that a crew that goes on in another one loses it.
    """

    def __init__(self) -> None:
        # By id and name, the oldest first.
        self._of_call: dict[tuple[str, str], tuple[str, ...]] = {}

    def keep(self, result: Result) -> None:
        """Keep what came with an answer's calls."""
        if not result.sealed:
            return
        for call in result.tool_calls:
            self._of_call.pop((call.id, call.name), None)
            self._of_call[call.id, call.name] = result.sealed
        for oldest in list(self._of_call)[:-_REMEMBERED]:
            del self._of_call[oldest]

    def give_back(self, messages: Iterable[dict[str, Any]]) -> None:
        """Put it into the messages that hold the calls."""
        for message in messages:
            for call in message.get("tool_calls", ()):
                sealed = self._of_call.get((call["id"], call["function"].get("name", "")))
                if sealed:
                    message[REASONING_DETAILS] = carried(sealed)
                    break


def plain_messages(messages: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Copies of messages without what CrewAI notes in them for itself; calls with arguments as text."""
    copies = [{key: each[key] for key in _KNOWN if each.get(key) is not None} for each in messages]
    for message in copies:
        if "tool_calls" in message:
            message["tool_calls"] = [_plain_call(call) for call in message["tool_calls"]]
        message.setdefault("content", None if "tool_calls" in message else "")
    return copies


def _plain_call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = dict(call["function"])
    if not isinstance(function.get("arguments"), str):
        function["arguments"] = json.dumps(function.get("arguments") or {})
    return {"id": call["id"], "type": "function", "function": function}


def plain_calls(result: Result) -> list[dict[str, Any]]:
    """The calls that an answer asks for, as CrewAI's executor takes them."""
    return [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for call in result.tool_calls
    ]


def plain_usage(result: Result) -> dict[str, Any]:
    """Tokens by CrewAI's names, failed calls included, and the dollars; unknown counts are left out."""
    usage = result.usage
    told = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "cached_prompt_tokens": usage.cached_input_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "cost_usd": result.cost_usd,
    }
    return {name: value for name, value in told.items() if value is not None}


def response_format(model: type[BaseModel]) -> dict[str, Any]:
    """What holds a worker to a model's schema."""
    form = {"name": model.__name__, "schema": model.model_json_schema()}
    return {"type": "json_schema", "json_schema": form}


def session_of(agent: Any, task: Any) -> str | None:
    """The conversation of one agent about one task; ``None`` where CrewAI does not say whose call it is."""
    ids = [str(getattr(each, "id", None) or "") for each in (agent, task)]
    return "crewai:" + ":".join(ids) if any(ids) else None
