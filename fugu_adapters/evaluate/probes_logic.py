"""Probes of deduction: liars, seatings, small sudokus, sums in letters, games. One solution each."""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

from fugu_adapters.evaluate.probes_common import PEOPLE, closing, listed
from fugu_adapters.evaluate.tasks_numbers import Draft

__all__ = ["cryptarithm", "game", "knights", "seating", "sudoku"]

World: TypeAlias = tuple[bool, ...]
Seats: TypeAlias = tuple[int, ...]
Claim: TypeAlias = tuple[str, Callable[[World], bool]]
Clue: TypeAlias = tuple[str, Callable[[Seats], bool]]


def knights(rng: random.Random, level: int) -> Draft:
    """Who of 2 to 8 people are knights, who always tell the truth, the others always lying."""
    size = (2, 3, 4, 6, 8)[level - 1]
    worlds = list(itertools.product((False, True), repeat=size))
    names = sorted(rng.sample(PEOPLE, size))
    truth: World = (False,) * size
    claims: list[Claim] = []
    while not claims or not any(truth) or not _only(truth, claims, worlds):
        truth = rng.choice(worlds)
        claims = [_claim(rng, names, me, truth, level) for me in range(size)]
    said = "\n".join(
        f'{name} says: "{text}"' for name, (text, _) in zip(names, claims, strict=True)
    )
    ask = (
        "On an island every inhabitant is either a knight, who only makes true statements, or a knave, "
        f"who only makes false statements. You meet {listed(names)}.\n\n{said}\n\nWho are the knights?"
    )
    shape = "<the names of all knights in alphabetical order, separated by commas>"
    right = ", ".join(name for name, knight in zip(names, truth, strict=True) if knight)
    return Draft(f"{ask} {closing(rng, shape)}", right)


def _only(truth: World, claims: Sequence[Claim], worlds: Sequence[World]) -> bool:
    """Whether no other world makes exactly the knights' claims true."""
    for world in worlds:
        if world != truth and all(c(world) == w for (_, c), w in zip(claims, world, strict=True)):
            return False
    return True


def _claim(rng: random.Random, names: Sequence[str], me: int, truth: World, level: int) -> Claim:
    """A random statement of one person, true if and only if that person is a knight."""
    while True:
        text, holds = rng.choice(_claims(rng, names, me, level))
        if holds(truth) == truth[me]:
            return text, holds


def _claims(rng: random.Random, names: Sequence[str], me: int, level: int) -> list[Claim]:
    """Statements that a person may make at a level, about random others."""
    a, b = rng.sample([i for i in range(len(names)) if i != me] * 2, 2)
    k = rng.randint(1, len(names) - 1)
    claims: list[Claim] = [(f"{names[a]} and I are of the same kind.", lambda w: w[a] == w[me])]
    if level < 4:
        claims += [
            (f"{names[a]} is a knave.", lambda w: not w[a]),
            (f"{names[a]} is a knight.", lambda w: w[a]),
        ]
    if level >= 2:
        knights = "is a knight" if k == 1 else "are knights"
        claims += [(f"Exactly {k} of us {knights}.", lambda w: sum(w) == k)]
    if level >= 3 and a != b:
        one, two = names[a], names[b]
        claims += [
            (f"If {one} is a knight, then {two} is a knave.", lambda w: not (w[a] and w[b])),
            (f"At least one of {one} and {two} is a knight.", lambda w: w[a] or w[b]),
            (f"{one} and {two} are of different kinds.", lambda w: w[a] != w[b]),
        ]
    return claims


def seating(rng: random.Random, level: int) -> Draft:
    """The order of 3 to 7 people in a row, from clues."""
    size = (3, 4, 5, 6, 7)[level - 1]
    names = sorted(rng.sample(PEOPLE, size))
    truth = tuple(rng.sample(range(1, size + 1), size))
    left: list[Seats] = list(itertools.permutations(range(1, size + 1)))
    told = []
    while len(left) > 1:
        text, holds = _clue(rng, names, level)
        fewer = [seats for seats in left if holds(seats)] if holds(truth) else left
        if len(fewer) < len(left):
            told.append(text)
            left = fewer
    rng.shuffle(told)
    ask = (
        f"{listed(names)} sit in a row of {size} seats numbered 1 to {size} from left to right.\n\n"
        + "\n".join(f"- {text}" for text in told)
        + "\n\nIn which order do they sit?"
    )
    right = ", ".join(name for _, name in sorted(zip(truth, names, strict=True)))
    return Draft(f"{ask} {closing(rng, '<names from seat 1 on, separated by commas>')}", right)


