"""``fugu serve`` beside the LiteLLM proxy and a bare proxy of 25 lines: requests a second, added time, memory.

    make bench-gateway                                   # all three, interleaved
    python benchmarks/gateway.py --mock                  # without an upstream: each one's HTTP client is answered in its process
    python benchmarks/gateway.py --memory 100000         # ours alone, over so many requests

All have the same upstream, a process on loopback that answers at once, so that what is measured is what stands
between. With ``--mock`` there is none: LiteLLM's own ``network_mock`` and the like for the others, whole replies only.
One worker process each; the load comes from a process of its own. The rounds are short, and in each a mode is measured
of all servers before the next one, in random order: other guests of the machine then slow all of them alike, and
differences (``over_bare``, ``over_litellm``) are taken within rounds, with 95 % intervals over them. Fugu decides anew
for every request, keeps its runs and counts its metrics, as it does for users; LiteLLM runs with its defaults, without
a database and with its logging turned down.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import math
import os
import platform
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ANSWER = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "mock",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "It is forty-two."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 30, "completion_tokens": 5, "total_tokens": 35},
}  # fmt: skip
CHUNK = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "mock"}
QUESTION = (
    "A farmer has 000000 sheep, and all but 9 run away. How many are left? Explain in one sentence."
)


SELF = str(Path(__file__).resolve())
MOCK = "http://127.0.0.1:9"  # nobody listens there, and nobody is asked

# --- the upstream and the bare proxy --------------------------------------------------------------


class Upstream(asyncio.Protocol):
    """Answers every request at once with the same bytes; streams where the request asks for it."""

    _body = json.dumps(ANSWER).encode()
    _whole = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(_body), _body)  # fmt: skip

    def connection_made(self, transport: Any) -> None:
        """A new connection."""
        self._transport, self._buffer = transport, b""
        pieces = [
            {"choices": [{"index": 0, "delta": {"content": f"word {n} "}}]} for n in range(50)
        ]
        pieces += [{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}, {"choices": [], "usage": ANSWER["usage"]}]  # fmt: skip
        events = [b"data: " + json.dumps(CHUNK | piece).encode() + b"\n\n" for piece in pieces]
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"  # fmt: skip
        chunks = [b"%x\r\n%s\r\n" % (len(event), event) for event in [*events, b"data: [DONE]\n\n"]]
        self._streamed = head + b"".join(chunks) + b"0\r\n\r\n"

    def data_received(self, data: bytes) -> None:
        """Whole requests are answered."""
        self._buffer += data
        while b"\r\n\r\n" in self._buffer:
            head, _, rest = self._buffer.partition(b"\r\n\r\n")
            length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)  # fmt: skip
            if len(rest) < length:
                return
            body, self._buffer = rest[:length], rest[length:]
            streams = b'"stream": true' in body or b'"stream":true' in body
            self._transport.write(self._streamed if streams else self._whole)


async def run_upstream(port: int) -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port)
    await server.serve_forever()


def run_bare(port: int, upstream: str) -> None:
    """A proxy that does nothing: 25 lines of starlette and httpx."""
    import httpx
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response, StreamingResponse
    from starlette.routing import Route

    client = httpx.AsyncClient(
        limits=httpx.Limits(max_connections=None),
        timeout=60,
        transport=None if upstream != MOCK else httpx.MockTransport(lambda _: httpx.Response(200, json=ANSWER)),
    )  # fmt: skip

    async def proxy(request: Request) -> Response:
        """Pass it on, and what comes back."""
        body = await request.body()
        headers = {"content-type": "application/json"}
        sent = client.build_request("POST", f"{upstream}/v1/chat/completions", content=body, headers=headers)  # fmt: skip
        reply = await client.send(sent, stream=True)
        kind = reply.headers["content-type"]
        if kind.startswith("text/event-stream"):
            return StreamingResponse(reply.aiter_raw(), media_type=kind)
        return Response(await reply.aread(), media_type=kind)

    app = Starlette(routes=[Route("/v1/chat/completions", proxy, methods=["POST"])])
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error", access_log=False)


def run_fugu(*, mock: bool) -> None:
    """``fugu serve`` with the arguments that are left; with ``mock`` its transport is answered here."""
    from fugu_adapters.cli import main as serve
    from fugu_adapters.engine.transport import HttpReply, Transport

    if mock:
        reply = HttpReply(status=200, headers={"content-type": "application/json"}, body=json.dumps(ANSWER).encode())  # fmt: skip

        async def post(self: Transport, url: str, **kwargs: Any) -> HttpReply:
            """The answer."""
            await asyncio.sleep(0)
            return reply

        Transport.post = post  # type: ignore[method-assign]
    serve()


# --- the load -------------------------------------------------------------------------------------


async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bytes:
    """Send a request on an open connection and read its reply to the end."""
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if not head.startswith(b"http/1.1 200"):
        raise RuntimeError(head.split(b"\r\n")[0].decode() + (await reader.read(500)).decode())
    if b"transfer-encoding: chunked" not in head:
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        return await reader.readexactly(length)
    body = b""
    while True:
        size = int(await reader.readline(), 16)
        body += (await reader.readexactly(size + 2))[:-2]
        if size == 0:
            return body


async def load(port: int, *, connections: int, seconds: float, stream: bool, count: int | None = None) -> dict[str, Any]:  # fmt: skip
    """Requests over so many connections, one after another on each; what they took."""
    body = json.dumps({"model": "fugu", "stream": stream, "messages": [{"role": "user", "content": QUESTION}]})  # fmt: skip
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer sk-1\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"  # fmt: skip
    request, took, end = (head + body).encode(), [], time.perf_counter() + seconds
    numbers = itertools.count(random.randrange(100_000))  # noqa: S311
    left = [count if count is not None else sys.maxsize]

    async def worker() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < end and left[0] > 0:
            left[0] -= 1
            began = time.perf_counter()
            # No two questions are the same, so that nothing can be remembered.
            reply = await one(reader, writer, request.replace(b"000000", b"%06d" % next(numbers)))
            took.append(time.perf_counter() - began)
            if not any(mark in reply for mark in (b"forty-two", b"word 49", b"Mock response")):
                raise RuntimeError(f"not the answer: {reply[:300]!r}")
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(connections)))
    whole = time.perf_counter() - began
    took.sort()
    return {"requests": len(took), "rps": len(took) / whole, "p50_ms": 1e3 * took[len(took) // 2], "p99_ms": 1e3 * took[int(0.99 * len(took))]}  # fmt: skip


# --- processes ------------------------------------------------------------------------------------


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def start(command: Sequence[str], port: int, folder: Path, **env: str) -> subprocess.Popen[bytes]:
    """A server, once it listens."""
    log = (folder / f"{port}.log").open("wb")
    process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **env}, cwd=folder)  # fmt: skip
    for _ in range(1_200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise SystemExit(f"{' '.join(command)} did not start:\n{(folder / f'{port}.log').read_text()[-3000:]}")  # fmt: skip


def resident_mib(pid: int) -> float:
    """Memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def servers(names: Sequence[str], folder: Path, upstream: str) -> dict[str, tuple[int, Any]]:
    """All that is compared, each at a port of its own."""
    here, script = sys.executable, SELF
    ports = {name: free_port() for name in names}
    made: dict[str, tuple[int, Any]] = {}
    for name, port in ports.items():
        if name == "bare":
            process = start([here, script, "--bare", str(port), upstream], port, folder)
        elif name.startswith("fugu"):
            pool = folder / f"{name}.toml"
            pool.write_text(
                f'[[worker]]\nname = "a"\nmodel = "gpt-5-mini"\nbase_url = "{upstream}/v1"\nprice = {{ input = 1, output = 2 }}\nconcurrency = 1000\n'
                f'[[worker]]\nname = "b"\nmodel = "gpt-4o"\nbase_url = "{upstream}/v1"\nprice = {{ input = 2, output = 9 }}\nconcurrency = 1000\n'
                f'[store]\nurl = "{folder / name}.db"\n'
            )
            ours = "--mocked-fugu" if upstream == MOCK else "--fugu"
            process = start([here, script, ours, "serve", "-c", str(pool), "--port", str(port)], port, folder)  # fmt: skip
        else:
            config = folder / "litellm.yaml"
            config.write_text(
                f"model_list:\n- model_name: fugu\n  litellm_params:\n    model: openai/gpt-4o\n    api_base: {upstream}/v1\n    api_key: x\n"
                f"litellm_settings:\n  telemetry: false\n  set_verbose: false\n  network_mock: {str(upstream == MOCK).lower()}\ngeneral_settings:\n  master_key: sk-1\n"
            )
            command = [str(Path(here).parent / "litellm"), "--config", str(config), "--port", str(port), "--host", "127.0.0.1", "--num_workers", "1"]  # fmt: skip
            process = start(command, port, folder, LITELLM_LOCAL_MODEL_COST_MAP="True", LITELLM_LOG="ERROR")  # fmt: skip
        made[name] = (port, process)
    return made


