"""What a model wants back of its own reasoning, on its way through clients of any dialect. No I/O.

Providers answer worse, or not at all, where a round of tool calls comes back without the reasoning behind it:
encrypted items, signed blocks, signatures on calls, a field in the clear. Between a client and a worker of one
dialect it travels as it came (see ``native``). Otherwise the codec writes it as a JSON object, which becomes a text
with its worker's mark here. Clients keep that text where their dialect has a place for such things, and our messages
in ``reasoning_details`` of the assistant's, which is OpenRouter's convention.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import from_json

from fugu_adapters.config import Worker
from fugu_adapters.engine.providers.native import owner_of
from fugu_adapters.messages import REASONING_DETAILS
from fugu_adapters.types import Message

__all__ = ["is_sealed", "opened", "seal"]

_SEALED = re.compile(r"fugu2\.([0-9a-f]{12})\.([A-Za-z0-9_-]+)")


def seal(thought: str, worker: Worker) -> str:
    """One thing to give back, as clients keep it.

    Args:
        thought: a JSON object that the worker's codec understands.
        worker: whose it is.
    """
    kept = base64.urlsafe_b64encode(thought.encode("utf-8", "replace")).rstrip(b"=").decode()
    return f"fugu2.{owner_of(worker)}.{kept}"


def is_sealed(text: Any) -> bool:
    """Whether ``seal`` made it."""
    return isinstance(text, str) and text.startswith("fugu2.")


def opened(message: Message, worker: Worker) -> list[dict[str, Any]]:
    """What the message holds for this worker, in order; what is another's, or is no JSON object, is left out."""
    details = message.get(REASONING_DETAILS)
    if not isinstance(details, Sequence) or isinstance(details, str):
        return []
    texts = [each.get("data") for each in details if isinstance(each, Mapping)]
    owner, thoughts = owner_of(worker), []
    for text in texts:
        found = _SEALED.fullmatch(text) if isinstance(text, str) else None
        if found is None or found[1] != owner:
            continue
        try:
            data = base64.urlsafe_b64decode(found[2] + "=" * (-len(found[2]) % 4))
            thought = from_json(data, allow_inf_nan=False)
        except (ValueError, binascii.Error):
            continue  # the client has cut it, or made it up
        if isinstance(thought, dict):
            thoughts.append(thought)
    return thoughts
