from __future__ import annotations

import math

import numpy as np
import pytest

from fugu_adapters.encoders import load_encoder
from fugu_adapters.encoders.courtesy import Courtesies, first_sentences, last_sentences
from fugu_adapters.encoders.static import StaticEncoder

ASKED = "What is the capital of France?"
POLITE = Courtesies(words={"hi": 4.0, "thanks": 4.0, "谢谢": 4.0, "a": 0.0}, other=-2.0, bias=-1.0)


@pytest.mark.parametrize(
    "text",
    [
        f"Hi! {ASKED}",
        f"Hi Anna,\n\n{ASKED}\n\nThanks a lot!\nMaria Lopez",
        f"{ASKED} Thanks.",
        f"{ASKED} 谢谢!",
        f"{ASKED[:-1]} Thanks",
        f"Hi. Hi, {ASKED}\nThanks, Tom\n",
    ],
)
def test_what_is_said_around_a_request_goes(text: str) -> None:
    """Greetings, thanks and the name under them are left out, whatever marks separate them."""
    assert POLITE.strip(text).rstrip("?") == ASKED[:-1]


@pytest.mark.parametrize(
    "text",
    ["", " \n", "Hi!", "Hi. Thanks!", ASKED, f"{ASKED}\n", "x = 1\nprint(x)", "Sum 3, 4, 5", "Paris,\nTom"],
)  # fmt: skip
def test_other_texts_stay_to_the_letter(text: str) -> None:
    """What has no courtesies, or nothing else, is not touched, not even its blanks."""
    assert POLITE.strip(text) == text


def test_a_long_text_is_only_looked_at_near_its_ends() -> None:
    """Courtesies in the middle stay, and a sentence too long is none."""
    middle = f"{ASKED} Hi! Thanks. {ASKED}"
    assert POLITE.strip(middle) == middle
    assert POLITE.strip("Hi " + "word " * 30 + ". Go.").startswith("Hi word")


def test_no_cue_no_courtesy() -> None:
    """Words that say nothing of courtesy never add up to one; digits are no part of a sentence."""
    assert POLITE.score("a") == -math.inf
    assert POLITE.score("hi there") == pytest.approx(1.0)
    assert list(first_sentences("Go 12. Now")) == []
    assert last_sentences("5 6", 3) in ([], [("5 6", 0)])


def test_shipped_encoder_hardly_moves() -> None:
    """A request with small talk around it has the vector of the request."""
    encoder = load_encoder("static-1")
    assert isinstance(encoder, StaticEncoder)
    asked = "Prove that the sum of two odd numbers is even."
    plain, polite = encoder.encode([asked, f"Dear all,\n\n{asked}\n\nMany thanks,\nPeter"])
    np.testing.assert_array_equal(plain, polite)
