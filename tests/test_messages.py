"""Chat messages: what is refused before any call, and what routing reads of the rest."""

from __future__ import annotations

import pytest

from fugu_adapters import messages as module
from fugu_adapters.errors import InputError
from fugu_adapters.messages import (
    estimate_tokens,
    has_images,
    parse_messages,
    routing_text,
    text_of,
    wants_json_schema,
)
from fugu_adapters.types import Request

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def user(content):
    return {"role": "user", "content": content}


def test_text_becomes_one_user_message():
    """A plain string is the user's message."""
    assert parse_messages("hello") == (user("hello"),)


def test_a_conversation_with_tools_and_images_passes_unchanged():
    """Every shape of OpenAI's chat messages that workers take is accepted as it is."""
    conversation = [
        {"role": "system", "content": "be brief"},
        {"role": "developer", "content": "in French"},
        user([{"type": "text", "text": "what is this?"}, IMAGE]),
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "a cat"},
    ]
    assert parse_messages(iter(conversation)) == tuple(conversation)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "the list is empty"),
        ("", "every message is empty"),
        ([user(" ")], "every message is empty"),
        (b"hello", "expected text or a list of chat messages, got bytes"),
        (user("x"), "expected text or a list of chat messages, got dict"),
        (None, "got NoneType"),
        (["secret prompt"], "messages[0]: expected an object with role and content, got str"),
        ([user("x"), {"content": "x"}], "messages[1].role: expected one of"),
        ([{"role": "robot", "content": "x"}], "got 'robot'"),
        ([{"role": "user"}], "messages[0].content: expected text or a list of parts"),
        ([user(3)], "got int"),
        ([user(["x"])], "messages[0].content[0]: expected a text or image_url part"),
        ([user([{"type": "input_audio"}])], "got type 'input_audio'"),
        ([user([{"type": "image_url", "image_url": "x"}])], ".image_url: expected"),
        (
            [user([{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}])],
            ".image_url: expected",
        ),
        ([{"role": "tool", "content": "x"}], "messages[0].tool_call_id"),
        ([{"role": "assistant", "content": None}], "messages[0].content"),
        ([{"role": "assistant", "tool_calls": "f"}], "tool_calls: expected a list of calls"),
        ([{"role": "assistant", "tool_calls": [{"id": "c"}]}], "tool_calls[0]: expected id and"),
        (
            [{"role": "assistant", "tool_calls": [{**CALL, "function": {"name": "f"}}]}],
            "tool_calls[0]",
        ),
    ],
)
def test_a_malformed_message_is_refused_with_its_place(given, said):
    """The error says where and what was expected, and never quotes the prompt."""
    with pytest.raises(InputError) as caught:
        parse_messages(given)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("bound", "given"),
    [
        ("MAX_REQUEST_BYTES", [user("é" * 6)]),
        (
            "MAX_REQUEST_BYTES",
            [
                {
                    "role": "assistant",
                    "tool_calls": [{**CALL, "function": {"name": "f", "arguments": "{" * 12}}],
                }
            ],
        ),
        ("MAX_IMAGE_BYTES", [user([IMAGE])]),
    ],
)
def test_an_oversized_request_is_refused(monkeypatch, bound, given):
    """Text, tool arguments and images are bounded in bytes before anything is sent."""
    monkeypatch.setattr(module, bound, 11)
    with pytest.raises(InputError, match="over the bound of 11"):
        parse_messages(given)


def test_text_of_joins_parts_and_tolerates_none():
    """Images do not show in a message's text."""
    parts = [{"type": "text", "text": "a"}, IMAGE, {"type": "text", "text": "b"}]
    assert text_of(user(parts)) == "a\nb"
    assert text_of({"role": "assistant", "content": None}) == ""


def test_what_a_request_needs_is_seen():
    """Images and a JSON schema are found wherever they are."""
    plain = Request(messages=(user("x"),))
    shown = Request(messages=(user([IMAGE]), user("x")))
    formed = Request(messages=(user("x"),), response_format={"type": "json_schema"})
    assert [has_images(r) for r in (plain, shown, formed)] == [False, True, False]
    assert [wants_json_schema(r) for r in (plain, shown, formed)] == [False, False, True]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        (
            "The quick brown fox jumps over the lazy dog. " * 40,
            400,
        ),  # 10 a sentence by common counts
        ("今日は天気がいいですね。" * 40, 360),
    ],
)
def test_the_estimate_of_prose_errs_on_the_high_side(text, tokens):
    """Budgets are reserved by this number, so it is above common tokenizers, though not wildly."""
    estimate = estimate_tokens(Request(messages=(user(text),)))
    assert tokens < estimate < 3 * tokens


def test_tools_images_and_formats_count():
    """Everything that is sent is estimated, not only the text."""
    base = Request(messages=(user("x"),))
    tool = {"type": "function", "function": {"name": "f", "description": "d" * 300}}
    richer = [
        Request(messages=base.messages, tools=(tool,)),
        Request(messages=base.messages, response_format={"type": "json_schema", "x": "y" * 300}),
        Request(messages=(*base.messages, {"role": "assistant", "tool_calls": [CALL]})),
    ]
    assert all(estimate_tokens(r) > estimate_tokens(base) for r in richer)
    with_image = Request(messages=(user([IMAGE]),))
    assert estimate_tokens(with_image) > 1_000


def test_routing_reads_the_last_user_message():
    """What the user asked last decides, not the tools' results or the system's words."""
    asked = (
        {"role": "system", "content": "s"},
        user("first"),
        {"role": "assistant", "content": "a"},
        user("second"),
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "result"},
    )
    assert routing_text(Request(messages=asked)) == "second"
    assert routing_text(Request(messages=asked[:1])) == "s"
    assert routing_text(Request(messages=(user([IMAGE]),))) == ""


def test_a_long_message_keeps_head_and_tail():
    """The question may stand before or after a pasted document; both ends are kept."""
    text = routing_text(Request(messages=(user("HEAD" + "x" * 50_000 + "TAIL"),)), max_chars=100)
    assert text.startswith("HEAD")
    assert text.endswith("TAIL")
    assert len(text) == 101
