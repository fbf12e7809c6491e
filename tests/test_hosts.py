"""What the adapters share: teams, endpoints, decisions as data, and tasks that a host wraps in words."""

from __future__ import annotations

import json

import pytest

from fugu_adapters import ConfigError, Fugu, InputError, Pool, Worker
from fugu_adapters.hosts import KEY, endpoint_pool, plain_decision, team_pool
from fugu_adapters.testing import ScriptedWorker


def test_a_team_is_named_in_whatever_way_suits() -> None:
    """Descriptions, fields, workers or a pool; those who are not asked from here are hosts' own."""
    team = {"a": "Writes code.", "b": {"description": "Writes poems.", "tags": {"eu"}}, "c": None}
    pool = team_pool(team)
    assert [worker.name for worker in pool] == ["a", "b", "c"]
    assert {worker.api for worker in pool} == {"host"}
    assert pool["a"].description == "Writes code."
    assert pool.routing.description_encoder == "use-m3"
    assert [w.name for w in team_pool([Worker(name="x", api="host")])] == ["x"]
    assert team_pool(pool) is pool
    with pytest.raises(ConfigError, match="at least one worker"):
        team_pool({})


def test_an_endpoint_is_a_pool_of_one() -> None:
    """Its key is named where there is one, and not held."""
    (worker,) = endpoint_pool("http://127.0.0.1:1/v1", "fugu-ultra", "high", has_key=True)
    assert (worker.model, worker.effort, worker.api_key_env) == ("fugu-ultra", "high", KEY)
    (worker,) = endpoint_pool("http://127.0.0.1:1/v1", "m", None, has_key=False)
    assert worker.api_key_env is None


def test_a_decision_is_plain_data() -> None:
    """Ready for JSON, with every candidate."""
    pool = Pool([ScriptedWorker("a").worker, ScriptedWorker("b").worker])
    decision = Fugu(pool, store=False).route("Hello.", exclude=["b"])
    plain = json.loads(json.dumps(plain_decision(decision)))
    assert (plain["worker"], plain["reason"]) == ("a", decision.reason)
    assert [c["worker"] for c in plain["candidates"]] == ["a", "b"]
    assert plain["candidates"][1]["excluded_because"]


def test_a_wrapped_task_is_routed_by_what_it_is_about() -> None:
    """The choice is that of the bare task, on every turn; what is sent has nothing of it."""
    team = {
        "billing": "Handles invoices, refunds and double charges.",
        "repair": "Fixes broken machines and orders spare parts.",
    }
    task = "I was charged twice, please refund one invoice."
    pool = Pool([Worker(name=name, api="host", description=team[name]) for name in team])
    fugu = Fugu(pool, store=False)
    wrapped = "Broken machines need spare parts. Fix the machine, order spare parts."
    assert fugu.route(wrapped).worker == "repair"
    assert fugu.route(wrapped, about=task).worker == "billing"
    history = [
        {"role": "user", "content": wrapped},
        {"role": "assistant", "content": "Which one?"},
        {"role": "user", "content": "Go ahead."},
    ]
    assert Fugu(pool, store=False).route(history, about=task).worker == "billing"


def test_what_a_request_is_about_is_not_sent_and_has_to_be_text() -> None:
    """A list would be taken for messages otherwise."""
    worker = ScriptedWorker("w")
    with Fugu(Pool([worker.worker]), store=False) as fugu:
        fugu.run("wrapped", about="bare")
        assert worker.requests[0].messages == ({"role": "user", "content": "wrapped"},)
        with pytest.raises(InputError, match="about: expected text, got list"):
            fugu.run("wrapped", about=["bare"])  # type: ignore[typeddict-item]
