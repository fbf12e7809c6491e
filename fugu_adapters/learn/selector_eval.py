"""The selector as the evaluation sees it: fit, predict, choose, and place a worker from a few probes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fugu_adapters.encoders import DEFAULT_ENCODER, Vectors
from fugu_adapters.evaluate.data import Dataset, Facts
from fugu_adapters.evaluate.runner import Prediction
from fugu_adapters.learn.difficulty import Difficulty, item_difficulty
from fugu_adapters.learn.placement import (
    PlacementSettings,
    add_profile,
    choose_probes,
    place,
    prior_placement,
)
from fugu_adapters.learn.selector_fit import FitSettings, fit_selector
from fugu_adapters.policies.clusters import assign
from fugu_adapters.policies.rule import Forecast, choose_many
from fugu_adapters.policies.selector import ClusterSelector
from fugu_adapters.policies.weights import Bundle

__all__ = ["FittedSelector", "SelectorFit"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_CANDIDATES = 4_000  # items among which probes are chosen


@dataclass(frozen=True, kw_only=True)
class SelectorFit:
    """Fits a bundle as ``fugu train selector`` does, and places workers that it has not seen."""

    encoder: str = DEFAULT_ENCODER
    settings: FitSettings = field(default_factory=FitSettings)
    placement: PlacementSettings = field(default_factory=PlacementSettings)

    def __call__(self, data: Dataset, vectors: Vectors, seed: int) -> FittedSelector:
        """Fit to every outcome in ``data``."""
        bundle = fit_selector(
            data, vectors, encoder=self.encoder, seed=seed, settings=self.settings
        )
        return FittedSelector(bundle, data.facts, data)

    def probes(self, fitted: Any, vectors: Vectors, items: Ints, count: int, seed: int) -> Ints:
        """The most telling of the items, of those that a seed draws where there are many."""
        if count >= len(items):
            return items
        if len(items) > _CANDIDATES:
            drawn = np.random.default_rng(seed).choice(len(items), _CANDIDATES, replace=False)
            items = items[np.sort(drawn)]
        bundle: Bundle = fitted.bundle
        near = assign(vectors[items], bundle.centroids)
        chosen = choose_probes(
            bundle, vectors[items], count, prior_placement(bundle, settings=self.placement),
            self._difficulty(fitted, vectors, items),
            mass=np.bincount(near, minlength=len(bundle.mass)) / len(near),
        )  # fmt: skip
        return items[chosen]

    def place(
        self, fitted: Any, worker: str, revealed: Dataset, vectors: Vectors
    ) -> FittedSelector:
        """Give a worker the row that its probes and its list price speak for."""
        bundle: Bundle = fitted.bundle
        price = fitted.facts.get(worker, Facts()).price_out
        placed = place(
            bundle, prior_placement(bundle, worker, price, self.placement),
            vectors[revealed.item], revealed.score,
            difficulty=self._difficulty(fitted, vectors, revealed.item),
            tokens=revealed.output_tokens, seconds=revealed.latency_s,
        )  # fmt: skip
        return FittedSelector(add_profile(bundle, worker, placed), fitted.facts, fitted.data)

    def _difficulty(self, fitted: Any, vectors: Vectors, items: Ints) -> Difficulty:
        """Of each item, from the workers that were fitted on."""
        data: Dataset = fitted.data
        unique, place_of = np.unique(items, return_inverse=True)
        seen = data.rows(np.isin(data.item, unique))
        row = np.array([fitted.bundle.index.get(name, -1) for name in data.workers])
        seen = seen.rows(row[seen.worker] >= 0)
        found = item_difficulty(
            fitted.bundle, vectors[unique], item=np.searchsorted(unique, seen.item),
            profile=row[seen.worker], score=seen.score, weight=seen.weight, sd=self.placement.item_sd,
        )  # fmt: skip
        return found.of(place_of)


class FittedSelector:
    """A bundle with the list prices of its workers and the outcomes that it was fitted to."""

    def __init__(self, bundle: Bundle, facts: Mapping[str, Facts], data: Dataset) -> None:
        self.bundle = bundle
        self.facts = facts
        self.data = data
        self._selector = ClusterSelector(bundle)

    def predict(self, vectors: Vectors, workers: Sequence[str], input_tokens: Floats) -> Prediction:
        """Expected scores and costs."""
        view, cost = self._forecast(vectors, workers, input_tokens)
        return Prediction(p=view.p.astype(np.float64), sd=view.sd.astype(np.float64), cost=cost)

    def choose(
        self, vectors: Vectors, workers: Sequence[str], input_tokens: Floats, *, tolerance: float
    ) -> Ints:
        """What the shipped rule chooses."""
        view, cost = self._forecast(vectors, workers, input_tokens)
        return choose_many(view, cost, tolerance=tolerance, settings=self.bundle.settings)[0]

    def _forecast(
        self, vectors: Vectors, workers: Sequence[str], input_tokens: Floats
    ) -> tuple[Forecast, Floats]:
        facts = [self.facts.get(worker, Facts()) for worker in workers]
        prices = np.array([[f.price_in, f.price_out] for f in facts], dtype=np.float64)  # None: NaN
        view = self._selector.forecast(vectors, workers, [fact.price_out for fact in facts])
        return view, (input_tokens[:, None] * prices[:, 0] + view.tokens * prices[:, 1]) / 1e6
