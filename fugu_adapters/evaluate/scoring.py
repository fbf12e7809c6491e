"""Comparing a reply with the answer of its item, from 0 to 1.

Models wrap answers in sentences, boxes and fences, so each scorer looks for the answer where people
would: in the box, after "the answer is", else at the end. A scorer never rewards a reply for merely
holding the answer among other candidates of the same kind.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
import warnings
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from fugu_adapters.errors import ConfigError
from fugu_adapters.evaluate.scoring_probes import SUITE_PROBES, score_probe
from fugu_adapters.types import Item
from fugu_adapters.workers.program import run_program
from fugu_adapters.workers.prompts_embedded import extract_program

__all__ = [
    "PREFIX_GYM",
    "extract_number",
    "load_gym",
    "score_code",
    "score_format",
    "score_item",
    "score_json",
    "score_letter",
    "score_list",
    "score_number",
    "score_option",
    "score_text",
]

_RELATIVES = frozenset(
    f"{step}{base}{law}"
    for base in ("mother", "father", "son", "daughter", "sister", "brother")
    for step in ("", "grand", "step-")
    for law in ("", "-in-law")
) | {"wife", "husband", "aunt", "uncle", "niece", "nephew", "cousin", "granddaughter"}

PREFIX_GYM = "gym-"
"""Domains that reasoning-gym verifies, followed by the name of its dataset."""

_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?|-?\.\d+")
_BOXED = re.compile(r"\\boxed\{([^{}]*)\}")
_STATED = re.compile(r"answer(?:\s+is|:)[\s:*$]*(-?[\d][\d,]*(?:\.\d+)?)", re.IGNORECASE)
_WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")
_BULLET = re.compile(r"^\s*(?:[-*•+]|\d+[.)])\s+\S", re.MULTILINE)


def extract_number(reply: str) -> float | None:
    """The number that a reply gives as its answer: boxed, stated, or else the last one."""
    boxed = _BOXED.findall(reply)
    stated = _STATED.findall(reply)
    found = _NUMBER.findall(boxed[-1] if boxed else stated[-1] if stated else reply)
    if not found:
        return None
    return float(found[-1].replace(",", ""))


def score_number(reply: str, answer: str) -> float:
    """Whether the reply's number is the answer, to one part in a million."""
    number = extract_number(reply)
    if number is None:
        return 0.0
    return float(math.isclose(number, float(answer.replace(",", "")), rel_tol=1e-6, abs_tol=1e-9))


def _fold(text: str) -> str:
    """Lower case without accents and ligatures."""
    text = text.replace("œ", "oe").replace("ß", "ss")
    parts = unicodedata.normalize("NFKD", text.casefold())
    return "".join(part for part in parts if not unicodedata.combining(part))


def score_text(reply: str, answer: str) -> float:
    """Whether the answer stands in the reply as whole words, ignoring case and accents."""
    pattern = rf"(?<!\w){re.escape(_fold(answer))}(?!\w)"
    return float(re.search(pattern, _fold(reply)) is not None)


def score_option(reply: str, answer: str, options: tuple[str, ...]) -> float:
    """Whether the reply chooses this option: the only one it names, or the one it begins with."""
    named = [word for word in _WORD.findall(_fold(reply)) if word in options]
    if not named:
        return 0.0
    first = _WORD.findall(_fold(reply))[0]
    chosen = first if first in options else named[-1]
    return float(chosen == answer and (first in options or len(set(named)) == 1))


def score_letter(reply: str, answer: str) -> float:
    """Whether the reply chooses the right one of four lettered options, by letter or by its text."""
    right = json.loads(answer)
    stated = re.search(r"answer\s+is[\s:*(]*([A-D])\b", reply)
    marked = re.findall(r"(?:^|[\s(*])([A-D])(?:[).:*]|\s*$)", reply.strip(), re.MULTILINE)
    letters = [stated.group(1)] if stated else marked
    if letters:
        return float(set(letters) == {right["letter"]})
    return score_text(reply, right["text"])


def score_list(reply: str, answer: str) -> float:
    """Whether the reply holds the answer's words in the answer's order and no other order of them."""
    wanted = [_fold(word) for word in _WORD.findall(answer)]
    got = [word for word in _WORD.findall(_fold(reply)) if word in wanted]
    return float(got[-len(wanted) :] == wanted)


def score_json(reply: str, answer: str) -> float:
    """Share of the wanted fields that the reply's first JSON object has right."""
    got = _first_object(reply)
    wanted: Mapping[str, Any] = json.loads(answer)
    if got is None:
        return 0.0
    folded = {_fold(str(key)): value for key, value in got.items()}
    right = [_same(folded.get(_fold(key)), value) for key, value in wanted.items()]
    return float(all(right))


def _first_object(reply: str) -> dict[str, Any] | None:
    decoder = json.JSONDecoder()
    for match in re.finditer(r"\{", reply):
        try:
            value, _ = decoder.raw_decode(reply, match.start())
        except (ValueError, RecursionError):
            continue
        return value if isinstance(value, dict) else None
    return None


def _same(got: Any, wanted: Any) -> bool:
    if isinstance(wanted, int | float) and not isinstance(got, bool):
        number = got if isinstance(got, int | float) else extract_number(str(got))
        return number == wanted
    return isinstance(got, str) and _fold(got.strip()) == _fold(wanted)


