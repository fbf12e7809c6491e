"""Vectors of many texts, kept on disk by content hash so that a second fit need not encode again."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from fugu_adapters.encoders import Encoder, Vectors

__all__ = ["Progress", "encode_cached"]

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much is done, and how much there is."""

_CHUNK = 2_000


def encode_cached(
    encoder: Encoder,
    texts: Sequence[str],
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Vectors:
    """Encode texts, reading what an earlier call left in ``cache`` and adding what is new.

    Args:
        encoder: what encodes them.
        texts: any number; equal texts are encoded once.
        cache: folder for the vectors (half precision), or ``None`` to keep nothing.
        progress: told after each chunk.

    Returns:
        float32 ``[len(texts), encoder.dim]``. With a cache, rounded to half precision either way, so
        that a warm cache gives the same fit as a cold one.
    """
    keys = [hashlib.sha256(text.encode("utf-8", "replace")).digest()[:16] for text in texts]
    path = (
        None
        if cache is None
        else cache / f"{re.sub('[^a-zA-Z0-9._-]+', '_', encoder.id)}.safetensors"
    )
    known = _read(path, encoder.dim)
    missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
    todo = list(missing)
    for start in range(0, len(todo), _CHUNK):
        part = todo[start : start + _CHUNK]
        rows = encoder.encode([missing[key] for key in part])
        known.update(zip(part, rows.astype(np.float16), strict=True))
        if path is not None:
            _write(path, known)
        if progress is not None:
            progress("encoding", min(start + _CHUNK, len(todo)), len(todo))
    if not keys:
        return np.zeros((0, encoder.dim), dtype=np.float32)
    return np.stack([known[key] for key in keys]).astype(np.float32)


def _read(path: Path | None, dim: int) -> dict[bytes, np.ndarray]:
    """What the cache holds; a damaged or foreign file counts as empty, it is only a cache."""
    if path is None or not path.is_file():
        return {}
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError):
        return {}
    keys, vectors = tensors.get("keys"), tensors.get("vectors")
    if keys is None or vectors is None or vectors.shape != (len(keys), dim):
        return {}
    return {key.tobytes(): row for key, row in zip(keys, vectors, strict=True)}


def _write(path: Path, known: dict[bytes, np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    keys = np.frombuffer(b"".join(known), dtype=np.uint8).reshape(-1, 16)
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    save_file({"keys": keys.copy(), "vectors": np.stack(list(known.values()))}, draft)
    draft.replace(path)
