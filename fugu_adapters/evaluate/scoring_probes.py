"""Reading the final answer of a reply that may reason first, and comparing it with the right one.

The prompts ask for a last line ``Answer: ...``. Where it is missing, a boxed answer counts, then the
last line, then a first line that is nothing but an answer. What was said before it does not count,
and a line that names several answers is wrong whatever they are.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import Any, TypeAlias

__all__ = [
    "SUITE_PROBES",
    "score_call",
    "score_choice",
    "score_final",
    "score_probe",
    "score_rules",
]

SUITE_PROBES = "fugu-probes"
"""The suite whose items these scorers read."""

Parse: TypeAlias = Callable[[str], object | None]

_THINKS = re.compile(r"<think(?:ing)?>", re.IGNORECASE)
_THOUGHT = re.compile(r"</think(?:ing)?>", re.IGNORECASE)
_FENCE = re.compile(r"^[ \t]*```\w*[ \t]*$", re.MULTILINE)
_STATED = re.compile(
    r"\b(?:answer|correct (?:option|choice))\b[*_`\s]*(?:is\b\s*:?|:|=)(?!\s*not\b)", re.IGNORECASE
)
_RETRACTED = re.compile(
    r"\b(?:wait|actually|correction|scratch that|hold on|on second thought|mistake)\b",
    re.IGNORECASE,
)
_BOXED = re.compile(r"\\boxed\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
_LATEX_FRACTION = re.compile(r"\\[dt]?frac\s*\{(\d+)\}\s*\{(\d+)\}")
_LATEX = re.compile(r"\\(?:text|mathrm|mathbf|textbf)\s*\{([^{}]*)\}|\\[()\[\],;! ]|\$")
_ASIDE = re.compile(r"(?<=\S)\s+\([^()]*\)")
_VERB = re.compile(r"=|≈|:|→|->|\b(?:is|are|equals|prints|outputs|returns|gives)\b", re.IGNORECASE)
_NUMBER = re.compile(r"[-\u2212]?(?:\d{1,40}(?:\.\d{1,40})?|\.\d{1,40})(?:[eE][+-]?\d{1,2}(?!\d))?")
_THOUSANDS = re.compile(r"(?<=\d)(?:,|\{,\}|\u202f|\u2009|_)(?=\d{3}(?!\d))")
_FRACTION = re.compile(r"(-?\d{1,40})\s*/\s*(\d{1,40})")
_DATE = re.compile(r"(?<![\d-])\d{4}-\d{2}-\d{2}(?![\d-])")
_BRACKETS = re.compile(r"[\[({].*[\])}]", re.DOTALL)
_LETTER = re.compile(
    r"\W*(?:(?:option|choice|letter)\s+)?\W*([A-J])(?=\W*$|[).:,\]*]|\s+[(\u2013\u2014=-]|(?<=[B-HJ])\s)"
)
_SECOND_LETTER = re.compile(r"(?:\bor|\band|[/,&])\W*[A-J](?![\w'])")
_WORD = re.compile(r"(?<!\w)-\d+(?:\.\d+)?|\d+\.\d+|[^\W_]+(?:['-][^\W_]+)*")
_LONGEST = 2_000  # characters of a line that are read: patterns may take quadratic time
_BRACES = 400  # opening braces of a reply that are looked at
_EDGES = " \t\n\"'`*_<>.,;:!?\u201c\u201d\u2018\u2019"


def score_probe(domain: str, reply: str, answer: str) -> float:
    """Whether a reply answers a probe, 0 or 1; the domain says how its answer is compared."""
    if domain == "format":
        return score_rules(reply, answer)
    if domain == "call":
        return score_call(reply, answer)
    return score_choice(reply, answer) if domain.startswith("exam-") else score_final(reply, answer)


def score_choice(reply: str, answer: str) -> float:
    """Whether the reply ends by choosing this one of the options A to J."""
    return _compare(reply, answer, _letter)


def score_final(reply: str, answer: str) -> float:
    """Whether the reply's final answer is this number, fraction, date, list or text."""
    return _compare(reply, answer, _parser_for(answer))


def _parser_for(answer: str) -> Parse:
    if _DATE.fullmatch(answer):
        return _date
    if _FRACTION.fullmatch(answer):
        return _fraction
    if _NUMBER.fullmatch(answer):
        return _number
    if _BRACKETS.fullmatch(answer):
        return _compact
    words = len(_words(answer))
    return lambda text: _text(text, words)


def _compare(reply: str, answer: str, parse: Parse) -> float:
    wanted = parse(answer)
    for candidate in _candidates(reply):
        found = parse(_plain(candidate[:_LONGEST]))
        if found is not None:
            return float(found == wanted)
    return 0.0


def _spoken(reply: str) -> str:
    """The reply without its reasoning; nothing where that was cut off before its end."""
    return _THINKS.split(_THOUGHT.split(reply)[-1], maxsplit=1)[0]


def _candidates(reply: str) -> Iterator[str]:
    """Where a reply may state its answer, the best place first; the next counts if it holds none."""
    text = _FENCE.sub("", _spoken(reply)).strip()
    stated = list(_STATED.finditer(text))
    boxed = _BOXED.findall(text)
    if stated and not _RETRACTED.search(text, stated[-1].end()):
        after = text[stated[-1].end() :].splitlines()
        yield next((line for line in after if re.search(r"[^\W_]", line)), "")
        return
    if boxed and not stated:
        yield boxed[-1]
        return
    lines = [line for line in text.splitlines() if line.strip(_EDGES)]
    if lines:
        yield lines[-1]
    if len(lines) > 1 and not stated and len(_words(lines[0])) <= 3:
        yield lines[0]


