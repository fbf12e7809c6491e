"""Recorded answers, and what can be made of several of them without learning whom to ask.

Answers are compared by normalised text. Every method says whose answer it returns, how many calls that
took and what they cost; scores are looked at to fit, and to report.
"""

from __future__ import annotations

import ast
import itertools
import json
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fugu_adapters.errors import ConfigError, InputError

__all__ = [
    "Method",
    "Played",
    "Recorded",
    "accepted",
    "always",
    "answer_codes",
    "answered_suites",
    "best_answer",
    "best_column",
    "early_vote",
    "fit_acceptance",
    "fit_cascade",
    "fit_vote",
    "majority",
    "normalise",
    "read_answers",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_NUMBER = re.compile(r"[-+]?[$€]?\d[\d,]*(?:\.\d+)?%?|[-+]?[$€]?\.\d+")
_BRACKETS = re.compile(r"\\left|\\right|\\!|\\,|\\;|\s+")
_COLUMNS = ("suite", "item_id", "worker", "answer")
_SHARP = (0.5, 1.0, 2.0)
_LIFT = (0.0, 0.5, 1.0, 2.0, 3.0)
_LEVELS = (0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98)


@dataclass(frozen=True, kw_only=True, eq=False)
class Recorded:
    """What ``A`` workers answered on ``n`` items.

    Attributes:
        workers: names, ``[A]``.
        answer: number of the answer within its item, equal for equal answers, -1 for none, ``[n, A]``.
        scores: 0 to 1, ``[n, A]``.
        cost: dollars, all known or estimated, ``[n, A]``.
        forecast: the score that the selector expects, 0 to 1, ``[n, A]``.
        tokens: of the replies, NaN where unknown, ``[n, A]``; ``None`` where none are.
    """

    workers: tuple[str, ...]
    answer: Ints
    scores: Floats
    cost: Floats
    forecast: Floats
    tokens: Floats | None = None

    def __post_init__(self) -> None:
        size = (len(self.answer), len(self.workers))
        for name in ("answer", "scores", "cost", "forecast"):
            value = getattr(self, name)
            if value.shape != size or not np.isfinite(value).all():
                raise InputError(
                    f"recorded answers: {name}: expected finite numbers of shape {size}, got {value.shape}"
                )

    def __len__(self) -> int:
        return len(self.answer)

    def take(self, rows: Ints) -> Recorded:
        """Only these items."""
        names = ("answer", "scores", "cost", "forecast")
        tokens = None if self.tokens is None else self.tokens[rows]
        return replace(self, tokens=tokens, **{name: getattr(self, name)[rows] for name in names})

    def same(self) -> NDArray[np.bool_]:
        """Whose answers are equal, ``[n, A, A]``; an answer that is none equals nothing, itself included."""
        equal: NDArray[np.bool_] = self.answer[:, :, None] == self.answer[:, None, :]
        return equal & (self.answer >= 0)[:, :, None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Played:
    """What a method did on each item.

    Attributes:
        choice: column of the worker whose answer is returned, ``[n]``.
        calls: workers asked, ``[n]``.
        cost: dollars, ``[n]``.
        trust: probability that the returned answer is right, where the method says one, ``[n]``.
    """

    choice: Ints
    calls: Floats
    cost: Floats
    trust: Floats | None = None

    def score(self, items: Recorded) -> Floats:
        """Of the returned answer, ``[n]``."""
        scores: Floats = items.scores[np.arange(len(items)), self.choice]
        return scores


Method: TypeAlias = Callable[[Recorded], Played]
"""A fitted method. Only :func:`best_answer` looks at the scores."""


# --- methods --------------------------------------------------------------------------------------


def best_column(train: Recorded) -> int:
    """The worker that scores best; of equals the cheaper."""
    cost = train.cost.mean(axis=0)
    return int(np.argmax(train.scores.mean(axis=0) - 1e-9 * cost / max(float(cost.max()), 1e-12)))


def always(column: int | None = None) -> Method:
    """One worker's answer; the selector's first choice where no column is given."""

    def method(items: Recorded) -> Played:
        n = len(items)
        choice = np.argmax(items.forecast, axis=1) if column is None else np.full(n, column)
        return Played(choice=choice, calls=np.ones(n), cost=items.cost[np.arange(n), choice])

    return method


def best_answer(items: Recorded) -> Played:
    """The best of all answers, as only their scores can tell."""
    return _asked_all(items, items.scores - 1e-9 * items.cost)


def majority(items: Recorded) -> Played:
    """The commonest of all answers; of equals the one that comes first in the order of workers."""
    return _asked_all(items, _tally(items, np.ones(len(items.workers))))


def fit_vote(train: Recorded) -> tuple[Method, Floats]:
    """All answers, weighted by ``sharp * logit(score) + lift`` of their workers, both chosen on ``train``.

    Returns:
        The method, and the weights, ``[A]``.
    """
    mean = np.clip(train.scores.mean(axis=0), 0.02, 0.98)
    logit = np.log(mean / (1 - mean))
    tried = [np.maximum(sharp * logit + lift, 0.01) for sharp in _SHARP for lift in _LIFT]
    tried += [np.maximum(logit - logit.max() + reach, 0.01) for reach in (0.5, 1.0, 1.5, 2.0)]
    weight = max(tried, key=lambda w: _quality(train, _asked_all(train, _tally(train, w))))
    return lambda items: _asked_all(items, _tally(items, weight)), weight


def early_vote(weight: Floats, order: Sequence[int], agreeing: int | None = 2) -> Method:
    """A weighted vote in a fixed order that ends when so many agree, or when the lead cannot be caught.

    Args:
        weight: of each worker's answer, ``[A]``.
        order: columns, first to ask first.
        agreeing: how many equal answers end it; ``None`` for no such bound.
    """

    def method(items: Recorded) -> Played:
        n, same = len(items), items.same()
        asked = np.zeros((n, len(items.workers)), dtype=bool)
        going = np.ones(n, dtype=bool)
        for place, column in enumerate(order):
            asked[going, column] = True
            votes = np.where(asked, (same & asked[:, None, :]) @ weight, -1.0)
            heads = np.where(asked, (same & asked[:, None, :]).sum(axis=2), 0)
            top = votes.max(axis=1)
            rivals = ~same[np.arange(n), np.argmax(votes, axis=1)]
            others = np.where(rivals, votes, 0.0).max(axis=1)
            left = weight[list(order[place + 1 :])].sum()
            done = top > others + left
            if agreeing is not None:
                done |= heads.max(axis=1) >= agreeing
            going &= ~done
        votes = np.where(asked, (same & asked[:, None, :]) @ weight, -1.0)
        return _played(items, asked, _first(votes, weight))

    return method


def fit_cascade(train: Recorded, *, budget: float, stages: int = 3) -> tuple[Method, str]:
    """Ask workers in turn until an answer is trusted (FrugalGPT), list and thresholds chosen on ``train``.

    An answer is trusted by how often such an answer was right: the selector's forecast for its author in
    three ranges, and whether an earlier answer was the same. The last worker's answer is taken as it is.

    Args:
        train: what is fitted on.
        budget: mean dollars a request that may be spent, on these items.
        stages: workers in a list at most.

    Returns:
        The method, and its list with thresholds in words.
    """
    trust = _Trust(train)
    found: tuple[float, float, tuple[int, ...], tuple[float, ...]] | None = None
    columns = range(len(train.workers))
    lists = [list_ for size in range(1, stages + 1) for list_ in itertools.permutations(columns, size)]  # fmt: skip
    for list_ in lists:
        believed = [trust(train, list_[: place + 1]) for place in range(len(list_) - 1)]
        for levels in itertools.product(_LEVELS, repeat=len(list_) - 1):
            score, cost = _ladder(train, list_, believed, levels)
            if cost <= budget * (1 + 1e-9) and (found is None or (score, -cost) > found[:2]):
                found = score, -cost, list_, levels
    if found is None:
        cheapest = int(np.argmin(train.cost.mean(axis=0)))
        found = 0.0, 0.0, (cheapest,), ()
    _, _, list_, levels = found
    words = " > ".join(train.workers[column] for column in list_)
    return _cascade(trust, list_, levels), f"{words} at {', '.join(map(str, levels)) or 'none'}"


class _Trust:
    """How often an answer was right, by its author, the forecast for it, and whether one before was the same."""

    def __init__(self, train: Recorded) -> None:
        self.cuts = np.quantile(train.forecast, [1 / 3, 2 / 3], axis=0)
        self.mean = train.scores.mean(axis=0)
        size = len(train.workers)
        self.table = np.zeros((size, 3, 2))
        self.solo = np.zeros((size, 3))
        same = train.same()
        for column in range(size):
            bin_ = self._bin(train, column)
            prior = self.mean[column]
            for b in range(3):
                rows = bin_ == b
                self.solo[column, b] = _rate(train.scores[rows, column], prior)
                others = np.delete(same[rows, column], column, axis=1)
                scores = np.repeat(train.scores[rows, column], others.shape[1])
                for met in (0, 1):
                    kept = scores[others.ravel() == bool(met)]
                    self.table[column, b, met] = _rate(kept, prior)

    def _bin(self, items: Recorded, column: int) -> Ints:
        return np.searchsorted(self.cuts[:, column], items.forecast[:, column])

    def __call__(self, items: Recorded, list_: Sequence[int]) -> Floats:
        column = list_[-1]
        bin_ = self._bin(items, column)
        if len(list_) == 1:
            return self._of(self.solo[column], bin_)
        mine = items.answer[:, [column]]
        met = ((items.answer[:, list(list_[:-1])] == mine) & (mine >= 0)).any(axis=1)
        return self._of(self.table[column].ravel(), 2 * bin_ + met)

    @staticmethod
    def _of(table: Floats, place: Ints) -> Floats:
        value: Floats = table[place]
        return value


def _rate(scores: Floats, prior: float) -> float:
    return float((scores.sum() + 4 * prior) / (len(scores) + 4))


def _ladder(
    items: Recorded, list_: Sequence[int], believed: Sequence[Floats], levels: Sequence[float]
) -> tuple[float, float]:
    """Mean score and cost of a cascade."""
    going = np.ones(len(items), dtype=bool)
    score = cost = 0.0
    for place, column in enumerate(list_):
        cost += float(items.cost[going, column].sum())
        last = place == len(list_) - 1
        ends = going if last else going & (believed[place] >= levels[place])
        score += float(items.scores[ends, column].sum())
        going = going & ~ends
    return score / len(items), cost / len(items)


def _cascade(trust: _Trust, list_: Sequence[int], levels: Sequence[float]) -> Method:
    def method(items: Recorded) -> Played:
        n = len(items)
        asked = np.zeros((n, len(items.workers)), dtype=bool)
        choice, going = np.full(n, list_[-1]), np.ones(n, dtype=bool)
        for place, column in enumerate(list_):
            asked[going, column] = True
            choice[going] = column
            if place < len(levels):
                going = going & (trust(items, list_[: place + 1]) < levels[place])
        return _played(items, asked, choice)

    return method


def _tally(items: Recorded, weight: Floats) -> Floats:
    """Weight of all that gave the same answer, ``[n, A]``; ties go to the heavier author."""
    votes: Floats = items.same() @ weight + 1e-6 * weight
    return votes


def _first(votes: Floats, weight: Floats) -> Ints:
    choice: Ints = np.argmax(votes + 1e-6 * weight, axis=1)
    return choice


def _asked_all(items: Recorded, value: Floats) -> Played:
    asked = np.ones(items.answer.shape, dtype=bool)
    return _played(items, asked, np.argmax(value, axis=1))


def _played(items: Recorded, asked: NDArray[np.bool_], choice: Ints) -> Played:
    return Played(
        choice=choice,
        calls=asked.sum(axis=1).astype(np.float64),
        cost=np.where(asked, items.cost, 0.0).sum(axis=1),
    )


def _quality(items: Recorded, played: Played) -> float:
    return float(played.score(items).mean())


def fit_acceptance(trust: Floats, scores: Floats, *, wrong: float = 0.05) -> float:
    """The least trust from which on answers may be accepted.

    Args:
        trust: of each answer, on items that the trust was not fitted to, ``[n]``.
        scores: of each answer, 0 to 1, ``[n]``.
        wrong: of the accepted answers the share that may be wrong; two errors more than there are count.

    Returns:
        Accept at this and above; more than 1 where nothing can be accepted.
    """
    order = np.argsort(-trust, kind="stable")
    ordered = trust[order]
    errors = (1.0 - scores[order]).cumsum() + 2.0
    last = np.append(ordered[1:] < ordered[:-1], True)  # equal trust is accepted together
    good = np.flatnonzero((errors <= wrong * np.arange(1, len(trust) + 1)) & last)
    return float(ordered[good[-1]]) if len(good) else 2.0


def accepted(trust: Floats, scores: Floats, level: float) -> tuple[float, float]:
    """Share of the answers that are accepted, and share of those that are wrong (0 where there are none)."""
    taken = trust >= level
    return float(taken.mean()), float((1.0 - scores[taken]).mean()) if taken.any() else 0.0


# --- answers --------------------------------------------------------------------------------------


def answer_codes(texts: Iterable[Sequence[str | None]]) -> Ints:
    """Number of each answer within its item, equal for equal ones, -1 where there is none, ``[n, A]``."""
    rows = []
    for row in texts:
        seen: dict[str, int] = {}
        plain = [None if text is None else normalise(text) for text in row]
        rows.append([-1 if text is None else seen.setdefault(text, len(seen)) for text in plain])
    return np.array(rows, dtype=np.int64)


def normalise(text: str) -> str:
    """One spelling for answers that say the same: numbers, JSON, function calls, else the words."""
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return f"{float(re.sub('[$€,%]', '', text)):.10g}"
    found = _calls(text)
    if found is None:
        found = _json(text)
    if isinstance(found, dict) and set(found) == {"name", "arguments"}:
        found = [found]
    if found is not None:
        return json.dumps(_plain(found), sort_keys=True, ensure_ascii=False)
    if "\\" in text:
        return _BRACKETS.sub("", text.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac"))
    return re.sub(r"\s+", " ", text).rstrip(".")


def _json(text: str) -> Any:
    text = text.removeprefix("<tool_call>").removesuffix("</tool_call>").strip()
    if not text.startswith(("{", "[")):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _plain(value: Any) -> Any:
    """Whole floats as integers; a call's name without dots, its arguments parsed."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        if set(value) == {"name", "arguments"}:
            value = {value["name"]: value["arguments"]}
        return {str(key).replace(".", "_"): _plain(_inner(each)) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


def _inner(value: Any) -> Any:
    found = _json(value.strip()) if isinstance(value, str) else None
    return value if found is None else found


def _calls(text: str) -> list[dict[str, Any]] | None:
    """Python calls, in a list or alone, as JSON would write them; ``None`` for anything else."""
    if "(" not in text or len(text) > 20_000:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an odd escape in a string is no concern of ours
            body = ast.parse(text.strip("`\n "), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    parts = body.elts if isinstance(body, ast.List | ast.Tuple) else [body]
    calls = [_call(part) for part in parts]
    return None if not calls or None in calls else [call for call in calls if call is not None]


def _call(node: ast.expr) -> dict[str, Any] | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and "(" in node.value:
        inner = _calls(node.value)
        return inner[0] if inner and len(inner) == 1 else None
    if not isinstance(node, ast.Call) or node.args:
        return None
    named: dict[str, Any] = {}
    for keyword in node.keywords:
        if keyword.arg is None:
            return None
        try:
            named[keyword.arg] = ast.literal_eval(keyword.value)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            named[keyword.arg] = ast.unparse(keyword.value)
        if isinstance(named[keyword.arg], bytes | set | complex | type(...)):
            named[keyword.arg] = ast.unparse(keyword.value)
    return {ast.unparse(node.func): named}


def read_answers(
    paths: Iterable[Path], keys: Sequence[tuple[str, str]], workers: Sequence[str]
) -> Ints:
    """Answers of some items by some workers, from Parquet files with ``suite, item_id, worker, answer``.

    Args:
        paths: the files.
        keys: suite and id of each item, ``[n]``.
        workers: names, ``[A]``.

    Returns:
        As :func:`answer_codes`.

    Raises:
        ConfigError: where a file cannot be read or lacks a column.
    """
    import pyarrow
    import pyarrow.compute as compute

    place = {key: index for index, key in enumerate(keys)}
    column = {name: index for index, name in enumerate(workers)}
    texts: list[list[str | None]] = [[None] * len(workers) for _ in keys]
    for path in paths:
        table = _read_columns(path, _COLUMNS)
        table = table.filter(compute.is_in(table["worker"], pyarrow.array(list(workers))))
        for suite, item, worker, answer in zip(*(table[name].to_pylist() for name in _COLUMNS), strict=True):  # fmt: skip
            row = place.get((suite, item))
            if row is not None:
                texts[row][column[worker]] = answer
    return answer_codes(texts)


def answered_suites(paths: Iterable[Path]) -> frozenset[str]:
    """Suites of which answers were recorded.

    Raises:
        ConfigError: where a file cannot be read or lacks a column.
    """
    found: set[str] = set()
    for path in paths:
        found |= set(_read_columns(path, _COLUMNS)["suite"].unique().to_pylist())
    return frozenset(found)


def _read_columns(path: Path, columns: Sequence[str]) -> Any:
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        table = parquet.read_table(path, columns=list(columns))
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise ConfigError(
            f"{path}: expected Parquet with {', '.join(columns)} ({error})"
        ) from error
    if set(table.schema.names) != set(columns):
        raise ConfigError(f"{path}: expected the columns {', '.join(columns)}")
    return table
