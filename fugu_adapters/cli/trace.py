"""``fugu trace``: what happened in a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fugu_adapters.cli.common import JsonOption, money, print_json, seconds, stdout
from fugu_adapters.cli.route import candidate_table
from fugu_adapters.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from fugu_adapters.store import RunRecord, Store

__all__ = ["trace"]


def trace(
    run_id: Annotated[
        str | None,
        typer.Argument(help="The run, or the beginning of its id. Default: the last one."),
    ] = None,
    listing: Annotated[
        int, typer.Option("--list", "-n", help="List so many recent runs instead.", min=0)
    ] = 0,
    store: Annotated[
        str | None, typer.Option(help="Database to read. Default: the usual one.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show a run: what was asked, who might have answered, every call, its cost."""
    from fugu_adapters.store import Store
    from fugu_adapters.types import to_plain

    runs = Store(store)
    try:
        if listing:
            records = runs.list(listing)
            if as_json:
                print_json([to_plain(_plain(record)) for record in records])
            else:
                _print_list(records)
            return
        record = _find(runs, run_id)
    finally:
        runs.close()
    if as_json:
        print_json(to_plain(_plain(record)))
    else:
        _print_run(stdout(), record)


def _find(store: Store, run_id: str | None) -> RunRecord:
    if run_id is not None:
        return store.get(run_id)
    last = store.last()
    if last is None:
        raise InputError('no run is recorded yet; `fugu ask "..."` makes one')
    return last


def _plain(record: RunRecord) -> dict[str, object]:
    from fugu_adapters.types import to_plain

    plain: dict[str, object] = to_plain(record)
    plain["created_at"] = record.created_at.isoformat()
    return plain


def _print_list(records: list[RunRecord]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("run", "when (UTC)", "status", "worker", "cost", "time", "asked"):
        table.add_column(name, no_wrap=name != "asked")
    for record in records:
        table.add_row(
            record.run_id[:8],
            f"{record.created_at:%Y-%m-%d %H:%M:%S}",
            record.status,
            record.worker or "",
            money(record.cost_usd),
            seconds(record.seconds),
            _asked(record)[:60],
            style="" if record.status == "ok" else "yellow",
        )
    stdout().print(table)


def _asked(record: RunRecord) -> str:
    from fugu_adapters.messages import routing_text

    return "" if record.request is None else " ".join(routing_text(record.request).split())


def _print_steps(out: Console, record: RunRecord) -> None:
    """The workflow: who did what, seeing which earlier steps."""
    for step in record.steps:
        sees = ", ".join(str(seen + 1) for seen in step.access)
        out.print(
            f"step {step.index + 1}: {step.answered_by or f'{step.worker} did not finish'}"
            f"{f', sees {sees}' if sees else ''}: {' '.join((step.subtask or '').split())[:200]}",
            markup=False,
        )
        out.print(f"    {' '.join((step.text or '').split())[:400]}", style="dim", markup=False)


def _print_run(out: Console, record: RunRecord) -> None:
    out.print(f"run {record.run_id}  {record.created_at:%Y-%m-%d %H:%M:%S} UTC  {record.status}")
    if record.error:
        out.print(record.error, style="red", markup=False)
    out.print(f"asked: {_asked(record)[:400]}", markup=False)
    if record.decision is not None:
        out.print()
        out.print(candidate_table(record.decision))
        out.print(record.decision.reason, markup=False)
        out.print(f"decided by {record.decision.policy}", style="dim", markup=False)
    out.print()
    _print_steps(out, record)
    for number, attempt in enumerate(record.attempts, start=1):
        outcome = "answered" if attempt.ok else attempt.error
        part = "" if attempt.step is None else f" (step {attempt.step + 1})"
        out.print(
            f"call {number}{part}: {attempt.worker} after {seconds(attempt.started_s)} "
            f"took {seconds(attempt.latency_s)}, {money(attempt.cost_usd)}: {outcome}",
            markup=False,
        )
        for step in attempt.steps:
            out.print(f"    {step}", style="dim", markup=False)
    if record.text:
        out.print()
        out.print(record.text, markup=False)
    out.print()
    tokens = record.usage.total_tokens if record.usage else None
    out.print(
        f"total {money(record.cost_usd)}, {tokens if tokens is not None else '?'} tokens, "
        f"{seconds(record.seconds)}",
        style="dim",
    )
