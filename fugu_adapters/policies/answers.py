"""The final answers that replies give, and which of them are the same.

Pure. An answer is read as what its question asks for: JSON, a lettered choice, a number or formula, a short
text. Long texts are not compared, since the same one can be written in many ways, and programs only by what
they did when they were run (``programs.py``). What is read wrongly must rather separate equal answers than
join different ones: joined ones end a run.
"""

from __future__ import annotations

import functools
import importlib
import json
import math
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, TypeAlias

from fugu_adapters.policies.programs import Behaviour, same_behaviour

__all__ = ["Answers", "Kind", "kind_of", "read_answers", "read_number", "without_thoughts"]

Kind: TypeAlias = Literal["json", "choice", "number", "text", "program", "code", "open"]

_BOXED = re.compile(r"\\boxed\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\}){1,500})\}")
_STATED = re.compile(
    r"(?:^|\W)(?:final\s+|correct\s+)?answer\W{0,4}(?:\s(?:is|would be))?[\s:=*]+(?!is\b)(.{1,500})$|^#{4}\s*(.{1,500})$",
    re.IGNORECASE | re.MULTILINE,
)
_OPTION = re.compile(r"(?:^|\s|\()([A-J])[).:]\s*(\S[^\n]*?)(?=\s+\(?[A-J][).:]\s|\n|$)", re.MULTILINE)  # fmt: skip
_LETTER = re.compile(r"(?:^|[\s(*\[])([A-J])(?=[).:*\]\s,]|$)")
_NUMBER = re.compile(r"(?<![\w.])[-+]?[$€£]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+|(?<=\d))(?:[eE][-+]?\d{1,3})?(?:\s?%)?(?![\w])")  # fmt: skip
_PLAIN = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,2})?")
_FRACTION = re.compile(r"(-?)\\[dt]?frac\{?(-?\d{1,30})\}?\{?(\d{1,30})\}?|(-?\d{1,30})\s?/\s?(\d{1,30})")  # fmt: skip
_ASKS_NUMBER = re.compile(
    r"how (?:many|much|old|far|long|tall)|\b(?:sum|product|difference|average|mean|total|percentage|area|perimeter|"
    r"probability|value|remainder|gcd|divisor|multiple) of\b|\bcalculate\b|\bcompute\b|\bevaluate\b|"
    r"\bsolve\b|[\d)]\s*[-+*/x\u00d7\u00f7=]\s*[\d(?]|\bhow much is\b",
    re.IGNORECASE,
)  # fmt: skip
_ASKS_CODE = re.compile(r"\b(?:write|implement|need|create|give me|code)\b.{0,60}\b(?:function|program|script|class|method|query|regex)\b|\bonly the code\b", re.IGNORECASE | re.DOTALL)  # fmt: skip
_CODE = re.compile(r"```[^\n]*\n.*?(?:```|\Z)|^\s*(?:def|class|import|SELECT|function)\s\w", re.DOTALL | re.MULTILINE)  # fmt: skip
_YES_NO = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)
_DENIES = re.compile(r"\b(?:not|no|never|neither|nor|isn't|aren't|wasn't|cannot|can't|unlike|rather than|instead of)\b", re.IGNORECASE)  # fmt: skip
_WORD = re.compile(r"[^\W_]+(?:['\u2019.-][^\W_]+)*")
_EDGES = " \t\r\n.,;:!?*_`\"'\u201c\u201d\u2018\u2019$()[]"
_SHORT, _SENTENCE = 6, 30  # words
_FORMULA_CHARS, _DEGREE, _VARIABLES = 80, 4, 4
_COMMAND = re.compile(r"\\([a-zA-Z]+)")
_COMMANDS = frozenset(["frac", "dfrac", "tfrac", "sqrt", "pi", "cdot", "times", "div", "left", "right", "text", "mathrm", "pm", "infty", "in", "cup", "cap", "quad"])  # fmt: skip
_POWER = re.compile(r"\^(?:\{-?(\d|[a-z])\}|(\d|[a-z])(?![\d^]))")
_DIGITS = 40  # longer numbers are compared as text


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """What replies to one question answer.

    Attributes:
        kind: as what they were read: ``"program"`` is code that was run; ``"code"`` and ``"open"`` cannot be
            compared.
        keys: for each reply a number, equal for equal answers; ``None`` where it gives no answer.
    """

    kind: Kind
    keys: tuple[int | None, ...]

    @property
    def comparable(self) -> bool:
        """Whether ``keys`` say anything."""
        return self.kind not in ("code", "open")


