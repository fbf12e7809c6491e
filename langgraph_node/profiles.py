"""What models can do: between LangChain's model profiles and our workers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from fugu_adapters import ConfigError, Pool, Worker

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel, ModelProfile

__all__ = ["model_worker", "pool_profile"]

_PROVIDERS: Mapping[str, str] = {  # where LangChain's word for one differs from the catalogue's
    "amazon_bedrock": "aws",
    "google_genai": "google",
    "google_vertexai": "google",
    "mistralai": "mistral",
    "xai": "x-ai",
}
_NAMES = ("model_name", "model", "model_id", "deployment_name")
_ADDRESSES = ("openai_api_base", "anthropic_api_url", "base_url", "endpoint_url")


def pool_profile(pool: Pool) -> ModelProfile:
    """What a pool can do as a whole: what one of its workers can, as a request goes to one that can.

    Nothing is said where nothing is known. Answers held to a schema are promised beside tools only where
    one worker does both, because an agent asks for both at a time.
    """
    callers = [worker for worker in pool if worker.tools]
    told: dict[str, Any] = {
        "max_input_tokens": _most(worker.context_window for worker in pool),
        "max_output_tokens": _most(worker.max_output_tokens for worker in pool),
        "tool_calling": _any(worker.tools for worker in pool),
        "image_inputs": _any(worker.images for worker in pool),
        "structured_output": _any(worker.json_schema for worker in callers or pool),
    }
    return cast("ModelProfile", {key: value for key, value in told.items() if value is not None})


def _most(values: Iterable[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)


def _any(values: Iterable[bool | None]) -> bool | None:
    """True where any is, False where all are known not to be."""
    known = list(values)
    if any(known):
        return True
    return None if None in known else False


def model_worker(name: str, model: BaseChatModel, facts: Mapping[str, Any]) -> Worker:
    """A chat model of the host's as a worker that is chosen here and never asked.

    Its model name and provider, by which the catalogue knows prices and windows, and its capabilities
    are read from the model; ``facts`` come first.

    Raises:
        ConfigError: where it is no chat model, or the facts are not a worker's.
    """
    from langchain_core.language_models import BaseChatModel

    if not isinstance(model, BaseChatModel):
        raise ConfigError(f"model {name!r}: expected a chat model, got {type(model).__name__}")
    profile: Mapping[str, Any] = model.profile or {}
    takes_tools = type(model).bind_tools is not BaseChatModel.bind_tools
    read = {
        "model": _text_of(model, _NAMES),
        "provider": _provider(model),
        "context_window": profile.get("max_input_tokens"),
        "max_output_tokens": profile.get("max_output_tokens"),
        "tools": profile.get("tool_calling", takes_tools),
        "images": profile.get("image_inputs"),
        "json_schema": profile.get("structured_output"),
    }
    return Worker(**{"name": name, "api": "host", **read, **facts})


def _provider(model: BaseChatModel) -> str | None:
    """Who serves it. A client of one provider that was pointed somewhere else says nothing of who."""
    address = _text_of(model, _ADDRESSES)
    if address is not None:
        from fugu_adapters.catalogue import provider_of

        return provider_of(address)
    told = model._get_ls_params().get("ls_provider")
    return _PROVIDERS.get(told, told) if isinstance(told, str) else None


def _text_of(model: BaseChatModel, names: Iterable[str]) -> str | None:
    """The first of these attributes that is text."""
    values = (getattr(model, name, None) for name in names)
    return next((value for value in values if isinstance(value, str) and value), None)
