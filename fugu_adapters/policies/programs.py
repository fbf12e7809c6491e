"""Whether two programs do the same: what to call them with, and how to compare what they did.

Pure: nothing is run here. A program is a reply's top-level Python function. It is tried on the calls that its
question shows, and on plain values for as many arguments as it takes; calls that fail say nothing. This is the
grouping by behaviour of AlphaCode (Li et al. 2022, section 4.4), without a model that writes the inputs.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

__all__ = ["Behaviour", "Trial", "read_behaviour", "same_behaviour", "trial_of"]

Behaviour: TypeAlias = tuple[str | None, ...]
"""For each call of a trial what it returned, in a canonical spelling; ``None`` for a call that failed."""

_ASKED = re.compile(
    r"\b(?:functions?|implement|called|named|defined?|write|signature)[:\s]+`?([A-Za-z_]\w*)`?\("
)
_FENCE = re.compile(r"```[^\n]*\n(.*?)(?:```|\Z)", re.DOTALL)
_GIVES = re.compile(
    r"[`)\s]*(?:\s*==|=>|->|=|\u2192|(?:should |must |will )?(?:return|give|be|is|yield)s?|\n)\s*`?",
    re.IGNORECASE,
)
_END = re.compile(r"\s*(?:$|[`,.;)#|\n]|and\b|but\b|or\b)")
_SHOWN = 100  # characters of a value that are compared
_LITERAL = 120  # characters of an expected value
_EXAMPLES = 8
_EVIDENCE, _DISTINCT = 3, 2  # calls that both programs survive, and different values among them
_DIGITS = 9

_NUMBERS = ("0", "1", "2", "3", "7", "8", "12", "-5", "2.5")  # small: some are exponential
_TEXTS = ("''", "'a'", "'level'", "'Hello World'", "'the quick brown fox'", "'3, 1, 2'")
_LISTS = ("[]", "[4]", "[3, 1, 2]", "[5, 5, 2, 9, 2]", "[-4, -2, 7]", "['pear', 'fig', 'fig']", "[[1, 2], [3]]")  # fmt: skip
_MAPS = ("{}", "{'a': 1, 'b': 2}")
_INPUTS: Mapping[int, tuple[str, ...]] = {
    0: ("",),
    1: (*_NUMBERS, *_TEXTS, *_LISTS, *_MAPS),
    2: (
        *("3, 4", "10, 3", "7, 7", "0, 5", "2, 10", "12, 18", "2.5, 1.5", "-5, 2"),
        *("'hello', 'l'", "'level', 'e'", "'abc', 'cab'", "'abc', 'abd'", "'ab', 3"),
        *("[3, 1, 2], 2", "[1, 2, 3, 4, 5], 2", "[1, 2, 2], [2, 3]", "['a', 'b'], 'b'", "['a', 'b'], ', '"),
        *("{'a': 1}, 'a'", "{'a': 1}, {'b': 2}", "2, [3, 1, 2]"),
    ),
    3: ("1, 2, 3", "5, 5, 5", "2, 10, 3", "3, 4, 5", "10, 0, 2", "15, 0, 10", "1.5, 2, 3", "'banana', 'a', 'o'", "[3, 1, 2], 0, 1"),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """What the programs of one question are called with.

    Attributes:
        name: the function, as the question or else the first program calls it.
        strict: whether the question demands this name.
        inputs: arguments of each call, as source.
        expected: what the question says that a call returns, by its place in ``inputs``.
    """

    name: str
    strict: bool = False
    inputs: tuple[str, ...]
    expected: Mapping[int, str] = field(default_factory=dict)

    def source(self, reply: str) -> str | None:
        """A program that makes the calls, one line of output for each; ``None`` for a reply without one."""
        found = _functions(reply)
        if found is None:
            return None
        code, functions = found
        names = [function.name for function in functions]
        if self.strict and self.name not in names:
            return None
        name = self.name if self.name in names else names[-1]
        calls = "\n".join(
            f"try:\n    print('\\n={n}', repr({name}({given}))[:{_SHOWN}])\nexcept:\n    pass"
            for n, given in enumerate(self.inputs)
        )
        return f"{code}\n\n{calls}\nprint('\\n=end')"

    def fails(self, behaviour: Behaviour) -> bool:
        """Whether a program does otherwise than the question's own examples say."""
        return any(behaviour[n] != value for n, value in self.expected.items())


