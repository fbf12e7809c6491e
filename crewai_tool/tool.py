"""``FuguTool``: a pool of workers as a tool that any agent may call."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Self, cast

from crewai.tools import BaseTool
from crewai.tools.tool_failure import ToolFailure
from pydantic import BaseModel, Field, PrivateAttr, model_validator

from fugu_adapters import ConfigError, Fugu, FuguError, Limits, Pool, Result
from fugu_adapters.fugu import RunOptions
from fugu_adapters.types import Effort

__all__ = ["FuguTool", "OrchestrateArgs", "Orchestrated"]

_OPTIONS = ("effort", "quality", "max_cost", "exclude", "limits")


class OrchestrateArgs(BaseModel):
    """What an agent says when it calls the tool."""

    task: str = Field(description="The task, complete in itself, as one would put it to an expert.")
    context: str = Field(
        default="", description="Facts that the task needs: data, earlier results."
    )


class Orchestrated(BaseModel):
    """An answer, with who gave it, why, and at what cost. The agent reads it as JSON."""

    answer: str = Field(description="The answer to the task.")
    worker: str = Field(description="Who answered.")
    reason: str = Field(description="Why this worker was chosen.")
    cost_usd: float | None = Field(description="Dollars over all calls; null where unknown.")
    input_tokens: int | None = Field(description="Prompt tokens over all calls.")
    output_tokens: int | None = Field(description="Reply tokens over all calls.")
    run_id: str = Field(description="Key of the run, for `fugu trace`.")


class FuguTool(BaseTool):
    """Gives a task to the worker of a pool that fits it best.

    ::

        Agent(role="Analyst", ..., tools=[FuguTool(config="fugu.toml")])

    It asks ``fugu``, or the workers of ``pool`` or ``config``; with none of these those that
    ``Pool.from_env()`` finds. A failure is a ``ToolFailure``: the agent reads it and goes on, or stops
    where its ``tool_failure_policy`` says so, and nothing is asked again.

    Attributes:
        fugu: the orchestrator to ask. It stays the caller's to close.
        pool: the workers.
        config: path of a ``fugu.toml``.
        effort: ``low``, ``medium``, ``high`` or ``xhigh``.
        quality: least expected score relative to the best worker's, above 0 to 1.
        max_cost: dollars that a call may be expected to cost.
        exclude: workers not to ask, by name, ``provider:NAME`` or tag.
        limits: hard caps on one call of the tool.
    """

    name: str = "orchestrate"
    description: str = (
        "Gives a task to the model that fits it best and returns its answer. "
        "Use it for work that needs an expert: mathematics, code, law, writing."
    )
    args_schema: type[BaseModel] = OrchestrateArgs
    result_schema: type[BaseModel] | None = Orchestrated
    fugu: Fugu | None = Field(default=None, exclude=True, repr=False)
    pool: Pool | None = Field(default=None, exclude=True, repr=False)
    config: str | Path | None = None
    effort: Effort | None = None
    quality: float | None = None
    max_cost: float | None = None
    exclude: frozenset[str] | None = None
    limits: Limits | None = None

    _made: Fugu | None = PrivateAttr(default=None)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        """Refuse two sources, and find out now whether the one that is given is usable."""
        given = [name for name in ("fugu", "pool", "config") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ConfigError(f"FuguTool: expected one of {', '.join(given)}, got all of them")
        self._orchestrator()
        return self

    def _orchestrator(self) -> Fugu:
        if self.fugu is not None:
            return self.fugu
        with self._lock:
            if self._made is None:
                pool = self.pool if self.config is None else Pool.load(self.config)
                self._made = Fugu(pool)
            return self._made

    def _options(self) -> RunOptions:
        told = {name: getattr(self, name) for name in _OPTIONS}
        return cast(RunOptions, {key: value for key, value in told.items() if value is not None})

    def _run(self, task: str, context: str = "") -> Orchestrated | ToolFailure:
        try:
            return _told(self._orchestrator().run(_prompt(task, context), **self._options()))
        except FuguError as error:
            return _failure(error)

    async def _arun(self, task: str, context: str = "") -> Orchestrated | ToolFailure:
        try:
            result = await self._orchestrator().arun(_prompt(task, context), **self._options())
        except FuguError as error:
            return _failure(error)
        return _told(result)

    def close(self) -> None:
        """Close connections and threads that were opened here. A later call opens them again."""
        if self._made is not None:
            self._made.close()


def _prompt(task: str, context: str) -> str:
    return f"{context}\n\n{task}" if context.strip() else task


def _told(result: Result) -> Orchestrated:
    return Orchestrated(
        answer=result.text,
        worker=result.worker,
        reason=result.decision.reason,
        cost_usd=result.cost_usd,
        input_tokens=result.usage.input_tokens,
        output_tokens=result.usage.output_tokens,
        run_id=result.run_id,
    )


def _failure(error: FuguError) -> ToolFailure:
    return ToolFailure(message=f"{type(error).__name__}: {error}")
