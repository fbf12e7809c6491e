from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fugu_adapters.evaluate.data import Dataset, Facts, read_dataset
from fugu_adapters.learn.length import expected_log_tokens, expected_seconds


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    """Questions and agents' tasks that share a cluster; "agent" is only ever seen on the tasks."""
    items, outcomes = [], []
    for suite, size in (("questions", 100), ("tasks", 10_000)):
        for index in range(40):
            key = {"suite": suite, "item_id": str(index)}
            items.append({**key, "prompt": "files"})
            for worker, factor in (("plain", 1), ("wordy", 3), ("agent", 1)):
                if worker == "agent" and suite == "questions":
                    continue
                row = {**key, "worker": worker, "score": 1.0, "output_tokens": size * factor}
                outcomes.append({**row, "latency_s": 2.0 if worker == "plain" else None})
    outcomes.append({"suite": "tasks", "item_id": "0", "worker": "silent", "score": 0.0})
    for name, rows in (("i", items), ("o", outcomes)):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_dataset([tmp_path / "i"], [tmp_path / "o"])


def tokens(data: Dataset, hidden: bool = False) -> dict[str, np.ndarray]:
    cluster = np.array([0 if suite == "questions" else 1 for suite in data.suites])
    cluster[-1] = 0  # one task stands among the questions
    facts = [Facts(hidden_reasoning=hidden and name == "silent") for name in data.workers]
    table = np.exp(expected_log_tokens(data, cluster, 2, facts, 1.0))
    return dict(zip(data.workers, table, strict=True))


def test_a_wordy_worker_is_wordy_everywhere(data: Dataset) -> None:
    """Three times the tokens on every item is about three times the expected tokens."""
    found = tokens(data)
    np.testing.assert_allclose(found["wordy"][1] / found["plain"][1], 3.0, rtol=0.25)


def test_long_tasks_do_not_make_a_worker_wordy_on_questions(data: Dataset) -> None:
    """A worker seen on long tasks only is expected to answer questions as shortly as others."""
    found = tokens(data)
    assert found["agent"][1] == pytest.approx(10_000, rel=0.4)
    assert found["agent"][0] < 400


def test_a_worker_never_counted_is_taken_as_usual_and_hidden_reasoning_as_more(
    data: Dataset,
) -> None:
    """Without counts the median stands in, and four times that where reasoning is billed unseen."""
    usual, hidden = tokens(data)["silent"], tokens(data, hidden=True)["silent"]
    np.testing.assert_allclose(hidden / usual, 4.0, rtol=0.01)


def test_seconds_are_known_only_for_timed_workers(data: Dataset) -> None:
    """The timed worker has its mean in every cluster, all others -1."""
    table = expected_seconds(data, np.zeros(len(data.suites), dtype=np.int64), 3, 5.0)
    row = data.workers.index("plain")
    np.testing.assert_allclose(table[row], 2.0)
    assert (np.delete(table, row, axis=0) == -1).all()


def test_no_counts_at_all_give_one_usual_length(data: Dataset) -> None:
    """A fit on outcomes without tokens still predicts a length, the same for everyone."""
    bare = data.rows(np.isnan(data.output_tokens))
    table = np.exp(expected_log_tokens(bare, np.zeros(80, dtype=np.int64), 2, [], 5.0))
    np.testing.assert_allclose(table, 300.0, rtol=1e-4)
