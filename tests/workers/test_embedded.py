"""Workers on local models: what they send to the runtime, how they stop, and what real ones answer."""

from __future__ import annotations

import asyncio
import sys
import threading
import time

import pytest
from local_model_double import FakeServer

from fugu_adapters.config import Worker
from fugu_adapters.errors import (
    ConfigError,
    WeightsError,
    WorkerProtocolError,
    WorkerRefused,
    WorkerUnavailable,
)
from fugu_adapters.types import Delta, Reply, Request, Usage
from fugu_adapters.workers import embedded, local_models, local_runtime
from fugu_adapters.workers.embedded import EmbeddedBackend, embedded_workers
from fugu_adapters.workers.prompts_embedded import (
    asks_for_code,
    expression_grammar,
    extract_program,
)


@pytest.fixture
def serve(monkeypatch, tmp_path):
    """Put a fake server in the place of the runtime and give back a worker's backend."""
    local_runtime.unload_all()

    def start(server, **worker):
        monkeypatch.setattr(local_runtime, "_start", lambda path: server)
        fields = {"name": "small", "api": "embedded", "model": "own", "path": tmp_path / "m.gguf"}
        return EmbeddedBackend(Worker(**fields | worker))

    yield start
    local_runtime.unload_all()


def ask(text="hi", **fields):
    return Request(messages=({"role": "user", "content": text},), **fields)


async def test_a_plain_reply_carries_the_runtimes_counts(serve):
    """Text, usage, finish reason and model come from the runtime; the default temperature is 0."""
    server = FakeServer(" Hello there ")
    reply = await serve(server).call(ask(max_output_tokens=9, stop=("\n",), seed=3, top_p=0.5))
    usage = Usage(input_tokens=20, output_tokens=5, cached_input_tokens=8)
    assert reply == Reply(text="Hello there", usage=usage, model="own")
    body = server.bodies[0]
    assert body["messages"] == [{"role": "user", "content": "hi"}]
    wanted = {"max_tokens": 9, "temperature": 0.0, "stop": ["\n"], "seed": 3, "top_p": 0.5}
    assert {key: body[key] for key in wanted} == wanted
    assert body["stream"] is True
    assert body["return_progress"] is True


async def test_a_reply_cut_for_length_says_so(serve):
    """The finish reason is the runtime's."""
    assert (await serve(FakeServer("cut…")).call(ask())).finish_reason == "length"


async def test_replies_are_bounded_where_nobody_says(serve):
    """Without a bound in the request the worker's own holds, else a small one."""
    server = FakeServer("a", "b")
    await serve(server).call(ask())
    await serve(server, max_output_tokens=77).call(ask())
    assert [body["max_tokens"] for body in server.bodies] == [512, 77]


async def test_pieces_arrive_on_the_event_loop(serve):
    """Streaming gives every piece in order, on the caller's thread."""
    pieces, threads = [], set()

    def on_delta(delta: Delta) -> None:
        pieces.append(delta.text)
        threads.add(threading.get_ident())

    reply = await serve(FakeServer("one two three")).call(ask(), on_delta=on_delta)
    assert "".join(pieces) == reply.text == "one two three"
    assert len(pieces) > 1
    assert threads == {threading.get_ident()}


async def test_conversations_survive_in_plain_mode(serve):
    """System text, earlier turns and tool results reach the model, in roles that it knows."""
    server = FakeServer("ok")
    call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": '{"q": 1}'}}
    messages = (
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "42"},
    )
    await serve(server).call(Request(messages=messages))
    assert server.bodies[0]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "a\nb"},
        {"role": "assistant", "content": '(called look with {"q": 1})'},
        {"role": "user", "content": "The tool returned:\n42"},
    ]


