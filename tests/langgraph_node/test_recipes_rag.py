"""The recipe of answering from documents is run."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

pytest.importorskip("langgraph")

from fugu_adapters.workers.local_models import DEFAULTS, locate

EXAMPLE = Path(__file__).parents[2] / "examples" / "rag.py"


@pytest.mark.embedded
@pytest.mark.timeout(280)
def test_rag_finds_the_document_and_answers_from_it(capsys: pytest.CaptureFixture[str]) -> None:
    """The right document comes first each time; at least two of the three answers are right."""
    if any(locate(name) is None for name in DEFAULTS):
        pytest.skip("weights are not here; `fugu pull` fetches them")
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert ended.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    found = [line for line in lines if line.startswith("  found:")]
    assert ["borrow 12" in found[0], "basement" in found[1], "for free" in found[2]] == [True] * 3
    answers = [line.lower() for line in lines if line.startswith("  ") and line not in found]
    right = [word in text for word, text in zip(("12", "basement", "child"), answers, strict=True)]
    assert sum(right) >= 2
