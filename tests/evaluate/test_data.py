from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fugu_adapters.errors import ConfigError
from fugu_adapters.evaluate.data import read_dataset


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    items = [
        {"suite": "s", "item_id": str(i), "prompt": f"prompt {i}", "split": "dev" if i else "train"}
        for i in range(3)
    ]
    outcomes = [
        {"suite": "s", "item_id": "0", "worker": "b", "score": 1.0, "output_tokens": 10},
        {"suite": "s", "item_id": "0", "worker": "a", "score": 0.0, "cost_usd": 0.02},
        {"suite": "s", "item_id": "1", "worker": "a", "score": 1.0, "sample": 0},
        {"suite": "s", "item_id": "1", "worker": "a", "score": 0.0, "sample": 1},
        {"suite": "s", "item_id": "missing", "worker": "a", "score": 1.0},
    ]
    workers = [{"worker": "c", "price_out_per_m": 4.0, "release_date": "2025-07-01"}]
    return (
        write(tmp_path / "i.jsonl", items),
        write(tmp_path / "o.jsonl", outcomes),
        write(tmp_path / "w.jsonl", workers),
    )


def test_rows_are_joined_and_unknown_stays_unknown(files: tuple[Path, Path, Path]) -> None:
    """Outcomes point at their items; what a file does not say is NaN and never zero."""
    data = read_dataset([files[0]], [files[1]], files[2])
    assert data.workers == ("a", "b", "c")
    assert [data.prompts[i] for i in data.item] == ["prompt 0", "prompt 0", "prompt 1", "prompt 1"]
    assert data.output_tokens[0] == 10
    assert np.isnan(data.output_tokens[1:]).all()
    assert np.isnan(data.latency_s).all()
    assert data.facts["c"].released == pytest.approx(2025.5)


def test_a_matrix_averages_samples_and_leaves_gaps(files: tuple[Path, Path, Path]) -> None:
    """Samples of one pair are averaged, a pair without outcome is NaN, as is an unknown worker."""
    data = read_dataset([files[0]], [files[1]])
    table = data.matrix(np.array([1, 0]), ["b", "a", "nobody"])
    np.testing.assert_array_equal(table, [[np.nan, 0.5, np.nan], [1.0, 0.0, np.nan]])


def test_splits_and_provenance(files: tuple[Path, Path, Path]) -> None:
    """Only the asked split's outcomes are kept; every file is recorded with its digest."""
    data = read_dataset([files[0]], [files[1]], files[2])
    assert len(data.in_splits(["train"]).item) == 2
    assert [source.rows for source in data.sources] == [3, 5, 1]
    assert all(len(source.sha256) == 64 for source in data.sources)


def test_reported_cost_becomes_reply_tokens_of_the_same_price(tmp_path: Path) -> None:
    """An agent's whole cost is turned into tokens at list price; hidden reasoning is not counted by sight."""
    items = write(tmp_path / "i.jsonl", [{"suite": "s", "item_id": "0", "prompt": "x"}])
    base = {
        "suite": "s",
        "item_id": "0",
        "score": 1.0,
        "output_tokens_est": 5,
        "tokens_src": "chars/4",
    }
    outcomes = write(
        tmp_path / "o.jsonl",
        [
            {**base, "worker": "agent", "cost_usd": 0.5, "cost_src": "reported"},
            {**base, "worker": "thinker"},
            {**base, "worker": "plain"},
        ],
    )
    workers = write(
        tmp_path / "w.jsonl",
        [
            {"worker": "agent", "price_out_per_m": 10.0},
            {"worker": "thinker", "price_out_per_m": 10.0, "hidden_reasoning": True},
            {"worker": "plain", "price_out_per_m": 10.0},
        ],
    )
    data = read_dataset([items], [outcomes], workers)
    np.testing.assert_allclose(data.output_tokens, [50_000, np.nan, 5])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not json", "o.jsonl:1: not a line of JSON"),
        ("[1]", "expected an object, got list"),
        ('{"suite": "s"}', "item_id, worker, score not found"),
        (
            '{"suite": "t", "item_id": "0", "worker": "a", "score": 1}',
            "none of the rows has its item",
        ),
    ],
)
def test_a_file_that_does_not_fit_is_named(
    files: tuple[Path, Path, Path], text: str, said: str
) -> None:
    """The error says which file, which line, and what was expected."""
    files[1].write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_dataset([files[0]], [files[1]])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A path that is not there is an error that names it."""
    with pytest.raises(ConfigError, match="gone.jsonl"):
        read_dataset([tmp_path / "gone.jsonl"], [])


def test_parquet_reads_like_jsonl(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """The same rows give the same arrays from either format."""
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [json.loads(line) for line in files[0].read_text().splitlines()]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "i.parquet")
    first = read_dataset([files[0]], [files[1]])
    second = read_dataset([tmp_path / "i.parquet"], [files[1]])
    assert first.prompts == second.prompts
    np.testing.assert_array_equal(first.item, second.item)
