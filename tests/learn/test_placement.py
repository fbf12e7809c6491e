"""Placing a worker by a few probes, in a made-up world of three kinds of requests."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from fugu_adapters.learn.ability import sigmoid
from fugu_adapters.learn.difficulty import Difficulty, item_difficulty, loadings
from fugu_adapters.learn.placement import (
    Placement,
    add_profile,
    choose_probes,
    place,
    prior_placement,
    without,
)
from fugu_adapters.policies.selector import ClusterSelector
from fugu_adapters.policies.weights import Bundle, Settings, load_bundle, save_bundle

DOMAINS, PER, DIM = 3, 4, 16
K = DOMAINS * PER
DOMAIN = np.repeat(np.arange(DOMAINS), PER)


def unit(rows: NDArray[np.float64]) -> NDArray[np.float32]:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def make_world(workers: int = 12, seed: int = 0, **changes: object) -> Bundle:
    """Workers with an ability for each domain; clusters of a domain lie close together."""
    rng = np.random.default_rng(seed)
    centres = np.eye(DIM)[:DOMAINS] + 0.3 * np.eye(DIM)[DOMAINS]
    centroids = unit(centres[DOMAIN] + 0.08 * rng.normal(size=(K, DIM)))
    ability = 0.7 * rng.normal(size=(workers, 1)) + rng.normal(size=(workers, DOMAINS))
    p = sigmoid(ability[:, DOMAIN])
    bundle = Bundle(
        encoder="static-1",
        profiles=tuple(f"w{n}" for n in range(workers)),
        aliases={"first": "w0"},
        labels=tuple(f"domain {d}" for d in DOMAIN),
        settings=Settings(),
        centroids=centroids,
        area=DOMAIN.astype(np.float32),
        mass=np.full(K, 1 / K, dtype=np.float32),
        reach=np.full(K, 0.3, dtype=np.float32),
        p=np.ascontiguousarray(p, dtype=np.float32),
        sd=np.full((workers, K), 0.02, dtype=np.float32),
        level=np.ascontiguousarray(p, dtype=np.float32),
        count=np.full((workers, K), 100, dtype=np.float32),
        log_tokens=np.full((workers, K), np.log(100.0), dtype=np.float32),
        seconds=np.full((workers, K), 2.0, dtype=np.float32),
        crowd=np.zeros(K, dtype=np.float32),
        tier=np.array([0.0, 0.5, 0.8, 0.0], dtype=np.float32),
        provenance={"seed": seed},
    )
    return replace(bundle, **changes)  # type: ignore[arg-type]


def make_requests(bundle: Bundle, count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:  # fmt: skip
    """Vectors near the centroids, and the domain of each."""
    rng = np.random.default_rng(seed)
    cluster = rng.integers(K, size=count)
    return unit(bundle.centroids[cluster] + 0.05 * rng.normal(size=(count, DIM))), DOMAIN[cluster]


def answers(domain: NDArray[np.int64], seed: int, skill: tuple[float, ...]) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    return (rng.random(len(domain)) < sigmoid(np.array(skill))[domain]).astype(np.float64)


SPECIALIST = (2.5, -2.0, -2.0)
WORLD = make_world()
PRIOR = prior_placement(WORLD)


def by_domain(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([values[d == DOMAIN].mean() for d in range(DOMAINS)])


def probed(count: int, seed: int, *, chosen: bool = True, skill: tuple[float, ...] = SPECIALIST) -> Placement:  # fmt: skip
    """A worker after so many probes; two thirds of the candidates are of one domain."""
    vectors, domain = make_requests(WORLD, 600, seed)
    keep = (domain == 0) | (np.arange(600) % 4 == 0)
    vectors, domain = vectors[keep], domain[keep]
    index = (
        choose_probes(WORLD, vectors, count, PRIOR)
        if chosen
        else np.random.default_rng(seed).choice(len(vectors), count, replace=False)
    )
    scores = answers(domain, seed + 1, skill)
    return place(WORLD, PRIOR, vectors[index], scores[index])


def error(placed: Placement, skill: tuple[float, ...] = SPECIALIST) -> float:
    return float(np.abs(by_domain(placed.p) - sigmoid(np.array(skill))).mean())


def test_a_specialist_is_found_by_32_probes_and_not_by_three() -> None:
    """After 32 probes it is good at its domain alone; after three it is far from known."""
    many = np.mean([by_domain(probed(32, seed).p) for seed in range(10)], axis=0)
    assert many[0] > 0.75
    assert max(many[1:]) < 0.3
    few = [error(probed(3, seed)) for seed in range(10)]
    assert np.mean([error(probed(32, seed)) for seed in range(10)]) < 0.15 < 0.25 < np.mean(few)


def test_chosen_probes_beat_random_ones() -> None:
    """With equally many probes the chosen ones leave less uncertainty, and a smaller error on average."""
    rng = np.random.default_rng(0)
    skills = [tuple(0.7 * rng.normal() + rng.normal(size=DOMAINS)) for _ in range(60)]
    for count in (6, 12):
        chosen = [probed(count, seed, skill=skill) for seed, skill in enumerate(skills)]
        drawn = [probed(count, seed, skill=skill, chosen=False) for seed, skill in enumerate(skills)]  # fmt: skip
        assert np.mean([one.sd.mean() for one in chosen]) < np.mean([o.sd.mean() for o in drawn])
        errors = [
            np.mean([error(one, skill) for one, skill in zip(found, skills, strict=True)])
            for found in (chosen, drawn)
        ]
        assert errors[0] < errors[1]


def test_doubt_shrinks_with_every_probe() -> None:
    """No answer makes the logit of any cluster less certain, and the covariance stays one."""
    vectors, domain = make_requests(WORLD, 64, 3)
    scores = answers(domain, 4, SPECIALIST)
    before = np.diag(PRIOR.cov)
    for count in (1, 4, 16, 64):
        after = place(WORLD, PRIOR, vectors[:count], scores[:count])
        assert (np.diag(after.cov) <= before + 1e-9).all()
        assert np.linalg.eigvalsh(after.cov).min() > -1e-8
        assert after.count.sum() == count
        before = np.diag(after.cov)
    assert before.mean() < 0.5 * np.diag(PRIOR.cov).mean()


def test_probes_one_by_one_and_all_at_once_agree() -> None:
    """Laplace's approximation is refreshed at each answer, and still ends nearly where one step does."""
    vectors, domain = make_requests(WORLD, 24, 5)
    scores = answers(domain, 6, SPECIALIST)
    whole = place(WORLD, PRIOR, vectors, scores)
    step = PRIOR
    for n in range(24):
        step = place(WORLD, step, vectors[n : n + 1], scores[n : n + 1])
    np.testing.assert_allclose(step.p, whole.p, atol=0.08)
    assert place(WORLD, PRIOR, vectors[:0], scores[:0]) is PRIOR


