"""The hidden state of a small language model that the user names, through transformers (extra ``lm``).

TRINITY's own state (arXiv 2512.04695): the penultimate token of the chat-formatted prompt. It takes 0.4 s for 140 tokens with
135 million parameters on one core, about a thousand times what the default encoder takes, and 18 s to load.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fugu_adapters.encoders import Vectors
from fugu_adapters.errors import WeightsError

__all__ = ["LmEncoder", "LmState", "singular_values"]

Floats = NDArray[np.float32]

_MAX_TOKENS = 256  # the head and tail of a prompt say what it asks
_SCALED = ("self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")


class LmState:
    """A language model up to where its last layer's scales begin, and from there on.

    Args:
        path: folder in Hugging Face's layout with safetensors, or a GGUF file.

    Raises:
        WeightsError: transformers is not installed, or there is no model that can be read without pickles.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._torch, self.tokenizer, self.model = _load(path)
        self._layer = self.model.layers[-1]
        self._scales: list[Any] = []
        for name in _SCALED:
            module = self._layer.get_submodule(name)
            # W = U diag(s) V': scales multiply s (singular-value fine-tuning, arXiv 2501.06252)
            left, values, right = self._torch.linalg.svd(
                module.weight.detach().float(), full_matrices=False
            )
            self._scales.append((module, left, values, right))
        self._lock = threading.Lock()

    @property
    def dim(self) -> int:
        """Length of a state."""
        return int(self.model.config.hidden_size)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Scales of each matrix of the last layer: output of attention, and the three of the MLP."""
        return tuple(len(values) for _, _, values, _ in self._scales)

    def scale(self, scales: Floats | None) -> None:
        """Multiply the singular values, ``[sum(sizes)]``; ``None`` for the model as it was.

        Raises:
            WeightsError: another number of scales.
        """
        given = np.ones(sum(self.sizes), dtype=np.float32) if scales is None else scales
        if given.shape != (sum(self.sizes),) or not np.isfinite(given).all():
            raise WeightsError(f"expected {sum(self.sizes)} finite scales, got shape {given.shape}")
        start = 0
        with self._torch.no_grad():
            for module, left, values, right in self._scales:
                part = self._torch.from_numpy(given[start : start + len(values)].astype(np.float32))
                module.weight.copy_((left * (values * part)) @ right)
                start += len(values)

    def before(self, text: str) -> tuple[Floats, Floats]:
        """What enters the scaled part at the penultimate token: attention's mix and the residual, two of ``[D]``.

        Scales of the last layer change nothing before this, so that it is computed once for all of them.
        """
        seen: dict[str, Any] = {}
        attention = self._layer.self_attn.o_proj
        hooks = [
            attention.register_forward_pre_hook(lambda _m, args: seen.update(mix=args[0][0, -2])),
            self._layer.register_forward_pre_hook(lambda _m, args: seen.update(residual=args[0][0, -2])),
        ]  # fmt: skip
        try:
            with self._lock, self._torch.inference_mode():
                self.model(self._torch.tensor([self._tokens(text)]), use_cache=False)
        finally:
            for hook in hooks:
                hook.remove()
        return seen["mix"].numpy(), seen["residual"].numpy()

    def after(self, mix: Floats, residual: Floats) -> Floats:
        """The final states, of unit length, ``[n, D]``, from ``before``'s parts stacked."""
        with self._torch.inference_mode():
            layer, mixed = self._layer, self._torch.from_numpy(mix)
            hidden = self._torch.from_numpy(residual) + layer.self_attn.o_proj(mixed)
            hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
            state: Floats = self.model.norm(hidden).numpy()
        state /= np.maximum(np.linalg.norm(state, axis=1, keepdims=True), 1e-12)
        return state

    def _tokens(self, text: str) -> list[int]:
        if self.tokenizer.chat_template:
            message = [{"role": "user", "content": text}]
            text = self.tokenizer.apply_chat_template(
                message, tokenize=False, add_generation_prompt=True
            )
        tokens: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        if len(tokens) > _MAX_TOKENS:
            half = _MAX_TOKENS // 2
            tokens = tokens[:half] + tokens[-half:]
        return tokens if len(tokens) > 1 else [*tokens, *tokens, 0][:2]


class LmEncoder:
    """The penultimate token's state. Each text is encoded on its own, so a batch changes no bit of the result.

    Args:
        path: folder in Hugging Face's layout with safetensors, or a GGUF file.
        scales: of the last layer's singular values, ``[sum(LmState.sizes)]``.
    """

    def __init__(self, path: Path, scales: Floats | None = None) -> None:
        self.state = LmState(path)
        if scales is not None:
            self.state.scale(scales)

    @property
    def id(self) -> str:
        """``lm:`` and the path that the user named: bundles are tied to it."""
        return f"lm:{self.state.path}"

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self.state.dim

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode texts; see :class:`~fugu_adapters.encoders.Encoder`."""
        rows = np.zeros((len(texts), self.dim), dtype=np.float32)
        for index, text in enumerate(texts):
            mix, residual = self.state.before(text)
            rows[index] = self.state.after(mix[None], residual[None])[0]
        return rows


def singular_values(state: LmState) -> Mapping[str, int]:
    """Scales of each matrix by its name in the layer."""
    return dict(zip(_SCALED, state.sizes, strict=True))


def _load(path: Path) -> tuple[Any, Any, Any]:
    """Torch, tokenizer and the model without its head, from local files only."""
    try:
        import torch
        from transformers import AutoModel, AutoTokenizer
    except ImportError as error:
        raise WeightsError(
            f"encoder 'lm:{path}' needs transformers and torch; run `pip install 'fugu-adapters[lm]'`"
        ) from error
    if path.is_dir() and not list(path.glob("*.safetensors")):
        raise WeightsError(
            f"{path}: expected a folder with safetensors; pickled weights are not read"
        )
    if not path.is_dir() and (path.suffix != ".gguf" or not path.is_file()):
        raise WeightsError(f"{path}: expected a model's folder or a .gguf file")
    where, more = (path, {}) if path.is_dir() else (path.parent, {"gguf_file": path.name})
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(where), local_files_only=True, **more)
        model = AutoModel.from_pretrained(
            str(where), local_files_only=True, use_safetensors=True, dtype=torch.float32, **more
        )
        model.layers[-1].get_submodule(_SCALED[0])
    except (OSError, ValueError, ImportError, AttributeError, KeyError, struct.error) as error:
        raise WeightsError(f"{path}: cannot be read as a language model ({error})") from error
    return torch, tokenizer, model.eval()
