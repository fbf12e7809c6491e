"""Bundles of learned weights: a folder with ``manifest.json`` and one safetensors file.

Everything is checked before use, sizes first: format, digest, names, dtypes, shapes, finiteness. What
does not match is a :class:`~fugu_adapters.errors.WeightsError`, never a silent fallback.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.resources
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as dump_tensors

from fugu_adapters.errors import WeightsError
from fugu_adapters.policies.clusters import kernel

__all__ = [
    "FORMAT_VERSION",
    "SHARED",
    "Bundle",
    "Settings",
    "default_bundle",
    "load_bundle",
    "logit",
    "save_bundle",
]

FORMAT_VERSION = 3
"""Of the folder's layout. A reader accepts exactly its own."""

_MANIFEST, _TENSORS = "manifest.json", "selector.safetensors"
_MAX_MANIFEST, _MAX_TENSORS = 4 * 1024 * 1024, 64 * 1024 * 1024
_SHAPES = {
    "centroids": ("K", "D"),
    "area": ("K",),
    "mass": ("K",),
    "reach": ("K",),
    "p": ("W", "K"),
    "sd": ("W", "K"),
    "level": ("W", "K"),
    "count": ("W", "K"),
    "log_tokens": ("W", "K"),
    "seconds": ("W", "K"),
    "crowd": ("K",),
    "tier": ("T",),
}
_DTYPES = {"centroids": "float16", "area": "uint16", "sd": "float16", "level": "float16",
           "count": "uint16", "log_tokens": "float16", "seconds": "float16"}  # fmt: skip

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What the decision needs beside the tensors; chosen on held-out data when the bundle was made.

    Attributes:
        nearest: clusters that a request is spread over.
        temperature: of the softmax over their cosines.
        width: of the kernel that expected scores are carried from the centroids to a request by.
        area_z: prefer another worker than the pool's best over a whole area only where the expected gain
            there is above this many standard deviations.
        gain_z: leave the pool's best worker of the area for quality only where the expected gain is
            above this many standard deviations.
        loss_z: standard deviations that are added to an expected loss before it is weighed against a saving.
    """

    nearest: int = 4
    temperature: float = 0.05
    width: float = 3.0
    area_z: float = 0.1
    gain_z: float = 0.5
    loss_z: float = 0.5


SHARED = Settings(area_z=0.5, gain_z=1.0, loss_z=1.0)
"""For a bundle that serves pools it was not fitted to: how far workers differ was learned elsewhere."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Bundle:
    """A selector's weights: W profiles over K clusters of D-dimensional vectors.

    Attributes:
        encoder: id of the encoder that the centroids belong to.
        profiles: names, ``[W]``.
        aliases: other names of profiles.
        labels: what each cluster is mostly about, ``[K]``.
        settings: of the decision.
        centroids: float32 ``[K, D]``, unit rows.
        area: group of clusters that each belongs to, ``[K]``.
        mass: share of the training items, ``[K]``.
        reach: cosine below which a request is unlike anything that the cluster was made of, ``[K]``.
        p: expected score at the centroid, ``[W, K]``.
        sd: its standard deviation, ``[W, K]``.
        level: expected score over the cluster's training items, ``[W, K]``.
        count: outcomes behind it, ``[W, K]``.
        log_tokens: natural logarithm of the expected reply tokens, ``[W, K]``.
        seconds: expected seconds, -1 where unknown, ``[W, K]``.
        crowd: logit of the average worker's score, ``[K]``.
        tier: for workers without a profile: intercept and slope of the logit over log10 of the output
            price, standard deviation around it, and mean log10 price, ``[4]``.
        provenance: inputs with digests and counts, command, seed, versions.
        metrics: measured on held-out data.
    """

    encoder: str
    profiles: tuple[str, ...]
    aliases: Mapping[str, str] = field(default_factory=dict)
    labels: tuple[str, ...]
    settings: Settings
    centroids: Floats
    area: Floats
    mass: Floats
    reach: Floats
    p: Floats
    sd: Floats
    level: Floats
    count: Floats
    log_tokens: Floats
    seconds: Floats
    crowd: Floats
    tier: Floats
    provenance: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    digest: str = ""

    @functools.cached_property
    def index(self) -> Mapping[str, int]:
        """Row of each profile."""
        return {name: row for row, name in enumerate(self.profiles)}

    @functools.cached_property
    def lift(self) -> Floats:
        """By how much a cluster's ``level`` is above its centroid's ``p``, in logits, the average worker's, ``[K]``."""
        rise: Floats = (logit(self.level) - logit(self.p)).mean(axis=0)
        return rise

    @functools.cached_property
    def carry(self) -> NDArray[np.float64]:
        """Inverse of the centroids' likenesses: carries values at the centroids to a request, ``[K, K]``.

        Its terms are large and cancel: in single precision a forecast would depend on which others are asked for.
        """
        table = kernel(self.centroids, self.centroids, self.settings.width, nugget=True)
        return np.linalg.inv(table).astype(np.float64, copy=False)


def logit(p: Floats) -> Floats:
    """Of probabilities, bounded."""
    z: Floats = np.log(np.clip(p, 1e-6, None)) - np.log(np.clip(1.0 - p, 1e-6, None))
    return z


