"""Turns of a conversation: recognising them, what they are routed by, and when the worker changes."""

from __future__ import annotations

import random
import threading
from dataclasses import replace
from typing import Any

import pytest

from fugu_adapters.config import Price, RoutingConfig
from fugu_adapters.policies.continuity import (
    Sessions,
    State,
    Trail,
    Turn,
    Verdict,
    cached_price,
    decide,
    read_turn,
    trail_of,
)
from fugu_adapters.policies.follow_up import is_follow_up
from fugu_adapters.policies.selector import Choice
from fugu_adapters.types import Candidate, Message, Request

SETTINGS = RoutingConfig()
TRAIL = Trail(whole=b"w", before=b"b")
TURN = Turn(text="task", trail=TRAIL, tokens=4_000, gain=0.02)
STATE = State(worker="a", task="task", trail=b"b", tokens=3_000, at=0.0)


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def said(text: str) -> Message:
    return {"role": "assistant", "content": text}


def asks_tool(*ids: str) -> Message:
    calls = [
        {"id": i, "type": "function", "function": {"name": "f", "arguments": "{}"}} for i in ids
    ]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def tool(call: str) -> Message:
    return {"role": "tool", "tool_call_id": call, "content": "42"}


def turn_of(
    *messages: Message, state: State | None = None, now: float = 0.0, **settings: Any
) -> Turn:
    return read_turn(
        Request(messages=messages),
        state,
        RoutingConfig(**settings),
        trail=trail_of(messages),
        now=now,
    )


def choice(*ranked: tuple[str, float, float | None], shut: tuple[str, ...] = ()) -> Choice:
    """Workers with score and cost, the chosen one first, and excluded ones."""
    rows = [Candidate(worker=w, p_success=p, cost_usd=cost) for w, p, cost in ranked]
    rows += [Candidate(worker=w, excluded_because="is opted out") for w in shut]
    return Choice(candidates=tuple(rows), reason="Because.")


def judged(
    made: Choice, state: State | None = STATE, turn: Turn = TURN, **settings: Any
) -> Verdict:
    return decide(state, made, turn, 10.0, RoutingConfig(**settings))


# --- recognising a conversation ---------------------------------------------------------------


def test_a_request_is_found_by_what_the_one_before_ended_with() -> None:
    """Whatever the reply was, and with the results of a tool call in between."""
    first = [{"role": "system", "content": "s"}, user("hello")]
    assert trail_of(first).before is None
    for reply in ([said("hi"), user("more")], [asks_tool("1"), tool("1")]):
        assert trail_of([*first, *reply]).before == trail_of(first).whole
    second = [*first, said("hi"), user("more")]
    assert trail_of([*second, said("x"), user("y")]).before == trail_of(second).whole


def test_what_hosts_mark_does_not_change_a_conversation_and_what_was_said_does() -> None:
    """Cache markers and parts are not content; texts, roles, images and call ids are."""
    plain = trail_of([user("hello")])
    marked = {
        "role": "user",
        "content": [{"type": "text", "text": "hello", "cache_control": {"type": "ephemeral"}}],
    }
    assert trail_of([marked]) == plain
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    others: list[list[Message]] = [
        [user("hello ")],
        [{"role": "system", "content": "hello"}],
        [{"role": "user", "content": [{"type": "text", "text": "hello"}, image]}],
        [user("hel"), user("lo")],
        [user("hello\ud800")],
    ]
    digests = {trail_of(messages).whole for messages in others}
    assert len(digests | {plain.whole}) == len(others) + 1
    assert trail_of([tool("1")]) != trail_of([tool("2")])


def test_a_greeting_of_the_assistant_begins_no_conversation() -> None:
    """Else all conversations of a host that greets would be one."""
    assert trail_of([said("How can I help?"), user("hello")]).before is None