def read_answers(
    question: str,
    replies: Sequence[str],
    *,
    wants_json: bool = False,
    ran: Sequence[Behaviour | None] = (),
) -> Answers:
    """Compare the answers of replies. The first says of what kind the others have to be.

    Args:
        question: what was asked.
        replies: the texts, ``""`` for none.
        wants_json: whether the caller asked for JSON.
        ran: for each reply what its program did; ``None`` for one that was not run, or did not do what the
            question's examples say. Programs are compared where this is given.
    """
    replies = [without_thoughts(reply) for reply in replies]
    first = [reply for reply in replies if reply.strip()][:1]
    kind = kind_of(question, first, wants_json=wants_json)
    if kind == "code" and ran:
        return Answers(kind="program", keys=_keys(ran, same_behaviour))
    if kind in ("code", "open"):
        return Answers(kind=kind, keys=(None,) * len(replies))
    read: list[Any]
    same: Callable[[Any, Any], bool]
    match kind:
        case "json":
            read, same = [_json(reply) for reply in replies], _equal
        case "choice":
            options = _options(question)
            read, same = [_choice(reply, options) for reply in replies], _equal
        case "number":
            read, same = [_quantity(reply) for reply in replies], _same_quantity
        case _:
            read, same = [_short(reply) for reply in replies], _same_text
    return Answers(kind=kind, keys=_keys(read, same))


def kind_of(question: str, replies: Sequence[str], *, wants_json: bool = False) -> Kind:
    """As what the answers to a question are to be read, by the question and by the replies."""
    given = [reply for reply in replies if reply.strip()]
    if wants_json or (given and all(isinstance(_whole_json(r), dict | list) for r in given)):
        return "json"
    if _ASKS_CODE.search(question) or any(_CODE.search(reply) for reply in given):
        return "code"
    if len(_options(question)) >= 2:
        return "choice"
    bare = any(_BOXED.search(r) or read_number(_stated(r)) is not None for r in given)
    if bare or (_ASKS_NUMBER.search(question) and all(_NUMBER.search(r) for r in given)):
        return "number"
    if any(len(_WORD.findall(_stated(reply))) > _SENTENCE for reply in given):
        return "open"
    return "text"


def without_thoughts(reply: str) -> str:
    """A reply without the thoughts that some models write before it; nothing is left of mere thoughts."""
    if not reply.lstrip().startswith("<think>"):
        return reply
    return reply.rpartition("</think>")[2] if "</think>" in reply else ""


def _keys(read: Sequence[Any], same: Callable[[Any, Any], bool]) -> tuple[int | None, ...]:
    """Number the answers; one is the same as an earlier only where it is the same as all of that number."""
    groups: list[list[Any]] = []
    keys: list[int | None] = []
    for answer in read:
        if answer is None:
            keys.append(None)
            continue
        found = next((n for n, g in enumerate(groups) if all(same(answer, o) for o in g)), None)
        if found is None:
            found = len(groups)
            groups.append([])
        groups[found].append(answer)
        keys.append(found)
    return tuple(keys)


def _equal(one: Any, other: Any) -> bool:
    return bool(one == other)


def _stated(reply: str) -> str:
    """The part of a reply that is its answer: boxed, stated as the answer, or all of it."""
    boxed = _BOXED.findall(reply)
    if boxed:
        return str(boxed[-1])
    stated = [one or other for one, other in _STATED.findall(reply)]
    return (stated[-1] if stated else reply).strip(_EDGES)


# --- JSON -----------------------------------------------------------------------------------------


def _whole_json(reply: str) -> Any:
    text = re.sub(r"^```(?:json)?\s*|\s*```$", "", reply.strip())
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _json(reply: str) -> str | None:
    value = _whole_json(reply)
    if not isinstance(value, dict | list):
        return None
    return json.dumps(_plain(value), sort_keys=True)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return _fold(value) if isinstance(value, str) else value


# --- choices --------------------------------------------------------------------------------------


def _options(question: str) -> dict[str, str]:
    """Lettered options in order from A, by letter."""
    found: dict[str, str] = {}
    for letter, text in _OPTION.findall(question):
        if letter == chr(ord("A") + len(found)):
            found[letter] = _fold(text)
    return found


def _choice(reply: str, options: dict[str, str]) -> str | None:
    """The one option that the stated answer names by letter, or else by its text."""
    said = _stated(reply)
    letters = {letter for letter in _LETTER.findall(said) if letter in options}
    if len(letters) > 1 and said[:1] in letters and said[1:2] in (")", ".", ":", ""):
        letters = {said[:1]}  # "B) ... A is wrong because"
    if len(letters) == 1:
        return str(letters.pop())
    if letters:
        return None
    folded = _fold(said)
    named = [letter for letter, text in options.items() if text and _holds(folded, text)]
    return named[0] if len(named) == 1 and not _DENIES.search(said) else None


