"""The adapter's names: loaded when used, and a missing framework is named."""

from __future__ import annotations

import subprocess
import sys

import pytest

import crewai_tool
from fugu_adapters import ConfigError


def test_importing_the_crew_adapter_loads_no_framework() -> None:
    """Neither CrewAI nor anything of it."""
    probe = "import crewai_tool, sys; print([m for m in sys.modules if m.startswith('crewai')])"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['crewai_tool']"


@pytest.mark.parametrize("name", ["FuguLLM", "FuguTool", "fugu_router"])
def test_a_missing_crewai_names_its_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The remedy is a command to type, whether or not CrewAI is installed."""
    module = {"FuguLLM": "llm", "FuguTool": "tool", "fugu_router": "router"}[name]
    for known in [m for m in sys.modules if m == "crewai" or m.startswith("crewai.")]:
        monkeypatch.setitem(sys.modules, known, None)
    monkeypatch.setitem(sys.modules, "crewai", None)
    for ours in ("errors", module):
        monkeypatch.delitem(sys.modules, f"crewai_tool.{ours}", raising=False)
    monkeypatch.delitem(vars(crewai_tool), name, raising=False)
    with pytest.raises(ConfigError, match=r'crewai, which is not .*"fugu-adapters\[crewai\]"'):
        getattr(crewai_tool, name)


def test_another_module_that_is_missing_is_not_taken_for_crewai(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A broken installation keeps its own error."""

    def broken(_: str) -> None:
        raise ModuleNotFoundError("No module named 'lancedb'", name="lancedb")

    monkeypatch.setattr(crewai_tool, "import_module", broken)
    monkeypatch.delitem(vars(crewai_tool), "FuguTool", raising=False)
    with pytest.raises(ModuleNotFoundError, match="lancedb"):
        _ = crewai_tool.FuguTool


def test_the_crew_adapters_names_are_those_that_are_listed() -> None:
    """Nothing else is there, and nothing is missing from the list."""
    assert dir(crewai_tool) == sorted(crewai_tool.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = crewai_tool.Nothing
