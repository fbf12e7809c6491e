"""The pool as an MCP server: the tools ``orchestrate``, ``route`` and ``result`` for Claude Code and others.

``fugu mcp`` starts it. In a program of one's own::

    from mcp_server import Handlers, http_app

    app = http_app(lambda: Handlers(lambda: Pool.load("fugu.toml")))  # ASGI, at /mcp

``handlers.py`` says what is answered, ``jobs.py`` keeps runs that outlive a call, ``sdk.py`` stands between
these and the MCP SDK, 1.x or 2.x; ``stdio.py`` and ``http.py`` are the transports. Names are loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcp_server.handlers import Handlers, Settings
    from mcp_server.http import http_app, serve_http
    from mcp_server.sdk import make_server
    from mcp_server.stdio import serve_stdio

__all__ = ["Handlers", "Settings", "http_app", "make_server", "serve_http", "serve_stdio"]

_HOMES = {
    "Handlers": "handlers",
    "Settings": "handlers",
    "http_app": "http",
    "make_server": "sdk",
    "serve_http": "http",
    "serve_stdio": "stdio",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
