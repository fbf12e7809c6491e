from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from fugu_adapters.errors import WeightsError
from fugu_adapters.policies.weights import Bundle, default_bundle, load_bundle, save_bundle


@pytest.fixture
def folder(tmp_path: Path, bundle: Bundle) -> Path:
    return save_bundle(bundle, tmp_path / "selector")


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def reseal(folder: Path, tensors: dict[str, np.ndarray]) -> None:
    """Write other tensors with a manifest whose digest and shapes fit them."""
    import hashlib

    path = folder / "selector.safetensors"
    save_file(tensors, path)
    blob = path.read_bytes()
    described = {n: {"dtype": str(v.dtype), "shape": list(v.shape)} for n, v in tensors.items()}
    edit(folder, bytes=len(blob), sha256=hashlib.sha256(blob).hexdigest(), tensors=described)


def test_what_is_saved_is_loaded(folder: Path, bundle: Bundle) -> None:
    """Names, settings and tensors come back, tensors within half precision."""
    loaded = load_bundle(folder)
    assert loaded.profiles == bundle.profiles
    assert loaded.settings == bundle.settings
    assert loaded.labels == bundle.labels
    assert dict(loaded.aliases) == dict(bundle.aliases)
    for name in ("centroids", "p", "sd", "count", "log_tokens", "seconds", "area", "tier"):
        np.testing.assert_allclose(getattr(loaded, name), getattr(bundle, name), rtol=2e-3)


def test_saving_twice_gives_the_same_bytes(tmp_path: Path, bundle: Bundle) -> None:
    """The files depend on the bundle only."""
    first, second = (save_bundle(bundle, tmp_path / name) for name in ("a", "b"))
    for name in ("manifest.json", "selector.safetensors"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_a_changed_byte_is_refused(folder: Path) -> None:
    """One flipped bit in the tensors fails the digest."""
    path = folder / "selector.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(WeightsError, match="digest"):
        load_bundle(folder)


@pytest.mark.parametrize("missing", ["manifest.json", "selector.safetensors"])
def test_a_missing_file_is_named(folder: Path, missing: str) -> None:
    """The error names the file that is not there."""
    (folder / missing).unlink()
    with pytest.raises(WeightsError, match=missing):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": 99}, "expected format 3, got 99"),
        ({"settings": {"surprise": 1}}, "surprise"),
        ({"profiles": ["only-one"]}, "expected"),
        ({"labels": ["one"]}, "expected"),
        ({"tensors": {}}, "not None"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(
    folder: Path, changes: dict[str, Any], said: str
) -> None:
    """Another format, unknown settings, or counts that are not the tensors' are errors."""
    edit(folder, **changes)
    with pytest.raises(WeightsError, match=said):
        load_bundle(folder)


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 1}'])
def test_a_broken_manifest_is_refused(folder: Path, text: str) -> None:
    """What is not a complete JSON manifest is an error, not a crash."""
    (folder / "manifest.json").write_text(text)
    with pytest.raises(WeightsError):
        load_bundle(folder)


def test_a_manifest_over_its_bound_is_not_read(folder: Path) -> None:
    """Size is checked before anything is parsed."""
    with (folder / "manifest.json").open("r+b") as file:
        file.truncate(5 * 1024 * 1024)
    with pytest.raises(WeightsError, match="over the bound"):
        load_bundle(folder)


def _with(
    name: str, change: Callable[[np.ndarray], np.ndarray]
) -> Callable[[dict[str, Any]], None]:
    def apply(tensors: dict[str, Any]) -> None:
        tensors[name] = change(tensors[name])

    return apply


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_with("p", lambda v: np.full_like(v, np.nan)), "not finite"),
        (_with("p", lambda v: v.astype(np.float64)), "float32"),
        (_with("p", lambda v: np.ascontiguousarray(v[:, :2])), "p: expected"),
        (_with("centroids", np.ravel), "centroids"),
        (lambda tensors: tensors.pop("mass"), "expected"),
    ],
)
def test_tensors_that_do_not_fit_are_refused_even_when_resealed(
    folder: Path, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    """A right digest does not excuse a wrong shape, dtype, name or value."""
    tensors = load_file(folder / "selector.safetensors")
    change(tensors)
    reseal(folder, tensors)
    with pytest.raises(WeightsError, match=said):
        load_bundle(folder)


def test_a_file_that_is_not_safetensors_is_refused(folder: Path) -> None:
    """Foreign bytes with a right digest are an error; nothing is ever unpickled."""
    import hashlib

    blob = b"\x80\x04not tensors"
    (folder / "selector.safetensors").write_bytes(blob)
    edit(folder, bytes=len(blob), sha256=hashlib.sha256(blob).hexdigest())
    with pytest.raises(WeightsError, match="not a safetensors file"):
        load_bundle(folder)


def test_the_shipped_bundle_is_small_and_traceable() -> None:
    """It loads, is under 2 MB, and says what it was made of."""
    default_bundle.cache_clear()
    bundle = default_bundle()
    folder = Path(__file__).parents[2] / "fugu_adapters" / "weights" / "selector"
    assert (folder / "selector.safetensors").stat().st_size < 2_000_000
    assert {"command", "inputs", "items", "outcomes", "seed"} <= set(bundle.provenance)
    assert all(len(source["sha256"]) == 64 for source in bundle.provenance["inputs"])
    assert (bundle.p >= 0).all()
    assert (bundle.p <= 1).all()
