"""Runs that outlive the call that began them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fugu_adapters import Fugu, Pool
from fugu_adapters.testing import ScriptedWorker


async def test_a_run_outlives_the_clients_patience_and_is_fetched(serving: Any) -> None:
    """After the patience is up the call says so; ``result`` waits for the answer."""
    worker = ScriptedWorker("slow", "late but right", delay=1.5)
    async with serving(worker, patience_s=0.1) as client:
        begun = await client.call("orchestrate", task="x")
        while (got := await client.call("result", run_id=begun.body["run_id"])).body[
            "status"
        ] == "running":
            assert "Call result with this run_id" in got.body["note"]
    assert begun.body["status"] == "running"
    assert not begun.failed
    assert got.body["text"] == "late but right"
    assert len(worker.requests) == 1


async def test_a_client_that_does_not_listen_is_answered_sooner(serving: Any) -> None:
    """Without progress a client gives up after a minute, so it is told of the run before."""
    async with serving(ScriptedWorker("slow", delay=60), silent_s=0.1) as client:
        result = await asyncio.wait_for(
            client.client.call_tool("orchestrate", {"task": "x"}), timeout=20
        )
    plain = result.model_dump(by_alias=True)
    assert plain["structuredContent"]["status"] == "running"


async def test_cancelling_a_call_stops_the_worker(serving: Any) -> None:
    """The upstream call ends with the client's, and the run says that it was cancelled."""
    worker = ScriptedWorker("slow", delay=30)
    async with serving(worker) as client:
        task = asyncio.create_task(client.call("orchestrate", task="x"))
        await asyncio.wait_for(worker.started.wait(), 20)
        await client.cancel(task)
        for _ in range(100):
            if worker.cancelled:
                break
            await asyncio.sleep(0.02)
        runs = [each["uri"] for each in await client.listed("resources")][1:]
        got = await client.call("result", run_id=runs[0].removeprefix("fugu://runs/"))
    assert worker.cancelled == 1
    assert got.body["status"] == "cancelled"


async def test_a_call_that_times_out_may_leave_its_run_going(serving: Any) -> None:
    """With ``on_cancel="keep"`` nothing is lost to a client's time limit."""
    worker = ScriptedWorker("slow", "kept", delay=3)
    async with serving(worker, on_cancel="keep") as client:
        with pytest.raises(Exception, match=r"(?i)timed? ?out"):
            await client.call("orchestrate", timeout=1, task="x")
        uri = (await client.listed("resources"))[1]["uri"]
        got = await client.call("result", run_id=uri.removeprefix("fugu://runs/"))
    assert got.body["text"] == "kept"
    assert worker.cancelled == 0


async def test_what_was_written_before_the_end_is_not_lost(serving: Any) -> None:
    """While a run is under way, and after it was cancelled, the text that had come is told."""
    from fugu_adapters import Worker

    said, stopped = asyncio.Event(), asyncio.Event()

    async def talk(messages: Any) -> Any:
        try:
            yield "half an "
            yield "answer"
            said.set()
            await asyncio.sleep(30)
            yield " that never comes"
        finally:
            stopped.set()

    async def call(messages: Any) -> Any:
        return talk(messages)

    worker = Worker(name="w", api="callable", call=call)
    async with serving(worker, silent_s=1, patience_s=1) as client:
        begun = await client.call("orchestrate", task="x")
        said.clear()
        task = asyncio.create_task(client.call("orchestrate", task="y"))
        await asyncio.wait_for(said.wait(), 20)
        await client.cancel(task)
        await asyncio.wait_for(stopped.wait(), 20)
        uris = [each["uri"] for each in await client.listed("resources")][1:]
        async with asyncio.timeout(20):  # the worker stops before its run is noted as cancelled
            while (await client.read(uris[0]))["status"] == "running":  # noqa: ASYNC110  no event tells
                await asyncio.sleep(0.02)
        traces = [await client.read(uri) for uri in uris]
    assert begun.body["text"] == "half an answer"
    assert [(t["status"], t["text"]) for t in traces] == [
        ("cancelled", "half an answer"),
        ("running", "half an answer"),
    ]


async def test_a_guessed_run_is_refused(serving: Any) -> None:
    """An unknown id is a clear error, and says nothing else."""
    async with serving(ScriptedWorker("w")) as client:
        await client.call("orchestrate", task="x")
        for guess in ("0" * 32, "x", "../../etc"):
            got = await client.call("result", run_id=guess)
            assert got.failed
            assert "no such run of yours" in got.text


async def test_too_many_runs_are_refused(serving: Any) -> None:
    """A client that starts more than may be under way is told, and nobody is asked for it."""
    worker = ScriptedWorker("slow", delay=60)
    async with serving(worker, runs=2, patience_s=0.1) as client:
        for _ in range(2):
            await client.call("orchestrate", task="x")
        got = await client.call("orchestrate", task="x")
    assert got.failed
    assert "2 runs are under way" in got.text
    assert len(worker.requests) == 2


async def test_runs_belong_to_their_caller() -> None:
    """Nobody finds, lists or stops somebody else's run."""
    from mcp_server.jobs import Jobs

    jobs = Jobs()
    fugu = Fugu(Pool([ScriptedWorker("w", "mine").worker]), store=False)
    job = jobs.start("alice", fugu.astream("x"))
    while not job.over:
        await job.wait(1)
    assert jobs.find("alice", job.run_id) is job
    assert jobs.find("bob", job.run_id) is None
    assert jobs.of("bob") == []
    await jobs.aclose()


async def test_memory_is_bounded_by_number_and_by_age() -> None:
    """Of runs that are over the oldest are forgotten; those under way never are."""
    from mcp_server.jobs import Jobs

    fugu = Fugu(Pool([ScriptedWorker("w").worker]), store=False)
    slow = Fugu(Pool([ScriptedWorker("s", delay=30).worker]), store=False)
    jobs = Jobs(kept=3, kept_s=60)
    waiting = jobs.start("a", slow.astream("x"))
    for _ in range(6):
        job = jobs.start("a", fugu.astream("x"))
        while not job.over:
            await job.wait(1)
    while not waiting.run_id:
        await waiting.wait(1)
    assert len(jobs.of("a")) == 1 + 3
    old = Jobs(kept_s=0.0)
    job = old.start("a", fugu.astream("x"))
    while not job.over:
        await job.wait(1)
    await asyncio.sleep(0.01)
    assert old.of("a") == []
    await jobs.aclose()
    assert waiting.over


async def test_an_error_that_is_not_ours_is_logged_and_not_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What a bug says may hold what nobody should read; the log has it."""
    from mcp_server.jobs import Job

    async def broken() -> Any:
        raise ZeroDivisionError("secret detail")
        yield

    job = Job("a", broken())
    while not job.over:
        await job.wait(1)
    told = job.outcome()
    assert told.status == "failed"
    assert told.note == "ZeroDivisionError in the server; its log says more"
    assert "secret detail" in caplog.text
