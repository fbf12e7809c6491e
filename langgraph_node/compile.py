"""A workflow as a LangGraph graph: one node for each step, edges from what each step may see.

The core asks for every step, so a graph answers as ``Fugu.run(..., workflow=...)`` does; what LangGraph
adds is drawing, checkpoints, interrupts and resuming.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Unpack

from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, MessagesState, StateGraph

from fugu_adapters import (
    ConfigError,
    Event,
    Fugu,
    InputError,
    Limits,
    PlanError,
    Pool,
    Result,
    ResumeMismatch,
)
from fugu_adapters.options import RunOptions
from fugu_adapters.workflow import Workflow
from fugu_adapters.workflow.aggregate import choose
from langgraph_node.messages import to_openai

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph
    from langgraph.types import Checkpointer, RetryPolicy

__all__ = ["ANSWER", "WorkflowState", "compile_workflow", "node_names"]

ANSWER = "answer"
"""The node that gives the answer where the last step does not: of an aggregate, or after steps nobody sees."""

_TOLD = ("step_started", "call_failed", "step_finished")


def _merged(left: Mapping[str, Any] | None, right: Mapping[str, Any]) -> dict[str, Any]:
    """A reducer: what parallel steps write comes together."""
    return {**(left or {}), **right}


def _latest(left: str | None, right: str) -> str:
    """A reducer: parallel steps write the same."""
    return right


class WorkflowState(MessagesState):
    """What a compiled workflow keeps. Beside the messages it is plain JSON.

    Attributes:
        replies: what each step wrote, by node.
        steps: of each step that finished, by node: ``worker`` (who answered), ``input_tokens``,
            ``output_tokens``, ``cost_usd``, ``calls`` and ``p_success``.
        plan: digest of the workflow that wrote them.
    """

    replies: Annotated[dict[str, str], _merged]
    steps: Annotated[dict[str, dict[str, Any]], _merged]
    plan: Annotated[str, _latest]


def node_names(workflow: Workflow) -> tuple[str, ...]:
    """The nodes of a workflow's steps, such as ``1_thinker``."""
    return tuple(f"{number}_{step.worker}" for number, step in enumerate(workflow.steps, start=1))


def compile_workflow(
    workflow: Workflow,
    over: Pool | Fugu,
    /,
    *,
    checkpointer: Checkpointer = None,
    interrupt_before: Iterable[str] = (),
    interrupt_after: Iterable[str] = (),
    retry_policy: RetryPolicy | None = None,
    name: str | None = None,
    **options: Unpack[RunOptions],
) -> CompiledStateGraph[Any, Any, Any, Any]:
    """Compile a workflow to a graph over ``{"messages": [...]}``. The answer is its last message.

    Steps that do not see one another run at the same time, wave after wave. With a checkpointer, a run
    that was cut off goes on with ``graph.invoke(None, config)`` and asks nobody whose step was finished;
    ``durability="sync"`` has each wave on disk before the next one begins.

    Args:
        workflow: the plan; its workers are in the pool.
        over: the workers, or a ``Fugu`` over them, whose lifetime stays the caller's.
        checkpointer: where LangGraph keeps the state.
        interrupt_before: nodes to pause before, see ``node_names``.
        interrupt_after: nodes to pause after.
        retry_policy: LangGraph's, for every step. Our errors have been retried already, and without it
            they are not retried again.
        name: the graph's.
        **options: for every run, as for ``Fugu.run``. Of ``limits``, dollars, tokens and calls are those of
            the whole graph, shared out evenly among steps that run at the same time; ``seconds`` are each
            step's, since a graph may pause for days.

    Raises:
        ConfigError: where a node to pause at is none, or an option does not go with a workflow.
        PlanError: where a worker is not in the pool.
    """
    fugu = over if isinstance(over, Fugu) else Fugu(over, store=False)
    plan = _Plan(workflow, fugu, options)
    graph: StateGraph[Any, Any, Any, Any] = StateGraph(WorkflowState)
    for index, node in enumerate(plan.names):
        graph.add_node(node, _StepNode(plan, index), retry_policy=retry_policy)
    for node, step in zip(plan.names, workflow.steps, strict=True):
        _lead(graph, [plan.names[seen] for seen in step.access] or [START], node)
    if plan.last_answers:
        graph.add_edge(plan.names[-1], END)
    else:
        graph.add_node(ANSWER, plan.answer)
        _lead(graph, [plan.names[index] for index in plan.ends], ANSWER)
        graph.add_edge(ANSWER, END)
    before, after = list(interrupt_before), list(interrupt_after)
    for node in (*before, *after):
        if node not in graph.nodes:
            raise ConfigError(f"interrupt: {node!r} is no node; known: {', '.join(graph.nodes)}")
    return graph.compile(
        checkpointer=checkpointer,
        interrupt_before=before,
        interrupt_after=after,
        name=name,
    )


def _lead(graph: StateGraph[Any, Any, Any, Any], sources: list[str], node: str) -> None:
    """An edge; from several nodes it waits for all of them."""
    graph.add_edge(sources if len(sources) > 1 else sources[0], node)


