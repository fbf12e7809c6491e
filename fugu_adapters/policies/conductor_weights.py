"""A conductor's weights: a folder with ``manifest.json`` and ``conductor.safetensors``, checked before use."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from fugu_adapters.errors import InputError, WeightsError
from fugu_adapters.policies.conductor import FEATURES, Conductor, Network, Value

__all__ = ["load_conductor", "save_conductor"]

_FORMAT = 1
_MANIFEST, _TENSORS = "manifest.json", "conductor.safetensors"
_PARTS = ("hidden", "bias", "out", "skip")
_MAX_BYTES = 4 * 1024 * 1024
_SHIPPED = Path(__file__).parents[1] / "weights" / "conductor"


def save_conductor(conductor: Conductor, folder: Path, provenance: Mapping[str, Any]) -> str:
    """Write a conductor, and what it was trained on.

    Args:
        conductor: what was trained; its network is kept as float32.
        folder: made where it is missing.
        provenance: data, command, seed and figures, for people.

    Returns:
        Digest of the tensors.
    """
    tensors = {
        name: np.ascontiguousarray(getattr(conductor.network, name), dtype=np.float32)
        for name in _PARTS
    }
    body = save(tensors)
    digest = hashlib.sha256(body).hexdigest()
    value = asdict(conductor.value)
    manifest = {
        "format": _FORMAT,
        "sha256": digest,
        "features": FEATURES,
        "tensors": {name: list(each.shape) for name, each in tensors.items()},
        "value": {**value, "gain": dict(value["gain"])},
        "kinds": list(conductor.kinds),
        "provenance": dict(provenance),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _TENSORS).write_bytes(body)
    text = json.dumps(manifest, indent=1, allow_nan=False)
    (folder / _MANIFEST).write_text(text + "\n", encoding="utf-8")
    return digest


@functools.cache
def load_conductor(folder: Path | None = None) -> Conductor:
    """Read what :func:`save_conductor` wrote, once per process.

    Args:
        folder: of the weights; the shipped ones where not given.

    Raises:
        WeightsError: where something is missing, too large, altered, or not a conductor's.
    """
    folder = folder or _SHIPPED
    try:
        for name in (_MANIFEST, _TENSORS):
            if (folder / name).stat().st_size > _MAX_BYTES:
                raise WeightsError(f"{folder / name}: larger than {_MAX_BYTES} bytes")
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        body = (folder / _TENSORS).read_bytes()
        if manifest["format"] != _FORMAT or manifest["features"] != FEATURES:
            raise WeightsError(
                f"{folder}: made by another version; `fugu train conductor` writes one"
            )
        if hashlib.sha256(body).hexdigest() != manifest["sha256"]:
            raise WeightsError(f"{folder / _TENSORS}: its digest is not the manifest's")
        tensors = load(body)
        network = Network(**{name: tensors[name].astype(np.float64) for name in _PARTS})
        return Conductor(
            network=network, value=Value(**manifest["value"]), kinds=tuple(manifest["kinds"])
        )
    except WeightsError:
        raise
    except (OSError, ValueError, LookupError, TypeError, InputError, SafetensorError) as error:
        raise WeightsError(
            f"{folder}: not a conductor's weights ({error}); `fugu train conductor` writes some"
        ) from error
