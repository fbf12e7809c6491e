"""LangGraph and LangChain over Fugu: a routing node, a chat model, a middleware, workflows as graphs.

Names are loaded on first use, so importing the package loads no framework.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fugu_adapters.errors import ConfigError

if TYPE_CHECKING:
    from langgraph_node.chat import ChatFugu
    from langgraph_node.compile import compile_workflow
    from langgraph_node.edge import fugu_edge
    from langgraph_node.middleware import FuguMiddleware
    from langgraph_node.node import FuguNode
    from langgraph_node.state import FuguState

__all__ = ["ChatFugu", "FuguMiddleware", "FuguNode", "FuguState", "compile_workflow", "fugu_edge"]

_HOMES = {  # name: (module, the extra that it needs)
    "ChatFugu": ("chat", "langchain"),
    "FuguMiddleware": ("middleware", "agents"),
    "FuguNode": ("node", "langgraph"),
    "FuguState": ("state", "langgraph"),
    "compile_workflow": ("compile", "langgraph"),
    "fugu_edge": ("edge", "langgraph"),
}
_FRAMEWORKS = frozenset(["langchain", "langchain_core", "langgraph"])


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, extra = _HOMES[name]
    try:
        value = getattr(import_module(f"{__name__}.{module}"), name)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _FRAMEWORKS:
            raise
        raise ConfigError(
            f'{name} needs {missing}, which is not installed: pip install "fugu-adapters[{extra}]"'
        ) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
