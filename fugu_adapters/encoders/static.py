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
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
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

__all__ = ["StaticEncoder", "Vocabulary", "style_of"]

_MAX_CHARS = 4_000
_MAX_BYTES = 16 * 1024 * 1024
_LONGEST_PIECE = 40  # characters; no known word is as long
_KNOWN = 8_192  # pieces whose rows are kept: texts repeat their words
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


def _kind(char: str) -> int:
    if char == "\n":
        return 4
    if char.isdigit():
        return 2
    if char.isupper():
        return 1
    return 0 if char.isalpha() or char.isspace() else 3


_KINDS = bytes(_kind(chr(code)) for code in range(256))
"""Of each latin-1 character: 1 capital, 2 digit, 3 mark, 4 line end."""


class Vocabulary:
    """Which rows a text consists of. Safe to share between threads.

    Args:
        words: row of each known word or mark.
        triples: rows after those of the words, for hashed letter triples.
    """

    def __init__(self, words: Mapping[str, int], triples: int) -> None:
        self.words, self.triples = words, triples
        self._rows_of = lru_cache(maxsize=_KNOWN)(self._look_up)

    def count(self, text: str) -> dict[int, float]:
        """How often each row occurs; the text's middle is left out above 4,000 characters."""
        text = clip_middle(text, _MAX_CHARS)
        counts: dict[int, float] = {}
        pieces = _PIECE.findall(text)
        for piece, times in Counter(pieces).items():
            for row, share in self._rows_of(piece[:_LONGEST_PIECE]):
                counts[row] = counts.get(row, 0.0) + times * share
        length = min(12, int(1.5 * math.log2(len(pieces) + 1)))
        for mark in (f"<length {length}>", f"<ends {text.rstrip()[-1:]}>"):
            if mark in self.words:
                counts[self.words[mark]] = 1.0
        return counts

    def _look_up(self, piece: str) -> tuple[tuple[int, float], ...]:
        found: list[tuple[int, float]] = []
        for word in _spell(piece):
            row = self.words.get(word)
            if row is not None:
                found.append((row, 1.0))
            elif word[0].isalpha():
                padded = f"<{word[:_LONGEST_WORD]}>"
                count = len(padded) - 2
                hashes = (zlib.crc32(padded[at : at + 3].encode()) for at in range(count))
                found += [(len(self.words) + code % self.triples, 1.0 / count) for code in hashes]
        return tuple(found)


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


def style_of(text: str) -> list[float]:
    """How a text is written, which averages of words do not keep: ten numbers.

    Logarithm of its length; square roots of the shares of capitals, digits, marks and line ends; whether
    it ends with a question mark, a full stop or a colon; begins with a capital; asks anything.
    """
    text = clip_middle(text, _MAX_CHARS)
    size = max(len(text), 1)
    kinds = text.encode("latin-1", "ignore").translate(_KINDS)
    shares = [math.sqrt(kinds.count(kind) / size) for kind in (1, 2, 3, 4)]
    last = text.rstrip()[-1:]
    flags = (last == "?", last in (".", "!"), last == ":", text[:1].isupper(), "?" in text)
    return [math.log(size), *shares, *map(float, flags)]


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
        self._vocabulary = Vocabulary(words, len(rows) - len(words))
        self._rows = rows
        self._scale = scale
        self._factors = np.stack([weight, weight * scale], axis=1)  # side by side, for one look-up
        self._bias = bias
        self._style = style.tolist()
        self._courtesies = courtesies

    @property
    def id(self) -> str:
        """Name with version."""
        return self._name

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return int(self._rows.shape[1] + len(self._style[0]))

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode texts; see :class:`~fugu_adapters.encoders.Encoder`."""
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        meaning = self._rows.shape[1]
        for index, text in enumerate(map(self._courtesies.strip, texts)):
            mean = self._mean(self._vocabulary.count(text))
            size = math.sqrt(mean @ mean)  # which np.linalg.norm takes long for
            manner = self._manner(text)
            whole = max(math.hypot(float(size > 0.0), *manner), 1e-12)
            vectors[index, :meaning] = mean * np.float32(1.0 / (whole * max(size, 1e-12)))
            vectors[index, meaning:] = [value / whole for value in manner]
        return vectors

    def _mean(self, counts: Mapping[int, float]) -> NDArray[np.float32]:
        """The weighted mean of a text's rows."""
        if not counts:
            return self._bias
        rows = np.fromiter(counts, dtype=np.int64, count=len(counts))
        often = np.fromiter(counts.values(), dtype=np.float32, count=len(counts))
        weight, step = (self._factors[rows] * np.log1p(often)[:, None]).T
        total = step @ self._rows[rows].astype(np.float32)
        mean: NDArray[np.float32] = self._bias + total / weight.sum()
        return mean

    def _manner(self, text: str) -> list[float]:
        """How the text is written, as far as it counts."""
        mean, gain = self._style
        return [
            min(max((value - usual) * factor, -0.3), 0.3)
            for value, usual, factor in zip(style_of(text), mean, gain, strict=True)
        ]

    def save(self, folder: Path, *, provenance: Mapping[str, Any]) -> None:
        """Write the table with its manifest; half precision where it is enough."""
        rows = self._vocabulary.words
        words = sorted(rows, key=lambda word: rows[word])
        said = self._courtesies
        tensors: dict[str, NDArray[Any]] = {
            "rows": self._rows,
            "scale": self._scale.astype(np.float16),
            "weight": self._factors[:, 0].astype(np.float16),
            "bias": self._bias,
            "style": np.array(self._style, dtype=np.float32),
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
