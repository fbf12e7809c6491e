"""Group-relative policy optimisation of a conductor's network (Shao et al. 2024, without a KL term).

Every request is planned for several times; a plan's advantage is how much better its reward is than its
group's mean. It is not divided by the group's own spread (Liu et al. 2025, "Dr. GRPO"): where all plans are right,
they differ by pennies, and these would count as much as being right or wrong. The ratio to the policy that
drew it is clipped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fugu_adapters.errors import ConfigError
from fugu_adapters.policies.conductor import Board, Network

__all__ = ["Episodes", "Recipe", "Scenes", "advantages", "grpo"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Progress = Callable[[int, float], None]
"""Told the iteration, and the mean reward of its plans."""

_PARTS = ("hidden", "bias", "out", "skip")
_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8
_SPREAD = 0.25  # of rewards, where some of a group are right: the scale of all advantages


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How a network is trained.

    Attributes:
        iterations: updates of the policy that draws.
        groups: requests of each environment in an iteration.
        rollouts: plans for each.
        epochs: gradient steps on what was drawn.
        rate: learning rate at the start; it falls to nothing along a cosine.
        clip: how far the ratio to the old policy may be from 1.
    """

    iterations: int = 200
    groups: int = 32
    rollouts: int = 8
    epochs: int = 2
    rate: float = 3e-3
    clip: float = 0.2


class Scenes(Protocol):
    """Requests to plan for."""

    def draw(self, groups: int, rollouts: int, rng: np.random.Generator) -> Episodes:
        """So many requests, each as often as it is planned for."""
        ...


class Episodes(Protocol):
    """Plans to be written, group after group, and what they earn."""

    board: Board

    def rewards(self) -> Floats:
        """Of the written plans, ``[R]``."""
        ...


@dataclass(slots=True)
class _Drawn:
    """One choice of every plan: what could be chosen, what was, and how probable that was."""

    features: Floats
    legal: Flags
    choice: Ints
    log_p: Floats
    rows: Ints


def advantages(rewards: Floats, rollouts: int) -> Floats:
    """How much better each is than its group's mean, ``[R]``."""
    groups = rewards.reshape(-1, rollouts)
    centred: Floats = (groups - groups.mean(axis=1, keepdims=True)).ravel()
    return centred / _SPREAD


