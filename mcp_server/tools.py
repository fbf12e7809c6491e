"""What clients are told: the tools with their arguments and results, resources, prompts.

Plain data, made without the MCP SDK, which takes about a second to import.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

__all__ = [
    "CAPABILITIES",
    "INSTRUCTIONS",
    "MAX_TEXT",
    "POOL_URI",
    "RUN_URI",
    "OrchestrateArgs",
    "Orchestrated",
    "ResultArgs",
    "RouteArgs",
    "Routed",
    "about_server",
    "listing",
    "prompt_messages",
]

MAX_TEXT = 1_000_000
"""Characters that a task or its context may have."""

POOL_URI = "fugu://pool"
RUN_URI = "fugu://runs/"

INSTRUCTIONS = (
    "A pool of language models behind one learned router. `orchestrate` has the model that fits a task "
    "best answer it: use it for a second opinion, or for work that another model does better or cheaper. "
    "It knows nothing of this conversation, so put everything it needs into `task` and `context`. "
    "`route` says beforehand who would answer, without a call."
)

CAPABILITIES: dict[str, dict[str, bool]] = {
    "prompts": {"listChanged": False},
    "resources": {"subscribe": False, "listChanged": False},
    "tools": {"listChanged": False},
}

_Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]


class _Args(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class OrchestrateArgs(_Args):
    """Arguments of ``orchestrate``."""

    task: _Text = Field(description="The task, complete in itself.")
    context: Annotated[str, Field(max_length=MAX_TEXT)] = Field(
        "", description="Facts it needs: data, code, earlier results."
    )
    model: str = Field(
        "fugu",
        description="fugu: one worker; fugu-trinity, fugu-ultra: several where it pays; fugu-auto: either.",
    )
    effort: Literal["low", "medium", "high", "xhigh"] = Field(
        "medium", description="low is cheapest, xhigh best."
    )
    budget_usd: (
        Annotated[float, Field(ge=0, le=10_000, allow_inf_nan=False)] | SkipJsonSchema[None]
    ) = Field(None, description="Most dollars to spend.")
    deadline_s: (
        Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)] | SkipJsonSchema[None]
    ) = Field(None, description="Most seconds to take.")


class RouteArgs(_Args):
    """Arguments of ``route``."""

    task: _Text = Field(description="As for orchestrate.")
    effort: Literal["low", "medium", "high", "xhigh"] = "medium"


class ResultArgs(_Args):
    """Arguments of ``result``."""

    run_id: Annotated[str, Field(min_length=1, max_length=100)]


class Orchestrated(BaseModel):
    """What became of a task. What is not known is left out."""

    status: Literal["done", "running", "failed", "cancelled"]
    run_id: str
    text: str = Field("", description="The answer, or what there is of it.")
    worker: str = ""
    reason: str = Field("", description="Why this worker.")
    route: list[str] = Field([], description="Every call in order.")
    cost_usd: float | SkipJsonSchema[None] = None
    seconds: float = 0.0
    note: str = Field(default="", description="What went wrong, or what to do next.")


class Routed(BaseModel):
    """Who would answer."""

    worker: str
    reason: str
    policy: str
    candidates: list[dict[str, Any]]


def about_server() -> dict[str, str]:
    """The server's name and version, as clients are told."""
    from fugu_adapters import __version__

    return {"name": "fugu", "version": __version__}


def listing(method: str) -> dict[str, Any]:
    """The result of ``tools/list`` and its like, as JSON that the caller may change.

    Raises:
        KeyError: for any other method.
    """
    key = {
        "tools/list": "tools",
        "prompts/list": "prompts",
        "resources/list": "resources",
        "resources/templates/list": "resourceTemplates",
    }[method]
    return {key: {
        "tools": _tools, "prompts": _prompts, "resources": _resources, "resourceTemplates": _templates,
    }[key]()}  # fmt: skip


