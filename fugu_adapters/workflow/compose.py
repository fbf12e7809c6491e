"""From a decision to a plan: the workflow that the conductor would write, and what it is expected to do.

The single call to the selector's choice is always a candidate. A workflow takes its place only where it is
expected to gain more than its further calls and dollars are worth at the effort.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fugu_adapters.messages import estimate_tokens, routing_text
from fugu_adapters.policies.answers import kind_of
from fugu_adapters.policies.conductor import (
    EFFORTS,
    Board,
    Conductor,
    Move,
    Sketch,
    expected_asks,
)
from fugu_adapters.policies.coordinator import Coordinator
from fugu_adapters.policies.subtasks import FORMS, LIBRARY, Library
from fugu_adapters.types import Candidate, Decision, Effort, Limits, Request
from fugu_adapters.workflow.plan import Aggregate, Step, Workflow

__all__ = [
    "SELDOM",
    "VOTING",
    "Forecast",
    "Plan",
    "Scene",
    "asks_of",
    "make_plan",
    "scene_of",
    "workflow_of",
]

Floats = NDArray[np.float64]

VOTING = Coordinator(lift=0.5, enough=4.0, cap=5)
"""How answers of a workflow are weighed, and which lead ends it; the conductor is trained with it."""

SELDOM = 0.02
"""A step that is taken less often than that is left out of a plan."""

_SHOWN = 400  # tokens of an earlier output in the prompt of a step that sees it, where unknown


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """What answering is expected to be like.

    Attributes:
        p_success: probability of a right answer; ``None`` where nothing is known of the workers.
        calls: mean calls to workers.
        tokens: mean input and output tokens; ``None`` where unknown.
        cost_usd: mean dollars; ``None`` where a price is unknown.
        seconds: mean seconds; ``None`` where unknown.
    """

    p_success: float | None
    calls: float
    tokens: int | None = None
    cost_usd: float | None = None
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a request would be answered by.

    Attributes:
        model: the policy: ``fugu``, ``fugu-trinity`` or ``fugu-ultra``.
        workflow: its steps; a single one for one call.
        forecast: of the workflow.
        single: of one call to the selector's choice.
        reason: why this plan, in a sentence.
        decision: the selector's, with all candidates.
    """

    model: str
    workflow: Workflow
    forecast: Forecast
    single: Forecast
    reason: str
    decision: Decision

    def draw(self) -> str:
        """The workflow as text, and below it the forecast."""
        return f"{self.workflow.draw()}\n{_line(self.forecast)}"


