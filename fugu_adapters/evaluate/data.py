"""Items, outcomes and facts about workers, read from Parquet or JSON lines into arrays."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fugu_adapters.errors import ConfigError

__all__ = ["Dataset", "Facts", "Source", "read_dataset"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_ITEM_COLUMNS = ("suite", "item_id", "prompt", "domain", "subdomain", "split")
_OUTCOME_COLUMNS = (
    "suite", "item_id", "worker", "score", "n_samples", "output_tokens", "output_tokens_est",
    "tokens_src", "input_tokens", "cost_usd", "cost_src", "latency_s", "flag",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What a catalogue says of a worker; ``None`` is unknown.

    Attributes:
        price_in: dollars per million prompt tokens.
        price_out: dollars per million reply tokens.
        hidden_reasoning: whether it bills reasoning that its replies do not show.
        released: year with fraction.
    """

    price_in: float | None = None
    price_out: float | None = None
    hidden_reasoning: bool = False
    released: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A file that was read: its name, digest and number of rows, for provenance."""

    file: str
    sha256: str
    rows: int


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Outcomes as parallel arrays over ``n`` rows that point into items and workers.

    Attributes:
        suites: suite of each item.
        item_ids: id of each item within its suite.
        prompts: text of each item.
        domains: domain of each item, ``""`` where unknown.
        subdomains: finer domain of each item, ``""`` where unknown.
        splits: split of each item, ``"train"`` where the file gives none.
        workers: names, sorted; those of whom only catalogue facts are known included.
        facts: catalogue facts by worker.
        item: index of the item, ``[n]``.
        worker: index of the worker, ``[n]``.
        score: 0 to 1, ``[n]``.
        weight: how many independent samples the score is worth, 1 to 2, ``[n]``.
        output_tokens: reply tokens, or tokens that would have cost the same, NaN unknown, ``[n]``.
        input_tokens: prompt tokens, NaN unknown, ``[n]``.
        cost_usd: dollars, NaN unknown, ``[n]``.
        latency_s: seconds, NaN unknown, ``[n]``.
        sources: the files.
    """

    suites: tuple[str, ...]
    item_ids: tuple[str, ...]
    prompts: tuple[str, ...]
    domains: tuple[str, ...]
    subdomains: tuple[str, ...]
    splits: NDArray[np.str_]
    workers: tuple[str, ...]
    facts: Mapping[str, Facts]
    item: Ints
    worker: Ints
    score: Floats
    weight: Floats
    output_tokens: Floats
    input_tokens: Floats
    cost_usd: Floats
    latency_s: Floats
    sources: tuple[Source, ...] = ()

    def rows(self, keep: NDArray[np.bool_]) -> Dataset:
        """The same items and workers with only these outcome rows, ``keep`` being ``[n]``."""
        names = ("item", "worker", "score", "weight", "output_tokens", "input_tokens", "cost_usd", "latency_s")  # fmt: skip
        return replace(self, **{name: getattr(self, name)[keep] for name in names})

    def in_splits(self, splits: Sequence[str]) -> Dataset:
        """Only the outcomes whose item is in one of these splits."""
        return self.rows(np.isin(self.splits, list(splits))[self.item])

    def matrix(self, items: Ints, workers: Sequence[str], column: str = "score") -> Floats:
        """A dense table of one column, NaN where there is no outcome.

        Args:
            items: item indices, ``[m]``.
            workers: names, ``[A]``.
            column: which array, such as ``"score"`` or ``"cost_usd"``.

        Returns:
            float64 ``[m, A]``; several outcomes of one pair are averaged.
        """
        column_of = np.full(len(self.workers), -1)
        for place, name in enumerate(workers):
            if name in self.workers:
                column_of[self.workers.index(name)] = place
        row_of = np.full(len(self.suites), -1)
        row_of[items] = np.arange(len(items))
        value = getattr(self, column)
        row, col = row_of[self.item], column_of[self.worker]
        keep = (row >= 0) & (col >= 0) & np.isfinite(value)
        flat = row[keep] * len(workers) + col[keep]
        size = len(items) * len(workers)
        total = np.bincount(flat, weights=value[keep], minlength=size)
        count = np.bincount(flat, minlength=size)
        with np.errstate(invalid="ignore"):
            return (total / np.where(count == 0, np.nan, count)).reshape(len(items), len(workers))


def read_dataset(
    items: Iterable[Path], outcomes: Iterable[Path], workers: Path | None = None
) -> Dataset:
    """Read and join files in the package's format.

    Args:
        items: files with ``suite, item_id, prompt`` and, where known, ``domain, subdomain, split``.
        outcomes: files with ``suite, item_id, worker, score`` and, where known, tokens, seconds, cost.
        workers: a file with ``worker, price_in_per_m, price_out_per_m, hidden_reasoning``.

    Raises:
        ConfigError: where a file cannot be read, lacks a column, or none of the outcomes has an item.
    """
    sources: list[Source] = []
    table = _read_all(items, _ITEM_COLUMNS, ("suite", "item_id", "prompt"), sources)
    rows = _read_all(outcomes, _OUTCOME_COLUMNS, ("suite", "item_id", "worker", "score"), sources)
    facts = {} if workers is None else _read_facts(workers, sources)
    place, first = _places(table)
    item = np.array(
        [place.get(key, -1) for key in zip(rows["suite"], rows["item_id"], strict=True)],
        dtype=np.int64,
    )
    if len(item) and not (item >= 0).any():
        raise ConfigError(
            "outcomes: none of the rows has its item in the items files; pass both of one suite"
        )
    dataset = _assemble(table, first, rows, item, facts, tuple(sources))
    return dataset.rows((item >= 0) & np.isfinite(dataset.score))


