"""Random valid workflows, for tests of properties that hold for all of them."""

from __future__ import annotations

import random
from collections.abc import Sequence

from fugu_adapters.workflow import Aggregate, Step, Workflow
from fugu_adapters.workflow.plan import MAX_STEPS

__all__ = ["random_workflow"]


def random_workflow(rng: random.Random, workers: Sequence[str]) -> Workflow:
    """A workflow of one to five steps, with an aggregate at times."""
    count = rng.randint(1, MAX_STEPS)
    steps = tuple(
        Step(
            worker=rng.choice(workers),
            subtask=f"Subtask {index}",
            access=tuple(seen for seen in range(index) if rng.random() < 0.5),
        )
        for index in range(count)
    )
    aggregate = None
    if count >= 2 and rng.random() < 0.4:
        aggregate = Aggregate(kind="vote", steps=tuple(sorted(rng.sample(range(count), 2))))
        seen = steps[-1].access
        if len(seen) >= 2 and rng.random() < 0.5:
            aggregate = Aggregate(kind="select", steps=seen, judge=count - 1)
    return Workflow(steps=steps, aggregate=aggregate)
