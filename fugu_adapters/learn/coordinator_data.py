"""Recorded answers of a suite's pool, with what the selector forecasts of them without having seen them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fugu_adapters.encoders import DEFAULT_ENCODER, Vectors
from fugu_adapters.errors import InputError
from fugu_adapters.evaluate.data import Dataset, Facts, Source, read_dataset
from fugu_adapters.evaluate.runner import Progress, prompt_tokens
from fugu_adapters.evaluate.votes import Recorded, answered_suites, read_answers
from fugu_adapters.learn.selector_eval import SelectorFit
from fugu_adapters.learn.selector_fit import encode_items

__all__ = ["Records", "Suite", "read_suites"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_FOLDS = 5
_ANSWERED = 0.98  # of the items that are fitted on, for a worker to be in a pool
_HIDDEN = 10.0  # tokens thought for one that is written, where a worker reasons out of sight
_USUAL = 500.0  # tokens of a reply, where no suite tells


@dataclass(frozen=True, kw_only=True, slots=True)
class Records:
    """Which recorded answers are read, and how they are divided.

    Attributes:
        items: files of items.
        outcomes: files of outcomes.
        answers: Parquet files with ``suite, item_id, worker, answer``.
        facts: file of the workers' prices.
        suites: which; all that answers were recorded of where none are named.
        workers: the pool; where none are named, each suite's best on the items to fit on.
        size: of a pool whose workers are not named.
        without: beginnings of the names of workers that are left out.
        fit_splits: to fit on.
        test_split: to report; ``None`` for none.
        encoder: of the prompts.
        cache: folder that keeps encoded texts.
    """

    items: Sequence[Path]
    outcomes: Sequence[Path]
    answers: Sequence[Path]
    facts: Path | None = None
    suites: tuple[str, ...] = ()
    workers: tuple[str, ...] = ()
    size: int = 8
    without: tuple[str, ...] = ()
    fit_splits: tuple[str, ...] = ("train", "dev")
    test_split: str | None = "test"
    encoder: str = DEFAULT_ENCODER
    cache: Path | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Suite:
    """One suite's recorded answers.

    Attributes:
        name: of the suite.
        fit: items to fit on, their forecasts out of fold.
        test: items to report, their forecasts from all of ``fit``.
        estimated: workers some of whose prices are estimated: by their own mean, else by list price times
            the suite's mean reply, else as the middle of the pool.
        sources: the files that were read.
        prompts: of the items to fit on.
        test_prompts: of the items to report.
    """

    name: str
    fit: Recorded
    test: Recorded
    estimated: tuple[str, ...]
    sources: tuple[Source, ...] = ()
    prompts: tuple[str, ...] = ()
    test_prompts: tuple[str, ...] = ()


def read_suites(records: Records, *, progress: Progress | None = None) -> list[Suite]:
    """Read, encode and forecast.

    Raises:
        ConfigError: a file cannot be read.
        InputError: a suite that is not there, or without enough workers that answered all of it.
    """
    data = read_dataset(records.items, records.outcomes, records.facts)
    answered = () if records.suites else answered_suites(records.answers)
    names = records.suites or tuple(name for name in dict.fromkeys(data.suites) if name in answered)
    unknown = sorted(set(names) - set(data.suites))
    if unknown:
        known = ", ".join(sorted(set(data.suites)))
        raise InputError(f"suites: expected some of {known}, got {', '.join(unknown)}")
    inside = np.isin(np.array(data.suites), names)
    data = data.rows(inside[data.item])
    vectors = encode_items(data, records.encoder, cache=records.cache, progress=progress)
    suites = []
    for done, name in enumerate(names):
        suites.append(_suite(data, vectors, name, records))
        if progress is not None:
            progress("forecasts", done + 1, len(names))
    return suites


def _suite(data: Dataset, vectors: Vectors, name: str, records: Records) -> Suite:
    of_suite = np.array(data.suites) == name
    fit_rows = np.flatnonzero(of_suite & np.isin(data.splits, records.fit_splits))
    test_rows = np.flatnonzero(of_suite & (data.splits == records.test_split))
    workers = records.workers or _pool(data, fit_rows, records)
    rows = np.concatenate([fit_rows, test_rows])
    rows = rows[np.isfinite(data.matrix(rows, workers)).all(axis=1)]
    fitted_on = np.isin(rows, fit_rows)
    nothing = records.test_split is not None and bool(fitted_on.all())
    if len(workers) < 2 or fitted_on.sum() < 20 or nothing:
        raise InputError(
            f"{name}: expected two workers, 20 items to fit on and some to report that all have answered; "
            f"got {len(workers)} workers, {fitted_on.sum()} and {(~fitted_on).sum()} items"
        )
    cost, estimated = _costs(data, rows, workers)
    keys = [(data.suites[row], data.item_ids[row]) for row in rows]
    whole = Recorded(
        workers=workers,
        answer=read_answers(records.answers, keys, workers),
        scores=data.matrix(rows, workers),
        cost=cost,
        forecast=_forecasts(data, vectors, rows, fitted_on, workers, records.encoder),
        tokens=data.matrix(rows, workers, "output_tokens"),
    )
    fit, test = np.flatnonzero(fitted_on), np.flatnonzero(~fitted_on)
    return Suite(
        name=name, fit=whole.take(fit), test=whole.take(test), estimated=estimated, sources=data.sources,
        prompts=tuple(data.prompts[rows[index]] for index in fit),
        test_prompts=tuple(data.prompts[rows[index]] for index in test),
    )  # fmt: skip


def _pool(data: Dataset, rows: Ints, records: Records) -> tuple[str, ...]:
    """The best workers on the items to fit on, hosts of the same weights counted once."""
    table = data.matrix(rows, data.workers)
    answered = np.isfinite(table).mean(axis=0)
    mean = np.nansum(table, axis=0) / np.maximum(np.isfinite(table).sum(axis=0), 1)
    chosen: dict[str, str] = {}
    for column in np.argsort(-mean, kind="stable"):
        name = data.workers[column]
        barred = bool(records.without) and name.startswith(records.without)
        if answered[column] >= _ANSWERED and not barred and len(chosen) < records.size:
            chosen.setdefault(name.split("@")[0], name)
    return tuple(chosen.values())


def _costs(data: Dataset, rows: Ints, workers: Sequence[str]) -> tuple[Floats, tuple[str, ...]]:
    cost = data.matrix(rows, workers, "cost_usd")
    tokens = data.matrix(rows, workers, "output_tokens")
    usual = float(np.nanmean(tokens)) if np.isfinite(tokens).any() else _USUAL
    rough = np.full(len(workers), np.nan)
    for column, name in enumerate(workers):
        facts = data.facts.get(name, Facts())
        known = cost[:, column][np.isfinite(cost[:, column])]
        if len(known):
            rough[column] = known.mean()
        elif facts.price_out is not None:
            hidden = _HIDDEN if facts.hidden_reasoning else 1.0
            rough[column] = usual * facts.price_out * hidden / 1e6
    middle = float(np.nanmedian(rough)) if np.isfinite(rough).any() else 1e-3
    gaps = ~np.isfinite(cost)
    share = gaps.mean(axis=0)
    estimated = tuple(name for name, gap in zip(workers, share, strict=True) if gap > 0.05)
    return np.where(gaps, np.where(np.isfinite(rough), rough, middle), cost), estimated


def _forecasts(
    data: Dataset, vectors: Vectors, rows: Ints, fitted_on: Any, workers: Sequence[str], encoder: str
) -> Floats:  # fmt: skip
    """The selector's expected scores, ``[n, A]``; of items to fit on from fits without them."""
    rng = np.random.default_rng(0)
    fold = np.where(fitted_on, rng.integers(0, _FOLDS, len(rows)), -1)
    mine = np.array([name in workers for name in data.workers])[data.worker]
    tokens = prompt_tokens(data.prompts[row] for row in rows)
    p = np.zeros((len(rows), len(workers)))
    for part in range(-1, _FOLDS):
        inside = np.zeros(len(data.suites), dtype=bool)
        inside[rows[fitted_on & (fold != part)]] = True
        held = np.flatnonzero(fold == part)
        if len(held):
            fitted = SelectorFit(encoder=encoder)(data.rows(mine & inside[data.item]), vectors, 0)
            p[held] = fitted.predict(vectors[rows[held]], workers, tokens[held]).p
    return np.clip(p, 0.0, 1.0)
