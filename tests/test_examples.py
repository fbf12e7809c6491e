"""Every example is run."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from fugu_adapters.workers.local_models import DEFAULTS, locate

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_no_example_escapes() -> None:
    """Each file has a test below."""
    assert {path.name for path in EXAMPLES.glob("*.py")} == {"demo.py"}


@pytest.mark.embedded
@pytest.mark.timeout(280)
def test_the_demo_routes_different_questions_to_different_workers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Real answers, reasons, at least two workers, and the sums that a program gets right."""
    if any(locate(name) is None for name in DEFAULTS):
        pytest.skip("weights are not here; `fugu pull` fetches them")
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(EXAMPLES / "demo.py"), run_name="__main__")
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    chosen = {line.split()[1] for line in printed.splitlines() if line.startswith("  -> ")}
    assert len(chosen) >= 2
    assert "2026-04-15" in printed
    assert "17751" in printed.replace(",", "")
    assert "uncalibrated" not in printed
