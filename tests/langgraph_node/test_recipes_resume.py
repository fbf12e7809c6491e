"""The recipe that is cut off and resumed, run as it stands."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from fugu_adapters.workers.local_models import DEFAULTS, locate

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


@pytest.mark.embedded
@pytest.mark.timeout(280)
@pytest.mark.skipif(
    any(locate(name) is None for name in DEFAULTS),
    reason="weights are not here; `fugu pull` fetches them",
)
def test_a_workflow_that_was_cut_off_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    """The drawing has the steps; after the cut only steps 2 and 3 are asked, and there is an answer."""
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(EXAMPLES / "resume.py"), run_name="__main__")
    assert ended.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    asked = [line.split()[1].rstrip(":") for line in lines if line.startswith("  step ")]
    assert asked == ["1", "2", "2", "3"]
    assert "  the power went out" in lines
    assert "  asked again: 2, 3" in lines
    assert any("1_qwen" in line and "--> 2_qwen" in line for line in lines)  # the graph's edge
    assert lines[-1].strip()
