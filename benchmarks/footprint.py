"""Size of the base install, time of an import and of ``fugu --help``: in a fresh environment.

Times are medians of interleaved runs on a warm disk; the interpreter's own start is taken off the import.

Usage: python benchmarks/footprint.py [--runs 15]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent


def megabytes(folder: Path) -> float:
    """Size of a folder's files, in MB (10^6 bytes)."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def seconds(command: list[str]) -> float:
    """Wall time of a command."""
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    """Install, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        venv.create(home, with_pip=True)
        python = str(home / "bin" / "python")
        (packages,) = (home / "lib").glob("python*/site-packages")
        before = megabytes(packages)
        install = [python, "-m", "pip", "install", "--quiet", "--no-compile", str(ROOT)]
        subprocess.run(install, check=True)
        installed = megabytes(packages) - before
        ours = megabytes(packages / "fugu_adapters")
        subprocess.run([python, "-m", "compileall", "-q", str(packages)], check=False)
        compiled = megabytes(packages) - before
        commands = {
            "interpreter alone": [python, "-c", "pass"],
            "import fugu_adapters": [python, "-c", "import fugu_adapters"],
            "fugu --help": [str(home / "bin" / "fugu"), "--help"],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(runs + 1):
            for name, command in commands.items():
                times[name].append(seconds(command))
    bare = statistics.median(times["interpreter alone"][1:])
    print(f"Python {sys.version.split()[0]}, {runs} runs")
    print(f"base install          {installed:7.1f} MB, of which ours {ours:.1f}")
    print(f"with byte code        {compiled:7.1f} MB")
    for name in commands:
        median = statistics.median(times[name][1:])
        print(f"{name:21} {median:7.3f} s, {median - bare:.3f} over the interpreter")


if __name__ == "__main__":
    main()
