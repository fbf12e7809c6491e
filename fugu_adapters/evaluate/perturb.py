"""Changes to a request that leave what is asked as it was. Pure: the same text and generator, the same result.

They are what people do to a prompt without meaning anything by it; a choice that turns on them is noise.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

__all__ = ["PERTURBATIONS", "Perturb", "greeting", "layout", "paraphrase", "truncate", "typos"]

Perturb: TypeAlias = Callable[[str, np.random.Generator], str]

_CODE = re.compile(r"(```.*?```|`[^`\n]+`|\$\$.*?\$\$|\$[^$\n]+\$)", re.DOTALL)
_WORD = re.compile(r"(?<![\w.\\/<$_-])[a-z]{4,}(?![\w\\/>$_(=-])")  # prose, by its looks
_TYPO_SHARE = 0.03
_CUT_SHARE = 0.2

_FRAMES: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = tuple(
    (re.compile(pattern), replacements)
    for pattern, replacements in (
        (r"\bWhat is the\b", ("Tell me the", "Give me the", "Find the")),
        (r"\bWhat is\b", ("Tell me what is", "State")),
        (r"\bWhat are the\b", ("Tell me the", "List the")),
        (r"\bWhich of the following\b", ("Of the following, which", "Which one of these")),
        (r"\bHow many\b", ("What number of", "Say how many")),
        (r"\bHow much\b", ("What amount of", "Say how much")),
        (r"\bCalculate\b", ("Compute", "Work out")),
        (r"\bCompute\b", ("Calculate", "Work out")),
        (r"\bDetermine\b", ("Work out", "Find out")),
        (r"\bFind\b", ("Determine", "Work out")),
        (r"\bSolve\b", ("Work out", "Find the solution of")),
        (r"\bExplain\b", ("Describe", "Make clear")),
        (r"\bWrite\b", ("Produce", "Compose")),
        (r"\bPlease\b", ("Kindly", "Could you please")),
        (r"\bYour task is to\b", ("What you need to do is", "You are asked to")),
        (r"\bYou are given\b", ("Here is", "Given is")),
        (r"\bdoes not\b", ("doesn't",)),
        (r"\bdo not\b", ("don't",)),
        (r"\bcannot\b", ("can't",)),
        (r"\bdon't\b", ("do not",)),
        (r"\bcan't\b", ("cannot",)),
        (r"\bit's\b", ("it is",)),
        (r"\bfor example\b", ("for instance", "e.g.")),
        (r"\bin order to\b", ("to",)),
        (r"\bmust\b", ("have to", "need to")),
        (r"\banswer\b", ("reply", "solution")),
        (r"\bQuestion:", ("Q:", "Here is a question:")),
        (r"\bAnswer:", ("A:", "Your answer:")),
    )
)
_OPENINGS = ("Hi there! ", "Hello,\n\n", "Good morning. I have a question for you.\n\n", "Hey, quick one: ")  # fmt: skip
_CLOSINGS = ("\n\nThanks in advance!", "\n\nThank you very much.", " Cheers.", "\n\nBest regards,\nSam")  # fmt: skip


def _in_prose(text: str, change: Callable[[str], str]) -> str:
    """Change what lies outside code fences, inline code and formulas."""
    parts = _CODE.split(text)
    return "".join(part if index % 2 else change(part) for index, part in enumerate(parts))


def paraphrase(text: str, rng: np.random.Generator) -> str:
    """Other words for the frame of a question; where nothing matches, a polite request around it."""

    def reword(prose: str) -> str:
        for pattern, replacements in _FRAMES:
            if rng.random() < 0.7:
                prose = pattern.sub(str(rng.choice(replacements)), prose, count=1)
        return prose

    changed = _in_prose(text, reword)
    return changed if changed != text else f"I would like you to help me with this. {text}"


def typos(text: str, rng: np.random.Generator) -> str:
    """A slip in some three of a hundred words of prose, at least one; numbers, names and code stay."""
    code = [match.span() for match in _CODE.finditer(text)]
    words = [
        match
        for match in _WORD.finditer(text)
        if not any(start <= match.start() < end for start, end in code)
    ]
    if not words:
        return text
    count = max(1, round(_TYPO_SHARE * len(text.split())))
    hit = sorted(rng.choice(len(words), size=min(count, len(words)), replace=False))
    parts, done = [], 0
    for index in hit:
        match = words[index]
        parts += [text[done : match.start()], _slip(match[0], rng)]
        done = match.end()
    return "".join([*parts, text[done:]])


def _slip(word: str, rng: np.random.Generator) -> str:
    """Two letters swapped, one dropped, or one doubled."""
    place = int(rng.integers(1, len(word) - 1))
    kind = int(rng.integers(0, 3))
    if kind == 0:
        return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    return word[:place] + (word[place] * 2 if kind == 2 else "") + word[place + 1 :]


def greeting(text: str, rng: np.random.Generator) -> str:
    """A greeting before it and thanks after it."""
    return f"{rng.choice(_OPENINGS)}{text}{rng.choice(_CLOSINGS)}"


def truncate(text: str, rng: np.random.Generator) -> str:
    """The last fifth of the words cut off, as a clipped paste would."""
    words = list(re.finditer(r"\S+", text))
    keep = len(words) - max(1, round(_CUT_SHARE * len(words)))
    return text[: words[keep - 1].end()] if keep > 0 else text


def layout(text: str, rng: np.random.Generator) -> str:
    """First letters in lower case, blank lines and spaces otherwise than they were; code stays."""

    def spread(prose: str) -> str:
        prose = re.sub(r"(?<![\w.])([A-Z])(?=[a-z])", lambda m: m[1].lower(), prose)
        prose = re.sub(r"(?<=[.?!]) (?=\S)", "  ", prose)
        return re.sub(r"\n{2,}", "\n" if rng.random() < 0.5 else "\n\n\n", prose)

    return f"\n{_in_prose(text, spread)}  \n"


PERTURBATIONS: Mapping[str, Perturb] = {
    "paraphrase": paraphrase,
    "typos": typos,
    "greeting": greeting,
    "truncation": truncate,
    "layout": layout,
}
"""All of them by name."""
