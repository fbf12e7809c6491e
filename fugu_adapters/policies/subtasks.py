"""The kinds of subtasks that a conductor composes workflows of, each a text in natural language.

A kind may be added: :meth:`Library.extended`. What the learned conductor knows of a kind is what it sees and
what its output is (:class:`Kind`), and for the shipped ones its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from fugu_adapters.errors import PlanError

__all__ = ["ANSWER", "FORMS", "LIBRARY", "Gives", "Kind", "Library"]

Gives: TypeAlias = Literal["answer", "advice", "choice"]

ANSWER = "Answer the request."
"""The subtask of a step that is sent the request as it is."""

_SLOT = re.compile(r"\{(\w+)\}")
_SLOTS = ("form",)


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """One kind of subtask.

    Attributes:
        name: what it is called.
        text: the instruction; ``{form}`` becomes the form of the answer, such as "a number".
        gives: what its output is: an ``answer``, ``advice`` for later steps, or the ``choice`` of one of the
            answers that it sees.
        sees: what it has to see of earlier steps: ``nothing``, some ``advice``, an ``answer``, or several
            ``answers``.

    Raises:
        PlanError: where the text is empty or has a slot that is not known.
    """

    name: str
    text: str
    gives: Gives = "answer"
    sees: Literal["nothing", "advice", "answer", "answers"] = "nothing"

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise PlanError(f"{self.name}: expected an instruction, got none")
        unknown = [slot for slot in _SLOT.findall(self.text) if slot not in _SLOTS]
        if unknown:
            known = ", ".join(_SLOTS)
            raise PlanError(f"{self.name}: unknown slot {unknown[0]!r}; known: {known}")

    def subtask(self, form: str = "what the request asks for") -> str:
        """The instruction with its slots filled."""
        return self.text.replace("{form}", form)


class Library:
    """Kinds by name, in order."""

    def __init__(self, *kinds: Kind) -> None:
        self._kinds = {kind.name: kind for kind in kinds}
        if len(self._kinds) < len(kinds):
            raise PlanError("kinds of subtasks: expected different names")

    def __getitem__(self, name: str) -> Kind:
        try:
            return self._kinds[name]
        except KeyError:
            raise PlanError(
                f"no kind of subtask {name!r}; known: {', '.join(self._kinds)}"
            ) from None

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._kinds.values())

    def __len__(self) -> int:
        return len(self._kinds)

    def __contains__(self, name: object) -> bool:
        return name in self._kinds

    def extended(self, *kinds: Kind) -> Library:
        """With further kinds."""
        return Library(*self, *kinds)


LIBRARY = Library(
    Kind(name="answer", text=ANSWER),
    Kind(
        name="plan",
        text="Plan how to answer the request: what exactly is asked, how to find it step by step, and which "
        "mistakes are likely. Do not carry the plan out and do not answer.",
        gives="advice",
    ),
    Kind(
        name="carry-out",
        text="Answer the request. Follow what the earlier step advises where it holds. The answer is {form}.",
        sees="advice",
    ),
    Kind(
        name="check",
        text="Check the earlier answer as if a stranger had written it: work the request out on your own, and "
        "list what is wrong or missing in the answer. Say so if nothing is. Do not write a new answer.",
        gives="advice",
        sees="answer",
    ),
    Kind(
        name="revise",
        text="Answer the request. An earlier step has tried: keep what is right in it and correct what is "
        "wrong. The answer is {form}.",
        sees="answer",
    ),
    Kind(
        name="merge",
        text="Earlier steps have answered the request, each on its own. Compare their answers, settle where "
        "they differ by working it out, and write the best answer. The answer is {form}.",
        sees="answers",
    ),
    Kind(
        name="judge",
        text="Earlier steps have answered the request, each on its own. Find out which answer is the best one.",
        gives="choice",
        sees="answers",
    ),
)  # fmt: skip
"""The shipped kinds."""

FORMS: Mapping[str, str] = {
    "json": "JSON",
    "choice": "one of the options",
    "number": "a number",
    "text": "short",
    "code": "a program",
    "open": "what the request asks for",
}
"""Words for the kinds of answers that ``policies.answers.kind_of`` tells apart."""
