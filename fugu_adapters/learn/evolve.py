"""Search for a few numbers by the reward of episodes: separable CMA-ES, and simpler ways at the same budget.

Numbers live in the unit cube. Within a generation all candidates see the same episodes. The result is the
best of the start and the search's own end on all episodes, so that a search that fails changes nothing.
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

__all__ = ["Budget", "Fitness", "Progress", "best_of", "evolve", "random_search", "reinforce"]

Floats = NDArray[np.float64]
Fitness: TypeAlias = Callable[[Floats, int | None], float]
"""Reward of numbers ``[P]`` on a generation's episodes, or on all of them."""
Progress: TypeAlias = Callable[[int, float], None]
"""Called after each generation with its number and the reward of the distribution's centre."""

_FORMAT = 2
_MAX_STATE = 16 * 1024 * 1024
_WORST = -10.0  # reward of a candidate whose reward is no number


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """How much may be played.

    Attributes:
        generations: rounds.
        episodes: of each candidate in a round.
        population: candidates a round; ``4 + 3 ln(n)`` of ``n`` numbers, rounded up, where not given.
        step: standard deviation that the search starts with.
        keep: share of the workers that may be asked in an episode; less than 1 trains for pools that shrink.
    """

    generations: int = 40
    episodes: int = 2_000
    population: int | None = None
    step: float = 0.2
    keep: float = 1.0

    def size(self, numbers: int) -> int:
        """Candidates a round, at least four."""
        return max(4, self.population or math.ceil(4 + 3 * math.log(numbers)))


def evolve(
    fitness: Fitness,
    start: Floats,
    *,
    budget: Budget | None = None,
    seed: int = 0,
    checkpoint: Path | None = None,
    stop_after: int | None = None,
    progress: Progress | None = None,
) -> Floats:
    """Separable CMA-ES (Ros and Hansen 2008).

    Args:
        fitness: what is to be high.
        start: numbers to start from, each 0 to 1, ``[P]``.
        budget: how much may be played.
        seed: of the search.
        checkpoint: file that is written after every generation, and gone on from where it is there.
        stop_after: generations after which to return early, for a later run to go on.
        progress: told of every generation.

    Returns:
        The numbers found, ``[P]``.

    Raises:
        ConfigError: ``cmaes`` is not installed.
        InputError: fewer than two numbers, or one outside of 0 to 1.
        WeightsError: the checkpoint is of another run, or none.
    """
    budget = budget or Budget()
    search = _open(start, budget, seed)
    if checkpoint is not None and checkpoint.exists():
        _restore(search, checkpoint, seed)
    end = min(budget.generations, stop_after or budget.generations)
    while search.generation < end:
        number = search.generation
        search.reseed_rng(_mix(seed, number))
        candidates = [search.ask() for _ in range(search.population_size)]
        search.tell([(each, -_safe(fitness, each, number)) for each in candidates])
        if checkpoint is not None:
            _store(search, checkpoint, seed)
        if progress is not None:
            progress(number + 1, _safe(fitness, np.clip(search.mean, 0, 1), number))
    return best_of(fitness, start, np.clip(search.mean, 0.0, 1.0))


def random_search(
    fitness: Fitness, start: Floats, *, budget: Budget | None = None, seed: int = 0
) -> Floats:
    """Numbers drawn evenly; each is played once on a generation's episodes. As :func:`evolve` otherwise."""
    budget = budget or Budget()
    rng = np.random.default_rng(seed)
    size = budget.size(len(start))
    drawn = rng.random((budget.generations * size, len(start)))
    rewards = [_safe(fitness, each, number // size) for number, each in enumerate(drawn)]
    return best_of(fitness, start, drawn[int(np.argmax(rewards))])


def reinforce(
    fitness: Fitness,
    start: Floats,
    *,
    budget: Budget | None = None,
    seed: int = 0,
    rate: float = 0.03,
) -> Floats:
    """REINFORCE over a Gaussian of the numbers (Sehnke et al. 2010), mirrored draws, with Adam.

    The policy itself is deterministic, so that the gradient is that of the distribution's mean.
    """
    budget = budget or Budget()
    rng = np.random.default_rng(seed)
    centre, spread = start.astype(np.float64), budget.step / 2
    mean, square = np.zeros_like(centre), np.zeros_like(centre)
    pairs = max(2, budget.size(len(start)) // 2)
    for step in range(1, budget.generations + 1):
        slope = np.zeros_like(centre)
        for noise in rng.normal(size=(pairs, len(centre))):
            up, down = (np.clip(centre + sign * spread * noise, 0, 1) for sign in (1, -1))
            slope += (_safe(fitness, up, step - 1) - _safe(fitness, down, step - 1)) * noise
        slope /= 2 * pairs * spread
        mean += 0.1 * (slope - mean)
        square += 0.01 * (slope**2 - square)
        moved = rate * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.99**step)) + 1e-8)
        centre = np.clip(centre + moved, 0.0, 1.0)
    return best_of(fitness, start, centre)


def best_of(fitness: Fitness, start: Floats, found: Floats) -> Floats:
    """Of the start and what was found the better one on all episodes; the start of equals."""
    return found if _safe(fitness, found, None) > _safe(fitness, start, None) else start


def _safe(fitness: Fitness, numbers: Floats, number: int | None) -> float:
    if not np.isfinite(numbers).all():
        return _WORST
    reward = fitness(numbers, number)
    return reward if math.isfinite(reward) else _WORST


def _mix(seed: int, number: int) -> int:
    """One number for a seed and a generation."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


# --- checkpoints ----------------------------------------------------------------------------------


def _open(start: Floats, budget: Budget, seed: int) -> Any:
    try:
        from cmaes import SepCMA
    except ImportError as error:
        raise ConfigError(
            "training a coordinator needs cmaes; run `pip install 'fugu-adapters[train]'`"
        ) from error
    if len(start) < 2 or not ((start >= 0) & (start <= 1)).all():
        raise InputError(f"to start from: expected two or more numbers of 0 to 1, got {start}")
    return SepCMA(
        start.astype(np.float64),
        budget.step,
        bounds=np.stack([np.zeros(len(start)), np.ones(len(start))], axis=1),
        seed=seed,
        population_size=budget.size(len(start)),
    )


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
