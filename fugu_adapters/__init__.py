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
        Reply,
        Request,
        Result,
        StepTrace,
        ToolCall,
        Trace,
        Usage,
    )
    from fugu_adapters.workflow import Aggregate, Step, Workflow, parse_workflow
    from fugu_adapters.workflow.compose import Forecast, Plan

__all__ = [
    "Aggregate",
    "Attempt",
    "Candidate",
    "ConfigError",
    "Decision",
    "Delta",
    "Event",
    "Forecast",
    "Fugu",
    "FuguError",
    "InputError",
    "LimitExceeded",
    "Limits",
    "Outcome",
    "Plan",
    "PlanError",
    "PolicyError",
    "Pool",
    "Price",
    "Reply",
    "Request",
    "Result",
    "ResumeMismatch",
    "Step",
    "StepTrace",
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
    "Workflow",
    "__version__",
    "parse_workflow",
]

_HOMES = {
    "Aggregate": "workflow",
    "Forecast": "workflow.compose",
    "Fugu": "fugu",
    "Plan": "workflow.compose",
    "Pool": "pool",
    "Price": "config",
    "Step": "workflow",
    "Worker": "config",
    "Workflow": "workflow",
    "parse_workflow": "workflow",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("fugu-adapters")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    for home in (_HOMES[name],) if name in _HOMES else ("types", "errors"):
        value = getattr(import_module(f"{__name__}.{home}"), name, None)
        if value is not None:
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} lists {name!r} but does not have it")


def __dir__() -> list[str]:
    return __all__
