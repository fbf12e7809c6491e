"""A worker behind HTTP: puts a codec, a key and the transport together."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, TypeAlias

from pydantic import SecretStr

from fugu_adapters.config import Worker
from fugu_adapters.engine.backend import OnDelta, deliver
from fugu_adapters.engine.providers.native import marked, native_of
from fugu_adapters.engine.providers.sealed import seal
from fugu_adapters.engine.providers.sse import SseEvent, SseParser
from fugu_adapters.engine.providers.wire import Codec, to_json
from fugu_adapters.engine.status import error_code, error_for_status
from fugu_adapters.engine.transport import HttpStream, Transport
from fugu_adapters.errors import ConfigError, WorkerError
from fugu_adapters.types import Delta, Reply, Request

__all__ = ["HttpBackend", "read_key"]

_HandOut: TypeAlias = Callable[[SseEvent, Sequence[Delta]], None]

_KEY = re.compile(r"[!-~]{1,4096}")  # visible ASCII: a line end would start a header of its own


class HttpBackend:
    """A worker that is asked over HTTP. Subclasses name their wire format.

    Args:
        worker: who.
        transport: shared by all workers of one ``Fugu``, which also closes it.
        env: where the key is looked up, at each call; the process's environment where not given.

    Attributes:
        codec: the wire format.
        heeds_cancellation: a cancelled call ends, so that nobody has to watch over it.
    """

    codec: ClassVar[Codec]
    heeds_cancellation: ClassVar[bool] = True

    def __init__(
        self, worker: Worker, transport: Transport, *, env: Mapping[str, str] | None = None
    ) -> None:
        self._worker = worker
        self._transport = transport
        self._env = os.environ if env is None else env

    async def call(self, request: Request, *, on_delta: OnDelta | None = None) -> Reply:
        """Answer one request; see ``Backend``.

        Raises:
            ConfigError: the key's variable is not set or does not hold a key.
            InputError: the request cannot be sent as JSON.
            WorkerError: no usable reply.
        """
        key = read_key(self._worker, self._env)
        name = self._worker.name
        streaming = on_delta is not None
        body = to_json(self.codec.encode(request, self._worker, streaming))
        native = native_of(request, self.codec.dialect)
        headers = {
            **(native.headers if native else {}),
            "content-type": "application/json",
            "accept": "text/event-stream" if streaming else "application/json",
            **self.codec.headers(key),
        }
        url = f"{self._worker.base_url}{self.codec.path}"
        if on_delta is None:
            reply = await self._transport.post(url, headers=headers, body=body, worker=name)
            if reply.status >= 300:
                raise self._refusal(reply.status, reply.headers, reply.body)
            return self._whole(reply.body, as_it_is=native is not None)
        async with self._transport.stream(url, headers=headers, body=body, worker=name) as stream:
            if not stream.ok:
                raise self._refusal(stream.status, stream.headers, await stream.read())
            if stream.headers.get("content-type", "").startswith("application/json"):
                return deliver(self._sealed(self.codec.decode(await stream.read(), name)), on_delta)
            hand_out = self._relay(on_delta) if native else self._translate(on_delta)
            return self._sealed(await self._decode_stream(stream, hand_out))

    def _whole(self, body: bytes, *, as_it_is: bool) -> Reply:
        reply = self._sealed(self.codec.decode(body, self._worker.name))
        if not as_it_is:
            return reply
        return replace(reply, native=marked(body, body, self._worker, self.codec.dialect))

    def _sealed(self, reply: Reply) -> Reply:
        if not reply.sealed:
            return reply
        return replace(reply, sealed=tuple(seal(each, self._worker) for each in reply.sealed))

    async def _decode_stream(self, stream: HttpStream, hand_out: _HandOut) -> Reply:
        parser = SseParser(self._worker.name)
        decoder = self.codec.decoder(self._worker.name)
        async for chunk in stream:
            for event in parser.feed(chunk):
                hand_out(event, decoder.feed(event))
            if decoder.done:
                await stream.settle()
                return decoder.finish()
        for event in parser.finish():
            hand_out(event, decoder.feed(event))
        return decoder.finish()

    def _marked(self, event: SseEvent) -> bytes:
        return marked(event.raw, event.data, self._worker, self.codec.dialect)

    def _relay(self, on_delta: OnDelta) -> _HandOut:
        """Hands events out as they came. The first waits for the second: until then another may answer."""
        first: list[SseEvent] | None = []

        def hand_out(event: SseEvent, deltas: Sequence[Delta]) -> None:
            nonlocal first
            if first is not None and not first and not deltas:
                first.append(event)
                return
            for waited in first or ():
                on_delta(Delta(raw=self._marked(waited)))
            first = None
            text = "".join(delta.text for delta in deltas)
            on_delta(Delta(text=text, raw=self._marked(event)))

        return hand_out

    def _translate(self, on_delta: OnDelta) -> _HandOut:
        """Hands out what was read from the events."""

        def hand_out(_: SseEvent, deltas: Sequence[Delta]) -> None:
            for delta in deltas:
                if delta.sealed:
                    delta = replace(delta, sealed=seal(delta.sealed, self._worker))
                on_delta(delta)

        return hand_out

    def _refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> WorkerError:
        return error_for_status(
            status,
            headers,
            self._worker.name,
            detail=error_code(body),
            key=self._worker.api_key_env,
        )

    async def aclose(self) -> None:
        """Nothing to release: the transport belongs to the ``Fugu`` that made it."""


def read_key(worker: Worker, env: Mapping[str, str]) -> SecretStr | None:
    """The worker's key, or ``None`` where it is configured without one, as local servers are.

    Raises:
        ConfigError: naming the variable that is not set or does not hold a key.
    """
    name = worker.api_key_env
    if name is None:
        return None
    value = env.get(name, "")
    if not value:
        raise ConfigError(
            f"worker {worker.name!r}: the environment variable {name!r} is not set; "
            "set it to the key, or take api_key_env out for a server without keys"
        )
    if not _KEY.fullmatch(value):
        raise ConfigError(
            f"worker {worker.name!r}: the environment variable {name!r} does not hold a key: "
            "expected visible ASCII characters without spaces or line ends"
        )
    return SecretStr(value)
