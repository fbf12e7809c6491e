"""One request over HTTP and its reply, whole or in pieces, until its end or its client's."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, TypeAlias

from fugu_adapters.engine.providers.wire import to_json
from fugu_adapters.fugu import Fugu
from fugu_adapters.options import RunOptions
from fugu_adapters.serve.dialect import Asked, Speaker, Writer, spliced
from fugu_adapters.serve.problems import Problem, problem_of
from fugu_adapters.types import Attempt, Event, Result

__all__ = ["GONE", "Exchange", "Heartbeat", "Receive", "Send", "send_json"]

Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

GONE = 499
"""What stands in metrics for a request whose client went away."""

_WATCH_AFTER_S = 0.05
_STOPPING = Problem(status=503, kind="overloaded", text="the server is being stopped; try again")
_logger = logging.getLogger("fugu_adapters.serve")


class Heartbeat:
    """Tells streams that have been silent to say something. One timer for all of them.

    Args:
        seconds: between two beats.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._streams: set[Exchange] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, stream: Exchange) -> None:
        """Watch a stream."""
        self._streams.add(stream)
        if self._timer is None:
            self._set()

    def discard(self, stream: Exchange) -> None:
        """Leave a stream alone."""
        self._streams.discard(stream)
        if not self._streams and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._beat)

    def _beat(self) -> None:
        for stream in self._streams:
            stream.beat()
        self._set()


