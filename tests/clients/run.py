"""Claude Code, Codex and opencode against our MCP server, with no network: `make test-clients`.

Each client is told of the server by ``fugu mcp install``, is given a scripted model on loopback, and has to list our tools, call
``orchestrate`` and answer with what the pool of local models said; then once more with a worker that takes 90 seconds. About
1.1 GB of clients are installed below ``.venv-conformance`` at the first run. They are other people's programs, under their own
licences; nothing of them is shipped.

    python tests/clients/run.py [claude] [codex] [opencode] [--slow SECONDS]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
VENV = Path(sys.prefix)
HOME = VENV / "clients"
ISOLATED = "FUGU_CLIENTS_ISOLATED"
QUESTION = "What is 4711 times 1213? Answer with the number only."
ANSWERS = {"fast": "5714443", "slow": "patience is rewarded"}


def install() -> None:
    """The pinned clients, unless they are there; their own install steps fetch nothing more."""
    HOME.mkdir(exist_ok=True)
    lock = HERE / "package-lock.json"
    done = HOME / "installed-lock.json"
    if done.exists() and done.read_bytes() == lock.read_bytes():
        return
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, HOME / name)
    # Not `npm ci`: it refuses a lock without every platform's opencode, of which not all are to be had everywhere.
    with_node(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund"], HOME)
    for package, script in (
        ("@anthropic-ai/claude-code", "install.cjs"),
        ("opencode-ai", "postinstall.mjs"),
    ):
        with_node(["node", script], HOME / "node_modules" / package)
    shutil.copy(lock, done)


def with_node(command: Sequence[str], folder: Path) -> None:
    """Run a program of Node's with the Node of this environment."""
    path = os.pathsep.join([str(VENV / "bin"), os.environ["PATH"]])
    subprocess.run(
        [str(VENV / "bin" / command[0]), *command[1:]],
        cwd=folder,
        env=os.environ | {"PATH": path},
        check=True,
        timeout=600,
        stdout=subprocess.DEVNULL,
    )


def isolate() -> None:
    """Start this program again in a network of its own that has loopback and nothing else."""
    ip, unshare = shutil.which("ip"), shutil.which("unshare")
    if os.environ.get(ISOLATED) and ip:
        subprocess.run([ip, "link", "set", "lo", "up"], check=True)
        return
    alone = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--net"]
    if unshare and ip and subprocess.run([*alone, "true"], capture_output=True).returncode == 0:
        os.environ[ISOLATED] = "1"
        os.execvp(alone[0], [*alone, sys.executable, *sys.argv])  # noqa: S606  no shell is wanted
    print(
        "--  no network namespace to be had here: the clients could reach the network", flush=True
    )


