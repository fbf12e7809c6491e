"""Who takes the next turn of a request, in which role, and when it is over.

Pure: a policy is a function of what was asked and of the turns so far. The selector's decision is made only
where a policy asks for it. ``next_turn`` bounds and checks every policy, whatever it says.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from fugu_adapters.errors import ConfigError, PolicyError
from fugu_adapters.types import Decision, Message

__all__ = [
    "ROLES",
    "NextTurn",
    "Role",
    "Stop",
    "Table",
    "Turn",
    "TurnPolicy",
    "in_order",
    "nearest",
    "next_turn",
    "one_worker",
    "read_roles",
    "read_verdict",
]

Role: TypeAlias = Literal["thinker", "worker", "verifier"]
ROLES: tuple[Role, ...] = ("thinker", "worker", "verifier")

# Acceptance ends a run, so it has to stand alone; "ACCEPT or REVISE" from a prompt is neither.
_VERDICT = re.compile(r"^[ \t]*(?:(ACCEPT)[ \t\r]*(?=$|[.:,;!(\-])|(REVISE)\b)", re.MULTILINE)

_FIRST = "comes first among the workers"


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """One turn that was taken.

    Attributes:
        worker: who took it.
        role: in which role.
        text: what it wrote; ``""`` where it wrote nothing that we see.
    """

    worker: str
    role: Role
    text: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class NextTurn:
    """Who is to take the next turn.

    Attributes:
        worker: its name.
        role: one of its roles; ``None`` for ``"worker"``, or its first role where it is no worker.
        reason: one sentence for people; the selector's where left open.
    """

    worker: str
    role: Role | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stop:
    """The request is over, and why."""

    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """What a policy decides by.

    Attributes:
        messages: the request in OpenAI's shape, up to the user's last message.
        turns: those taken since, oldest first.
        since: what was written after the last turn's answer: the results of its tool calls, words of
            somebody else, or ``None`` for nothing.
        left: turns that may still be taken.
        roles: for each worker, the roles that it may take.
        decide: the selector's decision for ``messages``; made at the first call, the same afterwards.
    """

    messages: tuple[Message, ...]
    roles: Mapping[str, tuple[Role, ...]]
    decide: Callable[[], Decision]
    turns: tuple[Turn, ...] = ()
    since: Literal["tool", "other"] | None = None
    left: int = 1

    @property
    def number(self) -> int:
        """Which turn is decided, from 1."""
        return len(self.turns) + 1

    def best(self, role: Role, *, without: Iterable[str] = ()) -> str | None:
        """The worker that the selector prefers among those with a role; ``None`` where there is none."""
        allowed = {name for name, roles in self.roles.items() if role in roles} - set(without)
        if not allowed:
            return None
        able = (c.worker for c in self.decide().candidates if c.excluded_because is None)
        return next((name for name in able if name in allowed), None)


class TurnPolicy(Protocol):
    """Chooses the next turn. Pure: the same table gives the same answer."""

    def __call__(self, table: Table, /) -> NextTurn | Stop | str:
        """The next turn, a stop, or just the next worker's name."""
        ...


def next_turn(policy: TurnPolicy, table: Table) -> NextTurn | Stop:
    """Ask a policy, and check what it says. Past the last turn it is not asked.

    Raises:
        PolicyError: where it names an unknown worker, a role that the worker does not have, or returns
            something else.
    """
    if table.left < 1:
        return Stop(reason=f"all {len(table.turns)} turns are taken")
    chosen = policy(table)
    if isinstance(chosen, Stop):
        return chosen
    if isinstance(chosen, str):
        chosen = NextTurn(worker=chosen)
    if not isinstance(chosen, NextTurn):
        raise PolicyError(
            "a turn policy returns NextTurn, Stop or a worker's name, "
            f"got {type(chosen).__name__} at turn {table.number}"
        )
    roles = table.roles.get(chosen.worker)
    if roles is None:
        hint = nearest(str(chosen.worker), table.roles)
        raise PolicyError(f"the turn policy chose {chosen.worker!r}, which is no worker; {hint}")
    role = chosen.role or ("worker" if "worker" in roles else roles[0])
    if role not in roles:
        raise PolicyError(
            f"the turn policy chose {chosen.worker!r} as {role!r}; its roles: {', '.join(roles)}"
        )
    return NextTurn(worker=chosen.worker, role=role, reason=chosen.reason)


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error about an unknown name: the known one that is meant, or all of them."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    listed = f"known: {', '.join(known)}" if known else "there is none yet"
    return f"did you mean {near[0]!r}? {listed}" if near else listed