def trial_of(question: str, reply: str) -> Trial | None:
    """What to call a reply's program with; ``None`` where it holds no function to call.

    The function is the one that the question asks for by name, or mentions, or the last one at the top level.
    """
    found = _functions(reply)
    if found is None:
        return None
    _, functions = found
    asked = _ASKED.search(question)
    named = [f for f in functions if re.search(rf"\b{re.escape(f.name)}\b", question)]
    function = (named or functions)[-1]
    name = asked[1] if asked else function.name
    takes = function.args
    least = len(takes.posonlyargs) + len(takes.args) - len(takes.defaults)
    examples = _examples(question, name)
    inputs = tuple(dict.fromkeys([*examples, *_INPUTS.get(least, ())]))
    expected = {n: value for n, given in enumerate(inputs) if (value := examples.get(given))}
    if not inputs:
        return None
    return Trial(name=name, strict=asked is not None, inputs=inputs, expected=expected)


def read_behaviour(trial: Trial, output: str) -> Behaviour | None:
    """What a program did, from what it printed; ``None`` where it did not come to its end."""
    lines = output.splitlines()
    if not lines or lines[-1] != "=end":
        return None
    did: list[str | None] = [None] * len(trial.inputs)
    for line in lines:
        number, _, value = line.removeprefix("=").partition(" ")
        if line.startswith("=") and number.isdecimal() and int(number) < len(did):
            did[int(number)] = _canonical(value)
    return tuple(did)


def same_behaviour(one: Behaviour, other: Behaviour) -> bool:
    """Equal wherever both return something, and that is not too little to go by."""
    both = [(a, b) for a, b in zip(one, other, strict=True) if a is not None and b is not None]
    if any(a != b for a, b in both):
        return False
    return len(both) >= _EVIDENCE and len({a for a, _ in both}) >= _DISTINCT


def _functions(reply: str) -> tuple[str, list[ast.FunctionDef]] | None:
    """A reply's Python with the functions that it defines at the top level."""
    for code in [*_FENCE.findall(reply), reply]:
        try:
            body = ast.parse(code).body
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            continue
        functions = [each for each in body if isinstance(each, ast.FunctionDef)]
        if functions:
            keep = (ast.FunctionDef, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)
            kept = [each for each in body if isinstance(each, keep)]  # without its own tries
            return "\n".join(ast.unparse(each) for each in kept), functions
    return None


def _examples(question: str, name: str) -> dict[str, str | None]:
    """Calls with plain values in a question, and what it says that they return."""
    call = re.compile(rf"\b{re.escape(name)}\(((?:[^()\n]|\([^()\n]*\)){{0,{_LITERAL}}})\)")
    found: dict[str, str | None] = {}
    for match in call.finditer(question):
        if _literal(f"[{match[1]}]") is None or len(found) == _EXAMPLES:
            continue
        gives = _GIVES.match(question, match.end())
        value = _expected(question[gives.end() : gives.end() + _LITERAL]) if gives else None
        found[match[1]] = found.get(match[1]) or value
    return found


def _expected(text: str) -> str | None:
    """The plain value that a text begins with, where nothing goes on behind it."""
    for end in range(len(text), 0, -1):
        if text[:end].rstrip().endswith(",") or not _END.match(text, end):
            continue
        value = _literal(text[:end])
        if value is not None:
            return value
    return None


def _canonical(value: str) -> str:
    return _literal(value) or value


def _literal(source: str) -> str | None:
    """A plain value in a canonical spelling: whole floats as integers, the others to nine digits."""
    try:
        return repr(_rounded(ast.literal_eval(source.strip())))
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def _rounded(value: Any) -> Any:
    match value:
        case float() if math.isfinite(value):
            return int(value) if value.is_integer() else float(f"{value:.{_DIGITS}g}")
        case list() | tuple():
            return type(value)(_rounded(each) for each in value)
        case dict():
            return {key: _rounded(each) for key, each in sorted(value.items(), key=repr)}
        case set() | frozenset():
            return sorted(map(repr, value))
        case _:
            return value
