from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from fugu_adapters.config import Price
from fugu_adapters.errors import PolicyError
from fugu_adapters.policies.rule import Arm, Expected, Forecast, choose, choose_many
from fugu_adapters.policies.selector import TOLERANCE, ClusterSelector
from fugu_adapters.policies.weights import Bundle, Settings, default_bundle

KNOWLEDGE, ARITHMETIC, CODE = (np.eye(4, dtype=np.float32)[axis] for axis in range(3))
STRANGE = np.eye(4, dtype=np.float32)[3]


def arm(worker: str, profile: str | None, out: float | None = None, **more: object) -> Arm:
    price = None if out is None else Price(input=out / 4, output=out)
    return Arm(worker=worker, profile=profile, price=price, input_tokens=100, **more)  # type: ignore[arg-type]


OPUS = arm("opus", "claude-opus-4.5@high", 25.0)
CHEAP = arm("cheap", "cheap-1b", 0.1)
PYTHON = arm("python", "python-7b@python", 0.2)


def anchor_of(selector: ClusterSelector, vector: NDArray[np.float32], pool: list[Arm]) -> str:
    view = selector.forecast(vector[None], [a.profile for a in pool], [None] * len(pool))
    return pool[int(view.anchor[0])].worker


def test_each_kind_of_request_goes_to_the_worker_that_is_good_at_it(bundle: Bundle) -> None:
    """The same pool sends knowledge to one worker and arithmetic to another."""
    selector = ClusterSelector(bundle)
    pool = [OPUS, CHEAP, PYTHON]
    assert selector.decide(KNOWLEDGE, pool, tolerance=0.0).candidates[0].worker == "opus"
    assert selector.decide(ARITHMETIC, pool, tolerance=0.0).candidates[0].worker == "python"


def test_tolerance_buys_the_cheapest_that_is_good_enough(bundle: Bundle) -> None:
    """Within the tolerance the cheaper worker is taken, outside it the better one."""
    selector = ClusterSelector(bundle)
    pool = [OPUS, CHEAP]
    assert selector.decide(ARITHMETIC, pool, tolerance=0.01).candidates[0].worker == "opus"
    choice = selector.decide(ARITHMETIC, pool, tolerance=0.05)
    assert choice.candidates[0].worker == "cheap"
    assert "opus would be 2 points better at" in choice.reason


def test_without_evidence_the_anchor_stays(bundle_with: Callable[..., Bundle]) -> None:
    """A gain that is within the noise does not move the choice from the area's best worker."""
    noisy = bundle_with(sd=np.full((5, 3), 0.5, dtype=np.float32))
    for price in (None, 25.0, 50.0):
        pool = [arm("opus", OPUS.profile, 25.0), arm("python", PYTHON.profile, price)]
        choice = ClusterSelector(noisy).decide(ARITHMETIC, pool, tolerance=0.0)
        assert choice.candidates[0].worker == "opus"
    assert "python may be better, but the evidence does not carry it" in choice.reason


def test_workers_are_compared_where_all_of_them_were_seen(
    bundle_with: Callable[..., Bundle],
) -> None:
    """Within an area a guess far from a worker's own outcomes does not decide who anchors it."""
    plain = bundle_with()
    opus, python = (plain.index[a.profile or ""] for a in (OPUS, PYTHON))
    level, count = plain.level.copy(), plain.count.copy()
    level[opus, :2], level[python, :2] = (0.9, 0.6), (0.5, 0.8)  # one area, two clusters
    count[opus, 0] = 0.0  # never asked there: 0.9 is a guess
    pool = [OPUS, PYTHON]
    guessed = ClusterSelector(bundle_with(level=level, count=count))
    assert anchor_of(guessed, KNOWLEDGE, pool) == anchor_of(guessed, ARITHMETIC, pool) == "python"
    seen = ClusterSelector(bundle_with(level=level))
    assert anchor_of(seen, KNOWLEDGE, pool) == "opus"


def test_a_worker_placed_by_a_few_probes_is_compared_everywhere(
    bundle_with: Callable[..., Bundle],
) -> None:
    """Fewer outcomes than clusters say nothing of where a worker was seen."""
    plain, k = bundle_with(), 40
    opus, python = (plain.index[a.profile or ""] for a in (OPUS, PYTHON))
    wide = {n: np.repeat(getattr(plain, n)[:, :1], k, axis=1) for n in ("p", "sd", "count", "seconds")}  # fmt: skip
    flat = {n: np.repeat(getattr(plain, n)[:1], k) for n in ("reach", "crowd")}
    level = wide["p"].copy()
    level[opus], level[python] = 0.9, 0.5
    level[opus, 7] = 0.2  # where its probes are
    wide["count"][opus] = 0.0
    wide["count"][opus, 7] = 30.0
    bundle = bundle_with(
        **wide, **flat, level=level, centroids=np.eye(k, dtype=np.float32), area=np.zeros(k),
        mass=np.full(k, 1 / k, dtype=np.float32), labels=("any",) * k, log_tokens=wide["p"],
    )  # fmt: skip
    assert anchor_of(ClusterSelector(bundle), bundle.centroids[0], [OPUS, PYTHON]) == "opus"


