"""One figure of an evaluation: cost against accuracy, or accuracy alone where costs are unknown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fugu_adapters.errors import ConfigError
from fugu_adapters.evaluate.report import Report, Row

__all__ = ["check_plot", "plot"]

_OURS, _GREY = "#c2410c", "#6b7280"
_TINTS = (
    "#2563eb",
    "#0d9488",
    "#7c3aed",
    "#a16207",
    "#be185d",
    "#4d7c0f",
    "#0891b2",
    "#111827",
    "#ca8a04",
)
_LABELS = {"best_single": "best single", "kmeans": "k-means", "knn": "kNN", "mlp": "MLP", "mf": "matrix factorisation",
           "per_domain": "per domain (told)", "litellm_heuristic": "LiteLLM heuristic"}  # fmt: skip


def check_plot(path: Path) -> None:
    """Whether a figure can be drawn to this file, before anything long is run.

    Raises:
        ConfigError: where matplotlib is not installed or the ending is another than .png or .svg.
    """
    if path.suffix not in (".png", ".svg"):
        raise ConfigError(f"plot: expected a file that ends in .png or .svg, got {path.name!r}")
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "plot: needs matplotlib; run `pip install 'fugu-adapters[train]'`"
        ) from error


def plot(report: Report, path: Path) -> None:
    """Draw a report to a file.

    Args:
        report: what was found.
        path: ends in ``.png`` or ``.svg``.

    Raises:
        ConfigError: as :func:`check_plot`.
    """
    check_plot(path)
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, 5.6), dpi=160, layout="constrained")
    axes = figure.add_subplot()
    ours, single = report.rows["selector"], report.rows["best_single"]
    if ours.cost_usd_per_1k and ours.curve and single.cost_usd_per_1k:
        _tradeoff(axes, report)
    else:
        _intervals(axes, report)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, color="#e5e7eb", linewidth=0.6)
    axes.set_axisbelow(True)
    with rc_context({"svg.fonttype": "none"}):  # words stay words
        figure.savefig(path)


def label(method: str) -> str:
    """A method's name for people."""
    return _LABELS.get(method, method)


def _title(report: Report) -> str:
    seeds = f"{report.seeds} seed{'s' if report.seeds > 1 else ''}"
    return f"{report.n_items:,} held-out items, {len(report.workers)} workers, {seeds}"


def _tradeoff(axes: Any, report: Report) -> None:
    """Ours as a curve, the other methods as points on thin curves, workers as labelled points."""
    from matplotlib.ticker import FuncFormatter

    _our_curve(axes, report)
    apart = ("oracle", "random")
    others = [row for row in report.rows.values() if not _ours(row) and row.method not in apart]
    for row, tint in zip(_best_first(others), _TINTS * 2, strict=False):
        if row.curve:
            axes.plot(
                *zip(*row.curve, strict=True), drawstyle="steps-post", color=tint, linewidth=0.8, alpha=0.55
            )  # fmt: skip
        text = f"{label(row.method)} {row.accuracy:.3f}"
        if row.cost_usd_per_1k:
            axes.plot(
                row.cost_usd_per_1k, row.accuracy, "D", color=tint, markersize=5, zorder=4, label=text
            )  # fmt: skip
        else:
            axes.plot([], [], " ", label=f"{text} (cost unknown)")
    _workers(axes, report)
    oracle = report.rows["oracle"].accuracy
    axes.axhline(oracle, color=_GREY, linestyle=":", linewidth=1.4, label=f"oracle {oracle:.3f}")
    axes.set_xscale("log")
    axes.margins(x=0.08)
    for ticks in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        ticks(
            FuncFormatter(lambda dollars, _: f"${dollars:g}" if f"{dollars:e}"[0] in "125" else "")
        )
    axes.set_xlabel("cost of 1,000 requests (log scale)")
    axes.set_ylabel("accuracy")
    axes.set_title(_title(report), fontsize=10, loc="left")
    entries = list(zip(*axes.get_legend_handles_labels(), strict=True))
    entries.sort(key=lambda entry: not entry[1].startswith("selector"))
    axes.legend(
        *zip(*entries, strict=True),
        fontsize=8,
        frameon=False,
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
    )


def _workers(axes: Any, report: Report) -> None:
    """Single workers, each label on the side where there is room."""
    costs = {
        name: one.cost_usd_per_1k for name, one in report.workers.items() if one.cost_usd_per_1k
    }
    middle = (max(costs.values()) * min(costs.values())) ** 0.5
    for name, cost in costs.items():
        score, left = report.workers[name].accuracy, cost > middle
        axes.plot(
            cost, score, "o", color="#9ca3af", markeredgecolor="white", markersize=6, zorder=3
        )
        axes.annotate(
            name, (cost, score), xytext=(-6 if left else 6, -3), textcoords="offset points", zorder=6,
            ha="right" if left else "left", fontsize=7, color="#374151",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5},
        )  # fmt: skip


def _our_curve(axes: Any, report: Report) -> None:
    for row in report.rows.values():
        if _ours(row) and row.cost_usd_per_1k:
            default = row.method == "selector"
            axes.errorbar(
                row.cost_usd_per_1k, row.accuracy, fmt="*" if default else "s", color=_OURS, zorder=5,
                markersize=13 if default else 5, yerr=_reach(row) if default else None, capsize=3,
                elinewidth=1.0, label=f"{label(row.method)} {row.accuracy:.3f}",
            )  # fmt: skip
    axes.plot(
        *zip(*report.rows["selector"].curve, strict=True), drawstyle="steps-post", color=_OURS,
        linewidth=2.2, zorder=3, label="selector, any tolerance",
    )  # fmt: skip


def _intervals(axes: Any, report: Report) -> None:
    """Accuracy of each method with its interval, best on top."""
    rows = _best_first(list(report.rows.values()))[::-1]
    for place, row in enumerate(rows):
        colour = _OURS if _ours(row) else _GREY if row.method == "oracle" else _TINTS[0]
        axes.errorbar(
            row.accuracy, place, xerr=_reach(row), fmt="*" if row.method == "selector" else "o", color=colour,
            markersize=12 if row.method == "selector" else 6, capsize=3, elinewidth=1.4,
        )  # fmt: skip
        axes.annotate(
            f"{row.accuracy:.3f}", (row.ci[1], place), xytext=(6, 0), textcoords="offset points",
            va="center", fontsize=8, color=colour,
        )  # fmt: skip
    axes.set_yticks(range(len(rows)), [label(row.method) for row in rows], fontsize=8)
    axes.margins(x=0.08)
    axes.axvline(
        report.rows["best_single"].accuracy, color="#374151", linestyle="--", linewidth=0.9
    )
    axes.set_xlabel("accuracy, 95 % interval (dashed: best single worker)")
    axes.set_title(f"{_title(report)}; too few costs known", fontsize=10, loc="left")


def _ours(row: Row) -> bool:
    return row.method.startswith("selector")


def _best_first(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: -row.accuracy)


def _reach(row: Row) -> list[list[float]]:
    """How far the interval reaches below and above."""
    return [[max(0.0, row.accuracy - row.ci[0])], [max(0.0, row.ci[1] - row.accuracy)]]
