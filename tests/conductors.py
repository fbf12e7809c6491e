"""Conductors with made-up numbers, for tests of what is done with a plan."""

from __future__ import annotations

import numpy as np

from fugu_adapters.policies.conductor import FEATURES, Conductor, Network, Value


def eager(*kinds: str, share: float = 1.0) -> Conductor:
    """Writes as many steps as it may, the ablest workers first, and believes in votes."""
    skip = np.zeros(FEATURES)
    skip[16] = 5.0  # the worker's forecast; a stop has none
    network = Network(hidden=np.zeros((FEATURES, 1)), bias=np.zeros(1), out=np.zeros(1), skip=skip)
    return Conductor(
        network=network, value=Value(share=share, alike=0.0), kinds=kinds or ("answer",)
    )
