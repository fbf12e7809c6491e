"""``fugu_router`` in real Flows."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("crewai")

from crewai.flow.flow import Flow, listen, start
from crews import QUIET

from crewai_tool import fugu_router
from fugu_adapters import ConfigError, Decision, InputError, Pool, Worker
from fugu_adapters.config import RoutingConfig
from fugu_adapters.hosts import plain_decision, team_pool

pytestmark = [pytest.mark.filterwarnings(line) for line in QUIET]

TEAM = {
    "billing": "Handles invoices, refunds and double charges.",
    "repair": {"description": "Fixes broken machines and orders spare parts."},
}
ASKED = {
    "billing": "I was charged twice, please refund one invoice.",
    "repair": "My machine is broken and needs a spare part.",
}


def flow(routes: Any, asked: Any, **options: Any) -> Any:
    """A Flow that says where it went."""

    class Desk(Flow[dict[str, Any]]):
        @start()
        def receive(self) -> None:
            self.state["went"] = None

        @fugu_router(receive, routes, **options)
        def choose(self) -> Any:
            return asked

        @listen("billing")
        def bill(self) -> None:
            self.state["went"] = "billing"

        @listen("repair")
        def mend(self) -> None:
            self.state["went"] = "repair"

    return Desk(suppress_flow_events=True)


@pytest.mark.parametrize("route", ["billing", "repair"])
@pytest.mark.parametrize("form", ["text", "messages"])
async def test_a_flow_goes_where_the_request_fits(route: str, form: str) -> None:
    """By description alone, from text or messages; the decision is told."""
    told: list[Decision] = []
    asked: Any = ASKED[route]
    if form == "messages":
        asked = [{"role": "user", "content": asked}]
    desk = flow(TEAM, asked, on_decision=told.append)
    await desk.kickoff_async()
    assert desk.state["went"] == route
    (decision,) = told
    assert decision.worker == route
    assert "descriptions" in decision.reason
    plain = plain_decision(decision)
    assert [each["worker"] for each in plain["candidates"]] == [
        route,
        *(name for name in TEAM if name != route),
    ]


def test_its_method_may_be_a_coroutine() -> None:
    """And the pool may be one's own, with its options."""
    pool = Pool(
        [Worker(name=name, api="host", description=ASKED[name]) for name in TEAM],
        routing=RoutingConfig(description_encoder="use-m3"),
    )
    assert team_pool(pool) is pool

    class Desk(Flow[dict[str, Any]]):
        @start()
        def receive(self) -> None:
            self.state["went"] = None

        @fugu_router(receive, pool, exclude={"billing"})
        async def choose(self) -> str:
            return ASKED["billing"]

        @listen("repair")
        def mend(self) -> None:
            self.state["went"] = "repair"

    desk = Desk(suppress_flow_events=True)
    desk.kickoff()
    assert desk.state["went"] == "repair"


def test_a_routers_edges_are_known() -> None:
    """So that the Flow can be drawn and checked."""
    definition = type(flow(TEAM, "x")).flow_definition()
    assert list(definition.methods["choose"].emit) == list(TEAM)


def test_what_cannot_be_chosen_by_is_refused() -> None:
    """A method that returns nothing has forgotten something; a team of nobody is none."""
    with pytest.raises(InputError, match="got NoneType"):
        flow(TEAM, None).kickoff()
    with pytest.raises(ConfigError, match="at least one worker"):
        fugu_router("x", {})
