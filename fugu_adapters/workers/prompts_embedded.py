"""What embedded workers are told, by mode.

Small models follow the last phrase that speaks of format, and the user's question often holds one
("reply with only the number"). So the question is quoted inside ours, which ends with the format that
the mode needs, and the examples show a question with such a phrase answered in that format.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

from fugu_adapters.messages import text_of
from fugu_adapters.types import Message

__all__ = [
    "ask_for_expression",
    "ask_for_program",
    "asks_for_code",
    "expression_grammar",
    "extract_program",
    "has_number",
    "with_examples",
]

_EXPRESSION_SYSTEM = (
    "You turn questions into one arithmetic expression. "
    "Write only the expression with numbers and + - * / ( ), never the result."
)
_EXPRESSIONS = (
    ("What is 58 plus 17? Reply with only the number.", "58 + 17"),
    ("A bakery fills 14 trays with 9 rolls each. How many rolls is that?", "14 * 9"),
    ("Take 46 away from 203.", "203 - 46"),
    ("Mia had 120 euros and spent 35. How much money remains?", "120 - 35"),
    ("31 * 12 = ?", "31 * 12"),
    ("Three friends share 84 stickers equally. How many does each get?", "84 / 3"),
)
_CONSTANTS = ("2", "3", "7", "10", "12", "24", "60", "100", "1000")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_MAX_TERMS = 8

_PROGRAM_SYSTEM = (
    "You write short Python programs. Work out the answer in code and print it. "
    "Reply with only the code."
)
_PROGRAMS = (
    (
        "How often does the letter o occur in 'crossroads'? Reply with only the number.",
        "print('crossroads'.count('o'))",
    ),
    (
        "A shop sells pens at 3 euros and caps at 11 euros. What do 4 pens and 2 caps cost?",
        "pens = 4 * 3\ncaps = 2 * 11\nprint(pens + caps)",
    ),
    ("Write the word 'mirror' backwards.", "print('mirror'[::-1])"),
    ("How long is the word 'giraffe'?", "print(len('giraffe'))"),
    (
        "Which date is 12 days after May 3, 2021? Answer as YYYY-MM-DD.",
        "from datetime import date, timedelta\nprint(date(2021, 5, 3) + timedelta(days=12))",
    ),
    (
        "Sort these words from a to z: tiger, ant, lion",
        "words = ['tiger', 'ant', 'lion']\nprint(', '.join(sorted(words)))",
    ),
)

_EXAMPLES = (
    ("What is the capital of Peru? Answer with one word.", "Lima"),
    ("What is 19 plus 23? Reply with only the number.", "42"),
    ('Give the name and age as JSON: "Ida is 31 years old."', '{"name": "Ida", "age": 31}'),
    ("Write the word 'lamp' in capital letters.", "LAMP"),
)

_FENCE = re.compile(r"```[a-zA-Z]*[ \t]*\n?(.*?)(?:```|\Z)", re.DOTALL)
_WRITE_CODE = re.compile(
    r"\b(?:write|implement|define|create)\b.{0,40}\b(?:function|program|script|class|method|code)\b",
    re.IGNORECASE | re.DOTALL,
)
_DIGIT = re.compile(r"\d")


def with_examples(messages: Sequence[Message]) -> list[Message]:
    """The conversation, with a handful of worked examples before it."""
    system = [message for message in messages if message.get("role") == "system"]
    rest = [message for message in messages if message.get("role") != "system"]
    return [*system, *_turns(_EXAMPLES), *rest]


def ask_for_expression(messages: Sequence[Message]) -> list[Message]:
    """Ask for one arithmetic expression that answers the last message."""
    return _ask(messages, _EXPRESSION_SYSTEM, _EXPRESSIONS, "Expression:")


def expression_grammar(messages: Sequence[Message]) -> str:
    """A grammar (GBNF) for expressions over the numbers of the last message and a few constants.

    The smallest models do not know when to stop: they may write as many terms as the message has
    numbers, at least two.
    """
    found = list(dict.fromkeys(_NUMBER.findall(text_of(messages[-1]))))[:_MAX_TERMS]
    numbers = " | ".join(f'"{number}"' for number in dict.fromkeys([*found, *_CONSTANTS]))
    further = max(1, len(found) - 1)
    return (
        f"root ::= number (operator number){{1,{further}}}\n"
        f"number ::= {numbers}\n"
        'operator ::= " + " | " - " | " * " | " / "'
    )


def ask_for_program(messages: Sequence[Message]) -> list[Message]:
    """Ask for a short Python program that prints the answer to the last message."""
    return _ask(messages, _PROGRAM_SYSTEM, _PROGRAMS, "Write Python code that prints the answer.")


def _ask(
    messages: Sequence[Message], system: str, examples: Sequence[tuple[str, str]], ending: str
) -> list[Message]:
    """System text, examples, the earlier turns, and the last message quoted before ``ending``."""
    earlier = [message for message in messages[:-1] if message.get("role") != "system"]
    quoted = [(f"Question: {question}\n\n{ending}", answer) for question, answer in examples]
    last = f"Question: {text_of(messages[-1])}\n\n{ending}"
    return [
        {"role": "system", "content": system},
        *_turns(quoted),
        *earlier,
        {"role": "user", "content": last},
    ]


def _turns(examples: Sequence[tuple[str, str]]) -> list[Message]:
    turns: list[Message] = []
    for question, answer in examples:
        turns.append({"role": "user", "content": question})
        turns.append({"role": "assistant", "content": answer})
    return turns


def asks_for_code(messages: Sequence[Message]) -> bool:
    """Whether the last message wants code itself, and not what code would work out."""
    return _WRITE_CODE.search(text_of(messages[-1])) is not None


def has_number(messages: Sequence[Message]) -> bool:
    """Whether the last message holds a digit: without one there is nothing to calculate with."""
    return _DIGIT.search(text_of(messages[-1])) is not None


def extract_program(text: str) -> str | None:
    """The Python code in a reply: its first fenced block, or the whole where it is code.

    Returns:
        ``None`` where the reply holds no code, for instance because it is already an answer.
    """
    fenced = _FENCE.search(text)
    code = (fenced.group(1) if fenced else text).strip()
    try:
        body = ast.parse(code).body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return code if fenced and code else None
    if not body or (not fenced and len(body) == 1 and _is_answer(body[0])):
        return None
    return code


def _is_answer(statement: ast.stmt) -> bool:
    """Whether a statement is a plain value: what the model takes for the answer, not a program."""
    if not isinstance(statement, ast.Expr):
        return False
    try:
        ast.literal_eval(statement.value)
    except (ValueError, TypeError, MemoryError, RecursionError):
        return isinstance(statement.value, ast.Name | ast.Tuple)
    return True
