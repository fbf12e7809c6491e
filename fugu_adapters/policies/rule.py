"""The rule that makes a choice of forecasts: the best, or one whose saving is worth its expected loss. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fugu_adapters.config import Price
from fugu_adapters.policies.weights import Settings

__all__ = ["Z90", "Arm", "Expected", "Forecast", "choose", "choose_many"]

Floats = NDArray[np.float32]

Z90 = 1.645
"""Standard deviations to either side of a mean that hold nine tenths."""

_NO_TOLERANCE = 1e-6  # of equals, the cheaper
_DEAR = 100.0  # times the reference's price; more makes no difference


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """One worker of the pool, as this request sees it.

    Attributes:
        worker: its name.
        profile: its row in the bundle, or ``None``.
        price: its list price, or ``None`` where unknown.
        input_tokens: prompt tokens of this request.
        max_output_tokens: bound on its reply; the expected reply is not taken to be longer.
        latency_s: seconds measured lately, in place of the profile's; ``None`` where unknown.
        fit: how well its description fits the request, in logits; ``None`` where it has none.
        excluded_because: why it cannot be chosen, or ``None``.
    """

    worker: str
    profile: str | None = None
    price: Price | None = None
    input_tokens: int = 0
    max_output_tokens: int | None = None
    latency_s: float | None = None
    fit: float | None = None
    excluded_because: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """Predictions for ``n`` requests and ``A`` workers.

    Attributes:
        p: expected score, ``[n, A]``.
        sd: its standard deviation, ``[n, A]``.
        tokens: expected reply tokens, ``[n, A]``.
        seconds: expected seconds, NaN unknown, ``[n, A]``.
        measured: whether outcomes stand behind a worker's numbers, ``[A]``.
        anchor: column of the best worker over the request's area, ``[n]``.
        cluster: nearest cluster, ``[n]``.
        inside: whether the request counts as like that cluster's training items, ``[n]``.
    """

    p: Floats
    sd: Floats
    tokens: Floats
    seconds: Floats
    measured: NDArray[np.bool_]
    anchor: NDArray[np.int64]
    cluster: NDArray[np.int64]
    inside: NDArray[np.bool_]


class Expected(NamedTuple):
    """What is expected of one worker for one request.

    Attributes:
        arm: the worker.
        p: expected score.
        sd: its standard deviation.
        tokens: of the reply.
        seconds: NaN where unknown.
        cost: dollars, NaN where unknown.
        measured: whether outcomes stand behind these numbers.
    """

    arm: Arm
    p: float
    sd: float
    tokens: int
    seconds: float
    cost: float
    measured: bool


def choose(
    expected: Sequence[Expected], anchor: int, *, tolerance: float, settings: Settings
) -> tuple[int, int]:
    """Apply the rule to one request, in plain Python: a pool is gone through before numpy has begun.

    Args:
        expected: of each worker.
        anchor: place of the area's best.
        tolerance: expected score that may be given up for a free reply.
        settings: the guard.

    Returns:
        Places of the chosen worker and of the reference.
    """
    stay = expected[anchor]
    proven = [
        place
        for place, one in enumerate(expected)
        if place == anchor or one.p - stay.p > settings.gain_z * math.hypot(one.sd, stay.sd)
    ]
    reference = max(proven, key=lambda place: expected[place].p)
    best = expected[reference]

    def value(place: int) -> float:
        if place == reference:  # which stays where price and time say nothing
            return _NO_TOLERANCE**2
        one = expected[place]
        doubt = settings.loss_z if one.measured else max(settings.loss_z, Z90)
        loss = max(best.p - one.p + doubt * math.hypot(one.sd, best.sd), 0.0)
        return max(tolerance, _NO_TOLERANCE) * (1.0 - _burden(one, best)) - loss

    return max(range(len(expected)), key=value), reference


def _burden(one: Expected, reference: Expected) -> float:
    """What a worker costs as a multiple of the reference: in dollars, in time where those are equal.

    1 where one of the two is unknown: nothing is known to be saved.
    """
    for own, other in ((one.cost, reference.cost), (one.seconds, reference.seconds)):
        if math.isnan(own) or math.isnan(other):
            break
        if abs(own - other) > 1e-9 * abs(other):
            return min(own / other, _DEAR) if other else _DEAR
    return 1.0


def choose_many(
    view: Forecast, cost: NDArray[np.float64], *, tolerance: float, settings: Settings
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Apply the rule to many requests at once; see :func:`choose` for one.

    Args:
        view: predictions for ``n`` requests and ``A`` workers.
        cost: expected dollars, NaN unknown, ``[n, A]``.
        tolerance: expected score that may be given up for a free reply.
        settings: the guard.

    Returns:
        The chosen and the reference worker's column of each request, ``[n]`` each.
    """
    rows = np.arange(len(view.p))
    variance = view.sd**2
    anchor = rows, view.anchor
    gain = view.p - view.p[anchor][:, None]
    proven = gain > settings.gain_z * np.sqrt(variance + variance[anchor][:, None])
    proven[anchor] = True
    chosen = np.where(proven, view.p, -1.0).argmax(axis=1)
    reference = rows, chosen
    doubt = np.where(view.measured, settings.loss_z, max(settings.loss_z, Z90))
    noise = np.sqrt(variance + variance[reference][:, None])
    loss = np.maximum(view.p[reference][:, None] - view.p + doubt * noise, 0.0)
    saving = 1.0 - _burdens(cost, view.seconds, reference)
    value = max(tolerance, _NO_TOLERANCE) * saving - loss
    # Where price and time say nothing, the reference stays.
    value[reference] = _NO_TOLERANCE**2
    return value.argmax(axis=1), chosen


def _burdens(
    cost: NDArray[np.float64],
    seconds: Floats,
    reference: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> NDArray[np.float64]:
    """:func:`_burden` of every worker, ``[n, A]``."""
    amounts = np.stack([cost, seconds])
    rows, chosen = reference
    own = amounts[:, rows, chosen][..., None]
    difference = np.abs(amounts - own)  # NaN where one is unknown, which differs from nothing
    differs = difference > 1e-9 * np.abs(own)
    with np.errstate(divide="ignore", invalid="ignore"):
        times = np.minimum(amounts / own, _DEAR)
    in_time = differs[1] & ~np.isnan(difference[0])
    return np.where(differs[0], times[0], np.where(in_time, times[1], 1.0))
