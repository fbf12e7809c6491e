"""Claude Code, Codex and opencode mend a file and run it, through ``fugu serve``, with no network: `make test-clients`.

Each client is told of the server by ``fugu connect``. Behind the server is a scripted worker, asked once in Chat
Completions, into which everything is translated, and once in the client's own dialect, which is passed on as it is.

    python tests/clients/coding.py [claude] [codex] [opencode]
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from coding_model import RIGHT, THOUGHT, WRONG
from run import HERE, HOME, ISOLATED, VENV, install, isolate

NATIVE = {"claude": "anthropic", "codex": "responses", "opencode": "openai"}
# Where a client of another dialect carries the worker's reasoning.
KEEPS = (("claude", "openai"), ("codex", "openai"))
TASK = "The total in sum.py is wrong: it should add. Mend it, run it, and tell me what it prints."


@contextmanager
def running(command: Sequence[str], port: int, env: dict[str, str], log: Path) -> Iterator[str]:
    """A server until the end of the block; its address."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, env=env, stdout=output, stderr=output)
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def command(client: str) -> list[str]:
    """How the client is given a task without a screen."""
    program = str(HOME / "node_modules" / ".bin" / client)
    return {
        "claude": [program, "-p", TASK, "--allowedTools", "Read,Edit,Bash"],
        "codex": [program, "--profile", "fugu", "exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", TASK],
        "opencode": [program, "run", "-m", "fugu/fugu", TASK],
    }[client]  # fmt: skip


def drive(client: str, api: str) -> None:
    """One client, one way to the worker.

    Raises:
        SystemExit: where something did not happen, with everything that was said.
    """
    with tempfile.TemporaryDirectory(prefix="fugu-coding-") as made, ExitStack() as stack:
        home = Path(made)
        project = home / "project"
        project.mkdir()
        file = project / "sum.py"
        file.write_text(f"{WRONG}\nprint(f'the total is {{total}}')\n")
        asked, said = home / "asked.jsonl", home / "servers.log"
        env = {
            "HOME": str(home),
            "PATH": os.pathsep.join([str(VENV / "bin"), "/usr/local/bin", "/usr/bin", "/bin"]),
            "TERM": "dumb",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        }
        port = free_port()
        script = [sys.executable, str(HERE / "coding_model.py"), str(port), str(asked), str(file)]
        upstream = stack.enter_context(running(script, port, env, said))
        pool = home / "fugu.toml"
        pool.write_text(
            f'[[worker]]\nname = "script"\napi = "{api}"\nmodel = "fugu"\nbase_url = "{upstream}/v1"\n'
            "tools = true\nimages = true\nprice = { input = 1.0, output = 2.0 }\n"
        )
        port, fugu = free_port(), str(VENV / "bin" / "fugu")
        serving = [fugu, "serve", "--config", str(pool), "--port", str(port)]
        url = stack.enter_context(running(serving, port, env, said))
        setup = [fugu, "connect", client, "--url", url, "--yes"]
        subprocess.run(setup, env=env, cwd=home, check=True, capture_output=True, timeout=60)
        began = time.monotonic()
        ran = subprocess.run(
            command(client), env=env, cwd=project, capture_output=True, text=True,
            stdin=subprocess.DEVNULL, timeout=180, check=False,
        )  # fmt: skip
        took = time.monotonic() - began
        missed = ""
        if RIGHT not in file.read_text():
            missed = "the file was not mended"
        elif "the total is 42" not in ran.stdout:
            missed = "the answer does not say what the program printed"
        listed = subprocess.run(
            [fugu, "trace", "--list", "20", "--json"],
            env=env, cwd=home, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        if not missed and '"script"' not in listed.stdout:
            missed = f"the runs are not in the store: {listed.stderr}"
        requests = [json.loads(line) for line in asked.read_text().splitlines()] if asked.exists() else []  # fmt: skip
        if not missed and (client, api) in KEEPS:
            thoughts = [thought for request in requests for thought in request["thoughts"]]
            if not thoughts or set(thoughts) != {THOUGHT}:
                missed = f"the worker has not all of its reasoning back: {thoughts}"
        if missed:
            raise SystemExit(
                f"{client} over {api}: {missed} (exit {ran.returncode})\n{ran.stdout[-3000:]}\n{ran.stderr[-3000:]}\n"
                f"{json.dumps(requests, indent=1)[-4000:]}\n{said.read_text()[-3000:]}"
            )
    print(f"ok  {client} over {api}: edited, ran and answered, in {took:.0f} s", flush=True)


def main() -> None:
    """Drive the clients that are named, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clients", nargs="*", default=list(NATIVE))
    arguments = parser.parse_args()
    if not os.environ.get(ISOLATED):
        install()
    isolate()
    for client in arguments.clients:
        for api in dict.fromkeys(("openai", NATIVE[client], "anthropic")):
            drive(client, api)


if __name__ == "__main__":
    main()
