"""``fugu ask``: answer a question."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
    note,
    print_json,
    read_text,
    seconds,
    stdout,
)

if TYPE_CHECKING:
    from rich.table import Table

    from fugu_adapters.fugu import Fugu, RunOptions
    from fugu_adapters.types import Decision, Result
    from fugu_adapters.workflow.compose import Plan

__all__ = ["ask", "plan_table"]


def ask(
    text: TextArgument = None,
    config: ConfigOption = None,
    model: Annotated[str, typer.Option(help="Policy that answers.")] = "fugu",
    effort: EffortOption = "medium",
    exclude: ExcludeOption = None,
    quality: QualityOption = None,
    max_cost: MaxCostOption = None,
    system: Annotated[str | None, typer.Option(help="System message.", show_default=False)] = None,
    usd: Annotated[
        float | None, typer.Option("--max-usd", help="Dollar cap.", min=0, show_default=False)
    ] = None,
    deadline: Annotated[float, typer.Option(help="Seconds for everything.", min=0.1)] = 300.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan and its forecast; ask nobody.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Answer a question with the worker that suits it best.

    The answer goes to standard output, everything else to standard error.
    """
    from fugu_adapters.fugu import Fugu
    from fugu_adapters.types import Limits

    question = read_text(text)
    pool, source = find_pool(config)
    messages = [{"role": "user", "content": question}]
    if system:
        messages.insert(0, {"role": "system", "content": system})
    options: RunOptions = {
        "model": model,
        "effort": effort,  # type: ignore[typeddict-item]  # checked there, with a better message
        "exclude": exclude or (),
        "quality": quality,
        "max_cost": max_cost,
        "limits": Limits(usd=usd, seconds=deadline),
    }
    if dry_run:
        _show(Fugu(pool, store=False).plan(messages, **options), as_json=as_json)
        return
    if as_json:
        with Fugu(pool) as fugu:
            print_json(_as_json(fugu.run(messages, **options)))
        return
    note(f"pool: {len(pool)} workers from {source}")
    asyncio.run(_stream(Fugu(pool), messages, options))


def _show(plan: Plan, *, as_json: bool) -> None:
    """What would be asked of whom, and what that is expected to cost."""
    from fugu_adapters.types import to_plain

    if as_json:
        plain = to_plain(plan)
        candidates = plain.pop("decision")["candidates"]
        print_json({**plain, "workflow": plan.workflow.to_dict(), "candidates": candidates})
        return
    out = stdout()
    for line in (f"{plan.model}: {plan.reason}", plan.workflow.draw()):
        out.print(line, markup=False, highlight=False, soft_wrap=True)
    out.print(plan_table(plan))


def plan_table(plan: Plan) -> Table:
    """The forecast of a plan beside that of one call."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("expected", "right", "calls", "tokens", "cost", "time"):
        table.add_column(name, justify="left" if name == "expected" else "right", no_wrap=True)
    for name, each in (("this plan", plan.forecast), ("one call", plan.single)):
        table.add_row(
            name,
            "" if each.p_success is None else f"{each.p_success:.0%}",
            f"{each.calls:.1f}",
            "" if each.tokens is None else f"{each.tokens:,}",
            money(each.cost_usd),
            seconds(each.seconds),
        )
    return table


async def _stream(fugu: Fugu, messages: list[dict[str, str]], options: RunOptions) -> None:
    """Print the answer as it comes, and who gave it and why around it."""
    try:
        async for event in fugu.astream(messages, **options):
            match event.kind:
                case "decision" if event.decision is not None:
                    _note_decision(event.decision)
                case "delta" if event.delta is not None:
                    sys.stdout.write(event.delta.text)
                    sys.stdout.flush()
                case "step_started":
                    note(f"turn {(event.step or 0) + 1}: {event.worker}: {event.subtask}")
                case "call_failed" if event.attempt is not None:
                    note(f"{event.worker} failed: {event.attempt.error}")
                case "result" if event.result is not None:
                    print()
                    _note_result(event.result)
    finally:
        await fugu.aclose()


def _note_decision(decision: Decision) -> None:
    note(f"{decision.worker}: {decision.reason}")


def _note_result(result: Result) -> None:
    usage = result.usage
    tokens = f"{usage.input_tokens} + {usage.output_tokens} tokens"
    note(
        f"answered by {result.worker} in {seconds(result.trace.seconds)}, {tokens}, "
        f"{money(result.cost_usd)}; fugu trace {result.run_id[:8]}"
    )
    if result.stopped is not None:
        turns = len(result.trace.steps)
        note(f"{turns} turn{'s' if turns != 1 else ''}: {result.stopped}")


def _as_json(result: Result) -> dict[str, Any]:
    from fugu_adapters.types import to_plain

    plain: dict[str, Any] = to_plain(result)
    decision = plain.pop("decision")
    trace = plain.pop("trace")
    plain["candidates"] = decision.pop("candidates")
    plain["reason"] = decision["reason"]
    plain["policy"] = decision["policy"]
    plain["continuity"] = decision["continuity"]
    plain["attempts"] = trace["attempts"]
    plain["steps"] = trace["steps"]
    plain["seconds"] = trace["seconds"]
    return plain
