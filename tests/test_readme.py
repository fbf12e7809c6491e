"""The README's examples are run as they stand."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from fugu_adapters import Pool
from fugu_adapters.workers.local_models import locate

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
MARKED = re.compile(r"<!-- test: (\w+) -->\n```(\w+)\n(.*?)```", re.DOTALL)
BLOCKS = MARKED.findall(README)
OF_DOCS = [
    (path.name, code)
    for path in sorted((ROOT / "docs").glob("*.md"))
    for _, _, code in MARKED.findall(path.read_text("utf-8"))
]


def _run(code: str) -> None:
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})  # noqa: S102  our own text


def test_every_python_and_toml_example_is_tested() -> None:
    """No example escapes."""
    fences = re.findall(r"^```(python|toml)$", README, re.MULTILINE)
    assert len(fences) == len(BLOCKS) == 4


@pytest.mark.parametrize("code", [code for kind, _, code in BLOCKS if kind == "run"])
def test_examples_without_models_run(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    """They print what they say."""
    _run(code)
    printed = capsys.readouterr().out
    assert printed.startswith(
        "coder Fits 'coder'" if "langgraph" in code else "decision shout\ncall"
    )
    assert "langgraph" in code or "\nresult shout\n" in printed


@pytest.mark.parametrize(("page", "code"), OF_DOCS, ids=[page for page, _ in OF_DOCS])
def test_marked_examples_of_the_docs_run(
    page: str, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """They print what their page says."""
    _run(code)
    said = {"workflow.md": "It is 4 o'clock.", "conductor.md": "expected: "}
    assert said[page] in capsys.readouterr().out


@pytest.mark.embedded
@pytest.mark.parametrize("code", [code for kind, _, code in BLOCKS if kind == "embedded"])
def test_examples_with_local_models_run(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The first example answers its question with a real model, for nothing."""
    if locate("qwen2.5-coder-0.5b") is None:
        pytest.skip("weights are not here; `fugu pull` fetches them")
    _run(code)
    assert "17751" in capsys.readouterr().out


@pytest.mark.parametrize("text", [text for kind, _, text in BLOCKS if kind == "toml"])
def test_the_configuration_example_validates(text: str) -> None:
    """It parses, and the catalogue knows the hosted model's price."""
    pool = Pool.from_dict(tomllib.loads(text))
    assert pool["sonnet"].price is not None
    assert pool["llama"].price is not None


def test_every_promise_names_a_test_that_exists() -> None:
    """The guarantees table links real files."""
    paths = re.findall(r"`(tests/[\w/.]+)`", README)
    assert len(paths) >= 8
    assert [path for path in paths if not (ROOT / path).exists()] == []