def read_roles(
    workers: Iterable[str], roles: Mapping[str, Role | Iterable[Role]] | None
) -> dict[str, tuple[Role, ...]]:
    """For each worker its roles. Whoever is not named is a worker.

    Raises:
        ConfigError: an unknown worker or role, or nobody who is a worker.
    """
    given = dict(roles or {})
    read: dict[str, tuple[Role, ...]] = {
        name: _roles_of(name, given.pop(name, "worker")) for name in workers
    }
    for name in given:
        raise ConfigError(f"roles: {name!r} is no worker; {nearest(name, read)}")
    if not any("worker" in each for each in read.values()):
        raise ConfigError("roles: nobody is a worker, so nobody could answer")
    return read


def _roles_of(name: str, given: str | Iterable[str]) -> tuple[Role, ...]:
    wanted = {given} if isinstance(given, str) else set(given)
    unknown = sorted(wanted - set(ROLES))
    if unknown or not wanted:
        what = repr(unknown[0]) if unknown else "none"
        raise ConfigError(f"roles: {name!r}: expected of {', '.join(ROLES)}, got {what}")
    return tuple(role for role in ROLES if role in wanted)


# --- policies -------------------------------------------------------------------------------------


def one_worker(table: Table) -> NextTurn | Stop:
    """The selector's choice answers, and that is all.

    A worker whose tool calls have been answered goes on; where somebody else has written after the
    answer, the choice is made anew.
    """
    if table.turns and table.since is None:
        return Stop(reason=f"{table.turns[-1].worker} has answered")
    return _goes_on(table) or _work(table)


def in_order(table: Table) -> NextTurn | Stop:
    """Thinker, worker, verifier, and again a worker where the verifier says so.

    The order is fixed; only who takes each role is learned. There is no verifier before an answer, it
    is never the answer's author, and a verdict that cannot be read is neither yes nor no: another
    verifier is asked where there is one.
    """
    staying = _goes_on(table)
    if staying is not None:
        return staying
    if not table.turns:
        thinker = _best(table, "thinker", "thinks first") if table.left > 1 else None
        return thinker or _work(table)
    last = table.turns[-1]
    if last.role == "thinker":
        return _work(table)
    if last.role == "worker":
        return _verify(table) if last.text.strip() else _answer_again(table, anybody=False)
    match read_verdict(last.text):
        case "ACCEPT":
            return Stop(reason=f"{last.worker} accepts the answer")
        case "REVISE":
            return _answer_again(table, anybody=True)
        case None:
            return _verify(table)


def read_verdict(text: str) -> Literal["ACCEPT", "REVISE"] | None:
    """A verifier's verdict: a line that begins with ACCEPT, alone or before a stop, or with REVISE.

    ``None`` where there is no such line, or one of each.
    """
    found = {accept or revise for accept, revise in _VERDICT.findall(text)}
    if found == {"ACCEPT"}:
        return "ACCEPT"
    return "REVISE" if found == {"REVISE"} else None


def _goes_on(table: Table) -> NextTurn | None:
    if table.since != "tool" or not table.turns:
        return None
    last = table.turns[-1]
    reason = f"{last.worker} goes on with the results of its tool calls."
    return NextTurn(worker=last.worker, role=last.role, reason=reason)


def _best(
    table: Table, role: Role, why: str = "", *, without: Iterable[str] = ()
) -> NextTurn | None:
    """The selector's preference among those with a role; ``why`` where it is not its first of all."""
    worker = table.best(role, without=without)
    if worker is None:
        return None
    reason = "" if worker == table.decide().worker and role == "worker" else f"{worker} {why}."
    return NextTurn(worker=worker, role=role, reason=reason)


def _work(table: Table) -> NextTurn | Stop:
    return _best(table, "worker", _FIRST) or Stop(reason="there is no worker that may be asked")


def _answer_again(table: Table, *, anybody: bool) -> NextTurn | Stop:
    """The best worker that has not answered yet; then, where ``anybody`` may, the best of all."""
    tried = {turn.worker for turn in table.turns if turn.role == "worker"}
    again = _best(table, "worker", f"{_FIRST} that have not answered", without=tried)
    if again is None and anybody:
        again = _best(table, "worker", _FIRST)
    return again or Stop(reason="there is no other worker to ask")


def _verify(table: Table) -> NextTurn | Stop:
    """A verifier for the last answer that is not its author and has not judged it yet."""
    answered = max((n for n, t in enumerate(table.turns) if t.role == "worker"), default=None)
    if answered is None:
        return _work(table)
    author, *judges = (turn.worker for turn in table.turns[answered:])
    why = f"verifies the answer of {author}"
    verifier = _best(table, "verifier", why, without={author, *judges})
    if verifier is not None:
        return verifier
    ended = "no verdict could be read" if judges else "there is nobody to verify it"
    return Stop(reason=f"{author} has answered; {ended}")
