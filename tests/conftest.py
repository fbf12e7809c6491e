"""What every test starts from: no keys in the environment, nothing written outside a temporary folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fugu_adapters.store import Store

_KEYS = (
    "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "GEMINI_API_KEY",
    "GOOGLE_API_KEY",
    "OPENROUTER_API_KEY",
    "OPENAI_BASE_URL",
    "OLLAMA_HOST",
    "FUGU_LOCAL_URL",
    "FUGU_CONFIG",
    "FUGU_LOCAL_MODEL",
)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for key in _KEYS:
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv("FUGU_STORE", f"sqlite:///{tmp_path / 'fugu.db'}")
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture(autouse=True)
def _databases_closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Python 3.13 warns of a database that is still open when nobody knows of it any more."""
    made: list[Store] = []
    begin = Store.__init__

    def begun(self: Store, *args: Any, **options: Any) -> None:
        begin(self, *args, **options)
        made.append(self)

    monkeypatch.setattr(Store, "__init__", begun)
    yield
    for store in made:
        store.close()
