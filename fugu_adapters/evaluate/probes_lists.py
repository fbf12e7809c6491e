"""Probes that run an algorithm by hand: on lists, machines, graphs, grids, words and texts."""

from __future__ import annotations

import functools
import heapq
import itertools
import random
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence

from fugu_adapters.evaluate.probes_common import PEOPLE, WORDS, closing
from fugu_adapters.evaluate.tasks_numbers import Draft

__all__ = ["cipher", "graph", "grid", "ladder", "machine", "regex", "sorting", "subsequence"]


def subsequence(rng: random.Random, level: int) -> Draft:
    """The heaviest strictly increasing subsequence of 3 to 36 numbers."""
    size = (3, 8, 13, 20, 36)[level - 1]
    numbers = [rng.randint(1, 9 + 3 * size) for _ in range(size)]
    best: list[int] = []
    for place, number in enumerate(numbers):
        before = [best[i] for i in range(place) if numbers[i] < number]
        best.append(number + max(before, default=0))
    ask = rng.choice(
        (
            "A subsequence keeps the order of a list but may skip elements. What is the largest sum "
            "of a strictly increasing subsequence of this list?",
            "Choose some elements of the list, in order, so that each is strictly larger than the one "
            "chosen before it. What is the greatest possible total of the chosen elements?",
        )
    )
    return Draft(f"{ask}\n\n{numbers}\n\n{closing(rng, '<number>')}", str(max(best)))


def machine(rng: random.Random, level: int) -> Draft:
    """What a stack or a register machine holds after 2 to 60 instructions."""
    steps = (2, 6, 12, 25, 60)[level - 1]
    return (_stack if rng.random() < 0.5 else _registers)(rng, steps)


def _stack(rng: random.Random, steps: int) -> Draft:
    stack = [rng.randint(2, 9), rng.randint(2, 9)]
    program = [f"push {value}" for value in stack]
    for _ in range(steps):
        fitting = ["push", "dup", *(["add", "sub", "mul", "swap"] * (len(stack) > 1))]
        word = rng.choice(fitting if len(stack) < 6 else fitting[2:])
        if word == "push":
            stack.append(rng.randint(2, 9))
            program.append(f"push {stack[-1]}")
            continue
        program.append(word)
        top = stack.pop()
        if word == "dup":
            stack += [top, top]
        elif word == "swap":
            stack[-1:] = [top, stack[-1]]
        else:
            low = stack.pop()
            stack.append({"add": low + top, "sub": low - top, "mul": low * top}[word] % 100)
    ask = (
        "A stack machine starts with an empty stack. `push n` puts n on top, `dup` copies the top "
        "element, `swap` exchanges the two top elements; `add`, `sub` and `mul` take off the top "
        "element b and then the next element a and push a + b, a - b or a * b, reduced modulo 100 to "
        f"the range 0 to 99. The program is:\n\n{'; '.join(program)}\n\nWhat is the sum of all the "
        "elements on the stack at the end?"
    )
    return Draft(f"{ask} {closing(rng, '<number>')}", str(sum(stack)))


def _registers(rng: random.Random, steps: int) -> Draft:
    values = {name: rng.randint(1, 30) for name in "XYZ"}
    start = ", ".join(f"{name} = {value}" for name, value in values.items())
    program = []
    for _ in range(steps):
        a, b, c = rng.sample("XYZ", 3)
        n = rng.randint(2, 9)
        kind = rng.randrange(4 if steps > 6 else 2)
        if kind == 0:
            program.append(f"{a} = {b} + {n}")
            values[a] = (values[b] + n) % 1000
        elif kind == 1:
            program.append(f"{a} = {b} + {c}")
            values[a] = (values[b] + values[c]) % 1000
        elif kind == 2:
            program.append(f"if {a} is odd: {b} = {n} * {a}, otherwise: swap {b} and {c}")
            if values[a] % 2:
                values[b] = n * values[a] % 1000
            else:
                values[b], values[c] = values[c], values[b]
        else:
            program.append(f"if {a} > {b}: {c} = {a} - {b}")
            if values[a] > values[b]:
                values[c] = values[a] - values[b]
    asked = rng.choice("XYZ")
    lines = "\n".join(f"{number}. {line}" for number, line in enumerate(program, start=1))
    ask = (
        f"A machine has three registers, at first {start}. It executes these instructions in order; "
        f"every value assigned is reduced modulo 1000.\n\n{lines}\n\nWhat does register {asked} hold "
        "at the end?"
    )
    return Draft(f"{ask} {closing(rng, '<number>')}", str(values[asked]))


