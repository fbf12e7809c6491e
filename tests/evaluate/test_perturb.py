from __future__ import annotations

import re

import numpy as np
import pytest

from fugu_adapters.evaluate.perturb import (
    PERTURBATIONS,
    greeting,
    layout,
    paraphrase,
    truncate,
    typos,
)

TEXT = (
    "Question: What is the value of 12.5 times 48 after several rounds of careful rounding? Please explain.\n\n"
    "Use this code:\n```python\nresult_value = compute(values, 1234)\n```\n"
    "You cannot use `another_helper` and must answer with $alpha + beta$ where needed. " + "Further words follow here. " * 30
)  # fmt: skip


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_the_same_generator_gives_the_same_text(name: str) -> None:
    """Changes are pure, do change the text, and differ between seeds or have nothing random."""
    change = PERTURBATIONS[name]
    assert change(TEXT, rng(1)) == change(TEXT, rng(1))
    assert change(TEXT, rng(1)) != TEXT


@pytest.mark.parametrize("name", PERTURBATIONS)
@pytest.mark.parametrize("text", ["", " ", "a", "12 + 30", "???", "日本語の文章です", "x" * 5_000])
def test_odd_texts_do_not_fail(name: str, text: str) -> None:
    """Empty, tiny, foreign and huge texts come out as text."""
    assert isinstance(PERTURBATIONS[name](text, rng()), str)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("change", [paraphrase, typos, layout, greeting])
def test_numbers_code_and_formulas_stay(change: object, seed: int) -> None:
    """What carries the question's content is not touched."""
    assert callable(change)
    changed = change(TEXT, rng(seed))
    for kept in ("```python\nresult_value = compute(values, 1234)\n```", "`another_helper`", "$alpha + beta$"):  # fmt: skip
        assert kept in changed
    assert re.findall(r"\d[\d.]*\d", changed) == re.findall(r"\d[\d.]*\d", TEXT)


@pytest.mark.parametrize("seed", range(10))
def test_typos_are_about_three_in_a_hundred_words(seed: int) -> None:
    """The number of words stays, and few of them change, each by a letter."""
    changed = typos(TEXT, rng(seed))
    pairs = list(zip(TEXT.split(), changed.split(), strict=True))
    hit = [(a, b) for a, b in pairs if a != b]
    assert 1 <= len(hit) <= round(0.03 * len(pairs))
    for before, after in hit:
        assert abs(len(before) - len(after)) <= 1
        assert len(before) >= 4


def test_truncation_cuts_the_last_fifth() -> None:
    """Four fifths of the words are left, as they stood; a single word is left alone."""
    cut = truncate(TEXT, rng())
    assert TEXT.startswith(cut)
    assert len(cut.split()) == len(TEXT.split()) - round(0.2 * len(TEXT.split()))
    assert truncate("one", rng()) == "one"


def test_a_greeting_leaves_the_request_whole() -> None:
    """The text stands between a greeting and thanks."""
    changed = greeting(TEXT, rng(3))
    assert TEXT in changed
    assert not changed.startswith(TEXT)
    assert not changed.endswith(TEXT)


def test_paraphrase_rewords_frames_and_always_does_something() -> None:
    """Known frames get other words over a few seeds; without any, a polite request is put around it."""
    seen = {paraphrase("What is the capital of Peru?", rng(seed)) for seed in range(20)}
    assert "Tell me the capital of Peru?" in seen
    assert all("capital of Peru" in text for text in seen)
    assert paraphrase("Peru capital", rng()).endswith("Peru capital")


def test_layout_changes_case_and_space_only() -> None:
    """Without case and white space the text is the same."""
    changed = layout(TEXT, rng())
    assert "".join(changed.split()).lower() == "".join(TEXT.split()).lower()
