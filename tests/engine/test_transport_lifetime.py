"""The transport's lifetimes: cancelled calls, loops that end, and what must not be left behind."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import warnings

import pytest
from http_worker import CANARY, post, read

from fugu_adapters.engine.transport import Transport
from fugu_adapters.errors import WorkerUnavailable
from fugu_adapters.testing.acts import Act, chat_reply, chat_stream, hang, reset
from fugu_adapters.testing.fault_server import FaultServer


@pytest.mark.parametrize("streamed", [False, True])
async def test_cancellation_reaches_the_socket(streamed: bool) -> None:
    """A cancelled call ends at once with CancelledError, and the server sees it go."""
    async with FaultServer() as server:
        server.script("h", [hang(), chat_reply("fine")])
        transport = Transport()
        call = read if streamed else post
        task = asyncio.ensure_future(call(transport, server.url("h")))
        await server.arrived()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(10):
            await server.requests[0].gone.wait()
        assert (await post(transport, server.url("h"))).status == 200
        await transport.aclose()


async def test_cancel_storm_leaves_a_working_transport() -> None:
    """After hundreds of calls cancelled at random moments, while connecting too, calls still work.

    A bounded pool of the HTTP library keeps the places of such calls for good.
    """
    async with FaultServer() as server:
        server.script("s", [chat_reply("x", delay=0.01)])
        transport = Transport()

        async def hasty(index: int) -> None:
            try:
                async with asyncio.timeout(0.0005 * (index % 30)):
                    await post(transport, server.url("s"))
            except TimeoutError:
                pass

        for _ in range(5):
            await asyncio.gather(*(hasty(index) for index in range(60)))
        async with asyncio.timeout(10):
            replies = await asyncio.gather(*(post(transport, server.url("s")) for _ in range(10)))
        await transport.aclose()
    assert [reply.status for reply in replies] == [200] * 10


def test_one_transport_serves_many_loops_and_leaves_no_socket() -> None:
    """Each ``asyncio.run`` closes its own connections: no warning, no open file, without aclose."""

    async def main(transport: Transport) -> int:
        async with FaultServer() as server:
            server.script("a", [chat_reply("hi")])
            server.script("s", [Act(pieces=(b"x",), repeat=1000, framing="chunked")])
            await post(transport, server.url("a"))
            async with transport.stream(
                server.url("s"), headers={}, body=b"", worker="w"
            ) as stream:
                await anext(stream)
            return (await post(transport, server.url("a"))).status

    transport = Transport()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(main(transport))
        gc.collect()
        before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
        assert [asyncio.run(main(transport)) for _ in range(3)] == [200] * 3
        gc.collect()
        after = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    assert [str(warning.message) for warning in caught] == []
    assert after == before
    assert len(transport._clients) == 0


def test_loops_that_were_closed_by_hand_are_forgotten() -> None:
    """A host that closes its loop without ending it costs a warning of its own, and no memory."""

    async def main(transport: Transport) -> None:
        async with FaultServer() as server:
            server.script("a", [chat_reply("hi")])
            await post(transport, server.url("a"))
            assert len(transport._clients) == 1

    transport = Transport()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        loop = asyncio.new_event_loop()
        loop.run_until_complete(main(transport))
        loop.close()
        asyncio.run(main(transport))
        del loop
        gc.collect()
    assert len(transport._clients) == 0


async def test_closing_twice_and_calling_again_is_fine() -> None:
    """``aclose`` is idempotent, and a closed transport opens anew when it is used."""
    async with FaultServer() as server:
        server.script("a", [chat_reply("hi")])
        transport = Transport()
        await transport.aclose()
        await post(transport, server.url("a"))
        await transport.aclose()
        await transport.aclose()
        assert (await post(transport, server.url("a"))).status == 200
        await transport.aclose()
    assert server.connections == 2


async def test_secrets_stay_out_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """With every logger at DEBUG, the key is found nowhere."""
    caplog.set_level(logging.DEBUG)
    async with FaultServer() as server:
        server.script("a", [chat_reply("hi"), chat_stream("hi"), reset()])
        transport = Transport()
        await post(transport, server.url("a"))
        await post(transport, server.url("a"))
        with pytest.raises(WorkerUnavailable):
            await post(transport, server.url("a"))
        await transport.aclose()
    assert CANARY not in caplog.text
    assert CANARY not in repr(caplog.records)