def graph(rng: random.Random, level: int) -> Draft:
    """The length of a shortest path among 3 to 14 towns, one-way roads at the upper levels."""
    size = (3, 5, 7, 10, 14)[level - 1]
    names = [chr(ord("A") + i) for i in range(size)]
    order = rng.sample(names, size)
    edges = {(a, b): rng.randint(2, 5 + 4 * level) for a, b in itertools.pairwise(order)}
    for _ in range(2 * size - 4):
        a, b = rng.sample(names, 2)
        if (a, b) not in edges and (b, a) not in edges:
            edges[a, b] = rng.randint(3, 10 + 12 * level)
    one_way = level >= 4
    told = [
        f"{a} -> {b}: {cost}" if one_way else f"{a} - {b}: {cost}" for (a, b), cost in edges.items()
    ]
    rng.shuffle(told)
    if not one_way:
        edges |= {(b, a): cost for (a, b), cost in edges.items()}
    kind = "one-way roads" if one_way else "roads, usable in both directions"
    ask = (
        f"These are {kind}, with their lengths in km:\n\n{', '.join(told)}\n\nHow long is the shortest "
        f"route from {order[0]} to {order[-1]}, in km?"
    )
    distance = _distances(edges, order[0])[order[-1]]
    return Draft(f"{ask} {closing(rng, '<number>')}", str(distance))


def _distances(edges: Mapping[tuple[str, str], int], start: str) -> dict[str, int]:
    """Dijkstra's algorithm."""
    done: dict[str, int] = {}
    queue = [(0, start)]
    while queue:
        cost, node = heapq.heappop(queue)
        if node not in done:
            done[node] = cost
            for (a, b), length in edges.items():
                if a == node and b not in done:
                    heapq.heappush(queue, (cost + length, b))
    return done


def grid(rng: random.Random, level: int) -> Draft:
    """How many regions a grid has, or how large the largest is."""
    size = (3, 4, 6, 9, 14)[level - 1]
    cells = [[rng.random() < 0.5 for _ in range(size)] for _ in range(size)]
    cells[rng.randrange(size)][rng.randrange(size)] = True
    regions = [len(region) for region in _regions(cells)]
    text = "\n".join("".join(".#"[cell] for cell in row) for row in cells)
    asked, answer = rng.choice(
        (
            ("How many regions are there?", len(regions)),
            ("How many cells does the largest region have?", max(regions)),
        )
    )
    ask = (
        "In this grid, two # cells belong to the same region if they share an edge (diagonal contact "
        f"does not count), directly or through other # cells.\n\n{text}\n\n{asked}"
    )
    return Draft(f"{ask} {closing(rng, '<number>')}", str(answer))


def _regions(cells: Sequence[Sequence[bool]]) -> Iterator[set[tuple[int, int]]]:
    left = {(y, x) for y, row in enumerate(cells) for x, cell in enumerate(row) if cell}
    while left:
        todo = [left.pop()]
        region = set(todo)
        while todo:
            y, x = todo.pop()
            near = {(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)} & left
            left -= near
            region |= near
            todo += near
        yield region


def _vowels(word: str) -> int:
    return sum(letter in "aeiou" for letter in word)


def _letter_sum(word: str) -> int:
    return sum(ord(letter) - 96 for letter in word)


_ORDERS = (
    ("alphabetically", lambda w: w),
    ("by length, shortest first; words of equal length alphabetically", lambda w: (len(w), w)),
    ("by their last letter; words with the same last letter by their second letter, then "
     "alphabetically", lambda w: (w[-1], w[1], w)),
    ("by how many vowels (a, e, i, o, u) they have, most first; ties as if the words were spelled "
     "backwards, from a to z", lambda w: (-_vowels(w), w[::-1])),
    ("by the sum of their letters' positions in the alphabet (a = 1, ..., z = 26), largest first; "
     "ties in reverse alphabetical order", lambda w: (-_letter_sum(w), [-ord(c) for c in w])),
)  # fmt: skip


def sorting(rng: random.Random, level: int) -> Draft:
    """3 to 14 words in an order that gets odder."""
    words = rng.sample(WORDS, (3, 6, 9, 11, 14)[level - 1])
    rule, key = _ORDERS[level - 1]
    ask = f"Sort these words {rule}: {', '.join(words)}."
    shape = "<the words, separated by commas>"
    return Draft(f"{ask} {closing(rng, shape)}", ", ".join(sorted(words, key=key)))


def _shifted(letter: str, by: int) -> str:
    return chr((ord(letter) - 97 + by) % 26 + 97)


def _vigenere(text: str, key: str) -> str:
    """Shift the letters by those of the key (a = 0), going on over the spaces."""
    keys = iter(key * len(text))
    return "".join(c if c == " " else _shifted(c, ord(next(keys)) - 97) for c in text)


