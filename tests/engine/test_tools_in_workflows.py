"""Tools of the host in a workflow: it waits, and goes on with the step that asked, also in another process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fugu_adapters import (
    Fugu,
    InputError,
    Pool,
    Price,
    Reply,
    ResumeMismatch,
    ToolCall,
    Usage,
    Worker,
)
from fugu_adapters.config import ConductorConfig
from fugu_adapters.engine.retry import RetryPolicy
from fugu_adapters.store import Store
from fugu_adapters.types import Message, Request, Result
from fugu_adapters.workflow import Aggregate, Step, Workflow

TOOLS = [{"type": "function", "function": {"name": "count", "parameters": {"type": "object"}}}]
USER: Message = {"role": "user", "content": "How many files are there?"}
PLAN = Workflow(
    steps=(
        Step(worker="a", subtask="Count the files."),
        Step(worker="b", subtask="Check the count and answer.", access=(0,)),
    )
)


def calls(*names: str) -> Reply:
    made = tuple(
        ToolCall(id=f"call-{n}", name=name, arguments="{}") for n, name in enumerate(names)
    )
    return Reply(tool_calls=made, finish_reason="tool_calls", usage=Usage(input_tokens=5, output_tokens=5))  # fmt: skip


class Cast:
    """Workers whose lines are given in the order in which they are asked."""

    def __init__(self, *lines: str | Reply, names: str = "abc") -> None:
        self.lines = list(lines)
        self.asked: list[tuple[str, Request]] = []
        self.workers = [
            Worker(name=n, api="callable", call=self._call(n), price=Price(input=1.0, output=1.0))
            for n in names
        ]

    def _call(self, name: str) -> Any:
        async def call(messages: Sequence[Message], *, request: Request) -> Reply:
            line = self.lines[len(self.asked)]
            self.asked.append((name, request))
            usage = Usage(input_tokens=5, output_tokens=5)
            return line if isinstance(line, Reply) else Reply(text=line, usage=usage)

        return call

    def fugu(self, store: Any = False, **options: Any) -> Fugu:
        return Fugu(
            Pool(self.workers, **options), store=store, seed=0, retry=RetryPolicy(attempts=1)
        )


def after(result: Result, *contents: str, messages: Sequence[Message] = (USER,)) -> list[Message]:
    """The conversation with a result's calls and what the tools gave."""
    made = [
        {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}}
        for c in result.tool_calls
    ]
    told = [
        {"role": "tool", "tool_call_id": call.id, "content": content}
        for call, content in zip(result.tool_calls, contents, strict=True)
    ]
    return [*messages, {"role": "assistant", "content": None, "tool_calls": made}, *told]


async def test_the_result_goes_to_the_step_that_asked(tmp_path: Path) -> None:
    """Another process takes it up: the first step ends with it, and the second sees only its output."""
    cast = Cast("17 files", calls("count"), "There are 17.")
    async with cast.fugu(Store(str(tmp_path / "a.db"))) as fugu:
        asked = await fugu.arun([USER], workflow=PLAN, tools=TOOLS)
    assert asked.finish_reason == "tool_calls"
    assert [call.name for call in asked.tool_calls] == ["count"]
    assert asked.tool_calls[0].id != "call-0"
    assert len(asked.tool_calls[0].id) <= 40
    assert asked.stopped == "step 2 calls count"
    async with cast.fugu(Store(str(tmp_path / "a.db"))) as fugu:
        result = await fugu.arun(after(asked, "17"), tools=TOOLS)
    assert (result.text, result.worker) == ("There are 17.", "b")
    assert [name for name, _ in cast.asked] == ["a", "b", "b"]
    last = cast.asked[2][1].messages
    assert [message["role"] for message in last] == ["user", "assistant", "tool"]
    assert last[1]["tool_calls"][0]["id"] == last[2]["tool_call_id"] == "call-0"
    assert "17 files" in str(last[0]["content"])
    assert [step.text for step in result.trace.steps] == ["17 files", "There are 17."]


async def test_a_step_may_ask_again_and_for_several() -> None:
    """Each time the whole exchange of the step is there, under the worker's own ids."""
    cast = Cast(calls("count", "list"), calls("count"), "3 files", "3")
    async with cast.fugu() as fugu:
        first = await fugu.arun([USER], workflow=PLAN, tools=TOOLS)
        once = after(first, "1", "2")
        second = await fugu.arun(once, tools=TOOLS)
        assert second.tool_calls[0].id != first.tool_calls[0].id
        result = await fugu.arun(after(second, "3", messages=once), tools=TOOLS)
    assert result.text == "3"
    assert [name for name, _ in cast.asked] == ["a", "a", "a", "b"]
    roles = [message["role"] for message in cast.asked[2][1].messages]
    assert roles == ["user", "assistant", "tool", "tool", "assistant", "tool"]
    assert [message["role"] for message in cast.asked[3][1].messages] == ["user"]


