"""The answers to puzzles, queries and programs, found again from the prompts by other means."""

from __future__ import annotations

import functools
import itertools
import re
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

from fugu_adapters.evaluate.probes import level_of, probe_items

ITEMS = {i.item_id: i for seed in (0, 1) for i in probe_items(seed)}.values()


def _ints(text):
    return [int(number) for number in re.findall(r"-?\d+", text)]


def _sudoku(prompt, level):
    rows = [line.split() for line in re.findall(r"^[\d_](?: [\d_])+$", prompt, re.MULTILINE)]
    side = len(rows)
    cells = {(y, x): int(c) for y, row in enumerate(rows) for x, c in enumerate(row) if c != "_"}
    units = [[(y, x) for x in range(side)] for y in range(side)]
    units += [list(column) for column in zip(*units, strict=True)]
    wide = side // 2
    units += [
        [(y + a, x + b) for a in (0, 1) for b in range(wide)]
        for y in range(0, side, 2)
        for x in range(0, side, wide)
    ]
    solutions = []

    def fill(cells):
        free = [(y, x) for y in range(side) for x in range(side) if (y, x) not in cells]
        if not free:
            solutions.append(cells)
            return
        fits = {
            c: set(range(1, side + 1)) - {cells.get(n) for u in units if c in u for n in u}
            for c in free
        }
        cell = min(free, key=lambda c: len(fits[c]))
        for digit in fits[cell]:
            fill(cells | {cell: digit})

    fill(cells)
    assert len(solutions) == 1
    row = int(re.search(r"row (\d+) of the solution", prompt)[1]) - 1
    return "".join(str(solutions[0][row, x]) for x in range(side))


def _cryptarithm(prompt, level):
    words = re.search(r"with 0: (\w+) \+ (\w+) = (\w+)\.", prompt).groups()
    known = {letter: int(digit) for letter, digit in re.findall(r"(\w) = (\d)", prompt)}
    known = {letter: digit for letter, digit in known.items() if letter.isalpha()}
    free = sorted(set(words[0] + words[1]) - set(known))
    if len(free) > 5:
        return None  # too many readings to try them all
    digits = [d for d in range(10) if d not in known.values()]
    found = []
    for choice in itertools.permutations(digits, len(free)):
        read = known | dict(zip(free, choice, strict=True))
        first, second = (int("".join(str(read[c]) for c in word)) for word in words[:2])
        total = str(first + second)
        if len(total) != len(words[2]) or not read[words[0][0]] or not read[words[1][0]]:
            continue
        full = read | dict(zip(words[2], map(int, total), strict=True))
        fits = "".join(str(full[c]) for c in words[2]) == total and full == full | read
        if fits and len(set(full.values())) == len(full):
            found.append(dict(zip(words, (first, second, total), strict=True)))
    assert len(found) == 1
    return found[0][re.search(r"number is (\w+)\?", prompt)[1]]


def _game(prompt, level):
    n = _ints(prompt.replace("first", ""))
    if level <= 2:
        stones, most = n[0], n[2]
        loses = functools.cache(
            lambda s: all(not loses(s - k) for k in range(1, most + 1) if k <= s)
        )
        winning = [k for k in range(1, most + 1) if k <= stones and loses(stones - k)]
        assert len(winning) == 1
        return winning[0]
    if level == 3:
        moves, top = n[:3], n[-1]
        loses = functools.cache(lambda s: all(not loses(s - k) for k in moves if k <= s))
        return sum(map(loses, range(top + 1)))
    if level == 4:
        options = [(i, k) for i, pile in enumerate(n) for k in range(1, pile + 1)]
        after = [[p - k * (i == j) for j, p in enumerate(n)] for i, k in options]
        wins = [k for (_, k), p in zip(options, after, strict=True) if not np.bitwise_xor.reduce(p)]
        assert len(wins) == 1
        return wins[0]
    a, b, c, d, e, both, zero, width, _, height = n
    assert (both, zero) == (1, 0)

    @functools.cache
    def lost(x, y):
        after = [(x - a, y), (x - b, y), (x, y - c), (x, y - d), (x, y - e), (x - 1, y - 1)]
        return not any(lost(*p) for p in after if min(p) >= 0)

    return sum(lost(x, y) for x in range(width + 1) for y in range(height + 1))