def test_the_mode_is_where_the_gradient_vanishes() -> None:
    """The mean solves the equation of the posterior's mode, soft scores included."""
    vectors, _ = make_requests(WORLD, 10, 7)
    scores = np.linspace(0, 1, 10)
    after = place(WORLD, PRIOR, vectors, scores)
    carried = loadings(WORLD, vectors)
    pull = carried.T @ (scores - sigmoid(carried @ after.mean))
    np.testing.assert_allclose(after.mean - PRIOR.mean, PRIOR.cov @ pull, atol=1e-4)


def test_loadings_are_what_the_selector_carries_scores_by() -> None:
    """A row's logits carried by them give the selector's forecast, near the clusters."""
    vectors, _ = make_requests(WORLD, 20, 8)
    view = ClusterSelector(WORLD).forecast(vectors, ["w3"], [None])
    logit = np.log(WORLD.p[3] / (1 - WORLD.p[3]))
    np.testing.assert_allclose(view.p[:, 0], sigmoid(loadings(WORLD, vectors) @ logit), atol=2e-3)
    np.testing.assert_allclose(loadings(WORLD, vectors).sum(axis=1), 1.0, atol=1e-9)


def test_a_hard_item_that_is_missed_says_little() -> None:
    """Failing what everyone fails costs little; failing what everyone solves costs much."""
    vectors, _ = make_requests(WORLD, 8, 9)
    item, profile = np.repeat(np.arange(8), 12), np.tile(np.arange(12), 8)
    score = np.repeat(np.array([0.0] * 4 + [1.0] * 4), 12)
    found = item_difficulty(WORLD, vectors, item=item, profile=profile, score=score, sd=1.5)
    assert (found.mean[:4] > 1).all()
    assert (found.mean[4:] < -1).all()
    assert (found.var < 1.5**2).all()
    failed = np.zeros(4)
    hard, easy = np.arange(4), np.arange(4, 8)
    after_hard = place(WORLD, PRIOR, vectors[hard], failed, difficulty=found.of(hard))
    after_easy = place(WORLD, PRIOR, vectors[easy], failed, difficulty=found.of(easy))
    assert after_easy.p.mean() < after_hard.p.mean() - 0.1


