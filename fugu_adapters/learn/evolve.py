"""Improve a coordinator's head on episodes: separable CMA-ES, and three simpler ways at the same budget.

Within a generation all candidates see the same episodes. The result is the best of the start and the
search's own end on all items that were trained on, so that a search that fails changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as dump_tensors

from fugu_adapters.errors import ConfigError, InputError, WeightsError
from fugu_adapters.learn.replay import Replay
from fugu_adapters.policies.coordinator import FEATURES, Coordinator

__all__ = [
    "SEARCHES",
    "Budget",
    "Progress",
    "best_of",
    "evolve",
    "random_search",
    "reinforce",
    "supervised",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Progress: TypeAlias = Callable[[int, float], None]
"""Called after each generation with its number and the mean reward of the distribution's centre."""

_FORMAT = 1
_MAX_STATE = 16 * 1024 * 1024
# Of what size a change of each weight matters: of the features, and of a worker's own constant.
_SCALES, _OWN = (0.3, 0.1, 0.005, 0.01, 0.1, 0.02, 0.05), 0.01
_WORST = -10.0  # reward of a candidate whose reward is no number


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """How much may be played.

    Attributes:
        generations: rounds.
        episodes: of each candidate in a round.
        population: candidates a round; ``4 + 3 ln(n)`` of ``n`` parameters, rounded up, where not given.
        step: standard deviation that the search starts with, in units of what matters for each weight.
        keep: share of the workers that may be asked in a candidate's episodes; less than 1 trains for
            pools that shrink.
    """

    generations: int = 60
    episodes: int = 512
    population: int | None = None
    step: float = 0.5
    keep: float = 1.0

    def size(self, parameters: int) -> int:
        """Candidates a round, at least four."""
        return max(4, self.population or math.ceil(4 + 3 * math.log(parameters)))


def evolve(
    replay: Replay,
    start: Coordinator,
    *,
    budget: Budget | None = None,
    seed: int = 0,
    checkpoint: Path | None = None,
    stop_after: int | None = None,
    progress: Progress | None = None,
) -> Coordinator:
    """Separable CMA-ES.

    Args:
        replay: the environment.
        start: the coordinator to start from.
        budget: how much may be played.
        seed: of the search and of its episodes.
        checkpoint: file that is written after every generation, and gone on from where it is there.
        stop_after: generations after which to return early, for a later run to go on.
        progress: told of every generation.

    Raises:
        ConfigError: where ``cmaes`` is not installed, or the checkpoint is of another run.
    """
    budget = budget or Budget()
    scale = _scale(start)
    search = _open(start.head / scale, budget, seed)
    if checkpoint is not None and checkpoint.exists():
        _restore(search, checkpoint, seed)
    end = min(budget.generations, stop_after or budget.generations)
    while search.generation < end:
        number = search.generation
        search.reseed_rng(_mix(seed, number))
        rows, available = _episodes(replay, budget, seed, number)
        candidates = [search.ask() for _ in range(search.population_size)]
        search.tell(
            [(c, -_reward(replay, start.with_head(c * scale), rows, available)) for c in candidates]
        )
        if checkpoint is not None:
            _store(search, checkpoint, seed)
        if progress is not None:
            progress(
                number + 1, _reward(replay, start.with_head(search.mean * scale), rows, available)
            )
    return best_of(replay, start, [search.mean * scale])


def random_search(
    replay: Replay, start: Coordinator, *, budget: Budget | None = None, seed: int = 0
) -> Coordinator:
    """Heads drawn around the start, uniformly; each gets the episodes of a whole round."""
    budget = budget or Budget()
    rng = np.random.default_rng(seed)
    best, found = -math.inf, start.head
    size = budget.size(len(start.head))
    rows = rng.integers(0, len(replay), size * budget.episodes)
    for _ in range(budget.generations):
        head = start.head + rng.uniform(-3, 3, len(start.head)) * budget.step * _scale(start)
        reward = _reward(replay, start.with_head(head), rows, None)
        if reward > best:
            best, found = reward, head
    return best_of(replay, start, [found])


