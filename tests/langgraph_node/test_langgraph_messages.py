"""LangChain's messages in OpenAI's shape, and results and their pieces as LangChain's messages."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("langchain_core")

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)

from fugu_adapters import Candidate, Decision, Delta, InputError, Result, ToolCall, Usage
from fugu_adapters.hosts import plain_decision
from fugu_adapters.messages import parse_messages
from langgraph_node.messages import (
    for_routing,
    to_chunk,
    to_last_chunk,
    to_message,
    to_openai,
)

CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": "é"}'}}
CALLED = [{"name": "f", "args": {"a": "é"}, "id": "c", "type": "tool_call"}]
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
FILE = {"type": "file", "base64": "AAAA", "mime_type": "application/pdf", "filename": "a.pdf"}
DECISION = Decision(
    worker="w",
    candidates=(
        Candidate(worker="w", p_success=0.5, cost_usd=0.01),
        Candidate(worker="v", excluded_because="cannot read images"),
    ),
    reason="because",
    policy="selector:1",
    continuity="kept",
)


def result(**changes: Any) -> Result:
    """A result of worker ``w``."""
    given: dict[str, Any] = {"text": "hi", "worker": "w", "run_id": "r", "decision": DECISION}
    return Result(**{**given, **changes})


@pytest.mark.parametrize(
    ("message", "plain"),
    [
        (SystemMessage("s"), {"role": "system", "content": "s"}),
        (HumanMessage("h", name="bob"), {"role": "user", "content": "h", "name": "bob"}),
        (
            HumanMessage([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]),
            {"role": "user", "content": "a\nb"},
        ),
        (
            HumanMessage([{"type": "image", "base64": "AAAA", "mime_type": "image/png"}]),
            {"role": "user", "content": [IMAGE]},
        ),
        (HumanMessage([IMAGE]), {"role": "user", "content": [IMAGE]}),
        (
            AIMessage("", tool_calls=CALLED),
            {"role": "assistant", "content": "", "tool_calls": [CALL]},
        ),
        (
            AIMessage(
                [
                    {"type": "thinking", "thinking": "secret", "signature": "x"},
                    {"type": "text", "text": "b"},
                    {"type": "tool_use", "id": "c", "name": "f", "input": {"a": "é"}},
                ],
                tool_calls=CALLED,
            ),
            {"role": "assistant", "content": "b", "tool_calls": [CALL]},
        ),
        (
            ToolMessage("r", tool_call_id="c", name="f", status="error"),
            {"role": "tool", "content": "r", "tool_call_id": "c", "name": "f"},
        ),
        (
            ToolMessage(
                [{"type": "image", "base64": "AAAA", "mime_type": "image/png"}], tool_call_id="c"
            ),
            {"role": "tool", "content": [IMAGE], "tool_call_id": "c"},
        ),
    ],
)
def test_messages_keep_what_was_said(message: Any, plain: dict[str, Any]) -> None:
    """Texts, images, calls and results pass; what a model thought does not; our own check takes it."""
    assert to_openai([message]) == [plain]
    assert parse_messages(to_openai([HumanMessage("x"), message]))


def test_calls_with_broken_arguments_stay_beside_their_results() -> None:
    """The call is in the history as the model wrote it, so that its result answers something."""
    bad = {"name": "g", "args": "{oops", "id": "d", "error": "e", "type": "invalid_tool_call"}
    plain = to_openai([AIMessage("", tool_calls=CALLED, invalid_tool_calls=[bad])])[0]
    assert [call["id"] for call in plain["tool_calls"]] == ["c", "d"]
    assert plain["tool_calls"][1]["function"] == {"name": "g", "arguments": "{oops"}


def test_what_we_do_not_know_is_refused_and_not_dropped() -> None:
    """A file reaches the request's own check, which names the part; the text alone is never answered."""
    asked = [HumanMessage([{"type": "text", "text": "Sum this up."}, FILE])]
    with pytest.raises(InputError, match=r"content\[1\].*got type 'file'"):
        parse_messages(to_openai(asked))
    with pytest.raises(InputError, match=r"messages\[1\]: a RemoveMessage"):
        to_openai([HumanMessage("x"), RemoveMessage(id="1")])


def test_routing_sees_texts_and_images_only() -> None:
    """Who is chosen is then asked by the host, which may know files: they do not stop the choice."""
    asked = [HumanMessage([{"type": "text", "text": "Sum this up."}, FILE, IMAGE])]
    assert for_routing(asked)[0]["content"] == [{"type": "text", "text": "Sum this up."}, IMAGE]
    video = {"type": "video", "url": "https://x/y.mp4"}
    assert for_routing([HumanMessage([video, "Sum this up."])])[0]["content"] == "Sum this up."
    with pytest.raises(InputError, match="RemoveMessage"):
        for_routing([RemoveMessage(id="1")])
    assert for_routing([HumanMessage([FILE])]) == [{"role": "user", "content": "(a file)"}]


