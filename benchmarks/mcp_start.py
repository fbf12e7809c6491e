"""From starting an MCP server to having its tools: `fugu mcp` beside a server of the SDK's own, in one run.

    python benchmarks/mcp_start.py --rounds 15

The peer is the smallest server that the SDK's decorators make: one tool that returns text, and nothing else imported.
Both are started in turn, so that a machine that changes its speed changes it for both.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version

PEER = """
try:
    from mcp.server import MCPServer as Server
except ImportError:
    from mcp.server.fastmcp import FastMCP as Server
server = Server("peer")

@server.tool()
def answer(task: str) -> str:
    return task

server.run()
"""

MESSAGES = (
    {
        "jsonrpc": "2.0",
        "id": 0,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "benchmark", "version": "1"},
        },
    },
    {"jsonrpc": "2.0", "method": "notifications/initialized"},
    {"jsonrpc": "2.0", "id": 1, "method": "tools/list"},
)


def seconds_to_tools(command: Sequence[str]) -> float:
    """Start a server, shake hands, and wait for its list of tools."""
    began = time.perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        for message in MESSAGES:
            server.stdin.write(json.dumps(message).encode() + b"\n")
            server.stdin.flush()
            if "id" in message:
                while json.loads(server.stdout.readline()).get("id") != message["id"]:
                    pass
        took = time.perf_counter() - began
        server.stdin.close()
        server.wait(30)
    return took


def main() -> None:
    """Measure and print medians, spread and ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    ours = [sys.executable, "-c", "from fugu_adapters.cli import main; main()", "mcp"]
    peer = [sys.executable, "-c", PEER]
    for command in (ours, peer):
        seconds_to_tools(command)  # once uncounted, for the disk's cache
    pairs = [(seconds_to_tools(ours), seconds_to_tools(peer)) for _ in range(rounds)]
    print(f"seconds from start to tools/list, mcp {version('mcp')}, {rounds} rounds in turn")
    for name, times in zip(("fugu mcp", "SDK server"), zip(*pairs, strict=True), strict=True):
        print(
            f"  {name:<11} median {statistics.median(times):.2f}  "
            f"min {min(times):.2f}  max {max(times):.2f}"
        )
    ratio = statistics.median(theirs / mine for mine, theirs in pairs)
    print(f"  the SDK's takes {ratio:.1f} times as long (median of pairs)")


if __name__ == "__main__":
    main()
