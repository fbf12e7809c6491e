"""Workers that give recorded answers."""

from __future__ import annotations

import json
import sys

import pytest

from fugu_adapters.config import Worker
from fugu_adapters.errors import ConfigError, WorkerRefused
from fugu_adapters.types import Request
from fugu_adapters.workers.replay import ReplayBackend

ROWS = [
    {"prompt": "2+2?", "worker": "big", "answer": "4", "input_tokens": 5, "output_tokens": 1,
     "latency_s": 9.0, "cost_usd": 0.01, "score": 1.0, "suite": "s"},
    {"prompt": "2+2?", "worker": "big", "answer": "four"},
    {"prompt": "2+2?", "worker": "small", "answer": "5"},
    {"prompt": "anyone?", "answer": "yes"},
    {"prompt": "lost", "worker": "big", "answer": None},
]  # fmt: skip


@pytest.fixture
def tape(tmp_path):
    path = tmp_path / "outcomes.jsonl"
    path.write_text("\n".join(map(json.dumps, ROWS)) + "\n\n")
    return path


def backend(path, **changes):
    return ReplayBackend(
        Worker(**{"name": "w", "api": "replay", "path": path, "model": "big"} | changes)
    )


def ask(prompt, **changes):
    return Request(messages=({"role": "user", "content": prompt},), **changes)


async def test_a_recorded_prompt_gets_its_answer_and_cost(tape):
    """Answer, tokens and cost are the recorded ones; the latency is not waited for."""
    reply = await backend(tape).call(ask("2+2?"))
    assert (reply.text, reply.cost_usd, reply.model) == ("4", 0.01, "big")
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (5, 1)


async def test_what_was_not_recorded_is_unknown_not_zero(tape):
    """Missing columns stay unknown."""
    reply = await backend(tape).call(ask("anyone?"))
    assert (reply.text, reply.cost_usd, reply.usage.total_tokens) == ("yes", None, None)


async def test_each_worker_has_its_own_rows(tape):
    """Rows of another worker are not used; the worker's name stands in for a missing model."""
    assert (await backend(tape, model="small").call(ask("2+2?"))).text == "5"
    assert (await backend(tape, model=None, name="small").call(ask("2+2?"))).text == "5"
    assert (await backend(tape, model="nobody").call(ask("anyone?"))).text == "yes"


@pytest.mark.parametrize(("seed", "text"), [(None, "4"), (0, "4"), (1, "four"), (2, "4")])
async def test_the_seed_picks_among_several_answers(tape, seed, text):
    """The same request gives the same answer, another seed may give another."""
    assert (await backend(tape).call(ask("2+2?", seed=seed))).text == text


@pytest.mark.parametrize("prompt", ["2+2", "2+2? ", "lost", ""])
async def test_only_the_exact_prompt_is_answered(tape, prompt):
    """Anything else is refused with a cause that tests can tell, without quoting the prompt."""
    with pytest.raises(WorkerRefused) as caught:
        await backend(tape).call(ask(prompt))
    assert (caught.value.cause_kind, caught.value.worker) == ("not_recorded", "w")
    assert "lost" not in str(caught.value)


async def test_the_last_user_message_is_the_prompt(tape):
    """A system message and earlier turns do not matter; long prompts are compared in full."""
    messages = (
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": "y"},
        {"role": "user", "content": "2+2?"},
    )
    assert (await backend(tape).call(Request(messages=messages))).text == "4"
    long = "x" * 50_000
    tape.write_text(json.dumps({"prompt": f"{long}1{long}", "answer": "1"}))
    assert (await backend(tape).call(ask(f"{long}1{long}"))).text == "1"
    with pytest.raises(WorkerRefused):
        await backend(tape).call(ask(f"{long}2{long}"))


async def test_a_listener_gets_the_answer(tape):
    """Streaming gives the recorded answer in one piece."""
    pieces = []
    await backend(tape).call(ask("2+2?"), on_delta=pieces.append)
    assert [piece.text for piece in pieces] == ["4"]


async def test_parquet_is_read_too(tmp_path):
    """The same rows from a Parquet file."""
    pytest.importorskip("pyarrow")
    import pyarrow.parquet

    path = tmp_path / "outcomes.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    reply = await backend(path).call(ask("2+2?"))
    assert (reply.text, reply.usage.input_tokens) == ("4", 5)
    path.write_bytes(b"PAR1 no more")
    with pytest.raises(ConfigError, match="not a Parquet file"):
        await backend(path).call(ask("2+2?"))


async def test_parquet_without_its_library_names_the_extra(tmp_path, monkeypatch):
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "pyarrow.parquet", raising=False)
    with pytest.raises(ConfigError, match=r"fugu-adapters\[train\]"):
        await backend(tmp_path / "x.parquet").call(ask("x"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        ("", "no recorded answer of 'big'"),
        ("{", "line 1 is not JSON"),
        ('{"prompt": "x"}\n[1]', "row 2: "),
        ('{"answer": "secret"}', "row 1: prompt: Field required"),
        ('{"prompt": "x", "answer": "y", "input_tokens": "many"}', "row 1: input_tokens: "),
        ('{"prompt": "x", "worker": "other", "answer": "y"}', "set the worker's model"),
    ],
)
async def test_a_file_that_cannot_be_used_is_named(tmp_path, content, said):
    """The error says which file and row, and does not quote it."""
    path = tmp_path / "tape.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        await backend(path).call(ask("x"))
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_the_file_is_read_once(tape):
    """Answers stay in memory until the backend is closed."""
    worker = backend(tape)
    await worker.call(ask("2+2?"))
    tape.unlink()
    assert (await worker.call(ask("2+2?"))).text == "4"
    await worker.aclose()
    await worker.aclose()
    with pytest.raises(ConfigError):
        await worker.call(ask("2+2?"))
