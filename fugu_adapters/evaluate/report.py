"""What an evaluation found, as records, plain data for JSON, and a table for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from rich.table import Table

__all__ = [
    "Difference",
    "Report",
    "Row",
    "Single",
    "markdown",
    "plain",
    "study_tables",
    "summary",
    "table",
]

Interval: TypeAlias = tuple[float, float]
_Study: TypeAlias = tuple[str, tuple[str, ...], list[tuple[str, ...]]]
_COLUMNS = ("method", "accuracy [95 %]", "vs best single, points [95 %]", "p", "gap closed", "rare", "AUC", "$ per 1k")  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """A paired difference of mean scores.

    Attributes:
        method: whom it is measured against.
        diff: ours minus theirs, in score.
        ci: 95 % paired bootstrap interval over items.
        mcnemar_p: exact McNemar test, the median over seeds.
    """

    method: str
    diff: float
    ci: Interval
    mcnemar_p: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One method. ``None`` is unknown or does not apply.

    Attributes:
        method: its key.
        accuracy: mean score over items and seeds.
        ci: 95 % bootstrap interval over items of the scores averaged over seeds.
        cost_usd_per_1k: dollars for a thousand requests, on the items with comparable costs.
        gap_closed: share of the way from the best single worker to the oracle.
        rare_recall: mean score on items that at least one and at most two workers solve.
        auc: normalised area under the cost-quality curve; see ``metrics.curve_area``.
        ece: calibration error of the expected scores, all workers.
        cost_at_best_single_quality_usd_per_1k: least cost on the curve at the best single's quality.
        fit_s: seconds of one fit, tuning included.
        vs_best_single: against the worker that was best on the fit items.
        vs_best_baseline: for ours, against the simple method that is best on the test items.
        shares: share of the requests that each worker got.
        curve: (dollars per thousand, score) points that no other point of the curve beats.
    """

    method: str
    accuracy: float
    ci: Interval
    cost_usd_per_1k: float | None
    gap_closed: float | None
    rare_recall: float | None
    auc: float | None
    ece: float | None
    cost_at_best_single_quality_usd_per_1k: float | None
    fit_s: float | None
    vs_best_single: Difference
    vs_best_baseline: Difference | None
    shares: Mapping[str, float]
    curve: tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Single:
    """One worker alone: its mean score, and dollars for a thousand requests where known."""

    accuracy: float
    cost_usd_per_1k: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """One pool, evaluated.

    Attributes:
        workers: each alone, by name.
        best_single: the worker that was best on the fit items.
        n_items: items reported.
        n_fit_items: items that the baselines were fitted to.
        n_cost_items: items on which costs are compared.
        seeds: over which anything random is averaged.
        rows: methods by key, in the order they were run.
        missing: keys of methods that could not be run.
        notes: why, and what else to know.
        studies: further results by name, plain data.
    """

    workers: Mapping[str, Single]
    best_single: str
    n_items: int
    n_fit_items: int
    n_cost_items: int
    seeds: int
    rows: Mapping[str, Row]
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    studies: Mapping[str, Any] = field(default_factory=dict)


def plain(report: Report) -> dict[str, Any]:
    """The report as plain data for JSON; unknown is ``None``."""
    methods: dict[str, Any] = {}
    for name, row in report.rows.items():
        methods[name] = asdict(row)
        del methods[name]["method"]
    return {
        "pool": list(report.workers),
        "n_items": report.n_items,
        "n_fit_items": report.n_fit_items,
        "n_cost_items": report.n_cost_items,
        "seeds": report.seeds,
        "best_single": report.best_single,
        "workers": {name: asdict(single) for name, single in report.workers.items()},
        "methods": {**methods, **dict.fromkeys(report.missing)},
        "notes": list(report.notes),
        **report.studies,
    }


def _cells(report: Report) -> list[tuple[str, ...]]:
    """Text of every row, best first."""
    return [
        (
            row.method,
            f"{row.accuracy:.4f} [{row.ci[0]:.3f}, {row.ci[1]:.3f}]",
            _points(row.vs_best_single),
            f"{row.vs_best_single.mcnemar_p:.3f}",
            _shown(row.gap_closed, ".0%"),
            _shown(row.rare_recall, ".2f"),
            _shown(row.auc, ".3f"),
            _shown(row.cost_usd_per_1k, ".3f"),
        )
        for row in _best_first(report)
    ]


def _points(difference: Difference) -> str:
    return _diff({"diff": difference.diff, "ci": difference.ci})


def _dollars(value: float | None) -> str:
    """At most five characters up to 99,999 dollars."""
    return _shown(value, ".0f" if (value or 0.0) >= 100 else ".2g" if (value or 0.0) < 1 else ".3g")


