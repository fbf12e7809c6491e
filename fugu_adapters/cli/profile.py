"""``fugu profile``: measure what each worker can do, on tasks with checkable answers."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fugu_adapters.cli.common import ConfigOption, JsonOption, find_pool, money, print_json, stdout
from fugu_adapters.errors import ConfigError, InputError

if TYPE_CHECKING:
    from fugu_adapters.config import Worker
    from fugu_adapters.learn.profile import ProfileLimits, Summary
    from fugu_adapters.types import Item

__all__ = ["profile"]


def profile(
    output: Annotated[
        Path, typer.Option(help="Outcomes, JSON lines; continued where the file exists.")
    ] = Path("outcomes.jsonl"),
    items: Annotated[
        Path | None,
        typer.Option(
            help="Your own items, JSON lines. Default: the built-in suite.", show_default=False
        ),
    ] = None,
    save_items: Annotated[
        Path, typer.Option(help="Where the built-in suite's items are written, for training.")
    ] = Path("items.jsonl"),
    worker: Annotated[
        list[str] | None,
        typer.Option(
            "--worker", "-w", help="Only this worker. May be repeated.", show_default=False
        ),
    ] = None,
    per_kind: Annotated[int, typer.Option(help="Items of each kind of the suite.", min=1)] = 25,
    gym: Annotated[bool, typer.Option(help="Add kinds of reasoning-gym (extra 'train').")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the suite.")] = 0,
    probes: Annotated[
        int | None,
        typer.Option(
            help="Place the workers by so many probes each, the most telling ones; 32 is plenty.",
            min=1,
            show_default=False,
        ),
    ] = None,
    save_selector: Annotated[
        Path, typer.Option(help="With --probes: folder of the pool's selector with the new rows.")
    ] = Path("fugu-selector"),
    usd: Annotated[float, typer.Option("--max-usd", help="Dollar cap.", min=0)] = 1.0,
    calls: Annotated[int, typer.Option("--max-calls", help="Bound on calls.", min=1)] = 10_000,
    seconds: Annotated[
        float | None, typer.Option("--max-seconds", help="Stop starting calls.", show_default=False)
    ] = None,
    concurrency: Annotated[int, typer.Option(help="Calls at a time.", min=1)] = 1,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask every worker of the pool every item and record the outcomes.

    Can be stopped at any time and continued with the same command. Says at the end how much choosing
    among the workers can gain, and whether that is more than chance. With --probes: ask each worker a
    few telling items only, and write a selector that knows it.
    """
    from fugu_adapters.learn.profile import ProfileLimits

    pool, _ = find_pool(config)
    workers = [pool[name] for name in worker] if worker else list(pool)
    limits = ProfileLimits(usd=usd, calls=calls, seconds=seconds)
    if probes is not None:
        from fugu_adapters.cli.profile_probes import ProbePlan, probe

        plan = ProbePlan(
            pool=pool, workers=workers, items=_probe_items(items, seed), count=probes, output=output,
            save=save_selector, limits=limits, concurrency=concurrency,
        )  # fmt: skip
        probe(plan, as_json=as_json)
        return
    suite = _suite(items, save_items, seed=seed, per_kind=per_kind, gym=gym)
    summary = asyncio.run(_run(workers, suite, output, limits, concurrency, quiet=as_json))
    if as_json:
        from fugu_adapters.types import to_plain

        print_json(to_plain(summary) | {"output": str(output)})
        return
    _print_summary(summary, output, items or save_items)


def _suite(
    items: Path | None, save_items: Path, *, seed: int, per_kind: int, gym: bool
) -> list[Item]:
    from fugu_adapters.evaluate.tasks import build_suite, write_items

    if items is not None:
        return _own_items(items)
    suite = build_suite(seed=seed, per_kind=per_kind, gym=gym)
    write_items(save_items, suite)
    return suite


def _probe_items(items: Path | None, seed: int) -> list[Item]:
    from fugu_adapters.evaluate.probes import probe_items

    return probe_items(seed) if items is None else _own_items(items)


def _own_items(path: Path) -> list[Item]:
    from fugu_adapters.evaluate.tasks import read_items

    if not path.is_file():
        raise ConfigError(f"{path}: no such file")
    found = read_items(path)
    if not found:
        raise InputError(f"{path} holds no items")
    return found


async def _run(
    workers: list[Worker],
    items: list[Item],
    output: Path,
    limits: ProfileLimits,
    concurrency: int,
    *,
    quiet: bool,
) -> Summary:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from fugu_adapters.evaluate.scoring import score_item
    from fugu_adapters.fugu import Fugu
    from fugu_adapters.learn.profile import Progress
    from fugu_adapters.learn.profile import profile as measure

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(file=sys.stderr), disable=quiet) as bar:
        task = bar.add_task("asking", total=len(workers) * len(items))

        def on_progress(progress: Progress) -> None:
            told = f"{progress.worker}, {money(progress.spent_usd)}"
            bar.update(task, description=told, completed=progress.done, total=progress.total)

        from fugu_adapters.pool import Pool

        async with Fugu(Pool(workers), store=False) as fugu:
            return await measure(
                workers,
                items,
                fugu.acall,
                score_item,
                output=output,
                limits=limits,
                concurrency=concurrency,
                on_progress=on_progress,
            )


def _print_summary(summary: Summary, output: Path, items: Path) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("profile", "items", "right", "median time", "errors", ""):
        table.add_column(name, justify="left" if name in ("profile", "") else "right")
    for row in summary.workers:
        table.add_row(
            row.worker,
            str(row.items),
            "" if row.score is None else f"{row.score:.1%}",
            "" if row.latency_s is None else f"{row.latency_s:.1f} s",
            str(row.errors),
            row.left_out or "",
        )
    out = stdout()
    out.print(table)
    if summary.headroom is not None:
        out.print(summary.headroom.statement, markup=False)
    if summary.stopped_by is not None:
        out.print(f"stopped by {summary.stopped_by}; the same command goes on", style="yellow")
    out.print(
        f"{summary.calls} calls, {money(summary.spent_usd)}; next: fugu train selector "
        f"--items {items} --outcomes {output} --output my-selector",
        style="dim",
        markup=False,
    )
