"""A CrewAI Flow with a learned router: ``fugu_router`` picks the agent from descriptions, without a model call.

The agents answer with small local models: no key, no network. ``crew_flow.py scripted`` has workers with
prepared answers in their place.
"""

from __future__ import annotations

import asyncio
import sys

from crewai import Agent
from crewai.flow.flow import Flow, listen, start
from pydantic import BaseModel

from crewai_tool import FuguLLM, fugu_router
from fugu_adapters import Decision, Fugu, FuguError, Pool, Reply, Usage
from fugu_adapters.testing import ScriptedWorker

TEAM = {
    "arithmetic": "Computes sums, products and other arithmetic.",
    "dates": "Works out dates: days before, after and between them.",
    "language": "Judges the mood of reviews, and writes and corrects text.",
}
QUESTIONS = (
    "Compute 487 * 36 + 219.",
    "Which date is 45 days after March 1, 2026? Answer as YYYY-MM-DD.",
    "Is this review positive or negative? 'I loved every minute of it.' Answer with one word.",
)


def show(decision: Decision) -> None:
    print(f"  -> {decision.worker}: {decision.reason}")


class State(BaseModel):
    """What the Flow knows."""

    question: str = ""
    answer: str = ""


class Desk(Flow[State]):
    """Three agents and a router in front of them."""

    llm: FuguLLM

    @start()
    def receive(self) -> None:
        """Nothing to do before it is decided."""

    @fugu_router(receive, TEAM, on_decision=show)
    def choose(self) -> str:
        """What the route is chosen by."""
        return self.state.question

    @listen("arithmetic")
    def ask_clerk(self) -> None:
        """The answer of the clerk."""
        self.ask("Clerk", "Compute exactly")

    @listen("dates")
    def ask_planner(self) -> None:
        """The answer of the planner."""
        self.ask("Planner", "Work out dates")

    @listen("language")
    def ask_editor(self) -> None:
        """The answer of the editor."""
        self.ask("Editor", "Judge texts")

    def ask(self, role: str, goal: str) -> None:
        """Let one agent answer; in your Flow, a crew."""
        agent = Agent(role=role, goal=goal, backstory="Brief.", llm=self.llm)
        self.state.answer = str(agent.kickoff(self.state.question))


def main(fugu: Fugu) -> None:
    """Ask each question, the last one from asynchronous code."""
    with fugu:
        llm = FuguLLM("fugu", fugu=fugu, timeout=120, max_tokens=160)
        for question in QUESTIONS:
            print(question)
            desk = Desk(llm=llm, suppress_flow_events=True)
            if question == QUESTIONS[-1]:
                asyncio.run(desk.kickoff_async(inputs={"question": question}))
            else:
                desk.kickoff(inputs={"question": question})
            print(f"  {desk.state.answer.strip()}\n")


def scripted() -> Pool:
    """Workers that need no model: one reply after the other."""
    replies = [
        Reply(text=text, usage=Usage(input_tokens=20, output_tokens=5))
        for text in ("17751", "2026-04-15", "positive")
    ]
    return Pool([ScriptedWorker("script", *replies).worker])


if __name__ == "__main__":
    try:
        main(Fugu(scripted() if "scripted" in sys.argv else Pool.embedded()))
    except FuguError as error:
        sys.exit(f"{type(error).__name__}: {error}")
