"""Probes of SQL: small tables and a query, answered by SQLite in memory."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from fugu_adapters.evaluate.probes_common import PEOPLE, closing
from fugu_adapters.evaluate.tasks_numbers import Draft

__all__ = ["sql"]

Rows: TypeAlias = list[tuple[int | str | None, ...]]

_COLUMNS = {
    "staff": "id INTEGER, name TEXT, team TEXT, salary INTEGER, boss INTEGER",
    "sales": "id INTEGER, staff_id INTEGER, amount INTEGER, day TEXT",
}

_QUERIES: Mapping[int, tuple[str, ...]] = {
    1: (
        "SELECT COUNT(*) FROM staff WHERE team = '{team}'",
        "SELECT MAX(salary) FROM staff",
    ),
    2: (
        "SELECT SUM(salary) FROM staff WHERE team <> '{team}' AND salary >= {pay}",
        "SELECT name FROM staff WHERE salary < {pay} ORDER BY salary DESC, name LIMIT 2",
    ),
    3: (
        "SELECT s.name, SUM(a.amount) FROM staff s JOIN sales a ON a.staff_id = s.id "
        "GROUP BY s.id, s.name ORDER BY SUM(a.amount) DESC, s.name LIMIT 2",
        "SELECT team, COUNT(DISTINCT a.staff_id) FROM staff s JOIN sales a ON a.staff_id = s.id "
        "WHERE a.amount > {amount} GROUP BY team ORDER BY team",
    ),
    4: (
        "SELECT s.team, COUNT(a.id), COALESCE(SUM(a.amount), 0) FROM staff s LEFT JOIN sales a "
        "ON a.staff_id = s.id AND a.amount >= {amount} GROUP BY s.team "
        "HAVING COUNT(*) > 2 ORDER BY s.team",
        "SELECT COUNT(boss), COUNT(DISTINCT boss), SUM(boss <> 1), "
        "(SELECT COUNT(*) FROM staff WHERE id NOT IN (SELECT boss FROM staff)) FROM staff",
    ),
    5: (
        "WITH RECURSIVE below(id, depth) AS (SELECT id, 0 FROM staff WHERE boss IS NULL UNION ALL "
        "SELECT s.id, depth + 1 FROM staff s JOIN below b ON s.boss = b.id) "
        "SELECT depth, COUNT(*), SUM(amount) FROM below b LEFT JOIN sales a ON a.staff_id = b.id "
        "GROUP BY depth ORDER BY depth",
        "SELECT id, amount - LAG(amount, 2, 0) OVER (PARTITION BY staff_id % 3 ORDER BY day DESC, id) "
        "+ RANK() OVER (ORDER BY amount DESC) AS v FROM sales ORDER BY v DESC, id LIMIT 4",
    ),
}  # fmt: skip


def sql(rng: random.Random, level: int) -> Draft:
    """What a query returns: counts first, then joins, NULLs, recursion and windows."""
    tables = {"staff": _staff(rng, 3 + level)}
    if level >= 3:
        tables["sales"] = _sales(rng, 3 + level, 4 + 2 * level)
    query = rng.choice(_QUERIES[level])
    _, _, team, pay, _ = rng.choice(tables["staff"][1:])
    query = query.format(team=team, pay=pay, amount=rng.randint(30, 70))
    rows = _result(tables, query)
    shown = "\n\n".join(_shown(name, content) for name, content in tables.items())
    cells = ["NULL" if cell is None else str(cell) for row in rows for cell in row]
    ask = (
        f"A SQLite database holds {'these tables' if len(tables) > 1 else 'this table'}.\n\n{shown}\n\n"
        f"What does the following query return?\n\n```sql\n{query}\n```\n\n"
    )
    shape = "<all values, row by row, separated by commas>"
    return Draft(ask + closing(rng, shape), ", ".join(cells))


def _staff(rng: random.Random, count: int) -> Rows:
    names = rng.sample(PEOPLE, count)
    teams = [rng.choice(("north", "south", "west")) for _ in names]
    pay = rng.sample(range(21, 96), count)
    bosses = [None, None, *(rng.randint(1, i - 1) for i in range(3, count + 1))]
    bosses[1] = 1 if rng.random() < 0.5 else None
    return [
        (i, name, team, salary, boss)
        for i, name, team, salary, boss in zip(
            range(1, count + 1), names, teams, pay, bosses, strict=True
        )
    ]


def _sales(rng: random.Random, staff: int, count: int) -> Rows:
    amounts = rng.sample(range(10, 99), count)
    return [
        (i + 1, rng.randint(1, staff), amount, f"2024-03-{rng.randint(10, 14)}")
        for i, amount in enumerate(amounts)
    ]


def _shown(name: str, rows: Rows) -> str:
    header = [column.split()[0] for column in _COLUMNS[name].split(", ")]
    lines = [header, *([str("NULL" if c is None else c) for c in row] for row in rows)]
    return f"{name}:\n" + "\n".join(" | ".join(line) for line in lines)


def _result(tables: Mapping[str, Rows], query: str) -> Sequence[tuple[object, ...]]:
    connection = sqlite3.connect(":memory:")
    try:
        for name, rows in tables.items():
            connection.execute(f"CREATE TABLE {name} ({_COLUMNS[name]})")
            marks = ", ".join("?" * len(rows[0]))
            connection.executemany(f"INSERT INTO {name} VALUES ({marks})", rows)  # noqa: S608 - ours
        return connection.execute(query).fetchall()
    finally:
        connection.close()