async def test_few_shot_shows_examples_after_the_system_text(serve):
    """The examples stand between the user's system text and the conversation."""
    server = FakeServer("ok")
    messages = ({"role": "system", "content": "S"}, {"role": "user", "content": "Q"})
    await serve(server, mode="few-shot").call(Request(messages=messages))
    sent = server.bodies[0]["messages"]
    assert sent[0] == messages[0]
    assert sent[-1] == messages[1]
    assert [m["role"] for m in sent[1:-1]] == ["user", "assistant"] * (len(sent[1:-1]) // 2)
    assert len(sent) > 4


async def test_a_calculator_computes_what_the_model_writes(serve):
    """The model is held to an expression by a grammar; the value is ours, and the step is told."""
    server = FakeServer("47 * 23")
    reply = await serve(server, mode="calculator").call(ask("What is 47 times 23?"))
    assert reply.text == "1081"
    assert reply.steps == ("calculator: 47 * 23",)
    assert "number" in server.bodies[0]["grammar"]
    assert "47 times 23" in server.bodies[0]["messages"][-1]["content"]


def test_expressions_hold_only_the_questions_numbers():
    """The grammar allows its numbers and a few constants, and no more terms than it has numbers."""
    two = expression_grammar([{"role": "user", "content": "What is 47 times 23?"}])
    assert '"47" | "23" | "2"' in two
    assert "(operator number){1,1}" in two
    three = expression_grammar([{"role": "user", "content": "5, 6.5 and 71 plums, and 5 more"}])
    assert '"5" | "6.5" | "71"' in three
    assert "{1,2}" in three
    many = expression_grammar([{"role": "user", "content": " ".join(map(str, range(99)))}])
    assert "{1,7}" in many
    assert "{1,1}" in expression_grammar([{"role": "user", "content": "a dozen"}])


@pytest.mark.parametrize(
    ("expression", "text"), [("7 / 2", "3.5"), ("10 / 5", "2"), ("1 / 3", "0.3333333333")]
)
async def test_fractions_are_written_plainly(serve, expression, text):
    """No trailing zeros and no noise of floating point."""
    reply = await serve(FakeServer(expression), mode="calculator").call(ask("1 2 3"))
    assert reply.text == text


async def test_a_calculator_answers_plainly_where_it_cannot_compute(serve):
    """A failed expression costs a second call, whose tokens are counted too."""
    server = FakeServer("1 / 0", "Infinity, perhaps")
    reply = await serve(server, mode="calculator").call(ask("What is 1 over 0?"))
    assert reply.text == "Infinity, perhaps"
    assert reply.usage.input_tokens == 40
    assert "1 / 0" in reply.steps[0]
    assert len(reply.steps) == 2


async def test_a_calculator_leaves_words_to_the_model(serve):
    """A question without a digit is answered plainly in one call."""
    server = FakeServer("Rome")
    reply = await serve(server, mode="calculator").call(ask("What is the capital of Italy?"))
    assert (reply.text, reply.steps) == ("Rome", ())
    assert "grammar" not in server.bodies[0]


async def test_a_program_is_run_and_its_output_is_the_answer(serve):
    """Fenced or bare, printed or only evaluated: the result is the reply, streamed as one piece."""
    server = FakeServer("```python\nword = 'planet'\nword[::-1]\n```")
    pieces = []
    backend = serve(server, mode="python")
    reply = await backend.call(ask("Reverse 'planet'."), on_delta=pieces.append)
    assert reply.text == "tenalp"
    assert pieces == [Delta(text="tenalp")]
    assert "word[::-1]" in reply.steps[0]
    assert reply.steps[0].endswith("-> tenalp")


async def test_a_failing_program_gives_way_to_a_plain_answer(serve):
    """The error is in the steps; the plain request is the user's own."""
    server = FakeServer("print(planet[::-1])", "tenalp")
    reply = await serve(server, mode="python").call(ask("Reverse 'planet'."))
    assert reply.text == "tenalp"
    assert "NameError" in reply.steps[0]
    assert server.bodies[1]["messages"] == [{"role": "user", "content": "Reverse 'planet'."}]


async def test_code_that_only_defines_is_itself_the_answer(serve):
    """Somebody who asks for a function gets the function."""
    reply = await serve(FakeServer("def f(x):\n    return x + 1"), mode="python").call(
        ask("Write f")
    )
    assert reply.text == "```python\ndef f(x):\n    return x + 1\n```"


async def test_an_answer_instead_of_a_program_is_kept(serve):
    """A model that answers at once is not asked again."""
    reply = await serve(FakeServer("It is positive."), mode="python").call(ask("Mood?"))
    assert reply.text == "It is positive."
    assert reply.steps == ("python: the model answered without a program",)


async def test_programs_see_the_conversation_but_not_foreign_instructions(serve):
    """Earlier turns stay; the system text that asks for code comes first and only once."""
    server = FakeServer("print(1)")
    messages = (
        {"role": "system", "content": "Answer in rhyme."},
        {"role": "user", "content": "x is 3"},
        {"role": "assistant", "content": "noted"},
        {"role": "user", "content": "Double x. Reply with only the number."},
    )
    await serve(server, mode="python").call(Request(messages=messages))
    sent = server.bodies[0]["messages"]
    assert [m["role"] for m in sent].count("system") == 1
    assert sent[-3:-1] == list(messages[1:3])
    assert sent[-1]["content"].endswith("Write Python code that prints the answer.")


@pytest.mark.parametrize("mode", ["calculator", "python", "plain"])
async def test_a_response_format_is_kept_in_every_mode(serve, mode):
    """Programs cannot be held to a schema, so such requests are answered plainly."""
    schema = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}
    server = FakeServer("{}")
    reply = await serve(server, mode=mode).call(ask("Give 1 object", response_format=schema))
    assert reply.text == "{}"
    assert server.bodies[0]["response_format"] == schema


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("print(1)", "print(1)"),
        ("```python\nprint(1)\n```\nThis prints 1.", "print(1)"),
        ("```\nprint(1)", "print(1)"),
        ("```python\nprint(\n```", "print("),
        ("42", None),
        ("'word'", None),
        ("Paris", None),
        ("red, green", None),
        ('{"a": 1}', None),
        ("The answer is 4.", None),
        ("", None),
        ("(" * 500, None),
    ],
)
def test_code_is_told_from_answers(text, code):
    """Only statements and calls count as programs; a bare value is an answer."""
    assert extract_program(text) == code


