"""Writing the server into the configuration of MCP clients. What is there stays; nothing is written unseen.

Where each client keeps its servers was checked against the clients themselves in November 2026 (Claude Code,
Codex, opencode) or their documentation (Cursor, VS Code).
"""

from __future__ import annotations

import json
import os
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal, TypeAlias

from fugu_adapters.errors import ConfigError
from fugu_adapters.settings_files import Change, put_json, read_settings

__all__ = ["CLIENTS", "SCOPES", "Change", "Client", "Scope", "plan_install"]

Client: TypeAlias = Literal["claude", "codex", "cursor", "vscode", "opencode"]
Scope: TypeAlias = Literal["user", "project"]

CLIENTS: tuple[Client, ...] = ("claude", "codex", "cursor", "vscode", "opencode")
SCOPES: tuple[Scope, ...] = ("user", "project")

_STARTUP_S, _CALL_S = 20, 900  # Codex's bounds; ours on a call is below


def plan_install(
    client: Client,
    *,
    command: Sequence[str],
    scope: Scope = "user",
    name: str = "fugu",
    variables: Sequence[str] = (),
    replace: bool = False,
    home: Path | None = None,
    folder: Path | None = None,
    env: Mapping[str, str] = os.environ,
) -> Change:
    """What a client's configuration has to become.

    Args:
        client: which client.
        command: program and arguments that start the server.
        scope: for the user everywhere, or for the project in ``folder``.
        name: what the client calls the server.
        variables: names, never values, of what the server needs of the environment; for Codex, which hands
            on no more than it is told to. The others hand on theirs whole.
        replace: whether another server of this name may be written over.
        home: the user's folder; the real one where not given.
        folder: the project's folder; the current one where not given.
        env: where variables that move a client's files are looked up.

    Raises:
        ConfigError: where the file cannot be read or understood, or has another server of this name.
    """
    named = _path(client, scope, home or Path.home(), folder or Path.cwd(), env)
    path = Path(
        os.path.realpath(named)
    )  # unlike resolve(), at peace with links that go round in circles
    before = read_settings(path)
    if client == "codex":
        after = _in_toml(path, before or "", name, _codex(command, variables), replace)
    else:
        after = _in_json(path, before, client, name, command, replace)
    return Change(path=path, before=before, after=after)


def _path(client: Client, scope: Scope, home: Path, folder: Path, env: Mapping[str, str]) -> Path:
    if scope == "project":
        return (
            folder
            / {
                "claude": ".mcp.json",
                "codex": ".codex/config.toml",
                "cursor": ".cursor/mcp.json",
                "vscode": ".vscode/mcp.json",
                "opencode": "opencode.json",
            }[client]
        )
    match client:
        case "claude":
            return Path(env.get("CLAUDE_CONFIG_DIR") or home) / ".claude.json"
        case "codex":
            return Path(env.get("CODEX_HOME") or home / ".codex") / "config.toml"
        case "cursor":
            return home / ".cursor" / "mcp.json"
        case "vscode":
            return _application_data(home, env) / "Code" / "User" / "mcp.json"
        case "opencode":
            settings = Path(env.get("XDG_CONFIG_HOME") or home / ".config")
            return settings / "opencode" / "opencode.json"


def _application_data(home: Path, env: Mapping[str, str]) -> Path:
    if sys.platform == "win32":
        return Path(env.get("APPDATA") or home / "AppData" / "Roaming")
    if sys.platform == "darwin":
        return home / "Library" / "Application Support"
    return Path(env.get("XDG_CONFIG_HOME") or home / ".config")


# --- JSON -----------------------------------------------------------------------------------------


def _entry(client: Client, command: Sequence[str]) -> dict[str, Any]:
    if client == "opencode":
        return {"type": "local", "command": list(command), "enabled": True}
    entry: dict[str, Any] = {"command": command[0], "args": list(command[1:])}
    return entry if client == "cursor" else {"type": "stdio", **entry}


def _in_json(
    path: Path,
    before: str | None,
    client: Client,
    name: str,
    command: Sequence[str],
    replace: bool,
) -> str:
    entry = _entry(client, command)
    table = [{"vscode": "servers", "opencode": "mcp"}.get(client, "mcpServers")]
    text = before if before and before.strip() else "{}\n"
    try:
        settings = json.loads(text)
    except ValueError:
        settings = None
    servers = settings.get(table[0], {}) if isinstance(settings, dict) else None
    if not isinstance(servers, dict):
        snippet = json.dumps({table[0]: {name: entry}}, indent=2)
        raise ConfigError(
            f"{path} is not plain JSON with an object {table[0]!r} (comments are not understood), and was "
            f"left as it is; put this into it:\n{snippet}"
        )
    nested = servers.get("servers")
    if (
        client == "opencode"
        and isinstance(nested, dict)
        and not nested.keys() & {"enabled", "type"}
    ):
        servers = nested  # the shape of opencode 2, which reads that of 1 too, but better not both in a file
        table.append("servers")
        del entry["enabled"]
    if servers.get(name) == entry:
        return before or ""
    if name in servers and not replace:
        raise _taken(path, name)
    return put_json(text, [*table, name], entry)


def _taken(path: Path, name: str) -> ConfigError:
    return ConfigError(
        f"{path} has a server {name!r} with other settings; --force writes over it, --name gives "
        "ours another name"
    )


# --- TOML -----------------------------------------------------------------------------------------


def _codex(command: Sequence[str], variables: Sequence[str]) -> dict[str, Any]:
    """Without ``required`` the first turn of ``codex exec`` may begin before the tools are there."""
    entry: dict[str, Any] = {
        "command": command[0],
        "args": list(command[1:]),
        "required": True,
        "startup_timeout_sec": _STARTUP_S,
        "tool_timeout_sec": _CALL_S,
    }
    return entry | ({"env_vars": list(variables)} if variables else {})


def _in_toml(path: Path, before: str, name: str, entry: Mapping[str, Any], replace: bool) -> str:
    """The text with the table at its end, in place of an older one; comments and the rest stay."""
    settings = _parsed(path, before)
    servers = settings.get("mcp_servers", {})
    if isinstance(servers, dict) and servers.get(name) == entry:
        return before
    if isinstance(servers, dict) and name in servers and not replace:
        raise _taken(path, name)
    header = rf"\[\s*mcp_servers\s*\.\s*[\"']?{re.escape(name)}[\"']?\s*(\.[^\]]*)?\]"
    kept = re.sub(rf"(?ms)^[ \t]*{header}.*?(?=^[ \t]*\[|\Z)", _comments_below, before)
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in entry.items()]
    table = "\n".join([f"[mcp_servers.{name}]", *lines, ""])
    after = f"{kept.rstrip()}\n\n{table}" if kept.strip() else table
    wanted = {**settings, "mcp_servers": {**servers, name: dict(entry)}}
    try:
        seen_through = tomllib.loads(after) == wanted
    except tomllib.TOMLDecodeError:
        seen_through = False
    if not seen_through:
        raise ConfigError(
            f"{path} has its servers written as we cannot edit them, and was left as it is; put this "
            f"into it:\n{table}"
        )
    return after


def _comments_below(table: re.Match[str]) -> str:
    """The end of a table that is taken out: comments there are about what comes next."""
    lines = reversed(table[0].splitlines(keepends=True))
    below = list(takewhile(lambda line: line.strip()[:1] in ("", "#"), lines))
    return "".join(reversed(below))


def _parsed(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML ({error}); mend it first") from None
