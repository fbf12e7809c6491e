"""Which learned profile a user's model id stands for. Versions are never guessed across."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fugu_adapters.policies.weights import Bundle

__all__ = ["ALIASES", "EFFORTS", "ProfileMatch", "find_profile", "match_profile"]

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""Reasoning efforts, least first, as they follow ``@`` in a profile's name."""

ALIASES = {
    "claude-3.5-sonnet": "claude-3.5-sonnet-1022",
    "claude-3.5-sonnet-20240620": "claude-3.5-sonnet-0620",
    "claude-3.5-sonnet-20241022": "claude-3.5-sonnet-1022",
    "deepseek-chat-v3-0324": "deepseek-v3-0324",
    "gemini-2.0-flash-001": "gemini-2.0-flash",
    "gpt-3.5-turbo": "gpt-3.5-turbo-0125",
    "gpt-4": "gpt-4-0613",
    "gpt-4-turbo": "gpt-4-turbo-2024-04-09",
    "gpt-4o": "gpt-4o-2024-08-06",
    "grok-4-0709": "grok-4",
    "kimi-k2-instruct": "kimi-k2-0711",
    "kimi-k2-instruct-0905": "kimi-k2-0905",
    "llama-3.1-405b": "llama-3.1-405b@hyperbolic",
    "llama-4-maverick-17b-128e": "llama-4-maverick",
    "llama-4-scout-17b-16e": "llama-4-scout",
    "mistral-7b-instruct-v0.2": "mistral-7b-v0.2",
    "mistral-7b-instruct-v0.3": "mistral-7b-v0.3",
    "mistral-large-2407": "mistral-large-2",
    "mistral-small-2503": "mistral-small-3.1",
    "mixtral-8x22b-instruct-v0.1": "mixtral-8x22b",
    "mixtral-8x7b-instruct-v0.1": "mixtral-8x7b",
    "open-mistral-nemo": "mistral-nemo",
    "open-mistral-nemo-2407": "mistral-nemo",
    "qwen3-235b-a22b-instruct-2507": "qwen3-235b-a22b-2507",
    "qwen3-coder-480b-a35b": "qwen3-coder-480b",
}
"""Public ids that name the same model as a profile but cannot be told from the spelling.

Undated ids stand for the version that their vendor last served under them. Kept in the bundle's
manifest where the profile is there.
"""

_DATE = re.compile(r"[-_.](20\d{2}-?[01]\d-?[0-3]\d|20\d{2}-[01]\d|(?:0[1-9]|1[0-2])-?20\d{2})$")
_TAIL = re.compile(r"[-_](latest|preview|instruct-turbo|instruct|it|chat|hf|fp8|bf16|awq|gptq)$")
_VERSION_DASH = re.compile(r"(?<=\d)[-_](?=\d{1,2}(?:[-@_]|$))")


@dataclass(frozen=True, kw_only=True, slots=True)
class ProfileMatch:
    """A profile that stands for a model id.

    Attributes:
        profile: its name in the bundle.
        note: what is not the same, for people; ``None`` where nothing is.
    """

    profile: str
    note: str | None = None


def match_profile(name: str, bundle: Bundle) -> str | None:
    """The profile that stands for a model id, or ``None``; see :func:`find_profile`."""
    found = find_profile(name, bundle)
    return None if found is None else found.profile


@functools.lru_cache(maxsize=4_096)
def find_profile(name: str, bundle: Bundle) -> ProfileMatch | None:
    """Match a model id, with its reasoning effort after ``@``, to a profile.

    Exact names come first, then aliases, then the id without vendor, date and packaging words. The
    version has to be the same: an unknown version of a known family is ``None``.

    Args:
        name: such as ``"claude-opus-4-5-20251101@high"`` or ``"anthropic/claude-opus-4.5"``.
        bundle: whose profiles to match.
    """
    row = bundle.index.get(name)
    if row is not None and bundle.count[row].any():
        return ProfileMatch(profile=name)
    base, _, variant = name.lower().partition("@")
    measured, listed = _names(bundle)
    for form in _forms(base, {**listed, **measured}):
        for known in (measured, listed):
            found = _with_variant(form, variant, known)
            if found is not None:
                return found
    return None


@functools.lru_cache(maxsize=8)
def _names(bundle: Bundle) -> tuple[dict[str, str], dict[str, str]]:
    """Profiles by tidy name and alias: those with outcomes, and those known from a catalogue only."""
    measured: dict[str, str] = {}
    listed: dict[str, str] = {}
    has_outcomes = (bundle.count > 0).sum(axis=1) > 0
    pairs = [*bundle.aliases.items(), *((profile, profile) for profile in bundle.profiles)]
    for name, profile in pairs:
        row = bundle.index.get(profile)
        if row is not None:
            (measured if has_outcomes[row] else listed)[_tidy(name)] = profile
    return measured, listed


def _with_variant(form: str, variant: str, known: dict[str, str]) -> ProfileMatch | None:
    """The profile of this very variant, else of the base, else of the nearest effort."""
    wanted = f"{form}@{variant}" if variant else form
    if wanted in known:
        return ProfileMatch(profile=known[wanted])
    if variant and variant not in EFFORTS:
        return None  # another way of calling it, such as native tools: not the same worker
    if variant and form in known:
        note = f"measured without effort {variant!r}"
        return ProfileMatch(profile=known[form], note=note)
    place = EFFORTS.index(variant or "medium")
    near = [effort for effort in EFFORTS if f"{form}@{effort}" in known]
    if not near:
        return None
    effort = min(near, key=lambda e: (abs(EFFORTS.index(e) - place), -EFFORTS.index(e)))
    said = f"effort {variant!r}" if variant else "its default effort"
    return ProfileMatch(
        profile=known[f"{form}@{effort}"], note=f"measured at effort {effort!r}, not at {said}"
    )


def _forms(base: str, known: Mapping[str, str]) -> Iterator[str]:
    """Ever shorter spellings of a model id: as given, without its date, without packaging words."""
    name = base.strip().rsplit("/", 1)[-1]
    for region in ("us.", "eu.", "apac.", "global."):
        name = name.removeprefix(region)
    name = name.removeprefix("meta-")
    name = re.sub(r"^[a-z]+\.(?=[a-z])", "", name).split(":", 1)[
        0
    ]  # "anthropic.claude-..." of clouds
    name = re.sub(r"(?<=\d{8})-v\d$", "", name)
    while name:
        yield _tidy(name)
        shorter = _DATE.sub("", name)
        if shorter != name and any(key.startswith(f"{_tidy(shorter)}-20") for key in known):
            return  # other dates of it are known, so this date is another version
        if shorter == name:
            shorter = _TAIL.sub("", name)
        if shorter == name:
            return
        name = shorter


def _tidy(name: str) -> str:
    """One spelling for names that differ only in case and in how versions are written.

    ``claude-opus-4-5`` is ``claude-opus-4.5``; the words of Claude 3 names stand in either order.
    """
    base, at, variant = name.lower().replace("_", "-").partition("@")
    base = _VERSION_DASH.sub(".", base)
    base = re.sub(r"^claude-([34](?:\.\d)?)-(opus|sonnet|haiku)(?=$|-)", r"claude-\2-\1", base)
    return f"{base}{at}{variant}"
