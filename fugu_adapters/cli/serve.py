"""``fugu serve``: the pool as models for any client of OpenAI's or Anthropic's APIs."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from fugu_adapters.cli.common import ConfigOption, EffortOption, find_pool, note

__all__ = ["serve"]


def serve(
    config: ConfigOption = None,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at.", min=1, max=65535)] = 8787,
    require_key: Annotated[
        bool,
        typer.Option("--require-key", help="Ask for a key of `fugu keys` on loopback too."),
    ] = False,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Name that the server is reached by without a key. May be repeated."),
    ] = None,
    effort: EffortOption = "medium",
    usd: Annotated[
        float | None,
        typer.Option("--max-usd", help="Dollar cap of a request.", min=0, show_default=False),
    ] = None,
    deadline: Annotated[float, typer.Option(help="Seconds for a request.", min=0.1)] = 600.0,
    max_requests: Annotated[int, typer.Option(help="Requests at a time.", min=1)] = 256,
    keep_alive: Annotated[
        float, typer.Option(help="Seconds of silence after which a stream says it is there.", min=1)
    ] = 10.0,
    drain: Annotated[
        float, typer.Option(help="Seconds for requests under way, when stopped.", min=0)
    ] = 30.0,
) -> None:
    """Serve the pool as the models fugu, fugu-trinity, fugu-ultra and fugu-auto.

    At http://HOST:PORT/v1 it speaks OpenAI's Chat Completions and Responses and Anthropic's Messages.
    `fugu connect` tells Claude Code, Codex and opencode of it. Beyond loopback, requests need a key.
    """
    # A decision's products are too small for several threads, which would only take the cores from each other.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from fugu_adapters.errors import InputError
    from fugu_adapters.fugu import Fugu
    from fugu_adapters.planning import EFFORTS
    from fugu_adapters.serve import Settings
    from fugu_adapters.serve import serve as run
    from fugu_adapters.store import Store
    from fugu_adapters.types import Limits

    if effort not in EFFORTS:
        raise InputError(f"--effort: expected one of {', '.join(EFFORTS)}, got {effort!r}")
    pool, source = find_pool(config)
    store = Store.from_config(pool.store)
    fugu = Fugu(
        pool,
        store=store,
        effort=effort,  # type: ignore[arg-type]  # checked above
        limits=Limits(usd=usd, seconds=deadline),
        record_beside=True,
    )
    settings = Settings(
        keys=require_key,
        max_requests=max_requests,
        keep_alive_s=keep_alive,
        allowed_hosts=allow_host or (),
    )
    shown = f"[{host}]" if ":" in host else host
    note(f"{len(pool)} workers of {source} at http://{shown}:{port}/v1; interrupt to stop")
    run(fugu, store=store, settings=settings, host=host, port=port, drain_s=drain)