def test_sessions_are_bounded_and_forget() -> None:
    """The ones stored longest ago go first, and old ones are gone."""
    sessions = Sessions(3, ttl_s=100)
    for number in range(5):
        sessions.put(number, replace(STATE, at=float(number)))
    assert len(sessions) == 3
    assert sessions.get(1, now=5) is None
    sessions.put(2, replace(STATE, at=5))
    sessions.put("new", STATE)
    assert sessions.get(3, now=5) is None
    assert sessions.get(2, now=5) is not None
    assert sessions.get(4, now=104.0) is not None
    assert sessions.get(4, now=104.5) is None
    assert len(sessions) == 2
    none = Sessions(0, ttl_s=100)
    none.put(1, STATE)
    assert len(none) == 0


def test_sessions_hold_their_bound_between_threads() -> None:
    """Eight threads, far more conversations than there is room for."""
    sessions, sizes = Sessions(50, ttl_s=100), []

    def work(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(500):
            key = rng.randrange(200)
            found = sessions.get(key, now=0)
            assert found is None or found.tokens == key
            sessions.put(key, replace(STATE, tokens=key))
            sizes.append(len(sessions))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sizes) == 8 * 500
    assert max(sizes) <= 51  # one may be read between a write and its removal


# --- what a turn is routed by -----------------------------------------------------------------

TASK = "Refactor the payments module so that retries live in one place."
FOLLOW_UP_TURNS = [
    "go ahead", "commit it", "yes please", "continue", "and the second one?", "thanks, now fix it",
    "why?", "👍", "2", "show me the diff", "do the same for refunds", "mach weiter", "oui, vas-y",
    "继续", "why did you do it that way?", "",
]  # fmt: skip
NEW_TASKS = [
    "What is 2+2?", "Capital of France?", "17 * 23", "Define entropy.", "How do I cook risotto?",
    "Ok, new topic: what is the boiling point of ethanol?", "Fix the CSS of the footer on the pricing page",
    "Hauptstadt von Australien?", "日本的首都是哪里?", "see https://example.com", "a\nb", "go " * 60,
]  # fmt: skip


@pytest.mark.parametrize("text", FOLLOW_UP_TURNS)
def test_a_turn_that_brings_nothing_new_goes_on(text: str) -> None:
    """In several languages, with and without words of a list."""
    assert is_follow_up(text, TASK)


@pytest.mark.parametrize("text", NEW_TASKS)
def test_a_turn_that_stands_alone_is_a_task(text: str) -> None:
    """However short it is."""
    assert not is_follow_up(text, TASK)


def test_what_a_host_adds_is_not_what_the_user_says() -> None:
    """However long its reminders are, and wherever they stand."""
    note = f"<system-reminder>\n{'The file notes.md has changed. ' * 500}</system-reminder>"
    for text in (f"commit it\n{note}", f"{note}\ncommit it", f"{note}commit it\n{note}", note):
        assert is_follow_up(text, TASK)
    assert not is_follow_up(f"{note}\nCapital of France?", TASK)
    talk = [user(TASK), said("Done."), user(f"commit it\n{note}")]
    assert turn_of(*talk).text == TASK
    assert turn_of(*talk, state=replace(STATE, task=TASK)).text == TASK


def test_words_of_the_task_are_not_new() -> None:
    """The same words are content after another task."""
    text = "also the refunds retries of payments module"
    assert is_follow_up(text, TASK)
    assert not is_follow_up(text, "What is the capital of France?")


def test_any_text_can_be_judged() -> None:
    """No characters raise an error."""
    rng = random.Random(0)
    for _ in range(500):
        text = "".join(chr(rng.choice((rng.randrange(32, 0xD800), 32))) for _ in range(20))
        assert is_follow_up(text, text[::-1]) in (True, False)


def test_follow_ups_inherit_the_task_they_belong_to() -> None:
    """Through several of them; a new task ends it; the setting turns it off."""
    talk = [user(TASK), said("Done."), user("go ahead"), said("Committed."), user("and push it")]
    assert turn_of(*talk) == turn_of(*talk, follow_ups=True)
    assert (turn_of(*talk).text, turn_of(*talk).follow_up) == (TASK, True)
    fresh = turn_of(*talk, said("ok"), user("Capital of France?"))
    assert (fresh.text, fresh.follow_up) == ("Capital of France?", False)
    assert turn_of(*talk, follow_ups=False).text == "and push it"


