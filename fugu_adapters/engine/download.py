"""Fetching a file of known digest, such as the weights of an embedded model."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeAlias
from urllib.parse import urljoin, urlsplit

from fugu_adapters.engine.status import error_for_status
from fugu_adapters.engine.transport import Transport
from fugu_adapters.errors import WeightsError, WorkerError, WorkerTimeout

__all__ = ["OnBytes", "download"]

_MAX_REDIRECTS = 5
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_REDIRECTS = (301, 302, 303, 307, 308)


OnBytes: TypeAlias = Callable[[int], None]
"""Called after each piece with the bytes received so far."""


async def download(
    url: str,
    target: Path,
    *,
    sha256: str,
    max_bytes: int,
    on_bytes: OnBytes | None = None,
    stall: float = 60.0,
) -> None:
    """Fetch ``url`` into ``target``, which appears only whole and with the right digest.

    Up to five redirects are followed, from https to https only; plain http is for loopback addresses.

    Args:
        url: where from.
        target: where to; its folder has to exist. An existing file is replaced.
        sha256: hexadecimal digest that the content must have.
        max_bytes: the longest file that is accepted.
        on_bytes: for a progress bar.
        stall: seconds without a byte after which it gives up.

    Raises:
        WeightsError: an address that is not allowed, too many redirects, or the wrong digest.
        WorkerError: no connection, a refusal, a file that is too long or cut short, or a stall.
    """
    transport = Transport()
    try:
        for _ in range(_MAX_REDIRECTS + 1):
            location = await _fetch(transport, url, target, sha256, max_bytes, on_bytes, stall)
            if location is None:
                return
            url = _redirected(url, location)
    except TimeoutError as error:
        if isinstance(error, WorkerError):
            raise
        text = f"the download stalled: nothing came for {stall:.3g} s; try again"
        raise WorkerTimeout(text, worker=target.name, cause_kind="idle") from None
    finally:
        await transport.aclose()
    raise WeightsError(f"{target.name}: more than {_MAX_REDIRECTS} redirects; check the address")


async def _fetch(
    transport: Transport,
    url: str,
    target: Path,
    sha256: str,
    max_bytes: int,
    on_bytes: OnBytes | None,
    stall: float,
) -> str | None:
    """One request: ``None`` once the file is in place, else the location of a redirect."""
    _check_address(url)
    async with (
        asyncio.timeout(stall) as timer,
        transport.stream(
            url, method="GET", headers={}, body=None, worker=target.name, max_bytes=max_bytes
        ) as reply,
    ):
        if reply.status in _REDIRECTS:
            return reply.headers.get("location", "")
        if not reply.ok:
            raise error_for_status(reply.status, reply.headers, target.name)
        digest, received = hashlib.sha256(), 0
        with _beside(target) as (file, path):
            async for chunk in reply:
                file.write(chunk)
                digest.update(chunk)
                received += len(chunk)
                if on_bytes is not None:
                    on_bytes(received)
                timer.reschedule(asyncio.get_running_loop().time() + stall)
            _check_digest(target.name, digest.hexdigest(), sha256.lower())
            timer.reschedule(None)  # it is all here; the disk may take its time
            await asyncio.to_thread(_publish, file, path, target)
    return None


def _check_digest(name: str, got: str, expected: str) -> None:
    if got != expected:
        raise WeightsError(
            f"{name}: expected sha256 {expected:.12}..., got {got:.12}...; nothing was kept; "
            "check the address and the digest"
        )


def _check_address(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        return
    raise WeightsError(f"expected an https:// address to download from, got {parts.scheme!r:.20}")


def _redirected(url: str, location: str) -> str:
    target = urljoin(url, location)
    if not location or (url.startswith("https:") and not target.startswith("https:")):
        raise WeightsError("the download was redirected to an address that is not https://")
    return target


@contextmanager
def _beside(target: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A temporary file in the target's folder, gone again unless it was moved away."""
    descriptor, name = tempfile.mkstemp(
        dir=target.parent, prefix=f".{target.name}.", suffix=".part"
    )
    path = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file, path
    finally:
        path.unlink(missing_ok=True)


def _publish(file: BinaryIO, path: Path, target: Path) -> None:
    file.flush()
    os.fsync(file.fileno())
    path.replace(target)
