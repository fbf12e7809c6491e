"""Making one answer of several, without a call: by vote, or as a judge chose."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence

from fugu_adapters.workflow.plan import Aggregate

__all__ = ["choose", "normalise", "select", "vote"]

_BOXED = re.compile(r"\\boxed\{([^{}]{1,2000})\}")
_STATED = re.compile(r"^\W{0,9}(?:the |my )?(?:final )?answer(?: is)?\W{0,3}[:=]?\s(.{1,2000})$", re.I | re.M)  # fmt: skip
_BEST = re.compile(r"^\W{0,9}best\W{1,9}step\W{1,9}(\d{1,2})(?!\d)\W*$", re.IGNORECASE | re.MULTILINE)  # fmt: skip
_NUMBER = re.compile(r"[-+]?\$?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?")
_EDGES = " \t\r\n.,;:!*_`\"'$()"


def choose(
    aggregate: Aggregate, outputs: Mapping[int, str], weights: Mapping[int, float] | None = None
) -> int:
    """The step whose output is the answer.

    Args:
        aggregate: how it is found.
        outputs: what its steps, and its judge, wrote.
        weights: how far each step's worker is trusted; it decides ties. Equal where not given.
    """
    texts = [outputs[index] for index in aggregate.steps]
    if aggregate.judge is not None:
        chosen = select(outputs[aggregate.judge], aggregate.steps)
        if chosen is not None:
            return chosen
    trust = None if weights is None else [weights.get(index, 0.0) for index in aggregate.steps]
    return aggregate.steps[vote(texts, trust)]


def select(verdict: str, steps: Sequence[int]) -> int | None:
    """The step that a judge's reply names in its last ``Best: step N``; ``None`` where it is none of them."""
    named = _BEST.findall(verdict)
    index = int(named[-1]) - 1 if named else None
    return index if index in steps else None


def vote(texts: Sequence[str], weights: Sequence[float] | None = None) -> int:
    """The position of the winning text: most votes, then most weight, then the first.

    Texts that give the same answer vote together; empty ones do not vote. Of the winners' texts it is the
    one with the most weight.
    """
    trust = [0.0] * len(texts) if weights is None else weights
    ballots: dict[str, list[int]] = defaultdict(list)
    for position, text in enumerate(texts):
        answer = normalise(text)
        if answer:
            ballots[answer].append(position)
    if not ballots:
        return 0
    won = max(ballots.values(), key=lambda group: (len(group), sum(trust[p] for p in group)))
    return max(won, key=lambda position: trust[position])


def normalise(text: str) -> str:
    """An answer in a form that can be compared: boxed, stated after "answer", or the whole text.

    Case, spaces, quotes, emphasis and closing punctuation do not count; nor do commas in numbers and zeros
    at their end.
    """
    found = _BOXED.findall(text) or _STATED.findall(text)
    answer = unicodedata.normalize("NFKC", found[-1] if found else text).casefold()
    answer = " ".join(answer.split()).strip(_EDGES)
    if not _NUMBER.fullmatch(answer):
        return answer
    number = answer.replace(",", "").replace("$", "").lstrip("+")
    return number.rstrip("0").rstrip(".") if "." in number else number
