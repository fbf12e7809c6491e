"""``fugu train coordinator`` and ``fugu eval coordinator`` from files to tables, JSON and a file that a pool uses."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fugu_adapters import ConfigError, InputError, Pool
from fugu_adapters.cli.eval import app as eval_app
from fugu_adapters.cli.train import app as train_app
from fugu_adapters.policies.coordinator import load_coordinators

pytestmark = pytest.mark.skipif(
    find_spec("cmaes") is None or find_spec("pyarrow") is None, reason="comes with the train extra"
)

SKILL = {"ada": 0.78, "bob": 0.75, "cyd": 0.74, "dan": 0.7}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two suites of 240 sums that four workers answer independently; wrong answers differ."""
    import pyarrow
    import pyarrow.parquet as parquet

    folder, rng = tmp_path_factory.mktemp("recorded"), np.random.default_rng(0)
    items, outcomes, answers = [], [], []
    for index in range(480):
        key = {"suite": "east" if index % 2 else "west", "item_id": str(index)}
        split = ("train", "dev", "test")[index // 2 % 3]
        items.append({**key, "prompt": f"What is {index} + {7 * index}?", "domain": "sums", "split": split})  # fmt: skip
        for worker, skill in SKILL.items():
            right = rng.random() < skill
            said = 8 * index if right else int(rng.integers(10_000, 99_999))
            outcomes.append({**key, "worker": worker, "score": float(right), "output_tokens": 10, "cost_usd": 0.001})  # fmt: skip
            answers.append({**key, "worker": worker, "answer": str(said)})
    items.append({"suite": "north", "item_id": "0", "prompt": "Unanswered", "split": "train"})
    outcomes.append({"suite": "north", "item_id": "0", "worker": "ada", "score": 1.0})
    found = {}
    for name, rows in (("items", items), ("outcomes", outcomes)):
        found[name] = folder / f"{name}.jsonl"
        found[name].write_text("".join(json.dumps(row) + "\n" for row in rows))
    found["answers"] = folder / "answers.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(answers), found["answers"])
    return found


def given(command: str, files: dict[str, Path], *more: str) -> list[str]:
    paths = [part for name, path in files.items() for part in (f"--{name}", str(path))]
    return [command, *paths, *more]


def test_eval_has_a_block_for_every_suite(files: dict[str, Path]) -> None:
    """Every method with its figures; independent workers leave much to gain, and it is gained."""
    done = CliRunner().invoke(
        eval_app,
        given("coordinator", files, "--seeds", "1", "--ablations", "--json"),
    )
    assert done.exit_code == 0, done.output
    assert done.stdout.count("\n") == 1
    suites = json.loads(done.stdout)["suites"]
    assert list(suites) == ["west", "east"]
    for block in suites.values():
        assert sorted(block["workers"]) == sorted(SKILL)
        assert block["items"] == {"fit": 160, "test": 80}
        methods = block["methods"]
        for name in ("trinity", "trinity_from_elsewhere", "selector", "best_single", "majority_vote", "weighted_vote", "cascade", "random_search", "reinforce", "supervised", "without_reading", "oracle"):  # fmt: skip
            row = methods[name]
            assert row["ci"][0] <= row["accuracy"] <= row["ci"][1]
            assert row["cost_usd_per_1k"] == pytest.approx(row["mean_calls"])
            assert row["accuracy"] <= methods["oracle"]["accuracy"]
        assert methods["best_single"]["vs_best_single"]["diff"] == 0
        assert methods["trinity"]["vs_best_single"]["diff"] > 0.05
        assert 1 < methods["trinity"]["mean_calls"] < 3.5
        assert methods["majority_vote"]["mean_calls"] == 4
        assert set(block["acceptance"]) == {"low", "medium", "high", "xhigh"}
        assert block["half_pools"]["mean_calls"] <= 2
        assert "asks on" in block["notes"]["headroom"]


def test_eval_prints_a_table(files: dict[str, Path]) -> None:
    """Of one suite and two named workers, in 80 columns."""
    done = CliRunner().invoke(
        eval_app,
        given("coordinator", files, "--suites", "east", "--workers", "ada,bob", "--seeds", "1"),
    )
    assert done.exit_code == 0, done.output
    assert "east: 160 items to fit, 80 to report" in done.stdout
    assert "weighted_vote" in done.stdout
    assert "from_elsewhere" not in done.stdout
    assert "accepted at low effort" in done.stdout
    assert "random halves of the pool" in done.stdout
    assert max(len(line) for line in done.stdout.splitlines() if "│" in line) <= 80


def test_train_writes_what_a_pool_uses(files: dict[str, Path], tmp_path: Path) -> None:
    """A coordinator for each effort with where it is from; gone on from checkpoints it is the same."""
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    states = str(tmp_path / "states")
    for path, generations in ((first, "4"), (second, "4")):
        done = CliRunner().invoke(
            train_app,
            given("coordinator", files, "--output", str(path), "--generations", generations, "--checkpoints", states, "--json"),
        )  # fmt: skip
        assert done.exit_code == 0, done.output
    assert first.read_bytes() == second.read_bytes()
    said = json.loads(done.stdout)
    assert "asks on" in said["headroom"]["east"]
    written = json.loads(first.read_text())["provenance"]
    assert "--answers answers.parquet" in written["command"]
    assert [source["rows"] for source in written["inputs"]] == [481, 1921]
    assert written["pools"]["west"]["items"] == 160
    (tmp_path / "fugu.toml").write_text(
        '[pool]\ncoordinator = "a.json"\n[[worker]]\nname = "w"\napi = "openai"\nmodel = "m"\nbase_url = "http://127.0.0.1:1/v1"\n'
    )
    pool = Pool.load(tmp_path / "fugu.toml")
    assert pool.coordinator == first
    assert pool.changed(lambda worker: worker).coordinator == first
    assert load_coordinators(first)["low"].cap == 2


@pytest.mark.parametrize(("more", "said"), [
    (("--suites", "south"), "south"),
    (("--workers", "ada"), "two workers"),
    (("--search", "magic"), "evolved"),
])  # fmt: skip
def test_what_is_not_there_is_named(
    files: dict[str, Path], tmp_path: Path, more: tuple[str, ...], said: str
) -> None:
    """An unknown suite, too small a pool, an unknown search; nothing is written."""
    output = tmp_path / "c.json"
    done = CliRunner().invoke(train_app, given("coordinator", files, "--output", str(output), *more))  # fmt: skip
    assert isinstance(done.exception, InputError)
    assert said in str(done.exception)
    assert not output.exists()


def test_answers_that_are_no_parquet_are_refused(files: dict[str, Path], tmp_path: Path) -> None:
    """With the columns that were expected."""
    wrong = {**files, "answers": files["items"]}
    done = CliRunner().invoke(eval_app, given("coordinator", wrong))
    assert isinstance(done.exception, ConfigError)
    assert "suite, item_id, worker, answer" in str(done.exception)
