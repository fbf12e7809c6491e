"""HTTP for all workers: the only module that knows the HTTP library.

No redirects, no proxies or ``.netrc`` from the environment, no cookies, no compression, bounded bodies.
It keeps no total deadline and never retries; the engine does both.
"""

from __future__ import annotations

import asyncio
import functools
import io
import socket
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal
from urllib.parse import urlsplit

import aiohttp
import certifi
from pydantic import SecretStr

from fugu_adapters.errors import (
    ConfigError,
    FuguError,
    WorkerError,
    WorkerProtocolError,
    WorkerTimeout,
    WorkerUnavailable,
)

__all__ = ["MAX_BODY_BYTES", "MAX_ERROR_BYTES", "HttpReply", "HttpStream", "Transport"]

MAX_BODY_BYTES = 16 * 1024 * 1024
"""The longest reply that is read, in bytes."""

MAX_ERROR_BYTES = 64 * 1024
"""What is read of the body of a reply that is not a success: it only holds a code for us."""

_SETTLE = 0.1  # seconds to wait for the end of a body whose content is complete
_LARGE = 1024 * 1024  # bytes of a body from which on the library wants a file in place of bytes
_KEPT_S = 60.0  # how long a connection is kept for the next call

_Failure = tuple[type[WorkerError | ConfigError], str, str]  # error, cause_kind, what happened

_FAILURES: Mapping[type[Exception], _Failure] = MappingProxyType(
    {
        aiohttp.ConnectionTimeoutError: (WorkerTimeout, "connect_timeout", "no connection in time"),
        aiohttp.ServerTimeoutError: (WorkerTimeout, "timeout", "it took too long"),
        aiohttp.ClientSSLError: (
            WorkerUnavailable,
            "tls",
            "no secure connection; is its certificate valid?",
        ),
        aiohttp.ClientConnectorError: (WorkerUnavailable, "connect", "no connection"),
        aiohttp.ClientOSError: (WorkerUnavailable, "read_error", "the connection broke"),
        aiohttp.ServerDisconnectedError: (
            WorkerUnavailable,
            "disconnected",
            "it closed the connection, or did not speak HTTP",
        ),
        aiohttp.ClientResponseError: (
            WorkerUnavailable,
            "disconnected",
            "it closed the connection, or did not speak HTTP",
        ),
        # Within a body the library does not tell a reset from an early end.
        aiohttp.ClientPayloadError: (WorkerProtocolError, "truncated", "the reply was cut short"),
        aiohttp.InvalidURL: (ConfigError, "bad_url", "not a valid http:// or https:// address"),
        aiohttp.NonHttpUrlClientError: (ConfigError, "bad_url", "expected http:// or https://"),
        aiohttp.ClientError: (WorkerUnavailable, "http", "the request failed"),
    }
)
"""What the HTTP library's exceptions mean; a class that is not listed counts as its nearest base."""

