"""Choosing among workers of which only a description is known: what was tried, and what ships.

Two tasks: requests to everyday agent teams (``benchmarks/data/descriptions.json``, our own texts, teams
split into dev and test by hash), and items of public evaluations of which the right one among 3, 5 or 10
specialists has to be found (domains split into train, dev and test by hash; needs ``--items``). Maps are
fitted to the train domains only. Nothing of what ships is fitted but two numbers, on dev (``--tune``).

Usage:
    python benchmarks/descriptions.py --items items.parquet --split test
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fugu_adapters.config import Price, RoutingConfig, Worker
from fugu_adapters.encoders import load_encoder
from fugu_adapters.evaluate.metrics import calibration_error
from fugu_adapters.evaluate.statistics import bootstrap_mean, paired_bootstrap
from fugu_adapters.policies.descriptions import Descriptions
from fugu_adapters.policies.follow_up import content_words
from fugu_adapters.policies.routing import Router
from fugu_adapters.policies.weights import default_bundle
from fugu_adapters.pool import Pool
from fugu_adapters.types import Request

DATA = Path(__file__).parent / "data" / "descriptions.json"
BUNDLES = {"static-1": "selector", "use-m3": "local"}
SIZES = (3, 5, 10)
PER_SKILL = 30
SHIPS = "centred cosine, name: text, 0.1 x words in common (ships)"
Score = Callable[[str, Sequence[tuple[str, str]]], Sequence[float]]


@dataclass(frozen=True, kw_only=True)
class Task:
    """A request, the workers as (name, description), and the right one's place."""

    text: str
    workers: tuple[tuple[str, str], ...]
    right: int


def team_tasks(data: dict[str, Any], split: str) -> list[Task]:
    """Every request of the split's teams."""
    return [
        Task(
            text=request,
            workers=tuple((w["name"], w["description"]) for w in team["workers"]),
            right=place,
        )
        for team in data["teams"]
        if team["split"] == split
        for place, worker in enumerate(team["workers"])
        for request in worker["requests"]
    ]


def read_items(path: Path, data: dict[str, Any]) -> dict[str, list[str]]:
    """Prompts of each skill; only dev and test items where its domain is held out."""
    import pyarrow.parquet as pq

    skill_of = {sub: skill for skill in data["skills"] for sub in skill["subdomains"]}
    found: dict[str, list[tuple[str, str]]] = {}
    columns = ["item_id", "prompt", "subdomain", "split"]
    for row in pq.read_table(path, columns=columns).to_pylist():
        skill = skill_of.get(row["subdomain"])
        if skill is not None and (skill["split"] == "train" or row["split"] != "train"):
            place = hashlib.sha256(row["item_id"].encode()).hexdigest()
            found.setdefault(skill["skill"], []).append((place, row["prompt"]))
    return {
        name: [text for _, text in sorted(rows)[: 2 * PER_SKILL]] for name, rows in found.items()
    }


def skill_tasks(
    data: dict[str, Any], items: dict[str, list[str]], splits: Sequence[str], size: int
) -> list[Task]:
    """One item of a skill, ``size`` specialists of the same split, each in one of its wordings."""
    rng = np.random.default_rng(size)
    skills = [skill for skill in data["skills"] if skill["split"] in splits]
    tasks = []
    for skill in skills:
        others = [other for other in skills if other is not skill]
        for text in items[skill["skill"]][:PER_SKILL]:
            picked = rng.choice(len(others), size - 1, replace=False)
            team = [skill, *(others[place] for place in picked)]
            workers = [(s["skill"], str(rng.choice(s["descriptions"]))) for s in team]
            tasks.append(Task(text=text, workers=tuple(workers), right=0))
    return tasks


# --- methods ----------------------------------------------------------------------------------


