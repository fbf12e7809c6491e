"""The selector: a request's vector and the pool's workers in, an ordered choice with reasons out.

Pure: the same vector, arms, tolerance and bundle give the same bytes. A worker is its row of expected
scores at the centroids of clusters, so that a pool may change at any time.

The rule:

1. Each worker's expected score is carried from the centroids to the request: the posterior mean of the
   Gaussian process in ``learn/ability.py``, on the logit scale. A worker without a profile gets a prior
   from its list price, moved by how well its description fits the request (``descriptions.py``).
2. The *anchor* is the pool's best worker over the area, the group of clusters that the nearest one
   belongs to; clusters count by the outcomes that all of the pool's workers have there. The *reference* is the best worker whose expected gain over the anchor exceeds ``gain_z``
   standard deviations, else the anchor itself.
3. What a worker saves, as a share of the reference's price (of its time where prices are equal), is worth
   that share of the tolerance. The worker is chosen for which this exceeds its expected loss against the
   reference (plus ``loss_z`` standard deviations) most. So no more than the tolerance is ever given up, and
   that only for a reply that costs next to nothing: a Lagrangian of cost, in each request's own prices.

A request farther from its nearest cluster than nearly all of that cluster's own training items is
judged, the farther the more, by the workers' averages over all clusters: no evidence, no deviation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fugu_adapters.errors import PolicyError
from fugu_adapters.policies.clusters import likeness, soft_assign
from fugu_adapters.policies.descriptions import NOTHING_FITS, fit_reason, shift
from fugu_adapters.policies.rule import Z90, Arm, Expected, Forecast, choose
from fugu_adapters.policies.weights import Bundle, logit
from fugu_adapters.types import Candidate, Effort

__all__ = ["TOLERANCE", "Choice", "ClusterSelector", "trust_of"]

Floats = NDArray[np.float32]

TOLERANCE: dict[Effort, float] = {"low": 0.06, "medium": 0.005, "high": 0.002, "xhigh": 0.0}
"""Expected score that each effort would give up for a free reply. ``xhigh`` gives up nothing."""

_STRANGE = 0.6  # of a cluster's reach: from there down its scores say nothing of a request
_UNSEEN = 0.1  # outcomes that a cluster counts for where a worker has none
_SAME = 1e-6  # between scores: what sums differ by in another order
_MEASURED = 20  # outcomes from which a profile counts as calibrated


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """What the selector decided.

    Attributes:
        candidates: the chosen one first, then by expected score, excluded ones last.
        reason: one sentence for people.
    """

    candidates: tuple[Candidate, ...]
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Columns:
    """Rows of the bundle for one pool, with priors where there is none; computed once per pool."""

    carry: NDArray[
        np.float64
    ]  # [K, A]: from likeness to centroids to what a worker is better there than on average, in logits
    spread: Floats  # [K, 3, A]: standard deviations, tokens, seconds (negative where unknown) at the centroids
    mean_logit: Floats  # [A], over the training mix
    mean_p: Floats  # [A], over the training mix
    mean_sd: Floats
    mean_tokens: Floats  # [A], geometric: a few agent tasks are a thousand times longer
    measured: NDArray[np.bool_]  # [A]
    best: int  # over the training mix
    anchor: NDArray[np.int64]  # [K], over the area of each cluster


class Outlook(NamedTuple):
    """Predictions for one request, see ``Forecast``, as plain numbers: lists are ``[A]``."""

    p: list[float]
    sd: list[float]
    tokens: list[float]
    seconds: list[float]
    measured: list[bool]
    anchor: int
    cluster: int
    inside: bool


class ClusterSelector:
    """Chooses workers with a bundle's profiles. Safe to share between threads."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self._columns: dict[tuple[tuple[str | None, float | None], ...], _Columns] = {}
        self._outcomes = bundle.count.sum(axis=0)

    @property
    def name(self) -> str:
        """What traces call it: the policy and the bundle's digest."""
        return f"selector:{self.bundle.digest[:12] or 'unsaved'}"

    def ability(self, profile: str) -> float | None:
        """Expected score over the training mix, or ``None`` where the profile has no measured outcomes."""
        if not self._is_measured(profile):
            return None
        return float(self.bundle.p[self.bundle.index[profile]] @ self.bundle.mass)

    def decide(self, vector: Floats, arms: Sequence[Arm], *, tolerance: float) -> Choice:
        """Order a pool's workers for one request.

        Args:
            vector: float32 ``[D]``, of unit length, from the bundle's encoder.
            arms: the pool; excluded ones are carried along and come last.
            tolerance: expected score that may be given up for a free reply, 0 to 1.

        Raises:
            PolicyError: where no arm may be chosen, or the vector does not fit the bundle.
        """
        open_arms = [arm for arm in arms if arm.excluded_because is None]
        if not open_arms:
            why = "; ".join(f"{arm.worker!r}: {arm.excluded_because}" for arm in arms)
            raise PolicyError(f"no worker can take this request ({why or 'the pool is empty'})")
        view = self.forecast_one(
            vector,
            [arm.profile for arm in open_arms],
            [None if arm.price is None else arm.price.output for arm in open_arms],
        )
        for column, arm in enumerate(open_arms):
            if arm.latency_s:
                view.seconds[column] = arm.latency_s
        fits = {arm.worker: arm.fit for arm in open_arms if arm.fit is not None}
        if fits:
            view = self._described(view, [arm.fit for arm in open_arms])
        expected = _expected(open_arms, view)
        first, reference = choose(
            expected, view.anchor, tolerance=tolerance, settings=self.bundle.settings
        )
        candidates = [_candidate(one) for one in expected]
        order = sorted(range(len(expected)), key=lambda n: (n != first, -expected[n].p))
        ranked = [candidates[column] for column in order]
        shut = [
            Candidate(worker=arm.worker, excluded_because=arm.excluded_because)
            for arm in arms
            if arm.excluded_because is not None
        ]
        best = candidates[reference]
        told = fits if _by_text(expected, first) else {}
        return Choice(candidates=(*ranked, *shut), reason=self._reason(view, ranked, best, told))

    def forecast(
        self, vectors: Floats, profiles: Sequence[str | None], prices: Sequence[float | None]
    ) -> Forecast:
        """Predict scores, tokens and seconds of many requests at once.

        Args:
            vectors: float32 ``[n, D]``, unit rows.
            profiles: profile of each worker, or ``None``, ``[A]``.
            prices: output price of each worker, dollars per million tokens, or ``None``, ``[A]``.
        """
        bundle, settings = self.bundle, self.bundle.settings
        pool = self._pool(tuple(zip(profiles, prices, strict=True)))
        cosine = vectors @ bundle.centroids.T
        index, weight = soft_assign(
            cosine, nearest=settings.nearest, temperature=settings.temperature
        )
        cluster = index[:, 0]
        trust = _trust(cosine[np.arange(len(cosine)), cluster], bundle.reach[cluster])
        inside = trust >= 0.5
        trust = trust[:, None]
        doubt = 1.0 - trust
        rise = (likeness(cosine, settings.width) @ pool.carry).astype(np.float32)
        p = trust / (1.0 + np.exp(-(pool.mean_logit + rise))) + doubt * pool.mean_p
        sd, tokens, seconds = np.einsum("nm,nmta->tna", weight, pool.spread[index])
        seconds[seconds < 0] = np.nan
        return Forecast(
            p=p,
            sd=trust * sd + doubt * pool.mean_sd,
            tokens=tokens**trust * pool.mean_tokens**doubt,
            seconds=seconds,
            measured=pool.measured,
            anchor=np.where(inside, pool.anchor[cluster], pool.best),
            cluster=cluster,
            inside=inside,
        )

    def forecast_one(
        self, vector: Floats, profiles: Sequence[str | None], prices: Sequence[float | None]
    ) -> Outlook:
        """:meth:`forecast` of a single request, ``[D]``, with few calls of numpy, which are what it costs.

        Raises:
            PolicyError: where the vector does not fit the bundle.
        """
        bundle, settings = self.bundle, self.bundle.settings
        pool = self._pool(tuple(zip(profiles, prices, strict=True)))
        if vector.shape != bundle.centroids.shape[1:]:
            raise self._unfit(vector)
        cosine = bundle.centroids @ vector
        index = cosine.argpartition(-settings.nearest)[-settings.nearest :]
        near = cosine[index].tolist()
        nearest = max(near)
        if not math.isfinite(nearest):  # as it is where any number of the vector is not
            raise self._unfit(vector)
        cluster = int(index[near.index(nearest)])
        odds = [math.exp((each - nearest) / settings.temperature) for each in near]
        weight = np.array(odds, dtype=np.float32) / np.float32(sum(odds))
        share = (nearest / float(bundle.reach[cluster]) - _STRANGE) / (1.0 - _STRANGE)
        trust = min(max(share, 0.0), 1.0)
        doubt, inside = 1.0 - trust, trust >= 0.5
        rise = (likeness(cosine, settings.width) @ pool.carry).tolist()
        there = weight @ pool.spread[index].reshape(len(near), -1)
        sd, tokens, seconds = there.reshape(3, -1).tolist()
        on_average = zip(rise, pool.mean_logit.tolist(), pool.mean_p.tolist(), strict=True)
        return Outlook(
            # the logistic function, as it cannot overflow
            p=[
                trust * 0.5 * (1.0 + math.tanh(0.5 * (z + more))) + doubt * mean
                for more, z, mean in on_average
            ],
            sd=[
                trust * each + doubt * mean
                for each, mean in zip(sd, pool.mean_sd.tolist(), strict=True)
            ],
            tokens=[
                each**trust * mean**doubt
                for each, mean in zip(tokens, pool.mean_tokens.tolist(), strict=True)
            ],
            seconds=[each if each >= 0 else math.nan for each in seconds],
            measured=pool.measured.tolist(),
            anchor=int(pool.anchor[cluster]) if inside else pool.best,
            cluster=cluster,
            inside=inside,
        )

    def _unfit(self, vector: Floats) -> PolicyError:
        return PolicyError(
            f"expected a vector of {self.bundle.centroids.shape[1]} finite numbers from encoder "
            f"{self.bundle.encoder!r}, got shape {vector.shape}"
        )

    def _described(self, view: Outlook, fits: Sequence[float | None]) -> Outlook:
        """The forecast for one request, moved by the descriptions.

        The anchor moves to the described worker that is expected to be best: among guesses, among workers
        of one profile, and from a measured worker to a guess where the text speaks for that. Deviations do
        not count here: how able the workers are is the same for the next request.
        """
        before = np.array(view.p)
        p, sd = shift(before, np.array(view.sd), fits, spread=float(self.bundle.tier[2]))
        known = np.array([-np.inf if fit is None else fit for fit in fits])
        measured, anchor = np.array(view.measured), view.anchor
        alike = np.abs(before - before[anchor]) < _SAME
        least = np.where(measured[anchor] & ~alike, 0.0, NOTHING_FITS)
        free = (known > least) & (alike | ~measured)
        best = int(np.argmax(np.where(free, p, -1.0)))
        if free[best] and p[best] > p[anchor] + _SAME:
            anchor = best
        return view._replace(p=p.tolist(), sd=sd.tolist(), anchor=anchor)

    def _pool(self, key: tuple[tuple[str | None, float | None], ...]) -> _Columns:
        known = self._columns.get(key)
        if known is None:
            if len(self._columns) >= 256:  # a pool and its subsets; opt-outs make a few
                self._columns.clear()
            known = self._columns[key] = self._gather(key)
        return known

    def _gather(self, key: tuple[tuple[str | None, float | None], ...]) -> _Columns:
        bundle = self.bundle
        rows = [bundle.index.get(profile, -1) if profile else -1 for profile, _ in key]
        take = np.array(rows)
        p, sd, level, tokens, seconds = (
            table[take].copy()
            for table in (bundle.p, bundle.sd, bundle.level, np.exp(bundle.log_tokens), bundle.seconds)
        )  # fmt: skip
        for place, (row, (_, price)) in enumerate(zip(rows, key, strict=True)):
            if row < 0:
                p[place], sd[place] = self._prior(price)
                level[place] = 1.0 / (1.0 + np.exp(-logit(p[place]) - bundle.lift))
                tokens[place] = np.exp(np.median(bundle.log_tokens, axis=0))
                seconds[place] = -1.0
        mean_p = p @ bundle.mass
        within = ((p - mean_p[:, None]) ** 2) @ bundle.mass
        mean_sd = np.sqrt(within + (sd**2) @ bundle.mass)
        measured = np.array([self._is_measured(profile) for profile, _ in key])
        handicap = np.where(
            measured.any() & ~measured, 1.0, 0.0
        )  # a guess anchors no pool that has better
        shared = self._shared(take[measured])
        best = int(np.argmax(level @ shared - handicap))
        z = logit(p)
        mean_logit = z @ bundle.mass
        return _Columns(
            carry=bundle.carry @ (z - mean_logit[:, None]).T,
            spread=np.stack([sd, tokens, seconds]).transpose(2, 0, 1).copy(),
            mean_logit=mean_logit,
            mean_p=mean_p,
            mean_sd=mean_sd.astype(np.float32),
            mean_tokens=np.exp(np.log(tokens) @ bundle.mass).astype(np.float32),
            measured=measured,
            best=best,
            anchor=self._anchors(level - handicap[:, None], sd, shared, best),
        )

    def _shared(self, rows: NDArray[np.int64]) -> Floats:
        """How much each cluster tells of these profiles' order: harmonic means of their outcomes, ``[K]``.

        Workers are compared where all were seen. Elsewhere a score is a guess from other requests; of a
        worker that was placed by a few probes it is that everywhere.
        """
        count, mass = self.bundle.count[rows], self.bundle.mass
        count = count[count.sum(axis=1) >= len(mass)]
        if not len(count):
            return mass
        outcomes = 1.0 / np.mean(1.0 / (count + _UNSEEN * mass * len(mass)), axis=0)
        share: Floats = (outcomes / outcomes.sum()).astype(np.float32)
        return share

    def _anchors(self, level: Floats, sd: Floats, shared: Floats, best: int) -> NDArray[np.int64]:
        """The worker to stay with by default, for each cluster: its area's best, where that is proven."""
        area = self.bundle.area.astype(np.int64)
        share = np.zeros((len(area), int(area.max()) + 1), dtype=np.float32)
        share[np.arange(len(area)), area] = shared
        share /= share.sum(axis=0)
        level, sd = level @ share, sd @ share
        gain = level - level[best]
        # An area's mean is known better than its points are: about twice as well.
        proven = gain > 0.5 * self.bundle.settings.area_z * np.sqrt(sd**2 + sd[best] ** 2)
        proven[best] = True
        top: NDArray[np.int64] = np.argmax(np.where(proven, gain, -np.inf), axis=0)
        return top[area]

    def _prior(self, price: float | None) -> tuple[Floats, Floats]:
        """Expected score of a worker without a profile, and how little that says."""
        intercept, slope, spread, centre = (float(value) for value in self.bundle.tier)
        shift = intercept
        if price:
            shift += slope * (math.log10(price) - centre)
        else:
            spread *= 1.5
        p = 1.0 / (1.0 + np.exp(-(self.bundle.crowd + shift)))
        return p, p * (1 - p) * spread

    def _is_measured(self, profile: str | None) -> bool:
        row = None if profile is None else self.bundle.index.get(profile)
        return row is not None and float(self.bundle.count[row].sum()) >= _MEASURED

    def _reason(
        self,
        view: Outlook,
        ranked: Sequence[Candidate],
        best: Candidate,
        fits: Mapping[str, float],
    ) -> str:
        cluster, first = view.cluster, ranked[0]
        guess = "catalogue facts"
        if fits and max(fits.values()) <= NOTHING_FITS:
            like = "Fits no description, so judged by what else is known"
        elif first.worker in fits:
            like, guess = fit_reason(fits, first.worker), "its description"
        elif view.inside:
            outcomes = int(self._outcomes[cluster])
            like = f"Looks like {self.bundle.labels[cluster]} (cluster {cluster}, {outcomes:,} outcomes)"
        else:
            like = "Unlike the training requests, so judged by the workers' averages"
        note = "" if first.calibrated else f", uncalibrated: a guess from {guess}"
        said = (
            f"{like}; {first.worker} is expected right {first.p_success or 0:.2f} of the time{note}"
        )
        if len(ranked) == 1:
            return f"{said}; no other worker can take this request."
        if best.worker != first.worker:
            return f"{said}; {best.worker} would be {_points(best, first)}{_times(best, first)}."
        rival = max(ranked[1:], key=lambda c: c.p_success or 0.0)
        if (rival.p_success or 0.0) > (first.p_success or 0.0):
            return f"{said}; {rival.worker} may be better, but the evidence does not carry it."
        return f"{said}, the best of the pool."


