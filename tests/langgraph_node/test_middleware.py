"""``FuguMiddleware``: which of the user's chat models makes each model call of an agent."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

pytest.importorskip("langchain.agents")

from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.language_models import BaseChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel

from fugu_adapters import ConfigError, InputError
from langgraph_node import FuguMiddleware

CALLS = [{"name": "add", "args": {"a": 1, "b": 2}, "id": "c1"}]
ADD = AIMessage("", tool_calls=CALLS)


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class Scripted(BaseChatModel):
    """A chat model with prepared answers, the last again and again; it notes what it was asked."""

    model_name: str = "scripted"
    answers: Sequence[Any] = ("fine",)
    asked: list[Any] = []  # noqa: RUF012  pydantic copies it
    bound: list[Any] = []  # noqa: RUF012

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, *, tool_choice: Any = None, **kwargs: Any) -> Any:
        self.bound.append((tools, tool_choice, kwargs))
        return self

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        answer = self.answers[min(len(self.asked), len(self.answers) - 1)]
        self.asked.append(messages)
        if isinstance(answer, BaseException):
            raise answer
        message = AIMessage(answer) if isinstance(answer, str) else answer
        return ChatResult(generations=[ChatGeneration(message=message.model_copy())])


class Toolless(Scripted):
    """One that takes no tools."""

    bind_tools = BaseChatModel.bind_tools


class City(BaseModel):
    """A city."""

    name: str


def pair(**answers: Any) -> dict[str, Scripted]:
    """A cheap and a dear model, without anything else that tells them apart."""
    return {
        name: Scripted(model_name=name, answers=answers.get(name, ("fine",)))
        for name in ("cheap", "dear")
    }


PRICES = {
    "cheap": {"price": {"input": 0.1, "output": 0.1}},
    "dear": {"price": {"input": 30, "output": 90}},
}


def calls(models: dict[str, Scripted]) -> dict[str, int]:
    """How often each was asked."""
    return {name: len(model.asked) for name, model in models.items()}


def ask(agent: Any, text: str = "What is 1 + 2?", **options: Any) -> dict[str, Any]:
    """One user message."""
    return agent.invoke({"messages": [HumanMessage(text)]}, **options)


@pytest.mark.parametrize(
    ("options", "worker"),
    [
        ({"effort": "xhigh"}, "dear"),
        ({"max_cost": 0.001}, "cheap"),
        ({"effort": "xhigh", "exclude": {"dear"}}, "cheap"),
    ],
)
def test_options_decide_who_is_asked_and_deciding_asks_nobody(
    options: dict[str, Any], worker: str
) -> None:
    """One model call per turn, by the chosen model; the agent's own model is not asked."""
    models, own = pair(), Scripted()
    agent = create_agent(own, middleware=[FuguMiddleware(models, facts=PRICES, **options)])
    answer = ask(agent)["messages"][-1]
    assert answer.response_metadata["fugu"]["worker"] == worker
    assert calls(models) == {name: int(name == worker) for name in models}
    assert own.asked == []


@pytest.mark.parametrize("is_async", [False, True])
async def test_each_choice_is_an_event_and_stays_with_the_answer(is_async: bool) -> None:
    """In the custom stream, and as plain data in the message's metadata; beside what the model said itself."""
    own = AIMessage("fine", response_metadata={"model_name": "m"})
    models = pair(cheap=[own], dear=[own])
    agent = create_agent(models["cheap"], middleware=[FuguMiddleware(models, facts=PRICES)])
    asked = {"messages": [HumanMessage("hi")]}
    modes = ["custom", "values"]
    if is_async:
        seen = [item async for item in agent.astream(asked, stream_mode=modes)]
    else:
        seen = list(agent.stream(asked, stream_mode=modes))
    events = [data for mode, data in seen if mode == "custom"]
    message = seen[-1][1]["messages"][-1]
    assert [event["type"] for event in events] == ["fugu.decision"]
    told = message.response_metadata["fugu"]
    assert {**told, "type": "fugu.decision"} == events[0]
    assert {c["worker"] for c in told["candidates"]} == {"cheap", "dear"}
    assert message.response_metadata["model_name"] == "m"
    assert "fugu" not in own.response_metadata  # the model may give the same object again


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_tool_loop_stays_with_its_model(is_async: bool) -> None:
    """Whoever made the calls reads their results, whatever else is cheaper then."""
    models = pair(cheap=[ADD, "3"], dear=[ADD, "3"])
    agent = create_agent(
        models["cheap"], [add], middleware=[FuguMiddleware(models, facts=PRICES, effort="xhigh")]
    )
    asked = {"messages": [HumanMessage("Use the tool to add 1 and 2.")]}
    result = await agent.ainvoke(asked) if is_async else agent.invoke(asked)
    answers = [m for m in result["messages"] if isinstance(m, AIMessage)]
    first, second = (answer.response_metadata["fugu"] for answer in answers)
    assert answers[-1].text == "3"
    assert (second["worker"], second["continuity"]) == (first["worker"], "tool-turn")
    assert calls(models) == {"cheap": 0, "dear": 2}


def test_a_thread_is_a_conversation_although_its_history_was_rewritten() -> None:
    """With a checkpointer the thread's id finds the turn before, as after a summary."""
    models = pair()
    middleware = FuguMiddleware(models, facts=PRICES)
    agent = create_agent(models["cheap"], middleware=[middleware], checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "t"}}
    first = ask(agent, "Write a poem about the sea.", config=config)["messages"]
    last = first[-1].model_copy(update={"content": "(a summary)"})
    agent.update_state(config, {"messages": [last]})
    second = ask(agent, "go on", config=config)["messages"][-1].response_metadata["fugu"]
    assert second["continuity"] == "follow-up"
    assert second["worker"] == first[-1].response_metadata["fugu"]["worker"]


