"""Workers for the keys and servers that are there, and the ``fugu.toml`` that says so.

Which models to start with is decided by rule from the catalogue, not by a table of names: of each
provider's newest generation one dear, one cheap, and one between them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from fugu_adapters.catalogue import complete, facts, models_of, parse_name, provider_of
from fugu_adapters.config import Api, Price, Worker
from fugu_adapters.errors import ConfigError

__all__ = ["ListModels", "init_toml", "workers_from_env"]

ListModels = Callable[[str], list[str]]
"""Asks an OpenAI-compatible address (such as ``http://127.0.0.1:11434/v1``) for its models' ids.

Returns an empty list where nothing answers.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Hosted:
    provider: str
    keys: tuple[str, ...]
    base_url: str
    api: Api = "openai"


_HOSTED = (
    _Hosted(provider="openai", keys=("OPENAI_API_KEY",), base_url="https://api.openai.com/v1"),
    _Hosted(
        provider="anthropic",
        keys=("ANTHROPIC_API_KEY",),
        base_url="https://api.anthropic.com/v1",
        api="anthropic",
    ),
    _Hosted(
        provider="google",
        keys=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        base_url="https://generativelanguage.googleapis.com/v1beta/openai",
    ),
    _Hosted(
        provider="openrouter",
        keys=("OPENROUTER_API_KEY",),
        base_url="https://openrouter.ai/api/v1",
    ),
)
_ADDRESSES = ("FUGU_LOCAL_URL", "OPENAI_BASE_URL", "OLLAMA_HOST")
_MODELS = "FUGU_LOCAL_MODEL"
_WELL_KNOWN = tuple(
    f"http://127.0.0.1:{port}/v1" for port in (11434, 8000, 8080, 1234)
)  # Ollama, vLLM, llama.cpp, LM Studio
_AT_MOST_LOCAL = 4
_DEAREST = 60.0  # dollars per million reply tokens; dearer models are for the user to add
_SPECIAL = frozenset(
    (
        "audio",
        "codex",
        "exp",
        "fast",
        "gemma",
        "image",
        "latest",
        "live",
        "oss",
        "preview",
        "pro",
        "tts",
    )
)


def workers_from_env(env: Mapping[str, str], *, probe: ListModels | None = None) -> list[Worker]:
    """Workers for every key and server that the environment names.

    Args:
        env: environment variables; keys are looked for, never copied.
        probe: lists a server's models. With it, the well-known ports of this machine are tried where
            no variable gives an address; without it, nothing is connected to.

    Raises:
        ConfigError: where neither a key nor a server was found.
    """
    hosted = [_hosted_workers(host, env) for host in _HOSTED]
    workers = [worker for group in hosted for worker in group]
    workers += _local_workers(env, probe)
    if not workers:
        keys = [key for host in _HOSTED for key in host.keys]
        raise ConfigError(
            f"no model found: none of {', '.join([*keys, *_ADDRESSES])} is set"
            f"{' and no local server answers' if probe else ''}. Set one, or run without any: "
            "`fugu pull` fetches small local models and Pool.embedded() uses them"
        )
    return _distinct(workers)


def _hosted_workers(host: _Hosted, env: Mapping[str, str]) -> list[Worker]:
    key = next((key for key in host.keys if env.get(key)), None)
    if key is None or (host.provider == "openai" and _is_other_server(env.get("OPENAI_BASE_URL"))):
        return []
    return [
        complete(
            Worker(
                name=_name(model),
                api=host.api,
                model=model,
                base_url=host.base_url,
                api_key_env=key,
                provider=host.provider,
            )
        )
        for model in _spread(host.provider)
    ]


def _is_other_server(url: str | None) -> bool:
    return bool(url) and provider_of(str(url)) != "openai"


def _spread(provider: str) -> list[str]:
    """Dear, middle and cheap of the newest generation; from three vendors where it is a reseller."""
    offers = models_of(provider)
    if provider != "openrouter":
        return _tiers(provider, _newest(provider, offers))
    vendors = [host.provider for host in _HOSTED if host.provider != provider]
    own = [[model for model in offers if model.startswith(f"{vendor}/")] for vendor in vendors]
    spreads = [_tiers(provider, _newest(provider, models)) for models in own]
    return [models[min(tier, len(models) - 1)] for tier, models in enumerate(spreads) if models]


def _newest(provider: str, models: Iterable[str]) -> list[str]:
    """The newest of each family, from as few of the latest generations as give three families."""
    newest: dict[tuple[str, ...], str] = {}
    for model in models:
        name = parse_name(model)
        if not name.version or ":" in model or not _SPECIAL.isdisjoint(name.family):
            continue
        if not _serves(provider, model):
            continue
        rival = newest.get(name.family)
        if rival is None or parse_name(rival).version < name.version:
            newest[name.family] = model
    chosen: list[str] = []
    for generation in sorted({parse_name(m).version[0] for m in newest.values()}, reverse=True):
        if len(chosen) < 3:
            chosen += [m for m in newest.values() if parse_name(m).version[0] == generation]
    return chosen


def _serves(provider: str, model: str) -> bool:
    known = facts(model, provider)
    return bool(known.tools and known.price and 0 < known.price.output <= _DEAREST)


def _tiers(provider: str, models: Sequence[str]) -> list[str]:
    """Dearest, nearest to the geometric mean of the two ends, and cheapest."""

    def cost(model: str) -> float:
        price = facts(model, provider).price
        return math.log(price.cost(3, 1)) if price else math.inf

    ranked = sorted(models, key=lambda model: (-cost(model), model))
    if len(ranked) <= 3:
        return ranked
    middle = (cost(ranked[0]) + cost(ranked[-1])) / 2
    between = min(ranked[1:-1], key=lambda model: abs(cost(model) - middle))
    return [ranked[0], between, ranked[-1]]


def _local_workers(env: Mapping[str, str], probe: ListModels | None) -> list[Worker]:
    variable = next((name for name in _ADDRESSES if _given(name, env)), None)
    named = [model.strip() for model in env.get(_MODELS, "").split(",") if model.strip()]
    if variable is not None:
        url = _address(variable, env[variable])
        models = named or (probe(url) if probe else [])
        if not models:
            raise ConfigError(
                f"{variable}: no model is known at that address; start the server and run "
                f"`fugu init`, or name its models in {_MODELS} (separated by commas)"
            )
        key = (
            "OPENAI_API_KEY"
            if variable == "OPENAI_BASE_URL" and env.get("OPENAI_API_KEY")
            else None
        )
        return _at_server(url, models, key)
    found = [(url, probe(url)) for url in _WELL_KNOWN] if probe else []
    return [worker for url, models in found for worker in _at_server(url, models, None)]


def _given(variable: str, env: Mapping[str, str]) -> bool:
    value = env.get(variable)
    return bool(value) and (variable != "OPENAI_BASE_URL" or _is_other_server(value))


def _address(variable: str, value: str) -> str:
    """The API's address. Ollama's variable may lack scheme, port and path."""
    if variable != "OLLAMA_HOST":
        return value.rstrip("/")
    url = value if "://" in value else f"http://{value}"
    parts = urlsplit(url)
    try:
        host, port = parts.hostname or "127.0.0.1", parts.port or 11434
    except ValueError:
        raise ConfigError("OLLAMA_HOST: expected host:port, such as 127.0.0.1:11434") from None
    host = "127.0.0.1" if host == "0.0.0.0" else host  # noqa: S104 - what it listens on, not where it is
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}/v1"


