"""Conversations that every provider takes: each tool call has its result right behind it. Pure.

Agents are interrupted between a call and its result, and compact their histories. What is left then is refused by
strict providers, and one of them may be the next worker.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["whole_history"]

_NO_RESULT = "(no result: the call was interrupted)"


def whole_history(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages with a result for every call, in the calls' order, and no result without a call.

    A result whose call is gone becomes a user's message, because what it says may still be needed.
    """
    whole: list[dict[str, Any]] = []
    results: dict[str, dict[str, Any]] = {}
    calls = {call["id"] for message in messages for call in message.get("tool_calls") or ()}
    for message in messages:
        if message.get("role") == "tool" and message.get("tool_call_id") in calls:
            results.setdefault(message["tool_call_id"], message)
    for message in messages:
        if message.get("role") == "tool":
            if message.get("tool_call_id") not in calls:
                whole.append({"role": "user", "content": message.get("content") or ""})
            continue
        whole.append(message)
        for call in message.get("tool_calls") or ():
            missing = {"role": "tool", "tool_call_id": call["id"], "content": _NO_RESULT}
            whole.append(results.get(call["id"], missing))
    return whole
