"""The subcommands, put together."""

from __future__ import annotations

import typer

from fugu_adapters.cli import ask, doctor, init, pool, profile, pull, route, trace, train

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
app.command()(ask.ask)
app.command()(route.route)
app.command()(pool.pool)
app.command()(init.init)
app.command()(doctor.doctor)
app.command()(pull.pull)
app.command()(trace.trace)
app.command()(profile.profile)
app.add_typer(train.app, name="train")


@app.callback(invoke_without_command=True)
def _version(
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
) -> None:
    if version:
        from fugu_adapters import __version__

        print(__version__)
        raise typer.Exit
