"""Ways of answering, one file each. A backend is built when its worker is first asked."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

from fugu_adapters.config import Worker
from fugu_adapters.errors import ConfigError

if TYPE_CHECKING:
    from fugu_adapters.engine.backend import Backend
    from fugu_adapters.engine.transport import Transport

__all__ = ["build_backend", "why_not_ready"]

_HOST = "is run by its host and cannot be asked from here; Fugu.route chooses it"


def build_backend(
    worker: Worker, transport: Transport, env: Mapping[str, str] | None = None
) -> Backend:
    """The backend for a worker's ``api``. Only the module that it needs is imported.

    Keys are looked up in ``env``, or the process's environment, at each call.

    Raises:
        ConfigError: where an extra, a key variable or weights are missing, or the host runs the worker.
    """
    match worker.api:
        case "openai":
            from fugu_adapters.engine.providers.openai import OpenAIBackend

            return OpenAIBackend(worker, transport, env=env)
        case "responses":
            from fugu_adapters.engine.providers.responses import ResponsesBackend

            return ResponsesBackend(worker, transport, env=env)
        case "anthropic":
            from fugu_adapters.engine.providers.anthropic import AnthropicBackend

            return AnthropicBackend(worker, transport, env=env)
        case "embedded":
            from fugu_adapters.workers.embedded import EmbeddedBackend

            return EmbeddedBackend(worker)
        case "langchain":
            from fugu_adapters.workers.langchain import LangChainBackend

            return LangChainBackend(worker)
        case "callable":
            from fugu_adapters.workers.callable import CallableBackend

            return CallableBackend(worker)
        case "replay":
            from fugu_adapters.workers.replay import ReplayBackend

            return ReplayBackend(worker)
        case "host":
            raise ConfigError(f"worker {worker.name!r} {_HOST}")


def why_not_ready(worker: Worker, env: Mapping[str, str] | None = None) -> str | None:
    """What this machine lacks for asking the worker, with the remedy; ``None`` where nothing.

    Only the environment (``env`` in its place, where given) and the disk are looked at.
    """
    if worker.api == "host":
        return _HOST
    key = worker.api_key_env
    if key is not None and not (os.environ if env is None else env).get(key):
        return f"needs the environment variable {key}, which is not set"
    if worker.api == "embedded" and find_spec("xllamacpp") is None:
        return "needs the local runtime: pip install 'fugu-adapters[embedded]'"
    if worker.path is not None:
        return None if worker.path.exists() else f"needs the file {worker.path}, which is not there"
    if worker.api == "embedded":
        from fugu_adapters.workers.local_models import locate

        model = worker.model or worker.name
        if locate(model) is None:
            return f"needs weights that are not here; `fugu pull {model}` fetches them"
    return None