class _Plan:
    """A workflow with what its nodes share."""

    def __init__(self, workflow: Workflow, fugu: Fugu, options: RunOptions) -> None:
        if not isinstance(workflow, Workflow):
            raise ConfigError(f"workflow: expected a Workflow, got {type(workflow).__name__}")
        if "workflow" in options or options.get("tools"):
            raise ConfigError(
                "compile_workflow: neither workflow= nor tools= may be among the options"
            )
        for index, step in enumerate(workflow.steps):
            if step.worker not in fugu.pool:
                path = f"steps[{index}].worker"
                raise PlanError(f"{path}: no worker {step.worker!r} in {fugu.pool}", path=path)
        self.workflow, self.fugu, self.options = workflow, fugu, options
        self.names = node_names(workflow)
        text = json.dumps(workflow.to_dict(), sort_keys=True)
        self.digest = hashlib.blake2b(
            text.encode("utf-8", "surrogatepass"), digest_size=8
        ).hexdigest()
        self._waves = workflow.waves()
        aggregate = workflow.aggregate
        judge = () if aggregate is None or aggregate.judge is None else (aggregate.judge,)
        self.needed = (*workflow.answering, *judge)
        seen = {index for step in workflow.steps for index in step.access}
        # The answer is a message, so nothing may be asked any more once it is there.
        unseen = set(range(len(workflow.steps))) - seen
        self.ends = sorted(unseen | set(self.needed))
        self.last_answers = aggregate is None and len(unseen) == 1

    def limits(self, state: Mapping[str, Any], index: int) -> Limits:
        """What is left for a step: the caps less what earlier waves used, shared with its own wave."""
        limits = self.options.get("limits", self.fugu.limits)
        wave = next(number for number, wave in enumerate(self._waves) if index in wave)
        share = len(self._waves[wave])
        used = [state["steps"][self.names[n]] for earlier in self._waves[:wave] for n in earlier]
        tokens = sum((u["input_tokens"] or 0) + (u["output_tokens"] or 0) for u in used)
        spent = sum(u["cost_usd"] or 0.0 for u in used)
        calls = sum(u["calls"] for u in used)
        return replace(
            limits,
            usd=None if limits.usd is None else max(0.0, limits.usd - spent) / share,
            tokens=max(0, limits.tokens - tokens) // share,
            calls=max(0, limits.calls - calls) // share,
        )

    def outputs(self, state: Mapping[str, Any], indices: Sequence[int]) -> dict[int, str]:
        """What these steps wrote.

        Raises:
            ResumeMismatch: where another workflow wrote it.
        """
        if indices and state.get("plan") != self.digest:
            raise ResumeMismatch(
                "this thread holds the steps of another workflow; resume it with the one that it was "
                "begun with, or begin a new thread"
            )
        return {index: state["replies"][self.names[index]] for index in indices}

    def update(self, index: int, result: Result) -> dict[str, Any]:
        """What a step writes into the state."""
        node = self.names[index]
        author = next(c for c in result.decision.candidates if c.worker == result.worker)
        update: dict[str, Any] = {
            "plan": self.digest,
            "replies": {node: result.text},
            "steps": {
                node: {
                    "worker": result.worker,
                    "input_tokens": result.usage.input_tokens,
                    "output_tokens": result.usage.output_tokens,
                    "cost_usd": result.cost_usd,
                    "calls": len(result.trace.attempts),
                    "p_success": author.p_success,
                }
            },
        }
        if self.last_answers and index == len(self.names) - 1:
            update["messages"] = [AIMessage(result.text, name=result.worker)]
        return update

    def answer(self, state: WorkflowState) -> dict[str, Any]:
        """The node that waits for every step and says which output is the answer. It asks nobody."""
        aggregate = self.workflow.aggregate
        outputs = self.outputs(state, self.needed)
        authors = {index: state["steps"][self.names[index]] for index in outputs}
        trust = {index: author["p_success"] or 0.0 for index, author in authors.items()}
        won = self.needed[-1] if aggregate is None else choose(aggregate, outputs, trust)
        return {"messages": [AIMessage(outputs[won], name=authors[won]["worker"])]}


class _StepNode(Runnable[Any, dict[str, Any]]):
    """Asks for one step, in synchronous and in asynchronous graphs."""

    def __init__(self, plan: _Plan, index: int) -> None:
        self._plan, self._index = plan, index
        self.name = plan.names[index]

    def invoke(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Ask for the step; see ``Fugu.astep`` for what it raises."""
        messages, call = self._call(input)
        return self._plan.update(self._index, self._plan.fugu.step(messages, **call))

    async def ainvoke(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """As ``invoke``. Cancelling it stops the worker."""
        messages, call = self._call(input)
        return self._plan.update(self._index, await self._plan.fugu.astep(messages, **call))

    def _call(self, state: Mapping[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """The arguments of ``Fugu.step``."""
        plan, index = self._plan, self._index
        if not state.get("messages"):
            raise InputError("the graph's state has no messages to answer")
        outputs = plan.outputs(state, plan.workflow.steps[index].access)
        write = get_stream_writer()

        def on_event(event: Event) -> None:
            if event.kind in _TOLD:
                write(_plain(event))

        call = {
            **plan.options,
            "workflow": plan.workflow,
            "index": index,
            "outputs": outputs,
            "limits": plan.limits(state, index),
            "on_event": on_event,
        }
        return to_openai(state["messages"]), call


def _plain(event: Event) -> dict[str, Any]:
    """An event of the core as a custom stream event."""
    told = {"type": f"fugu.{event.kind}", "step": event.step, "worker": event.worker}
    if event.subtask is not None:
        told["subtask"] = event.subtask
    if event.attempt is not None:
        told["error"] = event.attempt.error
    return told
