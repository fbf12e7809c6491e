"""The language model's state: a tiny model with random weights, and the small one that `fugu pull` fetches."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fugu_adapters.encoders import load_encoder
from fugu_adapters.errors import WeightsError

torch = pytest.importorskip("torch", reason="comes with the lm extra: make test-lm")
transformers = pytest.importorskip("transformers", reason="comes with the lm extra: make test-lm")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers and 32 numbers a token, with a word tokenizer and a chat template."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    where = tmp_path_factory.mktemp("tiny")
    words = [
        "[UNK]",
        *"abcdefgh",
        "What",
        "is",
        "the",
        "sum",
        "of",
        "a",
        "poem",
        "?",
        "user",
        "assistant",
    ]
    vocabulary = {word: index for index, word in enumerate(dict.fromkeys(words))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(where / "tokenizer.json"))
    template = "{% for m in messages %}user {{ m['content'] }} {% endfor %}assistant ?"
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": template}
    (where / "tokenizer_config.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    made = transformers.LlamaConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, vocab_size=len(vocabulary), max_position_embeddings=512,
    )  # fmt: skip
    transformers.LlamaForCausalLM(made).save_pretrained(where)
    return where


def test_states_are_unit_vectors_and_differ_by_text(folder: Path) -> None:
    """float32, of the model's width, the same alone and in a batch, the empty text too."""
    encoder = load_encoder(f"lm:{folder}")
    texts = ["What is the sum of a b ?", "the poem", ""]
    rows = encoder.encode(texts)
    assert (rows.shape, rows.dtype) == ((3, 32), np.float32)
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert np.array_equal(rows[1], encoder.encode(texts[1:2])[0])
    assert not np.allclose(rows[0], rows[1], atol=1e-3)
    assert (encoder.id, encoder.dim) == (f"lm:{folder}", 32)


def test_it_is_the_penultimate_token_of_the_chat(folder: Path) -> None:
    """As transformers itself gives it, at the place before the last."""
    from fugu_adapters.encoders.lm import LmState

    state = LmState(folder)
    tokens = state.tokenizer("user the poem assistant ?", add_special_tokens=False)["input_ids"]
    with torch.inference_mode():
        wanted = state.model(torch.tensor([tokens])).last_hidden_state[0, -2].numpy()
    mix, residual = state.before("the poem")
    got = state.after(mix[None], residual[None])[0]
    assert got == pytest.approx(wanted / np.linalg.norm(wanted), abs=1e-5)


def test_long_texts_keep_head_and_tail(folder: Path) -> None:
    """What stands between changes nothing; what stands at either end does."""
    encoder = load_encoder(f"lm:{folder}")
    middle = ["c " * 300, "d " * 300]
    long = [f"a {'b ' * 200}{each}{'e ' * 200} f" for each in middle]
    rows = encoder.encode([*long, long[0] + " g"])
    assert np.array_equal(rows[0], rows[1])
    assert not np.array_equal(rows[0], rows[2])


def test_scales_multiply_singular_values_and_can_be_taken_back(folder: Path) -> None:
    """Scales of 1 change nothing, others do, and what comes before them stays as it was."""
    from fugu_adapters.encoders.lm import LmEncoder, LmState, singular_values

    state = LmState(folder)
    assert singular_values(state) == {
        "self_attn.o_proj": 32, "mlp.gate_proj": 32, "mlp.up_proj": 32, "mlp.down_proj": 32,
    }  # fmt: skip
    mix, residual = (part[None] for part in state.before("the poem"))
    plain = state.after(mix, residual)
    doubled = np.ones(128, dtype=np.float32)
    doubled[32:64] = 2.0
    state.scale(doubled)
    gate = state.model.layers[-1].mlp.gate_proj.weight.detach().numpy().copy()
    assert not np.allclose(state.after(mix, residual), plain, atol=1e-4)
    again = [part[None] for part in state.before("the poem")]
    assert np.allclose(again[0], mix)
    state.scale(None)
    assert np.allclose(
        gate, 2 * state.model.layers[-1].mlp.gate_proj.weight.detach().numpy(), atol=1e-5
    )
    assert np.allclose(state.after(mix, residual), plain, atol=1e-5)
    scaled = LmEncoder(folder, doubled).encode(["the poem"])
    assert not np.allclose(scaled, plain, atol=1e-4)
    with pytest.raises(WeightsError, match="128 finite scales"):
        state.scale(np.ones(5, dtype=np.float32))


def test_pickled_weights_and_other_files_are_refused(folder: Path, tmp_path: Path) -> None:
    """A folder without safetensors, a file that is no GGUF, and one that only says so."""
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(WeightsError, match="pickled"):
        load_encoder(f"lm:{tmp_path}")
    with pytest.raises(WeightsError, match="folder or a .gguf"):
        load_encoder(f"lm:{folder}/config.json")
    (tmp_path / "fake.gguf").write_bytes(b"GGUF nonsense")
    with pytest.raises(WeightsError, match="cannot be read"):
        load_encoder(f"lm:{tmp_path}/fake.gguf")


@pytest.mark.embedded
def test_the_small_model_that_is_fetched_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """SmolLM2 from its GGUF: sums are nearer to sums than to verse."""
    pytest.importorskip("gguf")
    from fugu_adapters.workers.local_models import locate

    path = locate("smollm2-135m")
    if path is None:
        pytest.skip("its weights are not here: fugu pull")
    encoder = load_encoder(f"lm:{path}")
    one, two, verse = encoder.encode(
        ["What is 41 + 7?", "Compute 388 - 52.", "Write a poem about the sea."]
    )
    assert encoder.dim == 576
    assert one @ two > max(one @ verse, two @ verse)
