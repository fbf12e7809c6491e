"""Writing the server into clients' configurations."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from fugu_adapters import ConfigError
from mcp_server.install import CLIENTS, plan_install

COMMAND = ["/opt/fugu/bin/fugu", "mcp", "--config", "/home/me/fugu.toml"]
FUGU = [sys.executable, "-c", "from fugu_adapters.cli import main; main()", "mcp", "install"]


def _plan(client: Any, home: Path, **options: Any) -> Any:
    options.setdefault("env", {})
    return plan_install(client, command=COMMAND, home=home, folder=home, **options)


def _servers(client: str, text: str) -> dict[str, Any]:
    if client == "codex":
        servers: dict[str, Any] = tomllib.loads(text)["mcp_servers"]
        return servers
    table = {"vscode": "servers", "opencode": "mcp"}.get(client, "mcpServers")
    servers = json.loads(text)[table]
    return servers


@pytest.mark.parametrize("scope", ["user", "project"])
@pytest.mark.parametrize("client", CLIENTS)
def test_a_new_file_holds_the_server_alone(client: str, scope: str, tmp_path: Path) -> None:
    """Every client's file is made where it looks for it, with the command, for the user alone to read."""
    change = _plan(client, tmp_path, scope=scope)
    assert change.is_needed
    assert not change.path.exists()
    change.apply()
    entry = _servers(client, change.path.read_text())["fugu"]
    if client == "opencode":
        assert entry == {"type": "local", "command": COMMAND, "enabled": True}
    else:
        assert [entry["command"], *entry["args"]] == COMMAND
    assert stat.S_IMODE(change.path.stat().st_mode) == 0o600
    assert change.path.is_relative_to(tmp_path)
    assert not _plan(client, tmp_path, scope=scope).is_needed


@pytest.mark.parametrize("client", [c for c in CLIENTS if c != "codex"])
def test_what_is_in_a_json_file_stays(client: str, tmp_path: Path) -> None:
    """Other servers, other settings, their order, the indentation and the permissions."""
    path = _plan(client, tmp_path).path
    path.parent.mkdir(parents=True, exist_ok=True)
    table = {"vscode": "servers", "opencode": "mcp"}.get(client, "mcpServers")
    before = {"theme": "dunkel\u00e4", table: {"other": {"command": "x"}}, "last": [1, 2]}
    path.write_text(json.dumps(before, indent="\t", ensure_ascii=False) + "\n")
    path.chmod(0o640)
    change = _plan(client, tmp_path)
    change.apply()
    after = json.loads(path.read_text())
    fugu = after[table].pop("fugu")
    assert fugu
    assert after == before
    assert list(after) == list(before)
    assert '\n\t"theme": "dunkel\u00e4"' in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert "theme" not in change.diff
    assert "fugu" in change.diff


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", '{\n  "mcpServers": {\n    "fugu": ENTRY\n  }\n}\n'),
        (" \n", '{\n  "mcpServers": {\n    "fugu": ENTRY\n  }\n}\n'),
        ("{}", '{\n  "mcpServers": {\n    "fugu": ENTRY\n  }\n}'),
        ('{"a": [1, {"b": "}"}]}', '{"a": [1, {"b": "}"}],\n  "mcpServers": {\n    "fugu": ENTRY\n  }\n}'),
        (
            '{\n    "a": 1.50,\n    "mcpServers": {\n    }\n}\n',
            '{\n    "a": 1.50,\n    "mcpServers": {\n        "fugu": ENTRY\n    }\n}\n',
        ),
        (
            '{\n  "mcpServers": {\n    "x": {"args": ["a", "b"], "env": {}}\n  },\n  "z": "\\ud83d\\u00e4"\n}',
            '{\n  "mcpServers": {\n    "x": {"args": ["a", "b"], "env": {}},\n    "fugu": ENTRY\n  },\n'
            '  "z": "\\ud83d\\u00e4"\n}',
        ),
        (
            '{\r\n\t"mcpServers" : {\r\n\t\t"fugu" : {"command": "old"} ,\r\n\t\t"x": {}\r\n\t}\r\n}\r\n',
            '{\r\n\t"mcpServers" : {\r\n\t\t"fugu" : ENTRY ,\r\n\t\t"x": {}\r\n\t}\r\n}\r\n',
        ),
    ],
)  # fmt: skip
def test_no_other_character_of_a_json_file_changes(before: str, after: str, tmp_path: Path) -> None:
    """However it was written by hand: the entry goes in, indented as its neighbours are."""
    path = tmp_path / ".cursor" / "mcp.json"
    path.parent.mkdir()
    path.write_bytes(before.encode())
    _plan("cursor", tmp_path, replace=True).apply()
    text = path.read_bytes().decode()
    start = re.search(r'"fugu" ?: ', text).end()  # type: ignore[union-attr]
    entry, length = json.JSONDecoder().raw_decode(text[start:])
    written = text[start : start + length]
    assert entry == {"command": COMMAND[0], "args": COMMAND[1:]}
    assert text[:start] + "ENTRY" + text[start + length :] == after
    margin = text[:start].rpartition("\n")[2].partition('"')[0]
    assert written.endswith(f"\n{margin}}}")
    assert ("\r\n" in before) == ("\r\n" in written)
    assert not _plan("cursor", tmp_path).is_needed