def _expected(arms: Sequence[Arm], view: Outlook) -> list[Expected]:
    """The forecast for a single request, by worker."""
    columns = (view.p, view.sd, view.tokens, view.seconds, view.measured)
    made = []
    for arm, p, sd, t, seconds, measured in zip(arms, *columns, strict=True):
        bound = math.inf if arm.max_output_tokens is None else arm.max_output_tokens
        tokens = math.ceil(min(t, bound))
        cost = math.nan if arm.price is None else arm.price.cost(arm.input_tokens, tokens)
        made.append(Expected(arm, p, sd, tokens, seconds, cost, measured))
    return made


def _candidate(one: Expected) -> Candidate:
    """As it is told to people: rounded."""
    return Candidate(
        worker=one.arm.worker,
        p_success=round(one.p, 4),
        interval=_interval(one.p, one.sd),
        cost_usd=None if math.isnan(one.cost) else one.cost,
        latency_s=None if math.isnan(one.seconds) else round(one.seconds, 3),
        output_tokens=one.tokens,
        calibrated=one.measured,
    )


def _by_text(expected: Sequence[Expected], first: int) -> bool:
    """Whether descriptions decide on this worker: it is a guess, or not the only one of its profile."""
    arm = expected[first].arm
    twins = sum(one.arm.profile == arm.profile and one.arm.fit is not None for one in expected)
    return not expected[first].measured or (arm.fit is not None and twins > 1)


