"""A workflow: up to five steps, each a worker, a subtask and the earlier steps whose output it sees.

Steps are counted from 0 in code and error paths (``steps[2].access[0]``), and from 1 in what people and
workers read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from fugu_adapters.errors import PlanError

__all__ = ["MAX_STEPS", "MAX_SUBTASK_CHARS", "Aggregate", "AggregateKind", "Step", "Workflow"]

MAX_STEPS = 5
MAX_SUBTASK_CHARS = 8_000

AggregateKind: TypeAlias = Literal["vote", "select"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One call of a workflow.

    Attributes:
        worker: who is asked.
        subtask: what for, in natural language.
        access: earlier steps whose output it is shown, in ascending order; it sees no other.

    Raises:
        PlanError: where a field has the wrong type or holds nothing.
    """

    worker: str
    subtask: str
    access: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _check_text(self.worker, "worker", most=100)
        _check_text(self.subtask, "subtask", most=MAX_SUBTASK_CHARS)
        object.__setattr__(self, "access", _indices(self.access, "access"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Aggregate:
    """How an answer is made of several outputs, without a call.

    Attributes:
        kind: ``"vote"`` takes the most frequent answer; ``"select"`` the one that a judge names, and the
            vote where it names none.
        steps: the steps whose outputs are answers, at least two, in ascending order.
        judge: for ``select``, the step that names one of them; it has to see them all.

    Raises:
        PlanError: where a field is wrong in itself.
    """

    kind: AggregateKind
    steps: tuple[int, ...]
    judge: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(AggregateKind):
            raise PlanError(f"kind: expected vote or select, got {self.kind!r:.60}", path="kind")
        object.__setattr__(self, "steps", _indices(self.steps, "steps"))
        if len(self.steps) < 2:
            raise PlanError("steps: expected at least two to choose among", path="steps")
        if self.judge is not None and not _is_index(self.judge):
            raise PlanError(f"judge: expected a step, got {self.judge!r:.60}", path="judge")
        if (self.judge is not None) != (self.kind == "select"):
            raise PlanError("judge: a select needs one, a vote has none", path="judge")


@dataclass(frozen=True, kw_only=True, slots=True)
class Workflow:
    """Steps in order. The last one's output is the answer, unless there is an aggregate.

    Attributes:
        steps: one to five.
        aggregate: how the answer is made of several outputs.

    Raises:
        PlanError: where it is no valid workflow; ``.path`` says where, such as ``steps[2].access[0]``.
    """

    steps: tuple[Step, ...]
    aggregate: Aggregate | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.steps, Sequence) or not all(
            isinstance(step, Step) for step in self.steps
        ):
            raise PlanError("steps: expected a sequence of Step", path="steps")
        object.__setattr__(self, "steps", tuple(self.steps))
        _check_count("steps", len(self.steps))
        for index, step in enumerate(self.steps):
            for place, seen in enumerate(step.access):
                if seen >= index:
                    raise _not_earlier(f"steps[{index}].access[{place}]", seen, index)
        if self.aggregate is not None:
            self._check_aggregate(self.aggregate)

    def _check_aggregate(self, aggregate: Aggregate) -> None:
        if not isinstance(aggregate, Aggregate):
            raise PlanError("aggregate: expected an Aggregate or None", path="aggregate")
        for place, index in enumerate(aggregate.steps):
            if index >= len(self.steps):
                raise _no_step(f"aggregate.steps[{place}]", index, len(self.steps))
        judge = aggregate.judge
        if judge is None:
            return
        if judge >= len(self.steps):
            raise _no_step("aggregate.judge", judge, len(self.steps))
        unseen = set(aggregate.steps) - set(self.steps[judge].access)
        if unseen:
            raise PlanError(
                f"aggregate.judge: step {judge} does not see step {min(unseen)}, which it may choose; "
                "add it to its access",
                path="aggregate.judge",
            )

    # --- order ----------------------------------------------------------------------------------

    @property
    def answering(self) -> tuple[int, ...]:
        """The steps whose output is, or may become, the answer."""
        return (len(self.steps) - 1,) if self.aggregate is None else self.aggregate.steps

    def waves(self) -> tuple[tuple[int, ...], ...]:
        """Steps that may run at the same time, wave after wave: each as early as its inputs allow."""
        depth: list[int] = []
        for step in self.steps:
            depth.append(1 + max((depth[index] for index in step.access), default=-1))
        return tuple(
            tuple(index for index, own in enumerate(depth) if own == level)
            for level in range(max(depth) + 1)
        )

    def draw(self) -> str:
        """The workflow as text: a line for each step, grouped into waves."""
        width = max(len(step.worker) for step in self.steps)
        lines = []
        for number, wave in enumerate(self.waves(), start=1):
            for index in wave:
                step = self.steps[index]
                head = f"wave {number}" if index == wave[0] else ""
                sees = f"(sees {_numbers(step.access)}) " if step.access else ""
                end = " => answer" if self.aggregate is None and index in self.answering else ""
                subtask = " ".join(step.subtask.split())
                shown = subtask if len(subtask) <= 60 else f"{subtask[:57]}..."
                lines.append(f"{head:6}  {index + 1} {step.worker:{width}}  {sees}{shown}{end}")
        if self.aggregate is not None:
            by = "" if self.aggregate.judge is None else f" by {self.aggregate.judge + 1}"
            lines.append(
                f"{self.aggregate.kind}{by} over {_numbers(self.aggregate.steps)} => answer"
            )
        return "\n".join(lines)

    # --- JSON -----------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """The workflow as JSON has it; ``from_dict`` gives it back."""
        aggregate = self.aggregate
        return {
            "steps": [
                {"worker": step.worker, "subtask": step.subtask, "access": list(step.access)}
                for step in self.steps
            ],
            "aggregate": aggregate
            and {
                "kind": aggregate.kind,
                "steps": list(aggregate.steps),
                "judge": aggregate.judge,
            },
        }

    @classmethod
    def from_dict(cls, data: Any) -> Workflow:
        """The workflow of a dict in the shape of ``to_dict``. What a model wrote goes to ``parse_workflow``.

        Raises:
            PlanError: where it is none.
        """
        fields = _object(data, "", {"steps"}, {"aggregate"})
        if not isinstance(fields["steps"], list | tuple):
            raise PlanError("steps: expected a list", path="steps")
        _check_count("steps", len(fields["steps"]))
        steps = tuple(
            _built(Step, f"steps[{index}]", _object(each, f"steps[{index}]", *_STEP_KEYS))
            for index, each in enumerate(fields["steps"])
        )
        aggregate = fields.get("aggregate")
        if aggregate is not None:
            known = _object(aggregate, "aggregate", {"kind", "steps"}, {"judge"})
            aggregate = _built(Aggregate, "aggregate", known)
        return cls(steps=steps, aggregate=aggregate)


_STEP_KEYS = ({"worker", "subtask"}, {"access"})


def _object(data: Any, path: str, needed: set[str], optional: set[str]) -> dict[str, Any]:
    """The dict itself, where it has the keys it needs and no other."""
    where = path or "workflow"
    if not isinstance(data, Mapping):
        raise PlanError(f"{where}: expected an object, got {type(data).__name__}", path=path)
    for key in sorted(needed - set(data)):
        raise PlanError(f"{where}: {key!r} is missing", path=path)
    for key in data:
        if key not in needed | optional:
            known = ", ".join(sorted(needed | optional))
            raise PlanError(f"{where}: unknown key {key!r:.60}; known: {known}", path=path)
    return dict(data)


def _built(kind: Any, path: str, fields: dict[str, Any]) -> Any:
    """A part of a workflow; its error says where in the whole."""
    try:
        return kind(**fields)
    except PlanError as error:
        raise PlanError(f"{path}.{error}", path=f"{path}.{error.path}") from None


def _check_count(path: str, count: int) -> None:
    if not 1 <= count <= MAX_STEPS:
        raise PlanError(f"{path}: expected 1 to {MAX_STEPS} steps, got {count}", path=path)


def _check_text(value: Any, path: str, *, most: int) -> None:
    if not isinstance(value, str):
        raise PlanError(f"{path}: expected text, got {type(value).__name__}", path=path)
    if not value.strip():
        raise PlanError(f"{path}: expected text, got none", path=path)
    if len(value) > most:
        raise PlanError(
            f"{path}: {len(value):,} characters are over the bound of {most:,}", path=path
        )


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _indices(value: Any, path: str) -> tuple[int, ...]:
    """Different steps, ascending. What is listed twice or is no number is refused, not mended."""
    if not isinstance(value, list | tuple):
        raise PlanError(f"{path}: expected a list of steps, got {type(value).__name__}", path=path)
    for place, index in enumerate(value):
        if not _is_index(index):
            raise PlanError(
                f"{path}[{place}]: expected a step's index from 0, got {index!r:.60}",
                path=f"{path}[{place}]",
            )
        if index in value[:place]:
            raise PlanError(f"{path}[{place}]: {index} is listed twice", path=f"{path}[{place}]")
    return tuple(sorted(value))


def _not_earlier(path: str, seen: int, index: int) -> PlanError:
    allowed = f"0 to {index - 1}" if index else "none, as it is the first"
    return PlanError(f"{path}: expected an earlier step ({allowed}), got {seen}", path=path)


def _no_step(path: str, index: int, count: int) -> PlanError:
    return PlanError(f"{path}: expected a step from 0 to {count - 1}, got {index}", path=path)


def _numbers(indices: Sequence[int]) -> str:
    return ", ".join(str(index + 1) for index in indices)
