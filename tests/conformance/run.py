"""The official MCP inspector and conformance suite against our server: `make conformance`.

Node and npm come as wheels, so nothing but Python and the registries is needed. The first run installs them below
``.venv-conformance``, about 350 MB. Each of our checks prints a line; the exit status is 1 where one failed.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
VENV = Path(sys.prefix)
NODE = VENV / "node"
REVISIONS = ("2025-11-25", "2026-07-28")
SERVER = (sys.executable, str(HERE / "server.py"))
PARTLY = "server-stateless: 21 passed, 4 failed"  # expected to fail as a whole, which would hide the others


def install() -> None:
    """The pinned inspector and suite, unless they are there."""
    NODE.mkdir(exist_ok=True)
    lock = HERE / "package-lock.json"
    done = NODE / "installed-lock.json"
    if done.exists() and done.read_bytes() == lock.read_bytes():
        return
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, NODE / name)
    node("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", timeout=300)
    shutil.copy(lock, done)


def node(program: str, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run a program of Node's, with the Node of this environment."""
    path = os.pathsep.join([str(VENV / "bin"), os.environ["PATH"]])
    command = [str(VENV / "bin" / program), *arguments]
    return subprocess.run(
        command,
        cwd=NODE,
        env=os.environ | {"PATH": path},
        text=True,
        capture_output=True,
        timeout=timeout,
        check=False,
    )


@contextmanager
def served() -> Iterator[str]:
    """The server with its fixtures, over HTTP; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([*SERVER, str(port)], stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.terminate()
        process.wait(20)


def inspected(target: Sequence[str], era: str, *arguments: str) -> Any:
    """What the inspector's command line gets from a server, held to schemas that every client can read."""
    ran = node(
        "npx", "--no-install", "mcp-inspector", "--cli", *target,
        "--protocol-era", era, "--format", "json", *arguments,
    )  # fmt: skip
    if ran.returncode:
        raise SystemExit(f"inspector {' '.join(arguments)}: exit {ran.returncode}\n{ran.stderr}")
    return json.loads(ran.stdout)


def told(what: str) -> None:
    """Say that a check has passed."""
    print(f"ok  {what}", flush=True)


def inspect(target: Sequence[str], label: str) -> None:
    """List, call, read: in both eras."""
    for era in ("legacy", "modern"):
        tools = inspected(target, era, "--method", "tools/list", "--strict")
        names = {tool["name"] for tool in tools.get("result", tools)["tools"]}
        if not {"orchestrate", "route", "result"} <= names:
            raise SystemExit(f"inspector, {label}, {era}: tools {sorted(names)}")
        arguments = json.dumps({"task": "Say hello."})
        call = ("--method", "tools/call", "--tool-name", "orchestrate")
        got = inspected(target, era, *call, "--tool-args-json", arguments)
        if got.get("result", got)["structuredContent"]["text"] != "an answer":
            raise SystemExit(f"inspector, {label}, {era}: orchestrate gave {got}")
        read = ("--method", "resources/read", "--uri", "fugu://pool")
        if "scripted" not in json.dumps(inspected(target, era, *read)):
            raise SystemExit(f"inspector, {label}, {era}: the pool has no worker")
        told(f"inspector, {label}, {era}: tools/list --strict, tools/call, resources/read")


def conform(url: str, revision: str) -> None:
    """What a revision of the specification requires, but for what is listed and explained."""
    expected = HERE / f"expected-{revision}.yml"
    ran = node(
        "npx", "--no-install", "conformance", "server", "--url", url,
        "--requirements", revision, "--expected-failures", str(expected),
    )  # fmt: skip
    total = next((line for line in ran.stdout.splitlines() if line.startswith("Total")), "")
    if ran.returncode:
        raise SystemExit(f"conformance {revision}: exit {ran.returncode}\n{ran.stdout[-4000:]}")
    if revision == "2026-07-28" and PARTLY not in ran.stdout:
        raise SystemExit(f"conformance {revision}: not {PARTLY!r}\n{ran.stdout[-4000:]}")
    told(f"conformance {revision}: {total}; none that {expected.name} does not explain")


def main() -> None:
    """Install, inspect over both transports, and check both revisions."""
    install()
    inspect([*SERVER, "stdio"], "stdio")
    with served() as url:
        inspect([url], "HTTP")
        for revision in REVISIONS:
            conform(url, revision)


if __name__ == "__main__":
    main()
