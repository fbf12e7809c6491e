"""What every routing method chooses on one pool's test items, by seed and along its cost-quality curve."""

from __future__ import annotations

import functools
import importlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fugu_adapters.evaluate import metrics
from fugu_adapters.evaluate.runner import Fitted, Progress, Task
from fugu_adapters.policies.baselines import BASELINES, Predict
from fugu_adapters.policies.selector import TOLERANCE
from fugu_adapters.types import Effort

__all__ = [
    "DEFAULT_EFFORT",
    "Bill",
    "Trial",
    "all_trials",
    "complexity_choices",
    "selector_choices",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DEFAULT_EFFORT: Effort = "medium"
"""The effort of the row that is called ``selector``, as it is the facade's."""

_SWEEP = (*np.linspace(0.0, 0.3, 31), *np.linspace(0.35, 1.0, 14))  # tolerances of our curve
_TIERS = ("SIMPLE", "MEDIUM", "COMPLEX", "REASONING")


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What one method chose.

    Attributes:
        name: its key.
        choices: chosen column, by seed, ``[S, n]``.
        p: expected scores by seed, ``[S, n, A]``, or ``None``.
        sweep: chosen columns along its cost-quality curve, ``[R, S, n]``, or ``None``.
        fit_s: seconds that one fit took, tuning included, or ``None`` where nothing is fitted.
    """

    name: str
    choices: Ints
    p: Floats | None = None
    sweep: Ints | None = None
    fit_s: float | None = None


class Bill:
    """Costs that can be compared: on the items where every worker with any known cost has one.

    Args:
        cost: dollars, NaN unknown, ``[n, A]``.

    Attributes:
        rows: those items, ``[n]``; none where they are fewer than half.
        means: mean dollars a call of each worker on them, NaN unknown, ``[A]``.
    """

    def __init__(self, cost: Floats) -> None:
        known = np.isfinite(cost)
        some = known.any(axis=0)
        self.cost = cost
        self.rows: NDArray[np.bool_] = np.logical_and.reduce(known[:, some], axis=1)
        if not some.any() or 2 * self.rows.sum() < len(cost):
            self.rows = np.zeros(len(cost), dtype=np.bool_)
        self.means: Floats = np.full(cost.shape[1], np.nan)
        if self.rows.any():
            self.means = cost[self.rows].mean(axis=0)

    @property
    def complete(self) -> bool:
        """Whether the cost of every worker is known."""
        return bool(np.isfinite(self.means).all())

    def per_1k(self, choices: Ints) -> float | None:
        """Dollars for a thousand requests, mean over seeds ``[S, n]``; ``None`` where unknown."""
        paid = [metrics.cost_per_1k(self.cost[self.rows], choice[self.rows]) for choice in choices]
        known = [value for value in paid if value is not None]
        return float(np.mean(known)) if len(known) == len(paid) else None


def all_trials(
    task: Task, fitted: Fitted, *, seeds: int, progress: Progress | None = None
) -> tuple[list[Trial], list[str]]:
    """Fit every baseline and let every method choose.

    Args:
        task: a pool with its items.
        fitted: ours.
        seeds: for whatever baseline is random.
        progress: told which baseline is being fitted.

    Returns:
        The trials, ours first, and for each method that could not be run ``name: why``.
    """
    trials, notes = _ours(task, fitted), []
    for place, name in enumerate(BASELINES):
        if progress is not None:
            progress("fitting the baselines", place, len(BASELINES))
        if name == "cheapest" and not np.isfinite(task.fit.cost).any():
            notes.append("cheapest: no cost is known of any worker")
        else:
            trials.append(_baseline(task, name, seeds))
    if progress is not None:
        progress("fitting the baselines", len(BASELINES), len(BASELINES))
    ladder = complexity_choices(task.prompts, task.prices)
    if isinstance(ladder, str):
        notes.append(f"litellm_heuristic: {ladder}")
    else:
        trials.append(Trial(name="litellm_heuristic", choices=ladder[None]))
    return trials, notes


def selector_choices(task: Task, fitted: Fitted, tolerance: float) -> Ints:
    """What ours chooses for the test items, by seed, ``[S, n]``."""
    return np.stack(
        [
            one.choose(task.test.vectors, task.workers, task.input_tokens, tolerance=tolerance)
            for one in fitted.predictors
        ]
    )


def _ours(task: Task, fitted: Fitted) -> list[Trial]:
    """The shipped rule at every effort; its curve is swept over the tolerance."""
    ask = task.test.vectors, task.workers, task.input_tokens
    sweep = None
    if Bill(task.test.cost).rows.any():
        sweep = np.stack([selector_choices(task, fitted, float(t)) for t in _SWEEP])
    default = Trial(
        name="selector",
        choices=selector_choices(task, fitted, TOLERANCE[DEFAULT_EFFORT]),
        p=np.stack([one.predict(*ask).p for one in fitted.predictors]),
        sweep=sweep,
        fit_s=fitted.seconds,
    )
    others = [
        Trial(name=f"selector@{effort}", choices=selector_choices(task, fitted, tolerance))
        for effort, tolerance in TOLERANCE.items()
        if effort != DEFAULT_EFFORT
    ]
    return [default, *others]


def _baseline(task: Task, name: str, seeds: int) -> Trial:
    """One simple method; its curve is swept over the worth of a dollar, with mean costs of the fit items."""
    began = time.perf_counter()
    predicts: Sequence[Predict] = BASELINES[name](task.fit, seeds)
    seconds = (time.perf_counter() - began) / len(predicts)
    p = np.stack([predict(task.test) for predict in predicts])
    choices = np.argmax(p, axis=2)
    if name in ("random", "cheapest"):
        return Trial(name=name, choices=choices)
    bill, learned = Bill(task.test.cost), Bill(task.fit.cost)
    sweep = None
    if bill.complete and learned.complete:
        dollars = np.nan_to_num(task.test.cost) if name == "oracle" else learned.means[None]
        sweep = np.stack([metrics.tradeoff(one, dollars) for one in p], axis=1)
    if name == "oracle":
        return Trial(name=name, choices=choices, sweep=sweep)
    return Trial(name=name, choices=choices, p=p, sweep=sweep, fit_s=seconds)


def complexity_choices(prompts: Sequence[str], prices: Floats) -> Ints | str:
    """LiteLLM's complexity router: keywords and length give one of four tiers, a tier gives a worker.

    The pool's workers stand on a ladder by list price; the four tiers are spread evenly over it.

    Args:
        prompts: ``[n]``.
        prices: list price of each worker, NaN unknown, ``[A]``.

    Returns:
        Chosen columns ``[n]``, or why there are none.
    """
    ladder = np.argsort(prices)[: int(np.isfinite(prices).sum())]
    if len(ladder) < 2:
        return "the prices of at least two workers are needed to tell the cheap from the dear"
    router = _complexity_router()
    if router is None:
        return "LiteLLM is not installed here (`pip install litellm`)"
    rung = np.round(np.linspace(0, len(ladder) - 1, len(_TIERS))).astype(np.int64)
    tiers = [_TIERS.index(router.classify(prompt)[0].value) for prompt in prompts]
    columns: Ints = ladder[rung[tiers]]
    return columns


@functools.cache
def _complexity_router():  # type: ignore[no-untyped-def]  # an optional, untyped package
    """LiteLLM's rule-based classifier, or ``None`` where it is not installed."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # it fetches a file otherwise
    try:
        module = importlib.import_module(
            "litellm.router_strategy.complexity_router.complexity_router"
        )
    except ImportError:
        return None
    config = {"tiers": {tier: tier.lower() for tier in _TIERS}, "classifier_type": "heuristic"}
    return module.ComplexityRouter("auto", None, config, "simple", derive_savings_baseline=False)
