"""Workers of which only a description is known: how well each one's text fits a request.

Pure, and without weights of its own. The fit of a worker is the cosine of ``"name: description"`` and the
request, both seen from the mean of a bundle's centroids in its encoder: what all requests have in common
(their style, mostly) says nothing about who should have them. Words that the two share are added, for
names and jargon that no encoder knows, each for how few of the pool's workers have it. The cosine's scale,
which differs from encoder to encoder, is read off the centroids too. Three numbers were chosen on held-out
agent teams and domains (``benchmarks/descriptions.py``, with what else was tried): what a shared word
counts, how steeply a fit does, so that the softmax over a pool's fits is the probability that a worker is
the right one, and the cosine that says nothing.

A fit moves the worker's expected score on the logit scale by as much as that score is unknown: in full
where it is a guess from the price, hardly where outcomes stand behind it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fugu_adapters.encoders import clip_middle
from fugu_adapters.policies.follow_up import content_words
from fugu_adapters.policies.weights import Bundle

__all__ = ["NOTHING_FITS", "Descriptions", "fit_reason", "shift"]

Floats = NDArray[np.float32]

NOTHING_FITS = -1.0
"""Logits from which down a description does not fit; those below it are all alike."""

_JOINT = re.compile(r"[\W_]+|(?<=[^\W_A-Z])(?=[A-Z])")
_STEEP = 3.0  # logits for one standard deviation of the cosine between clusters
_NEUTRAL = 0.17  # cosine of a fit that speaks neither for nor against a worker
_WORD = 0.1  # cosine that a word counts which one worker of the pool shares with the request
_MAX_CHARS = 2_000  # of a request, looked at for shared words
_MOST = 3.0  # logits that a fit can add: it says that the task is the worker's, not that it is able


@dataclass(frozen=True, kw_only=True, eq=False)
class Descriptions:
    """The described workers of one pool, encoded.

    Attributes:
        workers: their names, ``[A]``.
        vectors: float32 ``[A, D]``, seen from the mean, unit rows.
        words: those of each worker, each with what it counts, ``[A]``.
        mean: of the bundle's centroids, ``[D]``.
        slope: logits for a cosine of 1.
        encode: text to float32 ``[D]``.
    """

    workers: tuple[str, ...]
    vectors: Floats
    words: tuple[Mapping[str, float], ...]
    mean: Floats
    slope: float
    encode: Callable[[str], Floats]

    @classmethod
    def build(
        cls, texts: Mapping[str, str], encode: Callable[[str], Floats], bundle: Bundle
    ) -> Descriptions:
        """Encode the descriptions of a pool, once.

        Args:
            texts: description of each described worker, by name.
            encode: the bundle's encoder: text to float32 ``[D]``.
            bundle: whose requests the descriptions are compared with.
        """
        mean = bundle.mass @ bundle.centroids / max(float(bundle.mass.sum()), 1e-12)
        told = [f"{_spoken(name)}: {text}" for name, text in texts.items()]
        rows = np.array([encode(text) for text in told])
        words = [content_words(text) for text in told]
        having = Counter(word for some in words for word in some)
        return cls(
            workers=tuple(texts),
            vectors=_unit(rows.reshape(len(texts), -1) - mean),
            words=tuple(
                {word: _WORD / having[word] / math.sqrt(len(some) + 1) for word in some}
                for some in words
            ),
            mean=mean,
            slope=_STEEP / _spread(_unit(bundle.centroids - mean)),
            encode=encode,
        )

    def fits(self, text: str) -> dict[str, float]:
        """How well each description fits a request, in logits; 0 says nothing.

        Args:
            text: of the request.
        """
        asked = _unit((self.encode(text) - self.mean)[None])[0]
        # einsum adds up each row alone: a worker's fit does not depend on its place in the pool.
        cosine = np.einsum("ad,d->a", self.vectors, asked)
        words = content_words(clip_middle(text, _MAX_CHARS))
        shared = [
            sum(counts[word] for word in sorted(words & counts.keys())) for counts in self.words
        ]
        fits = self.slope * (cosine + np.array(shared) - _NEUTRAL)
        return dict(zip(self.workers, fits.tolist(), strict=True))


def shift(
    p: Floats, sd: Floats, fits: Sequence[float | None], *, spread: float
) -> tuple[Floats, Floats]:
    """Move expected scores by what the descriptions say.

    Args:
        p: expected scores, ``[A]``.
        sd: their standard deviations, ``[A]``.
        fits: of :meth:`Descriptions.fits`, ``None`` without a description, ``[A]``.
        spread: standard deviation, in logits, of a score of which only the price is known.

    Returns:
        Scores and standard deviations, ``[A]`` each; unchanged to the bit where there is no description.
    """
    held = np.clip(p, 1e-6, 1.0 - 1e-6)
    doubt = sd / (held * (1.0 - held))
    known = np.array([0.0 if fit is None else max(fit, NOTHING_FITS) for fit in fits])
    moved = np.where(known > 0.0, _MOST * np.tanh(known / _MOST), known)
    moved = np.minimum(1.0, (doubt / spread) ** 2) * moved
    shifted = 1.0 / (1.0 + (1.0 - held) / held * np.exp(-moved))
    said = np.array([fit is not None for fit in fits])
    return (
        np.where(said, shifted, p).astype(p.dtype),
        np.where(said, doubt * shifted * (1.0 - shifted), sd).astype(sd.dtype),
    )


def fit_reason(fits: Mapping[str, float], chosen: str) -> str:
    """What the descriptions say of the choice, for people; it quotes names only.

    Args:
        fits: of the described workers that may be asked, by name.
        chosen: one of them.
    """
    if len(fits) == 1:
        return f"Fits the description of {chosen!r}"
    top = max(fits.values())
    weight = {name: float(np.exp(fit - top)) for name, fit in fits.items()}
    total = sum(weight.values())
    rival = max((name for name in fits if name != chosen), key=lambda name: fits[name])
    ours, theirs = weight[chosen] / total, weight[rival] / total
    verb = f"Fits {chosen!r} best" if ours > theirs else f"Fits {chosen!r}"
    return f"{verb} of {len(fits)} descriptions ({ours:.2f} likely, {rival!r} {theirs:.2f})"


def _spoken(name: str) -> str:
    """``SalesAgent`` and ``sales_agent`` as words."""
    return _JOINT.sub(" ", name).strip() or name


def _unit(rows: Floats) -> Floats:
    unit: Floats = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return unit


def _spread(rows: Floats) -> float:
    """Standard deviation of the cosines between different clusters."""
    cosine = (rows @ rows.T)[~np.eye(len(rows), dtype=bool)]
    return max(float(cosine.std()), 0.05) if cosine.size else 1.0
