"""The recipes, run as they stand: with prepared workers, and with small local models."""

from __future__ import annotations

import os
import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("crewai")

from crews import QUIET

from fugu_adapters.store import Store
from fugu_adapters.workers.local_models import DEFAULTS, locate

Printed = Callable[[str], list[str]]

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = [pytest.mark.filterwarnings(line) for line in QUIET]

VARIANTS = [
    "scripted",
    pytest.param(
        "embedded",
        marks=[
            pytest.mark.embedded,
            pytest.mark.timeout(280),
            pytest.mark.skipif(
                any(locate(name) is None for name in DEFAULTS),
                reason="weights are not here; `fugu pull` fetches them",
            ),
        ],
    ),
]


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def printed(
    variant: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Printed:
    def run(name: str) -> list[str]:
        monkeypatch.setattr(sys, "argv", [name, variant])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out.splitlines()

    return run


def told_and_stored(lines: list[str]) -> tuple[int, int]:
    """Tokens by the crews' own counts, over both kickoffs, and by the runs in our store."""
    runs = Store(os.environ["FUGU_STORE"]).list(1_000)
    used = [run.usage.total_tokens or 0 for run in runs if run.usage]
    return sum(int(number) for number in re.findall(r"(\d+) tokens", "\n".join(lines))), sum(used)


def test_two_agents(printed: Printed) -> None:
    """Both answer, blocking and awaited; the crew counts what the store counts."""
    lines = printed("crew_two_agents.py")
    assert [line for line in lines if line.startswith("kickoff")] == ["kickoff", "kickoff_async"]
    answers = [line for line in lines if "Clerk:" in line]
    assert len(answers) == 2
    assert all("17751" in line.replace(",", "") for line in answers)
    assert sum("2026-04-15" in line for line in lines if "Planner:" in line) == 2
    crews, store = told_and_stored(lines)
    assert crews == store > 0


def test_a_manager_delegates(printed: Printed) -> None:
    """What the coworker found is the crew's answer; the manager's tokens are counted too, once."""
    lines = printed("crew_hierarchical.py")
    crews, store = told_and_stored(lines)
    assert crews == store > 0
    assert [line.split(":")[0] for line in lines] == ["kickoff", "kickoff_async"]
    assert all("17751" in line.replace(",", "") for line in lines)


def test_a_flow_is_routed_without_a_model(printed: Printed) -> None:
    """Each question goes to the agent that is for it."""
    lines = printed("crew_flow.py")
    chosen = [line.split()[1].rstrip(":") for line in lines if line.startswith("  -> ")]
    assert chosen == ["arithmetic", "dates", "language"]
    text = "\n".join(lines).replace(",", "")
    assert "17751" in text
    assert "2026-04-15" in text
    assert "positive" in lines[-2].lower()


def test_tools_and_a_structured_answer(printed: Printed) -> None:
    """The tool's price is in the model that the crew returns, and the calls of the tool loop are counted."""
    lines = printed("crew_tools.py")
    crews, store = told_and_stored(lines)
    assert crews == store > 0
    assert [line.split(" (")[0] for line in lines] == ["Offer(product='chair', dollars=85)"] * 2