def _clue(rng: random.Random, names: Sequence[str], level: int) -> Clue:
    a, b, c = rng.sample(range(len(names)), 3)
    n, gap = rng.randint(1, len(names)), rng.randint(1, len(names) - 2)
    direct: list[Clue] = [
        (f"{names[a]} is in seat {n}.", lambda s: s[a] == n),
        (f"{names[a]} sits immediately to the left of {names[b]}.", lambda s: s[a] + 1 == s[b]),
    ]
    loose: list[Clue] = [
        (f"{names[a]} sits somewhere to the left of {names[b]}.", lambda s: s[a] < s[b]),
        (f"{names[a]} is not in seat {n}.", lambda s: s[a] != n),
        (f"Exactly {gap} {'person sits' if gap == 1 else 'people sit'} between {names[a]} and "
         f"{names[b]}.", lambda s: abs(s[a] - s[b]) == gap + 1),
        (f"{names[a]} does not sit next to {names[b]}.", lambda s: abs(s[a] - s[b]) != 1),
        (f"{names[a]} sits between {names[b]} and {names[c]}, not necessarily next to them.",
         lambda s: min(s[b], s[c]) < s[a] < max(s[b], s[c])),
    ]  # fmt: skip
    return rng.choice(direct if level == 1 else loose if level > 3 else direct[1:] + loose)


def sudoku(rng: random.Random, level: int) -> Draft:
    """A row of a 4 x 4 or 6 x 6 sudoku."""
    side, height, blanks = ((4, 2, 2), (4, 2, 8), (4, 2, 12), (6, 2, 20), (6, 2, 36))[level - 1]
    full = next(
        _solved([[0] * side for _ in range(side)], height, rng.sample(range(1, side + 1), side))
    )
    rng.shuffle(cells := list(itertools.product(range(side), repeat=2)))
    board = [list(row) for row in full]
    for y, x in cells:
        if sum(row.count(0) for row in board) == blanks:
            break
        board[y][x] = 0
        if len(list(itertools.islice(_solved([list(row) for row in board], height), 2))) > 1:
            board[y][x] = full[y][x]
    row = max(range(side), key=lambda y: (board[y].count(0), y))
    text = "\n".join(" ".join(str(cell or "_") for cell in line) for line in board)
    ask = (
        f"Fill this {side} x {side} sudoku: every row, every column and every block of {height} rows "
        f"by {side // height} columns holds each of 1 to {side} once.\n\n{text}\n\nWhat is row "
        f"{row + 1} of the solution (the top row is row 1)?"
    )
    shape = f"<the {side} digits without spaces>"
    return Draft(f"{ask} {closing(rng, shape)}", "".join(map(str, full[row])))


def _solved(
    board: list[list[int]], height: int, order: Sequence[int] = ()
) -> Iterator[list[list[int]]]:
    """Every way to fill the board, the cell with the fewest digits left being tried first."""
    side = len(board)
    best: tuple[int, int, list[int]] | None = None
    for y, x in itertools.product(range(side), repeat=2):
        if not board[y][x]:
            fits = _fitting(board, y, x, height, order or range(1, side + 1))
            if best is None or len(fits) < len(best[2]):
                best = (y, x, fits)
    if best is None:
        yield [list(row) for row in board]
        return
    y, x, fits = best
    for digit in fits:
        board[y][x] = digit
        yield from _solved(board, height, order)
    board[y][x] = 0


def _fitting(
    board: Sequence[Sequence[int]], y: int, x: int, height: int, order: Sequence[int]
) -> list[int]:
    width = len(board) // height
    top, left = y - y % height, x - x % width
    block = {cell for row in board[top : top + height] for cell in row[left : left + width]}
    seen = block | set(board[y]) | {row[x] for row in board}
    return [digit for digit in order if digit not in seen]


def cryptarithm(rng: random.Random, level: int) -> Draft:
    """An addition with letters for digits, some of them given."""
    size, hints = ((1, 2), (2, 3), (3, 2), (4, 2), (5, 1))[level - 1]
    found: list[dict[str, int]] = []
    while len(found) != 1:
        a, b = (rng.randrange(10 ** (size - 1), 10**size) for _ in range(2))
        letters = dict(zip("0123456789", rng.sample("ABCDEFGHKLMNPRSTUVWXYZ", 10), strict=True))
        first, second, total = ("".join(letters[c] for c in str(n)) for n in (a, b, a + b))
        used = sorted({*first, *second, *total}) if level > 1 else sorted({*first, *second})
        given = sorted(rng.sample(used, min(hints, len(used))))
        known = {letter: int(digit) for digit, letter in letters.items() if letter in given}
        found = list(itertools.islice(_readings(first, second, total, known), 2))
    asked = max((total, first, second), key=lambda word: len(set(word) - set(given)))
    hint = listed([f"{letter} = {digit}" for letter, digit in sorted(known.items())])
    ask = (
        "In this addition each letter stands for one digit, different letters for different digits, "
        f"and no number begins with 0: {first} + {second} = {total}. It is known that {hint}. Which "
        f"number is {asked}?"
    )
    right = "".join(str(found[0][letter]) for letter in asked)
    return Draft(f"{ask} {closing(rng, '<number>')}", right)


