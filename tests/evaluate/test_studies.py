from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from routing_world import WORKERS, KindMeans, World

from fugu_adapters.errors import InputError
from fugu_adapters.evaluate.data import Dataset
from fugu_adapters.evaluate.perturb import PERTURBATIONS
from fugu_adapters.evaluate.studies import hold_out_workers, robustness, sub_pools


def test_a_method_that_goes_by_meaning_is_robust() -> None:
    """Every change is reported; where the kind stays readable, the choice stays."""
    world = World()
    found = robustness(world.task, world.fitted, world.encode)
    assert set(found) == set(PERTURBATIONS)
    for row in found.values():
        assert set(row) == {"changed", "same_choice", "diff", "ci"}
        assert row["ci"][0] <= row["diff"] <= row["ci"][1]
    for name in ("greeting", "layout"):
        assert found[name]["changed"] == 1.0
        assert found[name]["same_choice"] == 1.0
        assert found[name]["diff"] == 0.0


def test_a_method_that_goes_by_length_is_not_robust() -> None:
    """An encoder that hangs on the surface is found out."""
    world = World()

    def by_length(prompts: Any) -> NDArray[np.float32]:
        return np.array([[1.0, 0.0, 0.0] if len(p) < 40 else [0.0, 1.0, 0.0] for p in prompts], dtype=np.float32)  # fmt: skip

    found = robustness(world.task, world.fitted, by_length)
    assert found["greeting"]["same_choice"] < 0.7
    assert found["greeting"]["diff"] < 0


def test_sub_pools_are_different_seeded_and_of_three_or_more() -> None:
    """No sub-pool twice; there are five of four workers; gains are summed up over them."""
    world = World()
    found = sub_pools(world.task, world.fitted, 50)
    assert found["n"] == 5
    pools = [tuple(cell["pool"]) for cell in found["cells"]]
    assert len(set(pools)) == 5
    assert all(len(pool) >= 3 for pool in pools)
    gains = [cell["diff"] for cell in found["cells"]]
    assert found["mean_diff"] == pytest.approx(np.mean(gains))
    assert found["worst_diff"] == min(gains)
    assert found["share_not_worse"] == np.mean([gain >= -0.003 for gain in gains])
    assert found == sub_pools(world.task, world.fitted, 50)
    with pytest.raises(InputError, match="at least three workers, got 2"):
        sub_pools(world.task.of([0, 1]), world.fitted, 3)


class Placing:
    """Records what it is shown, and refits with the probes."""

    def __init__(self) -> None:
        self.blind: list[KindMeans] = []
        self.revealed: list[Dataset] = []

    def probes(self, fitted: Any, vectors: Any, items: Any, count: int, seed: int) -> Any:
        self.blind.append(fitted)
        return np.random.default_rng(seed).choice(items, count, replace=False)

    def place(self, fitted: Any, worker: str, revealed: Dataset, vectors: Any) -> KindMeans:
        self.revealed.append(revealed)
        placed = KindMeans(revealed, vectors, 0)
        placed.p = {**fitted.p, worker: placed.p[worker]}
        return placed


def test_a_held_out_worker_shows_its_probes_and_nothing_else() -> None:
    """The fit never sees its outcomes; the placing sees those of the probes, from the fit items."""
    world = World()
    placing = Placing()
    found = hold_out_workers(
        world.data, world.vectors, world.task, world.fitted, world.fit, placing,
        workers=["poet"], probes=24,
    )  # fmt: skip
    poet = WORKERS.index("poet")
    for blind in placing.blind:
        assert poet not in blind.seen.worker
        assert len(blind.seen.item) == 600
    assert len(placing.revealed) == 2  # one draw a seed
    for revealed in placing.revealed:
        assert len(revealed.item) == 24
        assert set(revealed.worker) == {poet}
        assert set(world.data.splits[revealed.item]) == {"train"}
    row = found["workers"]["poet"]
    assert row["quality_share"] == pytest.approx(row["score_probes"] / row["score_full"])
    assert row["quality_share"] > 0.97  # 12 probes a kind tell a specialist
    assert row["score_without"] < row["score_full"] - 0.05
    assert found["mean_quality_share"] == found["worst_quality_share"] == row["quality_share"]


def test_a_worker_outside_the_pool_cannot_be_held_out() -> None:
    """The error names it and the pool."""
    world = World()
    with pytest.raises(InputError, match=r"nobody: not in the pool abacus"):
        hold_out_workers(
            world.data,
            world.vectors,
            world.task,
            world.fitted,
            world.fit,
            Placing(),
            workers=["nobody"],
        )
