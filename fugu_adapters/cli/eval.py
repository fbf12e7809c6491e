"""``fugu eval ...``: learned parts against simple methods on recorded outcomes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fugu_adapters.cli.common import JsonOption, bars, print_json, split_names, stdout
from fugu_adapters.errors import InputError

if TYPE_CHECKING:
    from fugu_adapters.evaluate.report import Report
    from fugu_adapters.evaluate.runner import Progress

__all__ = ["app", "conductor", "coordinator", "selector"]

app = typer.Typer(
    help="Measure learned parts on recorded outcomes.", no_args_is_help=True, rich_markup_mode=None
)


def _option(text: str) -> Any:
    return typer.Option(help=text, show_default=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plan:
    """What was asked for; the fields are the command's options."""

    items: list[Path]
    outcomes: list[Path]
    workers: tuple[str, ...]
    facts: Path | None
    fit_splits: tuple[str, ...]
    test_split: str
    seeds: int
    encoder: str | None
    cache: Path | None
    min_items: int
    robustness: bool
    sub_pools: int
    hold_out_worker: str | None
    probes: int


@app.command()
def selector(
    items: Annotated[list[Path], _option("Items, Parquet or JSON lines. May be repeated.")],
    outcomes: Annotated[list[Path], _option("Outcomes, Parquet or JSON lines. May be repeated.")],
    workers: Annotated[str, _option("Names of the pool, by commas. Default: all.")] = "",
    facts: Annotated[Path | None, _option("Prices of the workers, Parquet or JSON lines.")] = None,
    fit_splits: Annotated[str, typer.Option(help="Splits to fit on, by commas.")] = "train",
    test_split: Annotated[str, typer.Option(help="Split to report.")] = "test",
    seeds: Annotated[int, typer.Option(help="Runs of whatever is random.", min=1)] = 5,
    encoder: Annotated[str | None, _option("Encoder of the prompts. Default: ours.")] = None,
    cache: Annotated[Path | None, _option("Folder to keep encoded texts in.")] = None,
    min_items: Annotated[
        int, typer.Option(help="Items that all must have answered, to fit on and to report.", min=5)
    ] = 10,
    plot: Annotated[Path | None, _option("Draw cost against accuracy, .png or .svg.")] = None,
    robustness: Annotated[
        bool, typer.Option("--robustness", help="Also reword, mistype and cut the prompts.")
    ] = False,
    sub_pools: Annotated[int, typer.Option(help="Random sub-pools to try.", min=0)] = 0,
    hold_out_worker: Annotated[
        str | None, _option("A worker, or 'all': fit without it, then place it from --probes.")
    ] = None,
    probes: Annotated[int, typer.Option(help="Outcomes a held-out worker shows.", min=1)] = 32,
    as_json: JsonOption = False,
) -> None:
    """Compare the selector with simple methods on items that nothing was fitted to.

    All are fitted to the same splits, and every setting is chosen there.
    """
    plan = _Plan(
        items=items, outcomes=outcomes, workers=_names(workers), facts=facts, fit_splits=split_names(fit_splits),
        test_split=test_split, seeds=seeds, encoder=encoder, cache=cache, min_items=min_items,
        robustness=robustness, sub_pools=sub_pools, hold_out_worker=hold_out_worker, probes=probes,
    )  # fmt: skip
    if plot is not None:
        from fugu_adapters.evaluate.plots import check_plot

        check_plot(plot)
    with bars(hidden=as_json) as progress:
        report = _evaluate(plan, progress)
    if plot is not None:
        from fugu_adapters.evaluate.plots import plot as draw

        draw(report, plot)
    _print(report, as_json=as_json)


