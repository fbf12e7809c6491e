"""``fugu eval selector`` from files to table, JSON and figure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fugu_adapters.cli import main
from fugu_adapters.cli.app import app
from fugu_adapters.cli.eval import app as eval_app
from fugu_adapters.errors import InputError


def write(path: Path, rows: Sequence[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """150 items of verse and sums, three workers with prices."""
    folder = tmp_path_factory.mktemp("eval")
    rng = np.random.default_rng(0)
    odds = {"poet": (0.9, 0.1), "abacus": (0.1, 0.9), "both": (0.6, 0.6)}
    items, outcomes = [], []
    for index in range(150):
        kind = index % 2
        text = (
            f"Write a poem about the sea and the moon, verse {index}"
            if kind == 0
            else f"What is {index} + {3 * index} - {index % 7} * 12?"
        )
        split = "test" if index % 3 == 0 else "train"
        items.append({"suite": "toy", "item_id": str(index), "prompt": text, "domain": "ab"[kind], "split": split})  # fmt: skip
        for worker, chance in odds.items():
            outcomes.append(
                {
                    "suite": "toy", "item_id": str(index), "worker": worker,
                    "score": float(rng.random() < chance[kind]), "output_tokens": 100, "cost_usd": 0.001,
                }
            )  # fmt: skip
    facts = [{"worker": w, "price_in_per_m": 1.0, "price_out_per_m": 9.0} for w in odds]
    return {
        "items": write(folder / "items.jsonl", items),
        "outcomes": write(folder / "outcomes.jsonl", outcomes),
        "facts": write(folder / "workers.jsonl", facts),
    }


def arguments(files: dict[str, Path], *more: str) -> list[str]:
    paths = [part for name, path in files.items() for part in (f"--{name}", str(path))]
    return ["selector", *paths, "--seeds", "1", *more]


def test_json_is_one_object_with_every_study(files: dict[str, Path], tmp_path: Path) -> None:
    """Methods, robustness, sub-pools, held-out workers; nothing else on standard output."""
    done = CliRunner().invoke(
        eval_app,
        arguments(
            files, "--workers", "poet,abacus, both", "--json", "--robustness", "--sub-pools", "2",
            "--hold-out-worker", "poet", "--probes", "16", "--cache", str(tmp_path),
        ),
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert done.stdout.count("\n") == 1
    report = json.loads(done.stdout)
    assert report["pool"] == ["poet", "abacus", "both"]
    assert report["n_items"] == 50
    for name in ("selector", "best_single", "kmeans", "knn", "mlp", "mf", "ridge", "per_domain", "random", "cheapest", "oracle"):  # fmt: skip
        row = report["methods"][name]
        assert row["ci"][0] <= row["accuracy"] <= row["ci"][1]
    ours = report["methods"]["selector"]
    assert ours["vs_best_single"]["diff"] > 0.1
    assert ours["cost_usd_per_1k"] == pytest.approx(1.0)
    assert report["robustness"]["typos"]["same_choice"] > 0.8
    assert report["sub_pools"]["n"] == 1
    assert report["hold_out_workers"]["workers"]["poet"]["quality_share"] > 0.5


def test_a_figure_is_drawn_where_asked_for(files: dict[str, Path], tmp_path: Path) -> None:
    """The file is there beside the table."""
    pytest.importorskip("matplotlib")
    figure = tmp_path / "a.png"
    done = CliRunner().invoke(eval_app, arguments(files, "--plot", str(figure)))
    assert done.exit_code == 0, done.output
    assert figure.stat().st_size > 10_000


def test_people_get_a_table_and_the_pool_is_everybody(files: dict[str, Path]) -> None:
    """Without --workers all workers that share the items are compared; progress is not in the output."""
    done = CliRunner().invoke(eval_app, arguments(files))
    assert done.exit_code == 0, done.output
    assert "50 items, 3 workers, 1 seed" in done.stdout
    for name in ("oracle", "selector@low", "per_domain", "random"):
        assert f"\n{name} " in done.stdout
    assert "fitting" not in done.stdout


def test_a_file_of_workers_is_told_apart_from_names(files: dict[str, Path]) -> None:
    """Who passes the catalogue file as for training is told where it goes."""
    done = CliRunner().invoke(eval_app, arguments(files, "--workers", str(files["facts"])))
    assert isinstance(done.exception, InputError)
    assert f"--facts {files['facts']}" in str(done.exception)


def test_mistakes_are_errors_of_ours_with_an_exit_code(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unknown worker is an input error: code 4, and JSON on standard error where asked for."""
    monkeypatch.setattr("sys.argv", ["fugu", "eval", *arguments(files, "--workers", "poet,nobody", "--json")])  # fmt: skip
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 4
    error = json.loads(capsys.readouterr().err)["error"]
    assert error["type"] == "InputError"
    assert "nobody" in error["message"]


def test_a_figure_that_cannot_be_drawn_is_refused_before_any_file_is_read() -> None:
    """The ending is checked first."""
    done = CliRunner().invoke(
        eval_app,
        ["selector", "--items", "no.jsonl", "--outcomes", "no.jsonl", "--plot", "figure.pdf"],
    )
    assert "expected a file that ends in .png or .svg" in str(done.exception)


def test_it_is_one_of_the_commands() -> None:
    """``fugu eval selector --help`` says what it does."""
    done = CliRunner().invoke(app, ["eval", "selector", "--help"])
    assert done.exit_code == 0
    assert "--hold-out-worker" in done.output
