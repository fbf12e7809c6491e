from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest
from routing_world import World

from fugu_adapters.errors import ConfigError
from fugu_adapters.evaluate.compare import compare
from fugu_adapters.evaluate.plots import check_plot, plot
from fugu_adapters.evaluate.report import Report


@pytest.fixture(scope="module")
def report() -> Report:
    world = World()
    return compare(world.task, world.fitted, seeds=1)


def test_costs_and_scores_are_drawn_with_every_worker_named(report: Report, tmp_path: Path) -> None:
    """An SVG that holds the workers' names, the methods' names and the axes."""
    pytest.importorskip("matplotlib")
    plot(report, tmp_path / "a.svg")
    words = " ".join(ElementTree.parse(tmp_path / "a.svg").getroot().itertext())  # noqa: S314
    for name in (*report.workers, "selector, any tolerance", "k-means", "oracle", "cost of 1,000"):
        assert name in words


def test_without_costs_the_scores_alone_are_drawn(report: Report, tmp_path: Path) -> None:
    """No prices, no cost axis; every method is there with its interval."""
    pytest.importorskip("matplotlib")
    rows = {name: replace(row, curve=(), cost_usd_per_1k=None) for name, row in report.rows.items()}
    plot(replace(report, rows=rows), tmp_path / "b.svg")
    words = " ".join(ElementTree.parse(tmp_path / "b.svg").getroot().itertext())  # noqa: S314
    assert "too few costs known" in words
    assert "cost of" not in words
    assert f"{report.rows['knn'].accuracy:.3f}" in words


def test_a_method_of_unknown_cost_is_still_named(report: Report, tmp_path: Path) -> None:
    """Its score stands in the legend, with a word on why there is no point."""
    pytest.importorskip("matplotlib")
    rows = dict(report.rows) | {"knn": replace(report.rows["knn"], curve=(), cost_usd_per_1k=None)}
    plot(replace(report, rows=rows), tmp_path / "d.svg")
    words = " ".join(ElementTree.parse(tmp_path / "d.svg").getroot().itertext())  # noqa: S314
    assert f"kNN {rows['knn'].accuracy:.3f} (cost unknown)" in words


def test_a_picture_is_one(report: Report, tmp_path: Path) -> None:
    """PNG by the file's ending."""
    pytest.importorskip("matplotlib")
    plot(report, tmp_path / "c.png")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_drawn_is_said_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another ending, or no matplotlib, is an error of configuration that says what to do."""
    with pytest.raises(ConfigError, match=r"\.png or \.svg"):
        check_plot(tmp_path / "a.pdf")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ConfigError, match="pip install"):
        check_plot(tmp_path / "a.png")
