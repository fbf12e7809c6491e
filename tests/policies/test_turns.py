"""Who takes the next turn, in which role, and when it is over."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, cast

import pytest

from fugu_adapters.errors import ConfigError, PolicyError
from fugu_adapters.policies.turns import (
    ROLES,
    NextTurn,
    Role,
    Stop,
    Table,
    Turn,
    in_order,
    next_turn,
    one_worker,
    read_roles,
    read_verdict,
)
from fugu_adapters.types import Candidate, Decision

ASKED = ({"role": "user", "content": "What is 6 * 7?"},)


def table(
    roles: Mapping[str, tuple[Role, ...]],
    *turns: tuple[str, Role, str],
    excluded: str = "",
    left: int = 5,
    **facts: Any,
) -> Table:
    """A table whose selector prefers the workers in the order that they are listed in."""
    candidates = [
        Candidate(worker=name, excluded_because="is out" if name == excluded else None)
        for name in roles
    ]
    candidates.sort(key=lambda c: c.excluded_because is not None)
    decision = Decision(
        worker=candidates[0].worker, candidates=tuple(candidates), reason="", policy="test"
    )
    return Table(
        messages=ASKED,
        roles=roles,
        decide=lambda: decision,
        turns=tuple(Turn(worker=w, role=r, text=t) for w, r, t in turns),
        left=left,
        **facts,
    )


def who(chosen: NextTurn | Stop) -> tuple[str, str | None]:
    return ("", chosen.reason) if isinstance(chosen, Stop) else (chosen.worker, chosen.role)


PAIR: dict[str, tuple[Role, ...]] = {"a": ("worker",), "b": ("worker",)}
TEAM: dict[str, tuple[Role, ...]] = {
    "a": ("worker",),
    "b": ("worker", "verifier"),
    "plan": ("thinker",),
    "check": ("verifier",),
}


def test_one_worker_answers_and_that_is_all() -> None:
    """The selector's choice takes the only turn, and an opted-out worker is never chosen."""
    assert who(one_worker(table(PAIR))) == ("a", "worker")
    assert who(one_worker(table(PAIR, excluded="a"))) == ("b", "worker")
    assert one_worker(table(PAIR, ("b", "worker", "42"))) == Stop(reason="b has answered")
    assert isinstance(one_worker(table({"a": ("worker",)}, excluded="a")), Stop)


def test_results_of_tool_calls_go_back_to_their_worker() -> None:
    """Whoever made the calls goes on, in its role, even where the selector prefers another."""
    for policy in (one_worker, in_order):
        chosen = policy(table(TEAM, ("b", "verifier", ""), since="tool"))
        assert who(chosen) == ("b", "verifier")
        assert isinstance(chosen, NextTurn)
        assert "tool calls" in chosen.reason


def test_words_of_somebody_else_call_for_a_new_choice() -> None:
    """The answer does not cover what another node has written since."""
    assert who(one_worker(table(PAIR, ("b", "worker", "42"), since="other"))) == ("a", "worker")


def test_roles_take_turns_in_order() -> None:
    """Thinker once, worker, a verifier that is not the author; its acceptance ends the request."""
    assert who(in_order(table(TEAM))) == ("plan", "thinker")
    thought: tuple[str, Role, str] = ("plan", "thinker", "Multiply.")
    assert who(in_order(table(TEAM, thought))) == ("a", "worker")
    answered: tuple[str, Role, str] = ("a", "worker", "42")
    assert who(in_order(table(TEAM, thought, answered))) == ("b", "verifier")
    done = in_order(table(TEAM, thought, answered, ("b", "verifier", "ACCEPT: it is 42")))
    assert done == Stop(reason="b accepts the answer")


def test_an_author_does_not_verify_itself() -> None:
    """A node with both roles is passed over for its own answer; alone, nobody verifies."""
    assert who(in_order(table(TEAM, ("b", "worker", "42")))) == ("check", "verifier")
    alone = in_order(table({"b": ("worker", "verifier")}, ("b", "worker", "42")))
    assert who(alone) == ("", "b has answered; there is nobody to verify it")


def test_a_revision_goes_to_somebody_else_first() -> None:
    """The best worker that has not answered; when all have, the best of all."""
    first: list[tuple[str, Role, str]] = [
        ("a", "worker", "41"),
        ("check", "verifier", "REVISE: +1"),
    ]
    again = in_order(table(TEAM, *first))
    assert who(again) == ("b", "worker")
    assert isinstance(again, NextTurn)
    assert "not answered" in again.reason
    second: list[tuple[str, Role, str]] = [("b", "worker", "43"), ("check", "verifier", "REVISE")]
    assert who(in_order(table(TEAM, *first, *second))) == ("a", "worker")


def test_an_unreadable_verdict_is_neither_yes_nor_no() -> None:
    """Another verifier is asked; with none left, the request ends and says so."""
    unread: list[tuple[str, Role, str]] = [("a", "worker", "42"), ("b", "verifier", "I like it.")]
    assert who(in_order(table(TEAM, *unread))) == ("check", "verifier")
    ended = in_order(table(TEAM, *unread, ("check", "verifier", "")))
    assert who(ended) == ("", "a has answered; no verdict could be read")


