"""``fugu serve``'s helpers: ``keys`` and ``connect``."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fugu_adapters import ConfigError, InputError
from fugu_adapters.cli.app import app
from fugu_adapters.serve.access import digest_of
from fugu_adapters.serve.connect import plan_connection
from fugu_adapters.store import Store

POOL = '[[worker]]\nname = "w"\nmodel = "m"\nbase_url = "http://127.0.0.1:1/v1"\n'
URL = "http://127.0.0.1:8787"


@pytest.fixture
def config(tmp_path: Path) -> str:
    """A pool with a store of its own."""
    path = tmp_path / "fugu.toml"
    path.write_text(f'{POOL}[store]\nurl = "{tmp_path / "runs.db"}"\n')
    return str(path)


def run(*arguments: str) -> str:
    """What a command prints; errors come through."""
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_a_key_is_shown_once(config: str, tmp_path: Path) -> None:
    """The store has its digest and nothing of itself."""
    key = run("keys", "add", "ann", "--budget", "5", "-x", "provider:x", "-c", config).strip()
    assert key.startswith("fugu-")
    assert len(key) > 40
    [kept] = Store(str(tmp_path / "runs.db")).list_keys()
    assert kept.digest == digest_of(key)
    assert (kept.budget_usd, kept.exclude, kept.revoked) == (5.0, ("provider:x",), False)
    assert key[10:] not in (tmp_path / "runs.db").read_bytes().decode("latin-1")
    listed = json.loads(run("keys", "list", "--json", "-c", config))["keys"]
    assert listed[0]["name"] == "ann"
    assert key not in run("keys", "list", "-c", config)


def test_keys_are_changed_and_taken_back(config: str, tmp_path: Path) -> None:
    """By name; a name that is taken or unknown is an error that says so."""
    run("keys", "add", "ann", "-c", config)
    with pytest.raises(InputError, match="'ann' already"):
        run("keys", "add", "ann", "-c", config)
    run("keys", "set", "ann", "--budget", "2.5", "-c", config)
    run("keys", "revoke", "ann", "-c", config)
    [kept] = Store(str(tmp_path / "runs.db")).list_keys()
    assert (kept.budget_usd, kept.revoked) == (2.5, True)
    for command in (["revoke", "bob"], ["set", "bob", "--budget", "1"]):
        with pytest.raises(InputError, match="no key 'bob'"):
            run("keys", *command, "-c", config)
    with pytest.raises(InputError, match="nothing to change"):
        run("keys", "set", "ann", "-c", config)
    with pytest.raises(InputError, match="name: expected"):
        run("keys", "add", "a b", "-c", config)


def test_connections_are_shown_before_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``--dry-run`` writes nothing; ``--yes`` writes what was shown; the second time there is nothing to do."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("CODEX_HOME", "CLAUDE_CONFIG_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    shown = run("connect", "claude", "--dry-run")
    assert '+    "ANTHROPIC_BASE_URL": "http://127.0.0.1:8787"' in shown
    assert not (tmp_path / ".claude").exists()
    with pytest.raises(InputError, match="--yes"):
        run("connect", "claude")
    for client in ("claude", "codex", "opencode"):
        assert run("connect", client, "--yes")
        assert run("connect", client, "--yes") == ""
    settings = json.loads((tmp_path / ".claude" / "settings.json").read_text())
    assert settings["env"]["ANTHROPIC_MODEL"] == "fugu"
    profile = tomllib.loads((tmp_path / ".codex" / "fugu.config.toml").read_text())
    assert profile["model_providers"][profile["model_provider"]]["base_url"] == f"{URL}/v1"
    opencode = json.loads((tmp_path / ".config" / "opencode" / "opencode.json").read_text())
    assert set(opencode["provider"]["fugu"]["models"]) == {"fugu", "fugu-trinity", "fugu-ultra", "fugu-auto"}  # fmt: skip


def test_what_is_there_stays(tmp_path: Path) -> None:
    """Other settings keep every character; one that says something else is written over only where that is wished."""
    file = tmp_path / ".claude" / "settings.json"
    file.parent.mkdir()
    before = '{\n    "model":   "opus",\n    "env": {"A": "1"}\n}\n'
    file.write_text(before)
    change = plan_connection("claude", url=URL, home=tmp_path, env={})
    assert change.after.startswith('{\n    "model":   "opus",')
    assert json.loads(change.after)["env"]["A"] == "1"
    change.apply()
    with pytest.raises(ConfigError, match="ANTHROPIC_BASE_URL; --force"):
        plan_connection("claude", url="http://127.0.0.1:9", home=tmp_path, env={})
    forced = plan_connection(
        "claude", url="http://127.0.0.1:9", home=tmp_path, env={}, replace=True
    )
    assert json.loads(forced.after)["env"]["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:9"
    file.write_text("// a comment\n{}")
    with pytest.raises(ConfigError, match="left as it is"):
        plan_connection("claude", url=URL, home=tmp_path, env={})
    profile = tmp_path / ".codex" / "fugu.config.toml"
    profile.parent.mkdir()
    profile.write_text('model = "mine"\n')
    with pytest.raises(ConfigError, match="--force"):
        plan_connection("codex", url=URL, home=tmp_path, env={})


def test_keys_are_never_written(tmp_path: Path) -> None:
    """Where the server wants one, the clients are told which variable has it."""
    for client in ("claude", "codex", "opencode"):
        change = plan_connection(client, url=URL, has_key=True, home=tmp_path, env={"FUGU_KEY": "canary"})  # type: ignore[arg-type] # fmt: skip
        assert "FUGU_KEY" in change.after
        assert "canary" not in change.after


@pytest.mark.parametrize(
    "arguments",
    [["emacs"], ["claude", "--model", "gpt"], ["claude", "--url", "ftp://x"], ["claude", "--url", "http://u@h"]],
)  # fmt: skip
def test_wrong_arguments_are_named(arguments: list[str]) -> None:
    """Before anything is read."""
    with pytest.raises(InputError, match="expected"):
        run("connect", *arguments)


def test_serve_checks_before_it_listens(config: str) -> None:
    """An effort that is none, and a network without keys."""
    pytest.importorskip("uvicorn")
    pytest.importorskip("prometheus_client")
    with pytest.raises(InputError, match="--effort"):
        run("serve", "-c", config, "--effort", "huge")
    with pytest.raises(ConfigError, match="fugu keys add"):
        run("serve", "-c", config, "--host", "0.0.0.0")  # noqa: S104  it is refused
    with pytest.raises(ConfigError, match="fugu keys add"):
        run("serve", "-c", config, "--require-key")
