"""Every example is run."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from fugu_adapters.workers.local_models import DEFAULTS, locate

TESTS = Path(__file__).parent
EXAMPLES = TESTS.parent / "examples"


def test_no_example_escapes() -> None:
    """Each file is named by a test, here or beside the tests of what it shows."""
    tests = "".join(path.read_text("utf-8") for path in TESTS.rglob("test_*.py"))
    assert [path.name for path in EXAMPLES.glob("*.py") if f'"{path.name}"' not in tests] == []


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
