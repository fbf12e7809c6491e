"""The coordinator's rule: whom it asks, when it stops, whose answer it takes; and its file."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recorded_answers import made_up

from fugu_adapters.errors import InputError, WeightsError
from fugu_adapters.learn.replay import play
from fugu_adapters.policies.coordinator import (
    Coordinator,
    Trust,
    load_coordinators,
    save_coordinators,
)

EVEN = [0.7, 0.7, 0.7, 0.7]
COST = [1.0, 1.0, 1.0, 1.0]


def test_the_most_promising_is_asked_first() -> None:
    """By the forecast, and of equals the cheaper; thrift trades one for the other."""
    plain = Coordinator(thrift=0.0)
    assert plain.decide([0.5, 0.9, 0.8], [1, 1, 1], {}).ask == 1
    assert plain.decide([0.9, 0.9, 0.8], [4, 1, 1], {}).ask == 0
    thrifty = Coordinator(thrift=0.03)
    assert thrifty.decide([0.9, 0.9, 0.8], [4, 1, 1], {}).ask == 1
    assert thrifty.decide([0.9, 0.8], [4, 1], {}).ask == 0  # two halvings buy 6 points, not 10
    assert thrifty.decide([0.9, 0.85], [4, 1], {}).ask == 1


def test_free_workers_are_not_infinitely_cheap() -> None:
    """A price of nothing counts as a thousandth of the dearest, so that quality can still win."""
    ranks = Coordinator(thrift=0.01).rank(np.array([0.9, 0.7]), np.array([1.0, 0.0]))
    assert ranks[0] > ranks[1]
    alone = Coordinator(thrift=0.01).rank(np.array([0.9, 0.7]), np.zeros(2))
    assert np.isfinite(alone).all()


def test_it_stops_when_the_lead_cannot_be_caught() -> None:
    """Two of three that agree cannot be outvoted by the third; two that differ can."""
    rule = Coordinator(cap=3, enough=99.0)
    assert rule.decide(EVEN, COST, {0: "x"}).ask == 1
    assert rule.decide(EVEN, COST, {0: "x", 1: "x"}).ask is None
    assert rule.decide(EVEN, COST, {0: "x", 1: "y"}).ask == 2
    assert rule.decide(EVEN, COST, {0: "x", 1: "y", 2: "z"}).ask is None


def test_it_stops_when_the_lead_is_enough() -> None:
    """One answer of a worker that is nearly sure is enough where little is wanted."""
    sure = [0.95, 0.7, 0.7, 0.7]
    lead = math.log(0.95 / 0.05) + 0.5
    assert Coordinator(enough=lead - 0.01).decide(sure, COST, {0: "x"}).ask is None
    assert Coordinator(enough=lead + 0.01).decide(sure, COST, {0: "x"}).ask == 1


def test_a_lighter_second_opinion_is_not_asked_for_alone() -> None:
    """Where only one more may be asked and could not outweigh the first, asking would change nothing."""
    rule = Coordinator(cap=2, enough=99.0)
    assert rule.decide([0.8, 0.7], [1, 1], {0: "x"}).ask is None
    assert rule.decide([0.8, 0.8], [1, 1], {0: "x"}).ask == 1


def test_weak_workers_are_not_asked_to_outvote_a_strong_one() -> None:
    """Those that are wrong more often than right weigh next to nothing, so they are not asked."""
    assert Coordinator(enough=99.0).decide([0.95, 0.2, 0.2, 0.2], COST, {0: "x"}).ask is None


def test_the_heavier_side_wins() -> None:
    """A strong worker outweighs two weak ones that agree, and two middling ones outweigh it."""
    rule = Coordinator(cap=3, enough=99.0)
    weak = rule.decide([0.95, 0.5, 0.5], [1, 1, 1], {0: "x", 1: "y", 2: "y"})
    middling = rule.decide([0.85, 0.8, 0.8], [1, 1, 1], {0: "x", 1: "y", 2: "y"})
    assert (weak.lead, middling.lead) == (0, 1)


def test_trust_rises_with_agreement_and_falls_with_dissent() -> None:
    """An answer twice given is trusted more, one that is contradicted less."""
    one = Coordinator().decide(EVEN, COST, {0: "x"}).trust
    two = Coordinator().decide(EVEN, COST, {0: "x", 1: "x"}).trust
    split = Coordinator().decide(EVEN, COST, {0: "x", 1: "y"}).trust
    assert 0 < split < one < two < 1


def test_no_answer_is_no_opinion() -> None:
    """A reply without an answer neither leads nor counts against, and two of them do not agree."""
    rule = Coordinator()
    mute = rule.decide(EVEN, COST, {1: None, 0: "x"})
    assert mute.lead == 0
    assert mute.trust == rule.decide(EVEN, COST, {0: "x"}).trust
    none = rule.decide(EVEN, COST, {0: None, 1: None})
    assert (none.ask, none.lead, none.trust) == (2, 0, 0.0)


def test_only_the_available_are_asked() -> None:
    """Masked workers are skipped; with nobody left an answer stands, and without one it is an error."""
    rule = Coordinator(thrift=0.0)
    assert rule.decide([0.9, 0.8, 0.7], [1, 1, 1], {}, [False, True, True]).ask == 1
    standing = rule.decide([0.9, 0.8, 0.7], [1, 1, 1], {2: "x"}, [False] * 3)
    assert (standing.ask, standing.lead) == (None, 2)
    with pytest.raises(InputError, match="nobody"):
        rule.decide([0.9, 0.8], [1, 1], {}, [False, False])


@pytest.mark.parametrize("rule", [
    Coordinator(), Coordinator(cap=2), Coordinator(lift=2.0, thrift=0.02, enough=2.0, cap=5),
    Coordinator(lift=-0.4, enough=9.0),
])  # fmt: skip
def test_decide_agrees_with_the_replay(rule: Coordinator) -> None:
    """One request at a time through ``decide``, an episode asks the same workers and ends the same."""
    items = made_up(n=120, skill=(0.8, 0.7, 0.6, 0.55, 0.4))
    cost = items.cost.mean(axis=0) * np.array([8, 4, 2, 1, 1])
    rng = np.random.default_rng(1)
    free = rng.random(items.answer.shape) < 0.8
    free[:, 0] = True
    played = play(rule, items, cost, free)
    assert played.trust is not None
    for row in range(len(items)):
        answers: dict[int, object] = {}
        while True:
            now = rule.decide(items.forecast[row], cost, answers, free[row])
            if now.ask is None:
                break
            code = int(items.answer[row, now.ask])
            answers[now.ask] = None if code < 0 else code
        assert len(answers) == played.calls[row]
        assert now.trust == pytest.approx(played.trust[row], abs=1e-9)
        assert items.answer[row, now.lead] == items.answer[row, played.choice[row]]


@pytest.mark.parametrize("wrong", [{"cap": 0}, {"enough": math.nan}, {"trust": Trust(lead=math.inf)}])  # fmt: skip
def test_numbers_are_checked(wrong: dict[str, float]) -> None:
    """What is no number, or asks nobody, is refused."""
    with pytest.raises(InputError, match="finite"):
        replace(Coordinator(), **wrong)


def test_files_come_back_as_they_were_written(tmp_path: Path) -> None:
    """Every number exactly, for every effort; the shipped file is one of them."""
    made = {effort: Coordinator(lift=1 / 3, cap=cap, trust=Trust(bias=0.1)) for effort, cap in zip(("low", "medium", "high", "xhigh"), (2, 3, 4, 5), strict=True)}  # fmt: skip
    save_coordinators(made, tmp_path / "new" / "c.json", {"seed": 0})
    assert load_coordinators(tmp_path / "new" / "c.json") == made
    shipped = load_coordinators()
    assert [each.cap for each in shipped.values()] == [2, 3, 4, 5]


@pytest.mark.parametrize("harm", ["missing", "json", "list", "format", "effort", "field", "number", "large"])  # fmt: skip
def test_damaged_files_are_refused(tmp_path: Path, harm: str) -> None:
    """Whatever is wrong with the file, the error names it."""
    path = tmp_path / "c.json"
    save_coordinators(load_coordinators(), path, {})
    plain = json.loads(path.read_text(encoding="utf-8"))
    if harm == "format":
        plain["format"] = 99
    elif harm == "effort":
        del plain["coordinators"]["low"]
    elif harm == "field":
        plain["coordinators"]["low"]["head"] = 1
    elif harm == "number":
        plain["coordinators"]["low"]["enough"] = "much"
    text = {"json": "{", "list": "[]", "large": " " * 1_048_577}.get(harm, json.dumps(plain))
    path.write_text(text, encoding="utf-8")
    if harm == "missing":
        path.unlink()
    with pytest.raises(WeightsError, match=r"c\.json"):
        load_coordinators(path)