def test_without_history_the_task_comes_from_the_state() -> None:
    """A host that keeps the history to itself names its session."""
    state = replace(STATE, task=TASK)
    assert turn_of(user("go ahead"), state=state).text == TASK
    assert turn_of(user("Capital of France?"), state=state).text == "Capital of France?"


def test_a_first_turn_is_its_own_task() -> None:
    """However short."""
    assert turn_of(user("go ahead")).text == "go ahead"
    assert not turn_of(user("go ahead")).follow_up
    assert turn_of({"role": "system", "content": "only this"}).text == "only this"


TOOL_TURNS: list[tuple[list[Message], bool]] = [
    ([user("x"), asks_tool("1"), tool("1")], True),
    ([user("x"), asks_tool("1", "2"), tool("1"), tool("2")], True),
    ([user("x"), asks_tool("1"), tool("1"), {"role": "system", "content": "note"}], True),
    ([tool("1")], True),
    ([user("x"), asks_tool("1"), tool("1"), user("stop, do y instead")], False),
    ([user("x"), asks_tool("1"), tool("1"), said("done"), user("thanks")], False),
    ([user("x")], False),
]


@pytest.mark.parametrize(("messages", "answers"), TOOL_TURNS)
def test_results_of_tool_calls_are_recognised(messages: list[Message], answers: bool) -> None:
    """They are a turn of their own kind until the user speaks."""
    assert turn_of(*messages).answers_calls is answers


# --- what the history costs -------------------------------------------------------------------


def test_only_a_recent_and_long_enough_prefix_is_cached() -> None:
    """Of this very conversation, and never more than the prompt."""
    talk = [user("word " * 3_000), said("ok"), user("more")]
    state = replace(STATE, trail=trail_of(talk[:1]).whole)
    assert turn_of(*talk).cached == 0
    assert turn_of(*talk, state=state, now=300).cached == 3_000
    assert turn_of(*talk, state=state, now=301).cached == 0
    assert turn_of(*talk, state=state, cache_ttl_s=0, now=1).cached == 0
    assert turn_of(*talk, state=STATE).cached == 0
    assert turn_of(*talk, state=replace(state, tokens=1_000)).cached == 0
    all_of_it = turn_of(*talk, state=replace(state, tokens=100_000))
    assert all_of_it.cached == all_of_it.tokens
    assert turn_of(*talk[:1], state=state).cached == 3_000  # asked again


def test_a_cached_prompt_costs_what_the_price_list_says() -> None:
    """With and without long-context tiers; no cached price means no benefit."""
    rng = random.Random(1)
    for _ in range(200):
        tiers: dict[str, Any] = {}
        if rng.random() < 0.5:
            tiers = {"long_context_above": 5_000, "long_input": 4 * rng.random()}
        price = Price(input=rng.random(), output=3, cached_input=rng.random() / 9, **tiers)
        tokens = rng.randrange(1, 10_000)
        cached = rng.randrange(0, tokens + 1)
        mixed = cached_price(price, replace(TURN, tokens=tokens, cached=cached))
        assert mixed is not None
        assert mixed.cost(tokens, 100) == pytest.approx(price.cost(tokens, 100, cached))
    plain = Price(input=1, output=2)
    half = replace(TURN, tokens=100, cached=50)
    assert cached_price(plain, half) == plain
    assert cached_price(None, half) is None


# --- who answers ------------------------------------------------------------------------------


def test_a_small_gain_keeps_the_worker_and_a_large_one_does_not() -> None:
    """The reason names both and the difference."""
    near = judged(choice(("b", 0.91, 0.02), ("a", 0.90, 0.01)))
    assert [c.worker for c in near.choice.candidates] == ["a", "b"]
    assert near.continuity == "kept"
    assert "b would be 1 point better" in near.choice.reason
    far = judged(choice(("b", 0.93, 0.02), ("a", 0.90, 0.01)))
    assert (far.choice.candidates[0].worker, far.continuity) == ("b", "switched")
    assert far.choice.reason == "Takes over from a. Because."


