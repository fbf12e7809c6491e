"""A tool of CrewAI's for the tests of this folder."""

from __future__ import annotations

from crewai.tools import BaseTool
from pydantic import BaseModel


class Look(BaseModel):
    what: str


class LookUp(BaseTool):
    name: str = "look_up"
    description: str = "Looks something up."
    args_schema: type[BaseModel] = Look
    found: str = "a duck"
    asked: list[str] = []  # noqa: RUF012  pydantic copies it

    def _run(self, what: str) -> str:
        self.asked.append(what)
        return self.found
