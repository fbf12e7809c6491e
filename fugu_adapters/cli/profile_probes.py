"""``fugu profile --probes``: place workers by a few probes, for a selector of one's own."""

from __future__ import annotations

import asyncio
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fugu_adapters.cli.common import money, note, print_json, stdout

if TYPE_CHECKING:
    from fugu_adapters.config import Worker
    from fugu_adapters.learn.placement import Placement
    from fugu_adapters.learn.probing import Placed, Probing
    from fugu_adapters.learn.profile import ProfileLimits, Summary
    from fugu_adapters.policies.weights import Bundle
    from fugu_adapters.pool import Pool
    from fugu_adapters.types import Item

__all__ = ["ProbePlan", "probe"]

_AREAS = 8  # that a summary shows, those with most of the training requests
_Z90 = 1.645


@dataclass(frozen=True, kw_only=True)
class ProbePlan:
    """What was asked for.

    Attributes:
        pool: whose selector is extended.
        workers: who is placed.
        items: candidates for probes.
        count: probes for each worker.
        output: file of outcomes.
        save: folder of the new bundle.
        limits: bounds on the run.
        concurrency: calls at a time.
    """

    pool: Pool
    workers: list[Worker]
    items: list[Item]
    count: int
    output: Path
    save: Path
    limits: ProfileLimits
    concurrency: int


def probe(plan: ProbePlan, *, as_json: bool) -> None:
    """Ask the probes, place the workers, write the bundle and say what was learned."""
    from fugu_adapters.learn.probing import Probing
    from fugu_adapters.learn.profile import read_outcomes
    from fugu_adapters.policies.weights import save_bundle

    bundle, base = _starting_bundle(plan)
    known = read_outcomes(plan.output) if plan.output.is_file() else []
    probing = Probing(bundle, plan.workers, plan.items, count=plan.count, known=known)
    for placed in probing.placed(known):
        if placed.measured and not as_json:
            note(
                f"{placed.worker} has a measured profile already ({placed.measured:,} outcomes); "
                "the probes refine it"
            )
    summary = asyncio.run(_ask(plan, probing, quiet=as_json))
    outcomes = read_outcomes(plan.output)
    found = probing.placed(outcomes)
    saved = any(placed.probes for placed in found)
    if saved:
        save_bundle(probing.extended(outcomes, base), plan.save)
    if as_json:
        print_json(
            {
                "selector": str(plan.save) if saved else None,
                "outcomes": str(plan.output),
                "calls": summary.calls,
                "spent_usd": summary.spent_usd,
                "stopped_by": summary.stopped_by,
                "workers": [_plain(placed, summary, bundle) for placed in found],
            }
        )
        return
    for placed in found:
        _print(placed, bundle)
    _print_end(plan, summary, saved=saved)


def _starting_bundle(plan: ProbePlan) -> tuple[Bundle, str]:
    """The pool's bundle, or what earlier runs made of it in the same folder; the pool's digest."""
    from fugu_adapters.policies.routing import Router
    from fugu_adapters.policies.weights import load_bundle

    bundle = Router(plan.pool).selector.bundle
    if not (plan.save / "manifest.json").is_file():
        return bundle, bundle.digest
    earlier = load_bundle(plan.save)
    bases = {entry["base"] for entry in earlier.provenance.get("placed", {}).values()}
    if earlier.digest == bundle.digest and bases:
        return earlier, bases.pop()
    return (earlier if bases == {bundle.digest} else bundle), bundle.digest


async def _ask(plan: ProbePlan, probing: Probing, *, quiet: bool) -> Summary:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    from fugu_adapters.evaluate.scoring import score_item
    from fugu_adapters.fugu import Fugu
    from fugu_adapters.learn.profile import Progress, profile
    from fugu_adapters.pool import Pool

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Bar(*columns, console=Console(file=sys.stderr), disable=quiet) as bar:
        task = bar.add_task("probing", total=plan.count * len(plan.workers))

        def on_progress(progress: Progress) -> None:
            told = f"{progress.worker}, {money(progress.spent_usd)}"
            bar.update(task, description=told, completed=progress.done)

        async with Fugu(Pool(plan.workers), store=False) as fugu:
            return await profile(
                plan.workers, plan.items, fugu.acall, score_item, output=plan.output,
                limits=plan.limits, concurrency=plan.concurrency, choose=probing.pairs,
                on_progress=on_progress,
            )  # fmt: skip