def test_a_cheaper_worker_takes_over_where_it_is_cheaper_with_the_history() -> None:
    """Costs hold the cached history; an unknown cost is no saving."""
    assert judged(choice(("b", 0.90, 0.010), ("a", 0.90, 0.011))).continuity == "switched"
    assert judged(choice(("b", 0.90, 0.012), ("a", 0.90, 0.011))).continuity == "kept"
    assert judged(choice(("b", 0.90, None), ("a", 0.90, 0.011))).continuity == "kept"


def test_the_same_pick_keeps_the_selectors_reason() -> None:
    """A follow-up says so; nothing known is a new conversation, or none at all."""
    same = choice(("a", 0.9, 0.01), ("b", 0.8, 0.01))
    assert judged(same).choice == same
    warm = judged(same, turn=replace(TURN, cached=3_000))
    assert warm.choice.reason == "Because. It has 3,000 of 4,000 prompt tokens cached."
    follow = judged(same, turn=replace(TURN, follow_up=True))
    assert follow.continuity == "follow-up"
    assert follow.choice.reason == "Goes on with the task before. Because."
    assert judged(same, state=None).continuity == "new"
    assert judged(same, state=None, turn=replace(TURN, follow_up=True)).continuity == "follow-up"
    assert judged(same, state=None, turn=replace(TURN, known=False)).continuity is None


def test_without_stickiness_tool_calls_still_stay() -> None:
    """A history with another worker's open calls is refused by some endpoints."""
    made = choice(("b", 0.91, 0.02), ("a", 0.90, 0.01))
    assert judged(made, sticky=False).continuity == "switched"
    kept = judged(made, turn=replace(TURN, answers_calls=True), sticky=False)
    assert (kept.choice.candidates[0].worker, kept.continuity) == ("a", "tool-turn")


def test_a_worker_that_cannot_go_on_is_named() -> None:
    """Excluded, or no longer in the pool."""
    out = judged(choice(("b", 0.9, 0.01), shut=("a",)))
    assert out.continuity == "switched"
    assert out.choice.reason == "a, who answered before, is opted out. Because."
    gone = judged(choice(("b", 0.9, 0.01)))
    assert "a, who answered before, is no longer in the pool" in gone.choice.reason


def _any_case(rng: random.Random) -> tuple[State, Choice, Turn]:
    names = rng.sample("abcdef", rng.randrange(1, 7))
    opened = rng.randrange(1, len(names) + 1)
    rows = [(name, rng.random(), rng.choice((None, rng.random() / 50))) for name in names[:opened]]
    rows[1:] = sorted(rows[1:], key=lambda row: -row[1])
    turn = replace(TURN, answers_calls=rng.random() < 0.3, follow_up=rng.random() < 0.3)
    turn = replace(turn, gain=rng.random() / 5)
    state = replace(STATE, worker=rng.choice("abcdefg"))
    return state, choice(*rows, shut=tuple(names[opened:])), turn


def test_what_holds_of_every_decision() -> None:
    """Nobody excluded is kept, nobody is lost, tool turns stay, and switches have one of three causes."""
    for seed in range(3_000):
        rng = random.Random(seed)
        state, made, turn = _any_case(rng)
        settings = RoutingConfig(sticky=rng.random() < 0.8)
        got = decide(state, made, turn, 10.0, settings)
        assert got == decide(state, made, turn, 10.0, settings)
        first, picked = got.choice.candidates[0], made.candidates[0]
        assert first.excluded_because is None
        assert sorted(got.choice.candidates, key=repr) == sorted(made.candidates, key=repr)
        shut = [c.excluded_because is not None for c in got.choice.candidates]
        assert shut == sorted(shut)
        assert got.state == State(
            worker=first.worker, task=turn.text, trail=b"w", tokens=4_000, at=10.0
        )
        last = next((c for c in made.candidates if c.worker == state.worker), None)
        eligible = last is not None and last.excluded_because is None
        if first.worker == state.worker or last is None or not eligible:
            assert eligible or got.continuity == "switched"
            continue
        assert not turn.answers_calls
        assert first == picked
        gain = (picked.p_success or 0) - (last.p_success or 0)
        costs = (picked.cost_usd, last.cost_usd)
        cheaper = None not in costs and costs[0] < costs[1]  # type: ignore[operator]
        assert gain > turn.gain or cheaper or not settings.sticky