def reinforce(
    replay: Replay,
    start: Coordinator,
    *,
    budget: Budget | None = None,
    seed: int = 0,
    rate: float = 0.1,
    temperature: float = 0.05,
) -> Coordinator:
    """Policy gradient with a softmax over workers and stopping, the batch's mean as baseline, Adam."""
    budget = budget or Budget()
    rng = np.random.default_rng(seed)
    head = start.head.copy()
    mean, square = np.zeros_like(head), np.zeros_like(head)
    size = budget.size(len(head)) * budget.episodes
    for step in range(1, budget.generations + 1):
        rows = rng.integers(0, len(replay), size)
        slope = _policy_gradient(replay, start.with_head(head), rows, temperature, rng)
        mean += 0.1 * (slope - mean)
        square += 0.001 * (slope**2 - square)
        head = head + rate * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
    return best_of(replay, start, [head])


def supervised(
    replay: Replay, start: Coordinator, *, budget: Budget | None = None, seed: int = 0
) -> Coordinator:
    """Ridge regression of what one more answer changed, from random states: single turns only."""
    budget = budget or Budget()
    rng = np.random.default_rng(seed)
    total = budget.size(len(start.head)) * budget.episodes * budget.generations
    size = len(start.workers)
    width = len(FEATURES) + size
    gram, target = np.eye(width) * 10.0, 10.0 * start.head
    for _ in range(max(1, total // 20_000)):
        rows = rng.integers(0, len(replay), 4_000)
        x, y = _single_turns(replay, start, rows, rng)
        gram += x.T @ x
        target += x.T @ y
    head: Floats = np.linalg.solve(gram, target).astype(np.float64)
    return best_of(replay, start, [head])


def best_of(replay: Replay, start: Coordinator, heads: list[Floats]) -> Coordinator:
    """Of the start and some heads the one with the highest reward over all items; the start of equals."""
    found = [start] + [start.with_head(head) for head in heads if np.isfinite(head).all()]
    rewards = [_reward(replay, each, None, None) for each in found]
    return found[int(np.argmax(rewards))]


SEARCHES: dict[str, Callable[..., Coordinator]] = {
    "evolved": evolve,
    "random_search": random_search,
    "reinforce": reinforce,
    "supervised": supervised,
}
"""Every way of training a head, each called as ``search(replay, start, budget=..., seed=...)``."""


def _scale(start: Coordinator) -> Floats:
    """Of a change that matters, ``[F + A]``."""
    return np.array([*_SCALES, *([_OWN] * len(start.workers))])


def _reward(
    replay: Replay, coordinator: Coordinator, rows: Ints | None, available: NDArray[np.bool_] | None
) -> float:
    if not np.isfinite(coordinator.head).all():
        return _WORST
    reward = replay.fitness(replay.play(coordinator, rows, available=available), rows)
    return reward if math.isfinite(reward) else _WORST


def _episodes(
    replay: Replay, budget: Budget, seed: int, number: int
) -> tuple[Ints, NDArray[np.bool_] | None]:
    """A round's items, and who may be asked in each."""
    rng = np.random.default_rng([seed, number])
    n, size = len(replay), len(replay.items.workers)
    few = n <= budget.episodes
    rows = np.arange(n) if few else rng.choice(n, budget.episodes, replace=False)
    if budget.keep >= 1:
        return rows, None
    count = max(1, round(budget.keep * size))
    return rows, np.argsort(rng.random((len(rows), size)), axis=1) < count


def _policy_gradient(
    replay: Replay,
    coordinator: Coordinator,
    rows: Ints,
    temperature: float,
    rng: np.random.Generator,
) -> Floats:
    """Of the mean reward over the head."""
    size, width = len(coordinator.workers), len(FEATURES)
    steps: list[tuple[Ints, Floats]] = []
    alive = np.arange(len(rows))

    def choose(features: Floats, worth: Floats, turn: int) -> Ints:
        nonlocal alive
        m = len(worth)
        stop = np.zeros((m, 1)) if turn else np.full((m, 1), -np.inf)
        logits = np.hstack([worth, stop]) / temperature
        logits -= logits.max(axis=1, keepdims=True)
        p = np.exp(logits)
        p /= p.sum(axis=1, keepdims=True)
        drawn = np.minimum((p.cumsum(axis=1) < rng.random((m, 1))).sum(axis=1), size)
        taken = np.zeros((m, size + 1))
        taken[np.arange(m), drawn] = 1.0
        miss = (taken - p)[:, :size] / temperature
        steps.append((alive, np.hstack([np.einsum("ma,maf->mf", miss, features), miss])))
        alive = alive[drawn < size]
        return np.where(drawn < size, drawn, -1)

    reward = replay.reward(replay.play(coordinator, rows, choose=choose), rows)
    advantage = reward - reward.mean()
    slope = np.zeros(width + size)
    for who, gradient in steps:
        slope += advantage[who] @ gradient
    return slope / len(rows)


def _single_turns(
    replay: Replay, coordinator: Coordinator, rows: Ints, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Features of a random next worker in random states, and what its answer changed, price taken off."""
    size = len(coordinator.workers)
    last = rng.integers(0, min(coordinator.turns, size), len(rows))
    xs: list[Floats] = []
    ys: list[Floats] = []
    for depth in range(min(coordinator.turns, size)):
        mine = rows[last == depth]
        if not len(mine):
            continue
        order = np.argsort(rng.random((len(mine), size)), axis=1)
        kept: list[Floats] = []
        before = replay.play(coordinator, mine, choose=_along(order, depth, kept))
        after = replay.play(coordinator, mine, choose=_along(order, depth + 1, kept))
        ys.append(replay.reward(after, mine) - (replay.reward(before, mine) if depth else 0.0))
        xs.append(np.hstack([kept[-1], np.eye(size)[order[:, depth]]]))
    return np.concatenate(xs), np.concatenate(ys)


def _along(order: Ints, count: int, kept: list[Floats]) -> Callable[[Floats, Floats, int], Ints]:
    """Ask so many workers in a given order; keep the features of the last that is asked."""

    def choose(features: Floats, worth: Floats, turn: int) -> Ints:
        if turn >= count and turn > 0:
            return np.full(len(worth), -1)
        ask = order[:, turn]
        kept.append(features[np.arange(len(ask)), ask])
        return ask

    return choose


def _mix(seed: int, number: int) -> int:
    """One number for a seed and a generation."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


# --- checkpoints ----------------------------------------------------------------------------------


def _open(head: Floats, budget: Budget, seed: int) -> Any:
    try:
        from cmaes import SepCMA
    except ImportError as error:
        raise ConfigError(
            "training a coordinator needs cmaes; run `pip install 'fugu-adapters[train]'`"
        ) from error
    if len(head) < 2 or not np.isfinite(head).all():
        raise InputError("a head to start from: expected two or more finite numbers")
    return SepCMA(head.copy(), budget.step, seed=seed, population_size=budget.size(len(head)))


# Generations are seeded one by one, so the generator's own state need not be kept.
_ARRAYS = ("_mean", "_C", "_p_sigma", "_pc")


def _store(search: Any, path: Path, seed: int) -> None:
    """Everything that a generation changes, written beside and then put in place."""
    tensors = {}
    for name in _ARRAYS:
        tensors[name] = np.ascontiguousarray(getattr(search, name), dtype=np.float64)
    tensors["scalars"] = np.array(
        [_FORMAT, seed, search._g, search.population_size, search._sigma], dtype=np.float64
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    draft.write_bytes(dump_tensors(tensors))
    draft.replace(path)


def _restore(search: Any, path: Path, seed: int) -> None:
    try:
        if path.stat().st_size > _MAX_STATE:
            raise WeightsError(f"{path}: larger than {_MAX_STATE} bytes; not a checkpoint of ours")
        tensors = load_tensors(path.read_bytes())
        form, of_seed, generation, population, sigma = tensors["scalars"]
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise WeightsError(
            f"{path}: not a checkpoint ({error}); delete it to start anew"
        ) from error
    same = (form, of_seed, population) == (_FORMAT, seed, search.population_size)
    if not same or any(
        tensors.get(name, np.zeros(0)).shape != search.mean.shape for name in _ARRAYS
    ):
        raise WeightsError(f"{path}: a checkpoint of another run; delete it, or name another file")
    for name in _ARRAYS:
        setattr(search, name, tensors[name])
    search._g, search._sigma = int(generation), float(sigma)
