"""``fugu mcp``: the pool as an MCP server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fugu_adapters.cli.common import ConfigOption, find_pool, note
from fugu_adapters.errors import InputError

if TYPE_CHECKING:
    from mcp_server.handlers import Handlers

__all__ = ["mcp"]

_HELP = """Serve the pool to MCP clients: the tools orchestrate, route and result.

Set-up in one line, `fugu` being on the PATH (`fugu mcp install NAME` does it for you):

\b
  Claude Code  claude mcp add fugu -- fugu mcp
  Codex        codex mcp add fugu -- fugu mcp
  Cursor       fugu mcp install cursor
  VS Code      code --add-mcp '{"name":"fugu","command":"fugu","args":["mcp"]}'
  opencode     fugu mcp install opencode

Without --http it speaks on standard input and output, as clients start it.
"""

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
