"""``fugu route``: who would answer, and why. No call is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fugu_adapters.cli.common import (
    ConfigOption,
    EffortOption,
    ExcludeOption,
    JsonOption,
    MaxCostOption,
    QualityOption,
    TextArgument,
    find_pool,
    money,
    print_json,
    read_text,
    seconds,
    stdout,
)

if TYPE_CHECKING:
    from rich.table import Table

    from fugu_adapters.types import Candidate, Decision

__all__ = ["candidate_table", "route"]


def route(
    text: TextArgument = None,
    config: ConfigOption = None,
    effort: EffortOption = "medium",
    exclude: ExcludeOption = None,
    quality: QualityOption = None,
    max_cost: MaxCostOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show who would answer a question, and why. No call is made."""
    from fugu_adapters.fugu import Fugu, RunOptions
    from fugu_adapters.types import to_plain

    options: RunOptions = {
        "effort": effort,  # type: ignore[typeddict-item]  # checked there
        "exclude": exclude or (),
        "quality": quality,
        "max_cost": max_cost,
    }
    question = read_text(text)
    pool, _ = find_pool(config)
    fugu = Fugu(pool, store=False)
    decision = fugu.route(question, **options)
    if as_json:
        print_json(to_plain(decision))
        return
    out = stdout()
    out.print(candidate_table(decision))
    out.print(decision.reason, markup=False)


def candidate_table(decision: Decision) -> Table:
    """All candidates of a decision, best first, the chosen one marked."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("worker", no_wrap=True)
    table.add_column("right", justify="right")
    table.add_column("90 % interval", justify="right")
    table.add_column("cost", justify="right")
    table.add_column("time", justify="right")
    table.add_column("")
    for candidate in decision.candidates:
        chosen = candidate.worker == decision.worker
        table.add_row(
            candidate.worker,
            "" if candidate.p_success is None else f"{candidate.p_success:.0%}",
            _interval(candidate),
            "" if candidate.excluded_because else money(candidate.cost_usd),
            "" if candidate.excluded_because else seconds(candidate.latency_s),
            "chosen" if chosen else _remark(candidate),
            style="bold green" if chosen else "dim" if candidate.excluded_because else "",
        )
    return table


def _interval(candidate: Candidate) -> str:
    if candidate.interval is None:
        return ""
    low, high = candidate.interval
    return f"{low:.0%} - {high:.0%}"


def _remark(candidate: Candidate) -> str:
    if candidate.excluded_because:
        return candidate.excluded_because
    return "" if candidate.calibrated else "uncalibrated"
