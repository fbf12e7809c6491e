"""``fugu profile --probes`` in a process of its own, against a server on loopback."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from test_cli import Shell

from fugu_adapters.policies.weights import default_bundle, load_bundle
from fugu_adapters.testing import FaultServer, chat_reply


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    async with FaultServer() as server:
        yield Shell(tmp_path, server)


async def test_a_worker_is_placed_and_routed_by_its_probes(shell: Shell) -> None:
    """Calls are made once, the bundle gains one row, a rerun asks nothing, and routing uses the row."""
    shell.server.script("newcomer", [chat_reply("Answer: no idea", usage=(90, 20))])
    shell.write("newcomer")
    arguments = (
        "profile",
        "--worker",
        "newcomer",
        "--probes",
        "24",
        "--concurrency",
        "4",
        "--json",
    )
    done = await shell(*arguments)
    assert done.code == 0, done.err
    told = done.json
    (row,) = told["workers"]
    assert (told["calls"], row["probes"], row["measured_before"]) == (24, 24, 0)
    assert row["cost_usd"] == pytest.approx(24 * (90 + 200) / 1e6)
    assert row["after"]["score"] < row["before"]["score"]
    low, high = row["before"]["interval"]
    assert low < row["before"]["score"] < high
    assert row["areas"][0].keys() == {"area", "before", "after"}
    bundle = load_bundle(shell.folder / "fugu-selector")
    assert bundle.profiles == (*default_bundle().profiles, "newcomer")
    assert bundle.provenance["placed"]["newcomer"]["base"] == default_bundle().digest
    text = (shell.folder / "fugu.toml").read_text()
    (shell.folder / "fugu.toml").write_text('[pool]\nselector = "fugu-selector"\n' + text)
    again = (await shell(*arguments)).json
    assert again["calls"] == 0
    assert load_bundle(shell.folder / "fugu-selector").count[-1].sum() == 24
    decision = (await shell("route", "--json", "What is 12 times 12?")).json
    assert decision["candidates"][0]["calibrated"]


async def test_a_second_worker_joins_the_first(shell: Shell) -> None:
    """Runs for different workers add to the same folder, before fugu.toml names it too."""
    for name in ("one", "two"):
        shell.server.script(name, [chat_reply("Answer: 3", usage=(90, 20))])
    shell.write("one", "two")
    first = await shell("profile", "-w", "one", "--probes", "2")
    assert first.code == 0, first.err
    assert '[pool] selector = "fugu-selector"' in first.out
    assert "over all" in first.out
    assert (await shell("profile", "-w", "two", "--probes", "2")).code == 0
    bundle = load_bundle(shell.folder / "fugu-selector")
    assert bundle.profiles[-2:] == ("one", "two")
    assert set(bundle.provenance["placed"]) == {"one", "two"}


async def test_the_cap_is_said_and_nothing_is_written_without_answers(shell: Shell) -> None:
    """Under a cap below one call's worst price nothing is asked; a little more pays for some."""
    shell.server.script("dear", [chat_reply("Answer: 3", usage=(90, 20))])
    shell.write("dear")
    none = await shell("profile", "-w", "dear", "--probes", "4", "--max-usd", "0.01")
    assert none.code == 0, none.err
    assert "stopped by $0.01" in none.out
    assert "nothing was written" in none.out
    assert not (shell.folder / "fugu-selector").exists()
    some = await shell("profile", "-w", "dear", "--probes", "4", "--max-usd", "0.0212", "--json")
    told = json.loads(some.out)
    assert told["stopped_by"] == "$0.0212"
    assert 0 < told["calls"] < 4
    assert told["selector"] == "fugu-selector"


async def test_a_measured_worker_is_said_to_be_one(shell: Shell) -> None:
    """A known model's probes refine the row it has, and the summary says so."""
    shell.server.script("gpt-4o-mini", [chat_reply("Answer: 3", usage=(90, 20))])
    shell.write("gpt-4o-mini")
    done = await shell("profile", "--probes", "2")
    assert done.code == 0, done.err
    assert "has a measured profile already" in done.err
