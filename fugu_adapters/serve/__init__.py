"""The one API: the pool as models for any client that speaks Chat Completions, Responses or Messages.

``make_app`` makes an ASGI application, ``serve`` runs it. Needs ``pip install 'fugu-adapters[serve]'``.
"""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import TYPE_CHECKING

from fugu_adapters.errors import ConfigError
from fugu_adapters.store import Store

if TYPE_CHECKING:
    from fugu_adapters.fugu import Fugu
    from fugu_adapters.serve.app import Settings

__all__ = ["is_loopback", "serve"]

_IDLE_S = 75  # a connection between two requests; clients keep theirs for as long


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

        from fugu_adapters.serve.app import Settings, make_app
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
