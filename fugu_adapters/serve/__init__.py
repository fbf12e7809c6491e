"""The one API: the pool as models for any client that speaks Chat Completions, Responses or Messages.

``make_app`` makes an ASGI application, ``serve`` runs it. Needs ``pip install 'fugu-adapters[serve]'``.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fugu_adapters.errors import ConfigError
from fugu_adapters.messages import MAX_IMAGE_BYTES, MAX_REQUEST_BYTES
from fugu_adapters.store import Store

if TYPE_CHECKING:
    from fugu_adapters.fugu import Fugu

__all__ = ["Settings", "is_loopback", "serve"]

_IDLE_S = 75  # a connection between two requests; clients keep theirs for as long


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How a server behaves.

    Attributes:
        keys: whether a request has to bring a key.
        max_body: bytes of a request.
        max_requests: requests under way at a time; more are told to come later.
        keep_alive_s: seconds of silence after which a streamed reply says that it is still there.
        allowed_hosts: names that the server is reached by, besides loopback; ``*`` for any.
        own_process: whether the process is the server's alone, so that it may be tuned for it.
    """

    keys: bool = False
    max_body: int = MAX_REQUEST_BYTES + MAX_IMAGE_BYTES + 4 * 1024 * 1024
    max_requests: int = 256
    keep_alive_s: float = 10.0
    allowed_hosts: Sequence[str] = ()
    own_process: bool = False


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def serve(
    fugu: Fugu,
    *,
    store: Store | None = None,
    settings: Settings | None = None,
    host: str = "127.0.0.1",
    port: int = 8787,
    drain_s: float = 30.0,
) -> None:
    """Serve until interrupted; then take no more requests, and let those under way end.

    Args:
        fugu: answers.
        store: where keys and replies to go on from are kept.
        settings: see ``Settings``; beyond loopback a key is required whatever they say.
        host: address to listen at.
        port: port to listen at.
        drain_s: seconds that requests under way have to end.

    Raises:
        ConfigError: the extra is missing, or others could connect and there is no key for them.
    """
    try:
        import uvicorn

        from fugu_adapters.serve.app import make_app
    except ImportError as error:
        raise ConfigError(
            f"serving needs {error.name}; run `pip install 'fugu-adapters[serve]'`"
        ) from None
    settings = replace(settings or Settings(), own_process=True)
    if not is_loopback(host):
        settings = replace(settings, keys=True)
    if settings.keys and (store is None or not any(not key.revoked for key in store.list_keys())):
        raise ConfigError(
            "a request has to bring a key, and there is none yet: `fugu keys add NAME` makes one"
        )
    uvicorn.run(
        make_app(fugu, store=store, settings=settings),
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nothing here depends on where a request came from
        timeout_keep_alive=_IDLE_S,
        timeout_graceful_shutdown=int(drain_s),
    )
