"""Build the wheel, look at what is in it, and run tests on it with the source tree out of sight.

Run by ``make wheel``; not collected by pytest, because it builds.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = {"fugu_adapters", "langgraph_node", "crewai_tool", "mcp_server"}
MAX_MB = 12
TESTS = ("tests/test_fugu.py", "tests/policies")


def main() -> int:
    """Return the exit code of the tests."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
            cwd=ROOT,
            check=True,
        )
        (wheel,) = Path(folder).glob("*.whl")
        check(wheel)
        unpacked = Path(folder) / "unpacked"
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(unpacked)
        env = os.environ | {"PYTHONPATH": str(unpacked)}
        where = "import fugu_adapters; print(fugu_adapters.__file__)"
        found = subprocess.run(
            [sys.executable, "-c", where], env=env, cwd=folder, check=True, capture_output=True
        )
        if not found.stdout.decode().startswith(str(unpacked)):
            sys.exit(f"the wheel is shadowed by {found.stdout.decode()}")
        command = [sys.executable, "-m", "pytest", "-m", "not embedded", *TESTS]
        return subprocess.run(command, env=env, cwd=ROOT).returncode


def check(wheel: Path) -> None:
    """Only the four packages, typed, with the weights, no loader hooks, no tests, not too large."""
    names = zipfile.ZipFile(wheel).namelist()
    strange = [n for n in names if n.split("/")[0] not in PACKAGES and ".dist-info/" not in n]
    forbidden = [n for n in names if n.endswith((".pth", ".gguf", ".pkl", ".pyc")) or "test_" in n]
    missing = {f"{package}/py.typed" for package in PACKAGES} - set(names)
    weights = [n for n in names if n.endswith("selector.safetensors")]
    megabytes = wheel.stat().st_size / 1e6
    if strange or forbidden or missing or not weights or megabytes > MAX_MB:
        sys.exit(f"wheel: {strange=} {forbidden=} {missing=} {weights=} {megabytes=:.1f}")
    print(f"{wheel.name}: {len(names)} files, {megabytes:.1f} MB")


if __name__ == "__main__":
    sys.exit(main())