def test_an_unknown_difficulty_changes_nothing() -> None:
    """With nothing known of the items beyond their prior spread, they count as average ones."""
    vectors, domain = make_requests(WORLD, 16, 10)
    scores = answers(domain, 11, SPECIALIST)
    unknown = item_difficulty(
        WORLD, vectors, item=np.zeros(0, dtype=int), profile=np.zeros(0, dtype=int),
        score=np.zeros(0), sd=PRIOR.settings.item_sd,
    )  # fmt: skip
    one = place(WORLD, PRIOR, vectors, scores, difficulty=unknown)
    np.testing.assert_allclose(one.mean, place(WORLD, PRIOR, vectors, scores).mean, atol=1e-6)


def test_probes_of_fitting_difficulty_are_preferred() -> None:
    """Of items alike in text, those that the worker solves half the time tell most."""
    vectors, _ = make_requests(WORLD, 30, 12)
    hopeless = np.arange(30) % 2 == 0
    level = Difficulty(mean=np.where(hopeless, 8.0, 0.0), var=np.full(30, 0.1))
    chosen = choose_probes(WORLD, vectors, 10, PRIOR, level)
    assert not hopeless[chosen].any()
    assert len(set(chosen.tolist())) == 10
    assert len(choose_probes(WORLD, vectors[:4], 10, PRIOR)) == 4


def test_probes_go_where_the_requests_are() -> None:
    """With all mass on one domain, most probes are of that domain."""
    vectors, domain = make_requests(WORLD, 200, 13)
    mass = (DOMAIN == 1) / PER
    chosen = choose_probes(WORLD, vectors, 8, PRIOR, mass=mass)
    assert (domain[chosen] == 1).mean() > 0.7


def test_choosing_is_greedy_on_the_belief_itself() -> None:
    """Each probe narrows the expected score as much as any can, by the covariance written out."""
    vectors, _ = make_requests(WORLD, 40, 20)
    carried, cov = loadings(WORLD, vectors), PRIOR.cov.copy()
    value = WORLD.mass * (PRIOR.p * (1 - PRIOR.p)) ** 2
    prior_var = np.einsum("nk,kl,nl->n", carried, cov, carried)
    right = sigmoid(carried @ PRIOR.mean / np.sqrt(1 + np.pi / 8 * prior_var))
    info, left = right * (1 - right), set(range(40))
    for index in choose_probes(WORLD, vectors, 12, PRIOR):
        after = {}
        for n in left:
            reach = cov @ carried[n]
            after[n] = cov - np.outer(reach, reach) * info[n] / (1 + info[n] * reach @ carried[n])
        doubt = {n: value @ np.diag(table) for n, table in after.items()}
        assert doubt[index] <= min(doubt.values()) * (1 + 1e-9)
        cov = after[index]
        left.remove(index)


def test_choosing_among_thousands_is_quick() -> None:
    """8,000 candidates take about as long as reading them; equal inputs give equal probes."""
    vectors, _ = make_requests(WORLD, 8_000, 14)
    began = time.perf_counter()
    chosen = choose_probes(WORLD, vectors, 32, PRIOR)
    assert time.perf_counter() - began < 30  # the plain way takes hours
    np.testing.assert_array_equal(chosen, choose_probes(WORLD, vectors, 32, PRIOR))


def test_the_prior_follows_the_list_price() -> None:
    """A dearer worker is expected to do better; an unknown price is an average one."""
    cheap, usual, dear = (prior_placement(WORLD, price=price) for price in (0.1, None, 10.0))
    assert cheap.p.mean() < usual.p.mean() < dear.p.mean()


def test_a_measured_row_keeps_its_certainty() -> None:
    """Its probes move it less than one that nothing is known of, and its outcomes stay counted."""
    own = prior_placement(WORLD, "w3")
    np.testing.assert_allclose(own.p, WORLD.p[3], atol=0.02)
    np.testing.assert_allclose(own.sd, 0.02, rtol=0.1)
    vectors, _ = make_requests(WORLD, 8, 15)
    moved = place(WORLD, own, vectors, np.zeros(8))
    fresh = place(WORLD, replace(PRIOR, mean=own.mean), vectors, np.zeros(8))
    assert np.abs(moved.p - own.p).mean() < 0.3 * np.abs(fresh.p - PRIOR.p).mean() + 0.02
    assert moved.count.sum() == 1_208


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_few_measured_workers_are_enough(workers: int) -> None:
    """Then an offset and a smooth surface stand for how workers differ."""
    world = make_world(workers)
    prior = prior_placement(world)
    assert np.linalg.eigvalsh(prior.cov).min() > 0
    vectors, domain = make_requests(world, 40, 16)
    placed = place(world, prior, vectors, (domain == 0).astype(float))
    found = by_domain(placed.p)
    assert found[0] > max(found[1:])


