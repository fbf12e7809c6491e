"""Reserved for the CrewAI LLM and tool. Nothing is here yet."""

from __future__ import annotations

__all__: list[str] = []
