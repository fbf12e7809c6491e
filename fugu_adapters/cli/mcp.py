"""``fugu mcp``: the pool as an MCP server, and ``fugu mcp install``: telling a client of it."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fugu_adapters.cli.common import CONFIG_NAME, ConfigOption, find_pool, note, write_shown
from fugu_adapters.errors import ConfigError, InputError

if TYPE_CHECKING:
    from mcp_server.handlers import Handlers

__all__ = ["mcp"]

_HELP = """Serve the pool to MCP clients: the tools orchestrate, route and result.

Set-up in one line, `fugu` being on the PATH (`fugu mcp install NAME` does it for you):

\b
  Claude Code  claude mcp add fugu -- fugu mcp
  Codex        fugu mcp install codex  (`codex mcp add` would keep the keys from it)
  Cursor       fugu mcp install cursor
  VS Code      code --add-mcp '{"name":"fugu","command":"fugu","args":["mcp"]}'
  opencode     fugu mcp install opencode

Without --http it speaks on standard input and output, as clients start it.
"""

_READ = {"OLLAMA_HOST", "OPENAI_BASE_URL", "XDG_CACHE_HOME", "XDG_DATA_HOME"}
_NOT_HANDED_ON = {"FUGU_CONFIG", "FUGU_MCP_TOKEN"}  # said in the command; of no use without HTTP

mcp = typer.Typer(help=_HELP, invoke_without_command=True, rich_markup_mode=None)


@mcp.callback()
def serve(
    context: typer.Context,
    config: ConfigOption = None,
    http: Annotated[bool, typer.Option("--http", help="Serve at http://HOST:PORT/mcp.")] = False,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at.", min=1, max=65535)] = 8931,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Name that the server is reached by, with :PORT. May be repeated."),
    ] = None,
    on_cancel: Annotated[
        str, typer.Option(help="stop or keep a run whose call is cancelled or timed out.")
    ] = "stop",
    patience: Annotated[
        float, typer.Option(help="Seconds after which a call answers that its run goes on.", min=1)
    ] = 600.0,
) -> None:
    if context.invoked_subcommand is not None:
        return
    if on_cancel not in ("stop", "keep"):
        raise InputError(f"--on-cancel: expected stop or keep, got {on_cancel!r}")

    def make_handlers() -> Handlers:
        from mcp_server.handlers import Handlers, Settings

        settings = Settings(patience_s=patience, on_cancel=on_cancel)  # type: ignore[arg-type]
        return Handlers(lambda: find_pool(config)[0], settings)

    if not http:
        from mcp_server.stdio import serve_stdio

        serve_stdio(make_handlers)
        return
    from mcp_server.http import serve_http, tokens_from_env

    note(f"http://{host}:{port}/mcp; interrupt to stop")
    serve_http(
        make_handlers,
        host=host,
        port=port,
        tokens=tokens_from_env(),
        allowed_hosts=allow_host or (),
    )


@mcp.command()
def install(
    client: Annotated[str, typer.Argument(help="claude, codex, cursor, vscode or opencode.")],
    config: ConfigOption = None,
    scope: Annotated[
        str, typer.Option(help="user: everywhere; project: in this folder, for all who work in it.")
    ] = "user",
    name: Annotated[str, typer.Option(help="What the client calls the server.")] = "fugu",
    command: Annotated[
        str | None, typer.Option(help="Program that starts it. Default: this one.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the change only.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Write over another server of this name.")
    ] = False,
) -> None:
    """Write the server into a client's configuration, after showing the change.

    The rest of the file stays as it is. Keys are never written: the client hands on its own environment.
    """
    from mcp_server.install import CLIENTS, SCOPES, plan_install

    if client not in CLIENTS:
        raise InputError(f"client: expected one of {', '.join(CLIENTS)}, got {client!r}")
    if scope not in SCOPES:
        raise InputError(f"--scope: expected user or project, got {scope!r}")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise InputError(f"--name: expected letters, digits, - and _, got {name!r}")
    file = _config_file(config, scope)
    change = plan_install(
        client,
        command=[
            command or _this_program(scope),
            "mcp",
            *(["--config", str(file)] if file else []),
        ],
        scope=scope,
        name=name,
        variables=_variables(config, os.environ if scope == "user" else {}),
        replace=force,
    )
    if not change.is_needed:
        note(f"{change.path} has it already")
        return
    if write_shown(change, yes=yes, dry_run=dry_run):
        note(f"written to {change.path}; restart {client} to use it")


def _config_file(config: Path | None, scope: str) -> Path | None:
    """The pool's file as the client has to name it, who starts the server in a folder of its choice."""
    named = config or (Path(os.environ["FUGU_CONFIG"]) if os.environ.get("FUGU_CONFIG") else None)
    if scope == "project":
        return named  # others have the project in another place
    if named is None and Path(CONFIG_NAME).is_file():
        named = Path(CONFIG_NAME)
    return named and named.absolute()


def _this_program(scope: str) -> str:
    """A path that works without this environment being active, unless others are to use it too."""
    beside = shutil.which("fugu", path=str(Path(sys.executable).parent))
    return "fugu" if scope == "project" else beside or shutil.which("fugu") or "fugu"


def _variables(config: Path | None, env: Mapping[str, str]) -> list[str]:
    """Names of the variables that the server needs: the pool's keys, and those set here that it reads."""
    names = {name for name in env if name in _READ or name.startswith("FUGU_")} - _NOT_HANDED_ON
    try:
        pool, _ = find_pool(config)
    except ConfigError as error:
        note(f"there is no pool yet ({str(error).splitlines()[0]})")
        return sorted(names)
    return sorted(names | {worker.api_key_env for worker in pool if worker.api_key_env})
