"""``fugu connect``: telling a coding assistant of the one API."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

import typer

from fugu_adapters.cli.common import note, write_shown
from fugu_adapters.errors import InputError

__all__ = ["connect"]


def connect(
    client: Annotated[str, typer.Argument(help="claude, codex or opencode.")],
    url: Annotated[str, typer.Option(help="Where `fugu serve` listens.")] = "http://127.0.0.1:8787",
    model: Annotated[
        str, typer.Option(help="fugu, fugu-trinity, fugu-ultra or fugu-auto.")
    ] = "fugu",
    key: Annotated[
        bool,
        typer.Option("--key", help="The server wants a key; the client takes it from FUGU_KEY."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the change only.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Write over other settings of the same names.")
    ] = False,
) -> None:
    """Write the server into a coding assistant's settings, after showing the change.

    The rest of the file stays as it is, and keys are never written.
    """
    from fugu_adapters.planning import MODELS
    from fugu_adapters.serve.connect import CLIENTS, how_to_start, plan_connection

    if client not in CLIENTS:
        raise InputError(f"client: expected one of {', '.join(CLIENTS)}, got {client!r}")
    if model not in MODELS:
        raise InputError(f"--model: expected one of {', '.join(MODELS)}, got {model!r}")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or "@" in url:
        raise InputError(f"--url: expected an address such as http://127.0.0.1:8787, got {url!r}")
    address = url.rstrip("/").removesuffix("/v1")
    change = plan_connection(client, url=address, model=model, has_key=key, replace=force)
    start = how_to_start(client, model)
    if not change.is_needed:
        note(f"{change.path} has it already; start it by: {start}")
        return
    if write_shown(change, yes=yes, dry_run=dry_run):
        note(f"written to {change.path}; start it by: {start}")