_CONNECT_CAUSES: tuple[tuple[type[BaseException], str, str], ...] = (
    (ConnectionRefusedError, "connect_refused", "connection refused; is the server running there?"),
    (socket.gaierror, "dns", "its name could not be resolved; check base_url and the network"),
    (ssl.SSLError, "tls", "no secure connection; is its certificate valid?"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class HttpReply:
    """A reply, read whole. ``headers`` has lower-case names; the body is at most as long as asked.

    The body is not shown in the ``repr``, as an error's body may echo the key.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class HttpStream:
    """A reply whose body is still arriving. Only ``Transport.stream`` makes them.

    Attributes:
        status: HTTP status.
        headers: with lower-case names.
        ok: whether the status is a success.
    """

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        *,
        worker: str,
        max_bytes: int,
        idle_timeout: float | None,
    ) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = MappingProxyType(
            {name.lower(): value for name, value in response.headers.items()}
        )
        self.ok = 200 <= response.status < 300
        self._url = str(response.url)
        self._content = response.content
        self._worker = worker
        self._max_bytes = max_bytes if self.ok else MAX_ERROR_BYTES
        self._idle_timeout = idle_timeout
        self._size = 0

    def __aiter__(self) -> HttpStream:
        return self

    async def __anext__(self) -> bytes:
        """The next piece of the body.

        Raises:
            WorkerError: the body is too long or encoded, the connection broke, or nothing came for
                ``idle_timeout`` after something had.
        """
        # How long a worker may think before its first byte is the engine's business.
        limit = self._idle_timeout if self._size else None
        if not self._size:
            self._check_head()
        try:
            if limit is None:  # a timeout costs as much as the rest of this
                chunk = await self._content.readany()
            else:
                async with asyncio.timeout(limit):
                    chunk = await self._content.readany()
        except aiohttp.ClientError as error:  # some of which are TimeoutErrors too
            raise _translate(error, self._url, self._worker) from None
        except TimeoutError:
            text = f"the reply stalled: nothing came for {limit:.3g} s"
            raise WorkerTimeout(text, worker=self._worker, cause_kind="idle") from None
        if not chunk:
            raise StopAsyncIteration
        self._size += len(chunk)
        if self._size > self._max_bytes:
            raise self._too_long()
        return chunk

    def _check_head(self) -> None:
        encoding = self.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            text = "the reply is compressed although we asked for identity; it was not read"
            raise WorkerProtocolError(text, worker=self._worker, cause_kind="content_encoding")
        declared = self.headers.get("content-length", "")
        if declared.isascii() and declared.isdigit() and int(declared) > self._max_bytes:
            raise self._too_long()

    def _too_long(self) -> WorkerProtocolError:
        return WorkerProtocolError(
            f"the reply is longer than {self._max_bytes:,} bytes; the rest was not read",
            worker=self._worker,
            cause_kind="too_long",
        )

    async def read(self) -> bytes:
        """The whole body; of a reply that is not a success, as much as could be had."""
        body = bytearray()
        try:
            async for chunk in self:
                body += chunk
        except WorkerError:
            if self.ok:
                raise
        return bytes(body)

    async def settle(self) -> None:
        """Read the end of a body that we need nothing more of, so that the connection can be reused.

        Gives up at once if there is more content, and soon if nothing comes.
        """
        try:
            async with asyncio.timeout(_SETTLE):
                await self._content.readany()
        except (TimeoutError, aiohttp.ClientError):
            return  # then leaving the stream closes the connection


class Transport:
    """Sends requests for all workers of one ``Fugu``.

    It holds one connection pool per running event loop, which closes itself when ``asyncio.run`` or
    ``asyncio.Runner`` ends its loop, so that one ``Transport`` serves any number of loops in turn.

    Args:
        connect_timeout: seconds for reaching an endpoint, and again for TLS.
        idle_timeout: seconds that a streamed reply may pause after it has begun.
        ssl_context: for private certificate authorities; the ``certifi`` bundle where not given.
    """

    def __init__(
        self,
        *,
        connect_timeout: float = 10.0,
        idle_timeout: float = 60.0,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout)
        self._idle_timeout = idle_timeout
        self._ssl_context = ssl_context
        self._clients: dict[
            asyncio.AbstractEventLoop,
            tuple[AsyncGenerator[aiohttp.ClientSession], aiohttp.ClientSession],
        ] = {}  # weak keys would not help: an open connection refers to its loop

    async def post(
        self,
        url: str,
        *,
        headers: Mapping[str, str | SecretStr],
        body: bytes,
        worker: str,
        max_bytes: int = MAX_BODY_BYTES,
    ) -> HttpReply:
        """Send a request and read the reply whole, whatever its status.

        Args:
            url: where to.
            headers: secret values are unwrapped here and nowhere else.
            body: what to send.
            worker: who is asked, for errors.
            max_bytes: bound on the reply's body.

        Raises:
            WorkerError: no reply, or one that was cut, too long or compressed.
            ConfigError: the address is not valid.
        """
        async with self._open("POST", url, headers, body, worker, max_bytes, None) as reply:
            return HttpReply(status=reply.status, headers=reply.headers, body=await reply.read())

    @asynccontextmanager
    async def stream(
        self,
        url: str,
        *,
        headers: Mapping[str, str | SecretStr],
        body: bytes | None,
        worker: str,
        max_bytes: int = MAX_BODY_BYTES,
        method: Literal["GET", "POST"] = "POST",
    ) -> AsyncGenerator[HttpStream]:
        """Send a request and read the reply piece by piece. Arguments and errors as in ``post``.

        Leaving the block before the end of the body closes the connection without reading the rest.
        """
        async with self._open(
            method, url, headers, body, worker, max_bytes, self._idle_timeout
        ) as reply:
            yield reply

    @asynccontextmanager
    async def _open(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str | SecretStr],
        body: bytes | None,
        worker: str,
        max_bytes: int,
        idle_timeout: float | None,
    ) -> AsyncGenerator[HttpStream]:
        client = await self._client()
        data = io.BytesIO(body) if body is not None and len(body) > _LARGE else body
        try:
            response = await client.request(
                method, url, data=data, headers=_unwrap(headers), allow_redirects=False
            )
        except aiohttp.ClientError as error:
            raise _translate(error, url, worker) from None
        try:
            yield HttpStream(
                response, worker=worker, max_bytes=max_bytes, idle_timeout=idle_timeout
            )
        finally:
            response.close()  # a connection whose reply was read to its end has been given back before

    async def aclose(self) -> None:
        """Close the connections of the running loop. Those of other loops close with their loops."""
        held = self._clients.get(asyncio.get_running_loop())
        if held is not None:
            await held[0].aclose()

    async def _client(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        held = self._clients.get(loop)
        if held is None:
            for other in list(self._clients):
                if other.is_closed():  # by hand, without ending its async generators
                    self._clients.pop(other, None)
            lifespan = self._lifespan(loop)
            # Storing comes before any other task can run: the generator awaits nothing on its way in.
            held = self._clients[loop] = (lifespan, await anext(lifespan))
        return held[1]

    async def _lifespan(
        self, loop: asyncio.AbstractEventLoop
    ) -> AsyncGenerator[aiohttp.ClientSession]:
        """Holds a loop's client. The loop closes its open async generators, and this one, at its end."""
        client = aiohttp.ClientSession(
            # How many calls run at a time is the engine's to bound.
            connector=aiohttp.TCPConnector(
                limit=0,
                ssl=self._ssl_context or _default_ssl_context(),
                keepalive_timeout=_KEPT_S,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            timeout=self._timeout,
            headers={"accept-encoding": "identity", "user-agent": "fugu-adapters"},
        )
        try:
            yield client
        finally:
            self._clients.pop(loop, None)
            await client.close()


@functools.cache
def _default_ssl_context() -> ssl.SSLContext:
    """Made on first use (it takes tens of milliseconds) and shared by all clients."""
    context = ssl.SSLContext(
        ssl.PROTOCOL_TLS_CLIENT
    )  # unlike create_default_context, asks no variables
    context.load_verify_locations(cafile=certifi.where())
    return context


def _unwrap(headers: Mapping[str, str | SecretStr]) -> dict[str, str]:
    return {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value
        for name, value in headers.items()
    }


def _translate(error: Exception, url: str, worker: str) -> FuguError:
    """Ours for the HTTP library's exceptions. Their texts may hold URLs, so none is shown."""
    base = next(cls for cls in type(error).__mro__ if cls in _FAILURES)
    kind, cause, what = _FAILURES[base]
    if isinstance(error, aiohttp.ClientConnectorError):
        cause, what = _connect_cause(error) or (cause, what)
    text = f"{_origin(url)}: {what}"
    if issubclass(kind, WorkerError):
        return kind(text, worker=worker, cause_kind=cause)
    return ConfigError(f"worker {worker!r}: base_url: {what}")


def _connect_cause(error: BaseException) -> tuple[str, str] | None:
    """Look through the chain of causes for the one that says why there is no connection."""
    pending: list[BaseException] = [error]
    while pending:
        cause = pending.pop()
        for kind, word, what in _CONNECT_CAUSES:
            if isinstance(cause, kind):
                return word, what
        if isinstance(cause, BaseExceptionGroup):
            pending.extend(cause.exceptions)
        pending.extend(e for e in (cause.__cause__, cause.__context__) if e is not None)
    return None


def _origin(url: str) -> str:
    """Scheme, host and port of an address: what may be shown of it."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "the endpoint"
    return f"{parts.scheme}://{parts.hostname or ''}{port}"
