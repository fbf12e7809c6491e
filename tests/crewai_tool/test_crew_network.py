"""Nobody is talked to but those who were named."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytest.importorskip("crewai")

from fugu_adapters.testing import FaultServer, chat_reply

CHILD = Path(__file__).with_name("network_child.py")
CALL = {
    "id": "c1",
    "type": "function",
    "function": {"name": "orchestrate", "arguments": '{"task": "Name a bird."}'},
}


async def test_a_run_connects_to_its_endpoint_alone() -> None:
    """From import to exit, with the switches that the docs name and nothing else to keep it quiet."""
    async with FaultServer() as server:
        acts = [
            chat_reply("", tool_calls=[CALL], finish_reason="tool_calls"),
            chat_reply("a duck"),
            chat_reply("hello"),
        ]
        url = server.script("w", acts)
        child = await asyncio.create_subprocess_exec(
            sys.executable, str(CHILD), url, stdout=-1, stderr=-1, cwd=CHILD.parents[2]
        )
        out, err = await child.communicate()
        assert child.returncode == 0, err.decode()
        lines = out.decode().splitlines()
        assert "answer hello 20" in lines
        assert len(server.seen("w")) == 3
        where = urlsplit(url)
        contacts = {line for line in lines if line.startswith(("connect", "look-up"))}
        assert contacts <= {f"connect ('127.0.0.1', {where.port})", "look-up 127.0.0.1"}
        assert contacts