def grpo(
    scenes: Sequence[Scenes],
    start: Network,
    recipe: Recipe | None = None,
    *,
    seed: int = 0,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> Network:
    """Train a network on some environments, each counted alike.

    Args:
        scenes: the environments.
        start: the network to begin with.
        recipe: how.
        seed: of requests and draws; each iteration has a generator of its own.
        checkpoint: file that the state is kept in after every tenth iteration, and that a run goes on from in
            the same bits.
        progress: told of every iteration.

    Raises:
        ConfigError: the checkpoint is of another run.
    """
    recipe = recipe or Recipe()
    weights = {name: np.array(getattr(start, name), dtype=np.float64) for name in _PARTS}
    first = {name: np.zeros_like(value) for name, value in weights.items()}
    second = {name: np.zeros_like(value) for name, value in weights.items()}
    begin = 0
    if checkpoint is not None and checkpoint.exists():
        begin = _restore(checkpoint, weights, first, second, seed)
    for iteration in range(begin, recipe.iterations):
        rng = np.random.default_rng([seed, iteration])
        drawn, gains, mean = [], [], 0.0
        for scene in scenes:
            episodes = scene.draw(recipe.groups, recipe.rollouts, rng)
            drawn.append(_roll(episodes.board, Network(**weights), rng))
            rewards = episodes.rewards()
            mean += float(rewards.mean()) / len(scenes)
            gains.append(advantages(rewards, recipe.rollouts))
        rate = recipe.rate * 0.5 * (1 + np.cos(np.pi * iteration / recipe.iterations))
        for epoch in range(recipe.epochs):
            slope = {name: np.zeros_like(value) for name, value in weights.items()}
            for steps, gain in zip(drawn, gains, strict=True):
                for name, value in _slope(weights, steps, gain, recipe.clip).items():
                    slope[name] += value / (len(scenes) * len(gain))
            step = iteration * recipe.epochs + epoch + 1
            for name, value in slope.items():
                first[name] = _BETA1 * first[name] + (1 - _BETA1) * value
                second[name] = _BETA2 * second[name] + (1 - _BETA2) * value**2
                upward = first[name] / (1 - _BETA1**step)
                size = np.sqrt(second[name] / (1 - _BETA2**step)) + _EPSILON
                weights[name] = weights[name] + rate * upward / size
        if progress is not None:
            progress(iteration + 1, mean)
        if checkpoint is not None and (iteration + 1) % 10 == 0:
            _keep(checkpoint, iteration + 1, weights, first, second, seed)
    return Network(**weights)


def _roll(board: Board, network: Network, rng: np.random.Generator) -> list[_Drawn]:
    """Draw plans to their ends."""
    steps = []
    while not board.done.all():
        rows = np.flatnonzero(~board.done)
        features, legal = board.features()[rows], board.legal()[rows]
        logits = np.where(legal, network(features), -np.inf)
        choice = np.argmax(logits + rng.gumbel(size=logits.shape), axis=1)
        log_p = logits[np.arange(len(rows)), choice] - _log_sum(logits)
        steps.append(_Drawn(features, legal, choice, log_p, rows))
        every = np.zeros(len(board), dtype=np.int64)
        every[rows] = choice
        board.take(every)
    return steps


def _slope(
    weights: dict[str, Floats], steps: Sequence[_Drawn], gain: Floats, clip: float
) -> dict[str, Floats]:
    """Gradient of the clipped objective, summed over plans."""
    slope = {name: np.zeros_like(value) for name, value in weights.items()}
    for step in steps:
        hidden = np.tanh(step.features @ weights["hidden"] + weights["bias"])
        logits = hidden @ weights["out"] + step.features @ weights["skip"]
        logits = np.where(step.legal, logits, -np.inf)
        log_all = logits - _log_sum(logits)[:, None]
        here = np.arange(len(step.rows))
        ratio = np.exp(log_all[here, step.choice] - step.log_p)
        mine = gain[step.rows]
        clipped = np.where(mine > 0, ratio > 1 + clip, ratio < 1 - clip)
        scale = np.where(clipped, 0.0, mine * ratio)
        onehot = np.zeros_like(logits)
        onehot[here, step.choice] = 1.0
        outer = scale[:, None] * (onehot - np.exp(log_all))
        slope["skip"] += np.einsum("ra,raf->f", outer, step.features)
        slope["out"] += np.einsum("ra,rah->h", outer, hidden)
        inner = outer[:, :, None] * weights["out"] * (1 - hidden**2)
        slope["bias"] += inner.sum(axis=(0, 1))
        flat = step.features.reshape(-1, step.features.shape[2])
        slope["hidden"] += flat.T @ inner.reshape(len(flat), -1)
    return slope


def _log_sum(logits: Floats) -> Floats:
    top = logits.max(axis=1)
    total: Floats = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    return total


def _keep(
    path: Path,
    done: int,
    weights: dict[str, Floats],
    first: dict[str, Floats],
    second: dict[str, Floats],
    seed: int,
) -> None:
    from safetensors.numpy import save

    tensors = {"done": np.array([done, seed])}
    for label, each in (("weights", weights), ("first", first), ("second", second)):
        tensors |= {f"{label}.{name}": value for name, value in each.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_bytes(save(tensors))
    partial.replace(path)


def _restore(
    path: Path,
    weights: dict[str, Floats],
    first: dict[str, Floats],
    second: dict[str, Floats],
    seed: int,
) -> int:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = load(path.read_bytes())
        done, of = (int(each) for each in tensors["done"])
        if of != seed:
            raise ConfigError(f"{path}: was made with seed {of}; remove it, or use that seed")
        for label, each in (("weights", weights), ("first", first), ("second", second)):
            for name, value in each.items():
                kept = tensors[f"{label}.{name}"]
                if kept.shape != value.shape:
                    raise ConfigError(f"{path}: was made for another network; remove it")
                each[name] = kept
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ConfigError(f"{path}: no state of this training ({error}); remove it") from error
    return done