def _sql(prompt, level):
    base = sqlite3.connect(":memory:")
    for name, header, body in re.findall(r"^(\w+):\n(.*)\n((?:\d.*\n)+)", prompt, re.MULTILINE):
        base.execute(f"CREATE TABLE {name} ({header.replace(' | ', ', ')})")
        for line in body.splitlines():
            cells = [
                None if c == "NULL" else int(c) if c.isdigit() else c for c in line.split(" | ")
            ]
            marks = ", ".join("?" * len(cells))
            base.execute(f"INSERT INTO {name} VALUES ({marks})", cells)  # noqa: S608 - ours
    rows = base.execute(re.search(r"```sql\n(.*)\n```", prompt)[1]).fetchall()
    base.close()
    return ", ".join("NULL" if cell is None else str(cell) for row in rows for cell in row)


CLAIMS = {
    r"(\w+) is a knave\.": lambda w, me, a: not w[a],
    r"(\w+) is a knight\.": lambda w, me, a: w[a],
    r"(\w+) and I are of the same kind\.": lambda w, me, a: w[a] == w[me],
    r"Exactly (\d+) of us (?:is a knight|are knights)\.": lambda w, me, k: (
        list(w.values()).count(True) == int(k)
    ),
    r"If (\w+) is a knight, then (\w+) is a knave\.": lambda w, me, a, b: not w[a] or not w[b],
    r"At least one of (\w+) and (\w+) is a knight\.": lambda w, me, a, b: w[a] or w[b],
    r"(\w+) and (\w+) are of different kinds\.": lambda w, me, a, b: w[a] is not w[b],
}


def _knights(prompt, level):
    said = re.findall(r'^(\w+) says: "(.*)"$', prompt, re.MULTILINE)
    worlds = [
        dict(zip([n for n, _ in said], w, strict=True))
        for w in itertools.product((True, False), repeat=len(said))
    ]
    for me, text in said:
        [(rule, match)] = [(r, m) for p, r in CLAIMS.items() if (m := re.fullmatch(p, text))]
        worlds = [w for w in worlds if bool(rule(w, me, *match.groups())) is w[me]]
    assert len(worlds) == 1
    return ", ".join(sorted(name for name, knight in worlds[0].items() if knight))


CLUES = {
    r"(\w+) is in seat (\d)\.": lambda o, a, n: o[int(n) - 1] == a,
    r"(\w+) is not in seat (\d)\.": lambda o, a, n: o[int(n) - 1] != a,
    r"(\w+) sits immediately to the left of (\w+)\.": lambda o, a, b: (
        (a, b) in itertools.pairwise(o)
    ),
    r"(\w+) sits somewhere to the left of (\w+)\.": lambda o, a, b: b in o[o.index(a) :],
    r"Exactly (\d) (?:person sits|people sit) between (\w+) and (\w+)\.": lambda o, n, a, b: (
        abs(o.index(a) - o.index(b)) - 1 == int(n)
    ),
    r"(\w+) does not sit next to (\w+)\.": lambda o, a, b: {(a, b), (b, a)}.isdisjoint(
        itertools.pairwise(o)
    ),
    r"(\w+) sits between (\w+) and (\w+), not .*": lambda o, a, b, c: (
        [p for p in o if p in (a, b, c)][1] == a
    ),
}


def _seating(prompt, level):
    names = re.split(", | and ", prompt.split(" sit in a row")[0])
    orders = list(itertools.permutations(names))
    for text in re.findall(r"^- (.*)$", prompt, re.MULTILINE):
        [(rule, match)] = [(r, m) for p, r in CLUES.items() if (m := re.fullmatch(p, text))]
        orders = [order for order in orders if rule(order, *match.groups())]
    assert len(orders) == 1
    return ", ".join(orders[0])


SOLVERS = {
    name.removeprefix("_"): solve
    for name, solve in list(globals().items())
    if name.startswith("_") and callable(solve) and name not in ("_ints", "_step")
}


@pytest.mark.parametrize("kind", SOLVERS)
def test_answers_are_found_again(kind):
    """Solved from the words of the prompt, in another way than the one that made it."""
    items = [i for i in ITEMS if i.domain == kind]
    found = [SOLVERS[kind](i.prompt, level_of(i)) for i in items]
    for i, answer in zip(items, found, strict=True):
        assert answer is None or str(answer) == i.answer, i.item_id
    assert sum(answer is not None for answer in found) >= 12


def test_programs_print_their_answers():
    """Python itself prints what the answers say."""
    items = [i for i in ITEMS if i.domain.startswith("python-")]
    programs = [re.search(r"```python\n(.*)\n```", i.prompt, re.DOTALL)[1] for i in items]
    whole = "".join(
        f"def program_{n}():\n    "
        + p.replace("\n", "\n    ").replace("global calls", "nonlocal calls")
        + "\n"
        for n, p in enumerate(programs)
    )
    whole += "".join(f"program_{n}()\n" for n in range(len(programs)))
    done = subprocess.run([sys.executable, "-c", whole], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [i.answer for i in items]
