"""Editing other programs' settings: what is there stays, and nothing is written that was not shown."""

from __future__ import annotations

import difflib
import json
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fugu_adapters.errors import ConfigError

__all__ = ["Change", "put_json", "read_settings"]

_JSON = json.JSONDecoder()


@dataclass(frozen=True, kw_only=True)
class Change:
    """A file as it is and as it is to be.

    Attributes:
        path: the file; the one that is meant, where it is a link.
        before: its text, ``None`` where there is none yet.
        after: the text to write.
    """

    path: Path
    before: str | None
    after: str

    @property
    def is_needed(self) -> bool:
        """Whether anything would change."""
        return self.before != self.after

    @property
    def diff(self) -> str:
        """The change, as people read changes; without the lines around it, which may hold others' secrets."""
        old = (self.before or "").splitlines(keepends=True)
        new = self.after.splitlines(keepends=True)
        name = "/dev/null" if self.before is None else str(self.path)
        return "".join(difflib.unified_diff(old, new, name, str(self.path), n=0))

    def apply(self) -> None:
        """Write the file whole or not at all, with the permissions that it has; a new one is the user's alone.

        Raises:
            ConfigError: where it cannot be written, or has changed since it was read.
        """
        try:
            if read_settings(self.path) != self.before:
                raise ConfigError(f"{self.path} has changed in the meantime; try again")
            self.path.parent.mkdir(parents=True, exist_ok=True)
            mode = self.path.stat().st_mode & 0o777 if self.before is not None else 0o600
            descriptor, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as draft:
                    draft.write(self.after)
                Path(name).chmod(mode)
                Path(name).replace(self.path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except (OSError, UnicodeEncodeError) as error:
            raise ConfigError(f"{self.path} cannot be written: {error}") from None


def read_settings(path: Path) -> str | None:
    """A file's text, line ends as they are; ``None`` where there is no file.

    Raises:
        ConfigError: where it cannot be read.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None


def put_json(text: str, keys: Sequence[str], value: Any) -> str:
    """The text of a JSON object with one value in it, put in or over another; no other character changes."""
    found = re.search(r"\n([ \t]+)\S", text)
    indent = found[1] if found else "  "
    start, stop, missing = text.index("{"), len(text), list(keys)
    while missing:
        places, close = _members(text, start)
        if missing[0] not in places:
            break
        start, stop = places[missing.pop(0)]
    depth = len(keys) - len(missing)
    for key in reversed(missing):
        value = {key: value}
    lines = json.dumps(value, indent=indent, ensure_ascii=False).split("\n")
    end_of_line = "\r\n" if "\r\n" in text else "\n"
    block = (end_of_line + indent * depth).join(lines)
    if not missing:
        return text[:start] + block + text[stop:]
    last = max((end for _, end in places.values()), default=start + 1)
    rest = text[last:close]  # what stands before the brace
    if "\n" not in rest:
        rest = end_of_line + indent * depth
    member = block.removeprefix("{").removesuffix("}").rstrip()
    return f"{text[:last]}{',' if places else ''}{member}{rest}{text[close:]}"


def _members(text: str, start: int) -> tuple[dict[str, tuple[int, int]], int]:
    """Where the values of the object at ``start`` begin and end, and where its brace closes."""
    places: dict[str, tuple[int, int]] = {}
    at = _next(text, start + 1)
    while text[at] != "}":
        key, at = _JSON.raw_decode(text, at)
        begin = _next(text, _next(text, at) + 1)  # after the colon
        _, end = _JSON.raw_decode(text, begin)
        places[key] = begin, end
        at = _next(text, end)
        if text[at] == ",":
            at = _next(text, at + 1)
    return places, at


def _next(text: str, at: int) -> int:
    while text[at] in " \t\r\n":
        at += 1
    return at