def _interval(belief: Placement, mass: Any) -> tuple[float, float, float]:
    """Expected score over a mix of requests, with its 90 % interval."""
    mean, sd = belief.average(mass)
    slope = max(mean * (1 - mean), 1e-6)
    logit, width = np.log(mean / (1 - mean)), _Z90 * sd / slope
    low, high = (float(1 / (1 + np.exp(-(logit + sign * width)))) for sign in (-1, 1))
    return mean, low, high


def _areas(bundle: Bundle) -> list[tuple[str, Any]]:
    """The largest areas by what they are mostly about, each with its mix of clusters."""
    groups: dict[str, list[int]] = {}
    area = bundle.area.astype(int)
    for number in np.unique(area):
        inside = np.flatnonzero(area == number)
        label = bundle.labels[int(inside[np.argmax(bundle.mass[inside])])]
        groups.setdefault(label, []).extend(int(cluster) for cluster in inside)
    found = []
    for label, members in groups.items():
        mass = np.zeros_like(bundle.mass)
        mass[members] = bundle.mass[members]
        if mass.sum() > 0:
            found.append((float(mass.sum()), label, mass / mass.sum()))
    found.sort(key=lambda entry: -entry[0])
    return [(label, mass) for _, label, mass in found[:_AREAS]]


def _plain(placed: Placed, summary: Summary, bundle: Bundle) -> dict[str, Any]:
    def both(mass: Any) -> dict[str, Any]:
        rows = (("before", placed.before), ("after", placed.after))
        said = {}
        for name, belief in rows:
            score, low, high = (round(value, 4) for value in _interval(belief, mass))
            said[name] = {"score": score, "interval": [low, high]}
        return said

    left_out = next((row.left_out for row in summary.workers if row.worker == placed.profile), None)
    return {
        "worker": placed.worker,
        "profile": placed.profile,
        "measured_before": placed.measured,
        "probes": placed.probes,
        "right": None if placed.right is None else round(placed.right, 4),
        "cost_usd": placed.spent_usd,
        "left_out": left_out,
        **both(bundle.mass),
        "areas": [{"area": label, **both(mass)} for label, mass in _areas(bundle)],
    }


def _print(placed: Placed, bundle: Bundle) -> None:
    from rich.table import Table

    title = f"{placed.worker} (profile {placed.profile}): {placed.probes} probes"
    if placed.right is not None:
        title += f", {placed.right:.0%} right, {money(placed.spent_usd)}"
    table = Table(box=None, pad_edge=False, header_style="bold", title=title, title_justify="left")
    table.add_column("expected score")
    for name in ("before", "after"):
        table.add_column(name, justify="right")
    for label, mass in [("over all", bundle.mass), *_areas(bundle)]:
        cells = []
        for belief in (placed.before, placed.after):
            score, low, high = _interval(belief, mass)
            cells.append(f"{score:.2f}  [{low:.2f}, {high:.2f}]")
        table.add_row(label, *cells)
    stdout().print(table)


def _print_end(plan: ProbePlan, summary: Summary, *, saved: bool) -> None:
    out = stdout()
    for row in summary.workers:
        if row.left_out is not None:
            out.print(f"{row.worker}: asked no more: {row.left_out}", style="yellow", markup=False)
    if summary.stopped_by is not None:
        capped = summary.stopped_by.startswith("$")
        how = "; every call's worst price counts, --max-usd raises the cap" if capped else ""
        out.print(f"stopped by {summary.stopped_by}; the same command goes on{how}", style="yellow")
    if not saved:
        out.print("no probe was answered; nothing was written", style="yellow")
        return
    out.print(f"{summary.calls} calls, {money(summary.spent_usd)}; wrote {plan.save}", markup=False)
    if plan.pool.selector is None or plan.pool.selector.resolve() != plan.save.resolve():
        value = shlex.quote(str(plan.save)).strip("'")
        out.print(f'to use it, put into fugu.toml: [pool] selector = "{value}"', markup=False)