async def compare(args: argparse.Namespace) -> dict[str, Any]:
    """Rounds of all servers in turn, so that a slow moment hits all."""
    order = random.Random(0)  # noqa: S311
    with tempfile.TemporaryDirectory(prefix="fugu-gateway-") as made:
        folder, port = Path(made), free_port()
        upstream = start([sys.executable, SELF, "--upstream", str(port)], port, folder)  # fmt: skip
        address = MOCK if args.mock else f"http://127.0.0.1:{port}"
        running = servers(args.servers.split(","), folder, address)
        results: dict[str, dict[str, list[float]]] = {name: {} for name in running}
        try:
            for each, _ in running.values():
                await load(each, connections=4, seconds=2, stream=False)  # warm
            modes = [("one", 1, False), ("many", args.connections, False)]
            if not args.mock:
                modes += [("one_streamed", 1, True), ("many_streamed", args.connections, True)]
            for turn in range(args.rounds):
                for mode, connections, stream in modes:
                    for name in order.sample(list(running), len(running)):
                        got = await load(running[name][0], connections=connections, seconds=args.seconds, stream=stream)  # fmt: skip
                        for key in ("rps", "p50_ms", "p99_ms"):
                            results[name].setdefault(f"{mode}_{key}", []).append(got[key])
                print(f"round {turn + 1} of {args.rounds}", file=sys.stderr, flush=True)
            table = {name: {key: round(statistics.median(values), 3) for key, values in each.items()} for name, each in results.items()}  # fmt: skip
            for name, (_, process) in running.items():
                table[name]["rss_mib"] = round(resident_mib(process.pid), 1)
            return table | differences(results)
        finally:
            for _, process in running.values():
                process.terminate()
            upstream.kill()
            for process in (upstream, *(process for _, process in running.values())):
                process.wait(30)


