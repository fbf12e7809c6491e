"""A server on standard input and output whose worker prints, and whose pool is scripted."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

from fugu_adapters import Fugu, Pool, Worker
from mcp_server.handlers import Handlers, Settings
from mcp_server.stdio import serve_stdio


async def _answer(messages: Any) -> str:
    print("a library talks to standard output")
    os.write(1, b"so does one written in C\n")
    task = messages[-1]["content"]
    if "slowly" in task:
        print("the worker has begun", file=sys.stderr, flush=True)
        try:
            await asyncio.sleep(60)
        finally:
            print("the worker was stopped", file=sys.stderr, flush=True)
    return f"answer to {task}"


def _handlers() -> Handlers:
    print("and so does whoever makes the pool")
    pool = Pool([Worker(name="w", api="callable", call=_answer)])
    return Handlers(lambda: pool, Settings(beat_s=0.1), lambda pool: Fugu(pool, store=False))


signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
serve_stdio(_handlers)