def test_several_results_in_one_message_stay_several() -> None:
    """Anthropic's shape of answering two calls at once."""
    parts = [{"type": "tool_result", "tool_use_id": str(n), "content": f"r{n}"} for n in range(2)]
    plain = to_openai([HumanMessage(parts)])
    assert [(m["role"], m["tool_call_id"]) for m in plain if m["role"] == "tool"] == [
        ("tool", "0"),
        ("tool", "1"),
    ]


def test_a_result_tells_who_why_and_for_how_much() -> None:
    """The message carries usage with its details, the route, the cost and the run."""
    usage = Usage(input_tokens=9, output_tokens=4, cached_input_tokens=6, reasoning_tokens=3)
    message = to_message(result(usage=usage, cost_usd=0.02), "fugu")
    assert message.usage_metadata == {
        "input_tokens": 9,
        "output_tokens": 4,
        "total_tokens": 13,
        "input_token_details": {"cache_read": 6},
        "output_token_details": {"reasoning": 3},
    }
    about = message.response_metadata
    assert {
        k: about[k] for k in ("model_name", "worker", "cost_usd", "run_id", "finish_reason")
    } == {
        "model_name": "fugu",
        "worker": "w",
        "cost_usd": 0.02,
        "run_id": "r",
        "finish_reason": "stop",
    }
    assert about["route"] == plain_decision(DECISION)
    assert about["route"]["candidates"][1]["excluded_because"] == "cannot read images"
    assert json.loads(json.dumps(about)) == about  # a checkpoint may keep it


def test_unknown_counts_are_not_zero() -> None:
    """Without a token count there is no usage; without details there are none."""
    assert to_message(result(), "fugu").usage_metadata is None
    told = to_message(result(usage=Usage(input_tokens=1, output_tokens=0)), "fugu").usage_metadata
    assert told == {"input_tokens": 1, "output_tokens": 0, "total_tokens": 1}


@pytest.mark.parametrize("arguments", ["{oops", "[1]", "", "[" * 20_000])
def test_calls_that_cannot_be_read_are_invalid_calls(arguments: str) -> None:
    """LangChain's agents answer them with an error; none is lost and none is made up."""
    calls = (
        ToolCall(id="a", name="f", arguments='{"x": "é\n"}'),
        ToolCall(id="b", name="g", arguments=arguments),
    )
    message = to_message(result(tool_calls=calls), "fugu")
    assert [(c["id"], c["name"], c["args"]) for c in message.tool_calls] == [
        ("a", "f", {"x": "é\n"})
    ]
    assert [(c["id"], c["args"]) for c in message.invalid_tool_calls] == [("b", arguments)]


def test_pieces_add_up_to_the_message() -> None:
    """Text and two calls in pieces give what the whole result gives, usage counted once."""
    calls = (
        ToolCall(id="a", name="f", arguments='{"x": 1}'),
        ToolCall(id="b", name="g", arguments="{}"),
    )
    whole = result(tool_calls=calls, usage=Usage(input_tokens=2, output_tokens=3))
    deltas = [
        Delta(text="h"),
        Delta(text="i"),
        Delta(tool_index=0, tool_id="a", tool_name="f", arguments='{"x"'),
        Delta(tool_index=0, arguments=": 1}"),
        Delta(tool_index=1, tool_id="b", tool_name="g", arguments="{}"),
    ]
    added = AIMessageChunk(content="")
    for chunk in [*map(to_chunk, deltas), to_last_chunk(whole, "fugu")]:
        added += chunk
    message = to_message(whole, "fugu")
    assert (added.text, added.tool_calls) == (message.text, message.tool_calls)
    assert added.usage_metadata == message.usage_metadata
    assert added.response_metadata == message.response_metadata
    assert added.chunk_position == "last"


def test_what_a_worker_wants_back_of_its_thinking_goes_back() -> None:
    """Whole or in pieces it stands in the message, and in the next request beside the calls."""
    result = Result(
        text="", worker="w", run_id="r", decision=DECISION, reasoning="hm, add", sealed=("s1", "s2"),
        tool_calls=(ToolCall(id="c", name="f", arguments="{}"),), finish_reason="tool_calls",
    )  # fmt: skip
    pieces = [Delta(reasoning="hm, "), Delta(reasoning="add"), Delta(sealed="s1"), Delta(sealed="s2")]  # fmt: skip
    calls = Delta(tool_index=0, tool_id="c", tool_name="f", arguments="{}")
    chunks = [to_chunk(piece) for piece in [*pieces, calls]]
    added = chunks[0]
    for chunk in [*chunks[1:], to_last_chunk(result, "fugu")]:
        added += chunk
    for message in (to_message(result, "fugu"), added):
        assert message.additional_kwargs["reasoning_content"] == "hm, add"
        plain = to_openai([message])[0]
        assert [each["data"] for each in plain["reasoning_details"]] == ["s1", "s2"]
        assert plain["tool_calls"][0]["id"] == "c"
        assert "reasoning_content" not in plain