def cipher(rng: random.Random, level: int) -> Draft:
    """Decoding: hyphens, shifts, the mirrored alphabet, a keyword, and two of them in a row."""
    plain = " ".join(rng.sample(WORDS, (1, 1, 2, 3, 4)[level - 1]))
    key, shift = rng.choice(("lemon", "tiger", "cabin", "ocean")), rng.randint(3, 11)
    mirrored = "".join(c if c == " " else chr(219 - ord(c)) for c in plain)
    moved = "".join(c if c == " " else _shifted(c, shift if level > 1 else 0) for c in plain)
    keyed = "each letter was moved forward by the position of the matching letter of the keyword "
    keyed += f'"{key}" (a = 0, b = 1, ...), the keyword being repeated and spaces skipped'
    how, secret = (
        ("a hyphen was put between the letters", "-".join(plain)),
        (
            f"each letter was moved {shift} places forward in the alphabet, z being followed by a",
            moved,
        ),
        (
            "each letter was replaced by its mirror image in the alphabet (a by z, b by y, ...)",
            mirrored,
        ),
        (keyed, _vigenere(plain, key)),
        (f"first the whole text was written backwards, then {keyed}", _vigenere(plain[::-1], key)),
    )[level - 1]
    ask = f"A message of lower-case English words was encoded: {how}. The result is `{secret}`."
    shape = "<the original message>"
    return Draft(f"{ask} What was the message? {closing(rng, shape)}", plain)


_PATTERNS = (("{x}",), ("ab", "ba", "aa"), ("a[bc]+", "b[ac]*b", "ca?b"),
             ("(?:ab|c)+a?", "a(?:b?c)+", "[^a]b{1,2}"),
             (r"(\w)(?!\1)\w\1", r"a(?=[bc])\w+?c", r"(?<!a)b+c?a", r"([abc])\1(?:\w(?!\1))?"))  # fmt: skip


def regex(rng: random.Random, level: int) -> Draft:
    """How many matches a pattern has, or how long they are together."""
    pattern = rng.choice(_PATTERNS[level - 1])
    length = (0, 10, 18, 30, 44)[level - 1]
    found: list[str] = []
    while not 1 <= len(found) <= 14:
        text = "".join(rng.choice("abc" if level > 2 else "ab") for _ in range(length))
        text = text or rng.choice(PEOPLE + WORDS).lower()
        wanted = pattern.format(x=rng.choice(text)) if level == 1 else pattern
        found = [match[0] for match in re.finditer(wanted, text)]
    if level < 4:
        asked, answer = "how many matches are found?", len(found)
    else:
        asked, answer = (
            "what is the total number of characters in all the matches?",
            sum(map(len, found)),
        )
    ask = (
        f"The regular expression `{wanted}` is searched in the string `{text}` from left to right, each "
        f"search going on where the previous match ended (as Python's re.finditer does);"
    )
    return Draft(f"{ask} {asked} {closing(rng, '<number>')}", str(answer))


_RUNGS = (  # noqa: SIM905 - easier to read
    "cold cord card ward warm worm word wood good gold bold bolt boot book look lock rock rack back "
    "bank band bond fond food foot fort form farm harm hard hare care core more mare male mile mild "
    "wild wind mind mint mist most post past last lost list fist fish dish dash cash case vase base "
    "bass mass mast fast fact face race rice nice mice mine fine fire hire here hero"
).split()


@functools.cache
def _near(a: str, b: str) -> bool:
    return sum(x != y for x, y in zip(a, b, strict=True)) == 1


def ladder(rng: random.Random, level: int) -> Draft:
    """The fewest steps of a word ladder within a given list of words."""
    size, least = ((4, 2), (8, 3), (14, 5), (24, 7), (40, 9))[level - 1]
    words, goal, steps = [""], "", 0
    while steps < least:
        words = _connected(rng, size)
        reached = _steps(words, words[0])
        goal, steps = max(reached.items(), key=lambda pair: (pair[1], pair[0]))
    start = words[0]
    rng.shuffle(words)
    ask = (
        f"A word ladder goes from {start} to {goal}; each step changes exactly one letter, and every "
        f"word on the way must be in this list: {', '.join(words)}. What is the smallest possible "
        "number of steps?"
    )
    return Draft(f"{ask} {closing(rng, '<number>')}", str(steps))


def _connected(rng: random.Random, size: int) -> list[str]:
    """Words that hang together, grown preferably at the last one added."""
    words = [rng.choice(_RUNGS)]
    while len(words) < size:
        tails = [w for w in _RUNGS if w not in words and _near(w, words[-1])]
        anywhere = [w for w in _RUNGS if w not in words and any(_near(w, v) for v in words)]
        words.append(rng.choice(tails or anywhere))
    return words


def _steps(words: Sequence[str], start: str) -> dict[str, int]:
    """Steps from the start to every word of the list that can be reached."""
    steps, queue = {start: 0}, deque([start])
    while queue:
        word = queue.popleft()
        for other in words:
            if other not in steps and _near(word, other):
                steps[other] = steps[word] + 1
                queue.append(other)
    return steps