def _readings(
    first: str, second: str, total: str, known: Mapping[str, int]
) -> Iterator[dict[str, int]]:
    """Every reading of the letters that makes the sum right, column by column from the right."""
    width = len(total)
    rows = [word.rjust(width) for word in (first, second, total)]
    heads = {first[0], second[0], total[0]}

    def place(column: int, row: int, carry: int, read: dict[str, int]) -> Iterator[dict[str, int]]:
        if column < 0:
            if not carry:
                yield dict(read)
            return
        if row == 3:
            a, b, c = (read.get(line[column], 0) for line in rows)
            if (a + b + carry) % 10 == c:
                yield from place(column - 1, 0, (a + b + carry) // 10, read)
            return
        letter = rows[row][column]
        if letter == " " or letter in read:
            yield from place(column, row + 1, carry, read)
            return
        for digit in range(letter in heads, 10):
            if digit not in read.values():
                read[letter] = digit
                yield from place(column, row + 1, carry, read)
                del read[letter]

    yield from place(width - 1, 0, 0, dict(known))


def game(rng: random.Random, level: int) -> Draft:
    """Optimal play with stones; in the questions about a move there is only one right one."""
    makers = (_last_stone, _last_stone, _odd_moves, _nim, _two_piles)
    ask, answer = makers[level - 1](rng, level)
    return Draft(f"{ask} {closing(rng, '<number>')}", str(answer))


def _last_stone(rng: random.Random, level: int) -> tuple[str, int]:
    most = rng.randint(4, 7)
    wins = rng.randint(2, most)
    stones = wins + (most + 1) * (0 if level == 1 else rng.randint(3, 9))
    ask = (
        f"Two players take turns removing stones from a pile of {stones}. In each turn a player must "
        f"take at least 1 and at most {most} stones. Whoever takes the last stone wins. How many stones "
        "must the first player take in the first move to be sure of winning?"
    )
    return ask, wins


def _odd_moves(rng: random.Random, level: int) -> tuple[str, int]:
    moves = sorted(rng.sample(range(1, 9), 3))
    top = rng.randint(25, 45)
    lost: list[int] = []
    for stones in range(top + 1):
        if not any(stones - move in lost for move in moves):
            lost.append(stones)
    ask = (
        f"Two players take turns removing stones from a pile; a move removes exactly {moves[0]}, "
        f"{moves[1]} or {moves[2]} stones. A player who cannot move loses. For how many of the starting "
        f"sizes 0, 1, ..., {top} does the player who moves first lose against best play?"
    )
    return ask, len(lost)


def _nim(rng: random.Random, level: int) -> tuple[str, int]:
    taken: list[int] = []
    piles: list[int] = []
    while len(taken) != 1:
        piles = [rng.randint(5, 30) for _ in range(4)]
        nim = functools.reduce(lambda a, b: a ^ b, piles)
        taken = [pile - (pile ^ nim) for pile in piles if pile ^ nim < pile]
    ask = (
        f"In a game there are four piles of {listed([str(pile) for pile in piles])} stones. Two players "
        "move in turn; a move removes one or more stones from a single pile. Whoever takes the very last "
        "stone wins. There is exactly one winning first move. How many stones does it remove?"
    )
    return ask, taken[0]


def _two_piles(rng: random.Random, level: int) -> tuple[str, int]:
    first, second = sorted(rng.sample(range(1, 7), 2)), sorted(rng.sample(range(1, 7), 3))
    width, height = rng.randint(7, 11), rng.randint(7, 11)
    lost: set[tuple[int, int]] = set()
    for a, b in itertools.product(range(width + 1), range(height + 1)):
        after = [(a - n, b) for n in first] + [(a, b - n) for n in second] + [(a - 1, b - 1)]
        if not lost.intersection(after):
            lost.add((a, b))
    ask = (
        "Two players move in turn; a player who cannot move loses. There are a left and a right pile. "
        f"A move removes {' or '.join(map(str, first))} stones from the left pile, or "
        f"{', '.join(map(str, second[:2]))} or {second[2]} stones from the right pile, or 1 stone from "
        f"each of the two. Among all the positions with 0 to {width} stones on the left and 0 to "
        f"{height} on the right, how many are lost for the player who is to move?"
    )
    return ask, len(lost)
