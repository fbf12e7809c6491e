"""Keys, budgets, opt-outs, hosts and bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from fugu_adapters import ConfigError, Fugu, Pool
from fugu_adapters.serve import serve as run_server
from fugu_adapters.serve.access import digest_of, new_key
from fugu_adapters.serve.app import Settings
from fugu_adapters.store import KeyRecord, Store
from fugu_adapters.testing.acts import chat_reply, chat_stream, hang

KEYS = Settings(keys=True)
BODY = {"model": "fugu", "messages": [{"role": "user", "content": "hi"}]}
PATHS = ["/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/messages/count_tokens"]


def add_key(store: Store, name: str, **more: Any) -> dict[str, str]:
    """A new key's header."""
    key = new_key()
    store.add_key(KeyRecord(name=name, digest=digest_of(key), created_at=datetime.now(UTC), **more))
    return {"authorization": f"Bearer {key}"}


async def test_without_a_key_nothing_is_told(serve: Callable[..., Any]) -> None:
    """Not even which models there are; the health of the process is no secret."""
    served = await serve({"w": [chat_reply("hi")]}, settings=KEYS)
    for path in PATHS:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"x-api-key": "wrong"}, {"authorization": "Basic x"}):  # fmt: skip
            reply = await served.post(path, BODY, **headers)
            assert reply.status_code == 401
            assert "content" not in reply.text
    for path in ("/v1/models", "/v1/models/fugu", "/metrics", "/v1/responses/resp_x"):
        assert (await served.http.get(path)).status_code == 401
    assert (await served.http.get("/health")).status_code == 200
    assert served.upstream.requests == []


async def test_a_key_in_either_header(serve: Callable[..., Any]) -> None:
    """OpenAI's clients send one, Anthropic's the other; the store holds neither."""
    served = await serve({"w": [chat_reply("hi")]}, settings=KEYS)
    header = add_key(served.store, "a")
    key = header["authorization"].split()[1]
    assert (await served.post(PATHS[0], BODY, **header)).status_code == 200
    assert (await served.post(PATHS[0], BODY, **{"x-api-key": key})).status_code == 200
    assert key not in repr(served.store.list_keys())
    request = served.upstream.requests[0]
    assert key not in repr(request.headers) + request.body.decode()  # it ends here
    fresh = await serve({"w": [chat_reply("hi")]}, settings=KEYS)
    fresh.store.change_key("a", revoked=True)
    assert (await fresh.post(PATHS[0], BODY, **header)).status_code == 401


async def test_a_budget_is_never_passed(serve: Callable[..., Any]) -> None:
    """Of twenty requests at once, no more reach the worker than it pays for; what was spent outlives the server."""
    served = await serve({"w": [chat_reply("hi", usage=(10, 500), delay=0.2)]}, settings=KEYS)
    header = add_key(served.store, "a", budget_usd=0.0051)
    body = {**BODY, "max_tokens": 500}  # a call costs 10 + 1,000 micro-dollars at most
    replies = await asyncio.gather(*(served.post(PATHS[0], body, **header) for _ in range(20)))
    codes = sorted(reply.status_code for reply in replies)
    assert codes.count(200) == len(served.upstream.requests) == 5
    assert set(codes) == {200, 402}
    refused = next(reply for reply in replies if reply.status_code == 402)
    assert refused.json()["error"]["type"] == "insufficient_quota"
    for _ in range(100):  # it is written down right after the reply
        spent = served.store.list_keys()[0].spent_usd
        if spent > 0.005:
            break
        await asyncio.sleep(0.02)
    assert 0.005 < spent <= 0.0051 + 1e-9
    again = await serve({"w": [chat_reply("hi", usage=(10, 500))]}, settings=KEYS)
    for _ in range(3):
        last = await again.post(PATHS[0], body, **header)
    assert last.status_code == 402
    assert again.store.list_keys()[0].spent_usd <= 0.0051 + 1e-9


async def test_a_cancelled_stream_is_paid_for(serve: Callable[..., Any]) -> None:
    """A client that hangs up has still spent."""
    served = await serve({"w": [chat_stream(*["word "] * 100, drip=0.05)]}, settings=KEYS)
    header = add_key(served.store, "a", budget_usd=1.0)
    request = served.http.stream("POST", PATHS[0], json={**BODY, "stream": True}, headers=header)
    async with request as reply:
        async for _ in reply.aiter_bytes():
            break
    for _ in range(100):
        await asyncio.sleep(0.02)
        if served.store.list_keys()[0].spent_usd:
            break
    assert served.store.list_keys()[0].spent_usd > 0


