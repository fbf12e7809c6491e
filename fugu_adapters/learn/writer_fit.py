"""Fine-tune a small language model to write workflows, by GRPO with TRL on recorded answers.

The model is shown what any writer is shown (``workflow/writer.py``). A reply that is no workflow earns 0, a workflow
0.5, one whose answer is right 1, less the price of its calls, as in Conductor (Nielsen et al. 2025, section 3.3). The
random part of a pool and its order change from request to request.

What a step writes that sees others was never recorded. It is *assumed* to vote with the answers that it sees and its
own recorded one: no better than a vote, no worse. Subtasks therefore earn nothing here; only who is asked, and who
sees whom. Train on a live pool for the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fugu_adapters.errors import ConfigError, PlanError
from fugu_adapters.evaluate.votes import Recorded
from fugu_adapters.learn.coordinator_data import Suite
from fugu_adapters.policies.conductor import EFFORTS
from fugu_adapters.types import Candidate, Effort, Request
from fugu_adapters.workflow.compose import VOTING
from fugu_adapters.workflow.parse import parse_workflow
from fugu_adapters.workflow.plan import Workflow
from fugu_adapters.workflow.writer import writing_request

__all__ = ["answer_of", "reward_of", "tasks_of", "train_writer"]

_LEAST = 2  # workers of a random pool


def tasks_of(suites: Sequence[Suite], count: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Requests to write for, on which workers differ.

    Args:
        suites: recorded answers, with prompts.
        count: how many.
        seed: of items and pools.

    Returns:
        For each the chat ``prompt``, and ``suite``, ``row`` and ``columns`` that its reward needs.
    """
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        place = int(rng.integers(len(suites)))
        fit = suites[place].fit
        split = np.flatnonzero(np.ptp(fit.scores, axis=1) > 0)
        row = int(rng.choice(split if len(split) else np.arange(len(fit))))
        size = len(fit.workers)
        keep = int(rng.integers(min(_LEAST, size), size + 1))
        columns = rng.permutation(size)[:keep]
        cost = fit.cost.mean(axis=0)
        models = [
            Candidate(worker=str(n), p_success=float(fit.forecast[row, c]), cost_usd=float(cost[c]))
            for n, c in enumerate(columns)
        ]
        text = suites[place].prompts[row]
        asked = Request(messages=({"role": "user", "content": text},))
        sent = writing_request(asked, models)
        found.append(
            {
                "prompt": [{"role": "user", "content": str(sent.messages[0]["content"])}],
                "suite": place,
                "row": row,
                "columns": [int(c) for c in columns],
            }
        )
    return found


def reward_of(
    reply: str, items: Recorded, row: int, columns: Sequence[int], *, effort: Effort = "medium"
) -> float:
    """0 for no workflow, 0.5 for one, 1 for one whose answer is right, less half of its price.

    Args:
        reply: what the model wrote.
        items: recorded answers.
        row: the item.
        columns: workers in the order in which they were numbered.
        effort: prices calls.
    """
    try:
        workflow = parse_workflow(reply, [str(column) for column in columns])
    except PlanError:
        return 0.0
    asked = [int(step.worker) for step in workflow.steps]
    cost, price = items.cost.mean(axis=0), EFFORTS[effort].price
    best = max(float(cost[max(columns, key=lambda c: float(items.forecast[row, c]))]), 1e-12)
    spent = float(items.cost[row, asked].sum()) / best
    taken = price.call * (len(asked) - 1) + price.spend * spent
    return 0.5 + 0.5 * max(0.0, float(items.scores[row, answer_of(workflow, items, row)]) - taken)


def answer_of(workflow: Workflow, items: Recorded, row: int) -> int:
    """The column whose answer the last step gives: a vote of those that it sees, and of its own worker's."""
    ballots: list[set[int]] = []
    for step in workflow.steps:
        ballots.append(set().union({int(step.worker)}, *(ballots[seen] for seen in step.access)))
    voting = sorted(ballots[-1])
    weight = VOTING.weigh(VOTING.odds(items.forecast[row]))
    said = items.answer[row]

    def backed(column: int) -> float:
        same = [c for c in voting if said[c] == said[column] and said[column] >= 0]
        return float(weight[same].sum()) + 1e-6 * float(weight[column])

    return max(voting, key=backed)


def train_writer(
    model: Path,
    suites: Sequence[Suite],
    output: Path,
    *,
    steps: int = 200,
    rollouts: int = 8,
    requests: int = 4,
    tokens: int = 512,
    rate: float = 1e-6,
    seed: int = 0,
) -> list[dict[str, float]]:
    """Fine-tune a model and write it to a folder.

    Args:
        model: folder with a causal language model and its tokenizer, as transformers keeps them.
        suites: recorded answers, with prompts.
        output: folder to write.
        steps: updates.
        rollouts: replies to a request.
        requests: in an update.
        tokens: of a reply at most.
        rate: learning rate.
        seed: of requests and sampling.

    Returns:
        The trainer's log: loss, reward and its parts by step.

    Raises:
        ConfigError: TRL is not installed, or there is no model.
    """
    try:
        import torch
        from datasets import Dataset
        from trl import GRPOConfig, GRPOTrainer
    except ImportError as error:
        raise ConfigError("needs TRL: pip install 'fugu-adapters[lm-train]'") from error
    if not (model / "config.json").is_file():
        raise ConfigError(f"{model}: expected a folder with a model's config.json")
    tasks = tasks_of(suites, steps * requests, seed=seed)

    def reward(completions: Any, suite: Any, row: Any, columns: Any, **_: Any) -> list[float]:
        return [
            reward_of(text[0]["content"], suites[s].fit, r, c)
            for text, s, r, c in zip(completions, suite, row, columns, strict=True)
        ]

    config = GRPOConfig(
        output_dir=str(output),
        max_steps=steps,
        num_generations=rollouts,
        per_device_train_batch_size=rollouts,
        gradient_accumulation_steps=requests,
        max_completion_length=tokens,
        learning_rate=rate,
        lr_scheduler_type="cosine",
        warmup_steps=max(1, round(0.03 * steps)),
        beta=0.0,
        epsilon=0.2,
        temperature=1.0,
        seed=seed,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        use_cpu=not torch.cuda.is_available(),
        bf16=torch.cuda.is_available(),
    )
    trainer = GRPOTrainer(
        model=str(model), reward_funcs=reward, args=config, train_dataset=Dataset.from_list(tasks)
    )
    trainer.train()
    trainer.save_model(str(output))
    return [dict(each) for each in trainer.state.log_history]
