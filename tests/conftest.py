"""What every test starts from: no keys in the environment, nothing written outside a temporary folder."""

from __future__ import annotations

from pathlib import Path

import pytest

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
