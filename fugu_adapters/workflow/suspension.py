"""A workflow that waits for the host's tools: which step asked, what is done, and ids that find it again.

The calls of a step get ids of ours, which name the waiting workflow and are signed with a key that only its record
holds. The result of a tool comes back under that id, perhaps to another process, and goes to the step that asked.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fugu_adapters.errors import InputError, ResumeMismatch
from fugu_adapters.messages import REASONING_DETAILS, carried
from fugu_adapters.types import Message, Reply
from fugu_adapters.workflow.plan import Workflow

__all__ = ["Suspension", "Waiting", "waiting_token"]

_ID = re.compile(
    r"fw_([0-9a-f]{16})_(\d)([0-9a-f]{2})_([0-9a-f]{12})"
)  # 36 characters; some APIs take 40
_FORMAT = 1
_MOST_CALLS = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """A workflow that waits.

    Attributes:
        workflow: the plan.
        messages: the conversation that it was begun for.
        outputs: by finished step, who wrote what.
        step: the step that asked for tools.
        worker: who carries it out.
        transcript: what that worker said and was told after its request: its calls, and earlier results.
    """

    workflow: Workflow
    messages: tuple[Message, ...]
    outputs: Mapping[int, tuple[str, str]]
    step: int
    worker: str
    transcript: tuple[Message, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "format": _FORMAT,
            "workflow": self.workflow.to_dict(),
            "messages": list(self.messages),
            "outputs": [[index, *given] for index, given in self.outputs.items()],
            "step": self.step,
            "worker": self.worker,
            "transcript": list(self.transcript),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Waiting:
        """From what ``to_dict`` gave.

        Raises:
            ResumeMismatch: another version wrote it.
        """
        if data.get("format") != _FORMAT:
            raise ResumeMismatch("the waiting workflow was written by another version")
        return cls(
            workflow=Workflow.from_dict(data["workflow"]),
            messages=tuple(data["messages"]),
            outputs={int(index): (worker, text) for index, worker, text in data["outputs"]},
            step=int(data["step"]),
            worker=data["worker"],
            transcript=tuple(data["transcript"]),
        )

    def told(self, reply: Reply) -> Waiting:
        """With what its worker said last, and wants back of its thinking."""
        said: dict[str, Any] = {
            "role": "assistant",
            "content": reply.text or None,
            "tool_calls": [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in reply.tool_calls
            ],
        }
        if reply.sealed:
            said[REASONING_DETAILS] = carried(reply.sealed)
        return replace(self, transcript=(*self.transcript, said))


@dataclass(frozen=True, kw_only=True, slots=True)
class Suspension:
    """What is kept of a waiting workflow.

    Attributes:
        token: finds it again; a part of the ids that the host sees.
        key: signs those ids.
        waiting: the workflow.
    """

    token: str
    key: str
    waiting: Waiting

    @classmethod
    def of(cls, waiting: Waiting) -> Suspension:
        """Under a new token and key."""
        return cls(token=secrets.token_hex(8), key=secrets.token_hex(16), waiting=waiting)

    def signed(self, reply: Reply) -> Reply:
        """The reply, its calls under ids of ours.

        Raises:
            InputError: where there are too many calls.
        """
        if len(reply.tool_calls) > _MOST_CALLS:
            raise InputError(f"a worker asked for {len(reply.tool_calls)} tools at once")
        calls = tuple(
            replace(call, id=self._id(number)) for number, call in enumerate(reply.tool_calls)
        )
        return replace(reply, tool_calls=calls)

    def _id(self, number: int) -> str:
        place = f"{self.waiting.step}{number:02x}"
        said = f"{self.token}.{place}".encode()
        mac = hmac.new(self.key.encode(), said, hashlib.sha256).hexdigest()[:12]
        return f"fw_{self.token}_{place}_{mac}"

    def resumed(self, messages: Sequence[Message]) -> Waiting:
        """With the results of its calls, which are the last messages.

        Raises:
            ResumeMismatch: an id was not made by us.
            InputError: a result is missing, or is there twice.
        """
        asked = self.waiting.transcript[-1]["tool_calls"]
        ids = {self._id(number): call["id"] for number, call in enumerate(asked)}
        found: dict[str, Message] = {}
        for message in _results(messages):
            given = str(message["tool_call_id"])
            if given not in ids:
                raise ResumeMismatch(f"tool result for {given!r:.60}: no such call was made")
            if given in found:
                raise InputError(f"tool result for {given!r}: it is there twice")
            found[given] = {**message, "tool_call_id": ids[given]}
        missing = [given for given in ids if given not in found]
        if missing:
            raise InputError(f"messages: the result of the tool call {missing[0]!r} is missing")
        results = tuple(found[given] for given in ids)
        return replace(self.waiting, transcript=(*self.waiting.transcript, *results))


def waiting_token(messages: Sequence[Message]) -> str | None:
    """The waiting workflow that the last messages are tool results for, if any."""
    tokens = [_ID.fullmatch(str(message["tool_call_id"])) for message in _results(messages)]
    return next((found[1] for found in tokens if found is not None), None)


def _results(messages: Sequence[Message]) -> list[Message]:
    """The tool results at the end of a conversation."""
    results: list[Message] = []
    for message in reversed(messages):
        if message["role"] != "tool":
            break
        results.insert(0, message)
    return results
