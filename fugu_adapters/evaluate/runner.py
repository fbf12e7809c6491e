"""Runs every routing method over one pool's items: same items, same vectors, same statistics.

What is evaluated as ours comes in as a :class:`Predictor`, so that this layer knows no way of fitting one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fugu_adapters.encoders import Vectors
from fugu_adapters.errors import InputError
from fugu_adapters.evaluate.data import Dataset, Facts
from fugu_adapters.messages import estimate_tokens
from fugu_adapters.policies.baselines import Examples
from fugu_adapters.types import Request

__all__ = [
    "Fit",
    "Fitted",
    "Prediction",
    "Predictor",
    "Progress",
    "Task",
    "common_workers",
    "fit_all",
    "gather",
    "prompt_tokens",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with what is being done, how much is done, and how much there is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """What is expected of ``A`` workers on ``n`` requests.

    Attributes:
        p: score, ``[n, A]``.
        sd: its standard deviation, ``[n, A]``.
        cost: dollars, NaN unknown, ``[n, A]``.
    """

    p: Floats
    sd: Floats
    cost: Floats


class Predictor(Protocol):
    """Ours, fitted: predicts for any requests and any workers."""

    def predict(self, vectors: Vectors, workers: Sequence[str], input_tokens: Floats) -> Prediction:
        """Expected scores and costs of requests ``[n, D]`` with so many prompt tokens ``[n]``."""
        ...

    def choose(
        self, vectors: Vectors, workers: Sequence[str], input_tokens: Floats, *, tolerance: float
    ) -> Ints:
        """The column that the shipped rule chooses for each request, ``[n]``."""
        ...


Fit: TypeAlias = Callable[[Dataset, Vectors, int], Predictor]
"""Fits to outcomes that are already restricted to the fit splits; vectors of all items; a seed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fitted:
    """Ours, fitted once for each seed.

    Attributes:
        predictors: one a seed.
        seconds: what one fit took, on average.
    """

    predictors: tuple[Predictor, ...]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Task:
    """One pool with the items that all its workers answered.

    Attributes:
        workers: names, ``[A]``.
        prices: list price, dollars per million reply tokens, NaN unknown, ``[A]``.
        fit: items to fit on.
        fit_items: their indices in the data.
        test: items to report.
        prompts: text of each test item.
        input_tokens: prompt tokens of each test item as a router would estimate them, ``[n]``.
    """

    workers: tuple[str, ...]
    prices: Floats
    fit: Examples
    fit_items: Ints
    test: Examples
    prompts: tuple[str, ...]
    input_tokens: Floats

    def outcomes(self, data: Dataset) -> Dataset:
        """The outcomes that the task is fitted on."""
        mine = np.array([name in self.workers for name in data.workers])
        inside = np.zeros(len(data.suites), dtype=bool)
        inside[self.fit_items] = True
        return data.rows(mine[data.worker] & inside[data.item])

    def of(self, columns: Sequence[int]) -> Task:
        """The same items with only some of the workers."""
        keep = list(columns)

        def part(examples: Examples) -> Examples:
            return replace(examples, scores=examples.scores[:, keep], cost=examples.cost[:, keep])

        return replace(
            self,
            workers=tuple(self.workers[column] for column in keep),
            prices=self.prices[keep],
            fit=part(self.fit),
            test=part(self.test),
        )


def prompt_tokens(prompts: Iterable[str]) -> Floats:
    """Prompt tokens as the router estimates them before a call, ``[n]``."""
    return np.array(
        [estimate_tokens(Request(messages=({"role": "user", "content": p},))) for p in prompts],
        dtype=np.float64,
    )


def common_workers(data: Dataset, splits: Sequence[str], *, min_items: int = 10) -> tuple[str, ...]:
    """All workers with outcomes in some splits, where they share enough items to be one pool.

    Raises:
        InputError: where they do not; it lists the workers with most outcomes to choose from.
    """
    within = data.in_splits(splits)
    count = np.bincount(within.worker, minlength=len(data.workers))
    present = np.flatnonzero(count)
    names = tuple(data.workers[index] for index in present)
    shared = np.isfinite(within.matrix(np.unique(within.item), names)).all(axis=1).sum()
    if shared >= min_items:
        return names
    most = sorted(present, key=lambda index: -count[index])[:20]
    listed = ", ".join(f"{data.workers[index]} ({count[index]})" for index in most)
    raise InputError(
        f"workers: expected names, since all {len(names)} together answered only {shared} of the same "
        f"items; those with most outcomes in {'/'.join(splits)}: {listed}"
    )


