"""Tasks of reasoning-gym, checked by its own verifiers. Its import alone takes seconds."""

from __future__ import annotations

import pytest

from fugu_adapters.errors import ConfigError
from fugu_adapters.evaluate.scoring import score_item
from fugu_adapters.evaluate.tasks import GYM_KINDS, build_suite
from fugu_adapters.types import Item


def item(domain, answer):
    return Item(suite="s", item_id="i", prompt="?", domain=domain, answer=answer, split="test")


@pytest.fixture(scope="module")
def gym():
    """Two items of each reasoning-gym kind."""
    try:
        items = build_suite(seed=3, per_kind=2, kinds=[], gym=True)
    except ConfigError as error:
        pytest.skip(str(error))
    return items


async def test_verified_kinds_accept_their_answers(gym):
    """The true answer, alone or in a sentence, gets full marks from the dataset's own verifier."""
    assert {i.domain for i in gym} == {f"gym-{name}" for name in GYM_KINDS}
    for i in gym:
        assert await score_item(i, i.answer) == 1.0, i.domain
        assert await score_item(i, f"The answer is: {i.answer}") == 1.0, i.domain
        assert await score_item(i, "I cannot tell.") == 0.0, i.domain


async def test_verifiers_give_no_part_marks(gym):
    """A fragment of a number, or a word half right, is wrong."""
    assert await score_item(item("gym-gcd", "1"), "617") == 0.0
    assert await score_item(item("gym-spell_backward", "ammonia"), "ammonai") == 0.0
    assert await score_item(item("gym-family_relationships", "mother"), "mother-in-law") == 0.0
    assert await score_item(item("gym-family_relationships", "son"), "Noah is a son of Mia.") == 1.0
