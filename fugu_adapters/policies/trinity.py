"""Which worker takes the next turn of a request in which role, and when it is over: ``fugu-trinity``.

Pure: the same scene gives the same answer. The selector chooses who answers first. Answers that can be
compared are verified by independent solutions: the coordinator's vote says which one leads, how probably it is
right, and whether another worker is asked. Answers that cannot be compared (programs, long texts) are read
by a verifier, where their author is doubted and somebody as able is at hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from fugu_adapters.policies.answers import Answers, read_answers, without_thoughts
from fugu_adapters.policies.coordinator import Coordinator
from fugu_adapters.policies.programs import Behaviour
from fugu_adapters.policies.turns import Role, read_verdict
from fugu_adapters.types import Effort

__all__ = [
    "TURNS",
    "Ask",
    "Done",
    "Scene",
    "Taken",
    "Why",
    "is_only_turn",
    "next_turn",
    "verdict_of",
]

TURNS: Mapping[Effort, int] = {"low": 2, "medium": 3, "high": 4, "xhigh": 5}
"""Turns of one request at most, by effort."""

Why: TypeAlias = Literal[
    "accepted", "agreed", "settled", "turns", "money", "time", "tools", "nobody"
]

# An answer that cannot be compared is read by a verifier where its author's forecast is below this.
_DOUBT: Mapping[Effort, float] = {"low": 0.0, "medium": 0.6, "high": 0.85, "xhigh": 1.0}
_THINKS: Mapping[Effort, float] = {"low": 0.0, "medium": 0.0, "high": 0.5, "xhigh": 0.7}
_PEER = 0.15  # how much lower a verifier's or thinker's own forecast may be than the author's


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """A turn that was taken.

    Attributes:
        worker: who took it, or was to where nobody could.
        role: in which role.
        text: what it wrote; ``""`` for a turn that failed or gave nothing.
        whole: whether the text is complete; what was cut off is not compared.
        about: the turn whose answer was judged or improved.
        failed: who else was asked for it and failed.
        seconds: what it took.
        tried: whether the program that it wrote was run to its end, so that programs can be compared.
        did: what that program did; ``None`` where it is none, or does what the question rules out.
    """

    worker: str
    role: Role
    text: str = ""
    whole: bool = True
    about: int | None = None
    failed: tuple[str, ...] = ()
    seconds: float = 0.0
    tried: bool = False
    did: Behaviour | None = None

    @property
    def asked(self) -> set[str]:
        """Everybody who was asked for it."""
        return {self.worker, *self.failed}


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """What a turn is decided by.

    Attributes:
        question: what was asked, as far as answers are compared by it.
        first: the selector's choice.
        forecast: expected score of each worker that may be asked, best first.
        cost: expected dollars of a call to each; ``None`` where unknown.
        taken: the turns so far.
        effort: bounds the turns, and how sure is sure enough.
        calls: calls that the limits leave.
        usd: dollars that they leave; ``None`` for no cap.
        seconds: seconds that they leave.
        wants_json: whether the caller asked for JSON.
        tools: whether the request has tools; then nobody solves it a second time, as that would call
            them again.
        resumes: whether the results of the first worker's tool calls have come back.
    """

    question: str
    first: str
    forecast: Mapping[str, float]
    cost: Mapping[str, float | None]
    taken: tuple[Taken, ...] = ()
    effort: Effort = "medium"
    calls: int = 8
    usd: float | None = None
    seconds: float = 300.0
    wants_json: bool = False
    tools: bool = False
    resumes: bool = False

    @property
    def left(self) -> int:
        """Turns that may still be taken."""
        return min(TURNS[self.effort] - len(self.taken), self.calls)

    @property
    def answers(self) -> tuple[int, ...]:
        """Turns of workers that wrote something."""
        return tuple(
            n for n, turn in enumerate(self.taken) if turn.role == "worker" and turn.text.strip()
        )

    @property
    def affordable(self) -> tuple[str, ...]:
        """Who may be asked for what is left, best first."""
        return tuple(
            name
            for name in self.forecast
            if self.usd is None
            or ((dollars := self.cost.get(name)) is not None and dollars <= self.usd)
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """The next turn.

    Attributes:
        worker: who takes it.
        role: in which role.
        reason: one sentence for people.
        about: the turn whose answer is judged or improved.
        sees: turns whose texts a worker is shown; none for an independent solution.
        instead: who may take it where the worker fails, best first.
    """

    worker: str
    role: Role
    reason: str
    about: int | None = None
    sees: tuple[int, ...] = ()
    instead: tuple[str, ...] = ()

    @property
    def shown(self) -> tuple[int, ...]:
        """The turns whose texts its request quotes."""
        return self.sees if self.sees or self.about is None else (self.about,)


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """The request is over.

    Attributes:
        answer: the turn whose text is the answer; ``None`` where there is none.
        why: in a word.
        reason: in a sentence.
        trust: probability that the answer is right, where answers were compared.
    """

    answer: int | None
    why: Why
    reason: str
    trust: float | None = None


def verdict_of(text: str, answer: str) -> Literal["ACCEPT", "REVISE"] | None:
    """A verifier's verdict: the first line's, with no other line to the contrary.

    ``None`` also for a reply that only repeats the answer, which may begin with a verdict of its own.
    """
    said, judged = without_thoughts(text).strip(), answer.strip()
    if not said or (judged and (said.startswith(judged) or judged.startswith(said))):
        return None
    verdict = read_verdict(said)
    return verdict if read_verdict(said.splitlines()[0]) == verdict else None


def is_only_turn(coordinator: Coordinator, scene: Scene) -> bool:
    """Whether the first answer ends the request, so that it can be passed on while it is written."""
    if scene.taken:
        return False
    ask = next_turn(coordinator, scene)
    if isinstance(ask, Done) or ask.role != "worker":
        return False
    if scene.left == 1 or set(scene.affordable) <= {ask.worker}:
        return True
    given = Taken(worker=ask.worker, role="worker", text="-")
    later = replace(scene, calls=scene.calls - 1, taken=(given,))
    # One that can be compared, and one that cannot: its question alone does not tell which it will be.
    either = (Answers(kind="number", keys=(0,)), Answers(kind="code", keys=(None,)))
    return all(isinstance(_after(coordinator, later, answers), Done) for answers in either)


def next_turn(coordinator: Coordinator, scene: Scene) -> Ask | Done:
    """The next turn, or why there is none.

    Args:
        coordinator: weighs answers that can be compared.
        scene: what is known.
    """
    if not scene.answers:
        return _begin(scene)
    given = [scene.taken[n] for n in scene.answers]
    texts = [turn.text if turn.whole else "" for turn in given]
    ran = [turn.did for turn in given] if all(turn.tried for turn in given) else []
    answers = read_answers(scene.question, texts, wants_json=scene.wants_json, ran=ran)
    return _after(coordinator, scene, answers)


# --- before an answer -----------------------------------------------------------------------------


def _begin(scene: Scene) -> Ask | Done:
    failed = _asked(scene, "worker")
    free = [name for name in scene.affordable if name not in failed]
    if failed and (
        scene.left < 1 or not free
    ):  # without any worker's turn, the limits themselves speak
        why: Why = "turns" if scene.left < 1 else "nobody"
        return Done(answer=None, why=why, reason=f"{len(scene.taken)} turns gave no answer")
    worker = scene.first if scene.first not in failed else free[0]
    thinker = None if scene.taken else _thinker(scene, worker)
    if thinker is not None:
        return thinker
    thought = tuple(n for n, t in enumerate(scene.taken) if t.role == "thinker" and t.text.strip())
    reason = "is the selector's choice" if worker == scene.first else "is the next best"
    others = [name for name in scene.forecast if name not in failed]
    return _ask(scene, worker, "worker", f"{worker} {reason}", others, sees=thought)


def _thinker(scene: Scene, worker: str) -> Ask | None:
    """Somebody else as able who plans first, where the task is hard and there is room for it."""
    p = scene.forecast.get(worker, 0.0)
    if scene.resumes or scene.tools or scene.left < 3 or p >= _THINKS[scene.effort]:
        return None
    able = [n for n in _peers(scene, p) if n != worker]
    if not able:
        return None
    return _ask(scene, able[0], "thinker", f"{worker} is right in {p:.0%} of such tasks", able)


def _peers(scene: Scene, p: float) -> list[str]:
    return [name for name in scene.affordable if scene.forecast[name] >= p - _PEER]


# --- after an answer ------------------------------------------------------------------------------


def _after(coordinator: Coordinator, scene: Scene, answers: Answers) -> Ask | Done:
    if answers.comparable and not scene.tools and not _verdicts(scene):
        return _compare(coordinator, scene, answers)
    return _judge(scene)


def _compare(coordinator: Coordinator, scene: Scene, answers: Answers) -> Ask | Done:
    """Independent solutions until the coordinator has enough. A reply without an answer is no opinion."""
    names = list(scene.forecast)
    tried = _asked(scene, "worker")
    free = [name for name in scene.affordable if name not in tried]
    by = {
        scene.taken[n].worker: (n, key)
        for n, key in zip(scene.answers, answers.keys, strict=True)
        if key is not None
    }
    if not by:
        return _bound(scene, _ablest(scene), None) or _solve_again(scene, free)
    dearest = max((cost for cost in scene.cost.values() if cost is not None), default=0.0)
    standing = coordinator.decide(
        [scene.forecast[name] for name in names],
        [dearest if (cost := scene.cost.get(name)) is None else cost for name in names],
        {names.index(name): key for name, (_, key) in by.items()},
        [name in free for name in names],
    )
    leader, key = by[names[standing.lead or 0]]
    if standing.ask is not None:
        wanted = names[standing.ask]
        doubt = f", as {scene.taken[leader].worker} is right with {standing.trust:.0%}"
        again = _solve_again(scene, [wanted, *free], doubt)
        return _bound(scene, leader, standing.trust) or again
    backers = sum(other == key for _, other in by.values())
    return _settled(scene, leader, standing.trust, backers, len(by))


def _solve_again(scene: Scene, free: Sequence[str], doubt: str = "") -> Ask | Done:
    if not free:
        reason = "nobody else is left, and no answer was found in the replies"
        return Done(answer=_ablest(scene), why="nobody", reason=reason)
    return _ask(scene, free[0], "worker", f"{free[0]} solves it on its own{doubt}", free)


def _ablest(scene: Scene) -> int:
    """The answer of the worker with the best forecast, where nothing else speaks for any."""
    return max(scene.answers, key=lambda n: scene.forecast.get(scene.taken[n].worker, 0.0))


def _settled(scene: Scene, leader: int, trust: float, backers: int, asked: int) -> Done:
    author = scene.taken[leader].worker
    why: Why = "settled"
    if backers > 1:
        why, reason = "agreed", f"{backers} of {asked} give the answer of {author} on their own"
    elif set(scene.forecast) - set(scene.affordable) - _asked(scene, "worker"):
        why, reason = "money", "what is left of the dollar cap pays for no other worker"
    else:
        reason = f"no further opinion on the answer of {author} is worth its price"
    return Done(answer=leader, why=why, reason=reason, trust=trust)


def _judge(scene: Scene) -> Ask | Done:
    """Verifiers read the last answer; whoever is sent back improves it."""
    last = scene.answers[-1]
    author = scene.taken[last].worker
    judged = [t for t in scene.taken if t.role == "verifier" and t.about == last]
    said = [verdict_of(turn.text, scene.taken[last].text) for turn in judged]
    if said and said[-1] == "ACCEPT":
        reason = f"{judged[-1].worker} accepts the answer of {author}"
        return Done(answer=last, why="accepted", reason=reason)
    if not _doubted(scene, last, said):
        reason = f"no verdict on the answer of {author} is worth its price"
        return Done(answer=last, why="settled", reason=reason)
    bound = _bound(scene, last, None)
    if bound is not None:
        return bound
    if said and said[-1] == "REVISE":
        return _revise(scene, last)
    seen = {author}.union(*(turn.asked for turn in judged))
    able = [n for n in _peers(scene, scene.forecast.get(author, 0.0)) if n not in seen]
    if not able:
        ended = "no verdict could be read" if judged else "nobody as able is left to verify it"
        return Done(answer=last, why="nobody", reason=f"{author} has answered; {ended}")
    return _ask(
        scene, able[0], "verifier", f"{able[0]} reads the answer of {author}", able, about=last
    )


def _doubted(scene: Scene, last: int, said: Sequence[str | None]) -> bool:
    """Whether an answer is worth a verdict: once it was doubted, its improvement is, too."""
    if said or _verdicts(scene):
        return True
    return scene.forecast.get(scene.taken[last].worker, 0.0) < _DOUBT[scene.effort]


def _revise(scene: Scene, last: int) -> Ask:
    """The best worker that has not answered yet, if as able as the author, and else the author."""
    author = scene.taken[last].worker
    asked = _asked(scene, "worker")
    fresh = [
        name
        for name in _peers(scene, scene.forecast.get(author, 0.0))
        if name not in asked and not scene.tools  # calls and their results belong to their author
    ]
    worker = fresh[0] if fresh else author
    verdict = max(n for n, turn in enumerate(scene.taken) if turn.role == "verifier")
    reason = f"{worker} improves the answer of {author}"
    return _ask(
        scene, worker, "worker", reason, [*fresh, author], about=last, sees=(last, verdict)
    )  # fmt: skip


def _asked(scene: Scene, role: Role) -> set[str]:
    return set().union(*(turn.asked for turn in scene.taken if turn.role == role))


def _verdicts(scene: Scene) -> bool:
    return any(turn.role == "verifier" for turn in scene.taken)


def _bound(scene: Scene, answer: int, trust: float | None) -> Done | None:
    """The bound that forbids another turn, if one does."""
    slowest = max((turn.seconds for turn in scene.taken), default=0.0)
    why: Why
    if scene.left < 1:
        why, reason = "turns", f"all {len(scene.taken)} turns are taken"
        if scene.calls < 1:
            reason = "the limit of calls is reached"
    elif scene.seconds <= slowest:
        why, reason = "time", f"{max(0.0, scene.seconds):.1f} s are left, too few for another turn"
    elif not scene.affordable:
        why, reason = "money", "what is left of the dollar cap pays for no other turn"
    else:
        return None
    return Done(answer=answer, why=why, reason=reason, trust=trust)


def _ask(
    scene: Scene,
    worker: str,
    role: Role,
    reason: str,
    order: Sequence[str],
    *,
    about: int | None = None,
    sees: tuple[int, ...] = (),
) -> Ask:
    instead = tuple(dict.fromkeys(name for name in order if name != worker))
    return Ask(
        worker=worker, role=role, reason=f"{reason}.", about=about, sees=sees, instead=instead
    )