async def test_opt_outs_of_a_key(serve: Callable[..., Any]) -> None:
    """A worker that a key's holder may not use is not asked, whatever the request says."""
    served = await serve({"w": [chat_reply("hi")], "v": [chat_reply("hi")]}, settings=KEYS)
    header = add_key(served.store, "a", exclude=("w",))
    for extra in ({}, {"fugu": {"exclude": []}}):
        reply = await served.post(PATHS[0], {**BODY, **extra}, **header)
        assert reply.headers["x-fugu-worker"] == "v"
    both = await served.post(PATHS[0], {**BODY, "fugu": {"exclude": ["v"]}}, **header)
    assert both.status_code == 400
    assert served.upstream.seen("w") == []


async def test_a_page_of_another_site_is_refused(serve: Callable[..., Any]) -> None:
    """On loopback there is no key, so a web page must not reach it through its visitor's browser."""
    served = await serve({"w": [chat_reply("hi")]})
    for headers in (
        {"host": "evil.example"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
    ):
        reply = await served.post(PATHS[0], BODY, **headers)
        assert reply.status_code == 403
    assert served.upstream.requests == []
    for headers in ({"origin": "http://localhost:3000"}, {"host": "localhost:8787"}):
        assert (await served.post(PATHS[0], BODY, **headers)).status_code == 200
    named = await serve(
        {"w": [chat_reply("hi")]}, settings=Settings(allowed_hosts=["fugu.internal"])
    )
    assert (await named.post(PATHS[0], BODY, host="fugu.internal")).status_code == 200


async def test_bounds_of_size_and_number(serve: Callable[..., Any]) -> None:
    """Too long is 413, too many at a time 429 with a hint; both before any call."""
    small = Settings(max_body=2_000, max_requests=2)
    served = await serve({"w": [hang()]}, settings=small)
    long = {**BODY, "messages": [{"role": "user", "content": "x" * 3_000}]}
    assert (await served.post(PATHS[0], long)).status_code == 413

    async def chunks() -> Any:
        for _ in range(100):
            yield b"x" * 100

    assert (await served.http.post(PATHS[0], content=chunks())).status_code == 413
    assert served.upstream.requests == []
    waiting = [asyncio.create_task(served.post(PATHS[0], BODY)) for _ in range(2)]
    await served.upstream.arrived(2)
    refused = await served.post("/v1/messages", {**BODY, "max_tokens": 5})
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "1"
    assert refused.json()["error"]["type"] == "rate_limit_error"
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)


async def test_a_client_may_lower_the_caps_and_not_raise_them(serve: Callable[..., Any]) -> None:
    """Limits of a request are within those of the server."""
    from fugu_adapters import Limits

    served = await serve({"w": [chat_reply("hi")]}, limits=Limits(usd=0.001, output_tokens=300))
    await served.post(PATHS[0], {**BODY, "fugu": {"limits": {"usd": 5, "output_tokens": 9_000}}})
    assert served.upstream.requests[-1].json["max_tokens"] == 300
    low = await served.post(PATHS[0], {**BODY, "fugu": {"limits": {"usd": 0.000001}}})
    assert low.status_code == 402


def test_beyond_loopback_there_has_to_be_a_key(tmp_path: Any) -> None:
    """A server that others can reach is not started without one."""
    fugu = Fugu(Pool.embedded(), store=False)
    store = Store(str(tmp_path / "k.db"))
    with pytest.raises(ConfigError, match="fugu keys add"):
        run_server(fugu, store=store, host="0.0.0.0")  # noqa: S104  it is refused
    with pytest.raises(ConfigError, match="fugu keys add"):
        run_server(fugu, store=None, host="192.0.2.1")


async def test_metrics_count_and_name_no_client(serve: Callable[..., Any]) -> None:
    """Requests, calls, tokens and dollars, by names from the configuration."""
    served = await serve({"w": [chat_reply("hi", usage=(1_000, 500))]})
    await served.post(PATHS[0], BODY)
    await served.post(PATHS[0], {**BODY, "model": "made-up-by-a-client"})
    page = (await served.http.get("/metrics")).text
    assert 'fugu_requests_total{dialect="chat",model="fugu",status="200"} 1.0' in page
    assert 'fugu_requests_total{dialect="chat",model="",status="404"} 1.0' in page
    assert 'fugu_worker_tokens_total{kind="output",worker="w"} 500.0' in page
    assert 'fugu_worker_cost_dollars_total{worker="w"} 0.002' in page
    assert "made-up" not in page
    ready = await served.http.get("/ready")
    assert ready.json() == {"ready": True, "workers": 1}
