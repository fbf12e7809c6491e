"""CrewAI over Fugu: an LLM for agents and managers, a tool, and a router for Flows.

Names are loaded on first use, so importing the package loads no framework.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fugu_adapters.errors import ConfigError

if TYPE_CHECKING:
    from crewai_tool.llm import FuguLLM
    from crewai_tool.router import fugu_router
    from crewai_tool.tool import FuguTool

__all__ = ["FuguLLM", "FuguTool", "fugu_router"]

_HOMES = {"FuguLLM": "llm", "FuguTool": "tool", "fugu_router": "router"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "crewai":
            raise
        raise ConfigError(
            f'{name} needs crewai, which is not installed: pip install "fugu-adapters[crewai]"'
        ) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
