"""Runs a crew on an endpoint and prints whatever is looked up or connected to, until the very end."""

from __future__ import annotations

import sys


def watch(event: str, arguments: tuple[object, ...]) -> None:
    """Python announces every look-up and connection, whoever makes it."""
    if event == "socket.connect":
        print("connect", arguments[1], flush=True)
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        print("look-up", arguments[0], flush=True)


def main(url: str) -> None:
    """A whole run: agent, task, tool, answer, and the router's decision."""
    from crewai import Agent, Crew, Task

    from crewai_tool import FuguLLM, FuguTool
    from fugu_adapters import Pool, Worker

    pool = Pool([Worker(name="w", model="m", base_url=url, tools=True)])
    llm, tool = FuguLLM(base_url=url), FuguTool(pool=pool)
    agent = Agent(role="Clerk", goal="Be right", backstory="Brief.", llm=llm, tools=[tool])
    task = Task(description="Say hello.", expected_output="A word.", agent=agent)
    output = Crew(agents=[agent], tasks=[task]).kickoff()
    print("answer", output.raw, output.token_usage.total_tokens)
    llm.close()
    tool.close()


if __name__ == "__main__":
    sys.addaudithook(watch)
    main(sys.argv[1])
