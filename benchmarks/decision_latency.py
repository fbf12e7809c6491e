"""Time of one decision: a prompt of about 300 tokens, a pool of twelve workers, one core.

Prints the encoder and everything else apart, and beside them LiteLLM's local router in the same run
where it is installed (``make bench``). LiteLLM's two classifiers score a prompt's complexity and map it to a
tier; ours predicts each worker's chance, cost and time. Interleaved, so that a slow moment hits all.

Usage: python benchmarks/decision_latency.py [--rounds 300] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # it fetches one at import otherwise

MODELS = (
    "gpt-4o-mini", "gpt-4o-2024-08-06", "gpt-5.2", "o3-mini", "claude-opus-4-5", "claude-sonnet-4-5",
    "gemini-2.5-pro", "gemini-2.5-flash", "deepseek-v3.1", "llama-3.3-70b", "qwen3-235b-a22b", "in-house-1",
)  # fmt: skip
WORDS = [
    "the",
    "of",
    "and",
    "to",
    "a",
    "in",
    "is",
    "that",
    "for",
    "it",
    "as",
    "was",
    "with",
    "be",
    "by",
    "on",
    "not",
    "he",
    "this",
    "are",
    "or",
    "his",
    "from",
    "at",
    "which",
    "but",
    "have",
    "an",
    "had",
    "they",
    "you",
    "were",
    "their",
    "one",
    "all",
    "we",
    "can",
    "her",
    "has",
    "there",
    "been",
    "if",
    "more",
    "when",
    "will",
    "would",
    "who",
    "so",
    "function",
    "returns",
    "value",
    "list",
    "number",
    "energy",
    "market",
    "protein",
    "theorem",
    "index",
    "query",
    "river",
    "century",
    "policy",
]


def prompt(rng: random.Random) -> str:
    """About 300 tokens that no cache has seen: 230 words, some arithmetic, a question."""
    words = [rng.choice(WORDS) for _ in range(230)]
    return (
        f"{' '.join(words)}. Given {rng.randint(2, 999)} and {rng.randint(2, 999)}, what follows?"
    )


def timed(function: Callable[[str], object], text: str) -> float:
    """Milliseconds for one call."""
    began = time.perf_counter()
    function(text)
    return (time.perf_counter() - began) * 1_000


def contenders() -> dict[str, Callable[[str], object]]:
    """What is timed, by name."""
    from fugu_adapters.config import Price, Worker
    from fugu_adapters.encoders import load_encoder
    from fugu_adapters.messages import parse_messages
    from fugu_adapters.policies.routing import Router
    from fugu_adapters.pool import Pool
    from fugu_adapters.types import Request

    pool = Pool(
        [
            Worker(
                name=f"w{number}",
                base_url="http://127.0.0.1:1/v1",
                model=model,
                price=Price(input=0.1 * number + 0.1, output=number + 1.0),
                context_window=128_000,
            )
            for number, model in enumerate(MODELS)
        ]
    )
    router = Router(pool)
    encoder = load_encoder(router.selector.bundle.encoder)
    vectors = {}

    def decide(text: str) -> None:
        request = Request(messages=parse_messages(text))
        router.decide(request, model="fugu", effort="medium")

    def rest(text: str) -> None:
        # The same decision with the vector looked up: everything but the encoder.
        router._encode = lambda _: vectors["v"]  # type: ignore[assignment]
        decide(text)

    def whole(text: str) -> None:
        router._encode = router._encode_text  # type: ignore[assignment]
        decide(text)

    def encode(text: str) -> None:
        vectors["v"] = encoder.encode([text])[0]

    found: dict[str, Callable[[str], object]] = {
        f"encoder ({encoder.id})": encode,
        "everything else": rest,
        "whole decision": whole,
    }
    return found | litellm_routers()


def litellm_routers() -> dict[str, Callable[[str], object]]:
    """LiteLLM's local classifiers, or nothing where it is not installed."""
    try:
        from litellm.router_strategy.complexity_router.complexity_router import ComplexityRouter
    except ImportError:
        print("LiteLLM is not installed here; `make bench` has it", file=sys.stderr)
        return {}
    tiers = dict(zip(("SIMPLE", "MEDIUM", "COMPLEX", "REASONING"), MODELS, strict=False))

    def router(kind: str) -> ComplexityRouter:
        config = {"tiers": tiers, "classifier_type": kind}
        return ComplexityRouter("auto", None, config, MODELS[0], derive_savings_baseline=False)

    return {
        "LiteLLM heuristic": router("heuristic").classify,
        "LiteLLM heuristic_v2": router("heuristic_v2")._classify_with_heuristic_v2,
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rng = random.Random(0)  # noqa: S311
    functions = contenders()
    times: dict[str, list[float]] = {name: [] for name in functions}
    for round_number in range(options.rounds + 10):
        text = prompt(rng)
        for name, function in functions.items():
            milliseconds = timed(function, text)
            if round_number >= 10:  # warm
                times[name].append(milliseconds)
    table = {
        name: {"p50_ms": statistics.median(ms), "p99_ms": statistics.quantiles(ms, n=100)[98]}
        for name, ms in times.items()
    }
    if options.json:
        print(json.dumps(table))
        return
    print(
        f"{platform.machine()}, Python {platform.python_version()}, {options.rounds} rounds, 12 workers"
    )
    print(f"{'':24} {'p50 ms':>9} {'p99 ms':>9}")
    for name, row in table.items():
        print(f"{name:24} {row['p50_ms']:9.3f} {row['p99_ms']:9.3f}")


if __name__ == "__main__":
    main()
