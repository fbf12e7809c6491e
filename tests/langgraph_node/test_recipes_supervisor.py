"""The recipes with a routing node, run as they stand."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from fugu_adapters.workers.local_models import DEFAULTS, locate

EXAMPLES = Path(__file__).parent.parent.parent / "examples"

pytestmark = [
    pytest.mark.embedded,
    pytest.mark.timeout(280),
    pytest.mark.skipif(
        any(locate(name) is None for name in DEFAULTS),
        reason="weights are not here; `fugu pull` fetches them",
    ),
]


def run(name: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    return capsys.readouterr().out.splitlines()


def chosen(lines: list[str]) -> list[str]:
    return [line.split()[1].rstrip(":") for line in lines if line.startswith("  -> ")]


def test_a_graph_without_a_supervisor_model(capsys: pytest.CaptureFixture[str]) -> None:
    """Each question goes to the agent that is for it, the edges are drawn, the sums are right."""
    lines = run("supervisor.py", capsys)
    assert chosen(lines) == ["arithmetic", "dates", "language"]
    assert any("fugu -.-> dates" in line for line in lines)
    assert any("17751" in line.replace(",", "") for line in lines)


def test_a_person_approves_before_anything_is_spent(capsys: pytest.CaptureFixture[str]) -> None:
    """The correction is decided anew, and only the approved question is answered."""
    lines = run("approval.py", capsys)
    assert chosen(lines) == ["arithmetic", "arithmetic"]
    assert "17313" in lines[-1].replace(",", "")