@app.command()
def coordinator(
    items: Annotated[list[Path], _option("Items, Parquet or JSON lines. May be repeated.")],
    outcomes: Annotated[list[Path], _option("Outcomes, Parquet or JSON lines. May be repeated.")],
    answers: Annotated[list[Path], _option("Recorded answers, Parquet. May be repeated.")],
    suites: Annotated[str, _option("Suites, by commas. Default: all with answers.")] = "",
    workers: Annotated[str, _option("Names of the pool. Default: a suite's best.")] = "",
    pool: Annotated[int, typer.Option(help="How many of a suite's best.", min=2)] = 8,
    without: Annotated[str, _option("Leave out workers whose names begin so, by commas.")] = "",
    facts: Annotated[Path | None, _option("Prices of the workers, Parquet or JSON lines.")] = None,
    fit_splits: Annotated[str, typer.Option(help="Splits to fit on, by commas.")] = "train,dev",
    test_split: Annotated[str, typer.Option(help="Split to report.")] = "test",
    seeds: Annotated[int, typer.Option(help="Runs of whatever is random.", min=1)] = 5,
    ablations: Annotated[bool, typer.Option("--ablations", help="Also without each part.")] = False,
    encoder: Annotated[str | None, _option("Encoder of the prompts. Default: ours.")] = None,
    cache: Annotated[Path | None, _option("Folder to keep encoded texts in.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the coordinator with votes, cascades and single workers on recorded answers."""
    from fugu_adapters.encoders import DEFAULT_ENCODER
    from fugu_adapters.learn.coordinator_data import Records, read_suites
    from fugu_adapters.learn.coordinator_eval import compare_suites, notes_of, plain, suite_table

    records = Records(
        items=items, outcomes=outcomes, answers=answers, facts=facts, suites=split_names(suites),
        workers=_names(workers), size=pool, without=split_names(without), fit_splits=split_names(fit_splits),
        test_split=test_split, encoder=encoder or DEFAULT_ENCODER, cache=cache,
    )  # fmt: skip
    with bars(hidden=as_json) as progress:
        found = read_suites(records, progress=progress)
        reports = compare_suites(found, seeds=seeds, ablations=ablations, progress=progress)
    if as_json:
        print_json(plain(reports))
        return
    for report in reports:
        stdout().print(suite_table(report.suite, report.items, report.methods))
        for line in notes_of(report):
            stdout().print(line, markup=False, highlight=False)


@app.command()
def conductor(
    items: Annotated[list[Path], _option("Items, Parquet or JSON lines. May be repeated.")],
    outcomes: Annotated[list[Path], _option("Outcomes, Parquet or JSON lines. May be repeated.")],
    answers: Annotated[list[Path], _option("Recorded answers, Parquet. May be repeated.")],
    suites: Annotated[str, _option("Suites, by commas. Default: all with answers.")] = "",
    workers: Annotated[str, _option("Names of the pool. Default: a suite's best.")] = "",
    pool: Annotated[int, typer.Option(help="How many of a suite's best.", min=2)] = 8,
    without: Annotated[str, _option("Leave out workers whose names begin so, by commas.")] = "",
    facts: Annotated[Path | None, _option("Prices of the workers, Parquet or JSON lines.")] = None,
    fit_splits: Annotated[str, typer.Option(help="Splits to fit on, by commas.")] = "train,dev",
    test_split: Annotated[str, typer.Option(help="Split to report.")] = "test",
    seeds: Annotated[int, typer.Option(help="Runs of whatever is random.", min=1)] = 5,
    iterations: Annotated[int, typer.Option(help="Of the policy's training.", min=1)] = 200,
    encoder: Annotated[str | None, _option("Encoder of the prompts. Default: ours.")] = None,
    cache: Annotated[Path | None, _option("Folder to keep encoded texts in.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the conductor with votes, fixed workflows and the coordinator on recorded answers."""
    from fugu_adapters.encoders import DEFAULT_ENCODER
    from fugu_adapters.learn.conductor_eval import compare_conductors, plain_conductors
    from fugu_adapters.learn.conductor_fit import Training
    from fugu_adapters.learn.coordinator_data import Records, read_suites
    from fugu_adapters.learn.coordinator_eval import suite_table

    records = Records(
        items=items, outcomes=outcomes, answers=answers, facts=facts, suites=split_names(suites),
        workers=_names(workers), size=pool, without=split_names(without), fit_splits=split_names(fit_splits),
        test_split=test_split, encoder=encoder or DEFAULT_ENCODER, cache=cache,
    )  # fmt: skip
    with bars(hidden=as_json) as progress:
        found = read_suites(records, progress=progress)
        training = Training.of(iterations)
        reports = compare_conductors(found, training=training, seeds=seeds, progress=progress)
    if as_json:
        print_json(plain_conductors(reports))
        return
    for report in reports:
        stdout().print(suite_table(report.suite, report.items, report.methods))
        for what, said in report.notes.items():
            stdout().print(f"{what}: {said}", markup=False, highlight=False)


def _names(text: str) -> tuple[str, ...]:
    """Worker names; `train selector --workers` takes a file, so a file here is told apart."""
    path = Path(text)
    if path.suffix in (".parquet", ".jsonl") and path.is_file():
        raise InputError(
            f"--workers: expected names of workers by commas, got the file {text}; "
            f"pass prices as --facts {text}"
        )
    return split_names(text)


def _evaluate(plan: _Plan, progress: Progress) -> Report:
    """Read, encode, fit, compare, and run the studies that were asked for."""
    from fugu_adapters.encoders import DEFAULT_ENCODER, load_encoder
    from fugu_adapters.evaluate import studies
    from fugu_adapters.evaluate.compare import compare
    from fugu_adapters.evaluate.data import read_dataset
    from fugu_adapters.evaluate.runner import common_workers, fit_all, gather
    from fugu_adapters.learn.selector_eval import SelectorFit
    from fugu_adapters.learn.selector_fit import encode_items

    name = plan.encoder or DEFAULT_ENCODER
    model = load_encoder(name)
    data = read_dataset(plan.items, plan.outcomes, plan.facts)
    data = data.in_splits([*plan.fit_splits, plan.test_split])
    workers = plan.workers or common_workers(data, plan.fit_splits, min_items=plan.min_items)
    held = workers if plan.hold_out_worker == "all" else split_names(plan.hold_out_worker or "")
    vectors = encode_items(data, name, cache=plan.cache, progress=progress)
    task = gather(
        data, vectors, workers, fit_splits=plan.fit_splits, test_split=plan.test_split, min_items=plan.min_items
    )  # fmt: skip
    fit = SelectorFit(encoder=name)
    data = replace(data, facts={name: data.facts[name] for name in workers if name in data.facts})
    fitted = fit_all(data, vectors, fit, seeds=plan.seeds, task=task, progress=progress)
    report = compare(task, fitted, seeds=plan.seeds, progress=progress)
    found: dict[str, Any] = {}
    if plan.robustness:
        found["robustness"] = studies.robustness(task, fitted, model.encode)
    if plan.sub_pools:
        found["sub_pools"] = studies.sub_pools(task, fitted, plan.sub_pools)
    if held:
        found["hold_out_workers"] = studies.hold_out_workers(
            data, vectors, task, fitted, fit, fit, workers=held, probes=plan.probes,
            fit_splits=plan.fit_splits, progress=progress,
        )  # fmt: skip
    return replace(report, studies=found)


def _print(report: Report, *, as_json: bool) -> None:
    from fugu_adapters.evaluate.report import plain, study_tables, summary, table

    if as_json:
        print_json(plain(report))
        return
    console = stdout()
    console.print(table(report))
    for line in summary(report):
        console.print(line, markup=False)
    for study in study_tables(report):
        console.print(study)
