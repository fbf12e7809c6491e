from __future__ import annotations

from collections.abc import Callable

import pytest

from fugu_adapters.policies.aliases import ALIASES, find_profile, match_profile
from fugu_adapters.policies.weights import Bundle, default_bundle


@pytest.mark.parametrize(
    ("name", "profile"),
    [
        ("claude-opus-4.5@high", "claude-opus-4.5@high"),
        ("claude-opus-4-5-20251101@high", "claude-opus-4.5@high"),
        ("anthropic/claude-opus-4.5@high", "claude-opus-4.5@high"),
        ("us.anthropic.claude-opus-4-5-20251101-v1:0@high", "claude-opus-4.5@high"),
        ("openai/gpt-4o", "gpt-4o-2024-08-06"),
        ("gpt-4o-2024-08-06", "gpt-4o-2024-08-06"),
        ("SomeOrg/Cheap-1B-Instruct", "cheap-1b"),
        ("cheap-1b:latest", "cheap-1b"),
        ("python-7b@python", "python-7b@python"),
    ],
)
def test_spellings_of_one_model_find_its_profile(name: str, profile: str, bundle: Bundle) -> None:
    """Vendors, clouds, dates, dots or dashes and packaging words do not matter."""
    assert match_profile(name, bundle) == profile


@pytest.mark.parametrize(
    "name",
    [
        "claude-opus-4.6@high",
        "claude-opus-5",
        "gpt-4o-2024-11-20",
        "gpt-4o-2026-01-01",
        "gpt-4o-mini",
        "cheap-7b",
        "python-7b@calculator",
        "",
        "@high",
        "/",
    ],
)
def test_another_version_is_never_guessed(name: str, bundle: Bundle) -> None:
    """A version, size or way of calling that was not measured has no profile."""
    assert match_profile(name, bundle) is None


def test_a_missing_effort_falls_to_the_nearest_and_says_so(bundle: Bundle) -> None:
    """Another effort of the same version stands in, with a note; the same effort has none."""
    near = find_profile("claude-opus-4-5@low", bundle)
    assert near is not None
    assert near.profile == "claude-opus-4.5@high"
    assert near.note == "measured at effort 'high', not at effort 'low'"
    plain = find_profile("cheap-1b@medium", bundle)
    assert plain is not None
    assert plain.note == "measured without effort 'medium'"
    exact = find_profile("claude-opus-4-5@high", bundle)
    assert exact is not None
    assert exact.note is None


def test_a_measured_variant_is_preferred_to_an_unmeasured_name(
    bundle_with: Callable[..., Bundle],
) -> None:
    """Where the very name is only listed, a measured effort of the same version is taken."""
    names = ("m-1@high", "m-1", "python-7b@python", "listed-only", "gpt-4o-2024-08-06")
    count = bundle_with().count.copy()
    count[0] = 0.0
    mixed = bundle_with(profiles=names, count=count)
    assert match_profile("m-1@high", mixed) == "m-1"
    assert match_profile("listed-only", mixed) == "listed-only"


@pytest.mark.parametrize(
    ("name", "profile"),
    [
        ("claude-3-5-sonnet-20241022", "claude-3.5-sonnet-1022"),
        ("claude-3-5-sonnet-latest", "claude-3.5-sonnet-1022"),
        ("gpt-5.2-2025-12-11@high", "gpt-5.2@high"),
        ("models/gemini-2.5-pro", "gemini-2.5-pro"),
        ("openai/gpt-4o-mini", "gpt-4o-mini"),
        ("meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo", "llama-3.1-8b"),
        ("o3-mini", "o3-mini@medium"),
        ("gpt-9", None),
    ],
)
def test_todays_ids_find_the_shipped_profiles(name: str, profile: str | None) -> None:
    """Ids as the vendors write them match the bundle that ships."""
    assert match_profile(name, default_bundle()) == profile


def test_every_alias_points_at_a_shipped_profile() -> None:
    """No alias is left that nothing stands behind."""
    bundle = default_bundle()
    assert set(ALIASES.values()) <= set(bundle.profiles)
    assert dict(bundle.aliases) == ALIASES
