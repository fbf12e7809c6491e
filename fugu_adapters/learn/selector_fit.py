"""Fitting the selector's bundle from outcomes: clusters, abilities, reply lengths, seconds, price prior."""

from __future__ import annotations

import collections
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fugu_adapters.encoders import DEFAULT_ENCODER, Vectors, load_encoder
from fugu_adapters.errors import InputError
from fugu_adapters.evaluate.data import Dataset, Facts, read_dataset
from fugu_adapters.evaluate.metrics import calibration_error
from fugu_adapters.learn.ability import AbilitySettings, fit_ability
from fugu_adapters.learn.features import Progress, encode_cached
from fugu_adapters.learn.length import expected_log_tokens, expected_seconds
from fugu_adapters.policies.aliases import ALIASES
from fugu_adapters.policies.clusters import assign, kmeans
from fugu_adapters.policies.selector import ClusterSelector
from fugu_adapters.policies.weights import SHARED, Bundle, Settings, load_bundle, save_bundle

__all__ = ["FitSettings", "encode_items", "fit_selector", "train"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_MIN_OUTCOMES = 20
_FEW = 20  # items of a cluster
_SIZE = re.compile(
    r"(?<![a-z0-9.])(\d{1,3}(?:\.\d)?)b(?![a-z0-9])"
)  # "llama-3.1-8b": 8 billion weights


@dataclass(frozen=True, kw_only=True, slots=True)
class FitSettings:
    """How a bundle is fitted; the defaults were chosen on the dev split (see docs/benchmarks.md).

    Attributes:
        clusters: K, fewer where there are fewer than four items for each.
        areas: groups of clusters that share evidence.
        balance: an item counts ``(items of its suite) ** -balance`` when clusters are made.
        reach: quantile of the members' cosines below which a request counts as unlike the cluster.
        length_prior: outcomes that a worker's general verbosity counts for in each cluster.
        ability: priors of the ability model.
        decision: what the decision is to use.
    """

    clusters: int = 256
    areas: int = 24
    balance: float = 0.8
    reach: float = 0.01
    length_prior: float = 5.0
    ability: AbilitySettings = field(default_factory=AbilitySettings)
    decision: Settings = field(default_factory=Settings)


def train(
    items: Sequence[Path],
    outcomes: Sequence[Path],
    output: Path,
    *,
    workers: Path | None = None,
    encoder: str = DEFAULT_ENCODER,
    seed: int = 0,
    fit_splits: Sequence[str] = ("train",),
    settings: FitSettings | None = None,
    shared: bool = False,
    cache: Path | None = None,
    command: str | None = None,
    progress: Progress | None = None,
) -> Bundle:
    """Read files, fit, measure on the dev split where that was not fitted on, and write a bundle.

    Args:
        items: files of items; see :func:`~fugu_adapters.evaluate.data.read_dataset`.
        outcomes: files of outcomes.
        output: folder for the bundle.
        workers: file of catalogue facts.
        encoder: id of the encoder.
        seed: of the clustering; everything else has nothing random.
        fit_splits: splits of the items whose outcomes are used.
        settings: how to fit.
        shared: whether the bundle is to serve pools that these outcomes are not of; gains then have to be
            proven more strongly.
        cache: folder that keeps vectors between fits.
        command: what rebuilds the bundle; ``fugu train selector`` with these files where not given.
        progress: told what is being done.

    Raises:
        ConfigError: where a file cannot be used.
        InputError: where there is too little to fit.
    """
    settings = settings or FitSettings()
    if shared:
        settings = replace(settings, decision=SHARED)
    data = read_dataset(items, outcomes, workers)
    held_out = [] if "dev" in fit_splits else ["dev"]
    wanted = data.in_splits([*fit_splits, *held_out])
    vectors = encode_items(wanted, encoder, cache=cache, progress=progress)
    bundle = fit_selector(
        data.in_splits(fit_splits), vectors, encoder=encoder, seed=seed, settings=settings,
        provenance={"command": command or _command(items, outcomes, workers, seed, shared), "fit_splits": list(fit_splits)},
        progress=progress,
    )  # fmt: skip
    bundle = replace(bundle, metrics={"dev": _measure(bundle, data.in_splits(held_out), vectors)})
    save_bundle(bundle, output)
    return load_bundle(output)


def _command(
    items: Sequence[Path],
    outcomes: Sequence[Path],
    workers: Path | None,
    seed: int,
    shared: bool,
) -> str:
    """What rebuilds the bundle, files by their names."""
    parts = ["fugu train selector", *(f"--items {path.name}" for path in items)]
    parts += [f"--outcomes {path.name}" for path in outcomes]
    parts += [] if workers is None else [f"--workers {workers.name}"]
    parts += ["--shared"] if shared else []
    return " ".join([*parts, f"--seed {seed}"])


def _measure(bundle: Bundle, data: Dataset, vectors: Vectors) -> dict[str, Any]:
    """How true the predicted scores are on outcomes that were not fitted on; empty without any."""
    if not len(data.item):
        return {}
    used, place = np.unique(data.item, return_inverse=True)
    names = list(data.workers)
    view = ClusterSelector(bundle).forecast(vectors[used], names, [None] * len(names))
    p = view.p[place, data.worker].astype(np.float64)
    plain = (bundle.p @ bundle.mass)[data.worker]
    return {
        "outcomes": len(data.item),
        "calibration_error": round(calibration_error(p, data.score), 4),
        "brier": round(float(((p - data.score) ** 2).mean()), 4),
        "brier_of_worker_means": round(float(((plain - data.score) ** 2).mean()), 4),
    }


def encode_items(
    data: Dataset, encoder: str, *, cache: Path | None = None, progress: Progress | None = None
) -> Vectors:
    """Vectors of the items that have outcomes, zero for the others: float32 ``[items, dim]``."""
    model = load_encoder(encoder)
    used = np.unique(data.item)
    vectors = np.zeros((len(data.prompts), model.dim), dtype=np.float32)
    texts = [data.prompts[index] for index in used]
    vectors[used] = encode_cached(model, texts, cache=cache, progress=progress)
    return vectors


def fit_selector(
    data: Dataset,
    vectors: Vectors,
    *,
    encoder: str,
    seed: int = 0,
    settings: FitSettings | None = None,
    provenance: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Bundle:
    """Fit a bundle to every outcome in ``data``.

    Args:
        data: outcomes, already restricted to the splits to fit on.
        vectors: of all items, rows of unit length, ``[items, dim]``.
        encoder: id of the encoder they come from.
        seed: of the clustering.
        settings: how to fit.
        provenance: added to what is recorded of inputs and settings.
        metrics: held-out figures to keep with the bundle.
        progress: told what is being done.

    Raises:
        InputError: where there are fewer than 20 outcomes.
    """
    settings = settings or FitSettings()
    say = progress or (lambda _what, _done, _total: None)
    if len(data.item) < _MIN_OUTCOMES:
        raise InputError(
            f"expected at least {_MIN_OUTCOMES} outcomes to fit on, got {len(data.item)}; "
            "profile the workers on more items, or fit on more splits"
        )
    say("fitting", 0, 3)
    groups = _clusters(data, vectors, seed, settings)
    say("fitting", 1, 3)
    tensors = _tensors(data, vectors, groups, settings)
    say("fitting", 2, 3)
    bundle = Bundle(
        encoder=encoder,
        profiles=data.workers,
        aliases={alias: name for alias, name in ALIASES.items() if name in data.workers},
        labels=_labels(data, groups),
        settings=settings.decision,
        provenance={**_provenance(data, groups.used, seed, settings), **(provenance or {})},
        metrics=metrics or {},
        **tensors,
    )
    say("fitting", 3, 3)
    return bundle


@dataclass(frozen=True, kw_only=True, slots=True)
class _Groups:
    """The clusters: items that were used, cluster of each, and what is known of the clusters."""

    used: Ints  # [u]
    members: Ints  # [u]
    centroids: Vectors  # [K, D]
    area: Ints  # [K]
    reach: NDArray[np.float32]  # [K]


def _tensors(
    data: Dataset, vectors: Vectors, groups: _Groups, settings: FitSettings
) -> dict[str, Any]:
    """Everything that is learned per worker and cluster, by its name in the bundle."""
    k = len(groups.centroids)
    cluster = np.full(len(data.prompts), -1, dtype=np.int64)
    cluster[groups.used] = groups.members
    facts = [data.facts.get(name, Facts()) for name in data.workers]
    cell = data.worker * k + cluster[data.item]
    count = np.bincount(cell, minlength=len(data.workers) * k).reshape(-1, k).astype(np.float64)
    ability = fit_ability(
        worker=data.worker, item=data.item, score=data.score, weight=data.weight, vectors=vectors,
        centroids=groups.centroids, width=settings.decision.width, cluster=cluster,
        traits=_traits(data.workers, facts), settings=settings.ability,
    )  # fmt: skip
    crowd, tier = _price_prior(ability.p, count, ability.spread, facts)
    return {
        "centroids": groups.centroids,
        "area": groups.area.astype(np.float32),
        "mass": (np.bincount(groups.members, minlength=k) / len(groups.used)).astype(np.float32),
        "reach": groups.reach,
        "p": ability.p.astype(np.float32),
        "sd": ability.sd.astype(np.float32),
        "level": ability.level.astype(np.float32),
        "count": np.minimum(count, 65_535).astype(np.float32),
        "log_tokens": expected_log_tokens(data, cluster, k, facts, settings.length_prior),
        "seconds": expected_seconds(data, cluster, k, settings.length_prior),
        "crowd": crowd,
        "tier": tier,
    }


def _clusters(data: Dataset, vectors: Vectors, seed: int, settings: FitSettings) -> _Groups:
    """Cluster the items that have outcomes, and the clusters into areas."""
    used = np.unique(data.item)
    _, suite = np.unique([data.suites[index] for index in used], return_inverse=True)
    weight = (np.bincount(suite)[suite] ** -settings.balance).astype(np.float32)
    k = max(1, min(settings.clusters, len(used) // 4))
    centroids = kmeans(vectors[used], k, seed=seed, weight=weight)
    members = assign(vectors[used], centroids)
    present, members = np.unique(members, return_inverse=True)  # equal prompts can leave one empty
    centroids = centroids[present]
    size = np.bincount(members, weights=weight).astype(np.float32)
    coarse = kmeans(centroids, min(settings.areas, len(centroids)), seed=seed, weight=size)
    _, area = np.unique(assign(centroids, coarse), return_inverse=True)
    cosine = np.einsum("nd,nd->n", vectors[used], centroids[members])
    reach = np.array(
        [np.quantile(cosine[members == c], settings.reach) for c in range(len(centroids))]
    )
    few = np.bincount(members) < _FEW  # their own spread says little
    reach[few] = np.minimum(reach[few], np.median(reach))
    return _Groups(
        used=used,
        members=members,
        centroids=centroids,
        area=area,
        reach=np.maximum(reach, 1e-3).astype(np.float32),
    )


def _traits(workers: Sequence[str], facts: Sequence[Facts]) -> Floats:
    """Log price, age, log size by name, hidden reasoning: standardised, 0 where unknown, ``[W, 4]``."""
    sizes = [_SIZE.search(name) for name in workers]
    raw = np.array(
        [
            [
                np.nan if not fact.price_out else np.log10(fact.price_out),
                np.nan if fact.released is None else fact.released,
                np.nan if size is None else np.log10(float(size[1])),
                float(fact.hidden_reasoning),
            ]
            for fact, size in zip(facts, sizes, strict=True)
        ]
    )
    known = np.isfinite(raw)
    filled = np.where(known, raw, 0.0)
    size = np.maximum(known.sum(axis=0), 1)
    mean = filled.sum(axis=0) / size
    spread = np.sqrt(np.where(known, (filled - mean) ** 2, 0.0).sum(axis=0) / size)
    return np.where(known, (filled - mean) / np.maximum(spread, 1e-6), 0.0)


def _labels(data: Dataset, groups: _Groups) -> tuple[str, ...]:
    """The one or two commonest subdomains of each cluster, its domain where there are too many."""
    k = len(groups.centroids)
    counts: list[collections.Counter[str]] = [collections.Counter() for _ in range(k)]
    domains: list[collections.Counter[str]] = [collections.Counter() for _ in range(k)]
    for index, c in zip(groups.used, groups.members, strict=True):
        counts[c][data.subdomains[index] or data.domains[index] or data.suites[index]] += 1
        domains[c][data.domains[index] or data.suites[index]] += 1
    labels = []
    for count, domain in zip(counts, domains, strict=True):
        top, total = count.most_common(2), count.total()
        if top[0][1] >= 0.6 * total:
            labels.append(top[0][0])
        elif sum(n for _, n in top) >= 0.6 * total:
            labels.append(f"{top[0][0]} or {top[1][0]}")
        else:
            labels.append(domain.most_common(1)[0][0])
    return tuple(labels)


def _price_prior(
    p: Floats, count: Floats, surface: Floats, facts: Sequence[Facts]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What the list price alone says: the average worker's logit by cluster, and a line over price."""
    logit = np.log(np.clip(p, 0.005, 0.995) / np.clip(1 - p, 0.005, 0.995))
    crowd = logit.mean(axis=0)
    offset = (logit - crowd).mean(axis=1)
    prices = np.array([fact.price_out or np.nan for fact in facts], dtype=np.float64)
    known = np.isfinite(prices) & (count.sum(axis=1) >= _MIN_OUTCOMES)
    slope, centre = 0.0, 0.0
    if known.sum() >= 10:
        x = np.log10(prices[known])
        centre = float(x.mean())
        slope = max(
            0.0, float(((x - centre) * offset[known]).sum() / max(((x - centre) ** 2).sum(), 1e-9))
        )
        residual = offset[known] - offset[known].mean() - slope * (x - centre)
        intercept = float(offset[known].mean())
    else:
        residual, intercept = offset - offset.mean(), float(offset.mean())
    spread = max(0.5, float(np.hypot(residual.std(), np.median(surface))))
    tier = np.array([intercept, slope, spread, centre], dtype=np.float32)
    return crowd.astype(np.float32), tier


def _provenance(data: Dataset, used: Ints, seed: int, settings: FitSettings) -> dict[str, Any]:
    suites = collections.Counter(data.suites[index] for index in used)
    return {
        "inputs": [asdict(source) for source in data.sources],
        "items": dict(sorted(suites.items())),
        "outcomes": len(data.item),
        "seed": seed,
        "settings": asdict(settings),
        "versions": {name: version(name) for name in ("fugu-adapters", "numpy")},
    }
