"""Text -> vector. One file per encoder; each is loaded on first use and kept for the process."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fugu_adapters.errors import WeightsError
from fugu_adapters.messages import clip_middle

__all__ = ["DEFAULT_ENCODER", "ENCODERS", "Encoder", "Vectors", "clip_middle", "load_encoder"]

Vectors = NDArray[np.float32]

ENCODERS = ("static-1", "use-m3")
"""Ids that :func:`load_encoder` knows, ``lm:PATH`` aside. The number is the version: other vectors, another id."""

DEFAULT_ENCODER = "static-1"


class Encoder(Protocol):
    """Turns texts into unit vectors; the same text gives the same vector, in any batch or thread."""

    @property
    def id(self) -> str:
        """Name with version, kept in every bundle that was fitted on its vectors."""
        ...

    @property
    def dim(self) -> int:
        """Length of a vector."""
        ...

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode texts.

        Args:
            texts: any number, each of any length; long ones keep their head and tail.

        Returns:
            float32 ``[len(texts), dim]``, rows of unit length.
        """
        ...


@functools.cache
def load_encoder(encoder_id: str) -> Encoder:
    """The encoder of this id, built once per process.

    Raises:
        WeightsError: where the id is unknown or the encoder's package is not installed.
    """
    if encoder_id == "use-m3":
        from fugu_adapters.encoders.use import UseEncoder

        return UseEncoder()
    if encoder_id == "static-1":
        from fugu_adapters.encoders.static import StaticEncoder

        return StaticEncoder.load()
    if encoder_id.startswith("lm:"):
        from fugu_adapters.encoders.lm import LmEncoder

        return LmEncoder(Path(encoder_id.removeprefix("lm:")).expanduser())
    raise WeightsError(
        f"encoder: expected one of {', '.join(ENCODERS)} or lm:PATH, got {encoder_id!r}; "
        "train the selector again with an encoder of this version"
    )
