"""Habits of the whole package, turned into failing tests."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import fugu_adapters

ROOT = Path(__file__).parent.parent
PACKAGES = ("fugu_adapters", "langgraph_node", "crewai_tool", "mcp_server")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))


def _modules() -> list[str]:
    names = []
    for package in PACKAGES:
        names.append(package)
        path = str(ROOT / package)
        names += [m.name for m in pkgutil.walk_packages([path], prefix=f"{package}.")]
    return names


def _rank(name: str) -> tuple[int, str]:
    """Constants, then classes, then the rest, as the linter sorts them."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


@pytest.mark.parametrize("name", _modules())
def test_every_module_lists_its_public_names_in_order(name: str) -> None:
    """``__all__`` is there, sorted, and every name in it exists."""
    path = ROOT.joinpath(*name.split("."))
    source = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text("utf-8")
    if not source.strip():
        return
    exported = [
        ast.literal_eval(node.value)
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        and node.value is not None
        and "__all__"
        in {
            t.id
            for t in (node.targets if isinstance(node, ast.Assign) else [node.target])
            if isinstance(t, ast.Name)
        }
    ]
    assert exported, f"{name} has no __all__"
    assert exported[0] == sorted(exported[0], key=_rank), f"{name}.__all__ is not sorted"
    if name.startswith("crewai_tool"):
        pytest.importorskip("crewai")  # not installed beside the newest versions of other hosts
    module = importlib.import_module(name)
    assert [n for n in exported[0] if not hasattr(module, n)] == []


def test_every_public_name_is_documented() -> None:
    """What the package exports has a docstring of its own."""
    for name in fugu_adapters.__all__:
        value = getattr(fugu_adapters, name)
        assert value.__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = fugu_adapters.nothing


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


FORBIDDEN_CALLS = {"eval", "exec", "compile", "os.system", "os.popen", "yaml.load", "input"}
FORBIDDEN_IMPORTS = {"pickle", "cPickle", "dill", "shelve", "marshal", "joblib", "cloudpickle"}
FORBIDDEN_KEYWORDS = {"shell", "allow_pickle", "trust_remote_code"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_is_evaluated_or_unpickled(path: Path) -> None:
    """No eval, exec, pickle, shell, unverified TLS, nor assert on input."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            assert _name(node.func) not in FORBIDDEN_CALLS, node.lineno
            for keyword in node.keywords:
                value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
                assert not (keyword.arg in FORBIDDEN_KEYWORDS and value is True), node.lineno
                assert not (keyword.arg == "verify" and value is False), node.lineno
        elif isinstance(node, ast.Import):
            assert not {alias.name.split(".")[0] for alias in node.names} & FORBIDDEN_IMPORTS
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] not in FORBIDDEN_IMPORTS
        assert not isinstance(node, ast.Assert), f"{path}:{node.lineno}"


@pytest.mark.parametrize("path", TESTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_test_says_what_it_shows(path: Path) -> None:
    """Each test function has a docstring that states the property."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith(
            "test_"
        ):
            assert ast.get_docstring(node), f"{path.name}::{node.name}"


def test_files_stay_readable() -> None:
    """No file of the packages is over 600 lines, the hard bound."""
    long = {
        str(p.relative_to(ROOT)): n
        for p in SOURCES
        if (n := len(p.read_text("utf-8").splitlines())) > 600
    }
    assert long == {}


_PROBE = """
import socket, sys, threading
def refuse(*a, **k): raise SystemExit("a socket was opened")
socket.socket.__init__ = refuse
import {module}
assert threading.active_count() == 1, "a thread was started"
heavy = {{"aiohttp", "httpx", "pydantic", "numpy", "sqlalchemy", "rich", "typer", "genai_prices", "langchain_core",
          "langgraph", "crewai", "mcp", "xllamacpp", "torch", "opentelemetry"}}
print(sorted(heavy & set(sys.modules)))
"""


def test_importing_costs_nothing() -> None:
    """No socket, no thread, no framework, no third-party module at all."""
    probe = _PROBE.format(module="fugu_adapters")
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_loads_no_model_and_no_client() -> None:
    """``fugu --help`` needs typer alone."""
    probe = _PROBE.format(module="fugu_adapters.cli.app")
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['typer']"
