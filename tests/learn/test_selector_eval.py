from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from fugu_adapters.evaluate.data import Dataset, Facts
from fugu_adapters.learn.selector_eval import SelectorFit

WORKERS = ("abacus", "poet", "weak")
ODDS = {"abacus": (0.1, 0.9), "poet": (0.9, 0.1), "weak": (0.3, 0.3)}


def make_data(items: int = 300) -> Dataset:
    """Two kinds of items, two specialists and a weak worker that is cheap."""
    rng = np.random.default_rng(0)
    size = len(WORKERS)
    worker, item = np.tile(np.arange(size), items), np.repeat(np.arange(items), size)
    odds = np.array([ODDS[WORKERS[w]][i % 2] for i, w in zip(item, worker, strict=True)])
    n = items * size
    return Dataset(
        suites=("toy",) * items,
        item_ids=tuple(map(str, range(items))),
        prompts=("a prompt",) * items,
        domains=("",) * items,
        subdomains=("",) * items,
        splits=np.array(["train"] * items),
        workers=WORKERS,
        facts={"abacus": Facts(price_in=1.0, price_out=10.0), "weak": Facts(price_in=0.1, price_out=1.0)},
        item=item,
        worker=worker,
        score=(rng.random(n) < odds).astype(np.float64),
        weight=np.ones(n),
        output_tokens=np.full(n, 100.0),
        input_tokens=np.full(n, 10.0),
        cost_usd=np.full(n, np.nan),
        latency_s=np.full(n, np.nan),
    )  # fmt: skip


def make_vectors(items: int = 300) -> NDArray[np.float32]:
    rows = np.eye(4, dtype=np.float32)[np.arange(items) % 2]
    rows += np.random.default_rng(1).normal(0, 0.05, rows.shape).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


DATA, VECTORS, TOKENS = make_data(), make_vectors(), np.full(300, 50.0)


def test_what_ships_is_what_is_evaluated() -> None:
    """Specialists are chosen for their kind; a tolerance of everything buys the cheaper where prices are known."""
    fitted = SelectorFit()(DATA, VECTORS, 0)
    choice = fitted.choose(VECTORS, WORKERS, TOKENS, tolerance=0.0)
    assert (choice == np.where(np.arange(300) % 2 == 0, 1, 0)).mean() > 0.97
    cheap = fitted.choose(VECTORS, WORKERS, TOKENS, tolerance=3.0)
    assert set(cheap[choice == 0]) == {2}
    assert set(cheap[choice == 1]) == {1}  # of unknown price: nothing is known to be saved


def test_costs_are_predicted_from_list_prices_and_unknown_stays_unknown() -> None:
    """Prompt and reply tokens at their prices; a worker without prices has no cost."""
    view = SelectorFit()(DATA, VECTORS, 0).predict(VECTORS[:5], WORKERS, np.full(5, 1_000.0))
    assert view.p.shape == view.sd.shape == view.cost.shape == (5, 3)
    assert view.cost[:, 0] == pytest.approx((1_000 * 1.0 + 100 * 10.0) / 1e6, rel=0.05)
    assert np.isnan(view.cost[:, 1]).all()


def test_a_new_worker_is_placed_by_how_it_did_on_its_probes() -> None:
    """One that solves its probes is expected to do well, one that fails them badly; others stay put."""
    fit = SelectorFit()
    blind = fit(DATA.rows(DATA.worker != 1), VECTORS, 0)
    items = fit.probes(blind, VECTORS, np.arange(300), 32, seed=1)
    assert len(set(items.tolist())) == 32
    own = DATA.rows((DATA.worker == 1) & np.isin(DATA.item, items))
    placed = {}
    for name, score in (("good", 1.0), ("bad", 0.0)):
        revealed = replace(own, score=np.full(len(own.item), score))
        one = fit.place(blind, "poet", revealed, VECTORS)
        placed[name] = one.predict(VECTORS, WORKERS, TOKENS).p
    before = blind.predict(VECTORS, ("abacus", "weak"), TOKENS).p
    assert (placed["good"][:, 1] > placed["bad"][:, 1] + 0.3).all()
    np.testing.assert_allclose(placed["good"][:, [0, 2]], before, atol=1e-6)


def test_more_probes_than_items_take_them_all() -> None:
    """No item is asked twice."""
    fit = SelectorFit()
    assert sorted(fit.probes(None, VECTORS, np.arange(5), 32, seed=0)) == [0, 1, 2, 3, 4]
