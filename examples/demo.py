"""A learned choice among real language models, with no key and no network: run by ``make demo``."""

from __future__ import annotations

import sys

from rich.console import Console

from fugu_adapters import Fugu, FuguError, Limits, Pool

QUESTIONS = (
    "Compute 487 * 36 + 219.",
    "How many times does the letter r occur in 'strawberry raspberry'?",
    "Is this review positive or negative? 'I loved every minute of it.' Answer with one word.",
    "Which date is 45 days after March 1, 2026? Answer as YYYY-MM-DD.",
    "Write a Python function that returns the larger of two numbers.",
)


def main() -> int:
    """Ask each question and show who answered, why, and for how much."""
    out = Console(highlight=False)
    pool = Pool.embedded()
    out.print(f"Pool: {', '.join(worker.name for worker in pool)}")
    out.print("'right' is each worker's predicted chance, learned from measured outcomes.\n")
    with Fugu(pool) as fugu:
        for question in QUESTIONS:
            out.print(question, style="bold", markup=False)
            result = fugu.run(question, limits=Limits(seconds=90, output_tokens=160))
            for candidate in result.decision.candidates:
                mark = "->" if candidate.worker == result.worker else "  "
                out.print(
                    f"  {mark} {candidate.worker:18} right {candidate.p_success:4.0%}"
                    f"   about {candidate.latency_s or 0:4.1f} s",
                    style="green" if mark == "->" else "dim",
                    markup=False,
                )
            out.print(f"  {result.decision.reason}", style="dim", markup=False)
            for step in result.trace.attempts[-1].steps:
                out.print(f"  | {step}", style="dim", markup=False)
            out.print(f"  {result.text.strip()}", markup=False)
            out.print(
                f"  {result.usage.total_tokens} tokens, {result.trace.seconds:.1f} s, "
                f"${result.cost_usd or 0:.4f}, run {result.run_id[:8]}\n",
                style="dim",
            )
    out.print("More: fugu ask '...', fugu route '...', fugu pool, fugu trace", style="dim")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except FuguError as error:
        sys.exit(f"{type(error).__name__}: {error}")