def test_no_verifier_before_an_answer() -> None:
    """A worker that wrote nothing is followed by another worker, not by a verifier of nothing."""
    assert who(in_order(table(TEAM, ("a", "worker", " ")))) == ("b", "worker")
    nobody = in_order(table(TEAM, ("a", "worker", ""), ("b", "worker", "")))
    assert who(nobody) == ("", "there is no other worker to ask")
    assert who(in_order(table(TEAM, ("check", "verifier", "well")))) == ("a", "worker")


def test_no_thinker_where_only_one_turn_is_left() -> None:
    """Thinking alone answers nothing."""
    assert who(in_order(table(TEAM, left=1))) == ("a", "worker")


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("ACCEPT", "ACCEPT"),
        ("The sum is right.\nACCEPT.\r\n", "ACCEPT"),
        ("  ACCEPT: all steps hold", "ACCEPT"),
        ("REVISE the second step", "REVISE"),
        ("Hm.\nREVISE: 6 * 7 is 42", "REVISE"),
        ("ACCEPT or REVISE", None),
        ("ACCEPTABLE", None),
        ("I would not ACCEPT this", None),
        ("accept", None),
        ("ACCEPT\nREVISE", None),
        ("REVISED", None),
        ("", None),
    ],
)
def test_verdicts_are_read_strictly(text: str, verdict: str | None) -> None:
    """A line of its own begins with the word; anything else, or both, is unknown."""
    assert read_verdict(text) == verdict


def test_a_policy_may_just_name_a_worker() -> None:
    """The role is then ``worker``, or the first that it has."""
    assert who(next_turn(lambda _: "b", table(TEAM))) == ("b", "worker")
    assert who(next_turn(lambda _: "plan", table(TEAM))) == ("plan", "thinker")
    assert who(next_turn(lambda _: Stop(reason="enough"), table(TEAM))) == ("", "enough")


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ("chek", "'chek', which is no worker; did you mean 'check'"),
        ("zzz", "known: a, b, check, plan"),
        (NextTurn(worker="a", role="verifier"), "'a' as 'verifier'; its roles: worker"),
        (None, "got NoneType at turn 1"),
        (NextTurn(worker=cast("str", None)), "None, which is no worker"),
        (("a", "worker"), "got tuple"),
    ],
)
def test_an_unusable_choice_is_an_error(chosen: Any, message: str) -> None:
    """It names what was chosen and what is known, instead of ending or guessing."""
    with pytest.raises(PolicyError, match=message):
        next_turn(lambda _: cast("str", chosen), table(TEAM))


def test_past_the_last_turn_no_policy_is_asked() -> None:
    """The bound does not depend on the policy."""

    def never(_: Table) -> str:
        raise AssertionError("it was asked")

    bounded = next_turn(never, table(PAIR, ("a", "worker", "x"), left=0))
    assert bounded == Stop(reason="all 1 turns are taken")


def test_roles_are_read_and_checked() -> None:
    """Unnamed nodes work; unknown nodes and roles, and a team without a worker, are errors."""
    read = read_roles(["a", "b", "c"], {"b": "verifier", "c": ["worker", "thinker"]})
    assert read == {"a": ("worker",), "b": ("verifier",), "c": ("thinker", "worker")}
    with pytest.raises(ConfigError, match="'codr' is no worker; did you mean 'coder'"):
        read_roles(["coder"], {"codr": "verifier"})
    with pytest.raises(ConfigError, match="got 'judge'"):
        read_roles(["a"], {"a": cast("Role", "judge")})
    with pytest.raises(ConfigError, match="got none"):
        read_roles(["a"], {"a": []})
    with pytest.raises(ConfigError, match="nobody is a worker"):
        read_roles(["a"], {"a": "thinker"})


def test_the_order_of_roles_always_holds() -> None:
    """Over random teams and replies: one thinker at most, no verdict before an answer or on one's own."""
    rng = random.Random(7)
    replies = ("ACCEPT", "REVISE", "42", "", "ACCEPT or REVISE")
    for _ in range(400):
        names = [f"w{n}" for n in range(rng.randint(1, 5))]
        picked = {name: rng.sample(ROLES, rng.randint(1, 3)) for name in names}
        picked[names[0]].append("worker")
        roles, turns = read_roles(names, picked), list[tuple[str, Role, str]]()
        for left in range(8, 0, -1):
            chosen = next_turn(in_order, table(roles, *turns, left=left))
            if isinstance(chosen, Stop):
                break
            assert chosen.role is not None
            before = [turn for turn in turns if turn[1] == "worker"]
            if chosen.role == "thinker":
                assert turns == []
            if chosen.role == "verifier":
                assert before[-1][2].strip()
                assert before[-1][0] != chosen.worker
            turns.append((chosen.worker, chosen.role, rng.choice(replies)))
            assert turns[:-1] == [] or turns[-2][2] != "ACCEPT" or turns[-2][1] != "verifier"
