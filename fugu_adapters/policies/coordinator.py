"""Whom to ask next, or to stop, from the answers so far: a weighted vote that ends when it is decided.

Workers are asked in the order of what is expected of them. An answer's weight grows with its author's
log-odds of being right. No more is asked once the lead is as large as it needs to be (Wald's sequential test,
1945) or cannot be caught within the bound. Four numbers, none of which belongs to a worker: they hold for any
pool whose selector says how probably each worker is right on this request. Answers are compared, never read.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from fugu_adapters.errors import InputError, WeightsError
from fugu_adapters.types import Effort

__all__ = ["Coordinator", "Standing", "Trust", "load_coordinators", "save_coordinators"]

Floats = NDArray[np.float64]

_LEAST = 0.01  # an answer always weighs something, so that two beat none
_LOW, _HIGH = 0.02, 0.98  # forecasts are never taken for certain
_FREE = 1e-3  # of the dearest worker's price: cheaper than that is no cheaper
_FORMAT = 1
_SHIPPED = Path(__file__).parents[1] / "weights" / "coordinator.json"
_MAX_BYTES = 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Trust:
    """How probably the leading answer is right: a logistic curve over the lead.

    Attributes:
        bias: log-odds without any lead.
        lead: added for each unit of weight that the leading answer is ahead of the next.
        forecast: added for each unit of the log-odds of its best author.
    """

    bias: float = -0.5
    lead: float = 1.0
    forecast: float = 0.0

    def __call__(self, lead: Any, odds: Any) -> Any:
        """Probability; arrays of equal shape, or numbers."""
        logit = self.bias + self.lead * lead + self.forecast * odds
        return 0.5 * (1.0 + np.tanh(0.5 * logit))


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """Where a request stands.

    Attributes:
        ask: column of the worker to ask next; ``None`` to stop.
        lead: column of the worker whose answer is ahead; ``None`` before any answer.
        trust: probability that this answer is right, 0 before any answer.
    """

    ask: int | None
    lead: int | None
    trust: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Coordinator:
    """When to ask whom, and whose answer to take.

    Attributes:
        lift: added to the log-odds of an answer's author, which makes the answer's weight. Without it agreement
            of two that are wrong more often than not counts nothing; with much of it all count alike.
        thrift: forecast that is given up to ask a worker of half the price.
        enough: lead in weight from which on nobody else is asked.
        cap: answers that are asked for at most.
        trust: probability of the leading answer.
    """

    lift: float = 0.5
    thrift: float = 0.005
    enough: float = 4.0
    cap: int = 4
    trust: Trust = Trust()

    def __post_init__(self) -> None:
        numbers = (self.lift, self.thrift, self.enough, *asdict(self.trust).values())
        if not all(np.isfinite(number) for number in numbers) or self.cap < 1:
            raise InputError(
                f"a coordinator: expected finite numbers and a cap of at least 1, got {self}"
            )

    def odds(self, forecast: Floats) -> Floats:
        """Log-odds of each worker's answer, ``[..., A]``."""
        p = np.clip(forecast, _LOW, _HIGH)
        odds: Floats = np.log(p / (1.0 - p))
        return odds

    def weigh(self, odds: Floats) -> Floats:
        """What each worker's answer counts, ``[..., A]``."""
        return np.maximum(odds + self.lift, _LEAST)

    def rank(self, forecast: Floats, cost: Floats) -> Floats:
        """Who is asked first, highest first, ``[..., A]``; ``cost`` being dollars of a call, ``[A]``."""
        floor = max(float(cost.max(initial=0.0)) * _FREE, 1e-12)
        return np.clip(forecast, _LOW, _HIGH) - self.thrift * np.log2(np.maximum(cost, floor))

    def decide(
        self,
        forecast: Sequence[float],
        cost: Sequence[float],
        answers: Mapping[int, object],
        available: Sequence[bool] | None = None,
    ) -> Standing:
        """One request: whom to ask next, and whose answer is ahead.

        Args:
            forecast: the selector's expected score of each worker on this request, ``[A]``.
            cost: expected dollars of a call to each, ``[A]``.
            answers: normalised answer by column of the worker, in the order given; ``None`` for none.
            available: who may be asked, ``[A]``; all where not given.

        Raises:
            InputError: where there is no answer yet and nobody may be asked.
        """
        p = np.asarray(forecast, dtype=np.float64)
        odds = self.odds(p)
        weight = self.weigh(odds)
        order = np.argsort(-self.rank(p, np.asarray(cost, dtype=np.float64)), kind="stable")
        free = [int(c) for c in order if c not in answers and (available is None or available[c])]
        free = free[: max(0, self.cap - len(answers))]
        if not answers:
            if not free:
                raise InputError("nobody may be asked; allow at least one worker")
            return Standing(ask=free[0], lead=None, trust=0.0)
        votes: dict[object, float] = {}
        for column, answer in answers.items():
            if answer is not None:
                votes[answer] = votes.get(answer, 0.0) + float(weight[column])
        if not votes:
            return Standing(ask=free[0] if free else None, lead=next(iter(answers)), trust=0.0)
        best, *others = sorted(votes.values(), reverse=True)
        ahead = best - (others[0] if others else 0.0)
        authors = [c for c, answer in answers.items() if votes.get(answer) == best]
        lead = max(authors, key=lambda column: float(weight[column]))
        open_ = sum(float(weight[column]) for column in free)
        stop = not free or ahead > open_ or ahead >= self.enough
        trust = float(self.trust(ahead, odds[lead]))
        return Standing(ask=None if stop else free[0], lead=lead, trust=trust)


# --- files ----------------------------------------------------------------------------------------


def save_coordinators(
    coordinators: Mapping[Effort, Coordinator], path: Path, provenance: Mapping[str, Any]
) -> None:
    """Write coordinators by effort, and what they were fitted to, as JSON.

    Args:
        coordinators: one for every effort.
        path: file, whose folder is made where it is missing.
        provenance: data, command, seed and figures, for people.
    """
    plain = {name: asdict(each) for name, each in coordinators.items()}
    text = json.dumps(
        {"format": _FORMAT, "coordinators": plain, "provenance": dict(provenance)},
        indent=1,
        allow_nan=False,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")


@functools.cache
def load_coordinators(path: Path | None = None) -> Mapping[Effort, Coordinator]:
    """Read what :func:`save_coordinators` wrote, once per process.

    Args:
        path: the file; the shipped one where not given.

    Raises:
        WeightsError: where the file is missing, too large, not a coordinator's, or lacks an effort.
    """
    path = path or _SHIPPED
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise WeightsError(f"{path}: larger than {_MAX_BYTES} bytes; not a coordinator's")
        plain = json.loads(path.read_text(encoding="utf-8"))
        if plain["format"] != _FORMAT:
            raise WeightsError(f"{path}: expected format {_FORMAT}, got {plain['format']!r}")
        each = {effort: plain["coordinators"][effort] for effort in get_args(Effort)}
        return {
            effort: Coordinator(**{**numbers, "trust": Trust(**numbers["trust"])})
            for effort, numbers in each.items()
        }
    except (OSError, ValueError, LookupError, TypeError, InputError) as error:
        raise WeightsError(
            f"{path}: not a coordinator's file ({error}); `fugu train coordinator` writes one"
        ) from error
