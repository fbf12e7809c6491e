"""The server over streamable HTTP: for clients that do not start it themselves, and for several at a time."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fugu_adapters.errors import ConfigError
from fugu_adapters.serve import is_loopback
from mcp_server.sdk import make_server, sdk_major

if TYPE_CHECKING:
    from mcp_server.handlers import Handlers

__all__ = ["TOKEN", "http_app", "is_loopback", "serve_http", "tokens_from_env"]

TOKEN = "FUGU_MCP_TOKEN"  # noqa: S105  the variable's name
"""The variable that holds the tokens of callers, separated by blanks."""

MAX_BODY = 4 * 1024 * 1024
"""Bytes of a request."""

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_SHORTEST = 16  # characters; a token is all that stands between a network and a bill


def tokens_from_env() -> tuple[str, ...]:
    """The tokens of callers, each of whom finds only its own runs.

    Raises:
        ConfigError: where one is too short to be safe.
    """
    tokens = tuple(os.environ.get(TOKEN, "").split())
    if any(len(token) < _SHORTEST for token in tokens):
        raise ConfigError(
            f"{TOKEN}: expected {_SHORTEST} characters or more per token; "
            "`python -c 'import secrets; print(secrets.token_urlsafe())'` makes one"
        )
    return tokens


def http_app(
    make_handlers: Callable[[], Handlers],
    *,
    tokens: Sequence[str] = (),
    allowed_hosts: Sequence[str] = (),
) -> Any:
    """An ASGI application with the server at ``/mcp``.

    Requests whose ``Host`` or ``Origin`` is neither loopback nor one of ``allowed_hosts`` are refused, so
    that no web page can reach it through its visitor's browser.

    Args:
        make_handlers: called once, in the event loop.
        tokens: bearer tokens, one of which every request has to bring; none asks for none.
        allowed_hosts: further names that the server is reached by, with their port where it is not 80 or 443.

    Raises:
        ConfigError: where the MCP SDK is missing.
    """
    sdk_major()
    from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend, RequireAuthMiddleware
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
    from mcp.server.transport_security import TransportSecuritySettings
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.authentication import AuthenticationMiddleware
    from starlette.routing import Route

    handlers = make_handlers()
    names = [*(f"{name}:*" for name in _LOOPBACK), *_LOOPBACK, *allowed_hosts]
    manager = StreamableHTTPSessionManager(
        make_server(handlers),
        max_request_body_size=MAX_BODY,
        security_settings=TransportSecuritySettings(
            enable_dns_rebinding_protection=True,
            allowed_hosts=names,
            allowed_origins=[
                f"{scheme}://{name}" for name in names for scheme in ("http", "https")
            ],
        ),
    )
    endpoint: Any = _Endpoint(manager)
    if tokens:
        endpoint = RequireAuthMiddleware(endpoint, [])

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        try:
            async with manager.run():
                yield
        finally:
            await handlers.aclose()

    guard = Middleware(AuthenticationMiddleware, backend=BearerAuthBackend(_verifier(tokens)))
    return Starlette(
        routes=[Route("/mcp", endpoint=endpoint)],
        middleware=[guard] if tokens else [],
        lifespan=lifespan,
    )


class _Endpoint:
    """An ASGI application, which a route would otherwise take for a function of a request."""

    def __init__(self, manager: Any) -> None:
        self._manager = manager

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._manager.handle_request(scope, receive, send)


def _verifier(tokens: Sequence[str]) -> Any:
    """Looks a token up. The caller is known by its digest, so that no log ever holds the token."""
    from mcp.server.auth.provider import AccessToken

    class Verifier:
        async def verify_token(self, token: str) -> AccessToken | None:
            given = token.encode()
            # All are compared, so that the time taken does not tell which one was close.
            known = [hmac.compare_digest(given, each.encode()) for each in tokens]
            if not any(known):
                return None
            owner = hashlib.sha256(given).hexdigest()
            return AccessToken(token=owner, client_id=owner, scopes=[])

    return Verifier()


def serve_http(
    make_handlers: Callable[[], Handlers],
    *,
    host: str = "127.0.0.1",
    port: int = 8931,
    tokens: Sequence[str] = (),
    allowed_hosts: Sequence[str] = (),
) -> None:
    """Serve until interrupted.

    Raises:
        ConfigError: where others could connect without a token, or the MCP SDK is missing.
    """
    if not is_loopback(host) and not tokens:
        raise ConfigError(
            f"--host {host} lets others connect, and each call may cost money; set {TOKEN} to a secret, "
            "or leave --host out"
        )
    app = http_app(make_handlers, tokens=tokens, allowed_hosts=allowed_hosts)
    import uvicorn

    uvicorn.run(app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=5)
