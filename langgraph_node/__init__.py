"""Reserved for the LangGraph node, LangChain chat model and compiled workflows. Nothing is here yet."""

from __future__ import annotations

__all__: list[str] = []