def trust_of(bundle: Bundle, vectors: Floats, cluster: NDArray[np.int64]) -> Floats:
    """How far requests are like their nearest cluster: 1 within its reach, 0 where only averages count.

    Args:
        bundle: centroids and their reach.
        vectors: of the requests, unit rows, ``[n, D]``.
        cluster: nearest cluster of each, ``[n]``.
    """
    nearest = np.einsum("nd,nd->n", vectors, bundle.centroids[cluster])
    return _trust(nearest, bundle.reach[cluster])


def _trust(cosine: Floats, reach: Floats) -> Floats:
    share: Floats = (cosine / reach - _STRANGE) / (1.0 - _STRANGE)
    return np.minimum(np.maximum(share, 0.0), 1.0)  # np.clip is slow


def _interval(p: float, sd: float) -> tuple[float, float]:
    """90 % interval, taken on the logit scale so that it stays within 0 and 1."""
    p = min(max(p, 1e-3), 1 - 1e-3)
    centre, reach = math.log(p / (1 - p)), Z90 * sd / (p * (1 - p))
    low, high = (1 / (1 + math.exp(-max(-30.0, min(30.0, centre + s * reach)))) for s in (-1, 1))
    return round(low, 4), round(high, 4)


def _points(best: Candidate, first: Candidate) -> str:
    points = round(100 * ((best.p_success or 0.0) - (first.p_success or 0.0)))
    if points <= 0:
        return "no better"
    return f"{points} point{'s' if points > 1 else ''} better"


def _times(best: Candidate, first: Candidate) -> str:
    if best.cost_usd and first.cost_usd:
        times = best.cost_usd / first.cost_usd
        return (
            f" at {times:.1f} times the price"
            if times < 10
            else f" at {times:,.0f} times the price"
        )
    if best.cost_usd is not None and first.cost_usd is not None:
        return " at a higher price" if best.cost_usd > first.cost_usd else " at the same price"
    return " at an unknown price" if best.cost_usd is None else ""
