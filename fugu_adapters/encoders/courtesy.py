"""Small talk around a request: greetings before it, thanks and names after it. Pure.

A choice should not turn on them. Sentences at either end are scored word by word with weights learned
from phrases of courtesy against the first and last sentences of real prompts; see ``distil_encoder.py``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

__all__ = ["Courtesies", "first_sentences", "last_sentences", "words_of"]

_MOST = 5  # sentences that are looked at, at either end
_WIDE = "\u3002\uff0c\uff01\uff1f\uff1a\u060c\u0964\u3001"  # stops that no space need follow
_STOP = ".,:;!?\u2026" + _WIDE
_HEAD = re.compile(
    rf"\s*([^\W\d_][^\d{_STOP}\n]{{0,60}})(?:[.,:;!?\u2026]+\s+|[{_WIDE}]+\s*|\n\s*)"
)
_BREAK = re.compile(rf"(?:[{_STOP})\]}}\"'`$\u2013\u2014-]\s|\n|[{_WIDE}])\s*(?=[^\W\d_])")
_AFTER = _STOP + " \t\r\n~)"
_CAPITAL = re.compile(r"\s+(?=[^\W\d_a-z])")
_WORD = re.compile(r"[^\W\d_]+")
_SPAN = 70  # characters of a courtesy, at most
_CUE = 1.5  # least weight of a word without which nothing is a courtesy


def words_of(sentence: str) -> list[str]:
    """Its words in lower case."""
    return _WORD.findall(sentence.lower())


def first_sentences(text: str) -> Iterator[tuple[str, int]]:
    """The first few short sentences or clauses, each with the place where the next begins."""
    at = 0
    for _ in range(_MOST):
        found = _HEAD.match(text, at)
        if found is None:
            return
        at = found.end()
        yield found[1], at


def last_sentences(text: str, end: int) -> list[tuple[str, int]]:
    """What may be the last sentence of ``text[:end]``, the longest first, and where each begins."""
    low = max(0, end - _SPAN)
    piece = text[low:end].rstrip(_AFTER)
    begin = 0 if low == 0 else -1
    for found in _BREAK.finditer(piece):
        begin = found.end()
    places = [] if begin < 0 else [begin]
    places += [found.end() for found in _CAPITAL.finditer(piece, max(begin, 0))][-3:]
    return [(piece[place:], low + place) for place in places if place < len(piece)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Courtesies:
    """Weights of a linear score of short sentences; above zero they are taken for courtesies.

    Attributes:
        words: weight of each word of courtesy.
        other: weight of any other word.
        bias: added once.
    """

    words: Mapping[str, float]
    other: float
    bias: float
    _cues: frozenset[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        cues = (word for word, weight in self.words.items() if weight > _CUE)
        object.__setattr__(self, "_cues", frozenset(cues))

    def score(self, sentence: str) -> float:
        """Log odds that a sentence is a courtesy; minus infinity where no word of it says so."""
        found = words_of(sentence)
        if self._cues.isdisjoint(found):
            return -math.inf
        return self.bias + sum([self.words.get(word, self.other) for word in found])

    def strip(self, text: str) -> str:
        """The text without courtesies at its ends; all of it where it consists of nothing else."""
        begin, end = self._after_greeting(text), len(text)
        if not self._cues.isdisjoint(words_of(text[-_SPAN:])):
            end = self._before_thanks(text)
        rest = text[begin:]
        if end < len(text):
            rest = text[begin:end].rstrip().rstrip(",")
        return rest if rest.strip() else text

    def _after_greeting(self, text: str) -> int:
        begin = 0
        for sentence, after in first_sentences(text):
            if self.score(sentence) <= 0.0:
                break
            begin = after
        return begin

    def _before_thanks(self, text: str) -> int:
        end = len(text)
        for _ in range(_MOST):
            place = self._last(text, end)
            if place is None:
                break
            end = place
        return end

    def _last(self, text: str, end: int) -> int | None:
        """Where a courtesy at the end begins, with the name that may follow it."""
        for _ in range(2):
            choices = last_sentences(text, end)
            for index, (sentence, place) in enumerate(choices):
                # a capital alone begins a sentence only where the word itself is a courtesy
                begins = index == 0 or not self._cues.isdisjoint(words_of(sentence)[:1])
                if begins and self.score(sentence) > 0.0:
                    return place
            if not choices or not _is_name(*choices[0], text):
                return None
            end = choices[0][1]
        return None


def _is_name(sentence: str, place: int, text: str) -> bool:
    """Whether it may be the name under a letter: few words, capitals, after a comma or a line end."""
    before = text[:place].rstrip(" ")[-1:]
    return before in ("\n", ",") and sentence.istitle() and len(sentence.split()) <= 3
