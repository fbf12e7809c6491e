from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fugu_adapters.encoders import Vectors, load_encoder
from fugu_adapters.errors import InputError
from fugu_adapters.evaluate.data import Dataset, read_dataset
from fugu_adapters.learn.features import encode_cached
from fugu_adapters.learn.selector_fit import FitSettings, fit_selector, train
from fugu_adapters.policies.rule import Arm
from fugu_adapters.policies.selector import ClusterSelector
from fugu_adapters.policies.weights import load_bundle

SMALL = FitSettings(clusters=4, areas=2)


def make_world(folder: Path, *, items: int = 200, seed: int = 0) -> tuple[Path, Path, Path]:
    """Two kinds of prompts. "poet" is good at verse, "abacus" at sums, "both" is middling and dear."""
    rng = np.random.default_rng(seed)
    good = {"poet": (0.95, 0.2), "abacus": (0.2, 0.95), "both": (0.7, 0.7)}
    rows, outcomes = [], []
    for index in range(items):
        kind = index % 2
        text = f"write verse number {index}" if kind == 0 else f"sum {index} and {index + 7}"
        rows.append(
            {
                "suite": "toy",
                "item_id": str(index),
                "prompt": text,
                "domain": ("verse", "sums")[kind],
            }
        )
        for worker, odds in good.items():
            outcomes.append(
                {
                    "suite": "toy", "item_id": str(index), "worker": worker,
                    "score": float(rng.random() < odds[kind]),
                    "output_tokens": int(rng.integers(90, 110)) * (4 if worker == "both" else 1),
                    "latency_s": 2.0 if worker == "poet" else None,
                }
            )  # fmt: skip
    facts = [
        {"worker": "both", "price_in_per_m": 1.0, "price_out_per_m": 8.0},
        {"worker": "listed-7b"},
    ]
    paths = (folder / "items.jsonl", folder / "outcomes.jsonl", folder / "workers.jsonl")
    for path, lines in zip(paths, (rows, outcomes, facts), strict=True):
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return paths


def plane(data: Dataset) -> Vectors:
    """Vectors that tell verse from sums, with a little noise."""
    rng = np.random.default_rng(1)
    rows = np.zeros((len(data.prompts), 8), dtype=np.float32)
    for index, prompt in enumerate(data.prompts):
        rows[index, int(prompt.startswith("sum"))] = 1.0
    rows += rng.normal(0, 0.05, rows.shape).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    items, outcomes, workers = make_world(tmp_path)
    return read_dataset([items], [outcomes], workers)


def test_the_fitted_selector_sends_each_kind_to_its_specialist(data: Dataset) -> None:
    """What the outcomes show is what is chosen, with a probability near the observed rate."""
    vectors = plane(data)
    selector = ClusterSelector(fit_selector(data, vectors, encoder="toy-1", settings=SMALL))
    arms = [Arm(worker=name, profile=name) for name in ("poet", "abacus", "both")]
    for vector, name in ((vectors[0], "poet"), (vectors[1], "abacus")):
        first = selector.decide(vector, arms, tolerance=0.0).candidates[0]
        assert first.worker == name
        assert first.p_success == pytest.approx(0.95, abs=0.06)
        assert first.calibrated


def test_length_and_seconds_are_learned_where_measured(data: Dataset) -> None:
    """The wordy worker is predicted wordy; seconds are known only for the worker that was timed."""
    bundle = fit_selector(data, plane(data), encoder="toy-1", settings=SMALL)
    tokens = np.exp(bundle.log_tokens)
    np.testing.assert_allclose(tokens[bundle.index["both"]], 400, rtol=0.15)
    np.testing.assert_allclose(tokens[bundle.index["poet"]], 100, rtol=0.15)
    np.testing.assert_allclose(bundle.seconds[bundle.index["poet"]], 2.0)
    assert (bundle.seconds[bundle.index["abacus"]] == -1).all()


