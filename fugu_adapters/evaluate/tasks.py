"""A suite of small checkable tasks, generated from a seed, on which even tiny models differ.

The prompts are worded as people ask and carry no label of their kind. The split is fixed by the
digest of the prompt before anything is measured.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from fugu_adapters.errors import ConfigError
from fugu_adapters.evaluate import tasks_language as language
from fugu_adapters.evaluate import tasks_numbers as numbers
from fugu_adapters.evaluate.scoring import PREFIX_GYM, load_gym
from fugu_adapters.evaluate.tasks_numbers import Draft
from fugu_adapters.types import Item, to_plain

__all__ = ["GYM_KINDS", "KINDS", "build_suite", "read_items", "split_of", "write_items"]

SUITE = "fugu-small"

KINDS: Mapping[str, Callable[[random.Random, int], list[Draft]]] = {
    "arithmetic-2": numbers.two_digits,
    "arithmetic-3": numbers.three_digits,
    "word-problem": numbers.word_problems,
    "date": numbers.dates,
    "unit": numbers.units,
    "code-reading": numbers.code_reading,
    "code-writing": language.code_writing,
    "sentiment": language.sentiment,
    "yes-no": language.yes_no,
    "capital": language.capitals,
    "knowledge": language.knowledge,
    "translation": language.translation,
    "string": language.strings,
    "json": language.json_extraction,
    "format": language.formats,
}
"""Our own kinds of task."""

GYM_KINDS = (
    "chain_sum",
    "family_relationships",
    "gcd",
    "leg_counting",
    "simple_equations",
    "spell_backward",
    "syllogism",
    "word_sequence_reversal",
)
"""The datasets of reasoning-gym that small models can sometimes do."""


def split_of(prompt: str) -> str:
    """``"train"`` (60 %), ``"dev"`` or ``"test"`` (20 % each), by the prompt's SHA-256."""
    share = int(hashlib.sha256(prompt.encode()).hexdigest()[:8], 16) / 2**32
    return "train" if share < 0.6 else "dev" if share < 0.8 else "test"


def build_suite(
    *,
    seed: int,
    per_kind: int = 25,
    kinds: Sequence[str] | None = None,
    gym: bool = False,
    gym_per_kind: int | None = None,
) -> list[Item]:
    """Generate the suite. The same arguments give the same items, kinds taking turns.

    Args:
        seed: of all choices.
        per_kind: items of each kind; kinds with fewer facts give what they have.
        kinds: which of ``KINDS``; all by default.
        gym: whether to add ``GYM_KINDS`` (needs the ``train`` extra).
        gym_per_kind: items of each of those; ``per_kind`` by default.

    Raises:
        ConfigError: where a kind is unknown or the extra is missing.
    """
    wanted = list(KINDS if kinds is None else kinds)
    unknown = sorted(set(wanted) - set(KINDS))
    if unknown:
        raise ConfigError(f"no task kind {unknown[0]!r}; known: {', '.join(KINDS)}")
    columns = [_column(kind, seed, per_kind) for kind in wanted]
    if gym:
        columns += [_gym_column(name, seed, gym_per_kind or per_kind) for name in GYM_KINDS]
    return _take_turns(columns)


def _column(kind: str, seed: int, count: int) -> list[Item]:
    rng = random.Random(f"{seed}:{kind}")  # noqa: S311 - tasks, not secrets
    return _items(SUITE, kind, KINDS[kind](rng, count))


def _gym_column(name: str, seed: int, count: int) -> list[Item]:
    dataset = load_gym(name, seed=seed, size=count)
    drafts = [Draft(entry["question"].strip(), str(entry["answer"])) for entry in dataset]
    return _items("reasoning-gym", PREFIX_GYM + name, drafts)


def _items(suite: str, kind: str, drafts: Iterable[Draft]) -> list[Item]:
    """Number the drafts by digest and drop repetitions."""
    once = dict(drafts)
    return [
        Item(
            suite=suite,
            item_id=f"{kind}-{hashlib.sha256(prompt.encode()).hexdigest()[:10]}",
            prompt=prompt,
            domain=kind,
            answer=answer,
            split=split_of(prompt),
        )
        for prompt, answer in once.items()
    ]


def _take_turns(columns: Sequence[Sequence[Item]]) -> list[Item]:
    longest = max((len(column) for column in columns), default=0)
    return [column[row] for row in range(longest) for column in columns if row < len(column)]


def write_items(path: Path, items: Iterable[Item]) -> None:
    """Write items as JSON lines."""
    lines = [json.dumps(to_plain(item), ensure_ascii=False) for item in items]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_items(path: Path) -> list[Item]:
    """Read items from JSON lines.

    Raises:
        ConfigError: where a line is not an item; it names file and line.
    """
    items = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            items.append(Item(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{path}:{number}: not an item ({error})") from None
    return items
