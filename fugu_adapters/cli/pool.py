"""``fugu pool``: the workers, how able and how dear they are, and whether they can be asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fugu_adapters.cli.common import ConfigOption, JsonOption, find_pool, print_json, stdout

if TYPE_CHECKING:
    from fugu_adapters.config import Worker
    from fugu_adapters.policies.routing import Router

__all__ = ["describe", "pool"]


def pool(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show the workers: ability, price, window, capabilities, status. Nothing is called."""
    from fugu_adapters.policies.routing import Router

    found, source = find_pool(config)
    router = Router(found)
    rows = [describe(worker, router) for worker in found]
    if as_json:
        print_json({"source": source, "workers": rows})
        return
    _print_table(rows)


def describe(worker: Worker, router: Router) -> dict[str, Any]:
    """What is known of a worker, as plain data. Unknown is ``None``."""
    from fugu_adapters.workers import why_not_ready

    price = worker.known_price
    profile = router.profile_of(worker)
    return {
        "name": worker.name,
        "api": worker.api,
        "model": worker.model,
        "profile": profile,
        "ability": None if profile is None else router.selector.ability(profile),
        "price_input": None if price is None else price.input,
        "price_output": None if price is None else price.output,
        "context_window": worker.context_window,
        "tools": worker.tools,
        "images": worker.images,
        "json_schema": worker.json_schema,
        "tags": sorted(worker.tags),
        "status": why_not_ready(worker) or "ready",
    }


def _print_table(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, justify in (
        ("worker", "left"),
        ("model", "left"),
        ("ability", "right"),
        ("$/M in", "right"),
        ("$/M out", "right"),
        ("window", "right"),
        ("can", "left"),
        ("status", "left"),
    ):
        table.add_column(name, justify=justify, no_wrap=name == "worker", overflow="fold")  # type: ignore[arg-type]  # literals
    for row in rows:
        able = [can for can in ("tools", "images", "json_schema") if row[can]]
        table.add_row(
            row["name"],
            row["model"] or row["api"],
            "unmeasured" if row["ability"] is None else f"{row['ability']:.0%}",
            _price(row["price_input"]),
            _price(row["price_output"]),
            "?" if row["context_window"] is None else f"{row['context_window']:,}",
            ", ".join(able).replace("json_schema", "schema"),
            row["status"],
            style="" if row["status"] == "ready" else "yellow",
        )
    out = stdout()
    out.print(table)
    out.print(
        "ability: expected share of right answers over the mix of requests that the selector was "
        "trained on",
        style="dim",
    )


def _price(value: float | None) -> str:
    if value is None:
        return "?"
    return "free" if value == 0 else f"{value:g}"