class Space:
    """One encoder's vectors, seen from the mean of its bundle's requests."""

    def __init__(self, encoder: str) -> None:
        self.bundle = default_bundle(BUNDLES[encoder])  # type: ignore[arg-type]  # one of two names
        self._encoder = load_encoder(encoder)
        self._known: dict[str, np.ndarray] = {}
        self.mean = self.bundle.mass @ self.bundle.centroids
        spread = np.cov((self.bundle.centroids - self.mean).T, aweights=self.bundle.mass)
        self._size, self._axes = np.linalg.eigh(spread)

    def encode(self, text: str) -> np.ndarray:
        """The encoder's vector, remembered."""
        if text not in self._known:
            self._known[text] = self._encoder.encode([text])[0]
        return self._known[text]

    def centred(self, text: str) -> np.ndarray:
        """The same, seen from the mean."""
        return unit(self.encode(text) - self.mean)

    def whitening(self, ridge: float) -> np.ndarray:
        """A map that evens out the centroids' spread."""
        return self._axes * (self._size + ridge * self._size[-1]) ** -0.25

    def without_top(self, number: int) -> np.ndarray:
        """A map that takes the widest directions out."""
        return np.eye(len(self.mean)) - self._axes[:, -number:] @ self._axes[:, -number:].T

    def clusters(self, text: str) -> np.ndarray:
        """How near a text is to each cluster."""
        cosine = self.bundle.centroids @ self.encode(text)
        return unit(np.exp((cosine - cosine.max()) / 0.05))


def unit(vector: np.ndarray) -> np.ndarray:
    """The vector at length 1."""
    return vector / max(float(np.linalg.norm(vector)), 1e-12)


def in_common(text: str, workers: Sequence[tuple[str, str]]) -> list[float]:
    """Words shared with name and description, each counted for how few of the team have it."""
    asked = content_words(text[:2_000])
    told = [content_words(f"{name} {about}") for name, about in workers]
    having = Counter(word for words in told for word in words)
    return [
        float(sum(1 / having[word] for word in words & asked) / np.sqrt(len(words) + 1))
        for words in told
    ]


def by(request: Callable[[str], np.ndarray], worker: Callable[[str, str], np.ndarray]) -> Score:
    """The product of a request's and a worker's vector."""
    return lambda text, workers: [
        float(request(text) @ worker(name, about)) for name, about in workers
    ]


def of_sentences(space: Space) -> Score:
    """The best of name and pieces of the description."""

    def score(text: str, workers: Sequence[tuple[str, str]]) -> list[float]:
        asked = space.centred(text)
        pieces = [
            [name, *(part for part in re.split(r"[.:;,]| and ", about) if part.strip())]
            for name, about in workers
        ]
        return [max(float(asked @ space.centred(p)) for p in parts) for parts in pieces]

    return score


def plus(first: Score, second: Score, share: float) -> Score:
    """A sum of two scores."""
    return lambda text, workers: [
        a + share * b for a, b in zip(first(text, workers), second(text, workers), strict=True)
    ]


def methods(space: Space, data: dict[str, Any], items: dict[str, list[str]]) -> dict[str, Score]:
    """All that is compared, in one encoder's space."""

    def full(name: str, about: str) -> np.ndarray:
        return space.centred(f"{name}: {about}")

    centred = by(space.centred, full)
    found = {
        SHIPS: plus(centred, in_common, 0.1),
        "centred cosine, name: text": centred,
        "cosine, text alone": by(space.encode, lambda _, about: space.encode(about)),
        "cosine, name: text": by(space.encode, lambda n, about: space.encode(f"{n}: {about}")),
        "centred cosine, text alone": by(space.centred, lambda _, about: space.centred(about)),
        "best piece of the text, centred": of_sentences(space),
        "likeness of clusters": by(space.clusters, lambda n, a: space.clusters(f"{n}: {a}")),
        "words in common": in_common,
        "centred cosine, 0.3 x words in common": plus(centred, in_common, 0.3),
    }
    maps = {"whitened by the centroids": space.whitening(0.3)}
    maps["without the first 2 components"] = space.without_top(2)
    for name, table in maps.items():
        found[name] = by(
            lambda text, table=table: unit(space.centred(text) @ table),  # type: ignore[misc]
            lambda n, a, table=table: unit(full(n, a) @ table),  # type: ignore[misc]
        )
    if items:
        pairs = training_pairs(space, data, items)
        for kind, lift in (("ridge map, D x D", ridge(*pairs)), ("rank 16 map", low_rank(*pairs))):
            found[f"{kind}, learned"] = by(
                space.centred, lambda n, a, lift=lift: full(n, a) + full(n, a) @ lift
            )
    return found


# --- learned maps (tried, do not ship) ----------------------------------------------------------


