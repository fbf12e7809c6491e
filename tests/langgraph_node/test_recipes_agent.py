"""The recipe of an agent with tools is run."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

pytest.importorskip("langchain.agents")

from fugu_adapters.workers.local_models import locate

EXAMPLE = Path(__file__).parents[2] / "examples" / "agent_with_tools.py"


@pytest.mark.embedded
@pytest.mark.timeout(280)
def test_agent_with_tools_calls_them_and_answers(capsys: pytest.CaptureFixture[str]) -> None:
    """Each question leads to the right call, and its result into the answer; the pool says why the others could not."""
    if locate("qwen2.5-coder-0.5b") is None:
        pytest.skip("weights are not here; `fugu pull` fetches them")
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert "caller   price_of({'product': 'chair'})" in printed
    assert "caller   shipping_to({'country': 'Japan'})" in printed
    answers = [line for line in printed.splitlines() if line.startswith("caller")][1::2]
    assert "85" in answers[0]
    assert "5 days" in answers[1]
    assert "cannot call tools" in printed
