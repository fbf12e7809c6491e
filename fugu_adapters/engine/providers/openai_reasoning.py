"""Reasoning in Chat Completions, where each host has its own fields for it. No I/O.

* DeepSeek, Moonshot, vLLM and others: ``reasoning_content``. The hosts of the first two answer 400 where a message
  comes back without it, in every later turn. Where another model made the calls there is none; what others report
  to be accepted then is an empty text by DeepSeek, and a space by Moonshot, which refuses an empty one.
* OpenRouter, Groq, Ollama: ``reasoning``; OpenRouter's ``reasoning_details`` hold signatures too.
* Google: ``extra_content`` on a tool call, with a signature. Gemini 3 answers 400 where one is missing since the
  user's last message; for calls that another model made, Google documents a text that stands in for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fugu_adapters.config import Worker
from fugu_adapters.engine.providers.native import EXTENSION
from fugu_adapters.engine.providers.sealed import is_sealed, opened
from fugu_adapters.engine.providers.wire import to_json
from fugu_adapters.messages import REASONING_DETAILS
from fugu_adapters.types import Message, Native

__all__ = ["Thought", "sent_messages"]

_TEXTS = ("reasoning_content", "reasoning")
_FIELDS = (*_TEXTS, REASONING_DETAILS)
# What replies have and strict hosts refuse in requests.
_REPLY_ONLY = frozenset({*_FIELDS, "annotations", "refusal", "audio", EXTENSION})
# Hosts that want reasoning in every later turn, and what stands for it where there is none.
_MISSING = {"deepseek": "", "moonshotai": " "}
_SIGNED = "extra_content"
_UNSIGNED = {"google": {"thought_signature": "skip_thought_signature_validator"}}


class Thought:
    """What one reply says of its reasoning, put together from its pieces."""

    def __init__(self) -> None:
        self._texts: dict[str, list[str]] = {}
        self._details: dict[tuple[Any, Any], dict[str, Any]] = {}
        self._readable: list[str] = []

    def add(self, piece: Mapping[str, Any]) -> str:
        """Take a message, or a piece of one; what is new in it to read."""
        found = {name: piece[name] for name in _TEXTS if isinstance(piece.get(name), str) and piece[name]}  # fmt: skip
        for name, text in found.items():
            self._texts.setdefault(name, []).append(text)
        details = piece.get(REASONING_DETAILS)
        for number, detail in enumerate(details if isinstance(details, list) else ()):
            if isinstance(detail, dict):
                self._merge(number, detail)
        readable = next(iter(found.values()), "")  # some hosts send the same under both names
        self._readable.append(readable)
        return readable

    def _merge(self, number: int, piece: dict[str, Any]) -> None:
        """Pieces of one detail: texts are appended, the rest is said once."""
        whole = self._details.setdefault((piece.get("type"), piece.get("index", number)), {})
        for name, value in piece.items():
            if name in ("text", "summary", "data") and isinstance(value, str):
                whole[name] = whole.get(name, "") + value
            elif value is not None:
                whole[name] = value

    @property
    def waits(self) -> bool:
        """Whether there is something to give back that was not taken."""
        return bool(self._texts or self._details)

    @property
    def text(self) -> str:
        """All that can be read."""
        return "".join(self._readable)

    def take(self) -> list[str]:
        """What is to be given back, as JSON; once."""
        fields: dict[str, Any] = {name: "".join(texts) for name, texts in self._texts.items()}
        if self._details:
            fields[REASONING_DETAILS] = list(self._details.values())
        self._texts, self._details = {}, {}
        return [to_json(fields).decode()] if fields else []

    @staticmethod
    def signature(call_id: str, extra: Any) -> list[str]:
        """What a tool call carries beside its function, to be given back with it."""
        if not isinstance(extra, Mapping) or not extra:
            return []
        return [to_json({"id": call_id, _SIGNED: extra}).decode()]


def sent_messages(
    messages: Sequence[Message], native: Native | None, worker: Worker
) -> list[dict[str, Any]]:
    """Messages as the worker takes them: no unknown role, its own reasoning, and nobody else's.

    Reasoning in the clear has no mark of its worker. It is sent back within a round of tool calls, where the same
    worker goes on, and to hosts that want it always.
    """
    goes_on = native is not None and native.continues == worker.name
    asked = max((i for i, m in enumerate(messages) if m["role"] == "user"), default=-1)
    sent: list[dict[str, Any]] = []
    for index, message in enumerate(messages):
        each = dict(message)
        if each["role"] == "developer" and worker.provider != "openai":
            each["role"] = "system"
        if each["role"] == "assistant":
            keeps = worker.provider in _MISSING or (goes_on and index > asked)
            each = _assistant(each, worker, keeps=keeps, in_round=index > asked)
        sent.append(each)
    return sent


def _assistant(
    message: dict[str, Any], worker: Worker, *, keeps: bool, in_round: bool
) -> dict[str, Any]:
    ours = opened(message, worker)
    kept = {name: message[name] for name in _FIELDS if message.get(name)} if keeps else {}
    details = kept.pop(REASONING_DETAILS, None)
    theirs = [each for each in details if not _is_ours(each)] if isinstance(details, list) else []
    kept |= {REASONING_DETAILS: theirs} if theirs else {}
    each = {name: value for name, value in message.items() if name not in _REPLY_ONLY}
    calls = message.get("tool_calls")
    said = message.get("content")
    each["content"] = said or message.get("refusal") or (None if calls else said)
    if calls or worker.provider in _MISSING:
        kept |= _joined(ours)
        if worker.provider in _MISSING and worker.reasoning is not False:
            kept = {_TEXTS[0]: _MISSING[worker.provider], **kept}
    if not calls:
        return each | kept
    signed = {thought["id"]: thought[_SIGNED] for thought in ours if isinstance(thought.get("id"), str) and _SIGNED in thought}  # fmt: skip
    each["tool_calls"] = [_call(call, signed, worker) for call in calls]
    if worker.provider == "google" and in_round and _SIGNED not in each["tool_calls"][0]:
        each["tool_calls"][0] |= {_SIGNED: _UNSIGNED}
    return each | kept


def _joined(thoughts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The fields of what was sealed one after the other in one reply."""
    joined: dict[str, Any] = {}
    for thought in thoughts:
        for name in _FIELDS:
            value: Any = thought.get(name)  # text, or a list of details
            before: Any = joined.get(name)
            if value:
                joined[name] = before + value if type(before) is type(value) else value
    return joined


def _is_ours(detail: Any) -> bool:
    return isinstance(detail, Mapping) and is_sealed(detail.get("data"))


def _call(call: Mapping[str, Any], signed: Mapping[str, Any], worker: Worker) -> dict[str, Any]:
    """The call with its own signature: the one that the client kept, or the sealed one."""
    plain = {name: value for name, value in call.items() if name != _SIGNED}
    extra = signed.get(call["id"]) or (call.get(_SIGNED) if worker.provider == "google" else None)
    return plain | ({_SIGNED: extra} if extra else {})