def _places(table: Mapping[str, Sequence[Any]]) -> tuple[dict[tuple[str, str], int], list[int]]:
    """Index of each item by its key, and the row that each is first found in."""
    place: dict[tuple[str, str], int] = {}
    first: list[int] = []
    for index, key in enumerate(zip(table["suite"], table["item_id"], strict=True)):
        if key not in place:
            place[key] = len(first)
            first.append(index)
    return place, first


def _assemble(
    table: Mapping[str, Sequence[Any]],
    first: Sequence[int],
    rows: Mapping[str, Sequence[Any]],
    item: Ints,
    facts: Mapping[str, Facts],
    sources: tuple[Source, ...],
) -> Dataset:
    names = tuple(sorted({str(name) for name in rows["worker"]} | set(facts)))
    number = {name: index for index, name in enumerate(names)}
    flagged = np.array([flag is not None for flag in rows["flag"]], dtype=bool)
    tokens = _tokens(rows, facts)
    tokens[flagged] = np.nan
    pick = [table[column] for column in _ITEM_COLUMNS]
    suites, ids, prompts, domains, subdomains, splits = (
        tuple(str(column[index] or "") for index in first) for column in pick
    )
    return Dataset(
        suites=suites,
        item_ids=ids,
        prompts=prompts,
        domains=domains,
        subdomains=subdomains,
        splits=np.array([split or "train" for split in splits], dtype=np.str_),
        workers=names,
        facts=facts,
        item=item,
        worker=np.array([number[str(name)] for name in rows["worker"]], dtype=np.int64),
        score=_floats(rows["score"]),
        weight=_effective(_floats(rows["n_samples"])),
        output_tokens=tokens,
        input_tokens=_floats(rows["input_tokens"]),
        cost_usd=_floats(rows["cost_usd"]),
        latency_s=_floats(rows["latency_s"]),
        sources=sources,
    )


def _tokens(rows: Mapping[str, Sequence[Any]], facts: Mapping[str, Facts]) -> Floats:
    """Reply tokens for cost prediction.

    Where a run's whole cost was reported (agents, many calls each), it is turned into the reply tokens
    that would have cost the same at the worker's list price. Counts made from visible characters are
    not used for workers that reason out of sight: they would be far too low.
    """
    given, estimated = _floats(rows["output_tokens"]), _floats(rows["output_tokens_est"])
    cost = _floats(rows["cost_usd"])
    tokens = np.where(np.isfinite(given), given, estimated)
    for index, (name, source, origin) in enumerate(
        zip(rows["worker"], rows["tokens_src"], rows["cost_src"], strict=True)
    ):
        known = facts.get(name)
        if known is None:
            continue
        if origin is not None and str(origin).startswith("reported") and known.price_out:
            tokens[index] = cost[index] / known.price_out * 1e6
        elif known.hidden_reasoning and source is not None:
            tokens[index] = np.nan
    return tokens


def _effective(samples: Floats) -> Floats:
    """Samples of one item by one worker agree (by about a half), so that n of them say 2n / (n + 1)."""
    count = np.maximum(np.nan_to_num(samples, nan=1.0), 1.0)
    return 2.0 * count / (count + 1.0)


def _floats(values: Sequence[Any]) -> Floats:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _read_facts(path: Path, sources: list[Source]) -> dict[str, Facts]:
    columns = ("worker", "price_in_per_m", "price_out_per_m", "hidden_reasoning", "release_date")
    rows = _read(path, columns, ("worker",), sources)
    return {
        str(name): Facts(
            price_in=price_in,
            price_out=price_out,
            hidden_reasoning=bool(hidden),
            released=None if not date else int(date[:4]) + (int(date[5:7] or 7) - 1) / 12,
        )
        for name, price_in, price_out, hidden, date in zip(*(rows[c] for c in columns), strict=True)
    }


def _read_all(
    paths: Iterable[Path], columns: Sequence[str], needed: Sequence[str], sources: list[Source]
) -> dict[str, list[Any]]:
    merged: dict[str, list[Any]] = {column: [] for column in columns}
    for path in paths:
        for column, values in _read(path, columns, needed, sources).items():
            merged[column].extend(values)
    return merged


def _read(
    path: Path, columns: Sequence[str], needed: Sequence[str], sources: list[Source]
) -> dict[str, list[Any]]:
    """Columns of one file as lists; a column that the file lacks is all ``None``."""
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    table = _read_parquet(path) if path.suffix == ".parquet" else _read_jsonl(path)
    missing = [column for column in needed if column not in table]
    if missing:
        raise ConfigError(
            f"{path}: expected the columns {', '.join(needed)}, {', '.join(missing)} not found"
        )
    rows = len(table[needed[0]])
    sources.append(Source(file=path.name, sha256=digest, rows=rows))
    return {column: table.get(column, [None] * rows) for column in columns}


def _read_parquet(path: Path) -> dict[str, list[Any]]:
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise ConfigError(
            f"{path}: reading Parquet needs pyarrow; run `pip install 'fugu-adapters[train]'`"
        ) from error
    table = parquet.read_table(path)
    return {name: table[name].to_pylist() for name in table.schema.names}


def _read_jsonl(path: Path) -> dict[str, list[Any]]:
    rows: list[Mapping[str, Any]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ConfigError(f"{path}:{number}: not a line of JSON ({error})") from error
        if not isinstance(row, dict):
            raise ConfigError(f"{path}:{number}: expected an object, got {type(row).__name__}")
        rows.append(row)
    names = {name for row in rows for name in row}
    return {name: [row.get(name) for row in rows] for name in names}