def test_the_shape_of_opencode_2_is_kept(tmp_path: Path) -> None:
    """Where a file has its servers one level deeper, as version 2 has them, ours goes beside them."""
    path = tmp_path / ".config" / "opencode" / "opencode.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"mcp": {"servers": {"x": {"type": "local", "command": ["y"]}}}}')
    _plan("opencode", tmp_path).apply()
    servers = json.loads(path.read_text())["mcp"]["servers"]
    assert servers.pop("fugu") == {"type": "local", "command": COMMAND}
    assert list(servers) == ["x"]
    assert not _plan("opencode", tmp_path).is_needed
    path.write_text(
        '{"mcp": {"servers": {"type": "local", "command": ["y"]}}}'
    )  # a server of that name
    _plan("opencode", tmp_path).apply()
    assert set(json.loads(path.read_text())["mcp"]) == {"servers", "fugu"}


def test_what_is_in_codexs_file_stays(tmp_path: Path) -> None:
    """Comments, order and other tables; the new table comes last."""
    path = tmp_path / ".codex" / "config.toml"
    path.parent.mkdir()
    before = '# mine\nmodel = "o9"  # the best\n\n[mcp_servers.other]\ncommand = "x"\n'
    path.write_text(before)
    change = _plan("codex", tmp_path, variables=["OPENAI_API_KEY"])
    change.apply()
    text = path.read_text()
    assert text.startswith(before)
    entry = tomllib.loads(text)["mcp_servers"]["fugu"]
    assert entry["required"] is True
    assert entry["tool_timeout_sec"] > 600
    assert entry["env_vars"] == ["OPENAI_API_KEY"]
    assert tomllib.loads(text)["model"] == "o9"
    assert not _plan("codex", tmp_path, variables=["OPENAI_API_KEY"]).is_needed


@pytest.mark.parametrize(
    "old",
    [
        '[mcp_servers.fugu]\ncommand = "old"\n[mcp_servers.fugu.env]\nA = "b"\n',
        '[ mcp_servers . "fugu" ]\ncommand = "old"\n',
    ],
)
def test_an_older_table_of_codexs_is_replaced_when_asked(old: str, tmp_path: Path) -> None:
    """With its sub-tables, and nothing else with it."""
    path = tmp_path / ".codex" / "config.toml"
    path.parent.mkdir()
    path.write_text(f"a = 1\n\n{old}\n[other]\nb = [\n  2,\n]\n")
    with pytest.raises(ConfigError, match="has a server 'fugu' with other settings"):
        _plan("codex", tmp_path)
    _plan("codex", tmp_path, replace=True).apply()
    settings = tomllib.loads(path.read_text())
    assert settings["a"] == 1
    assert settings["other"] == {"b": [2]}
    assert settings["mcp_servers"]["fugu"]["command"] == COMMAND[0]
    assert "env" not in settings["mcp_servers"]["fugu"]


def test_a_way_of_writing_it_that_we_do_not_see_through_is_left_alone(tmp_path: Path) -> None:
    """Inline tables are valid and cannot be replaced by text; the table is told to be pasted."""
    path = tmp_path / ".codex" / "config.toml"
    path.parent.mkdir()
    text = '[mcp_servers]\nfugu = { command = "old" }\n'
    path.write_text(text)
    with pytest.raises(ConfigError, match="cannot edit them.*put this into it:\n\\[mcp_servers"):
        _plan("codex", tmp_path, replace=True)
    assert path.read_text() == text


def test_comments_about_what_follows_codexs_table_stay(tmp_path: Path) -> None:
    """A comment above the next table is not part of the one that is replaced."""
    path = tmp_path / ".codex" / "config.toml"
    path.parent.mkdir()
    path.write_text(
        '[mcp_servers.fugu]\ncommand = "old"  # ours\n\n# about the next\n[other]\nb = 1\n# last\n'
    )
    _plan("codex", tmp_path, replace=True).apply()
    text = path.read_text()
    assert "\n# about the next\n[other]\nb = 1\n# last\n" in text
    assert "old" not in text


@pytest.mark.parametrize(
    ("client", "text", "says"),
    [
        ("cursor", '{\n  // mine\n  "mcpServers": {}\n}', "comments are not understood"),
        ("cursor", "[]", "not plain JSON with an object"),
        ("cursor", '{"mcpServers": []}', "not plain JSON with an object"),
        ("vscode", "{", "put this into it"),
        ("codex", "a = = 1", "not valid TOML"),
    ],
)
def test_a_file_that_is_not_understood_is_left_as_it_is(
    client: str, text: str, says: str, tmp_path: Path
) -> None:
    """The error says why, and gives what to paste where that helps."""
    path = _plan(client, tmp_path).path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    with pytest.raises(ConfigError, match=says):
        _plan(client, tmp_path)
    assert path.read_text() == text


