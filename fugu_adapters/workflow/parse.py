"""Reading a workflow that a model wrote: three lists of equal length, as JSON or as Python has them.

The text is untrusted. Nothing is mended: what is not exactly a workflow is a ``PlanError``. There is no
evaluation and no recursion, and time and memory are bounded by the text's own bound.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fugu_adapters.errors import PlanError
from fugu_adapters.workflow.plan import MAX_STEPS, Workflow

__all__ = ["MAX_PLAN_CHARS", "accepts", "parse_workflow"]

MAX_PLAN_CHARS = 65_536
"""The longest text that is read."""

_KEYS = ("model_id", "subtasks", "access_list")
_MAX_LISTS = 64  # lists looked at in one text; each costs at most one pass over it
_MAX_ITEMS = 32  # of one list
_MAX_DEPTH = 2

_SITE = re.compile(
    r"""(?<!\w)(?P<quote>["']?)(?P<key>model_id|subtasks|access_list)(?P=quote)\s{0,99}[:=]\s{0,99}(?=\[)"""
)
# Between two lists of one plan there is nothing but punctuation and comments.
_GLUE = re.compile(r"(?:[\s,;]|#[^\n]*+)*+")
_SPACE = re.compile(r"(?:\s|#[^\n]*+)*+")
_STRING = re.compile(
    r'''"""((?:[^"\\]|\\.|"(?!""))*+)"""|\'\'\'((?:[^'\\]|\\.|'(?!''))*+)\'\'\'|'''
    r""""((?:[^"\\]|\\.)*+)"|'((?:[^'\\]|\\.)*+)'""",
    re.DOTALL,
)
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,5})(?![\w.])")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_SIMPLE_ESCAPES = {
    "n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "\n": "",
    '"': '"', "'": "'", "\\": "\\", "/": "/",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    """A named list in the text."""

    key: str
    value: list[Any]
    start: int
    end: int


def parse_workflow(
    text: str, workers: Sequence[str], *, ids: Literal["numbers", "names"] = "numbers"
) -> Workflow:
    """The workflow in a model's reply.

    The reply holds ``model_id``, ``subtasks`` and ``access_list``, each a list with an entry for every
    step, next to one another, perhaps fenced and after reasoning; where several plans were written, the
    last one counts. An entry of ``access_list`` is a list of earlier steps, counted from 0, or
    ``["all"]`` (``"all"``) for every earlier one.

    Args:
        text: the reply, at most ``MAX_PLAN_CHARS`` characters.
        workers: the workers that it may name, in the order in which they were numbered for the model.
        ids: whether ``model_id`` holds numbers into ``workers``, from 0, or their names.

    Raises:
        PlanError: where that is not exactly what the reply holds; ``.path`` says where.
    """
    if not isinstance(text, str):
        raise PlanError(f"expected a model's reply as text, got {type(text).__name__}")
    if len(text) > MAX_PLAN_CHARS:
        raise PlanError(
            f"the reply's {len(text):,} characters are over the bound of {MAX_PLAN_CHARS:,}"
        )
    models, subtasks, access = _last_plan(text)
    if not 1 <= len(models) <= MAX_STEPS:
        raise PlanError(
            f"model_id: expected 1 to {MAX_STEPS} steps, got {len(models)}", path="model_id"
        )
    for key, found in (("subtasks", subtasks), ("access_list", access)):
        if len(found) != len(models):
            raise PlanError(
                f"{key}: expected one entry per step, {len(models)} as in model_id, got {len(found)}",
                path=key,
            )
    return Workflow.from_dict(
        {
            "steps": [
                {
                    "worker": _worker(models[index], workers, ids, f"model_id[{index}]"),
                    "subtask": subtasks[index],
                    "access": _access(access[index], index),
                }
                for index in range(len(models))
            ]
        }
    )


def accepts(text: str) -> bool:
    """Whether a reply holds three empty lists: the answer that is there is taken, and no workflow is written."""
    try:
        return len(text) <= MAX_PLAN_CHARS and not any(_last_plan(text))
    except PlanError:
        return False


def _worker(model: Any, workers: Sequence[str], ids: Literal["numbers", "names"], path: str) -> str:
    if ids == "names":
        if isinstance(model, str) and model in workers:
            return model
        raise PlanError(
            f"{path}: expected one of {', '.join(workers)}, got {model!r:.60}", path=path
        )
    if isinstance(model, int) and 0 <= model < len(workers):
        return workers[model]
    raise PlanError(
        f"{path}: expected a model's number from 0 to {len(workers) - 1}, got {model!r:.60}",
        path=path,
    )