def _tools() -> list[dict[str, Any]]:
    return [
        _tool(
            "orchestrate",
            "Have the model of the pool that fits a task best answer it. May take minutes; a run that takes "
            "too long for one call goes on, and `result` gets its answer.",
            OrchestrateArgs,
            Orchestrated,
            # Models write text; nothing is changed but what they are paid. Codex refuses a tool that is not
            # read-only wherever nobody can be asked.
            {"readOnlyHint": True, "openWorldHint": True},
        ),
        _tool(
            "route",
            "Say who would answer a task, why, and at what price. No model is asked.",
            RouteArgs,
            Routed,
            {"readOnlyHint": True, "openWorldHint": False},
        ),
        _tool(
            "result",
            "Wait for the answer of a run that `orchestrate` began.",
            ResultArgs,
            Orchestrated,
            {"readOnlyHint": True, "openWorldHint": False},
        ),
    ]  # fmt: skip


def _tool(
    name: str,
    description: str,
    args: type[BaseModel],
    result: type[BaseModel],
    hints: Mapping[str, bool],
) -> dict[str, Any]:
    return {
        "name": name,
        "title": name.capitalize(),
        "description": description,
        "inputSchema": _schema(args),
        "outputSchema": _schema(result),
        "annotations": dict(hints),
    }


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    schema: dict[str, Any] = _lean(model.model_json_schema())
    schema.pop("description", None)  # the docstring, which the tool's own description says better
    return schema


def _lean(schema: Any) -> Any:
    """A schema without what only costs a model tokens: titles, and defaults that say "nothing"."""
    if isinstance(schema, list):
        return [_lean(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {}
    for key, value in schema.items():
        if key == "properties":
            kept[key] = {name: _lean(field) for name, field in value.items()}
        elif (
            key == "title"
            or (key == "default" and not value)
            or (key == "additionalProperties" and value is True)
        ):
            continue
        else:
            kept[key] = _lean(value)
    return kept


def _resources() -> list[dict[str, Any]]:
    return [
        {
            "uri": POOL_URI,
            "name": "pool",
            "title": "The pool",
            "description": "The workers that may be asked, and which of them are ready.",
            "mimeType": "application/json",
        }
    ]


def _templates() -> list[dict[str, Any]]:
    return [
        {
            "uriTemplate": RUN_URI + "{run_id}",
            "name": "run",
            "title": "A run's trace",
            "description": "What was decided and every call that was made, for a run of yours.",
            "mimeType": "application/json",
        }
    ]


_PROMPTS = {
    "delegate": (
        "Have another model do a task",
        "task",
        "What is to be done.",
        "Use the orchestrate tool for the task below. Put every fact of our conversation that it needs into "
        "`context`, then give me its answer and say which model gave it.\n\n",
    ),
    "second-opinion": (
        "Have another model check an answer",
        "answer",
        "What is to be checked; the last answer where left out.",
        "Use the orchestrate tool to get a second opinion on the answer below, or on your last one where "
        "there is none below: give it the question and the answer in `context`, and as its task to find "
        "mistakes. Then tell me where you agree and where not.\n\n",
    ),
}


def _prompts() -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "title": title,
            "description": f"{title}.",
            "arguments": [{"name": argument, "description": what, "required": name == "delegate"}],
        }
        for name, (title, argument, what, _) in _PROMPTS.items()
    ]


def prompt_messages(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The result of ``prompts/get``.

    Raises:
        ValueError: for an unknown prompt, or arguments that are missing or unknown.
    """
    if name not in _PROMPTS:
        raise ValueError(f"prompt: expected one of {', '.join(_PROMPTS)}, got {name[:100]!r}")
    title, argument, _, text = _PROMPTS[name]
    unknown = sorted(set(arguments) - {argument})
    given = arguments.get(argument, "")
    if unknown or not isinstance(given, str):
        raise ValueError(f"{name}: expected {argument!r} as text, and nothing else")
    if name == "delegate" and not given.strip():
        raise ValueError(f"{name}: expected {argument!r}, which is missing")
    return {
        "description": f"{title}.",
        "messages": [{"role": "user", "content": {"type": "text", "text": text + given}}],
    }
