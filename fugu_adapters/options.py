"""What may be said of one request, and turning it into the record that workers are asked with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypedDict

from fugu_adapters.engine.limits import Account
from fugu_adapters.errors import InputError
from fugu_adapters.messages import parse_messages
from fugu_adapters.types import Effort, Limits, Message, Native, Request
from fugu_adapters.workflow import Workflow

__all__ = ["RunOptions", "read_request"]


class RunOptions(TypedDict, total=False):
    """What may be said of one request. Everything is optional.

    Attributes:
        model: policy name: ``"fugu"`` asks one worker, ``"fugu-trinity"`` takes up to five turns where that pays,
            ``"fugu-ultra"`` writes a workflow where that pays, ``"fugu-auto"`` takes whichever is expected to be worth most.
        effort: how much the answer is worth: ``low`` takes the cheapest worker that is nearly as good,
            ``xhigh`` the best; it also bounds the reply's length, and the turns.
        limits: caps on dollars, seconds, calls and tokens.
        exclude: workers not to ask, by name, ``provider:NAME``, ``tag:NAME`` or tag.
        session: the conversation that the request belongs to; kept with the run. Without it, one is
            recognised where its history is sent along.
        quality: least expected score relative to the best worker's, above 0 to 1; in place of what the
            effort would give up for a lower price.
        max_cost: dollars that the call may be expected to cost; ``limits`` hold what it may really cost.
        tools: function tools in OpenAI's shape.
        tool_choice: as in OpenAI's API.
        response_format: ``{"type": "json_schema", ...}`` or ``{"type": "json_object"}``.
        max_output_tokens: bound on the reply.
        temperature: sampling temperature.
        top_p: nucleus sampling mass.
        stop: strings that end the reply.
        seed: sampling seed, where the worker has one.
        about: the task in the user's own words, where messages wrap it in others; it is routed by, not sent.
        workflow: a plan to carry out in place of asking one worker. Its steps share the limits.
        native: the request in its client's own dialect, besides ``messages``. Where one call to a worker of the
            same dialect answers it, that worker is sent it as it is, and ``Delta.raw`` and ``Result.native``
            hold what came back.
        account: dollars that the run shares with others, besides its own ``limits``.
        replan: whether ``fugu-ultra`` looks at each answer before it asks for the next; in place of what the
            pool's ``[conductor]`` says.
    """

    model: str
    effort: Effort
    limits: Limits
    exclude: Sequence[str] | set[str] | frozenset[str]
    session: str | None
    quality: float | None
    max_cost: float | None
    tools: Sequence[dict[str, Any]]
    tool_choice: str | dict[str, Any] | None
    response_format: dict[str, Any] | None
    max_output_tokens: int | None
    temperature: float | None
    top_p: float | None
    stop: Sequence[str]
    seed: int | None
    about: str | None
    workflow: Workflow | None
    native: Native | None
    account: Account | None
    replan: bool


_KNOWN = dict.fromkeys(RunOptions.__annotations__).keys()


def read_request(messages: str | Sequence[Message], options: RunOptions) -> Request:
    """The request that messages and options make.

    Raises:
        InputError: where one of them is wrong.
    """
    unknown = sorted(options.keys() - _KNOWN)
    if unknown:
        raise InputError(f"unknown option {unknown[0]!r}; known: {', '.join(_KNOWN)}")
    _check_workflow(options)
    about = options.get("about")
    if not isinstance(about, str | None):
        raise InputError(f"about: expected text, got {type(about).__name__}")
    parsed, native = parse_messages(messages), options.get("native")
    return Request(
        messages=parsed,
        tools=tuple(options.get("tools", ())),
        tool_choice=options.get("tool_choice"),
        response_format=options.get("response_format"),
        max_output_tokens=options.get("max_output_tokens"),
        temperature=options.get("temperature"),
        top_p=options.get("top_p"),
        stop=tuple(options.get("stop", ())),
        seed=options.get("seed"),
        about=about,
        native=None if native is None else replace(native, messages=parsed),
    )


def _check_workflow(options: RunOptions) -> None:
    workflow = options.get("workflow")
    if workflow is None:
        return
    if not isinstance(workflow, Workflow):
        raise InputError(
            f"workflow: expected a Workflow, got {type(workflow).__name__}; "
            "Workflow.from_dict and parse_workflow make one"
        )
    if options.get("model", "fugu") != "fugu":
        raise InputError("workflow: it is carried out as it is; leave model out")
