"""Test doubles for code that uses this package: scripted workers, and endpoints that misbehave."""

from __future__ import annotations

from fugu_adapters.testing.acts import (
    Act,
    anthropic_reply,
    anthropic_stream,
    chat_reply,
    chat_stream,
    error_reply,
    hang,
    raw,
    reset,
    sse_reply,
)
from fugu_adapters.testing.fault_server import FaultServer, SeenRequest
from fugu_adapters.testing.scripted import ManualClock, ScriptedWorker, Step

__all__ = [
    "Act",
    "FaultServer",
    "ManualClock",
    "ScriptedWorker",
    "SeenRequest",
    "Step",
    "anthropic_reply",
    "anthropic_stream",
    "chat_reply",
    "chat_stream",
    "error_reply",
    "hang",
    "raw",
    "reset",
    "sse_reply",
]