def score_format(reply: str, answer: str) -> float:
    """Whether the reply keeps the rule: holds a text as is, has n bullets, or has n words."""
    rule: Mapping[str, Any] = json.loads(answer)
    if "contains" in rule:
        return float(rule["contains"] in reply)
    if "bullets" in rule:
        return float(len(_BULLET.findall(reply)) == rule["bullets"])
    return float(len(_WORD.findall(reply)) == rule["words"])


async def score_code(reply: str, answer: str) -> float:
    """Share of the tests that the reply's functions pass, run apart from this process."""
    tests: list[tuple[str, Any]] = json.loads(answer)
    source = extract_program(reply)
    if source is None:
        return 0.0
    passed = 0
    for call, wanted in tests:
        result = await run_program(f"{source}\nprint()\nprint(({call}) == {wanted!r})")
        passed += result.error is None and result.output.splitlines()[-1:] == ["True"]
    return passed / len(tests)


Scorer: TypeAlias = Callable[[str, str], float] | Callable[[str, str], Awaitable[float]]


def _score_sentiment(reply: str, answer: str) -> float:
    return score_option(reply, answer, ("positive", "negative"))


def _score_yes_no(reply: str, answer: str) -> float:
    return score_option(reply, answer, ("yes", "no"))


def _score_date(reply: str, answer: str) -> float:
    return score_number(reply, answer) if answer.isdecimal() else score_text(reply, answer)


def _score_string(reply: str, answer: str) -> float:
    if answer.isdecimal():
        return score_number(reply, answer)
    return score_list(reply, answer) if "," in answer else _score_token(reply, answer)


def _score_token(reply: str, answer: str) -> float:
    """The answer as the last word of the reply, quotes and full stop aside, or quoted in it."""
    words = _WORD.findall(reply)
    quoted = re.findall(r"[\"'`]([^\"'`\s]+)[\"'`]", reply)
    last = words[-1] if words else reply.strip()
    return float(answer.casefold() in (last.casefold(), *(q.casefold() for q in quoted[-1:])))


def _score_output(reply: str, answer: str) -> float:
    return (
        score_number(reply, answer)
        if answer.lstrip("-").isdecimal()
        else _score_token(reply, answer)
    )


_SCORERS: dict[str, Scorer] = {
    "arithmetic-2": score_number,
    "arithmetic-3": score_number,
    "word-problem": score_number,
    "date": _score_date,
    "unit": score_number,
    "code-reading": _score_output,
    "sentiment": _score_sentiment,
    "yes-no": _score_yes_no,
    "capital": score_text,
    "translation": score_text,
    "knowledge": score_letter,
    "string": _score_string,
    "json": score_json,
    "format": score_format,
    "code-writing": score_code,
}


async def score_item(item: Item, reply: str) -> float:
    """How well a reply answers an item, 0 to 1. Unknown domains are compared as number or text."""
    if item.suite == SUITE_PROBES:
        return score_probe(item.domain, reply, item.answer)
    if item.domain.startswith(PREFIX_GYM):
        return _score_gym(item, reply)
    scorer = _SCORERS.get(item.domain) or _scorer_for(item.answer)
    result = scorer(reply, item.answer)
    return result if isinstance(result, float) else await result


def _scorer_for(answer: str) -> Scorer:
    return score_number if _NUMBER.fullmatch(answer.strip()) else score_text


def _score_gym(item: Item, reply: str) -> float:
    """Whether the dataset's own verifier gives full marks to the answer found in the reply.

    Its partial marks reward fragments: ``1`` would earn a third of them within ``617``.
    """
    name = item.domain.removeprefix(PREFIX_GYM)
    dataset = load_gym(name, seed=0, size=1)
    found = _gym_answer(reply, item.answer)
    return float(dataset.score_answer(found, {"answer": item.answer}) >= 1.0)


def _gym_answer(reply: str, answer: str) -> str:
    """What the reply gives as its answer, in the shape that the verifiers compare."""
    if _NUMBER.fullmatch(answer):
        number = extract_number(reply)
        return "" if number is None else f"{number:.15g}"
    if "," in answer:
        wanted = len(answer.split(","))
        lines = [line.split(":")[-1] for line in reply.splitlines() if "," in line] or [reply]
        return ", ".join(_WORD.findall(lines[-1])[-wanted:])
    if answer in ("Yes", "No"):
        return next((w.title() for w in _WORD.findall(reply) if w.title() in ("Yes", "No")), "")
    words = [word.lower() for word in _WORD.findall(reply)]
    named = [word for word in words if word in _RELATIVES] if answer in _RELATIVES else words
    return named[-1] if named else ""


def load_gym(name: str, *, seed: int, size: int) -> Any:
    """A dataset of reasoning-gym.

    Raises:
        ConfigError: where the package is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a dependency of its own warns while being compiled
            import reasoning_gym
    except ImportError:
        raise ConfigError(
            "tasks of reasoning-gym need it: pip install 'fugu-adapters[train]'"
        ) from None
    return reasoning_gym.create_dataset(name, seed=seed, size=size)
