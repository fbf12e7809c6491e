"""Exam questions on philosophy, formal logic included, and on computer science."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Sequence
from typing import TypeAlias

from fugu_adapters.evaluate.probes_exam import Question, about, choose, numeric, whole

__all__ = ["COMPUTING", "PHILOSOPHY"]

World: TypeAlias = tuple[bool, ...]
Formula: TypeAlias = tuple[str, Callable[[World], bool]]

_BOOKS = {
    "the Republic": "Plato", "the Nicomachean Ethics": "Aristotle", "Thus Spoke Zarathustra":
    "Friedrich Nietzsche", "the Critique of Pure Reason": "Immanuel Kant", "Leviathan": "Thomas Hobbes",
}  # fmt: skip
_IDEAS = {
    "the veil of ignorance as a test of just institutions": "John Rawls",
    "falsifiability as the mark of scientific theories": "Karl Popper",
    "paradigm shifts in the history of science": "Thomas Kuhn",
    "the experience machine as an objection to hedonism": "Robert Nozick",
    "the Chinese room argument": "John Searle",
}
_THINKERS = (
    *_BOOKS.values(),
    *_IDEAS.values(),
    "David Hume",
    "Simone de Beauvoir",
    "Baruch Spinoza",
)

_CLASSES = ("poets", "gardeners", "sailors", "bakers", "judges", "dancers", "pilots", "monks")
_FORMS = ("All {} are {}.", "No {} are {}.", "Some {} are {}.", "Some {} are not {}.")


def _holds(statement: tuple[int, int, int], world: World) -> bool:
    """Whether a statement holds; a world says which of the eight kinds of individual there are.

    Kind ``i`` belongs to class ``c`` where bit ``c`` of ``i`` is set.
    """
    form, first, second = statement
    inside = [i for i in range(8) if world[i] and i >> first & 1]
    both = [i for i in inside if i >> second & 1]
    return (len(both) == len(inside), not both, bool(both), len(both) < len(inside))[form]


def _syllogism(rng: random.Random) -> Question:
    names = rng.sample(_CLASSES, 3)
    worlds = list(itertools.product((False, True), repeat=8))
    while True:
        first, second = rng.sample((0, 1), 2), rng.sample((1, 2), 2)
        premises = [(rng.randrange(4), a, b) for a, b in (first, second)]
        left = [w for w in worlds if all(_holds(premise, w) for premise in premises)]
        candidates = [(form, a, b) for form in range(4) for a, b in ((0, 2), (2, 0))]
        follow = [c for c in candidates if left and all(_holds(c, w) for w in left)]
        pairs = {(c[0], frozenset(c[1:])) for c in follow}
        if len(pairs) == 1:
            break
    said = [_FORMS[form].format(names[a], names[b]) for form, a, b in (*premises, follow[0])]
    wrong = [
        _FORMS[form].format(names[a], names[b])
        for form, a, b in candidates
        if (form, a, b) not in follow
    ]
    wrong += ["None of the other statements.", f"Everyone is one of the {names[0]}.",
              f"There are no {names[1]}.", f"Only {names[2]} exist."]  # fmt: skip
    text = (
        "Assume nothing but the two premises, and that a class may be empty. Which statement follows from "
        f"them?\n\n1. {said[0]}\n2. {said[1]}"
    )
    return Question(text, said[2], wrong)


def _formula(rng: random.Random, letters: str) -> Formula:
    a, b, c = rng.sample(range(len(letters)), 3)
    p, q, r = letters[a], letters[b], letters[c]
    return rng.choice(
        (
            (f"{p} -> {q}", lambda w: not w[a] or w[b]),
            (f"~{p} | ~{q}", lambda w: not (w[a] and w[b])),
            (f"{p} | {q}", lambda w: w[a] or w[b]),
            (f"({p} & {q}) -> {r}", lambda w: not (w[a] and w[b]) or w[c]),
            (f"{p} -> ({q} | {r})", lambda w: not w[a] or w[b] or w[c]),
            (f"{p} <-> ({q} & {r})", lambda w: w[a] == (w[b] and w[c])),
            (f"({p} | {q}) -> {r}", lambda w: not (w[a] or w[b]) or w[c]),
        )
    )


def _entailed(rng: random.Random, size: int, premises: int) -> Question:
    """Ten formulas of which exactly one follows from the premises, found by truth tables."""
    letters = "PQRSTU"[:size]
    worlds = list(itertools.product((False, True), repeat=size))
    while True:
        given = [_formula(rng, letters) for _ in range(premises)]
        left = [w for w in worlds if all(holds(w) for _, holds in given)]
        others = dict(_formula(rng, letters) for _ in range(60))
        known = {text for text, _ in given}
        follow = [t for t, holds in others.items() if all(map(holds, left)) and t not in known]
        fail = [t for t, holds in others.items() if not all(map(holds, left))]
        alone = [
            t
            for t in follow
            if not any(all(others[t](w) for w in worlds if h(w)) for _, h in given)
        ]
        if len(left) >= 3 and alone and len(fail) >= 9:
            break
    listed = "\n".join(f"{i}. {text}" for i, (text, _) in enumerate(given, start=1))
    text = f"Which of these formulas is entailed by the following premises? (~ not, & and, | or, -> if then, <-> if and only if)\n\n{listed}"
    return Question(text, rng.choice(alone), fail)


def _entailed_easily(rng: random.Random) -> Question:
    return _entailed(rng, 4, 3)


def _entailed_hard(rng: random.Random) -> Question:
    return _entailed(rng, 6, 6)


PHILOSOPHY = (
    about("Who wrote {}?", _BOOKS, _THINKERS),
    about("Which philosopher is known for {}?", _IDEAS, _THINKERS),
    _syllogism,
    _entailed_easily,
    _entailed_hard,
)


def _binary(rng: random.Random) -> Question:
    n = rng.randint(9, 31)
    text = f"Which decimal number does the binary number {n:b} stand for?"
    return whole(rng, text, n, int(f"{n:b}"[::-1], 2), n * 2)


_STRUCTURES = {
    "returns first the element that was added first": "queue",
    "returns first the element that was added last": "stack",
    "finds a value by its key in constant expected time": "hash table",
    "gives the smallest element in constant time and removes it in logarithmic time": "binary min-heap",
    "merges sets and tells whether two elements are in the same one": "union-find forest",
}
_STRUCTURE_NAMES = (*_STRUCTURES.values(), "singly linked list", "adjacency matrix", "trie", "Bloom filter",
                    "suffix array", "bitmap", "Huffman tree")  # fmt: skip


def _master(rng: random.Random) -> Question:
    b, power, k = rng.choice((2, 3, 4)), rng.choice((1, 2, 3)), rng.choice((0, 1, 2, 3))
    grows = {0: "1", 1: "n", 2: "n^2", 3: "n^3"}
    text = f"T(n) = {b**power} T(n/{b}) + {grows[k]}. How does T(n) grow?"
    right = grows[max(power, k)] if power != k else f"{grows[k]} log n"
    pool = (
        "log n",
        "n",
        "n log n",
        "n^2",
        "n^2 log n",
        "n^3",
        "n^3 log n",
        "n^4",
        "2^n",
        "sqrt(n)",
    )
    return choose(rng, text, f"Θ({right})", [f"Θ({each})" for each in pool])


def _cache(rng: random.Random) -> Question:
    size, line, ways = (
        rng.choice((32, 64, 256, 512)),
        rng.choice((32, 64, 128)),
        rng.choice((2, 4, 8)),
    )
    sets = size * 1_024 // line // ways
    tag = 48 - int(math.log2(sets)) - int(math.log2(line))
    right = sets * ways * (tag + 2) / 8 / 1_024
    text = (
        f"A cache is {ways}-way set-associative and holds {size} KiB of data in lines of {line} bytes. Physical "
        "addresses have 48 bits; every line has its tag, a valid bit and a dirty bit besides the data. How "
        "many KiB do tags, valid and dirty bits take up in all?"
    )
    lines = sets * ways
    return numeric(rng, text, right, lines * tag / 8_192, lines * (tag + 2) / 1_024,
                   lines * (tag + 2 + int(math.log2(ways))) / 8_192, sets * (tag + 2) / 8_192,
                   unit=" KiB", digits=6)  # fmt: skip


def _automaton(rng: random.Random) -> Question:
    m, ones = rng.choice((6, 8, 10, 12)), rng.choice((2, 3))
    states = [(rest, count) for rest in range(m) for count in range(ones)]
    moves = {(r, c): ((2 * r % m, c), ((2 * r + 1) % m, (c + 1) % ones)) for r, c in states}
    right = _minimal(states, moves, [(0, 0)])
    text = (
        "Consider the binary strings (the empty one stands for 0) whose value, read from the most "
        f"significant bit, is divisible by {m} and whose number of 1s is divisible by {ones}. How many "
        "states does the minimal complete deterministic automaton have that accepts exactly these?"
    )
    return whole(rng, text, right, m * ones, m + ones, m * ones // 2)


def _minimal(
    states: Sequence[tuple[int, int]],
    moves: dict[tuple[int, int], tuple[tuple[int, int], tuple[int, int]]],
    accepting: Sequence[tuple[int, int]],
) -> int:
    """States of the minimal automaton, by Moore's refinement of the states that can be reached."""
    reached = [states[0]]
    for state in reached:
        reached += dict.fromkeys(after for after in moves[state] if after not in reached)
    block = {state: int(state in accepting) for state in reached}
    while True:
        kinds = {s: (block[s], *(block[after] for after in moves[s])) for s in reached}
        number = {kind: i for i, kind in enumerate(dict.fromkeys(kinds.values()))}
        if len(number) == len(set(block.values())):
            return len(number)
        block = {state: number[kind] for state, kind in kinds.items()}


COMPUTING = (
    _binary,
    about("Which data structure {}?", _STRUCTURES, _STRUCTURE_NAMES),
    _master,
    _cache,
    _automaton,
)