class Exchange:
    """One request that was accepted.

    Args:
        fugu: answers.
        speaker: the client's dialect.
        asked: the request.
        options: what the core is told of it.
        receive: of the ASGI server.
        send: of the ASGI server.
        heartbeat: for streams.
        keep: given the reply, or the end of a streamed one, before the client is.

    Attributes:
        status: HTTP status of the reply, once there is one.
        calls: what was asked of workers.
        first_s: seconds until the first byte of a streamed reply.
        result: the run's, where it went well.
    """

    def __init__(
        self,
        fugu: Fugu,
        speaker: Speaker,
        asked: Asked,
        options: RunOptions,
        *,
        receive: Receive,
        send: Send,
        heartbeat: Heartbeat,
        keep: Callable[[bytes], Awaitable[None]] | None = None,
    ) -> None:
        self._keep = keep
        self._fugu, self._speaker, self._asked, self._options = fugu, speaker, asked, options
        self._receive, self._send, self._heartbeat = receive, send, heartbeat
        self._writer: Writer | None = speaker.writer(asked) if asked.stream else None
        self._out = bytearray()
        self._wake = asyncio.Event()
        self._quiet = False
        self._run_id = ""
        self._worker = ""
        self._started = False
        self._gone = False
        self._began = time.monotonic()
        self.status = GONE
        self.calls: list[Attempt] = []
        self.first_s: float | None = None
        self.result: Result | None = None

    async def run(self) -> None:
        """Answer, and see to it that nothing goes on once this ends."""
        if self._writer is not None:
            await self._run_in_pieces(self._writer)
            return
        try:
            await self._run_whole()
        except asyncio.CancelledError:
            me = asyncio.current_task()
            if not self._gone or me is None:
                raise
            me.uncancel()  # it was the client that ended this, and nobody waits for anything any more

    async def _run_whole(self) -> None:
        """Most replies come soon, so that only for those that do not is it worth while to watch the client."""
        me = asyncio.current_task()
        watching: list[asyncio.Task[None]] = []
        timer = asyncio.get_running_loop().call_later(
            _WATCH_AFTER_S, lambda: watching.append(asyncio.create_task(self._watch(me)))
        )
        try:
            answer = await self._answer()
        except asyncio.CancelledError:
            if self._gone or not await self._stop(_STOPPING):
                raise
            return
        finally:
            timer.cancel()
            for task in watching:
                task.cancel()
                await asyncio.wait({task})
        await self._reply_whole(answer)

    async def _run_in_pieces(self, writer: Writer) -> None:
        answering = asyncio.create_task(self._answer())
        answering.add_done_callback(lambda _: self._wake.set())
        watching = asyncio.create_task(self._watch(answering))
        self._heartbeat.add(self)
        try:
            await self._reply_in_pieces(answering, writer)
        except asyncio.CancelledError:
            if not await self._stop(_STOPPING):
                raise
        finally:
            self._heartbeat.discard(self)
            watching.cancel()
            answering.cancel()
            await asyncio.wait({answering, watching})

    async def _answer(self) -> Result | Problem:
        """The run's result, or what went wrong in it."""
        try:
            return await self._fugu.arun(
                list(self._asked.messages),
                on_event=self._on_event,
                stream=self._asked.stream,
                **self._options,
            )
        except Exception as error:
            problem = problem_of(error)
            if problem.kind == "internal":
                _logger.error("a run failed", exc_info=error)
            return problem

    # --- what happens in the run ---------------------------------------------------------------

    def _on_event(self, event: Event) -> None:
        if event.kind == "delta" and event.delta is not None:
            if self._writer is not None:
                self._say(self._writer.delta(event.delta, self._run_id))
        elif event.kind == "decision":
            self._run_id, self._worker = event.run_id, event.worker or ""
        elif event.attempt is not None:
            self.calls.append(event.attempt)
        elif event.kind == "step_started" and self._writer is not None:
            subtask = " ".join((event.subtask or "").split())[:100]
            self._say(self._writer.silence(f"step {(event.step or 0) + 1}, {event.worker}: {subtask}"))  # fmt: skip

    def _say(self, data: bytes) -> None:
        if data:
            self._out += data
            self._quiet = False
            self._wake.set()

    def beat(self) -> None:
        """Say something if nothing was said since the last beat."""
        if self._quiet and self._writer is not None:
            self._say(self._writer.silence("working"))
        self._quiet = True

    async def _watch(self, answering: asyncio.Task[Any] | None) -> None:
        """Stop the run when the client goes away."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        if answering is not None:
            answering.cancel()

    # --- replying ------------------------------------------------------------------------------

    async def _reply_whole(self, answer: Result | Problem) -> None:
        if isinstance(answer, Problem):
            await self._refuse(answer)
            return
        self.result = answer
        self._worker = answer.worker  # another one, where the first could not be reached
        if answer.native is not None:
            body = spliced(answer.native, answer)
        else:
            body = self._speaker.whole(self._asked, answer)
        if self._keep is not None:
            await self._keep(body)
        headers = [*self._headers(), (b"content-length", str(len(body)).encode())]
        if answer.cost_usd is not None:
            headers.append((b"x-fugu-cost-usd", f"{answer.cost_usd:.6f}".encode()))
        await self._start(200, b"application/json", headers)
        await self._send({"type": "http.response.body", "body": body})

    async def _reply_in_pieces(
        self, answering: asyncio.Task[Result | Problem], writer: Writer
    ) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._gone:
                return
            done = answering.done()
            if done:
                answer = answering.result()
                if isinstance(answer, Problem) and not self._started and not self._out:
                    await self._refuse(answer)
                    return
                self._out += await self._end(answer, writer)
            data = bytes(self._out)
            self._out.clear()
            if not self._started:
                self.first_s = time.monotonic() - self._began
                headers = [*self._headers(), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]  # fmt: skip
                await self._start(200, b"text/event-stream; charset=utf-8", headers)
            await self._send({"type": "http.response.body", "body": data, "more_body": not done})
            if done:
                return

    async def _end(self, answer: Result | Problem, writer: Writer) -> bytes:
        if isinstance(answer, Problem):
            return writer.fail(answer)
        self.result = answer
        end = writer.finish(answer)
        if self._keep is not None:  # before the client knows of it, who may go on from it at once
            await self._keep(end)
        return end

    async def _stop(self, problem: Problem) -> bool:
        """The last words of a server that is being stopped; whether they could be said."""
        if self._gone:
            return False
        with contextlib.suppress(Exception):
            if not self._started:
                await self._refuse(problem)
            elif self._writer is not None:
                last = bytes(self._out) + self._writer.fail(problem)
                await self._send({"type": "http.response.body", "body": last})
            return True
        return False

    async def _refuse(self, problem: Problem) -> None:
        self.status = problem.status
        await send_json(
            self._send, problem.status, self._speaker.problem(problem), self._headers(), problem
        )

    def _headers(self) -> list[tuple[bytes, bytes]]:
        if not self._run_id:
            return []
        run_id = self._run_id.encode()
        return [
            (b"x-fugu-run-id", run_id),
            (b"x-fugu-worker", self._worker.encode()),
            (b"x-request-id", run_id),
            (b"request-id", run_id),
        ]

    async def _start(self, status: int, kind: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        self._started, self.status = True, status
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(b"content-type", kind), *headers],
            }
        )


async def send_json(
    send: Send,
    status: int,
    body: Mapping[str, Any],
    headers: list[tuple[bytes, bytes]] | None = None,
    problem: Problem | None = None,
) -> None:
    """A reply that is one JSON object."""
    data = to_json(body)
    sent = [(b"content-type", b"application/json"), (b"content-length", str(len(data)).encode())]
    if problem is not None and problem.retry_after is not None:
        sent.append((b"retry-after", str(max(1, round(problem.retry_after))).encode()))
    if status == 401:
        sent.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": sent + (headers or [])})
    await send({"type": "http.response.body", "body": data})