def test_a_request_unlike_all_training_is_judged_by_averages(bundle: Bundle) -> None:
    """Far from every cluster the expected score is the average over clusters, with a wide interval."""
    choice = ClusterSelector(bundle).decide(STRANGE, [PYTHON, OPUS], tolerance=0.0)
    first = choice.candidates[0]
    assert first.worker == "opus"
    assert first.p_success == pytest.approx(0.5 * 0.9 + 0.3 * 0.6 + 0.2 * 0.8, abs=1e-3)
    assert first.interval is not None
    assert first.interval[1] - first.interval[0] > 0.2
    assert "Unlike the training requests" in choice.reason


def test_an_unknown_worker_gets_a_prior_by_price_and_says_so(bundle: Bundle) -> None:
    """Without a profile, a dearer worker is expected to do better, and both are uncalibrated."""
    pool = [arm("dear", None, 30.0), arm("low", None, 0.3)]
    choice = ClusterSelector(bundle).decide(CODE, pool, tolerance=0.0)
    dear, low = choice.candidates
    assert (dear.worker, dear.calibrated, low.calibrated) == ("dear", False, False)
    assert (dear.p_success or 0) > (low.p_success or 0)
    assert "uncalibrated" in choice.reason


def test_a_guess_is_never_taken_for_its_price_alone(bundle: Bundle) -> None:
    """A worker without outcomes must be within tolerance at 90 % confidence to be preferred."""
    choice = ClusterSelector(bundle).decide(
        CODE, [OPUS, arm("new", "listed-only", 0.1)], tolerance=TOLERANCE["low"]
    )
    assert choice.candidates[0].worker == "opus"
    assert choice.candidates[1].calibrated is False


def test_excluded_workers_come_last_with_their_reason(bundle: Bundle) -> None:
    """An excluded worker is listed after all others and never chosen, however good."""
    shut = arm("opus", "claude-opus-4.5@high", 25.0, excluded_because="opted out")
    choice = ClusterSelector(bundle).decide(KNOWLEDGE, [shut, PYTHON, CHEAP], tolerance=0.0)
    assert [c.worker for c in choice.candidates] == ["cheap", "python", "opus"]
    assert choice.candidates[-1].excluded_because == "opted out"
    assert choice.candidates[-1].p_success is None


def test_nobody_left_is_an_error_that_names_the_reasons(bundle: Bundle) -> None:
    """With every worker excluded the error lists who and why."""
    shut = arm("opus", None, excluded_because="no images")
    with pytest.raises(PolicyError, match="'opus': no images"):
        ClusterSelector(bundle).decide(KNOWLEDGE, [shut], tolerance=0.0)
    with pytest.raises(PolicyError, match="the pool is empty"):
        ClusterSelector(bundle).decide(KNOWLEDGE, [], tolerance=0.0)


def test_a_vector_of_another_encoder_is_refused(bundle: Bundle) -> None:
    """A vector of the wrong length is an error that names the encoder."""
    with pytest.raises(PolicyError, match="toy-1"):
        ClusterSelector(bundle).decide(np.ones(7, dtype=np.float32), [OPUS], tolerance=0.0)


def test_cost_counts_predicted_tokens_up_to_the_bound(bundle: Bundle) -> None:
    """Expected cost is prompt plus predicted reply at list price; a shorter bound lowers it."""
    selector = ClusterSelector(bundle)
    free = selector.decide(KNOWLEDGE, [OPUS], tolerance=0.0).candidates[0].cost_usd
    assert free == pytest.approx((100 * 6.25 + 201 * 25) / 1e6, rel=0.01)
    bound = arm("opus", "claude-opus-4.5@high", 25.0, max_output_tokens=50)
    held = selector.decide(KNOWLEDGE, [bound], tolerance=0.0).candidates[0].cost_usd
    assert held == pytest.approx((100 * 6.25 + 50 * 25) / 1e6)


def test_unknown_price_is_never_the_cheap_choice(bundle: Bundle) -> None:
    """A worker of unknown price is not preferred over a priced one within tolerance."""
    pool = [arm("unpriced", "cheap-1b"), OPUS]
    choice = ClusterSelector(bundle).decide(ARITHMETIC, pool, tolerance=0.05)
    assert choice.candidates[0].worker == "opus"
    assert choice.candidates[1].cost_usd is None