def make_plan(
    conductor: Conductor,
    coordinator: Coordinator,
    decision: Decision,
    request: Request,
    *,
    effort: Effort,
    limits: Limits,
) -> Plan:
    """The plan of whichever policy the decision was asked of; ``fugu-auto`` takes the one that is worth most.

    Args:
        conductor: writes and values plans.
        coordinator: of ``fugu-trinity``.
        decision: the selector's.
        request: what would be asked.
        effort: says what calls and dollars are worth.
        limits: of the run.
    """
    scene = scene_of(conductor, decision, request, effort=effort, limits=limits)
    alone = scene.sketch(decision.worker)
    # The calls of tools belong to one worker, and so do their results.
    if request.tools or decision.continuity == "tool-turn":
        model = "fugu" if decision.model == "fugu-auto" else decision.model
        reason = f"one call to {decision.worker}, as tools are one worker's"
        return scene.plan(model, alone, reason)
    if decision.model == "fugu":
        return scene.plan("fugu", alone, f"one call to {decision.worker}")
    plans = {"fugu": (alone, f"one call to {decision.worker}")}
    if decision.model in ("fugu-trinity", "fugu-auto"):
        turns = scene.turns(coordinator)
        plans["fugu-trinity"] = (
            turns,
            f"{decision.worker}, and others where its answer is doubted",
        )
    if decision.model in ("fugu-ultra", "fugu-auto"):
        plans["fugu-ultra"] = scene.written()
    if decision.model != "fugu-auto":
        sketch, reason = plans[decision.model]
        return scene.plan(decision.model, sketch, reason)
    worth = {name: scene.worth(sketch) for name, (sketch, _) in plans.items()}
    model = max(plans, key=lambda name: worth[name])
    sketch, reason = plans[model]
    return scene.plan(model, sketch, f"{model} is expected to be worth most: {reason}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """One request to plan for.

    Attributes:
        conductor: writes and values plans.
        decision: the selector's, whose choice is the single call.
        able: its candidates that may be asked.
        question: what is asked, as far as the form of its answer goes.
        input_tokens: of the request.
        wants_json: whether the caller asked for JSON.
        effort: bounds the steps, and says what calls and dollars are worth.
        most: calls that the limits leave.
        usd: dollars that they leave; ``None`` for no cap.
        library: kinds of subtasks.
    """

    conductor: Conductor
    decision: Decision
    able: tuple[Candidate, ...]
    question: str
    input_tokens: int
    wants_json: bool
    effort: Effort
    most: int
    usd: float | None
    library: Library = LIBRARY

    @property
    def names(self) -> list[str]:
        """Of the workers that may be asked, by column."""
        return [each.worker for each in self.able]

    def sketch(self, *workers: str) -> Sketch:
        """Those answer on their own."""
        moves = (Move(kind="answer", worker=self.names.index(name)) for name in workers)
        return Sketch(moves=tuple(moves))

    def turns(self, coordinator: Coordinator) -> Sketch:
        """Whom the coordinator would ask, the selector's choice first."""
        forecast, cost = forecasts_of(self.able)
        order = np.argsort(-coordinator.rank(forecast, cost), kind="stable")
        first = self.decision.worker
        others = [self.names[n] for n in order if self.names[n] != first]
        return self.sketch(first, *others[: max(0, min(coordinator.cap, self.most) - 1)])

    def written(self) -> tuple[Sketch, str]:
        """The conductor's plan, or one call where that is worth more, with the reason."""
        forecast, cost = forecasts_of(self.able)
        board = Board(
            forecast,
            cost,
            np.array([list(EFFORTS).index(self.effort)]),
            most=max(1, min(EFFORTS[self.effort].steps, self.most)),
            library=self.library,
            kinds=[name for name in self.conductor.kinds if name in self.library],
        )
        sketch, alone = self.conductor.write(board)[0], self.sketch(self.decision.worker)
        taken = asks_of(sketch, forecast, self.library) >= SELDOM
        sketch = sketch.first(max(1, int(taken.sum())))  # asks fall from step to step
        first = self.decision.worker
        if self.worth(sketch) <= self.worth(alone):
            return alone, f"one call to {first}: no workflow is expected to gain what it would cost"
        if len(sketch.moves) == 1:
            return sketch, f"one call to {self.names[sketch.moves[0].worker]}"
        dollars = sum(float(cost[move.worker]) for move in sketch.moves)
        unpriced = any(self.able[move.worker].cost_usd is None for move in sketch.moves)
        if self.usd is not None and (unpriced or dollars > self.usd):
            return alone, f"one call to {first}, as the dollar cap does not pay for the workflow"
        gain = 100 * (self.value(sketch) - self.value(alone))
        asked = ", ".join(dict.fromkeys(self.names[move.worker] for move in sketch.moves))
        return sketch, f"{asked}: expected to add {gain:.1f} points to one call to {first}"

    def value(self, sketch: Sketch) -> float:
        """How probably its answer is right."""
        forecast, _ = forecasts_of(self.able)
        return float(self.conductor.value([sketch], forecast[None], self.library)[0])

    def worth(self, sketch: Sketch) -> float:
        """Value less what the effort takes off for calls and dollars."""
        forecast, cost = forecasts_of(self.able)
        price, asks = EFFORTS[self.effort].price, asks_of(sketch, forecast, self.library)
        spent = sum(a * float(cost[m.worker]) for a, m in zip(asks, sketch.moves, strict=True))
        best = max(float(cost[int(np.argmax(forecast))]), 1e-12)
        calls, dollars = float(asks.sum()) - 1.0, float(spent) / best
        return float(self.value(sketch) - price.call * calls - price.spend * dollars)

    def worth_of(self, workflow: Workflow) -> float:
        """The same of a workflow that was not composed of known kinds.

        A step that sees others is taken to be as good as the best of them and itself.
        """
        forecast, cost = forecasts_of(self.able)
        p = np.clip(forecast, 0.02, 0.98)
        own = np.log(p / (1 - p))
        odds: list[float] = []
        for step in workflow.steps:
            mine = float(own[self.names.index(step.worker)]) if step.worker in self.names else 0.0
            odds.append(max([mine, *(odds[seen] for seen in step.access)]))
        answers = np.array([[odds[index] for index in workflow.answering]])
        value = float(self.conductor.value.right(answers, np.ones(answers.shape, dtype=bool))[0])
        price, best = EFFORTS[self.effort].price, max(float(cost[int(np.argmax(forecast))]), 1e-12)
        known = [step.worker for step in workflow.steps if step.worker in self.names]
        spent = sum(float(cost[self.names.index(name)]) for name in known)
        calls = len(workflow.steps) - 1
        return value - price.call * calls - price.spend * spent / best

    def plan(self, model: str, sketch: Sketch, reason: str) -> Plan:
        """The sketch in words, with its forecast."""
        return Plan(
            model=model,
            workflow=workflow_of(
                sketch,
                self.names,
                question=self.question,
                wants_json=self.wants_json,
                library=self.library,
            ),
            forecast=self.forecast(sketch),
            single=self.forecast(self.sketch(self.decision.worker)),
            reason=reason,
            decision=self.decision,
        )

    def forecast(self, sketch: Sketch) -> Forecast:
        """Calls, tokens, dollars, seconds."""
        forecast, _ = forecasts_of(self.able)
        asks = asks_of(sketch, forecast, self.library)
        tokens = dollars = seconds = 0.0
        who = [self.able[move.worker] for move in sketch.moves]
        for ask, one, seen in zip(asks, who, sketch.access(self.library), strict=True):
            shown = sum(who[n].output_tokens or _SHOWN for n in seen)
            tokens += ask * (self.input_tokens + shown + (one.output_tokens or 0))
            dollars += ask * (one.cost_usd or 0.0)
            seconds += ask * (one.latency_s or 0.0)
        return Forecast(
            p_success=self.value(sketch) if any(one.p_success for one in self.able) else None,
            calls=float(asks.sum()),
            tokens=None if any(one.output_tokens is None for one in who) else round(tokens),
            cost_usd=None if any(one.cost_usd is None for one in who) else dollars,
            seconds=None if any(one.latency_s is None for one in who) else seconds,
        )


def scene_of(
    conductor: Conductor, decision: Decision, request: Request, *, effort: Effort, limits: Limits
) -> Scene:
    """What a request is planned by."""
    return Scene(
        conductor=conductor,
        decision=decision,
        able=tuple(each for each in decision.candidates if each.excluded_because is None),
        question=routing_text(request),
        input_tokens=estimate_tokens(request),
        wants_json=request.response_format is not None,
        effort=effort,
        most=limits.calls,
        usd=limits.usd,
    )


def forecasts_of(able: Sequence[Candidate]) -> tuple[Floats, Floats]:
    """Expected score and dollars of each; an unknown price counts as the dearest known one."""
    forecast = np.array([each.p_success or 0.0 for each in able])
    cost = np.array([math.nan if each.cost_usd is None else each.cost_usd for each in able])
    known = cost[np.isfinite(cost)]
    return forecast, np.where(np.isnan(cost), known.max() if len(known) else 1.0, cost)


def asks_of(sketch: Sketch, forecast: Floats, library: Library = LIBRARY) -> Floats:
    """How probably each step is taken, where a vote ends once it is decided, ``[steps]``."""
    asks = np.ones(len(sketch.moves))
    answers = sketch.answers(library)
    if len(answers) < 2 or any(library[move.kind].gives == "choice" for move in sketch.moves):
        return asks
    p = np.clip(forecast[[sketch.moves[index].worker for index in answers]], 0.02, 0.98)
    each = expected_asks(np.log(p / (1 - p))[None], np.ones((1, len(p)), dtype=bool), VOTING)[0]
    reached = dict(zip(answers, each, strict=True))
    for index in range(len(asks)):  # advice is asked for where the answer that follows is
        asks[index] = next((reached[n] for n in answers if n >= index), 1.0)
    return asks


def workflow_of(
    sketch: Sketch,
    names: Sequence[str],
    *,
    question: str = "",
    wants_json: bool = False,
    library: Library = LIBRARY,
) -> Workflow:
    """A sketch in words.

    Args:
        sketch: what the grammar allowed.
        names: of the workers, by column.
        question: what is asked; it says which form an answer has.
        wants_json: whether the caller asked for JSON.
        library: kinds of subtasks.
    """
    form = FORMS.get(kind_of(question, [], wants_json=wants_json), FORMS["open"])
    access = sketch.access(library)
    steps = tuple(
        Step(
            worker=names[move.worker],
            subtask=library[move.kind].subtask(form),
            access=access[index],
        )
        for index, move in enumerate(sketch.moves)
    )
    judge = next((n for n, m in enumerate(sketch.moves) if library[m.kind].gives == "choice"), None)
    answers = sketch.answers(library)
    if len(answers) < 2:
        return Workflow(steps=steps)
    kind = "vote" if judge is None else "select"
    return Workflow(steps=steps, aggregate=Aggregate(kind=kind, steps=answers, judge=judge))  # type: ignore[arg-type]  # one of two literals


def _line(forecast: Forecast) -> str:
    parts = [f"{forecast.calls:.1f} calls"]
    if forecast.tokens is not None:
        parts.append(f"{forecast.tokens:,} tokens")
    if forecast.cost_usd is not None:
        parts.append(f"${forecast.cost_usd:.4f}")
    if forecast.seconds is not None:
        parts.append(f"{forecast.seconds:.1f} s")
    if forecast.p_success is not None:
        parts.append(f"right with {forecast.p_success:.0%}")
    return "expected: " + ", ".join(parts)