async def test_steps_with_tools_run_one_after_another() -> None:
    """Two that both act on the same things would get in each other's way."""
    votes = Workflow(
        steps=(Step(worker="a", subtask="x"), Step(worker="b", subtask="y")),
        aggregate=Aggregate(kind="vote", steps=(0, 1)),
    )
    cast = Cast("17", calls("count"), "17")
    async with cast.fugu() as fugu:
        asked = await fugu.arun([USER], workflow=votes, tools=TOOLS)
        result = await fugu.arun(after(asked, "17"), tools=TOOLS)
    assert result.text == "17"
    assert [name for name, _ in cast.asked] == ["a", "b", "b"]


@pytest.mark.parametrize("change", ["0" * 16, None])
async def test_ids_that_were_not_made_here_are_refused(change: str | None) -> None:
    """Another token, or another signature: nothing is resumed, and no worker is asked."""
    cast = Cast(calls("count"), "never")
    async with cast.fugu() as fugu:
        asked = await fugu.arun([USER], workflow=PLAN, tools=TOOLS)
        messages = after(asked, "17")
        given = asked.tool_calls[0].id
        forged = given[:-1] + ("0" if given[-1] != "0" else "1")
        if change is not None:
            forged = f"fw_{change}{given[19:]}"
        messages[-1] = {**messages[-1], "tool_call_id": forged}
        with pytest.raises(ResumeMismatch):
            await fugu.arun(messages, tools=TOOLS)
    assert len(cast.asked) == 1


async def test_every_result_has_to_be_there() -> None:
    """A missing one, or one that is there twice, is an error that names the call."""
    cast = Cast(calls("count", "list"), "never")
    async with cast.fugu() as fugu:
        asked = await fugu.arun([USER], workflow=PLAN, tools=TOOLS)
        messages = after(asked, "1", "2")
        with pytest.raises(InputError, match=f"{asked.tool_calls[1].id}.* is missing"):
            await fugu.arun(messages[:-1], tools=TOOLS)
        with pytest.raises(InputError, match="twice"):
            await fugu.arun([*messages, messages[-1]], tools=TOOLS)
    assert len(cast.asked) == 1


async def test_texts_that_are_not_kept_wait_in_memory(tmp_path: Path) -> None:
    """The database holds nothing of them, so that another process cannot go on."""
    file = tmp_path / "a.db"
    path = str(file)
    cast = Cast(calls("count"), "17", "17")
    async with cast.fugu(Store(path, keep_text=False)) as fugu:
        asked = await fugu.arun([USER], workflow=PLAN, tools=TOOLS)
        assert (await fugu.arun(after(asked, "17"), tools=TOOLS)).text == "17"
    async with cast.fugu(Store(path, keep_text=False)) as fugu:
        with pytest.raises(ResumeMismatch, match="no workflow waits"):
            await fugu.arun(after(asked, "17"), tools=TOOLS)
    assert b"How many files" not in await asyncio.to_thread(file.read_bytes)


async def test_calls_are_streamed_under_our_ids() -> None:
    """Nobody sees the worker's own."""
    cast = Cast("17 files", calls("count"))
    async with cast.fugu() as fugu:
        events = [e async for e in fugu.astream([USER], workflow=PLAN, tools=TOOLS)]
    pieces = [e.delta for e in events if e.delta is not None and e.delta.tool_id is not None]
    result = events[-1].result
    assert result is not None
    assert [piece.tool_id for piece in pieces] == [call.id for call in result.tool_calls]
    assert pieces[0].tool_id is not None
    assert pieces[0].tool_id.startswith("fw_")


async def test_a_written_workflow_may_use_tools() -> None:
    """The conductor's model writes it; its steps call the host's tools."""
    plan = 'model_id = [0]\nsubtasks = ["Count."]\naccess_list = [[]]'
    cast = Cast(plan, calls("count"), "17")
    settings = ConductorConfig(worker="c")
    async with cast.fugu(conductor=settings) as fugu:
        asked = await fugu.arun([USER], model="fugu-ultra", tools=TOOLS)
        assert asked.finish_reason == "tool_calls"
        result = await fugu.arun(after(asked, "17"), model="fugu-ultra", tools=TOOLS)
    assert result.text == "17"
    assert cast.asked[0][0] == "c"
    assert not cast.asked[0][1].tools
    assert cast.asked[1][0] == cast.asked[2][0]