def test_equal_cost_is_decided_by_measured_latency(bundle: Bundle) -> None:
    """Among workers of one price within tolerance the fastest is taken."""
    pool = [
        arm("slow", "claude-opus-4.5@high", 0.0, latency_s=9.0),
        arm("fast", "cheap-1b", 0.0, latency_s=1.0),
    ]
    choice = ClusterSelector(bundle).decide(ARITHMETIC, pool, tolerance=0.05)
    assert (choice.candidates[0].worker, choice.candidates[0].latency_s) == ("fast", 1.0)


def test_the_same_input_gives_the_same_choice(bundle: Bundle) -> None:
    """Deciding twice, also in another instance, gives equal records."""
    pool = [OPUS, CHEAP, PYTHON]
    first = ClusterSelector(bundle).decide(CODE, pool, tolerance=0.03)
    assert ClusterSelector(bundle).decide(CODE, pool, tolerance=0.03) == first


def test_intervals_hold_the_estimate_and_stay_within_bounds(
    bundle_with: Callable[..., Bundle],
) -> None:
    """Every interval lies within 0 to 1 around its estimate, also at the edges."""
    edgy = bundle_with(p=np.tile(np.float32([0.999, 0.001, 0.5]), (5, 1)))
    for vector in (KNOWLEDGE, ARITHMETIC, CODE):
        for candidate in (
            ClusterSelector(edgy).decide(vector, [OPUS, CHEAP], tolerance=0.0).candidates
        ):
            assert candidate.interval is not None
            assert candidate.p_success is not None
            low, high = candidate.interval
            assert 0.0 <= low <= candidate.p_success + 1e-3
            assert candidate.p_success - 1e-3 <= high <= 1.0


def test_ability_is_known_only_where_measured(bundle: Bundle) -> None:
    """The average over the training mix, and None for a profile without outcomes."""
    selector = ClusterSelector(bundle)
    assert selector.ability("cheap-1b") == pytest.approx(0.5 * 0.6 + 0.3 * 0.58 + 0.2 * 0.2)
    assert selector.ability("listed-only") is None
    assert selector.ability("nobody") is None


@pytest.mark.parametrize("tolerance", [0.0, 0.005, 0.2])
def test_the_rule_is_the_same_for_one_request_and_for_many(tolerance: float) -> None:
    """Unknown, equal and zero prices and times included."""
    rng = np.random.default_rng(7)
    rows, pool = 400, 6
    p, sd = rng.uniform(0.2, 0.9, (rows, pool)), rng.uniform(0.0, 0.15, (rows, pool))
    seconds = rng.choice([np.nan, 1.0, 2.0, 30.0], (rows, pool))
    cost = rng.choice([np.nan, 0.0, 1e-4, 1e-3, 0.5], (rows, pool))
    view = Forecast(
        p=p,
        sd=sd,
        tokens=np.ones((rows, pool)),
        seconds=seconds,
        measured=np.array([True, True, False, True, False, True]),
        anchor=rng.integers(0, pool, rows),
        cluster=np.zeros(rows, dtype=np.int64),
        inside=np.ones(rows, dtype=np.bool_),
    )
    settings = Settings(nearest=2, temperature=0.1, width=3.0, area_z=0.5, gain_z=1.0, loss_z=0.5)
    chosen, reference = choose_many(view, cost, tolerance=tolerance, settings=settings)
    for row in range(rows):
        columns = (p[row], sd[row], view.tokens[row], seconds[row], cost[row], view.measured)
        expected = [
            Expected(OPUS, *values)
            for values in zip(*(column.tolist() for column in columns), strict=True)
        ]
        one = choose(expected, int(view.anchor[row]), tolerance=tolerance, settings=settings)
        assert one == (chosen[row], reference[row])
    assert len({*chosen}) == pool


def test_the_forecast_is_the_same_for_one_request_and_for_many() -> None:
    """Near a cluster, between clusters and far from all; of measured and of unknown workers."""
    selector = ClusterSelector(default_bundle("selector"))
    bundle = selector.bundle
    rng = np.random.default_rng(3)
    centres = bundle.centroids[rng.integers(0, len(bundle.centroids), 60)]
    noise = rng.normal(size=centres.shape) * np.repeat([0.01, 0.08, 1.0], 20)[:, None]
    vectors = (centres + noise).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    profiles, prices = [*bundle.profiles[:5], None], [None, 1.0, 5.0, None, 0.2, 3.0]
    many = selector.forecast(vectors, profiles, prices)
    assert 5 < many.inside.sum() < 60
    for row, vector in enumerate(vectors):
        one = selector.forecast_one(vector, profiles, prices)
        for name in ("p", "sd", "tokens", "seconds"):
            np.testing.assert_allclose(getattr(one, name), getattr(many, name)[row], rtol=2e-5)
        for name in ("anchor", "cluster", "inside"):
            assert getattr(one, name) == getattr(many, name)[row]