def training_pairs(
    space: Space, data: dict[str, Any], items: dict[str, list[str]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors of descriptions ``[m, D]``, of requests ``[n, D]``, and the description's skill of each."""
    skills = [skill for skill in data["skills"] if skill["split"] == "train"]
    about = [[space.centred(f"{s['skill']}: {d}") for d in s["descriptions"]] for s in skills]
    asked = [(place, text) for place, s in enumerate(skills) for text in items[s["skill"]]]
    return (
        np.array([np.mean(rows, axis=0) for rows in about]),
        np.array([space.centred(text) for _, text in asked]),
        np.array([place for place, _ in asked]),
    )


def ridge(
    told: np.ndarray, asked: np.ndarray, skill: np.ndarray, penalty: float = 10
) -> np.ndarray:
    """What to add to a description so that it is near its requests' mean."""
    means = np.array([unit(asked[skill == place].mean(axis=0)) for place in range(len(told))])
    gram = told.T @ told + penalty * np.eye(told.shape[1])
    return np.linalg.solve(gram, told.T @ (means - told))


def low_rank(
    told: np.ndarray, asked: np.ndarray, skill: np.ndarray, rank: int = 16, steps: int = 200
) -> np.ndarray:
    """The same by gradient descent on the softmax over all train skills."""
    rng = np.random.default_rng(0)
    left, right = (rng.normal(0, 0.05, (told.shape[1], rank)) for _ in range(2))
    for _ in range(steps):
        rows = rng.integers(0, len(asked), 256)
        logit = 14.0 * (asked[rows] @ told.T + asked[rows] @ right @ (told @ left).T)
        p = np.exp(logit - logit.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        p[np.arange(len(rows)), skill[rows]] -= 1.0
        p *= 14.0 / len(rows)
        step_left = told.T @ (p.T @ (asked[rows] @ right)) + 1e-2 * left
        step_right = asked[rows].T @ (p @ (told @ left)) + 1e-2 * right
        left, right = left - 0.2 * step_left, right - 0.2 * step_right
    return left @ right.T


# --- reports ----------------------------------------------------------------------------------


def right_share(score: Score, tasks: Sequence[Task]) -> np.ndarray:
    """1 where the right worker is chosen, shared among ties, ``[n]``."""
    found = []
    for task in tasks:
        values = np.asarray(score(task.text, task.workers))
        best = np.flatnonzero(values >= values.max() - 1e-12)
        found.append(float(task.right in best) / len(best))
    return np.array(found)


def compare(sets: dict[str, list[Task]], data: dict[str, Any], items: dict[str, list[str]]) -> None:
    """Print accuracy of every method in every encoder's space. On dev the learned maps know the specialists."""
    chance = [np.mean([1 / len(task.workers) for task in tasks]) for tasks in sets.values()]
    base = {n: right_share(methods(Space("static-1"), data, {})[SHIPS], t) for n, t in sets.items()}
    print("| encoder | method | " + " | ".join(sets) + " |")
    print("|---|---|" + "---|" * len(sets))
    print("| - | chance | " + " | ".join(f"{100 * value:.1f}" for value in chance) + " |")
    for encoder in BUNDLES:
        for name, score in methods(Space(encoder), data, items).items():
            cells = []
            for key, tasks in sets.items():
                ours = right_share(score, tasks)
                mean, gap = bootstrap_mean(ours), paired_bootstrap(ours, base[key])
                told = f" [{100 * mean.low:.0f}, {100 * mean.high:.0f}]"
                if not (encoder == "static-1" and name == SHIPS):
                    told = f" ({100 * gap.mean:+.1f} [{100 * gap.low:+.1f}, {100 * gap.high:+.1f}])"
                cells.append(f"{100 * mean.mean:.1f}{told}")
            print(f"| {encoder} | {name} | {' | '.join(cells)} |", flush=True)


def likelihoods(space: Space, tasks: Sequence[Task], steep: float) -> list[np.ndarray]:
    """Softmax over each task's fits."""
    found = []
    for task in tasks:
        known = Descriptions.build(dict(task.workers), space.encode, space.bundle)
        fits = np.array(list(known.fits(task.text).values()))
        odds = np.exp(steep * (fits - fits.max()))
        found.append(odds / odds.sum())
    return found


def calibrate(sets: dict[str, list[Task]], steeps: Sequence[float]) -> None:
    """Print how true the likelihoods are, at multiples of the steepness that ships."""
    print("\n| encoder | steepness | " + " | ".join(f"{key}: ECE, log loss" for key in sets) + " |")
    print("|---|---|" + "---|" * len(sets))
    for encoder in BUNDLES:
        space = Space(encoder)
        for steep in steeps:
            cells = []
            for tasks in sets.values():
                p = likelihoods(space, tasks, steep)
                top = np.array([row.max() for row in p])
                hit = np.array(
                    [row.argmax() == t.right for row, t in zip(p, tasks, strict=True)], dtype=float
                )
                loss = -np.mean([np.log(row[t.right]) for row, t in zip(p, tasks, strict=True)])
                bins = max(5, min(15, len(tasks) // 30))
                cells.append(f"{calibration_error(top, hit, bins=bins):.3f}, {loss:.3f}")
            print(f"| {encoder} | x {steep:g} | {' | '.join(cells)} |", flush=True)


def whole_decisions(data: dict[str, Any], split: str) -> None:
    """Print where the router sends a team's own requests and other teams', beside a measured worker."""
    teams = [team for team in data["teams"] if team["split"] == split]
    first = [worker["requests"][0] for team in teams for worker in team["workers"]]
    print("\n| encoder | measured worker | own: right one | own: measured one | others': kept |")
    print("|---|---|---|---|---|")
    for encoder in BUNDLES:
        for profile in (None, "gpt-4o-mini", "gpt-4o-2024-08-06"):
            own, foreign = [], []
            for team in teams:
                settings = RoutingConfig(description_encoder=encoder)
                router = Router(Pool([*_hosts(team), *_measured(profile)], routing=settings))
                mine = {r: _name(w) for w in team["workers"] for r in w["requests"]}
                own += [(route(router, text), name) for text, name in mine.items()]
                foreign += [route(router, text) for text in first if text not in mine]
            right = np.mean([chosen[0] == name for chosen, name in own])
            taken = np.mean([chosen[0] == "measured" for chosen, _ in own])
            kept = np.mean([c[0] == "measured" or c[1].startswith("Fits no") for c in foreign])
            row = (encoder, profile or "-", f"{right:.1%}", f"{taken:.1%}", f"{kept:.1%}")
            print(f"| {' | '.join(row)} |", flush=True)


def _name(worker: dict[str, Any]) -> str:
    return str(worker["name"]).replace(" ", "-")


def _hosts(team: dict[str, Any]) -> list[Worker]:
    return [
        Worker(name=_name(worker), api="host", description=worker["description"])
        for worker in team["workers"]
    ]


def _measured(profile: str | None) -> list[Worker]:
    price = Price(input=1, output=4)
    return [Worker(name="measured", api="host", profile=profile, price=price)] if profile else []


def route(router: Router, text: str) -> tuple[str, str]:
    """Who is chosen, and why."""
    request = Request(messages=({"role": "user", "content": text},))
    decision = router.decide(request, model="fugu", effort="medium")
    return decision.worker, decision.reason


def latency(data: dict[str, Any]) -> None:
    """Print the time of a decision over ten workers, with and without their descriptions."""
    workers = [worker for team in data["teams"][:4] for worker in _hosts(team)][:10]
    plain = [worker.model_copy(update={"description": None}) for worker in workers]
    texts = [r for team in data["teams"] for worker in team["workers"] for r in worker["requests"]]
    print("\n| ten workers | first decision, ms | p50, ms | p99, ms |")
    print("|---|---|---|---|")
    route(Router(Pool(plain)), "weights and encoder are loaded")
    for name, pool in (("described", Pool(workers)), ("plain", Pool(plain))):
        router, taken = Router(pool), []
        for text in texts:
            began = time.perf_counter()
            route(router, text)
            taken.append(1_000 * (time.perf_counter() - began))
        p50, p99 = np.quantile(taken[1:], [0.5, 0.99])
        print(f"| {name} | {taken[0]:.2f} | {p50:.2f} | {p99:.2f} |")


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, calibrate, decide and time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=Path, help="items with domains; without it, teams alone")
    parser.add_argument("--split", choices=("dev", "test"), default="dev")
    parser.add_argument("--tune", action="store_true", help="calibration at other steepnesses too")
    options = parser.parse_args(arguments)
    data = json.loads(DATA.read_text(encoding="utf-8"))
    items = read_items(options.items, data) if options.items else {}
    # Where nothing is learned, the train domains are as good as the dev ones.
    splits = ("train", "dev") if options.split == "dev" else ("test",)
    sets = {"teams": team_tasks(data, options.split)}
    for size in SIZES if items else ():
        sets[f"{size} specialists"] = skill_tasks(data, items, splits, size)
    print(
        f"{options.split}: " + ", ".join(f"{name} {len(t)} tasks" for name, t in sets.items()), "\n"
    )
    compare(sets, data, items)
    calibrate(sets, (0.5, 0.8, 1.0, 1.25, 1.5) if options.tune else (1.0,))
    whole_decisions(data, options.split)
    latency(data)


if __name__ == "__main__":
    main()
