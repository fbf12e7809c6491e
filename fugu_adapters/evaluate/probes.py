"""A suite of probes that places a worker quickly, from the smallest local model to the best there is.

Every kind comes in five levels: 1 is what small models mostly can do, 5 what the best often cannot
within a few thousand tokens. All answers are computed or textbook-certain, every text is our own, and
the items stand in an order whose every beginning mixes kinds and levels.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping
from functools import partial

from fugu_adapters.evaluate import probes_calls as calls
from fugu_adapters.evaluate import probes_code as code
from fugu_adapters.evaluate import probes_exam_logic as minds
from fugu_adapters.evaluate import probes_exam_people as people
from fugu_adapters.evaluate import probes_exam_science as science
from fugu_adapters.evaluate import probes_exam_society as society
from fugu_adapters.evaluate import probes_lists as lists
from fugu_adapters.evaluate import probes_logic as logic
from fugu_adapters.evaluate import probes_numbers as numbers
from fugu_adapters.evaluate.probes_exam import exam
from fugu_adapters.evaluate.probes_sql import sql
from fugu_adapters.evaluate.scoring_probes import SUITE_PROBES
from fugu_adapters.evaluate.tasks import split_of
from fugu_adapters.evaluate.tasks_numbers import Draft
from fugu_adapters.types import Item

__all__ = ["LEVELS", "PROBE_KINDS", "REPLY_TOKENS", "level_of", "probe_items"]

LEVELS = (1, 2, 3, 4, 5)
"""How hard a probe is; see the module."""

REPLY_TOKENS = 2_048
"""What a reply to a probe may take: enough to reason first, for a few cents at most."""

Maker = Callable[[random.Random, int], Draft]

_EXAMS = {
    "exam-mathematics": science.MATHEMATICS,
    "exam-physics": science.PHYSICS,
    "exam-law": society.LAW,
    "exam-chemistry": science.CHEMISTRY,
    "exam-economics": society.ECONOMICS,
    "exam-computing": minds.COMPUTING,
    "exam-psychology": people.PSYCHOLOGY,
    "exam-engineering": science.ENGINEERING,
    "exam-philosophy": minds.PHILOSOPHY,
    "exam-biology": science.BIOLOGY,
    "exam-business": society.BUSINESS,
    "exam-history": people.HISTORY,
    "exam-health": people.HEALTH,
}

_TASKS: Mapping[str, Maker] = {
    "story": numbers.story,
    "python-loops": code.loops,
    "knights": logic.knights,
    "call": calls.call,
    "probability": numbers.probability,
    "graph": lists.graph,
    "sql": sql,
    "multiply": numbers.multiply,
    "sorting": lists.sorting,
    "format": calls.format_rules,
    "counting": numbers.counting,
    "machine": lists.machine,
    "seating": logic.seating,
    "python-objects": code.objects,
    "modular": numbers.modular,
    "cipher": lists.cipher,
    "grid": lists.grid,
    "date": numbers.date,
    "game": logic.game,
    "determinant": numbers.determinant,
    "subsequence": lists.subsequence,
    "sudoku": logic.sudoku,
    "regex": lists.regex,
    "cryptarithm": logic.cryptarithm,
    "ladder": lists.ladder,
}

PROBE_KINDS: Mapping[str, Maker] = {
    **_TASKS,
    **{name: partial(exam, makers) for name, makers in _EXAMS.items()},
}
"""What makes the probes of each kind, given a generator and a level."""

_GOLDEN = 0.618033988749895  # steps of this share spread evenly however many there are


def probe_items(seed: int = 0) -> list[Item]:
    """Generate the suite, about 300 items. The same seed gives the same items everywhere.

    Two items of every kind and level, one where the kind is a subject of an exam.
    """
    placed = []
    seen: set[str] = set()
    for number, (kind, make) in enumerate(PROBE_KINDS.items()):
        rounds = [(level, copy) for copy in range(1 + (kind in _TASKS)) for level in LEVELS]
        for place, (level, copy) in enumerate(rounds):
            level = LEVELS[(level - 1 + 2 * number) % len(LEVELS)]
            item = _item(seed, kind, make, level, copy, seen)
            placed.append(((place + number * _GOLDEN % 1) / len(rounds), item))
    return [item for _, item in sorted(placed, key=lambda pair: pair[0])]


def _item(seed: int, kind: str, make: Maker, level: int, copy: int, seen: set[str]) -> Item:
    """One item whose prompt was not seen before."""
    prompt, answer, attempt = "", "", 0
    while not prompt or prompt in seen:
        rng = random.Random(f"{seed}:{kind}:{level}:{copy}:{attempt}")  # noqa: S311 - tasks, not secrets
        (prompt, answer), attempt = make(rng, level), attempt + 1
    seen.add(prompt)
    return Item(
        suite=SUITE_PROBES,
        item_id=f"{kind}-{level}-{hashlib.sha256(prompt.encode()).hexdigest()[:10]}",
        prompt=prompt,
        domain=kind,
        answer=answer,
        split=split_of(prompt),
    )


def level_of(item: Item) -> int:
    """The level of a probe, 1 to 5, which its id holds."""
    return int(item.item_id.split("-")[-2])
