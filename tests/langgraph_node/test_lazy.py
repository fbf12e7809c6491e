"""The adapter's names: loaded when used, and a missing framework is named."""

from __future__ import annotations

import subprocess
import sys

import pytest

import langgraph_node
from fugu_adapters import ConfigError


def test_importing_the_adapter_loads_no_framework() -> None:
    """Neither LangGraph nor LangChain, nor anything else that is not in the standard library."""
    probe = "import langgraph_node, sys; print([m for m in sys.modules if m.startswith('lang')])"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['langgraph_node']"


@pytest.mark.parametrize(
    ("name", "framework", "extra"),
    [
        ("FuguNode", "langgraph", "langgraph"),
        ("FuguState", "langgraph", "langgraph"),
        ("fugu_edge", "langgraph", "langgraph"),
        ("compile_workflow", "langgraph", "langgraph"),
        ("ChatFugu", "langchain_core", "langchain"),
        ("FuguMiddleware", "langchain", "agents"),
    ],
)
def test_a_missing_framework_names_its_extra(name: str, framework: str, extra: str) -> None:
    """The remedy is a command to type."""
    probe = f"""
import sys
sys.modules[{framework!r}] = None
import langgraph_node
try:
    langgraph_node.{name}
except Exception as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("ConfigError")
    assert f'pip install "fugu-adapters[{extra}]"' in done.stdout


def test_another_missing_module_is_not_taken_for_a_framework(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A broken installation keeps its own error."""

    def broken(_: str) -> None:
        raise ModuleNotFoundError("No module named 'zstandard'", name="zstandard")

    monkeypatch.setattr(langgraph_node, "import_module", broken)
    monkeypatch.delitem(vars(langgraph_node), "FuguNode", raising=False)
    with pytest.raises(ModuleNotFoundError, match="zstandard"):
        _ = langgraph_node.FuguNode
    monkeypatch.setattr(langgraph_node, "import_module", lambda _: missing("langgraph.graph"))
    with pytest.raises(ConfigError, match="langgraph, which is not installed"):
        _ = langgraph_node.FuguNode


def missing(name: str) -> None:
    raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_names_are_those_that_are_listed() -> None:
    """Nothing else is there, and nothing is missing from the list."""
    assert dir(langgraph_node) == sorted(langgraph_node.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = langgraph_node.Nothing
