"""Passing a request on as its client wrote it, to a worker of the same dialect. No I/O.

The worker's model, its effort and the bounds of the run are put in, and what belongs to another worker is taken
out: reasoning that a provider has signed or encrypted is of use to the model that made it alone, and others
refuse it. So it goes out to the client with a mark of its worker, and comes back with it. Nothing else of a
reply is changed, not even its spaces.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic_core import from_json

from fugu_adapters.config import Worker
from fugu_adapters.types import Dialect, Native, Request

__all__ = ["EXTENSION", "marked", "native_of", "owner_of", "unmarked"]

EXTENSION = "fugu"
"""Our own field of requests and replies, in every dialect."""

_MARK = re.compile(r"fugu1\.([0-9a-f]{12})\.")
_SEALED = {"thinking": "signature", "signature_delta": "signature", "redacted_thinking": "data"}
# A quotation mark inside of a JSON text has a backslash before it, and a call's arguments are such a text here.
_ENCRYPTED = re.compile(rb'("encrypted_content"\s*:\s*")(?!")')


def native_of(request: Request, dialect: Dialect) -> Native | None:
    """The request as it came in, where it came in this dialect and is still the same request."""
    native = request.native
    if native is None or native.dialect != dialect or native.messages is not request.messages:
        return None
    return native


def owner_of(worker: Worker) -> str:
    """Whose reasoning it is: a model at an endpoint, whatever its name in the pool."""
    owner = f"{worker.endpoint} {worker.model}".encode()
    return hashlib.blake2b(owner, digest_size=6).hexdigest()


def marked(raw: bytes, data: bytes | str, worker: Worker, dialect: Dialect) -> bytes:
    """A reply, or an event of one, with what the worker's provider has sealed marked as this worker's.

    Args:
        raw: its bytes.
        data: the JSON in it.
        worker: who sent it.
        dialect: its dialect.
    """
    mark = f"fugu1.{owner_of(worker)}.".encode()
    if dialect == "responses":
        return _ENCRYPTED.sub(rb"\1" + mark, raw)
    if dialect == "messages" and (b'"signature"' in raw or b'"redacted_thinking"' in raw):
        for sealed in _sealed_in(from_json(data)):
            raw = raw.replace(b'"' + sealed + b'"', b'"' + mark + sealed + b'"', 1)
    return raw


def _sealed_in(message: Mapping[str, Any]) -> Iterator[bytes]:
    """What is sealed in a message or an event. A tool's input may have fields of these names too."""
    blocks = [*(message.get("content") or ()), message.get("content_block"), message.get("delta")]
    for block in blocks:
        field = _SEALED.get(block.get("type", "")) if isinstance(block, Mapping) else None
        sealed = block.get(field) if field else None
        if isinstance(sealed, str) and sealed:
            yield sealed.encode()


def unmarked(sealed: Any, worker: Worker) -> str | None:
    """What the worker's provider gave; ``None`` where it is another's, or is not marked."""
    if not isinstance(sealed, str):
        return None
    found = _MARK.match(sealed)
    return sealed[found.end() :] if found and found[1] == owner_of(worker) else None