def gather(
    data: Dataset,
    vectors: Vectors,
    workers: Sequence[str],
    *,
    fit_splits: Sequence[str] = ("train",),
    test_split: str = "test",
    min_items: int = 10,
    suites: Sequence[str] | None = None,
) -> Task:
    """The items of some splits that every worker of a pool answered.

    Args:
        data: outcomes.
        vectors: of all items, ``[items, D]``.
        workers: the pool, at least two.
        fit_splits: splits to fit on.
        test_split: split to report, not among them.
        min_items: fewer common items than this, to fit on or to report, are an error.
        suites: only items of these; all where not given.

    Raises:
        InputError: where a worker is unknown, the splits overlap, or there are too few common items.
    """
    _check(data, workers, fit_splits, test_split)
    inside = np.ones(len(data.suites), dtype=bool)
    if suites is not None:
        inside = np.isin(np.array(data.suites), list(suites))
    parts = {}
    for name, splits in (("fit", list(fit_splits)), ("test", [test_split])):
        index = np.flatnonzero(inside & np.isin(data.splits, splits))
        answered = np.isfinite(data.matrix(index, workers))
        common = answered.all(axis=1)
        if common.sum() < min_items:
            counts = ", ".join(
                f"{w} {n}" for w, n in zip(workers, answered.sum(axis=0), strict=True)
            )
            raise InputError(
                f"expected at least {min_items} items of split {'/'.join(splits)} that all workers "
                f"answered, got {common.sum()} (answered by each: {counts}); leave out a worker, or "
                "lower the minimum"
            )
        parts[name] = index[common]
    prompts = tuple(data.prompts[index] for index in parts["test"])
    prices = [data.facts.get(worker, Facts()).price_out for worker in workers]
    return Task(
        workers=tuple(workers),
        prices=np.array([np.nan if price is None else price for price in prices], dtype=np.float64),
        fit=_examples(data, vectors, parts["fit"], workers),
        fit_items=parts["fit"],
        test=_examples(data, vectors, parts["test"], workers),
        prompts=prompts,
        input_tokens=prompt_tokens(prompts),
    )


def _check(
    data: Dataset, workers: Sequence[str], fit_splits: Sequence[str], test_split: str
) -> None:
    if len(set(workers)) != len(workers) or len(workers) < 2:
        raise InputError(f"workers: expected two or more different names, got {', '.join(workers)}")
    unknown = [worker for worker in workers if worker not in data.workers]
    if unknown:
        raise InputError(
            f"workers: no outcomes of {', '.join(unknown)}; there are some of "
            f"{', '.join(data.workers[:20])}{' ...' if len(data.workers) > 20 else ''}"
        )
    if test_split in fit_splits:
        raise InputError(f"split {test_split!r} is both fitted on and tested on; keep them apart")


def _examples(data: Dataset, vectors: Vectors, items: Ints, workers: Sequence[str]) -> Examples:
    return Examples(
        vectors=vectors[items],
        scores=data.matrix(items, workers),
        cost=data.matrix(items, workers, "cost_usd"),
        groups=[data.subdomains[i] or data.domains[i] or data.suites[i] for i in items],
    )


def fit_all(
    data: Dataset,
    vectors: Vectors,
    fit: Fit,
    *,
    seeds: int,
    fit_splits: Sequence[str] = ("train",),
    task: Task | None = None,
    progress: Progress | None = None,
) -> Fitted:
    """Fit ours once for each seed: to what a task's baselines see, or else to all of the fit splits."""
    known = data.in_splits(fit_splits) if task is None else task.outcomes(data)
    began = time.perf_counter()
    predictors = []
    for seed in range(seeds):
        if progress is not None:
            progress("fitting the selector", seed, seeds)
        predictors.append(fit(known, vectors, seed))
    if progress is not None:
        progress("fitting the selector", seeds, seeds)
    return Fitted(
        predictors=tuple(predictors), seconds=(time.perf_counter() - began) / max(seeds, 1)
    )
