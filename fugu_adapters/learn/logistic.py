"""Logistic regression with a small ridge, by Newton's method."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["fit_logistic"]

Floats = NDArray[np.float64]

_NEWTON, _RIDGE = 30, 1.0


def fit_logistic(
    x: Floats, y: Floats, *, weight: Floats | None = None, offset: Floats | None = None
) -> list[float]:
    """The coefficients, ``[F]``.

    Args:
        x: features, ``[n, F]``.
        y: 0 to 1, ``[n]``.
        weight: of each row, ``[n]``; equal where not given.
        offset: added to each row's log-odds, ``[n]``.
    """
    weight = np.ones(len(y)) if weight is None else weight
    shift = np.zeros(len(y)) if offset is None else offset
    theta = np.zeros(x.shape[1])
    for _ in range(_NEWTON):
        p = 0.5 * (1.0 + np.tanh(0.5 * (x @ theta + shift)))
        slope = x.T @ (weight * (p - y)) + _RIDGE * theta
        curve = (x * (weight * np.maximum(p * (1 - p), 1e-4))[:, None]).T @ x
        step = np.linalg.solve(curve + _RIDGE * np.eye(len(theta)), slope)
        theta = theta - step
        if np.abs(step).max() < 1e-8:
            break
    return [float(each) for each in theta]