def test_tools_need_a_model_that_takes_them() -> None:
    """One without ``bind_tools`` is left out, with the reason; alone it cannot be asked."""
    models = {"bare": Toolless(), "able": Scripted()}
    agent = create_agent(models["able"], [add], middleware=[FuguMiddleware(models)])
    told = ask(agent)["messages"][-1].response_metadata["fugu"]
    assert told["worker"] == "able"
    assert told["candidates"][-1]["excluded_because"] == "cannot call tools"
    alone = create_agent(Scripted(), [add], middleware=[FuguMiddleware({"bare": Toolless()})])
    with pytest.raises(InputError, match="bare cannot call tools"):
        ask(alone)


def test_a_schema_needs_a_model_that_keeps_to_it() -> None:
    """By the model itself, by a tool, or by either where the agent picks."""
    keeps = Scripted(
        answers=['{"name": "Rome"}'], profile={"structured_output": True, "tool_calling": False}
    )
    calling = AIMessage("", tool_calls=[{"name": "City", "args": {"name": "Rome"}, "id": "c"}])
    takes = Scripted(answers=[calling], profile={"structured_output": False, "tool_calling": True})
    neither = Scripted(profile={"structured_output": False, "tool_calling": False})
    models = {"neither": neither, "keeps": keeps, "takes": takes}

    def chosen(form: Any, **options: Any) -> str:
        middleware = FuguMiddleware(models, **options)
        result = ask(create_agent(takes, response_format=form, middleware=[middleware]))
        assert result["structured_response"] == City(name="Rome")
        answer = next(m for m in result["messages"] if isinstance(m, AIMessage))
        return answer.response_metadata["fugu"]["worker"]

    assert chosen(ProviderStrategy(City)) == "keeps"
    assert chosen(ToolStrategy(City)) == "takes"
    assert chosen(City) in ("keeps", "takes")
    assert chosen(City, exclude={"takes"}) == "keeps"
    assert neither.asked == []


def test_the_system_prompt_counts_and_files_do_not_stop_the_choice() -> None:
    """A long system prompt leaves small windows out; a file is for the model, not for the choice."""
    models = pair()
    facts = {"cheap": {"context_window": 500}}
    agent = create_agent(
        models["cheap"],
        system_prompt="Be careful. " * 500,
        middleware=[FuguMiddleware(models, facts=facts)],
    )
    file = {"type": "file", "base64": "AAAA", "mime_type": "application/pdf", "filename": "a.pdf"}
    told = agent.invoke({"messages": [HumanMessage([file])]})["messages"][-1]
    assert told.response_metadata["fugu"]["worker"] == "dear"
    assert models["dear"].asked[0][-1].content == [file]


def test_a_models_failure_reaches_the_agent_once() -> None:
    """Nobody else is asked behind the agent's back, and nothing is asked again."""
    models = pair(cheap=[OSError("broken")], dear=[OSError("broken")])
    agent = create_agent(models["cheap"], middleware=[FuguMiddleware(models)])
    with pytest.raises(OSError, match="broken"):
        ask(agent)
    assert sum(calls(models).values()) == 1


def test_models_are_known_by_their_own_names_and_providers() -> None:
    """Prices and windows come from the catalogue, unless the client was pointed somewhere else."""

    class ChatOpenAI(Scripted):
        openai_api_base: str | None = None

    own = FuguMiddleware({"a": ChatOpenAI(model_name="gpt-4o")})._fugu.pool["a"]
    assert (own.model, own.provider, own.profile_name) == ("gpt-4o", "openai", "gpt-4o")
    assert own.price is not None
    elsewhere = ChatOpenAI(model_name="gpt-4o", openai_api_base="http://127.0.0.1:9/v1")
    local = FuguMiddleware({"a": elsewhere})._fugu.pool["a"]
    assert (local.provider, local.price) == (None, None)
    told = FuguMiddleware({"a": elsewhere}, facts={"a": {"provider": "mine", "tools": False}})
    assert (told._fugu.pool["a"].provider, told._fugu.pool["a"].tools) == ("mine", False)


def test_mistakes_are_told_when_the_middleware_is_made() -> None:
    """No model, something else than a model, facts of nobody, facts that are none."""
    model = GenericFakeChatModel(messages=iter(()))
    with pytest.raises(ConfigError, match="at least one worker"):
        FuguMiddleware({})
    with pytest.raises(ConfigError, match="model 'a': expected a chat model, got str"):
        FuguMiddleware({"a": "openai:gpt-4o"})
    with pytest.raises(ConfigError, match="facts: no model 'b'; known: a"):
        FuguMiddleware({"a": model}, facts={"b": {}})
    with pytest.raises(ConfigError, match="descripton: unknown key; did you mean 'description'"):
        FuguMiddleware({"a": model}, facts={"a": {"descripton": "x"}})


def test_a_missing_extra_is_named() -> None:
    """Without LangChain's agents the import says what to install."""
    probe = "\n".join(
        [
            "import sys",
            "sys.modules['langchain'] = None",
            "import langgraph_node",
            "from fugu_adapters import ConfigError",
            "try: langgraph_node.FuguMiddleware",
            "except ConfigError as error: print(error)",
        ]
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert 'pip install "fugu-adapters[agents]"' in done.stdout
