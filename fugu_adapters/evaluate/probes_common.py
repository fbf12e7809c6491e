"""Names, words and closing lines that several kinds of probe share."""

from __future__ import annotations

import random
from collections.abc import Sequence

__all__ = ["PEOPLE", "WORDS", "closing", "listed"]

PEOPLE = ("Ada", "Bruno", "Carla", "Dimitri", "Elif", "Farid", "Greta", "Hugo", "Ivy", "Jonas")

WORDS = (
    "almond", "anchor", "basket", "beacon", "bridge", "candle", "canyon", "castle", "cellar",
    "copper", "cradle", "dragon", "ember", "engine", "falcon", "feather", "forest", "galaxy",
    "garden", "glacier", "hammer", "harvest", "helmet", "island", "jungle", "kettle", "ladder",
    "lantern", "magnet", "marble", "meadow", "mirror", "needle", "nickel", "orchid", "oyster",
    "pebble", "pepper", "pillow", "planet", "pocket", "quartz", "rabbit", "ribbon", "saddle",
    "shadow", "silver", "spider", "stable", "summit", "temple", "thunder", "ticket", "timber",
    "tunnel", "turtle", "valley", "velvet", "violin", "walnut", "willow", "window", "winter", "zipper",
)  # fmt: skip


def closing(rng: random.Random, shape: str) -> str:
    """How to give the answer: on a last line, in this shape."""
    return rng.choice(
        (
            f"End your reply with a line of the form `Answer: {shape}`.",
            f"Work it out, then finish with one line: `Answer: {shape}`.",
            f"Put the result on the last line as `Answer: {shape}`.",
        )
    )


def listed(parts: Sequence[str]) -> str:
    """``a, b and c``."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