def _access(entry: Any, index: int) -> Any:
    """The entry's steps; whether they are earlier ones is for the workflow to check."""
    return list(range(index)) if entry in ("all", ["all"]) else entry


def _last_plan(text: str) -> tuple[list[Any], list[Any], list[Any]]:
    """The three lists of the last group of lists that stand next to one another."""
    group: dict[str, _Found] = {}
    end = 0
    for found in _lists(text):
        glued = _GLUE.fullmatch(text, end, found.start) is not None
        if not glued or found.key in group:
            group = {}
        group[found.key] = found
        end = found.end
    missing = [key for key in _KEYS if key not in group]
    if missing:
        raise PlanError(
            f"{missing[0]}: no such list; expected {', '.join(_KEYS)}, one after the other, each "
            "as `name = [...]`",
            path=missing[0],
        )
    return group["model_id"].value, group["subtasks"].value, group["access_list"].value


def _lists(text: str) -> list[_Found]:
    """Every named list in the text; names inside another list's strings are none.

    One that cannot be read ends it all: what follows might be the inside of its strings.
    """
    found: list[_Found] = []
    position = 0
    while (site := _SITE.search(text, position)) is not None:
        if len(found) == _MAX_LISTS:
            raise PlanError(f"the reply has more than {_MAX_LISTS} lists; expected three")
        value, position = _read_list(text, site.end(), site["key"])
        found.append(_Found(key=site["key"], value=value, start=site.start(), end=position))
    return found


def _read_list(text: str, position: int, key: str) -> tuple[list[Any], int]:
    """The list that begins at ``position``, and where it ends."""
    stack: list[list[Any]] = []
    wants_item = True  # after an opening bracket or a comma
    while True:
        position = _skip(_SPACE, text, position)
        mark = text[position : position + 1]
        if mark == "]":
            done, position = stack.pop(), position + 1
            if not stack:
                return done, position
            wants_item = False
        elif mark == ",":
            if wants_item:
                raise _bad(key, stack, "an item before the comma")
            wants_item, position = True, position + 1
        elif not wants_item:
            raise _bad(key, stack, "a comma or the list's end")
        elif mark == "[":
            if len(stack) == _MAX_DEPTH:
                raise _bad(key, stack, f"at most {_MAX_DEPTH} lists in one another")
            inner: list[Any] = []
            if stack:
                _append(key, stack, inner)
            stack.append(inner)
            position += 1
        else:
            item, position = _read_scalar(text, position, key, stack)
            _append(key, stack, item)
            wants_item = False


def _append(key: str, stack: list[list[Any]], item: Any) -> None:
    if len(stack[-1]) == _MAX_ITEMS:
        raise _bad(key, stack, f"at most {_MAX_ITEMS} items")
    stack[-1].append(item)


def _read_scalar(
    text: str, position: int, key: str, stack: list[list[Any]]
) -> tuple[str | int, int]:
    string = _STRING.match(text, position)
    if string is not None:
        written = next(group for group in string.groups() if group is not None)
        return _unescape(written, key, stack), string.end()
    number = _NUMBER.match(text, position)
    if number is not None:
        return int(number.group()), number.end()
    raise _bad(key, stack, "a quoted text, a whole number or a list")


def _unescape(written: str, key: str, stack: list[list[Any]]) -> str:
    """The text that a string stands for. A backslash before anything else stays, as in Python."""

    def one(match: re.Match[str]) -> str:
        code = match[1] or match[2] or match[3]
        if code is None:
            return _SIMPLE_ESCAPES.get(match[4], f"\\{match[4]}")
        return chr(int(code, 16))

    try:
        text = _ESCAPE.sub(one, written)
        # JSON writes what is above U+FFFF as two halves.
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except (ValueError, OverflowError):
        raise _bad(key, stack, "text with whole characters") from None


def _bad(key: str, stack: Sequence[list[Any]], expected: str) -> PlanError:
    """The error for the item that comes next."""
    path = key
    for level, items in enumerate(stack):
        inner = level + 1 < len(stack)
        path += f"[{len(items) - 1 if inner else len(items)}]"
    return PlanError(f"{path}: expected {expected}", path=path)


def _skip(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return position if match is None else match.end()
