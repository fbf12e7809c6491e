"""Further questions about ours: changed wording, pools that lose workers, workers that are new."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fugu_adapters.encoders import Vectors
from fugu_adapters.errors import InputError
from fugu_adapters.evaluate import metrics
from fugu_adapters.evaluate.data import Dataset
from fugu_adapters.evaluate.perturb import PERTURBATIONS
from fugu_adapters.evaluate.runner import Fit, Fitted, Predictor, Progress, Task, prompt_tokens
from fugu_adapters.evaluate.statistics import bootstrap_mean
from fugu_adapters.evaluate.trials import DEFAULT_EFFORT, selector_choices
from fugu_adapters.policies.selector import TOLERANCE

__all__ = ["Encode", "Placement", "hold_out_workers", "robustness", "sub_pools"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Encode: TypeAlias = Callable[[Sequence[str]], Vectors]

_CLOSE = 0.003  # score below the best single worker that still counts as level


class Placement(Protocol):
    """Gives a worker that was not fitted on its place, from the outcomes of a few probes."""

    def probes(self, fitted: Any, vectors: Vectors, items: Ints, count: int, seed: int) -> Ints:
        """Which of these items the new worker is asked, at most ``count``; no outcome of it is known."""
        ...

    def place(self, fitted: Any, worker: str, revealed: Dataset, vectors: Vectors) -> Predictor:
        """``fitted`` with the worker added, ``revealed`` being the outcomes of its probes."""
        ...


def _scores(task: Task, choices: Ints) -> Floats:
    """Score of each test item, averaged over seeds, ``[n]``."""
    mean: Floats = np.mean([metrics.chosen(task.test.scores, c) for c in choices], axis=0)
    return mean


def _difference(values: Floats) -> dict[str, Any]:
    found = bootstrap_mean(values)
    return {"diff": found.mean, "ci": [found.low, found.high]}


def robustness(task: Task, fitted: Fitted, encode: Encode, *, seed: int = 0) -> dict[str, Any]:
    """How often the choice stays the same when a prompt is worded, typed or set otherwise.

    Args:
        task: a pool with its items.
        fitted: ours.
        encode: the encoder that the vectors come from.
        seed: of the changes.

    Returns:
        For each change: ``changed``, the share of prompts that it altered; ``same_choice``, the share of
        those for which the choice stayed; ``diff`` and ``ci``, what it does to the score over all items.
    """
    tolerance = TOLERANCE[DEFAULT_EFFORT]
    before = selector_choices(task, fitted, tolerance)
    found: dict[str, Any] = {}
    for name, perturb in PERTURBATIONS.items():
        rng = np.random.default_rng(seed)
        prompts = [perturb(prompt, rng) for prompt in task.prompts]
        altered = np.array([a != b for a, b in zip(prompts, task.prompts, strict=True)])
        vectors, tokens = encode(prompts), prompt_tokens(prompts)
        after = np.stack(
            [
                one.choose(vectors, task.workers, tokens, tolerance=tolerance)
                for one in fitted.predictors
            ]
        )
        same = (before == after)[:, altered]
        found[name] = {
            "changed": float(altered.mean()),
            "same_choice": float(same.mean()) if same.size else None,
            **_difference(_scores(task, after) - _scores(task, before)),
        }
    return found


def sub_pools(task: Task, fitted: Fitted, count: int, *, seed: int = 0) -> dict[str, Any]:
    """Ours against the best single worker on random parts of the pool, with nothing fitted again.

    Args:
        task: a pool of at least three workers with its items.
        fitted: ours.
        count: sub-pools of three or more workers, all different; fewer where there are no more.
        seed: of the draw.

    Returns:
        ``cells`` with ``pool``, ``best_single``, ``diff``, ``ci``; over them ``mean_diff``,
        ``worst_diff`` and ``share_not_worse``, the share at most 0.3 points below the best single.

    Raises:
        InputError: where the pool has fewer than three workers.
    """
    size = len(task.workers)
    if size < 3:
        raise InputError(f"sub-pools: expected a pool of at least three workers, got {size}")
    rng = np.random.default_rng(seed)
    drawn: dict[tuple[int, ...], None] = {}
    for _ in range(20 * count):
        if len(drawn) == count:
            break
        members = rng.choice(size, int(rng.integers(3, size + 1)), replace=False)
        drawn[tuple(sorted(int(member) for member in members))] = None
    cells = [_cell(task.of(members), fitted) for members in drawn]
    gains = np.array([cell["diff"] for cell in cells])
    return {
        "n": len(cells),
        "mean_diff": float(gains.mean()),
        "worst_diff": float(gains.min()),
        "share_not_worse": float((gains >= -_CLOSE).mean()),
        "cells": cells,
    }


def _cell(task: Task, fitted: Fitted) -> dict[str, Any]:
    single = int(np.argmax(task.fit.scores.mean(axis=0)))
    ours = _scores(task, selector_choices(task, fitted, TOLERANCE[DEFAULT_EFFORT]))
    return {
        "pool": list(task.workers),
        "best_single": task.workers[single],
        **_difference(ours - task.test.scores[:, single]),
    }


def hold_out_workers(
    data: Dataset,
    vectors: Vectors,
    task: Task,
    fitted: Fitted,
    fit: Fit,
    placement: Placement,
    *,
    workers: Sequence[str],
    probes: int = 32,
    fit_splits: Sequence[str] = ("train",),
    progress: Progress | None = None,
) -> dict[str, Any]:
    """What the pool scores when a worker is known from a few probes instead of all its outcomes.

    Ours is fitted once more for each worker, without its outcomes, and compared with the fit of seed 0;
    the probes, from the items that the pool was fitted on, are drawn once for each of ``fitted``'s seeds.

    Args:
        data: outcomes.
        vectors: of all items, ``[items, D]``.
        task: a pool with its items.
        fitted: ours, all outcomes known.
        fit: fits ours.
        placement: chooses probes and places the worker.
        workers: whom to hold out, one at a time; names of the pool.
        probes: outcomes that are revealed.
        fit_splits: splits to fit on.
        progress: told which worker is held out.

    Returns:
        For each worker ``score_full``, ``score_probes``, ``score_without`` (it is not in the pool), and
        ``quality_share``, the second over the first; over them ``mean_quality_share``, ``worst_quality_share``.

    Raises:
        InputError: where a worker is not in the pool.
    """
    unknown = [worker for worker in workers if worker not in task.workers]
    if unknown:
        raise InputError(
            f"held-out worker {', '.join(unknown)}: not in the pool {', '.join(task.workers)}"
        )
    known = data.in_splits(fit_splits)
    full = _score(task, fitted.predictors[:1])
    found: dict[str, Any] = {}
    for place, worker in enumerate(workers, start=1):
        mine = known.worker == known.workers.index(worker)
        own, blind = known.rows(mine), fit(known.rows(~mine), vectors, 0)
        placed = []
        for seed in range(len(fitted.predictors)):
            asked = placement.probes(blind, vectors, task.fit_items, probes, seed)[:probes]
            revealed = own.rows(np.isin(own.item, asked))
            placed.append(placement.place(blind, worker, revealed, vectors))
        score = _score(task, placed)
        rest = task.of([i for i, name in enumerate(task.workers) if name != worker])
        found[worker] = {
            "score_full": full,
            "score_probes": score,
            "score_without": _score(rest, [blind]),
            "quality_share": score / full if full > 0 else None,
        }
        if progress is not None:
            progress("holding out workers", place, len(workers))
    shares = [row["quality_share"] for row in found.values() if row["quality_share"] is not None]
    return {
        "probes": probes,
        "mean_quality_share": float(np.mean(shares)) if shares else None,
        "worst_quality_share": min(shares, default=None),
        "workers": found,
    }


def _score(task: Task, predictors: Sequence[Predictor]) -> float:
    fitted = Fitted(predictors=tuple(predictors), seconds=0.0)
    return float(_scores(task, selector_choices(task, fitted, TOLERANCE[DEFAULT_EFFORT])).mean())
