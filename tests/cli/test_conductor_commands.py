"""``fugu train conductor``, ``fugu eval conductor`` and ``fugu ask --dry-run``, from files to plans."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fugu_adapters import ConfigError, Pool
from fugu_adapters.cli.app import app
from fugu_adapters.cli.eval import app as eval_app
from fugu_adapters.cli.train import app as train_app
from fugu_adapters.policies.conductor_weights import load_conductor

WORKER = '[[worker]]\nname = "w"\napi = "openai"\nmodel = "m"\nbase_url = "http://127.0.0.1:1/v1"\nprice = { input = 1.0, output = 2.0 }\n'
SKILL = {"ada": 0.78, "bob": 0.75, "cyd": 0.74}

recorded = pytest.mark.skipif(
    find_spec("cmaes") is None or find_spec("pyarrow") is None, reason="comes with the train extra"
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A suite of 240 sums that three workers answer independently; wrong answers differ."""
    import pyarrow
    import pyarrow.parquet as parquet

    folder, rng = tmp_path_factory.mktemp("recorded"), np.random.default_rng(0)
    items, outcomes, answers = [], [], []
    for index in range(240):
        key = {"suite": "sums", "item_id": str(index)}
        split = ("train", "dev", "test")[index % 3]
        items.append({**key, "prompt": f"What is {index} + {7 * index}?", "domain": "sums", "split": split})  # fmt: skip
        for worker, skill in SKILL.items():
            right = rng.random() < skill
            said = 8 * index if right else int(rng.integers(10_000, 99_999))
            outcomes.append({**key, "worker": worker, "score": float(right), "output_tokens": 10, "cost_usd": 0.001})  # fmt: skip
            answers.append({**key, "worker": worker, "answer": str(said)})
    for name, rows in (("items", items), ("outcomes", outcomes)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    parquet.write_table(pyarrow.Table.from_pylist(answers), folder / "answers.parquet")
    return [
        *("--items", str(folder / "items.jsonl")),
        *("--outcomes", str(folder / "outcomes.jsonl")),
        *("--answers", str(folder / "answers.parquet")),
    ]


@recorded
def test_train_writes_what_a_pool_uses(files: list[str], tmp_path: Path) -> None:
    """A folder with its provenance, which `[conductor] weights` names, relative to the file."""
    done = CliRunner().invoke(
        train_app,
        ["conductor", *files, "--iterations", "10", "--output", str(tmp_path / "own"), "--json"],
    )
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)
    assert summary["kinds"] == ["answer"]
    manifest = json.loads((tmp_path / "own" / "manifest.json").read_text())
    assert manifest["provenance"]["pools"]["sums"]["items"] == 160
    assert "--iterations 10 --seed 0" in manifest["provenance"]["command"]
    file = tmp_path / "fugu.toml"
    file.write_text(f'[conductor]\nweights = "own"\n{WORKER}')
    weights = Pool.load(file).conductor.weights
    assert weights == tmp_path / "own"
    assert load_conductor(weights).value.share == summary["value"]["share"]
    text = CliRunner().invoke(
        train_app, ["conductor", *files, "--iterations", "2", "--output", str(tmp_path / "b")]
    )
    assert text.exit_code == 0, text.output
    assert "digest: " in text.stdout


@recorded
def test_eval_prints_a_table_and_json(files: list[str]) -> None:
    """One row a method, best first; the same figures in JSON."""
    options = ["conductor", *files, "--seeds", "1", "--iterations", "5"]
    done = CliRunner().invoke(eval_app, [*options, "--json"])
    assert done.exit_code == 0, done.output
    block = json.loads(done.stdout)["suites"]["sums"]
    assert block["items"] == {"fit": 160, "test": 80}
    assert {"ultra", "trinity", "moa", "untrained"} <= set(block["methods"])
    assert "ultra_from_elsewhere" not in block["methods"]  # there is no other suite
    table = CliRunner().invoke(eval_app, options)
    assert table.exit_code == 0, table.output
    assert "160 items to fit, 80 to report" in table.stdout
    assert "ultra_at_once" in table.stdout


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "fugu.toml"
    file.write_text(WORKER + WORKER.replace('"w"', '"v"'))
    return file


def test_a_dry_run_shows_the_plan_and_asks_nobody(config: Path) -> None:
    """Nothing listens at the workers' address, and nothing is written."""
    for model in ("fugu", "fugu-trinity", "fugu-ultra", "fugu-auto"):
        done = CliRunner().invoke(
            app, ["ask", "What is 3 + 4?", "--dry-run", "--model", model, "-c", str(config)]
        )
        assert done.exit_code == 0, done.output
        assert "wave 1" in done.stdout
        assert "this plan" in done.stdout
        assert "one call" in done.stdout
    plain = CliRunner().invoke(
        app, ["ask", "What is 3 + 4?", "--dry-run", "--model", "fugu-ultra", "--json", "-c", str(config)]
    )  # fmt: skip
    plan = json.loads(plain.stdout)
    assert plan["workflow"]["steps"][0]["subtask"] == "Answer the request."
    assert plan["single"]["calls"] == 1
    assert {each["worker"] for each in plan["candidates"]} == {"v", "w"}


def test_wrong_settings_are_named(tmp_path: Path) -> None:
    """Unknown keys, values out of bounds, and a writer who is not in the pool."""
    file = tmp_path / "fugu.toml"
    for text, says in (
        ("round = 2", "round"),
        ("rounds = 9", "rounds"),
        ("samples = 0", "samples"),
        ('worker = "vv"', "no worker 'vv'"),
    ):
        file.write_text(f"[conductor]\n{text}\n{WORKER}")
        with pytest.raises(ConfigError, match=says):
            Pool.load(file)
