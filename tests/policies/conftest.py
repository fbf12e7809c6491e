from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fugu_adapters.policies.weights import Bundle, Settings

PROFILES = (
    "claude-opus-4.5@high",
    "cheap-1b",
    "python-7b@python",
    "listed-only",
    "gpt-4o-2024-08-06",
)


def make_bundle(**changes: Any) -> Bundle:
    """Three clusters along the axes: 0 is knowledge, 1 is arithmetic, 2 is code (another area)."""
    p = np.array(
        [
            [0.90, 0.60, 0.80],
            [0.60, 0.58, 0.20],
            [0.20, 0.95, 0.30],
            [0.7, 0.7, 0.7],
            [0.8, 0.5, 0.8],
        ]
    )
    count = np.full(p.shape, 100.0)
    count[3] = 0.0
    bundle = Bundle(
        encoder="toy-1",
        profiles=PROFILES,
        aliases={"gpt-4o": "gpt-4o-2024-08-06"},
        labels=("knowledge", "arithmetic", "code"),
        settings=Settings(nearest=2, temperature=0.05, gain_z=0.5, loss_z=0.0),
        centroids=np.eye(3, 4, dtype=np.float32),
        area=np.array([0, 0, 1], dtype=np.float32),
        mass=np.array([0.5, 0.3, 0.2], dtype=np.float32),
        reach=np.full(3, 0.5, dtype=np.float32),
        p=p.astype(np.float32),
        sd=np.full(p.shape, 0.02, dtype=np.float32),
        level=p.astype(np.float32),
        count=count.astype(np.float32),
        log_tokens=np.log(np.full(p.shape, 200.0)).astype(np.float32),
        seconds=np.full(p.shape, -1.0, dtype=np.float32),
        crowd=np.zeros(3, dtype=np.float32),
        tier=np.array([0.0, 1.0, 0.8, 0.5], dtype=np.float32),
    )
    return replace(bundle, **changes)


@pytest.fixture
def bundle() -> Bundle:
    return make_bundle()


@pytest.fixture
def bundle_with() -> Callable[..., Bundle]:
    return make_bundle