def save_bundle(bundle: Bundle, folder: Path) -> Path:
    """Write a bundle, manifest last, so that a reader never sees half of a new one.

    Returns:
        The folder.
    """
    # safetensors writes an array as it lies in memory, so it has to lie in rows.
    tensors = {
        name: np.ascontiguousarray(getattr(bundle, name), dtype=_DTYPES.get(name, "float32"))
        for name in _SHAPES
    }
    blob = dump_tensors(tensors)
    manifest = {
        "format": FORMAT_VERSION,
        "kind": "selector",
        "encoder": bundle.encoder,
        "file": _TENSORS,
        "bytes": len(blob),
        "sha256": hashlib.sha256(blob).hexdigest(),
        "tensors": {
            name: {"dtype": str(value.dtype), "shape": list(value.shape)}
            for name, value in tensors.items()
        },
        "settings": {name: getattr(bundle.settings, name) for name in Settings.__slots__},
        "provenance": dict(bundle.provenance),
        "metrics": dict(bundle.metrics),
        "labels": list(bundle.labels),
        "aliases": dict(sorted(bundle.aliases.items())),
        "profiles": list(bundle.profiles),
    }
    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder / _TENSORS, blob)
    text = json.dumps(manifest, indent=1, ensure_ascii=False, allow_nan=False)
    _replace(folder / _MANIFEST, f"{text}\n".encode())
    return folder


def _replace(path: Path, data: bytes) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(data)
    draft.replace(path)


@functools.cache
def default_bundle(name: Literal["selector", "local"] = "selector") -> Bundle:
    """A bundle that ships with the package, read once per process.

    Args:
        name: ``selector``, for any pool, or ``local``, for pools of embedded workers alone.
    """
    with importlib.resources.as_file(
        importlib.resources.files("fugu_adapters") / "weights" / name
    ) as folder:
        return load_bundle(folder)


def load_bundle(folder: Path) -> Bundle:
    """Read and check a bundle.

    Raises:
        WeightsError: where anything is missing, too large, damaged or of another format.
    """
    manifest = _read_manifest(folder / _MANIFEST)
    blob = _read_bounded(folder / _TENSORS, _MAX_TENSORS)
    if len(blob) != manifest["bytes"] or hashlib.sha256(blob).hexdigest() != manifest["sha256"]:
        raise WeightsError(
            f"{folder / _TENSORS}: its digest is not the manifest's; fetch or train the bundle again"
        )
    try:
        tensors = load_tensors(blob)
    except SafetensorError as error:
        raise WeightsError(f"{folder / _TENSORS}: not a safetensors file ({error})") from error
    _check_tensors(folder, tensors, manifest)
    try:
        return Bundle(
            encoder=str(manifest["encoder"]),
            profiles=tuple(manifest["profiles"]),
            aliases=dict(manifest["aliases"]),
            labels=tuple(manifest["labels"]),
            settings=Settings(**manifest["settings"]),
            provenance=manifest["provenance"],
            metrics=manifest["metrics"],
            digest=str(manifest["sha256"]),
            **{name: value.astype(np.float32) for name, value in tensors.items()},
        )
    except TypeError as error:
        raise WeightsError(f"{folder / _MANIFEST}: {error}") from error


def _read_bounded(path: Path, limit: int) -> bytes:
    try:
        size = path.stat().st_size
        if size > limit:
            raise WeightsError(f"{path}: {size:,} bytes is over the bound of {limit:,}")
        return path.read_bytes()
    except OSError as error:
        raise WeightsError(
            f"{path}: cannot be read ({error.strerror}); expected a bundle"
        ) from error


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(_read_bounded(path, _MAX_MANIFEST))
    except ValueError as error:
        raise WeightsError(f"{path}: not JSON ({error})") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT_VERSION:
        found = manifest.get("format") if isinstance(manifest, dict) else None
        raise WeightsError(
            f"{path}: expected format {FORMAT_VERSION}, got {found!r}; train it with this version"
        )
    needed = ("encoder", "bytes", "sha256", "tensors", "settings", "profiles", "aliases", "labels",
              "provenance", "metrics")  # fmt: skip
    missing = [key for key in needed if key not in manifest]
    if missing:
        raise WeightsError(f"{path}: lacks {', '.join(missing)}")
    return manifest


def _check_tensors(
    folder: Path, tensors: Mapping[str, NDArray[Any]], manifest: Mapping[str, Any]
) -> None:
    where = folder / _TENSORS
    if set(tensors) != set(_SHAPES):
        raise WeightsError(f"{where}: expected {sorted(_SHAPES)}, got {sorted(tensors)}")
    centroids = tensors["centroids"]
    sizes = {"W": len(manifest["profiles"]), "K": len(manifest["labels"]), "T": 4}
    sizes["D"] = centroids.shape[-1] if centroids.ndim == 2 else -1
    for name, axes in _SHAPES.items():
        value, expected = tensors[name], tuple(sizes[axis] for axis in axes)
        declared = manifest["tensors"].get(name)
        if declared != {"dtype": str(value.dtype), "shape": list(value.shape)}:
            raise WeightsError(f"{where}: {name} is {value.dtype} {value.shape}, not {declared}")
        if str(value.dtype) != _DTYPES.get(name, "float32") or value.shape != expected:
            raise WeightsError(
                f"{where}: {name}: expected {_DTYPES.get(name, 'float32')} {expected}, "
                f"got {value.dtype} {value.shape}"
            )
        if not np.isfinite(value).all():
            raise WeightsError(f"{where}: {name} holds values that are not finite")
