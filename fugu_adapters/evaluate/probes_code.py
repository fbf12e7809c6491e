"""Probes of code reading: what a Python program prints, found by functions written beside it.

Each maker returns the program and what it prints, which is worked out here by other means where that
is possible. No program text is ever executed by the package.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping

from fugu_adapters.evaluate.probes_common import WORDS, closing
from fugu_adapters.evaluate.tasks_numbers import Draft

__all__ = ["loops", "objects"]

Program = tuple[str, object]
Maker = Callable[[random.Random], Program]

_ASKS = (
    "What does this Python 3 program print?\n\n```python\n{code}\n```\n\n",
    "Predict the exact output of the following code without running it.\n\n```python\n{code}\n```\n\n",
    "You are given a Python program. Trace it and state what it prints.\n\n```python\n{code}\n```\n\n",
)


def loops(rng: random.Random, level: int) -> Draft:
    """Loops, slices and integer arithmetic."""
    return _draft(rng, _LOOPS[level])


def objects(rng: random.Random, level: int) -> Draft:
    """Dicts, sets, recursion, closures, generators, classes."""
    return _draft(rng, _OBJECTS[level])


def _draft(rng: random.Random, makers: tuple[Maker, ...]) -> Draft:
    code, printed = rng.choice(makers)(rng)
    ask = rng.choice(_ASKS).format(code=code)
    return Draft(ask + closing(rng, "<the printed output>"), str(printed))


def _running_total(rng: random.Random) -> Program:
    a, b, n = rng.randint(2, 9), rng.randint(2, 5), rng.randint(3, 4)
    return f"total = {a}\nfor i in range({n}):\n    total += {b}\nprint(total)", a + b * n


def _first_letters(rng: random.Random) -> Program:
    word, n = rng.choice(WORDS), rng.randint(2, 4)
    return f"name = '{word}'\nprint(name[:{n}])", word[:n]


def _filtered_sum(rng: random.Random) -> Program:
    numbers, k = [rng.randint(1, 30) for _ in range(6)], rng.randint(2, 4)
    code = f"values = {numbers}\nresult = 0\nfor value in values:\n    if value % {k} == 1:\n"
    code += "        result += value\n    else:\n        result -= 1\nprint(result)"
    return code, sum(v if v % k == 1 else -1 for v in numbers)


def _negative_slices(rng: random.Random) -> Program:
    word, step = rng.choice(WORDS) + rng.choice(WORDS), rng.choice((-2, -3))
    code = f"s = '{word}'\nprint(s[-2::{step}] + s[1:-3:4].upper())"
    picked = "".join(word[i] for i in range(len(word) - 2, -1, step))
    return code, picked + "".join(word[i].upper() for i in range(1, len(word) - 3, 4))


def _collatz(rng: random.Random) -> Program:
    start, mod = rng.randint(11, 26), rng.randint(5, 9)
    code = f"n = {start}\nsteps = 0\nacc = 0\nwhile n != 1:\n    n = n // 2 if n % 2 == 0 else 3 * n + 1\n"
    code += f"    steps += 1\n    acc += n % {mod}\nprint(steps * 100 + acc)"
    seen = [start]
    while seen[-1] > 1:
        seen.append(3 * seen[-1] + 1 if seen[-1] & 1 else seen[-1] >> 1)
    return code, 100 * (len(seen) - 1) + sum(n % mod for n in seen[1:])


def _floor_division(rng: random.Random) -> Program:
    pairs = [(rng.randint(-60, -10), rng.choice((-7, -4, 4, 7, 9))) for _ in range(4)]
    code = f"out = []\nfor a, b in {pairs}:\n    q, r = divmod(a, b)\n    out.append(q * 10 + r)\n"
    code += "    out.append(int(a / b))\nprint(out)"
    out = []
    for a, b in pairs:
        trunc = abs(a) // abs(b) * (1 if b < 0 else -1)
        rest = a - b * trunc
        q = trunc - 1 if rest and (rest < 0) != (b < 0) else trunc
        out += [q * 10 + a - b * q, trunc]
    return code, out


def _list_surgery(rng: random.Random) -> Program:
    size, every = rng.randint(11, 14), rng.randint(3, 4)
    code = f"xs = list(range({size}))\ndel xs[::{every}]\nxs[2:5] = xs[4:1:-1]\n"
    code += (
        "for i in range(0, len(xs) - 1, 3):\n    xs[i], xs[-1 - i] = xs[-1 - i], xs[i]\nprint(xs)"
    )
    xs = [i for i in range(size) if i % every]
    xs = [*xs[:2], xs[4], xs[3], xs[2], *xs[5:]]
    last = len(xs) - 1
    for i in range(0, last, 3):
        low, high = min(i, last - i), max(i, last - i)
        xs = (
            [*xs[:low], xs[high], *xs[low + 1 : high], xs[low], *xs[high + 1 :]]
            if low < high
            else xs
        )
    return code, xs


def _sieve(rng: random.Random) -> Program:
    size, cut, mod = rng.randint(38, 56), rng.randint(4, 7), rng.randint(89, 131)
    code = "def f(n):\n    marks = [0] * n\n    for i in range(2, n):\n        for j in range(i, n, i):\n"
    code += f"            marks[j] ^= i & {cut}\n    h = 7\n    for k, m in enumerate(marks):\n"
    code += f"        if m and k % 3 != 1:\n            h = (h * 31 + m) % {mod}\n    return h\n\nprint(f({size}))"
    h = 7
    for k in range(size):
        mark = 0
        for i in (i for i in range(2, k + 1) if k % i == 0):
            mark ^= i & cut
        h = (h * 31 + mark) % mod if mark and k % 3 != 1 else h
    return code, h


def _changing_while_looping(rng: random.Random) -> Program:
    numbers = [rng.randint(1, 30) for _ in range(14)]
    code = f"xs = {numbers}\nfor i, x in enumerate(xs):\n    if x % 2:\n        xs.remove(x)\n"
    code += "    elif x > 12:\n        xs.append(x // 4)\nprint(xs)"
    xs, i = list(numbers), 0
    while i < len(xs):
        if xs[i] % 2:
            at = xs.index(xs[i])
            xs = xs[:at] + xs[at + 1 :]
        elif xs[i] > 12:
            xs = [*xs, xs[i] // 4]
        i += 1
    return code, xs


def _lookup(rng: random.Random) -> Program:
    a, b, c = rng.sample(range(2, 30), 3)
    return f"d = {{'x': {a}, 'y': {b}, 'z': {c}}}\nprint(d['y'] + d.get('w', 1))", b + 1


def _set_size(rng: random.Random) -> Program:
    numbers = [rng.randint(1, 4) for _ in range(6)]
    return f"print(len(set({numbers})))", len(dict.fromkeys(numbers))


def _letter_counts(rng: random.Random) -> Program:
    word = rng.choice(WORDS) + rng.choice(WORDS)
    code = f"counts = {{}}\nfor ch in '{word}':\n    counts[ch] = counts.get(ch, 0) + 1\n"
    code += "print(sorted(k for k, v in counts.items() if v > 1))"
    return code, sorted({c for c in word if word.count(c) > 1})


def _recursion(rng: random.Random) -> Program:
    n, a = rng.randint(5, 7), rng.randint(2, 4)
    code = f"def f(n):\n    if n < 2:\n        return n + {a}\n    return f(n - 1) + 2 * f(n - 2)\n\nprint(f({n}))"
    values = [a, a + 1]
    while len(values) <= n:
        values.append(values[-1] + 2 * values[-2])
    return code, values[n]


def _shared_default(rng: random.Random) -> Program:
    a, b, c = rng.sample(range(2, 10), 3)
    code = "def add(x, seen=[]):\n    seen.append(x)\n    return sum(seen)\n\n"
    code += f"p = add({a})\nq = add({b}, [{c}])\nr = add({c})\nprint(p * 100 + q * 10 + r)"
    return code, a * 100 + (b + c) * 10 + a + c


def _late_binding(rng: random.Random) -> Program:
    n, a, b = rng.randint(3, 6), rng.randint(2, 9), rng.randint(2, 9)
    code = f"fs = [lambda x: x * i for i in range({n})]\ngs = [lambda x, i=i: x + i for i in range({n})]\n"
    code += f"print([f({a}) for f in fs][:2] + [g({b}) for g in gs][:3])"
    return code, [a * (n - 1)] * 2 + [b, b + 1, b + 2]


def _generator(rng: random.Random) -> Program:
    n, skip = rng.randint(4, 8), rng.randint(2, 3)
    code = "def gen(n):\n    a, b = 1, 2\n    while True:\n        sent = yield a\n        if sent is not None:\n"
    code += "            b += sent\n        a, b = b, a + b + n\n\n"
    code += f"g = gen({n})\nout = [next(g)]\nout.append(g.send({skip}))\nout.append(next(g))\n"
    code += "out.append(g.send(-1))\nout.append(next(g))\nprint(out)"
    a, b = 1, 2
    out = [a]
    for sent in (skip, 0, -1, 0):
        a, b = b + sent, a + b + sent + n
        out.append(a)
    return code, out


def _shared_iterator(rng: random.Random) -> Program:
    numbers = [rng.randint(1, 20) for _ in range(13)]
    bound = sorted(numbers)[6]
    code = f"it = iter({numbers})\nfirst = [x for x, y, z in zip(it, it, it) if x < y]\n"
    code += f"it = iter({numbers})\nfound = any(x > {bound} for x in it)\n"
    code += "rest = list(it)\nprint(first + [int(found), len(rest), sum(rest[::2])])"
    triples = [numbers[i : i + 3] for i in range(0, 12, 3)]
    at = next(i for i, x in enumerate([*numbers, bound + 1]) if x > bound)
    rest = numbers[at + 1 :]
    first = [x for x, y, _ in triples if x < y]
    return code, [*first, int(at < len(numbers)), len(rest), sum(rest[::2])]


def _resolution(rng: random.Random) -> Program:
    a, b, c, d = (rng.randint(2, 9) for _ in range(4))
    code = f"class A:\n    log = []\n    def f(self, n):\n        self.log.append(n)\n        return n + {a}\n\n"
    code += f"class B(A):\n    def f(self, n):\n        return super().f(n * {b}) - 1\n\n"
    code += f"class C(A):\n    def f(self, n):\n        return super().f(n + {c}) * 2\n\n"
    code += "class D(B, C):\n    log = []\n    def f(self, n):\n        return super().f(n) + len(A.log)\n\n"
    code += f"x, y = D(), C()\nr = [x.f({d}), y.f({d}), x.f(1)]\nprint(r + A.log + D.log)"
    first, second, third = d * b + c, d + c, b + c
    results = [(first + a) * 2 - 1, (second + a) * 2, (third + a) * 2 - 1 + 1]
    return code, [*results, second, first, third]


def _memo(rng: random.Random) -> Program:
    n, m, mod = rng.randint(9, 13), rng.randint(6, 9), rng.randint(101, 199)
    code = "from functools import cache\n\ncalls = 0\n\n@cache\ndef f(i, j):\n    global calls\n    calls += 1\n"
    code += "    if i <= 0 or j <= 0:\n        return i * i + j\n"
    code += f"    return (f(i - 2, j) * 3 + f(i - 1, j - 2) - f(i, j - 3)) % {mod}\n\n"
    code += f"print([f({n}, {m}), calls])"
    table: dict[tuple[int, int], int] = {}
    needed, todo = set(), [(n, m)]
    while todo:
        i, j = todo.pop()
        if (i, j) not in needed:
            needed.add((i, j))
            todo += [(i - 2, j), (i - 1, j - 2), (i, j - 3)] if i > 0 and j > 0 else []
    for i, j in itertools.product(range(-2, n + 1), range(-3, m + 1)):
        inner = i > 0 and j > 0
        table[i, j] = (
            (table[i - 2, j] * 3 + table[i - 1, j - 2] - table[i, j - 3]) % mod
            if inner
            else i * i + j
        )
    return code, [table[n, m], len(needed)]


_LOOPS: Mapping[int, tuple[Maker, ...]] = {
    1: (_running_total, _first_letters),
    2: (_filtered_sum,),
    3: (_negative_slices, _collatz),
    4: (_floor_division, _list_surgery),
    5: (_sieve, _changing_while_looping),
}
_OBJECTS: Mapping[int, tuple[Maker, ...]] = {
    1: (_lookup, _set_size),
    2: (_letter_counts, _recursion),
    3: (_shared_default, _late_binding),
    4: (_generator, _shared_iterator),
    5: (_resolution, _memo),
}