@pytest.mark.parametrize(
    ("error", "kind", "cause"),
    [
        ({"type": "exceed_context_size_error", "code": 400, "n_prompt_tokens": 6031, "n_ctx": 4096},
         WorkerRefused, "context"),
        ({"type": "invalid_request_error", "code": 400}, WorkerRefused, "invalid_request_error"),
        ({"type": "server_error", "code": 500}, WorkerUnavailable, "server_error"),
        ({}, WorkerUnavailable, "runtime"),
    ],
)  # fmt: skip
async def test_the_runtimes_errors_are_ours(serve, error, kind, cause):
    """What cannot help to repeat is refused; the rest is unavailable."""
    with pytest.raises(kind) as caught:
        await serve(FakeServer(error=error)).call(ask())
    assert caught.value.cause_kind == cause
    assert caught.value.worker == "small"


@pytest.mark.parametrize("failure", [ValueError("All messages\nmust"), RuntimeError("oops")])
async def test_what_the_runtime_raises_is_refused(serve, failure):
    """A request that it cannot parse names the worker and the first line of the reason."""

    class Broken:
        def handle_chat_completions(self, body, callback):
            raise failure

    with pytest.raises(WorkerRefused, match="small") as caught:
        await serve(Broken()).call(ask())
    assert "must" not in str(caught.value)


async def test_a_reply_without_an_end_is_a_protocol_error(serve):
    """Silence is not an empty answer."""

    class Silent:
        def handle_chat_completions(self, body, callback):
            """Return at once."""

    with pytest.raises(WorkerProtocolError):
        await serve(Silent()).call(ask())


