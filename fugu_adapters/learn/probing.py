"""Asking new workers the probes that tell most: adaptive, so that each next probe knows the last answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fugu_adapters.config import Worker
from fugu_adapters.encoders import load_encoder
from fugu_adapters.evaluate.probes import LEVELS, level_of
from fugu_adapters.evaluate.scoring_probes import SUITE_PROBES
from fugu_adapters.learn.difficulty import Difficulty, item_difficulty
from fugu_adapters.learn.placement import (
    Placement,
    PlacementSettings,
    add_profile,
    choose_probes,
    place,
    prior_placement,
)
from fugu_adapters.learn.profile import Pairs
from fugu_adapters.policies.aliases import match_profile
from fugu_adapters.policies.weights import Bundle
from fugu_adapters.types import Item, Outcome

__all__ = ["Placed", "Probing"]

_LEVEL = (
    1.0  # logits from one level of the probes to the next: an assumption until others answered them
)
_MEASURED = 20  # outcomes from which a profile counts as measured, as for the selector


@dataclass(frozen=True, kw_only=True, eq=False)
class Placed:
    """Where one worker stands.

    Attributes:
        worker: its name in the pool.
        profile: its profile's name.
        measured: outcomes that an earlier profile of it stands on, 0 where there is none.
        probes: answers that were used, earlier runs included.
        right: mean score on them, ``None`` without any.
        spent_usd: what they cost, ``None`` where unknown.
        before: what was believed before these probes.
        after: what is believed now.
    """

    worker: str
    profile: str
    measured: int
    probes: int
    right: float | None
    spent_usd: float | None
    before: Placement
    after: Placement


class Probing:
    """The probes of one run: which to ask whom next, and what the answers say.

    What was answered before, by these workers or by others with a profile, is used: the first is not
    asked again, the second tells how hard an item is.

    Args:
        bundle: the profiles so far.
        workers: who is to be placed.
        items: candidates.
        count: probes for each worker, those answered before included.
        known: outcomes so far, of anyone on anything.
    """

    def __init__(
        self,
        bundle: Bundle,
        workers: Sequence[Worker],
        items: Sequence[Item],
        *,
        count: int,
        known: Sequence[Outcome] = (),
    ) -> None:
        self.bundle, self.workers, self.count = bundle, tuple(workers), count
        self.items = tuple(items)
        self._index = {(item.suite, item.item_id): n for n, item in enumerate(items)}
        self._vectors = load_encoder(bundle.encoder).encode([item.prompt for item in items])
        self._settings = PlacementSettings()
        self._difficulty = self._rate(known)
        self._before = {worker.profile_name: self._prior(worker) for worker in workers}

    def pairs(self, outcomes: Sequence[Outcome]) -> Pairs:
        """Worker and probe in turn, each chosen by the outcomes at that moment."""
        asked = {w.profile_name: set(self._answered(w, outcomes)) for w in self.workers}
        left = {name: self.count - len(done) for name, done in asked.items()}
        for turn in range(max(left.values(), default=0)):
            for worker in self.workers:
                name = worker.profile_name
                if turn < left[name] and len(asked[name]) < len(self.items):
                    index = self._next(worker, asked[name], outcomes)
                    asked[name].add(index)
                    yield worker, self.items[index]

    def _next(self, worker: Worker, asked: set[int], outcomes: Sequence[Outcome]) -> int:
        open_items = np.array([n for n in range(len(self.items)) if n not in asked])
        best = choose_probes(
            self.bundle, self._vectors[open_items], 1, self._belief(worker, outcomes),
            self._difficulty.of(open_items),
        )  # fmt: skip
        return int(open_items[best[0]])

    def placed(self, outcomes: Sequence[Outcome]) -> list[Placed]:
        """Where each worker stands, in the given order."""
        return [self._placed(worker, outcomes) for worker in self.workers]

    def extended(self, outcomes: Sequence[Outcome], base: str) -> Bundle:
        """The bundle with a row for every worker that answered something.

        Args:
            outcomes: of all probes.
            base: digest of the bundle that it all began with.
        """
        bundle = self.bundle
        for worker in self.workers:
            found = self._answered(worker, outcomes)
            if found:
                ids = [f"{self.items[n].suite}/{self.items[n].item_id}" for n in found]
                earlier = [i for i in self._note(worker).get("probes", []) if i not in ids]
                note = {"base": base, "probes": [*earlier, *ids]}
                belief = self._belief(worker, outcomes)
                bundle = add_profile(bundle, worker.profile_name, belief, note=note)
        return bundle

    def _placed(self, worker: Worker, outcomes: Sequence[Outcome]) -> Placed:
        found = self._answered(worker, outcomes)
        costs = [outcome.cost_usd for outcome in found.values()]
        before = self._before[worker.profile_name]
        measured = 0 if self._note(worker) else int(before.count.sum())
        return Placed(
            worker=worker.name,
            profile=worker.profile_name,
            measured=measured if measured >= _MEASURED else 0,
            probes=len(found),
            right=float(np.mean([o.score for o in found.values()])) if found else None,
            spent_usd=None if None in costs else float(sum(cost or 0.0 for cost in costs)),
            before=before,
            after=self._belief(worker, outcomes),
        )

    def _note(self, worker: Worker) -> Mapping[str, Any]:
        """What the bundle says of an earlier placement of the worker."""
        note: Mapping[str, Any] = self.bundle.provenance.get("placed", {}).get(
            worker.profile_name, {}
        )
        return note

    def _prior(self, worker: Worker) -> Placement:
        name = worker.profile_name
        profile = name if name in self.bundle.index else match_profile(name, self.bundle)
        price = None if worker.known_price is None else worker.known_price.output
        return prior_placement(self.bundle, profile, price, self._settings)

    def _answered(self, worker: Worker, outcomes: Sequence[Outcome]) -> dict[int, Outcome]:
        """What the worker answered, by the item's index."""
        found: dict[int, Outcome] = {}
        for outcome in outcomes:
            index = self._index.get((outcome.suite, outcome.item_id))
            if outcome.worker == worker.profile_name and index is not None:
                found[index] = outcome
        return found

    def _belief(self, worker: Worker, outcomes: Sequence[Outcome]) -> Placement:
        """The prior with every answer that the bundle's row does not stand on already."""
        used = set(self._note(worker).get("probes", []))
        found = {
            index: outcome
            for index, outcome in self._answered(worker, outcomes).items()
            if f"{outcome.suite}/{outcome.item_id}" not in used
        }
        index = np.array(list(found), dtype=np.int64)
        return place(
            self.bundle, self._before[worker.profile_name], self._vectors[index],
            np.array([o.score for o in found.values()]),
            difficulty=self._difficulty.of(index),
            tokens=_numbers(o.output_tokens for o in found.values()),
            seconds=_numbers(o.latency_s for o in found.values()),
        )  # fmt: skip

    def _rate(self, known: Sequence[Outcome]) -> Difficulty:
        """How hard the items are: by their level, and by how others did on them."""
        new = {worker.profile_name for worker in self.workers}
        rows = [
            (self._index[o.suite, o.item_id], self.bundle.index[o.worker], o.score)
            for o in known
            if (o.suite, o.item_id) in self._index
            and o.worker in self.bundle.index
            and o.worker not in new
        ]
        middle = float(np.mean(LEVELS))
        guess = [
            _LEVEL * (level_of(i) - middle) if i.suite == SUITE_PROBES else 0.0 for i in self.items
        ]
        return item_difficulty(
            self.bundle, self._vectors,
            item=np.array([row[0] for row in rows], dtype=np.int64),
            profile=np.array([row[1] for row in rows], dtype=np.int64),
            score=np.array([row[2] for row in rows], dtype=np.float64),
            guess=np.array(guess), sd=self._settings.item_sd,
        )  # fmt: skip


def _numbers(values: Iterator[float | int | None]) -> NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
