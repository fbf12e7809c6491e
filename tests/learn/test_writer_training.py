"""GRPO with TRL at toy scale, on a CPU: a model of two layers with random weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from recorded_answers import made_up

from fugu_adapters.learn.coordinator_data import Suite
from fugu_adapters.learn.writer_fit import train_writer

torch = pytest.importorskip("torch", reason="comes with the lm-train extra: make test-lm")
transformers = pytest.importorskip("transformers", reason="comes with the lm-train extra")
pytest.importorskip("trl", reason="comes with the lm-train extra: make test-lm")
pytestmark = pytest.mark.filterwarnings("ignore")

WORDS = ["[UNK]", "[EOS]", *"abcdefgh0123456789[]=_,\"'", "model", "id", "subtasks", "access", "list", "all"]  # fmt: skip


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A Llama that knows the words of a workflow."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    where = tmp_path / "tiny"
    where.mkdir()
    vocabulary = {word: index for index, word in enumerate(dict.fromkeys(WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(where / "tokenizer.json"))
    template = "{% for m in messages %}user {{ m['content'] }} {% endfor %}assistant"
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": template, "eos_token": "[EOS]", "pad_token": "[EOS]"}  # fmt: skip
    (where / "tokenizer_config.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    made = transformers.LlamaConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, vocab_size=len(vocabulary), max_position_embeddings=2048,
    )  # fmt: skip
    transformers.LlamaForCausalLM(made).save_pretrained(where)
    return where


def test_a_model_is_trained_and_written(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two updates with a reward that differs within groups: weights move, and the folder loads."""
    monkeypatch.setattr(
        "fugu_adapters.learn.writer_fit.reward_of", lambda reply, *_: len(reply) % 7 / 7
    )
    items = made_up(40)
    suite = Suite(name="s", fit=items, test=items, estimated=(), prompts=tuple(f"What is {n}?" for n in range(40)))  # fmt: skip
    out = tmp_path / "out"
    log = train_writer(tiny, [suite], out, steps=3, rollouts=4, requests=2, tokens=16, rate=1e-2)
    assert [each for each in log if "reward" in each]
    before = transformers.AutoModelForCausalLM.from_pretrained(tiny)
    after = transformers.AutoModelForCausalLM.from_pretrained(out)
    moved = [
        not torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True)
    ]
    assert any(moved)