def differences(results: dict[str, dict[str, list[float]]]) -> dict[str, dict[str, str]]:
    """Of ours to the others, within rounds: added milliseconds, and times as many requests a second; mean, low, high."""
    from fugu_adapters.evaluate.statistics import paired_bootstrap

    found: dict[str, dict[str, str]] = {}
    if "fugu" not in results:
        return found
    for name, others in results.items():
        if name.startswith("fugu"):
            continue
        table = found[f"over_{name}"] = {}
        for key, ours in results["fugu"].items():
            theirs = others[key]
            if key.endswith("p50_ms") and key.startswith("one"):
                e = paired_bootstrap(ours, theirs)
                table[f"{key} added"] = f"{e.mean:.2f} [{e.low:.2f}, {e.high:.2f}]"
            elif key.endswith("rps"):
                e = paired_bootstrap([math.log(n) for n in ours], [math.log(n) for n in theirs])
                mean, low, high = map(math.exp, (e.mean, e.low, e.high))
                table[f"{key} times"] = f"{mean:.2f} [{low:.2f}, {high:.2f}]"
    return found


async def memory(args: argparse.Namespace) -> dict[str, Any]:
    """Memory of ours while so many requests go through it."""
    with tempfile.TemporaryDirectory(prefix="fugu-gateway-") as made:
        folder, port = Path(made), free_port()
        upstream = start([sys.executable, SELF, "--upstream", str(port)], port, folder)  # fmt: skip
        [(ours, process)] = servers(["fugu"], folder, f"http://127.0.0.1:{port}").values()
        seen = []
        try:
            for part in range(11):
                count = args.memory // 10 if part else 2_000
                stream = part % 2 == 0
                await load(ours, connections=32, seconds=3_600, stream=stream, count=count)
                seen.append(round(resident_mib(process.pid), 1))
                print(f"{part * args.memory // 10:,} requests: {seen[-1]} MiB", file=sys.stderr, flush=True)  # fmt: skip
        finally:
            process.terminate()
            upstream.kill()
            process.wait(60)
            upstream.wait(10)
        return {"requests": args.memory, "rss_mib": seen}


def main() -> None:
    """Read the arguments, measure, and print one JSON object."""
    if sys.argv[1:2] and sys.argv[1] in ("--fugu", "--mocked-fugu"):
        mock = sys.argv.pop(1) == "--mocked-fugu"
        run_fugu(mock=mock)
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--servers", default="fugu,litellm,bare")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--memory", type=int, default=0)
    parser.add_argument("--mock", action="store_true")
    parser.add_argument("--upstream", type=int)
    parser.add_argument("--bare", nargs=2)
    args = parser.parse_args()
    if args.upstream:
        asyncio.run(run_upstream(args.upstream))
    elif args.bare:
        run_bare(int(args.bare[0]), args.bare[1])
    else:
        runner = memory if args.memory else compare
        try:
            from uvloop import run
        except ImportError:
            from asyncio import run
        found = run(runner(args))
        machine = {"python": platform.python_version(), "cores": os.cpu_count()}
        print(json.dumps({**machine, **found}, indent=1))


if __name__ == "__main__":
    main()
