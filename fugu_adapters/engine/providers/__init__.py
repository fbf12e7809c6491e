"""Workers behind HTTP: one module per wire format, and what they share."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import SecretStr

from fugu_adapters.config import Worker
from fugu_adapters.engine.providers.anthropic import AnthropicBackend
from fugu_adapters.engine.providers.http import read_key
from fugu_adapters.engine.providers.openai import OpenAIBackend

__all__ = ["AnthropicBackend", "OpenAIBackend", "auth_headers"]


def auth_headers(worker: Worker, env: Mapping[str, str]) -> dict[str, str | SecretStr]:
    """The headers by which a worker's endpoint knows us, for requests other than calls.

    Raises:
        ConfigError: naming the variable that is not set or does not hold a key.
    """
    backend = AnthropicBackend if worker.api == "anthropic" else OpenAIBackend
    return backend.codec.headers(read_key(worker, env))