def _shown(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def summary(report: Report) -> list[str]:
    """What the table has no column for, a sentence each."""
    ours = report.rows["selector"]
    lines = [f"best single worker on the fit items: {report.best_single}"]
    if ours.vs_best_baseline is not None:
        lines.append(
            f"selector against the best simple method here, {ours.vs_best_baseline.method}: "
            f"{_points(ours.vs_best_baseline)} points"
        )
    least, paid = (
        ours.cost_at_best_single_quality_usd_per_1k,
        report.rows["best_single"].cost_usd_per_1k,
    )
    if least is not None and paid:
        lines.append(f"selector's cost at the best single's quality: {least / paid:.0%} of it")
    elif paid and ours.curve:
        lines.append(
            "selector's cost at the best single's quality: not reached at any tolerance of known cost"
        )
    lines.append(
        f"selector's calibration error {_shown(ours.ece, '.3f')}, one fit {_shown(ours.fit_s, '.1f')} s"
    )
    if 0 < report.n_cost_items < report.n_items:
        lines.append(
            f"costs are those of the {report.n_cost_items} items on which they can be compared"
        )
    return [*lines, *report.notes]


def table(report: Report) -> Table:
    """A table of at most 80 columns, one row a method, best first, ours bold; scores in percent."""
    from rich.table import Table

    seeds = f"{report.seeds} seed{'s' if report.seeds > 1 else ''}"
    title = f"{report.n_items} items, {len(report.workers)} workers, {seeds}; scores in percent"
    made = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0), pad_edge=False)
    names = ("method", "score", "[95 %]", "vs single", "[95 %]", "p", "gap", "rare", "AUC", "$/1k")
    for column in names:
        made.add_column(column, justify="left" if column == "method" else "right", no_wrap=True)
    for row in _best_first(report):
        gain = row.vs_best_single
        made.add_row(
            row.method.replace("_heuristic", ""),
            f"{100 * row.accuracy:.1f}",
            f"{100 * row.ci[0]:.1f} {100 * row.ci[1]:.1f}",
            f"{100 * gain.diff:+.1f}",
            f"{100 * gain.ci[0]:+.1f} {100 * gain.ci[1]:+.1f}",
            _shown(gain.mcnemar_p, ".3f").removeprefix("0"),
            _shown(row.gap_closed, ".0%"),
            _shown(row.rare_recall, ".2f").removeprefix("0"),
            _shown(row.auc, ".3f").removeprefix("0"),
            _dollars(row.cost_usd_per_1k),
            style="bold" if row.method.startswith("selector") else None,
        )
    return made


def _best_first(report: Report) -> list[Row]:
    return sorted(report.rows.values(), key=lambda row: -row.accuracy)


def study_tables(report: Report) -> list[Table]:
    """Tables of the further studies, for a terminal."""
    from rich.table import Table

    tables = []
    for title, columns, rows in _studies(report):
        made = Table(*columns, title=title, title_justify="left")
        for cells in rows:
            made.add_row(*cells)
        tables.append(made)
    return tables


def _studies(report: Report) -> list[_Study]:
    """Title, column names and cells of each study that was run."""
    found: list[_Study] = []
    rows: list[tuple[str, ...]]
    columns: tuple[str, ...]
    if changes := report.studies.get("robustness"):
        rows = [
            (name, _shown(row["changed"], ".0%"), _shown(row["same_choice"], ".1%"), _diff(row))
            for name, row in changes.items()
        ]
        columns = ("change of the prompt", "prompts altered", "same choice", "score, points [95 %]")
        found.append(("Robustness", columns, rows))
    if pools := report.studies.get("sub_pools"):
        rows = [
            (", ".join(cell["pool"]), cell["best_single"], _diff(cell)) for cell in pools["cells"]
        ]
        title = (
            f"{pools['n']} sub-pools: mean {100 * pools['mean_diff']:+.2f} points, worst "
            f"{100 * pools['worst_diff']:+.2f}, {pools['share_not_worse']:.0%} not below the best single"
        )
        found.append((title, ("workers", "best single", "selector against it [95 %]"), rows))
    if held := report.studies.get("hold_out_workers"):
        rows = [
            (
                name, f"{row['score_full']:.4f}", f"{row['score_probes']:.4f}",
                f"{row['score_without']:.4f}", _shown(row["quality_share"], ".1%"),
            )
            for name, row in held["workers"].items()
        ]  # fmt: skip
        columns = (
            "held-out worker",
            "all outcomes",
            f"{held['probes']} probes",
            "without",
            "quality share",
        )
        found.append(("Workers that were not fitted on", columns, rows))
    return found


def _diff(row: Mapping[str, Any]) -> str:
    low, high = row["ci"]
    return f"{100 * row['diff']:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]"


def markdown(report: Report) -> str:
    """The same table in Markdown, with the sentences of :func:`summary` below."""
    lines = [f"| {' | '.join(_COLUMNS)} |", "|---" * len(_COLUMNS) + "|"]
    for cells in _cells(report):
        bold = "**" if cells[0].startswith("selector") else ""
        lines.append(f"| {bold}{cells[0]}{bold} | {' | '.join(cells[1:])} |")
    lines += ["", *(f"- {line}" for line in summary(report))]
    for title, columns, rows in _studies(report):
        lines += ["", f"{title}:", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
        lines += [f"| {' | '.join(cells)} |" for cells in rows]
    return "\n".join(lines)