def test_the_same_seed_gives_the_same_bundle(data: Dataset) -> None:
    """Nothing but the seed is random: fitting twice gives equal tensors."""
    first, second = (
        fit_selector(data, plane(data), encoder="toy-1", seed=3, settings=SMALL) for _ in range(2)
    )
    for name in ("centroids", "p", "sd", "log_tokens"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_easy_questions_do_not_make_a_weak_worker_strong(tmp_path: Path) -> None:
    """A worker that was asked easy items only is ranked below one that did as well on hard ones."""
    rng = np.random.default_rng(0)
    rows, outcomes = [], []
    ability = {"strong": 1.5, "link": 0.5, "weak": -0.5}
    for index in range(600):
        hard = index % 2 == 1
        rows.append(
            {"suite": "hard" if hard else "easy", "item_id": str(index), "prompt": f"p {index}"}
        )
        for worker, level in ability.items():
            if worker == ("weak" if hard else "strong"):
                continue
            p = 1 / (1 + np.exp(-(level - (1.5 if hard else -1.5))))
            outcomes.append({**rows[-1], "worker": worker, "score": float(rng.random() < p)})
    for name, lines in (("i", rows), ("o", outcomes)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    data = read_dataset([tmp_path / "i.jsonl"], [tmp_path / "o.jsonl"])
    vectors = np.zeros((600, 2), dtype=np.float32)
    vectors[::2, 0] = vectors[1::2, 1] = 1.0
    bundle = fit_selector(data, vectors, encoder="toy-1", settings=SMALL)
    mean = bundle.p @ bundle.mass
    assert mean[bundle.index["strong"]] > mean[bundle.index["link"]] > mean[bundle.index["weak"]]


def test_a_worker_known_from_a_catalogue_only_is_a_guess(data: Dataset) -> None:
    """It has a profile with a wide spread and no outcomes, so decisions call it uncalibrated."""
    bundle = fit_selector(data, plane(data), encoder="toy-1", settings=SMALL)
    row = bundle.index["listed-7b"]
    assert bundle.count[row].sum() == 0
    assert (bundle.sd[row] > 2 * bundle.sd[bundle.index["both"]]).all()
    choice = ClusterSelector(bundle).decide(
        plane(data)[0], [Arm(worker="w", profile="listed-7b")], tolerance=0.0
    )
    assert not choice.candidates[0].calibrated


def test_too_few_outcomes_are_refused(data: Dataset) -> None:
    """Fitting on next to nothing is an error that says how much is needed."""
    few = data.rows(np.arange(len(data.item)) < 5)
    with pytest.raises(InputError, match="at least 20 outcomes"):
        fit_selector(few, plane(data), encoder="toy-1")


def test_training_from_files_writes_a_bundle_with_its_provenance(tmp_path: Path) -> None:
    """The saved folder loads, decides, and says which files, items, seed and command made it."""
    items, outcomes, workers = make_world(tmp_path, items=60)
    rows = [json.loads(line) for line in items.read_text().splitlines()]
    for row in rows:
        row["split"] = "dev" if int(row["item_id"]) % 3 == 0 else "train"
    items.write_text("".join(json.dumps(row) + "\n" for row in rows))
    told: list[str] = []
    train(
        [items], [outcomes], tmp_path / "out", workers=workers, encoder="static-1", seed=5, settings=SMALL,
        cache=tmp_path / "cache", progress=lambda what, _d, _t: told.append(what),
    )  # fmt: skip
    bundle = load_bundle(tmp_path / "out")
    assert bundle.encoder == "static-1"
    assert bundle.provenance["seed"] == 5
    assert bundle.provenance["items"] == {"toy": 40}
    assert bundle.provenance["outcomes"] == 120
    assert bundle.provenance["command"] == (
        "fugu train selector --items items.jsonl --outcomes outcomes.jsonl "
        "--workers workers.jsonl --seed 5"
    )
    assert bundle.metrics["dev"]["outcomes"] == 60
    assert bundle.metrics["dev"]["brier"] < bundle.metrics["dev"]["brier_of_worker_means"]
    assert bundle.digest
    assert [source["file"] for source in bundle.provenance["inputs"]] == [
        "items.jsonl", "outcomes.jsonl", "workers.jsonl",
    ]  # fmt: skip
    assert "encoding" in told
    vector = load_encoder("static-1").encode(["sum 3 and 12"])[0]
    arms = [Arm(worker=name, profile=name) for name in ("poet", "abacus")]
    choice = ClusterSelector(bundle).decide(vector, arms, tolerance=0.0)
    assert choice.candidates[0].worker == "abacus"


class Counting:
    """An encoder that counts the texts it is given."""

    id = "counting-1"
    dim = 2

    def __init__(self) -> None:
        self.texts = 0

    def encode(self, texts: list[str]) -> Vectors:
        self.texts += len(texts)
        return np.array([[len(text), 1.0] for text in texts], dtype=np.float32)


def test_vectors_are_cached_by_content(tmp_path: Path) -> None:
    """A second call encodes only what is new, and equal texts once; a damaged cache is made again."""
    encoder = Counting()
    first = encode_cached(encoder, ["a", "bb", "a"], cache=tmp_path)
    assert encoder.texts == 2
    again = encode_cached(encoder, ["bb", "a", "ccc"], cache=tmp_path)
    assert encoder.texts == 3
    np.testing.assert_array_equal(first[[1, 0]], again[:2])
    (tmp_path / "counting-1.safetensors").write_bytes(b"damaged")
    encode_cached(encoder, ["a"], cache=tmp_path)
    assert encoder.texts == 4
    assert encode_cached(encoder, []).shape == (0, 2)