@contextmanager
def endpoint(log: Path, slow_s: float) -> Iterator[str]:
    """The scripted model; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = [
        sys.executable,
        str(HERE / "model_endpoint.py"),
        str(port),
        str(log),
        QUESTION,
        str(slow_s),
    ]
    process = subprocess.Popen(script)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def pool(folder: Path, url: str, kind: str) -> Path:
    """A pool of the local models, or of one worker that takes its time."""
    path = folder / f"{kind}.toml"
    if kind == "slow":
        path.write_text(f'[[worker]]\nname = "slow"\nmodel = "slow"\nbase_url = "{url}/slow/v1"\n')
    else:
        path.write_text(
            '[[worker]]\nname = "qwen"\napi = "embedded"\nmodel = "qwen2.5-coder-0.5b"\nmode = "python"\n'
        )
    return path


def environment(client: str, home: Path, url: str) -> dict[str, str]:
    """What the client needs and nothing else."""
    env = {
        "HOME": str(home),
        "PATH": os.pathsep.join([str(VENV / "bin"), "/usr/local/bin", "/usr/bin", "/bin"]),
        "TERM": "dumb",
    }
    if client == "claude":
        env |= {
            "ANTHROPIC_BASE_URL": url,
            "ANTHROPIC_AUTH_TOKEN": "dummy",
            "ANTHROPIC_MODEL": "scripted",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "ENABLE_TOOL_SEARCH": "false",
        }
    return env | {"SCRIPTED_KEY": "dummy"}


def configure(client: str, home: Path, url: str) -> None:
    """The client's own settings, before the server is added to them; and the local models' weights."""
    weights = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fugu-adapters"
    (home / ".cache").mkdir()
    (home / ".cache" / "fugu-adapters").symlink_to(weights)
    if client == "codex":
        file = home / ".codex" / "config.toml"
        file.parent.mkdir(parents=True)
        file.write_text(
            'model = "scripted"\nmodel_provider = "scripted"\n\n[model_providers.scripted]\nname = "scripted"\n'
            f'base_url = "{url}/v1"\nenv_key = "SCRIPTED_KEY"\nwire_api = "responses"\n'
        )
    if client == "opencode":
        file = home / ".config" / "opencode" / "opencode.json"
        file.parent.mkdir(parents=True)
        provider = {
            "npm": "@ai-sdk/openai-compatible",
            "options": {"baseURL": f"{url}/v1", "apiKey": "dummy"},
            "models": {"scripted": {"name": "scripted"}},
        }
        settings = {"provider": {"scripted": provider}, "model": "scripted/scripted"}
        file.write_text(json.dumps(settings))


def command(client: str) -> list[str]:
    """How the client is asked one thing without a screen."""
    program = str(HOME / "node_modules" / ".bin" / client)
    ask = "Use orchestrate."
    return {
        "claude": [program, "-p", ask, "--allowedTools", "mcp__fugu__orchestrate"],
        "codex": [program, "exec", "--skip-git-repo-check", ask],
        "opencode": [program, "run", ask],
    }[client]


def drive(client: str, kind: str, slow_s: float) -> None:
    """One client, one pool: install, ask, and look at what came.

    Raises:
        SystemExit: where something did not happen, with everything that the client said.
    """
    with tempfile.TemporaryDirectory(prefix="fugu-clients-") as made:
        home = Path(made)
        log = home / "requests.jsonl"
        with endpoint(log, slow_s) as url:
            env = environment(client, home, url)
            configure(client, home, url)
            fugu = [str(VENV / "bin" / "fugu"), "mcp", "install", client, "--yes"]
            setup = [*fugu, "--config", str(pool(home, url, kind))]
            subprocess.run(setup, env=env, cwd=home, check=True, capture_output=True, timeout=60)
            began = time.monotonic()
            ran = subprocess.run(
                command(client), env=env, cwd=home, capture_output=True, text=True,
                stdin=subprocess.DEVNULL, timeout=slow_s + 180, check=False,
            )  # fmt: skip
            took = time.monotonic() - began
        requests: list[dict[str, Any]] = [json.loads(line) for line in log.read_text().splitlines()]
    missed = _missed(ran, requests, ANSWERS[kind])
    asked = [each for each in requests if each["path"].startswith("/slow/")]
    if not missed and kind == "slow" and (len(asked) != 1 or took < slow_s):
        missed = (
            f"the slow worker was asked {len(asked)} times in {took:.0f} s"  # a time-out, and again
        )
    if missed:
        said = (
            f"{ran.stdout[-3000:]}\n{ran.stderr[-3000:]}\n{json.dumps(requests, indent=1)[-3000:]}"
        )
        raise SystemExit(f"{client}, {kind}: {missed} (exit {ran.returncode})\n{said}")
    print(
        f"ok  {client}, {kind}: tools listed, orchestrate called, answered, in {took:.0f} s",
        flush=True,
    )


def _missed(
    ran: subprocess.CompletedProcess[str], requests: Sequence[dict[str, Any]], answer: str
) -> str:
    offered = {name for each in requests for name in each["tools"]}
    wanted = {
        name for name in ("orchestrate", "route", "result") if not any(name in o for o in offered)
    }
    results = [result for each in requests for result in each["results"]]
    if wanted:
        return f"the client did not list {', '.join(sorted(wanted))}"
    if not any(answer in result for result in results):
        return f"no tool result holds {answer!r}"
    return "" if answer in ran.stdout else f"the client's answer does not hold {answer!r}"


def main() -> None:
    """Drive the clients that are named, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clients", nargs="*", default=["claude", "codex", "opencode"])
    parser.add_argument(
        "--slow", type=float, default=90.0, help="seconds that the slow worker takes"
    )
    arguments = parser.parse_args()
    if not os.environ.get(ISOLATED):
        install()
    isolate()
    for client in arguments.clients:
        for kind in ("fast", "slow"):
            drive(client, kind, arguments.slow)


if __name__ == "__main__":
    main()
