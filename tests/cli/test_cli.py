"""The ``fugu`` command in processes of its own, against a server on loopback."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fugu_adapters.policies.weights import SHARED
from fugu_adapters.testing import FaultServer, chat_reply, chat_stream, error_reply, hang

CANARY = "sk-canary-71c2"


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Shell:
    """A folder with a ``fugu.toml`` whose workers are scripts of a fault server."""

    def __init__(self, folder: Path, server: FaultServer) -> None:
        self.folder = folder
        self.server = server
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "FUGU_STORE": f"sqlite:///{folder / 'runs.db'}",
            "FUGU_WEIGHTS_DIR": str(folder / "weights"),
            "COLUMNS": "200",
            "TEST_KEY": CANARY,
        }
        self.env |= {key: value for key, value in os.environ.items() if "COVERAGE" in key}

    def write(self, *workers: str, facts: Mapping[str, str] | None = None) -> None:
        text = ""
        for name in workers:
            text += (
                f'[[worker]]\nname = "{name}"\nmodel = "{name}"\n'
                f'base_url = "{self.server.url(name)}"\napi_key_env = "TEST_KEY"\n'
                "context_window = 8000\nprice = { input = 1.0, output = 10.0 }\n"
            )
            text += "".join(f"{key} = {value}\n" for key, value in (facts or {}).items())
        (self.folder / "fugu.toml").write_text(text)

    async def __call__(self, *arguments: str, stdin: bytes = b"", **env: str) -> Done:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-W",
            "error::ResourceWarning",
            "-c",
            "from fugu_adapters.cli import main; main()",
            *arguments,
            cwd=self.folder,
            env=self.env | env,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate(stdin)
        done = Done(process.returncode or 0, out.decode(), err.decode())
        assert "Traceback" not in done.err, done.err
        assert CANARY not in done.out + done.err
        return done


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    async with FaultServer() as server:
        yield Shell(tmp_path, server)


async def test_ask_json_is_one_object_with_all_that_was_promised(shell: Shell) -> None:
    """Text, worker, candidates, usage, cost and run id; nothing else on standard output."""
    shell.server.script("a", [chat_reply("four", usage=(10, 2))])
    shell.write("a")
    done = await shell("ask", "--json", "what is 2+2?")
    assert done.code == 0
    assert done.out.count("\n") == 1
    answer = done.json
    assert answer["text"] == "four"
    assert answer["worker"] == "a"
    assert answer["usage"]["input_tokens"] == 10
    assert answer["cost_usd"] == pytest.approx(30e-6)
    assert set(answer["candidates"][0]) >= {"worker", "p_success", "cost_usd"}
    assert len(answer["run_id"]) == 32
    assert answer["reason"]
    trace = await shell("trace", answer["run_id"][:8], "--json")
    assert trace.json["text"] == "four"
    assert (await shell("trace", "--list", "5", "--json")).json[0]["run_id"] == answer["run_id"]


async def test_ask_streams_the_answer_alone_to_standard_output(shell: Shell) -> None:
    """A pipe gets the text; who and why go to standard error; the key went out in its header."""
    shell.server.script("a", [chat_stream("four ", "and ", "no more")])
    shell.write("a")
    done = await shell("ask", "-", stdin=b"what is 2+2?")
    assert (done.code, done.out) == (0, "four and no more\n")
    assert "answered by a" in done.err
    sent = shell.server.requests[0]
    assert sent.json["messages"] == [{"role": "user", "content": "what is 2+2?"}]
    assert sent.headers["authorization"] == f"Bearer {CANARY}"
    shown = await shell("trace")
    assert "call 1: a" in shown.out
    assert "four and no more" in shown.out


async def test_route_and_pool_call_nobody_and_need_no_key(shell: Shell) -> None:
    """The decision alone; the pool says what is missing."""
    shell.write("a", "b")
    del shell.env["TEST_KEY"]
    decision = (await shell("route", "--json", "prove it")).json
    assert decision["worker"] in ("a", "b")
    assert len(decision["candidates"]) == 2
    rows = (await shell("pool", "--json")).json["workers"]
    assert [row["name"] for row in rows] == ["a", "b"]
    assert "TEST_KEY" in rows[0]["status"]
    assert shell.server.requests == []
    for command in ("route", "pool"):
        table = await shell(command, *(["prove it"] if command == "route" else []))
        assert table.code == 0
        assert "a" in table.out


async def test_always_500_sees_three_requests_and_exits_5(shell: Shell) -> None:
    """No second retry layer anywhere between the command and the socket."""
    shell.server.script("a", [error_reply(500)])
    shell.write("a")
    done = await shell("ask", "--json", "hi")
    assert done.code == 5
    assert done.out == ""
    error = json.loads(done.err)["error"]
    assert (error["type"], error["attempts"], error["status"]) == ("WorkerUnavailable", 3, 500)
    assert len(shell.server.requests) == 3


async def test_a_deadline_exits_6_in_time(shell: Shell) -> None:
    """A black hole does not hold the command."""
    shell.server.script("a", [hang()])
    shell.write("a")
    done = await shell("ask", "--json", "--deadline", "0.3", "hi")
    assert done.code == 6
    assert json.loads(done.err)["error"]["kind"] == "deadline"


async def test_an_endpoint_that_is_not_there_is_named_with_its_cause(shell: Shell) -> None:
    """Connection refused is an exit code and a cause, not a traceback."""
    shell.write("a")
    text = (shell.folder / "fugu.toml").read_text()
    (shell.folder / "fugu.toml").write_text(
        text.replace(shell.server.url("a"), "http://127.0.0.1:9/v1")
    )
    done = await shell("ask", "--json", "hi")
    assert done.code == 5
    assert json.loads(done.err)["error"]["cause_kind"] == "connect_refused"


@pytest.mark.parametrize(
    ("arguments", "toml", "env", "code", "told"),
    [
        (["ask", "hi"], "", {}, 3, "at least one worker"),
        (
            ["ask", "hi"],
            '[[worker]]\nname = "a"\nmodle = "x"\n',
            {},
            3,
            "did you mean 'mode' or 'model'",
        ),
        (["ask", "hi"], "not toml [", {}, 3, "not valid TOML"),
        (["ask", "hi"], None, {"TEST_KEY": ""}, 3, "TEST_KEY"),
        (["ask", "--config", "none.toml", "hi"], None, {}, 3, "no such file"),
        (["ask", "-"], None, {}, 4, "empty"),
        (["ask", "--exclude", "b", "hi"], None, {}, 4, "did you mean 'a'|known: "),
        (["ask", "--effort", "huge", "hi"], None, {}, 4, "effort: expected one of low"),
        (["ask", "--quality", "2", "hi"], None, {}, 4, "quality: expected a number above 0"),
        (["route", "--max-cost", "0", "hi"], None, {}, 4, "max_cost: nobody can answer"),
        (["ask", "--model", "gpt", "hi"], None, {}, 4, "model: expected one of fugu"),
        (["trace"], None, {}, 4, "no run is recorded yet"),
        (["trace", "abcdef"], None, {}, 4, "abcdef"),
        (["ask", "--nonsense"], None, {}, 2, "No such option"),
        (["ask", "hi"], None, {"FUGU_STORE": "sqlite:////proc/none/x.db"}, 3, "/proc/none"),
    ],
)
async def test_bad_input_has_a_message_and_an_exit_code(
    shell: Shell, arguments: list[str], toml: str | None, env: dict[str, str], code: int, told: str
) -> None:
    """Each says what to do; nothing is called and nothing is written."""
    shell.write("a")
    if toml is not None:
        (shell.folder / "fugu.toml").write_text(toml)
    done = await shell(*arguments, **env)
    assert done.code == code, done.err
    assert any(part in done.err for part in told.split("|")), done.err
    assert done.out == ""
    assert shell.server.requests == []


async def test_a_huge_prompt_is_refused_before_any_call(shell: Shell) -> None:
    """Five megabytes: an input error; a prompt over every window: another, naming the window."""
    shell.write("a")
    done = await shell("ask", "-", stdin=b"x" * 5_000_000)
    assert (done.code, "over the bound" in done.err) == (4, True)
    done = await shell("ask", "-", stdin=b"word " * 50_000)
    assert (done.code, "window of 8,000 tokens" in done.err) == (4, True)
    assert shell.server.requests == []


async def test_nothing_at_all_says_how_to_begin(shell: Shell) -> None:
    """No file, no key, no weights: the three ways out are named."""
    done = await shell("ask", "hi")
    assert done.code == 3
    for remedy in ("fugu pull", "fugu init", "OPENAI_API_KEY"):
        assert remedy in done.err


async def test_init_writes_a_pool_that_loads_and_never_a_key(shell: Shell) -> None:
    """From a key in the environment; an existing file is not overwritten unasked."""
    done = await shell("init", "--no-probe", "--json", OPENAI_API_KEY=CANARY)
    assert done.code == 0, done.err
    written = (shell.folder / "fugu.toml").read_text()
    assert CANARY not in written
    assert "OPENAI_API_KEY" in written
    pool = (await shell("pool", "--json", OPENAI_API_KEY=CANARY)).json
    assert [row["name"] for row in pool["workers"]] == done.json["workers"]
    assert all(row["price_output"] for row in pool["workers"])
    again = await shell("init", "--no-probe", OPENAI_API_KEY=CANARY)
    assert again.code == 3
    assert "--force" in again.err
    assert (shell.folder / "fugu.toml").read_text() == written
    assert sorted(p.name for p in shell.folder.iterdir() if "half" in p.name) == []


async def test_doctor_finds_what_is_wrong(shell: Shell) -> None:
    """A dead endpoint is a failure with its remedy; a missing key and missing weights are notes."""
    shell.write("a")
    done = await shell("doctor", "--json")
    checks = {check["name"]: check for check in done.json}
    assert done.code == 1
    assert {checks[name]["state"] for name in ("selector", "coordinator", "conductor")} == {"ok"}
    assert checks["a"]["state"] == "fail"
    assert "fugu pull" in checks["smollm2-135m"]["remedy"]
    without = await shell("doctor", TEST_KEY="")
    assert "TEST_KEY" in without.out
    written = (shell.folder / "fugu.toml").read_text()
    (shell.folder / "fugu.toml").write_text(
        '[pool]\nselector = "no"\ncoordinator = "no.json"\n[conductor]\nweights = "none"\n'
        + written
    )
    checks = {check["name"]: check for check in (await shell("doctor", "--json")).json}
    assert "no.json" in checks["coordinator"]["remedy"]
    assert "none" in checks["conductor"]["remedy"]
    assert checks["own selector"]["state"] == "fail"


async def test_version_and_help(shell: Shell) -> None:
    """Both work without anything else."""
    from fugu_adapters import __version__

    assert (await shell("--version")).out.strip() == __version__
    shown = await shell("--help")
    for command in ("ask", "route", "pool", "init", "doctor", "pull", "trace", "profile", "train"):
        assert command in shown.out


async def test_profile_then_train_then_route_by_the_new_weights(shell: Shell) -> None:
    """Outcomes of one's own make a selector that prefers whoever was right."""
    shell.server.script("good", [chat_reply("Lisbon", usage=(9, 1))])
    shell.server.script("bad", [chat_reply("No idea", usage=(9, 2))])
    shell.write("bad", "good")
    cities = ("Portugal", "the country of fado", "the land of Pessoa", "the Tagus country")
    items = [
        {"suite": "mine", "item_id": f"i{n}", "prompt": f"Name the capital of {city}, try {n}.",
         "domain": "capital", "answer": "Lisbon", "split": "train"}
        for n, city in enumerate(cities * 10)
    ]  # fmt: skip
    (shell.folder / "items.jsonl").write_text("\n".join(json.dumps(item) for item in items))
    arguments = (
        "--items",
        "items.jsonl",
        "--output",
        "outcomes.jsonl",
        "--json",
        "--concurrency",
        "8",
    )
    summary = (await shell("profile", *arguments)).json
    assert summary["calls"] == 80
    assert summary["headroom"]["gain"] == 0
    again = (await shell("profile", *arguments)).json
    assert again["calls"] == 0
    trained = await shell(
        "train", "selector", "--items", "items.jsonl", "--outcomes", "outcomes.jsonl", "--output", "mine", "--shared", "--json"
    )  # fmt: skip
    assert trained.code == 0, trained.err
    assert trained.json["profiles"] == 2
    manifest = json.loads((shell.folder / "mine" / "manifest.json").read_text())
    assert manifest["settings"]["gain_z"] == SHARED.gain_z
    assert manifest["provenance"]["command"].endswith("--shared --seed 0")
    text = (shell.folder / "fugu.toml").read_text()
    (shell.folder / "fugu.toml").write_text('[pool]\nselector = "mine"\n' + text)
    decision = (await shell("route", "--json", "Name the capital of Portugal.")).json
    assert decision["worker"] == "good"
    checks = {check["name"]: check for check in (await shell("doctor", "--json")).json}
    assert checks["own selector"]["found"].startswith("2 profiles")
    assert decision["candidates"][0]["calibrated"]
    weights = next((shell.folder / "mine").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    broken = await shell("route", "--json", "Name the capital of Portugal.")
    assert (broken.code, json.loads(broken.err)["error"]["type"]) == (3, "WeightsError")


async def test_tables_for_people(shell: Shell) -> None:
    """The lists of models and of runs, a profile's summary, and a trained selector in words."""
    listed = await shell("pull", "--list")
    assert "smollm2-135m" in listed.out
    assert {row["name"]: row["here"] for row in (await shell("pull", "--list", "--json")).json}[
        "smollm2-135m"
    ] is False
    unknown = await shell("pull", "no-such-model")
    assert (unknown.code, "known:" in unknown.err) == (3, True)
    shell.server.script("a", [error_reply(404), chat_reply("Lisbon")])
    shell.write("a")
    assert (await shell("ask", "Name the capital of Portugal.")).code == 5
    assert (await shell("ask", "Name the capital of Portugal.")).code == 0
    runs = await shell("trace", "--list", "5")
    assert "error" in runs.out
    assert "ok" in runs.out
    assert "Name the capital" in runs.out
    profiled = await shell("profile", "--per-kind", "1", "--max-calls", "5", "--output", "o.jsonl")
    assert profiled.code == 0, profiled.err
    assert "stopped by 5 calls" in profiled.out
    assert (shell.folder / "items.jsonl").is_file()