# --- numbers and formulas -------------------------------------------------------------------------


def read_number(text: str) -> Fraction | None:
    """A text that is nothing but a number: signs, commas, money, per cent, fractions, powers of ten."""
    text = (
        text.strip(_EDGES)
        .rstrip("\\")
        .replace("\N{MINUS SIGN}", "-")
        .replace("\\%", "%")
        .replace("\\!", "")
        .replace("{,}", ",")
    )
    fraction = _FRACTION.fullmatch(text)
    if fraction:
        sign, above, below = (
            fraction[1] or "",
            fraction[2] or fraction[4],
            fraction[3] or fraction[5],
        )
        if not int(below):
            return None
        return Fraction(int(above), int(below)) * (-1 if sign else 1)
    percent = text.endswith("%")
    bare = re.sub(r"[$€£]|(?<=\d),(?=\d{3}(?!\d))", "", text.removesuffix("%").strip())
    if len(bare) > _DIGITS or not _PLAIN.fullmatch(bare):
        return None
    value = Fraction(bare)
    return value / 100 if percent else value


def _quantity(reply: str) -> Fraction | str | None:
    """The answer as a number where it is or ends in one, else as a formula."""
    said = _stated(reply)
    number = read_number(said)
    if number is not None:
        return number
    if _BOXED.search(reply) or re.search(r"\\[a-zA-Z]|[a-z]\s*\^", said):
        return said
    numbers = [read_number(found) for found in _NUMBER.findall(said) if found.strip()]
    return numbers[-1] if numbers else None


def _same_quantity(one: Fraction | str, other: Fraction | str) -> bool:
    if isinstance(one, Fraction) and isinstance(other, Fraction):
        return one == other or math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-12)
    if _formula(one) == _formula(other):
        return True
    verify = _verifier() if _is_tame(str(one)) and _is_tame(str(other)) else None
    return verify is not None and verify(str(one), str(other))


def _is_tame(formula: str) -> bool:
    """Whether a computer algebra system is sure to be done with it soon.

    It evaluates what it reads, and ``2^{2^{2^{100}}}`` for ever: only short formulas of few variables and
    known commands, with powers of a low total degree.
    """
    if len(formula) > _FORMULA_CHARS or "!" in formula.replace("\\!", ""):
        return False
    if len(set(re.findall("[a-zA-Z]", _COMMAND.sub("", formula)))) > _VARIABLES:
        return False
    if not set(_COMMAND.findall(formula)) <= _COMMANDS or re.search(r"\d{7}|\*\*", formula):
        return False
    degrees = [degree for pair in _POWER.findall(formula) for degree in pair if degree]
    if len(degrees) != formula.count("^"):
        return False
    return math.prod(int(each) for each in degrees if each.isdecimal()) <= _DEGREE


def _formula(text: Fraction | str) -> str:
    return re.sub(r"\\left|\\right|\\[!,;: ]|\\text\{[^{}]*\}|[\s$]", "", str(text)).replace(
        "dfrac", "frac"
    )


@functools.cache
def _verifier() -> Callable[[str, str], bool] | None:
    """``math-verify``'s comparison, where it is installed. Its time-outs need the main thread: off."""
    try:
        library = importlib.import_module("math_verify")
    except ImportError:
        return None

    def same(one: str, other: str) -> bool:
        sides = [library.parse(f"${side}$", parsing_timeout=None) for side in (one, other)]
        if not all(sides):
            return False
        return bool(library.verify(sides[0], sides[1], timeout_seconds=None))

    return same


# --- short texts ----------------------------------------------------------------------------------


def _fold(text: str) -> str:
    """Lower case without accents, spaces at most single, no marks at the ends."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    kept = "".join(part for part in parts if not unicodedata.combining(part))
    return " ".join(kept.split()).strip(_EDGES)


def _short(reply: str) -> str | None:
    said = _stated(reply)
    if len(_WORD.findall(said)) > _SENTENCE:
        return None
    yes_no = _YES_NO.match(said)
    return _fold(yes_no[1] if yes_no else said) or None


def _same_text(one: str, other: str) -> bool:
    """Equal, or the shorter is named in the other's one affirmative sentence."""
    if one == other:
        return True
    short, long = sorted((one, other), key=len)
    if len(short.split()) > _SHORT or short in ("yes", "no") or _DENIES.search(long):
        return False
    return "\n" not in long and len(long.split()) <= _SENTENCE and _holds(long, short)


def _holds(text: str, part: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(part)}(?!\w)", text) is not None
