"""Downloads: whole and right, or not there."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from fugu_adapters.engine.download import download
from fugu_adapters.errors import (
    WeightsError,
    WorkerProtocolError,
    WorkerRefused,
    WorkerTimeout,
)
from fugu_adapters.testing.acts import Act, hang
from fugu_adapters.testing.fault_server import FaultServer

CONTENT = b"weights" * 5000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def _download(url: str, target: Path, **changes: object) -> None:
    options = {"sha256": DIGEST, "max_bytes": 10**6, **changes}
    await download(url, target, **options)  # type: ignore[arg-type]


async def test_download_follows_redirects_and_reports_progress(tmp_path: Path) -> None:
    """The file appears whole, under its own name only, after relative and absolute redirects."""
    seen: list[int] = []
    async with FaultServer() as server, FaultServer() as store:
        store.script("file", [Act(pieces=(CONTENT[:9], CONTENT[9:]))])
        server.script("a", [Act(status=302, headers={"location": "/w/b/v1"})])
        server.script("b", [Act(status=307, headers={"location": store.url("file")})])
        await _download(server.url("a"), tmp_path / "w.bin", on_bytes=seen.append)
    assert (tmp_path / "w.bin").read_bytes() == CONTENT
    assert _names(tmp_path) == ["w.bin"]
    assert seen[-1] == len(CONTENT)
    assert seen == sorted(seen)
    assert store.requests[0].method == "GET"


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (Act(pieces=(b"other",)), WeightsError),
        (Act(pieces=(CONTENT,), declared=10**6, end="cut"), WorkerProtocolError),
        (Act(pieces=(CONTENT,), repeat=50), WorkerProtocolError),
        (Act(pieces=(CONTENT,), repeat=50, framing="chunked"), WorkerProtocolError),
        (Act(status=404), WorkerRefused),
        (Act(pieces=(b"x",), declared=9, end="stall"), WorkerTimeout),
        (hang(), WorkerTimeout),
        (Act(status=302, headers={"location": "http://198.51.100.7/x"}), WeightsError),
        (Act(status=302, headers={"location": "file:///etc/passwd"}), WeightsError),
        (Act(status=302), WeightsError),
        (Act(status=302, headers={"location": "/w/a/v1"}), WeightsError),
    ],
    ids=[
        "digest",
        "cut",
        "declared-long",
        "long",
        "404",
        "stall",
        "hang",
        "http",
        "file",
        "nowhere",
        "loop",
    ],
)
async def test_failed_downloads_leave_nothing(
    act: Act, kind: type[Exception], tmp_path: Path
) -> None:
    """Whatever goes wrong, the old file stays and no temporary file does."""
    target = tmp_path / "w.bin"
    target.write_bytes(b"old")
    patience = 0.2 if kind is WorkerTimeout else 20
    async with FaultServer() as server:
        server.script("a", [act])
        with pytest.raises(kind):
            await _download(server.url("a"), target, stall=patience)
        assert len(server.requests) <= 6
    assert target.read_bytes() == b"old"
    assert _names(tmp_path) == ["w.bin"]


async def test_cancelled_download_leaves_nothing(tmp_path: Path) -> None:
    """Cancelling in the middle removes the temporary file and closes the connection."""
    async with FaultServer() as server:
        server.script("a", [Act(pieces=(b"x",), declared=9, end="stall")])
        begun = asyncio.Event()
        task = asyncio.ensure_future(
            _download(server.url("a"), tmp_path / "w.bin", on_bytes=lambda _: begun.set())
        )
        await begun.wait()
        assert len(_names(tmp_path)) == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(10):
            await server.requests[0].gone.wait()
    assert _names(tmp_path) == []


async def test_plain_http_is_for_loopback_only(tmp_path: Path) -> None:
    """An http address elsewhere is refused before anything is sent."""
    with pytest.raises(WeightsError, match="https"):
        await _download("http://example.com/w.bin", tmp_path / "w.bin")
