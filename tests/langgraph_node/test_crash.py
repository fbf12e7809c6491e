"""A compiled workflow that is killed goes on where it was, without paying twice."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

CHILD = Path(__file__).with_name("crash_child.py")


def start(state: Path, calls: Path, hang_in: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(CHILD), str(state), str(calls), str(hang_in)],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_killed_chain_of_five_calls_only_the_steps_that_were_not_finished(tmp_path: Path) -> None:
    """SIGKILL during step 3: the next process calls 3, 4 and 5, and has the answer."""
    state, calls = tmp_path / "state.db", tmp_path / "calls"
    with start(state, calls, hang_in=3) as first:
        if first.stdout is not None:
            assert first.stdout.readline() == "hanging\n"
        first.send_signal(signal.SIGKILL)
        assert first.wait(10) == -signal.SIGKILL
    assert calls.read_text().split() == ["1", "2", "3"]
    with start(state, calls, hang_in=0) as second:
        told, _ = second.communicate(timeout=60)
    assert told == "output 5\n"
    assert calls.read_text().split() == ["1", "2", "3", "3", "4", "5"]
