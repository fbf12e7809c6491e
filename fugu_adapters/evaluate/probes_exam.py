"""Probes of exam knowledge: thirteen subjects, questions with ten options, one of them right."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from fugu_adapters.evaluate.probes_common import closing
from fugu_adapters.evaluate.tasks_numbers import Draft

__all__ = ["LETTERS", "Question", "about", "choose", "exam", "numeric", "whole"]

LETTERS = "ABCDEFGHIJ"


class Question(NamedTuple):
    """A question, its right option, and at least nine wrong ones, of which the first are used."""

    text: str
    right: str
    wrong: Sequence[str]


Maker: TypeAlias = Callable[[random.Random], Question]

_FACTORS = (2.0, 0.5, 1.1, 0.9, 1.25, 0.8, 1.5, 0.75, 3.0, 1.05, 0.95, 4.0, 0.25, 1.4, 0.6, 1.9)


def exam(makers: Sequence[Maker], rng: random.Random, level: int) -> Draft:
    """The subject's question of a level, its options shuffled."""
    question = makers[level - 1](rng)
    wrong = [text for text in dict.fromkeys(question.wrong) if text != question.right]
    options = [question.right, *wrong[: len(LETTERS) - 1]]
    rng.shuffle(options)
    lines = "\n".join(f"{a}. {text}" for a, text in zip(LETTERS, options, strict=True))
    ask = f"{question.text}\n\n{lines}\n\n{closing(rng, '<letter of the right option>')}"
    return Draft(ask, LETTERS[options.index(question.right)])


def numeric(
    rng: random.Random, text: str, right: float, *traps: float, unit: str = "", digits: int = 3
) -> Question:
    """A question whose options are numbers, what the usual mistakes give among them.

    Args:
        rng: of the options.
        text: the question.
        right: the right value.
        *traps: what mistakes give.
        unit: written after every number.
        digits: significant digits shown.
    """
    factors = rng.sample(_FACTORS, len(_FACTORS))
    values = [*(trap for trap in traps if abs(trap - right) > 0.02 * abs(right)),
              *(right * factor for factor in factors)]  # fmt: skip
    shown = [_shown(value, digits) + unit for value in values]
    return Question(text, _shown(right, digits) + unit, shown)


def _shown(value: float, digits: int) -> str:
    """A value to some significant digits, without an exponent, ``-0`` or an odd tail of zeros."""
    rounded = float(f"{value:.{digits}g}")
    return f"{int(rounded):,}" if rounded == int(rounded) else f"{rounded:.10f}".rstrip("0")


def whole(rng: random.Random, text: str, right: int, *traps: int) -> Question:
    """A question whose options are positive whole numbers."""
    near = [right + step for step in rng.sample([s for s in range(-8, 13) if s], 20)]
    far = [right * 2, right * 3, right + 20, right + 30]
    values = [value for value in (*traps, *near[:6], *far, *near[6:]) if value > 0]
    return Question(text, str(right), [str(value) for value in values])


def choose(rng: random.Random, text: str, right: str, pool: Sequence[str]) -> Question:
    """A question whose wrong options come from a pool in which nothing else is right."""
    others = [option for option in pool if option != right]
    return Question(text, right, rng.sample(others, len(others)))


def about(ask: str, facts: Mapping[str, str], pool: Sequence[str]) -> Maker:
    """A maker that asks one of several facts: ``ask`` holds ``{}`` for the key, the value is right."""

    def make(rng: random.Random) -> Question:
        key = rng.choice(list(facts))
        return choose(rng, ask.format(key), facts[key], pool)

    return make
