"""An open, learned orchestrator over a pool of language models.

Names are loaded on first use, so importing the package costs next to nothing: no framework, no model,
no socket and no thread.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fugu_adapters.config import Price, Worker
    from fugu_adapters.errors import (
        ConfigError,
        FuguError,
        InputError,
        LimitExceeded,
        PlanError,
        PolicyError,
        ResumeMismatch,
        WeightsError,
        WorkerError,
        WorkerProtocolError,
        WorkerRateLimited,
        WorkerRefused,
        WorkerTimeout,
        WorkerUnavailable,
    )
    from fugu_adapters.fugu import Fugu
    from fugu_adapters.pool import Pool
    from fugu_adapters.types import (
        Attempt,
        Candidate,
        Decision,
        Delta,
        Event,
        Limits,
        Outcome,
        Result,
        ToolCall,
        Trace,
        Usage,
    )

__all__ = [
    "Attempt",
    "Candidate",
    "ConfigError",
    "Decision",
    "Delta",
    "Event",
    "Fugu",
    "FuguError",
    "InputError",
    "LimitExceeded",
    "Limits",
    "Outcome",
    "PlanError",
    "PolicyError",
    "Pool",
    "Price",
    "Result",
    "ResumeMismatch",
    "ToolCall",
    "Trace",
    "Usage",
    "WeightsError",
    "Worker",
    "WorkerError",
    "WorkerProtocolError",
    "WorkerRateLimited",
    "WorkerRefused",
    "WorkerTimeout",
    "WorkerUnavailable",
    "__version__",
]

_HOMES = {"Fugu": "fugu", "Pool": "pool", "Price": "config", "Worker": "config"}
_RECORDS = frozenset(
    "Attempt Candidate Decision Delta Event Limits Outcome Result ToolCall Trace Usage".split()
)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("fugu-adapters")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOMES.get(name) or ("types" if name in _RECORDS else "errors")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
