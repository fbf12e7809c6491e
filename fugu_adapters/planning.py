"""From a request and its options to what is carried out: who is asked, by which plan, from which state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fugu_adapters.config import Worker
from fugu_adapters.engine.results import as_planned
from fugu_adapters.engine.run import Run
from fugu_adapters.engine.workflow import deliver, step_order
from fugu_adapters.errors import ConfigError, InputError, ResumeMismatch
from fugu_adapters.messages import text_of
from fugu_adapters.options import RunOptions
from fugu_adapters.policies.conductor_weights import load_conductor
from fugu_adapters.policies.coordinator import load_coordinators
from fugu_adapters.policies.routing import Router
from fugu_adapters.pool import Pool
from fugu_adapters.store import Store
from fugu_adapters.types import Decision, Effort, Limits, Reply, Request
from fugu_adapters.workers import why_not_ready
from fugu_adapters.workflow import Workflow
from fugu_adapters.workflow.compose import Plan, make_plan
from fugu_adapters.workflow.prompts import request_of
from fugu_adapters.workflow.suspension import Suspension, Waiting, waiting_token

__all__ = ["MODELS", "Planner", "Prepared"]

MODELS = ("fugu", "fugu-trinity", "fugu-ultra", "fugu-auto")
"""Policies that can be asked for by name."""

EFFORTS = ("low", "medium", "high", "xhigh")

_QUICK = 8_000  # characters
_WAITING = 1_024  # workflows that wait for tools in memory; the oldest are forgotten first


@dataclass(frozen=True, slots=True)
class Prepared:
    """What was decided before the first call.

    Attributes:
        decision: the selector's, with the plan's reason.
        orders: who may be asked, best first: for each step, where there is a workflow.
        model: the policy that carries it out.
        workflow: the caller's, or the conductor's.
        waiting: the state that the workflow goes on from, where results of tools have come.
    """

    decision: Decision
    orders: list[list[Worker]]
    model: str
    workflow: Workflow | None = None
    waiting: Waiting | None = None


class Planner:
    """Decides and plans for one pool, and keeps the workflows that wait for tools.

    Args:
        pool: the workers.
        limits: of requests that name none.
        effort: of requests that name none.
        store: where waiting workflows are kept; in memory where there is none, or texts are not stored.
        env: where keys are looked for.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        limits: Limits,
        effort: Effort,
        store: Store | None,
        env: Mapping[str, str] | None,
    ) -> None:
        self.pool, self.limits, self.effort = pool, limits, effort
        self.router = Router(pool)
        self._store, self._env = store, env
        self._suspended: dict[str, Suspension] = {}
        self._is_remote = all(worker.base_url or worker.call for worker in pool)

    def decide(
        self,
        request: Request,
        options: RunOptions,
        unready: Mapping[str, str] | None = None,
        *,
        remember: bool = True,
    ) -> Decision:
        """The selector's decision.

        Args:
            request: what would be asked.
            options: model, effort, exclusions and bounds.
            unready: workers that cannot be asked from here, each with what is missing.
            remember: whether it is a turn of its conversation.

        Raises:
            InputError: an option is wrong, or nobody may be asked.
        """
        model = options.get("model", "fugu")
        if model not in MODELS:
            raise InputError(f"model: expected one of {', '.join(MODELS)}, got {model!r}")
        effort = options.get("effort", self.effort)
        if effort not in EFFORTS:
            raise InputError(f"effort: expected one of {', '.join(EFFORTS)}, got {effort!r}")
        quality, max_cost = options.get("quality"), options.get("max_cost")
        session = options.get("session")
        if not isinstance(session, str | None):
            raise InputError(f"session: expected text, got {type(session).__name__}")
        if quality is not None and not (isinstance(quality, int | float) and 0 < quality <= 1):
            raise InputError(f"quality: expected a number above 0, to 1, got {quality!r}")
        if max_cost is not None and not (isinstance(max_cost, int | float) and max_cost >= 0):
            raise InputError(f"max_cost: expected dollars, 0 or more, got {max_cost!r}")
        return self.router.decide(
            request,
            model=model,
            effort=effort,
            exclude=options.get("exclude", ()),
            unready=unready,
            session=session,
            quality=quality,
            max_cost=max_cost,
            remember=remember,
        )

    def is_quick(self, request: Request, options: RunOptions) -> bool:
        """Whether ``prepare`` takes a millisecond or two and touches no file: then a thread costs more than it saves."""
        return (
            self.router.is_loaded
            and options.get("model", "fugu") == "fugu"
            and options.get("workflow") is None
            and waiting_token(request.messages) is None
            and self._is_remote
            and sum(len(text_of(message)) for message in request.messages) <= _QUICK
        )

    def plan(self, request: Request, options: RunOptions, decision: Decision) -> Plan:
        """What the policy of a decision would do, and what that is expected to cost.

        Raises:
            WeightsError: weights do not pass their checks.
        """
        limits, effort = options.get("limits", self.limits), options.get("effort", self.effort)
        return make_plan(
            load_conductor(self.pool.conductor.weights),
            load_coordinators(self.pool.coordinator)[effort],
            decision,
            request,
            effort=effort,
            limits=limits,
        )

    def prepare(self, request: Request, options: RunOptions) -> Prepared:
        """The decision, and who may be asked, best first: for each step, where there is a workflow.

        A workflow that the caller gives is no turn of a conversation, so the same one has the same order
        every time.
        """
        unready, workflow = self.unready(), options.get("workflow")
        waiting = self._waiting(request)
        if waiting is not None:
            asked = replace(request, messages=waiting.messages)
            prepared = self._prepare_workflow(asked, options, waiting.workflow, unready)
            return replace(prepared, waiting=waiting)
        if workflow is not None:
            return self._prepare_workflow(request, options, workflow, unready)
        decision = self.decide(request, options, unready)
        able = [c.worker for c in decision.candidates if c.excluded_because is None]
        one = [[self.pool[name] for name in able]]
        if decision.model not in ("fugu-ultra", "fugu-auto"):
            return Prepared(decision, one, decision.model)
        writes = self.pool.conductor.worker is not None and decision.continuity != "tool-turn"
        if decision.model == "fugu-ultra" and writes:
            return Prepared(decision, one, "written")
        plan = self.plan(request, options, decision)
        reason = f"{decision.reason} {plan.reason[:1].upper()}{plan.reason[1:]}."
        decision = replace(decision, reason=reason, policy=f"{plan.model}, then {decision.policy}")
        steps = plan.workflow.steps
        if plan.model != "fugu-ultra":
            return Prepared(decision, one, plan.model)
        if len(steps) == 1:
            first = steps[0].worker
            order = [first, *(name for name in able if name != first)]
            decision = replace(decision, worker=first)
            return Prepared(decision, [[self.pool[name] for name in order]], "fugu")
        orders = [
            step_order(plan.workflow, index, decision.candidates, self.pool)
            for index in range(len(steps))
        ]
        return Prepared(decision, orders, plan.model, plan.workflow)

    def _prepare_workflow(
        self,
        request: Request,
        options: RunOptions,
        workflow: Workflow,
        unready: Mapping[str, str],
    ) -> Prepared:
        # Only steps that write the answer need what its form needs.
        decided: dict[bool, Decision] = {}
        orders = []
        for index in range(len(workflow.steps)):
            answers = index in workflow.answering
            if answers not in decided:
                asked = request_of(request, workflow, index)
                decided[answers] = self.decide(asked, options, unready, remember=False)
            orders.append(step_order(workflow, index, decided[answers].candidates, self.pool))
        return Prepared(as_planned(decided[True], workflow), orders, "fugu", workflow)

    def unready(self) -> dict[str, str]:
        """Workers that lack a key, weights or a file, each with what is missing.

        Raises:
            ConfigError: where that is all of them.
        """
        lacking = {worker.name: why_not_ready(worker, self._env) for worker in self.pool}
        unready = {name: reason for name, reason in lacking.items() if reason is not None}
        if len(unready) == len(self.pool):
            lines = [f"  {name} {reason}" for name, reason in unready.items()]
            raise ConfigError("\n".join(["no worker can be asked from here:", *lines]))
        return unready

    def _waiting(self, request: Request) -> Waiting | None:
        """The workflow that the request brings results of tools for, with these results.

        Raises:
            ResumeMismatch: nothing waits for them here, or an id was not made by us.
        """
        token = waiting_token(request.messages)
        if token is None:
            return None
        found = self._suspended.get(token)
        if found is None and self._store is not None:
            found = self._store.suspended(token)
        if found is None:
            raise ResumeMismatch(
                "messages: no workflow waits for these tool results here; it was begun with another store, "
                "or more than a week ago. Send the request again without them"
            )
        return found.resumed(request.messages)

    def suspend(self, run: Run, worker: Worker, reply: Reply) -> Reply:
        """Keep the workflow until the results of its tools come: in memory where texts are not stored."""
        if run.waiting is None:
            return reply
        suspension = Suspension.of(run.waiting)
        # What came natively has the worker's own ids, and what is sealed stays with what is kept.
        signed = replace(suspension.signed(reply), native=None, sealed=())
        if self._store is not None and self._store.keep_text:
            self._store.suspend(suspension)
        else:
            self._suspended[suspension.token] = suspension
            while len(self._suspended) > _WAITING:
                del self._suspended[next(iter(self._suspended))]
        if run.stream:
            deliver(run, worker, signed)
        return signed