def test_another_server_of_the_name_is_written_over_only_when_asked(tmp_path: Path) -> None:
    """Somebody's own entry is not lost by accident; another name avoids it."""
    path = tmp_path / ".cursor" / "mcp.json"
    path.parent.mkdir()
    path.write_text('{"mcpServers": {"fugu": {"command": "mine"}}}')
    with pytest.raises(ConfigError, match="--force writes over it"):
        _plan("cursor", tmp_path)
    _plan("cursor", tmp_path, name="fugu-2").apply()
    assert _servers("cursor", path.read_text())["fugu"] == {"command": "mine"}
    _plan("cursor", tmp_path, replace=True).apply()
    assert _servers("cursor", path.read_text())["fugu"]["command"] == COMMAND[0]


def test_a_link_is_followed_and_an_unreadable_file_named(tmp_path: Path) -> None:
    """Dotfiles are often links into a repository; the link stays one."""
    real = tmp_path / "dotfiles" / "mcp.json"
    real.parent.mkdir()
    real.write_text("{}")
    link = tmp_path / ".cursor" / "mcp.json"
    link.parent.mkdir()
    link.symlink_to(real)
    _plan("cursor", tmp_path).apply()
    assert link.is_symlink()
    assert "fugu" in real.read_text()
    real.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        _plan("cursor", tmp_path)


def test_what_cannot_be_read_or_written_is_named(tmp_path: Path) -> None:
    """A folder or a circle of links in the file's place, and a path that no JSON text can hold."""
    path = tmp_path / ".cursor" / "mcp.json"
    path.mkdir(parents=True)
    with pytest.raises(ConfigError, match="cannot be read"):
        _plan("cursor", tmp_path)
    path.rmdir()
    path.symlink_to(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        _plan("cursor", tmp_path)
    path.unlink()
    change = plan_install("cursor", command=["/opt/\udcff/fugu"], home=tmp_path, env={})
    with pytest.raises(ConfigError, match="cannot be written"):
        change.apply()
    assert list(path.parent.iterdir()) == []


def test_a_file_that_changed_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    """Clients write these files too; what they wrote since is not lost, and no draft is left behind."""
    change = _plan("cursor", tmp_path)
    change.path.parent.mkdir()
    change.path.write_text('{"new": 1}')
    with pytest.raises(ConfigError, match="has changed in the meantime"):
        change.apply()
    assert [each.name for each in change.path.parent.iterdir()] == ["mcp.json"]


def test_variables_that_move_a_clients_files_are_followed(tmp_path: Path) -> None:
    """As the clients themselves do."""
    env = {
        name: str(tmp_path / name)
        for name in ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "XDG_CONFIG_HOME")
    }
    moved = [_plan(client, tmp_path, env=env).path for client in ("claude", "codex", "opencode")]
    assert [path.relative_to(tmp_path).parts[0] for path in moved] == list(env)


def _run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {
        key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "CODEX_"))
    }
    return subprocess.run(
        [*FUGU, *arguments],
        cwd=home,
        env=env | {"HOME": str(home), "SOME_KEY": "not-to-be-seen", "FUGU_STORE": "not-to-be-seen"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="the user's folder is elsewhere there")
def test_the_command_shows_asks_and_writes(tmp_path: Path) -> None:
    """Nothing is written unseen or unasked; the pool's file is named in full, its keys by name alone."""
    (tmp_path / "fugu.toml").write_text(
        '[[worker]]\nname = "w"\nmodel = "m"\nbase_url = "http://127.0.0.1:9/v1"\napi_key_env = "SOME_KEY"\n'
    )
    path = tmp_path / ".codex" / "config.toml"
    shown = _run(tmp_path, "codex", "--dry-run")
    unasked = _run(tmp_path, "codex")
    assert "+[mcp_servers.fugu]" in shown.stdout
    assert unasked.returncode == 4
    assert "--yes writes it" in unasked.stderr
    assert not path.exists()
    written, again = _run(tmp_path, "codex", "--yes"), _run(tmp_path, "codex", "--yes")
    assert written.returncode == again.returncode == 0
    assert "has it already" in " ".join(again.stderr.split())
    entry = tomllib.loads(path.read_text())["mcp_servers"]["fugu"]
    assert entry["args"] == ["mcp", "--config", str(tmp_path / "fugu.toml")]
    assert entry["env_vars"] == ["FUGU_STORE", "SOME_KEY"]
    assert "not-to-be-seen" not in path.read_text() + written.stdout + written.stderr
    path.unlink()  # the project's is the same file here
    shared = _run(
        tmp_path, "codex", "--scope", "project", "--config", "fugu.toml", "--dry-run"
    ).stdout
    assert '+command = "fugu"' in shared
    assert '+env_vars = ["SOME_KEY"]' in shared


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["emacs"], "expected one of claude, codex, cursor, vscode, opencode"),
        (["cursor", "--scope", "world"], "expected user or project"),
        (["cursor", "--name", "a b"], "expected letters, digits"),
    ],
)
def test_wrong_arguments_are_named(arguments: list[str], says: str, tmp_path: Path) -> None:
    """Before anything is read."""
    ran = _run(tmp_path, *arguments)
    assert ran.returncode == 4
    assert says in ran.stderr