async def test_cancelling_stops_the_generation(serve):
    """The thread has ended by the time that the cancelled call returns."""
    server = FakeServer(endless=True)
    task = asyncio.create_task(serve(server).call(ask()))
    await asyncio.to_thread(server.running.wait, 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert server.stopped.is_set()


async def test_cancelling_a_waiting_call_never_starts_it(serve):
    """A call beyond the slots waits outside the runtime and leaves without a trace."""
    server = FakeServer(endless=True)
    backend = serve(server)
    running = [asyncio.create_task(backend.call(ask())) for _ in range(local_runtime.SLOTS)]
    while len(server.bodies) < local_runtime.SLOTS:  # noqa: ASYNC110 - filled by other threads
        await asyncio.sleep(0.01)
    waiting = asyncio.create_task(backend.call(ask()))
    await asyncio.sleep(0.05)
    for task in (waiting, *running):
        task.cancel()
    ended = await asyncio.gather(waiting, *running, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ended)
    assert len(server.bodies) == local_runtime.SLOTS


async def test_weights_are_loaded_once(monkeypatch, serve):
    """Concurrent first calls of several workers share one load; unloading forgets it."""
    loads = []

    def load(path):
        loads.append(path)
        time.sleep(0.05)
        return FakeServer(*["x"] * 9)

    backends = [serve(None), serve(None, name="other", mode="few-shot")]
    monkeypatch.setattr(local_runtime, "_start", load)
    await asyncio.gather(*(backend.call(ask()) for backend in backends * 2))
    assert len(loads) == 1
    for backend in backends * 2:
        await backend.aclose()
    await backends[0].call(ask())
    assert len(loads) == 1  # closing a worker does not unload what others use
    local_runtime.unload_all()
    await backends[0].call(ask())
    assert len(loads) == 2


async def test_missing_weights_name_the_command(monkeypatch, tmp_path):
    """A known model says what fetches it; an own file says which is missing."""
    monkeypatch.setenv("FUGU_WEIGHTS_DIR", str(tmp_path))
    known = Worker(name="w", api="embedded", model="smollm2-135m")
    with pytest.raises(WeightsError, match=r"fugu pull smollm2-135m.*98 MB"):
        await EmbeddedBackend(known).call(ask())
    pytest.importorskip("xllamacpp")
    own = Worker(name="w", api="embedded", model="mine", path=tmp_path / "none.gguf")
    with pytest.raises(WeightsError, match="no such weights file"):
        await EmbeddedBackend(own).call(ask())


async def test_a_missing_runtime_names_the_extra(monkeypatch, tmp_path):
    """Without xllamacpp the error says what to install."""
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    own = Worker(name="w", api="embedded", model="mine", path=tmp_path / "none.gguf")
    with pytest.raises(ConfigError, match=r"pip install 'fugu-adapters\[embedded\]'"):
        await EmbeddedBackend(own).call(ask())


def test_workers_appear_with_their_weights(monkeypatch):
    """Each model brings two workers, free, local, with their own profile; absent ones do not show."""
    monkeypatch.setattr(local_models, "available", lambda: ["smollm2-135m"])
    here = embedded_workers()
    assert [worker.name for worker in here] == ["smol-plain", "smol-calculator"]
    every = embedded_workers(missing=True)
    assert len({worker.profile_name for worker in every}) == len(every) == 6
    for worker in every:
        assert worker.known_price is not None
        assert worker.known_price.cost(1_000, 1_000) == 0
        assert {"local", "tag:local", "provider:embedded"} <= worker.labels
        assert (worker.tools, worker.images, worker.json_schema) == (False, False, True)
        assert worker.context_window == local_runtime.CONTEXT_WINDOW
    assert embedded._MODES.keys() == local_models.MODELS.keys()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Write a Python function that adds two numbers.", True),
        ("Please implement a small script to rename files", True),
        ("What does this program print? print(3 * 4)", False),
        ("How many letters has 'function'?", False),
        ("Compute 487 * 36 + 219.", False),
    ],
)
def test_code_that_is_the_answer_is_not_run(text: str, wanted: bool) -> None:
    """A program-aided worker hands over code that was asked for, and runs what works out an answer."""
    assert asks_for_code([{"role": "user", "content": text}]) is wanted