def _plain(text: str) -> str:
    """The text without markup: LaTeX fractions as a/b, boxes opened, bold dropped."""
    text = _BOXED.sub(r"\1", text)
    text = _LATEX_FRACTION.sub(r"\1/\2", text)
    text = _LATEX.sub(r"\1", text)
    return text.replace("**", "").strip()


def _said(text: str) -> str:
    """What follows the last verb or sign of a sentence such as "the total is 12", asides dropped."""
    parts = [part for part in _VERB.split(_ASIDE.sub("", text)) if part.strip(_EDGES)]
    return parts[-1] if parts else ""


def _number(text: str) -> object | None:
    found = _NUMBER.findall(_THOUSANDS.sub("", _said(text)))
    values = {Fraction(number.replace("\u2212", "-")) for number in found}
    return values.pop() if len(values) == 1 else None if not values else "several"


def _fraction(text: str) -> object | None:
    pairs = [(int(top), int(bottom)) for top, bottom in _FRACTION.findall(text)]
    values = {Fraction(top, bottom) for top, bottom in pairs if bottom}
    if values:
        return values.pop() if len(values) == 1 else "several"
    return _number(text)


def _date(text: str) -> object | None:
    found = set(_DATE.findall(text))
    return found.pop() if len(found) == 1 else None if not found else "several"


def _compact(text: str) -> object | None:
    found = _BRACKETS.search(text)
    return None if found is None else re.sub(r"\s+", "", found[0]).replace('"', "'")


def _letter(text: str) -> object | None:
    bare = text.strip(_EDGES)
    if len(bare) == 1:
        return bare.upper() if bare.upper() in "ABCDEFGHIJ" else None
    for part in (text, _said(text)):
        found = _LETTER.match(part)
        if found is not None:
            return "several" if _SECOND_LETTER.search(part, found.end()) else found[1]
    return None


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _text(text: str, words: int) -> object | None:
    """The text's words, after a verb or as a whole, where they are as many as the answer has."""
    listed = re.sub(r",?\s+and\s+", ", ", text)
    for part in (listed, _ASIDE.sub("", listed), _said(listed)):
        found = _words(part)
        if len(found) == words:
            return found
    return None


def score_call(reply: str, answer: str) -> float:
    """Whether the reply's one JSON object is this call: same name, same arguments, same types."""
    text = _spoken(reply)
    stated = list(_STATED.finditer(text))
    last = _objects(text[stated[-1].end() :]) if stated else []
    calls = [_unwrapped(value) for value in last or _objects(text)]
    wanted = _typed(json.loads(answer))
    return float(bool(calls) and all(_typed(call) == wanted for call in calls))


def _objects(text: str) -> list[dict[str, Any]]:
    """The outermost JSON objects of a text, looked for at its first braces only: time is bounded."""
    decoder = json.JSONDecoder()
    found: list[dict[str, Any]] = []
    end = 0
    for match in itertools.islice(re.finditer(r"\{", text), _BRACES):
        if match.start() >= end:
            try:
                value, end = decoder.raw_decode(text, match.start())
            except (ValueError, RecursionError):
                continue
            found.append(value)
    return found


def _unwrapped(call: dict[str, Any]) -> dict[str, Any]:
    """The call with its arguments as an object, where they came as a text that holds one."""
    arguments = call.get("arguments")
    if isinstance(arguments, str):
        decoded = _objects(arguments)
        return call | {"arguments": decoded[0]} if len(decoded) == 1 else call
    return call


def _typed(value: Any) -> object:
    """A form in which 5 equals 5.0 and differs from true, and key order does not matter."""
    if isinstance(value, dict):
        return {key: _typed(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_typed(inner) for inner in value]
    if isinstance(value, bool) or value is None:
        return repr(value)
    return value.strip() if isinstance(value, str) else ("number", value)


def score_rules(reply: str, answer: str) -> float:
    """Whether the reply keeps every rule; see ``_RULES``."""
    text = _spoken(reply).strip()
    rules: Mapping[str, Any] = json.loads(answer)
    return float(bool(text) and all(_RULES[name](text, value) for name, value in rules.items()))


def _lines(text: str) -> list[list[str]]:
    return [_words(line) for line in text.splitlines() if _words(line)]


_RULES: Mapping[str, Callable[[str, Any], bool]] = {
    "is": lambda text, value: text.strip(_EDGES) == value,
    "words": lambda text, value: len(_words(text)) == value,
    "lines": lambda text, value: len(_lines(text)) == value,
    "words_per_line": lambda text, value: [len(line) for line in _lines(text)] == value,
    "starts": lambda text, value: "".join(line[0][0] for line in _lines(text)) == value,
    "ends": lambda text, value: [line[-1] for line in _lines(text)] == value,
    "without": lambda text, value: value not in text.casefold(),
    "lower": lambda text, value: (text == text.lower()) == value,
    "upper": lambda text, value: (text == text.upper()) == value,
    "times": lambda text, value: all(_words(text).count(w) == n for w, n in value.items()),
    "separator": lambda text, value: len(text.split(value)) == len(_words(text)),
    "longer": lambda text, value: all(len(w) > value for w in _words(text)),
    "distinct": lambda text, value: (len(set(_words(text))) == len(_words(text))) == value,
}
"""What a format may ask for, by name: the reply's text and the rule's value -> whether it is kept."""