def test_reply_lengths_and_seconds_are_scaled_by_what_was_seen() -> None:
    """Replies ten times the usual length are expected anywhere, shrunk a little; unknown stays usual."""
    vectors, _ = make_requests(WORLD, 30, 17)
    scores, long = np.ones(30), np.full(30, 1_000.0)
    placed = place(WORLD, PRIOR, vectors, scores, tokens=long, seconds=np.full(30, 20.0))
    assert (np.exp(placed.log_tokens) > 700).all()
    assert (np.exp(placed.log_tokens) < 1_000).all()
    assert (placed.seconds > 14).all()
    same = place(WORLD, PRIOR, vectors, scores, tokens=np.full(30, np.nan))
    np.testing.assert_array_equal(same.log_tokens, PRIOR.log_tokens)
    np.testing.assert_array_equal(same.seconds, PRIOR.seconds)


def test_seconds_that_nobody_has_come_from_the_probes() -> None:
    """Where no profile has seconds, the probes' own are expected everywhere."""
    world = make_world(seconds=np.full((12, K), -1.0, dtype=np.float32))
    prior = prior_placement(world)
    assert (prior.seconds == -1).all()
    vectors, _ = make_requests(world, 4, 18)
    placed = place(world, prior, vectors, np.ones(4), seconds=np.full(4, 3.0))
    np.testing.assert_allclose(placed.seconds, 3.0)


def test_adding_and_removing_gives_the_same_bytes(tmp_path) -> None:
    """The files of a bundle that a worker came to and left are those it had before."""
    placed = add_profile(WORLD, "new", probed(32, 0), note={"base": "x", "probes": ["s/1"]})
    save_bundle(WORLD, tmp_path / "before")
    save_bundle(placed, tmp_path / "with")
    save_bundle(without(placed, "new"), tmp_path / "after")
    files = sorted(path.name for path in (tmp_path / "before").iterdir())
    for name in files:
        before, added, after = ((tmp_path / d / name).read_bytes() for d in ("before", "with", "after"))  # fmt: skip
        assert before == after
        assert before != added


def test_a_placed_worker_survives_the_disk_and_is_chosen(tmp_path) -> None:
    """Saved and loaded, the specialist takes its domain's requests and none of the others."""
    placed = add_profile(WORLD, "new", probed(32, 0), note={"base": "x", "probes": []})
    bundle = load_bundle(save_bundle(placed, tmp_path))
    assert bundle.profiles[-1] == "new"
    assert bundle.provenance["placed"]["new"]["base"] == "x"
    np.testing.assert_array_equal(bundle.p[:-1], WORLD.p)
    vectors, domain = make_requests(bundle, 60, 19)
    weak = [name for n, name in enumerate(WORLD.profiles) if by_domain(WORLD.p[n])[0] < 0.6][:2]
    view = ClusterSelector(bundle).forecast(vectors, [*weak, "new"], [None] * 3)
    assert (view.p[domain == 0].argmax(axis=1) == 2).all()
    assert view.measured.all()


def test_replacing_a_row_keeps_one() -> None:
    """Placing a worker again leaves one row of its name; aliases of a removed one go with it."""
    twice = add_profile(add_profile(WORLD, "new", PRIOR), "new", probed(8, 1))
    assert twice.profiles.count("new") == 1
    assert len(twice.p) == 13
    assert "first" not in without(twice, ["w0", "new"]).aliases
    assert without(twice, ["w0", "new"]).profiles == WORLD.profiles[1:]


def test_tables_kept_by_columns_are_written_right(tmp_path) -> None:
    """Safetensors writes the memory as it lies; a table in column order must not be shuffled by it."""
    world = make_world(p=np.asfortranarray(WORLD.p))
    bundle = load_bundle(save_bundle(without(world, "w11"), tmp_path))
    np.testing.assert_array_equal(bundle.p, WORLD.p[:-1])
