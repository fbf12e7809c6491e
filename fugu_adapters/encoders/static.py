"""A static encoder: one vector a word, looked up and averaged. Numpy only, well under a millisecond.

The table was distilled from the Universal Sentence Encoder (see the model card in ``weights``): words
start from their own USE vectors, then all rows are fitted by ridge regression so that the weighted mean
of a text's rows is near the text's USE vector. Unknown words are built from hashed letter triples;
case, numbers, line ends, length and the last character have rows of their own. Ten numbers of style
are appended. Greetings before a request and thanks after it are left out first.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import json
import math
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as dump_tensors

from fugu_adapters.encoders import Vectors, clip_middle
from fugu_adapters.encoders.courtesy import Courtesies
from fugu_adapters.errors import WeightsError

__all__ = ["StaticEncoder", "count_features", "style_of"]

_MAX_CHARS = 4_000
_MAX_BYTES = 16 * 1024 * 1024
_LONGEST_WORD = 12  # letters of an unknown word that are looked at
_PIECE = re.compile(r"[^\W\d_]+|\d+|[^\w\s]|_|\n+")
_TENSORS = {
    "rows": ("int8", 2),
    "scale": ("float16", 1),
    "weight": ("float16", 1),
    "bias": ("float32", 1),
    "style": ("float32", 2),
    "words": ("uint8", 1),
    "courtesy": ("float32", 1),
    "courtesy_words": ("uint8", 1),
}
_KIND = np.zeros(
    256, dtype=np.int64
)  # of a latin-1 character: 1 capital, 2 digit, 3 mark, 4 line end
for _code in range(256):
    _char = chr(_code)
    if _char == "\n":
        _KIND[_code] = 4
    elif _char.isdigit():
        _KIND[_code] = 2
    elif _char.isupper():
        _KIND[_code] = 1
    elif not _char.isalpha() and not _char.isspace():
        _KIND[_code] = 3


def count_features(text: str, words: Mapping[str, int], triples: int) -> dict[int, float]:
    """Rows that a text consists of, and how often.

    Args:
        text: any text; its middle is left out above 4,000 characters.
        words: row of each known word or mark.
        triples: rows after those of the words, for hashed letter triples.
    """
    text = clip_middle(text, _MAX_CHARS)
    counts: dict[int, float] = {}
    pieces = _PIECE.findall(text)
    for piece in pieces:
        for word in _spell(piece):
            row = words.get(word)
            if row is not None:
                counts[row] = counts.get(row, 0.0) + 1.0
            elif word[0].isalpha():
                padded = f"<{word[:_LONGEST_WORD]}>"
                share = 1.0 / (len(padded) - 2)
                for at in range(len(padded) - 2):
                    row = len(words) + zlib.crc32(padded[at : at + 3].encode()) % triples
                    counts[row] = counts.get(row, 0.0) + share
    length = min(12, int(1.5 * math.log2(len(pieces) + 1)))
    for mark in (f"<length {length}>", f"<ends {text.rstrip()[-1:]}>"):
        row = words.get(mark)
        if row is not None:
            counts[row] = 1.0
    return counts


def _spell(piece: str) -> tuple[str, ...]:
    """The words that stand for a piece: lower case with a mark, numbers by their length."""
    first = piece[0]
    if first.isdigit():
        return ("0" * min(len(piece), 6),)
    if first == "\n":
        return ("<line>",) if len(piece) == 1 else ("<paragraph>",)
    lower = piece.lower()
    if lower == piece:
        return (piece,)
    return ("<upper>" if len(piece) > 1 and piece.isupper() else "<capital>", lower)


def style_of(text: str) -> NDArray[np.float32]:
    """How a text is written, which averages of words do not keep: float32 ``[10]``.

    Logarithm of its length; square roots of the shares of capitals, digits, marks and line ends; whether
    it ends with a question mark, a full stop or a colon; begins with a capital; asks anything.
    """
    text = clip_middle(text, _MAX_CHARS)
    size = max(len(text), 1)
    latin = np.frombuffer(text.encode("latin-1", "ignore"), dtype=np.uint8)
    shares = np.sqrt(np.bincount(_KIND[latin], minlength=5)[1:] / size)
    last = text.rstrip()[-1:]
    flags = (last == "?", last in (".", "!"), last == ":", text[:1].isupper(), "?" in text)
    return np.array([math.log(size), *shares, *flags], dtype=np.float32)


class StaticEncoder:
    """Looks words up in a table. Immutable, so it may be shared between threads.

    Args:
        name: its id, with version.
        words: row of each word; hashed triples follow.
        rows: int8 ``[words + triples, dim]``.
        scale: quantisation step of each row, ``[rows]``.
        weight: how much each row counts in the mean, ``[rows]``.
        bias: added to the mean, ``[dim]``.
        style: mean and gain of each number of :func:`style_of`, ``[2, 10]``.
        courtesies: what small talk at the ends of a text is recognised by.
    """

    def __init__(
        self,
        *,
        name: str,
        words: Mapping[str, int],
        rows: NDArray[np.int8],
        scale: NDArray[np.float32],
        weight: NDArray[np.float32],
        bias: NDArray[np.float32],
        style: NDArray[np.float32],
        courtesies: Courtesies,
    ) -> None:
        self._name = name
        self._words = words
        self._rows = rows
        self._scale = scale
        self._weight = weight
        self._bias = bias
        self._style = style
        self._courtesies = courtesies

    @property
    def id(self) -> str:
        """Name with version."""
        return self._name

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return int(self._rows.shape[1] + self._style.shape[1])

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode texts; see :class:`~fugu_adapters.encoders.Encoder`."""
        vectors = np.zeros((len(texts), self.dim), dtype=np.float32)
        triples = len(self._rows) - len(self._words)
        meaning = self._rows.shape[1]
        mean, gain = self._style
        for index, text in enumerate(map(self._courtesies.strip, texts)):
            counts = count_features(text, self._words, triples)
            row = self._bias.copy()
            if counts:
                rows = np.fromiter(counts, dtype=np.int64, count=len(counts))
                weight = np.log1p(np.fromiter(counts.values(), dtype=np.float32, count=len(counts)))
                weight *= self._weight[rows]
                row += (weight * self._scale[rows] / weight.sum()) @ self._rows[rows].astype(
                    np.float32
                )
            vectors[index, :meaning] = row / max(float(np.linalg.norm(row)), 1e-12)
            manner = (style_of(text) - mean) * gain
            vectors[index, meaning:] = np.minimum(np.maximum(manner, -0.3), 0.3)  # np.clip is slow
        unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit

    def save(self, folder: Path, *, provenance: Mapping[str, Any]) -> None:
        """Write the table with its manifest; half precision where it is enough."""
        words = sorted(self._words, key=lambda word: self._words[word])
        said = self._courtesies
        tensors: dict[str, NDArray[Any]] = {
            "rows": self._rows,
            "scale": self._scale.astype(np.float16),
            "weight": self._weight.astype(np.float16),
            "bias": self._bias,
            "style": self._style,
            "words": _joined(words),
            "courtesy": np.array([said.bias, said.other, *said.words.values()], dtype=np.float32),
            "courtesy_words": _joined(said.words),
        }
        blob = dump_tensors(tensors)
        manifest = {
            "format": 1,
            "kind": "encoder",
            "encoder": self._name,
            "bytes": len(blob),
            "sha256": hashlib.sha256(blob).hexdigest(),
            "provenance": dict(provenance),
        }
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "static.safetensors").write_bytes(blob)
        (folder / "manifest.json").write_text(
            json.dumps(manifest, indent=1) + "\n", encoding="utf-8"
        )

    @classmethod
    def load(cls, folder: Path | None = None) -> StaticEncoder:
        """Read and check a table; the one that ships with the package where no folder is given.

        Raises:
            WeightsError: where a file is missing, too large, damaged or does not fit.
        """
        if folder is not None:
            return cls._read(folder)
        shipped = importlib.resources.files("fugu_adapters") / "weights" / "static-1"
        with importlib.resources.as_file(shipped) as path:
            return cls._read(path)

    @classmethod
    def _read(cls, folder: Path) -> StaticEncoder:
        path = folder / "static.safetensors"
        try:
            manifest = json.loads((folder / "manifest.json").read_bytes())
            if path.stat().st_size > _MAX_BYTES:
                raise WeightsError(f"{path}: over the bound of {_MAX_BYTES:,} bytes")
            blob = path.read_bytes()
        except (OSError, ValueError) as error:
            raise WeightsError(f"{folder}: no readable encoder table ({error})") from error
        if not isinstance(manifest, dict) or manifest.get("format") != 1:
            raise WeightsError(
                f"{folder}: expected an encoder manifest of format 1; install it again"
            )
        if hashlib.sha256(blob).hexdigest() != manifest.get("sha256"):
            raise WeightsError(
                f"{path}: its digest is not the manifest's; install the package again"
            )
        try:
            tensors = load_tensors(blob)
        except SafetensorError as error:
            raise WeightsError(f"{path}: not a safetensors file ({error})") from error
        _check(path, tensors)
        words = _split(tensors["words"])
        bias, other, *weights = tensors["courtesy"].tolist()
        polite = dict(zip(_split(tensors["courtesy_words"]), weights, strict=True))
        return cls(
            name=str(manifest.get("encoder")),
            words={word: row for row, word in enumerate(words)},
            rows=tensors["rows"],
            scale=tensors["scale"].astype(np.float32),
            weight=tensors["weight"].astype(np.float32),
            bias=tensors["bias"],
            style=tensors["style"],
            courtesies=Courtesies(words=polite, other=other, bias=bias),
        )


def _joined(words: Iterable[str]) -> NDArray[np.uint8]:
    return np.frombuffer("\n".join(words).encode(), dtype=np.uint8).copy()


def _split(words: NDArray[np.uint8]) -> list[str]:
    return words.tobytes().decode("utf-8").split("\n")


def _check(path: Path, tensors: Mapping[str, NDArray[Any]]) -> None:
    found = {name: (str(value.dtype), value.ndim) for name, value in tensors.items()}
    if found != _TENSORS:
        raise WeightsError(f"{path}: expected {_TENSORS}, got {found}")
    rows, dim = tensors["rows"].shape
    fits = (
        tensors["scale"].shape == tensors["weight"].shape == (rows,)
        and tensors["bias"].shape == (dim,)
        and tensors["style"].shape == (2, len(style_of("")))
        and np.count_nonzero(tensors["words"] == ord("\n")) < rows
        and np.count_nonzero(tensors["courtesy_words"] == ord("\n")) + 3 == len(tensors["courtesy"])
    )
    if not fits or not all(
        np.isfinite(tensors[name]).all()
        for name in ("scale", "weight", "bias", "style", "courtesy")
    ):
        raise WeightsError(f"{path}: shapes or values do not fit; install the package again")
