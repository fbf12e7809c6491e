"""Reserved for the MCP server. Nothing is here yet."""

from __future__ import annotations

__all__: list[str] = []
