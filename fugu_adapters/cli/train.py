"""``fugu train ...``: fit learned parts on outcomes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from fugu_adapters.cli.common import JsonOption, print_json

__all__ = ["app", "selector"]

app = typer.Typer(
    help="Fit learned parts on recorded outcomes.", no_args_is_help=True, rich_markup_mode=None
)


@app.callback()
def _group() -> None:
    """Keep ``selector`` a subcommand although it is the only one."""


@app.command()
def selector(
    items: Annotated[
        list[Path], typer.Option(help="Items, Parquet or JSON lines. May be repeated.")
    ],
    outcomes: Annotated[
        list[Path], typer.Option(help="Outcomes, Parquet or JSON lines. May be repeated.")
    ],
    output: Annotated[Path, typer.Option(help="Folder to write.")],
    workers: Annotated[
        Path | None, typer.Option(help="Prices of the workers, Parquet.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the clustering.")] = 0,
    shared: Annotated[
        bool,
        typer.Option(
            "--shared", help="It will serve other pools than these outcomes are of: guard it more."
        ),
    ] = False,
    cache: Annotated[
        Path | None, typer.Option(help="Folder to keep encoded texts in.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Fit a selector on the train split and write its weights.

    Use it with `selector = "FOLDER"` under [pool] in fugu.toml.
    """
    from rich.console import Console
    from rich.progress import Progress

    from fugu_adapters.learn.selector_fit import train

    with Progress(console=Console(file=sys.stderr), disable=as_json) as progress:
        tasks = {}

        def on_progress(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=total)
            progress.update(tasks[stage], completed=done, total=total)

        bundle = train(
            items,
            outcomes,
            output,
            workers=workers,
            seed=seed,
            shared=shared,
            cache=cache,
            progress=on_progress,
        )
    summary = {
        "output": str(output),
        "encoder": bundle.encoder,
        "profiles": len(bundle.profiles),
        "clusters": len(bundle.labels),
        "digest": bundle.digest,
        "metrics": dict(bundle.metrics),
    }
    if as_json:
        print_json(summary)
        return
    for name, value in summary.items():
        print(f"{name}: {value}")
