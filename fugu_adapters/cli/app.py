"""The subcommands, put together."""

from __future__ import annotations

import typer

from fugu_adapters.cli import eval as evaluation
from fugu_adapters.cli import train
from fugu_adapters.cli.ask import ask
from fugu_adapters.cli.connect import connect
from fugu_adapters.cli.doctor import doctor
from fugu_adapters.cli.init import init
from fugu_adapters.cli.keys import keys
from fugu_adapters.cli.mcp import mcp
from fugu_adapters.cli.pool import pool
from fugu_adapters.cli.profile import profile
from fugu_adapters.cli.pull import pull
from fugu_adapters.cli.route import route
from fugu_adapters.cli.serve import serve
from fugu_adapters.cli.trace import trace

__all__ = ["app"]

app = typer.Typer(
    name="fugu",
    help="Ask a pool of language models; a learned policy picks who answers, and says why.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in (ask, route, serve, connect, pool, init, doctor, pull, trace, profile):
    app.command()(_command)
app.add_typer(train.app, name="train")
app.add_typer(evaluation.app, name="eval")
app.add_typer(keys, name="keys")
app.add_typer(mcp, name="mcp")


@app.callback(invoke_without_command=True)
def _version(
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
) -> None:
    if version:
        from fugu_adapters import __version__

        print(__version__)
        raise typer.Exit
