"""What a client asks at its start, answered before the MCP SDK is there.

Importing the SDK takes about a second, and coding assistants wait for every server's tools before their
first turn, or go without them. The handshake and the lists are plain data, so they are answered at once; the
SDK is loaded at the first message that is none of these, is told of the handshake, and serves from there on.
Anything unusual, an unknown protocol version for instance, is left to it.

That these answers are those of the SDK is checked by a test, on each of its majors.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, BinaryIO

from mcp_server.tools import CAPABILITIES, INSTRUCTIONS, about_server, listing

__all__ = ["answer_early"]

HANDSHAKES = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
"""Protocol versions that begin with ``initialize``; both majors speak them."""

MODERN = "2026-07-28"
"""The version whose every request says it. SDK 2 speaks it."""

_VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
_CAPABILITIES_KEY = "io.modelcontextprotocol/clientCapabilities"
_SERVER_KEY = "io.modelcontextprotocol/serverInfo"
_LISTS = ("tools/list", "prompts/list", "resources/list", "resources/templates/list")


def answer_early(
    wire: BinaryIO, write: Callable[[bytes], object], *, sdk_major: int
) -> list[bytes] | None:
    """Answer what can be answered, up to the first message that the SDK is needed for.

    Args:
        wire: where the client writes, a message a line.
        write: takes an answer, with its line end.
        sdk_major: the SDK that will take over.

    Returns:
        The lines that the SDK has to read before the rest of ``wire``, or ``None`` where the client left.
        Of these, ``initialize`` has been answered.
    """
    session = _Session(sdk_major)
    for line in iter(wire.readline, b""):
        answer = session.answer(line)
        if answer is None:
            return [*session.told, line]
        if answer:
            write(json.dumps(answer, separators=(",", ":")).encode() + b"\n")
    return None


class _Session:
    """One client from its first message on.

    Attributes:
        told: the lines of the handshake.
    """

    def __init__(self, sdk_major: int) -> None:
        self.told: list[bytes] = []
        self._sdk_major = sdk_major
        self._version: str | None = None

    def answer(self, line: bytes) -> dict[str, Any] | None:
        """The answer; an empty one where none is due; ``None`` where the SDK has to answer."""
        try:
            message = json.loads(line)
        except ValueError:
            return None
        if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
            return None
        method, params = message.get("method"), message.get("params") or {}
        if not isinstance(method, str) or not isinstance(params, dict):
            return None
        if "id" not in message:
            return self._notified(method, line)
        result = self._result(method, params)
        if result is None or not isinstance(message["id"], str | int):
            return None
        if method == "initialize":
            self.told = [line]
        return {"jsonrpc": "2.0", "id": message["id"], "result": result}

    def _notified(self, method: str, line: bytes) -> dict[str, Any] | None:
        if method != "notifications/initialized" or len(self.told) != 1:
            return None
        self.told.append(line)
        return {}

    def _result(self, method: str, params: dict[str, Any]) -> dict[str, Any] | None:
        meta = params.get("_meta")
        if isinstance(meta, dict) and _VERSION_KEY in meta:
            return self._modern(method, params, meta)
        if method == "initialize":
            return self._initialize(params)
        if self._version is None:
            return None
        if method == "ping":
            return {}
        return listing(method) if method in _LISTS and "cursor" not in params else None

    def _initialize(self, params: dict[str, Any]) -> dict[str, Any] | None:
        version, client = params.get("protocolVersion"), params.get("clientInfo")
        usual = version in HANDSHAKES and self._version is None
        if not usual or not isinstance(client, dict) or "capabilities" not in params:
            return None
        self._version = version
        extra: dict[str, Any] = {"experimental": {}} if self._sdk_major < 2 else {}
        return {
            "protocolVersion": version,
            "capabilities": extra | CAPABILITIES,
            "serverInfo": about_server(),
            "instructions": INSTRUCTIONS,
        }

    def _modern(
        self, method: str, params: dict[str, Any], meta: dict[str, Any]
    ) -> dict[str, Any] | None:
        """Nothing is remembered between requests of this version, so the SDK need not be told."""
        if self._sdk_major < 2 or self._version is not None or "cursor" in params:
            return None
        if meta[_VERSION_KEY] != MODERN or not isinstance(meta.get(_CAPABILITIES_KEY), dict):
            return None
        common = {
            "_meta": {_SERVER_KEY: about_server()},
            "cacheScope": "private",
            "resultType": "complete",
            "ttlMs": 0,
        }
        if method in _LISTS:
            return common | listing(method)
        if method != "server/discover":
            return None
        return common | {
            "supportedVersions": [MODERN],
            "capabilities": CAPABILITIES,
            "instructions": INSTRUCTIONS,
        }
