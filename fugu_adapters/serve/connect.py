"""Telling coding assistants of the one API: what goes into their settings.

Where each keeps them, and what it needs, was checked against Claude Code 2.1.330, Codex 0.169.0 and
opencode 1.18.33 in November 2026.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

from fugu_adapters.errors import ConfigError
from fugu_adapters.planning import MODELS
from fugu_adapters.settings_files import Change, put_json, read_settings

__all__ = ["CLIENTS", "KEY", "Client", "how_to_start", "plan_connection"]

Client: TypeAlias = Literal["claude", "codex", "opencode"]

CLIENTS: tuple[Client, ...] = ("claude", "codex", "opencode")

KEY = "FUGU_KEY"
"""The variable that clients take the server's key from; it is never written down."""

_NO_KEY = "none-needed"  # clients want something to send
_PATIENCE_MS = 7_200_000
_WINDOW, _REPLY = 200_000, 32_000  # tokens; the clients compact by them


def plan_connection(
    client: Client,
    *,
    url: str,
    model: str = "fugu",
    has_key: bool = False,
    replace: bool = False,
    home: Path | None = None,
    env: Mapping[str, str] = os.environ,
) -> Change:
    """What a client's settings have to become.

    Args:
        client: which client.
        url: the server's address, without ``/v1``.
        model: the model that it is to ask.
        has_key: whether the server wants a key; the client then takes it from ``KEY``.
        replace: whether other settings of the same name may be written over.
        home: the user's folder; the real one where not given.
        env: where variables that move a client's files are looked up.

    Raises:
        ConfigError: where the file cannot be read or understood, or says something else already.
    """
    home = home or Path.home()
    path = Path(os.path.realpath(_path(client, home, env)))
    before = read_settings(path)
    if client == "codex":
        after = _codex(url, model, has_key)
        if before is not None and before != after and not replace:
            raise ConfigError(f"{path} is there with other settings; --force writes over it")
    else:
        values = _claude(url, model, has_key) if client == "claude" else _opencode(url, has_key)
        after = _in_json(path, before, values, replace)
    return Change(path=path, before=before, after=after)


def how_to_start(client: Client, model: str) -> str:
    """The command that uses these settings."""
    return {
        "claude": "claude",
        "codex": "codex --profile fugu",
        "opencode": f"opencode -m fugu/{model}",
    }[client]


def _path(client: Client, home: Path, env: Mapping[str, str]) -> Path:
    match client:
        case "claude":
            return Path(env.get("CLAUDE_CONFIG_DIR") or home / ".claude") / "settings.json"
        case "codex":
            return Path(env.get("CODEX_HOME") or home / ".codex") / "fugu.config.toml"
        case "opencode":
            settings = Path(env.get("XDG_CONFIG_HOME") or home / ".config")
            return settings / "opencode" / "opencode.json"


def _claude(url: str, model: str, has_key: bool) -> dict[tuple[str, ...], Any]:
    """All three of its sizes are the pool: whom to ask is for the pool to say."""
    names = ("ANTHROPIC_MODEL", "ANTHROPIC_DEFAULT_OPUS_MODEL", "ANTHROPIC_DEFAULT_SONNET_MODEL")
    variables = {"ANTHROPIC_BASE_URL": url, **dict.fromkeys(names, model)}
    variables["ANTHROPIC_DEFAULT_HAIKU_MODEL"] = "fugu"
    if not has_key:
        variables["ANTHROPIC_AUTH_TOKEN"] = _NO_KEY
    values: dict[tuple[str, ...], Any] = {("env", name): value for name, value in variables.items()}
    return values | ({("apiKeyHelper",): f"printenv {KEY}"} if has_key else {})


def _codex(url: str, model: str, has_key: bool) -> str:
    """A profile of its own, which leaves the user's settings alone."""
    provider = {
        "name": "fugu-adapters",
        "base_url": f"{url}/v1",
        "wire_api": "responses",
        **({"env_key": KEY} if has_key else {}),
        "stream_idle_timeout_ms": _PATIENCE_MS,  # a workflow may think for long; comments do not count
    }
    lines = [
        f"model = {json.dumps(model)}",
        'model_provider = "fugu"',
        f"model_context_window = {_WINDOW}",
        "",
        "[model_providers.fugu]",
        *(f"{name} = {json.dumps(value)}" for name, value in provider.items()),
    ]
    return "\n".join(lines) + "\n"


def _opencode(url: str, has_key: bool) -> dict[tuple[str, ...], Any]:
    limit = {"context": _WINDOW, "output": _REPLY}
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "fugu-adapters",
        "options": {"baseURL": f"{url}/v1", "apiKey": f"{{env:{KEY}}}" if has_key else _NO_KEY},
        "models": {name: {"name": name, "tool_call": True, "limit": limit} for name in MODELS},
    }
    return {("provider", "fugu"): provider}


def _in_json(
    path: Path, before: str | None, values: Mapping[tuple[str, ...], Any], replace: bool
) -> str:
    text = before if before and before.strip() else "{}\n"
    try:
        settings = json.loads(text)
    except ValueError:
        settings = None
    tables = {keys[0] for keys in values if len(keys) > 1}
    if not isinstance(settings, dict) or not all(
        isinstance(settings.get(name, {}), dict) for name in tables
    ):
        raise ConfigError(
            f"{path} is not plain JSON with objects where they belong (comments are not understood), "
            "and was left as it is"
        )
    for keys, value in values.items():
        inside = settings.get(keys[0], {}) if len(keys) > 1 else settings
        if inside.get(keys[-1]) == value:
            continue
        if keys[-1] in inside and not replace:
            raise ConfigError(
                f"{path} says something else of {'.'.join(keys)}; --force writes over it"
            )
        text = put_json(text, keys, value)
    return text if text != "{}\n" else before or text