def _at_server(url: str, models: Sequence[str], key: str | None) -> list[Worker]:
    chat = [model for model in models if "embed" not in model.lower()][:_AT_MOST_LOCAL]
    own = urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")
    return [
        complete(
            Worker(
                name=_name(model),
                model=model,
                base_url=url,
                api_key_env=key,
                tags=frozenset({"local"} if own else ()),
                price=Price(input=0, output=0) if own else None,
            )
        )
        for model in chat
    ]


def _name(model: str) -> str:
    """A worker's name for a model: what follows the last slash, in the characters that names allow."""
    base = model.rstrip("/").rpartition("/")[2]
    return re.sub(r"[^A-Za-z0-9._@+-]", "-", base).lstrip("._@+-")[:90] or "model"


def _distinct(workers: Sequence[Worker]) -> list[Worker]:
    """The same workers, with a number after names that were taken."""
    named: dict[str, Worker] = {}
    for worker in workers:
        name, number = worker.name, 2
        while name in named:
            name, number = f"{worker.name}-{number}", number + 1
        named[name] = worker if name == worker.name else worker.model_copy(update={"name": name})
    return list(named.values())


_HEADER = """\
# Who answers. `fugu doctor` checks that each worker can be reached.
# Keys are never written here: api_key_env names the environment variable that holds one.

[pool]
# Leave workers out by name, by "provider:NAME" or by tag.
exclude = []
"""
_ORDER = (
    "name",
    "api",
    "model",
    "base_url",
    "api_key_env",
    "provider",
    "effort",
    "mode",
    "path",
    "context_window",
    "max_output_tokens",
    "tools",
    "images",
    "json_schema",
    "reasoning",
    "tags",
    "price",
    "profile",
    "concurrency",
)


def init_toml(workers: Sequence[Worker]) -> str:
    """A commented ``fugu.toml`` that reads back as the same workers.

    Raises:
        ConfigError: for a worker that holds a Python object, which a file cannot.
    """
    blocks = [_HEADER]
    for worker in workers:
        if worker.api in ("callable", "langchain"):
            raise ConfigError(
                f"worker {worker.name!r}: api = {worker.api!r} is a Python object; "
                "keep it in code: Pool([...])"
            )
        lines = [f"{key} = {value}" for key, value in _entries(worker)]
        blocks.append("\n".join(["[[worker]]", *lines, ""]))
    return "\n".join(blocks)


def _entries(worker: Worker) -> list[tuple[str, str]]:
    given = worker.model_dump(mode="json", exclude_none=True)
    default = {key: field.default for key, field in Worker.model_fields.items()}
    entries = []
    for key in _ORDER:
        if key not in given or (key != "api" and getattr(worker, key) == default[key]):
            continue
        note = "  # dollars per million tokens" if key == "price" else ""
        entries.append((key, _toml(given[key]) + note))
    return entries


def _toml(value: object) -> str:
    """A value as TOML. JSON's strings are TOML's basic strings, DEL excepted."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in sorted(value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)
