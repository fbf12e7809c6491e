"""Reasoning that a worker wants back finds its way through clients of another dialect, and to nobody else."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from fugu_adapters.engine.providers.sealed import seal
from fugu_adapters.testing.acts import Act, sse_reply

ADD = {"type": "object", "properties": {"a": {"type": "integer"}}}
USER = {"role": "user", "content": "add"}
SIGNED = {"google": {"thought_signature": "c2lnbg"}}

# What each kind of worker says, whole and in pieces: it thinks, says something, and calls a tool.
CHAT_WHOLE = {"choices": [{"index": 0, "finish_reason": "tool_calls", "message": {"role": "assistant", "content": "On it.", "reasoning_content": "hm, add", "tool_calls": [{"id": "c1", "type": "function", "extra_content": SIGNED, "function": {"name": "add", "arguments": '{"a": 1}'}}]}}]}  # fmt: skip
CHAT_PIECES = [
    {"choices": [{"index": 0, "delta": {"reasoning_content": "hm, "}}]},
    {"choices": [{"index": 0, "delta": {"reasoning_content": "add"}}]},
    {"choices": [{"index": 0, "delta": {"content": "On it."}}]},
    {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "c1", "extra_content": SIGNED, "function": {"name": "add", "arguments": '{"a": 1}'}}]}, "finish_reason": "tool_calls"}]},
    "[DONE]",
]  # fmt: skip
THINKING = {"type": "thinking", "thinking": "hm, add", "signature": "c2VhbGVk"}
REDACTED = {"type": "redacted_thinking", "data": "c2VjcmV0"}
TOOL_USE = {"type": "tool_use", "id": "c1", "name": "add", "input": {"a": 1}}
MESSAGES_WHOLE = {"content": [THINKING, REDACTED, {"type": "text", "text": "On it."}, TOOL_USE], "stop_reason": "tool_use"}  # fmt: skip
MESSAGES_PIECES = [
    {"type": "message_start", "message": {"usage": {"input_tokens": 3, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm, "}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "add"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "c2VhbGVk"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": REDACTED},
    {"type": "content_block_stop", "index": 1},
    {"type": "content_block_start", "index": 2, "content_block": {"type": "text", "text": "On it."}},
    {"type": "content_block_stop", "index": 2},
    {"type": "content_block_start", "index": 3, "content_block": {**TOOL_USE, "input": {}}},
    {"type": "content_block_delta", "index": 3, "delta": {"type": "input_json_delta", "partial_json": '{"a": 1}'}},
    {"type": "content_block_stop", "index": 3},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 9}},
    {"type": "message_stop"},
]  # fmt: skip
REASONING = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm, add"}], "encrypted_content": "c2VhbGVk"}  # fmt: skip
SAID = {"type": "message", "id": "m_1", "role": "assistant", "content": [{"type": "output_text", "text": "On it.", "annotations": []}]}  # fmt: skip
CALLED = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "add", "arguments": '{"a": 1}'}  # fmt: skip
RESPONSES_WHOLE = {"id": "r", "status": "completed", "output": [REASONING, SAID, CALLED]}
RESPONSES_PIECES = [
    {"type": "response.created", "response": {"id": "r"}},
    {"type": "response.output_item.added", "output_index": 0, "item": {**REASONING, "summary": [], "encrypted_content": None}},
    {"type": "response.reasoning_summary_part.added", "output_index": 0, "summary_index": 0, "part": {"type": "summary_text", "text": ""}},
    {"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 0, "delta": "hm, "},
    {"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 0, "delta": "add"},
    {"type": "response.output_item.done", "output_index": 0, "item": REASONING},
    {"type": "response.output_item.added", "output_index": 1, "item": {**SAID, "content": []}},
    {"type": "response.output_text.delta", "output_index": 1, "delta": "On it."},
    {"type": "response.output_item.done", "output_index": 1, "item": SAID},
    {"type": "response.output_item.added", "output_index": 2, "item": {**CALLED, "arguments": ""}},
    {"type": "response.function_call_arguments.delta", "output_index": 2, "delta": '{"a": 1}'},
    {"type": "response.output_item.done", "output_index": 2, "item": CALLED},
    {"type": "response.completed", "response": RESPONSES_WHOLE},
]  # fmt: skip
WORKERS: dict[str, tuple[Any, Any]] = {
    "openai": (CHAT_WHOLE, CHAT_PIECES),
    "anthropic": (MESSAGES_WHOLE, MESSAGES_PIECES),
    "responses": (RESPONSES_WHOLE, RESPONSES_PIECES),
}
DIALECTS = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages", "responses": "/v1/responses"}  # fmt: skip


def asked(path: str, history: list[Any], **more: Any) -> dict[str, Any]:
    """A request of the dialect with a tool."""
    tools: dict[str, Any] = {
        "/v1/chat/completions": {"messages": history, "tools": [{"type": "function", "function": {"name": "add", "parameters": ADD}}]},
        "/v1/messages": {"max_tokens": 4000, "messages": history, "tools": [{"name": "add", "input_schema": ADD}]},
        "/v1/responses": {"input": history, "tools": [{"type": "function", "name": "add", "parameters": ADD}]},
    }[path]  # fmt: skip
    return {"model": "fugu", **tools, **more}


def events_of(text: str) -> list[dict[str, Any]]:
    """What a client reads of a stream."""
    return [json.loads(line[5:]) for line in text.splitlines() if line.startswith("data: {")]


def kept_of(path: str, reply: Any, *, stream: bool) -> list[Any]:
    """What a client keeps of a reply for its history, as the official ones do."""
    if path == "/v1/responses":
        return list((events_of(reply.text)[-1]["response"] if stream else reply.json())["output"])
    if path == "/v1/messages":
        content = blocks_of(events_of(reply.text)) if stream else reply.json()["content"]
        return [{"role": "assistant", "content": content}]
    if not stream:
        return [reply.json()["choices"][0]["message"]]
    message: dict[str, Any] = {"role": "assistant", "content": "", "tool_calls": []}
    for event in events_of(reply.text):
        for name, value in event["choices"][0]["delta"].items():
            if name == "tool_calls":
                call = value[0]
                if "id" in call:
                    message["tool_calls"].append(call)
                else:
                    message["tool_calls"][call["index"]]["function"]["arguments"] += call["function"]["arguments"]  # fmt: skip
            elif name != "role":
                message[name] = message[name] + value if name in message else value
    for call in message["tool_calls"]:
        del call["index"]
    return [message]


def blocks_of(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A message's blocks, put together."""
    blocks: list[dict[str, Any]] = []
    for event in events:
        if event["type"] == "content_block_start":
            blocks.append({**event["content_block"], "input": ""} if event["content_block"]["type"] == "tool_use" else event["content_block"])  # fmt: skip
        elif event["type"] == "content_block_delta":
            field = {"partial_json": "input"}
            for name, value in event["delta"].items():
                if name != "type":
                    blocks[-1][field.get(name, name)] += value
    for block in blocks:
        if block["type"] == "tool_use":
            block["input"] = json.loads(block["input"])
    return blocks


def result_for(path: str) -> dict[str, Any]:
    """The tool's result."""
    return {
        "/v1/chat/completions": {"role": "tool", "tool_call_id": "c1", "content": "2"},
        "/v1/messages": {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "2"}]},
        "/v1/responses": {"type": "function_call_output", "call_id": "c1", "output": "2"},
    }[path]  # fmt: skip


def given_back(api: str, body: Mapping[str, Any]) -> Any:
    """The reasoning in a request as a worker was sent it, and the call's signature."""
    if api == "anthropic":
        turn = body["messages"][1]["content"]
        return [block for block in turn if block["type"] in ("thinking", "redacted_thinking")]
    if api == "responses":
        return [item for item in body["input"] if item.get("type") == "reasoning"]
    message = body["messages"][1]
    return [message.get("reasoning_content"), message["tool_calls"][0].get("extra_content")]


EXPECTED: dict[str, tuple[Any, Any]] = {
    "openai": (["hm, add", SIGNED], [None, None]),
    "anthropic": ([THINKING, REDACTED], []),
    "responses": ([{name: value for name, value in REASONING.items() if name != "id"}], []),
}
PAIRS = [(worker, client) for worker in DIALECTS for client in DIALECTS if worker != client]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("api", "client"), PAIRS)
async def test_a_round_of_tool_calls(
    serve: Callable[..., Any], api: str, client: str, stream: bool
) -> None:
    """The same worker has its own reasoning again; another one of its dialect sees none; the text is first."""
    whole, pieces = WORKERS[api]
    act = sse_reply(pieces) if stream else Act(headers={"content-type": "application/json"}, pieces=(json.dumps(whole).encode(),))  # fmt: skip
    served = await serve({"w": [act], "v": [act]}, apis={"w": api, "v": api})
    path = DIALECTS[client]
    more = {"stream": stream, "fugu": {"exclude": ["v"]}}
    first = await served.post(path, asked(path, [USER], **more))
    assert first.status_code == 200
    said = kept_of(path, first, stream=stream)
    if client == "anthropic":  # a client that has not asked for thinking reads the first block
        assert said[0]["content"][0] == {"type": "text", "text": "On it."}
    history = [USER, *said, result_for(path)]
    for other, expected in (("v", EXPECTED[api][0]), ("w", EXPECTED[api][1])):
        again = asked(path, history, stream=stream, fugu={"exclude": [other]})
        assert (await served.post(path, again)).status_code == 200
        assert given_back(api, served.upstream.requests[-1].json) == expected
        assert "fugu2." not in json.dumps(served.upstream.requests[-1].json)


@pytest.mark.parametrize("stream", [False, True])
async def test_thinking_is_shown_to_those_who_ask_for_it(
    serve: Callable[..., Any], stream: bool
) -> None:
    """In the place that each dialect has for it, before the answer."""
    act = sse_reply(CHAT_PIECES) if stream else Act(headers={"content-type": "application/json"}, pieces=(json.dumps(CHAT_WHOLE).encode(),))  # fmt: skip
    served = await serve({"w": [act]})
    thinking = {"type": "enabled", "budget_tokens": 2000}
    reply = await served.post("/v1/messages", asked("/v1/messages", [USER], stream=stream, thinking=thinking))  # fmt: skip
    blocks = kept_of("/v1/messages", reply, stream=stream)[0]["content"]
    kinds = [block["type"] for block in blocks]
    assert kinds[:2] == (["thinking", "text"] if stream else ["thinking", "redacted_thinking"])
    assert kinds[-1] == "tool_use"
    assert blocks[0]["thinking"] == "hm, add"
    assert blocks[0]["signature"].startswith("fugu2.")
    history = [USER, {"role": "assistant", "content": blocks}, result_for("/v1/messages")]
    await served.post("/v1/messages", asked("/v1/messages", history, thinking=thinking))
    assert given_back("openai", served.upstream.requests[-1].json) == EXPECTED["openai"][0]
    reply = await served.post("/v1/responses", asked("/v1/responses", [USER], stream=stream))
    item = kept_of("/v1/responses", reply, stream=stream)[0]
    assert (item["type"], item["summary"][0]["text"]) == ("reasoning", "hm, add")


async def test_a_response_goes_on_by_its_id_with_its_reasoning(serve: Callable[..., Any]) -> None:
    """What the server keeps of a reply holds the reasoning too."""
    served = await serve({"w": [sse_reply(MESSAGES_PIECES)]}, apis={"w": "anthropic"})
    body = asked("/v1/responses", [USER], stream=True)
    first = events_of((await served.post("/v1/responses", body)).text)[-1]["response"]
    again = {**asked("/v1/responses", [result_for("/v1/responses")], stream=True), "previous_response_id": first["id"]}  # fmt: skip
    assert (await served.post("/v1/responses", again)).status_code == 200
    assert given_back("anthropic", served.upstream.requests[-1].json) == [THINKING, REDACTED]


async def test_another_may_answer_after_a_thought(serve: Callable[..., Any]) -> None:
    """A worker that breaks off while it thinks has not answered yet."""
    served = await serve({"w": [sse_reply(CHAT_PIECES)], "v": [sse_reply(CHAT_PIECES)]})
    first = served.fugu.route("add").worker
    served.upstream.script(first, [sse_reply(CHAT_PIECES[:2], end="reset")])
    reply = await served.post("/v1/responses", asked("/v1/responses", [USER], stream=True))
    whole = events_of(reply.text)[-1]["response"]
    assert whole["fugu"]["worker"] != first
    assert [call["ok"] for call in whole["fugu"]["calls"]] == [False, True]
    kinds = [item["type"] for item in whole["output"]]
    assert [kind for kind in kinds if kind != "reasoning"] == ["message", "function_call"]


async def test_encrypted_reasoning_is_asked_for_where_there_is_some(
    serve: Callable[..., Any],
) -> None:
    """OpenAI's host refuses the wish for models that do not reason."""
    act = Act(headers={"content-type": "application/json"}, pieces=(json.dumps(RESPONSES_WHOLE).encode(),))  # fmt: skip
    for reasoning, included in ((True, ["reasoning.encrypted_content"]), (False, None), (None, None)):  # fmt: skip
        served = await serve({"w": [act]}, apis={"w": "responses"}, reasoning=reasoning)
        await served.post("/v1/messages", asked("/v1/messages", [USER]))
        assert served.upstream.requests[-1].json.get("include") == included


async def test_gemini_is_told_which_calls_are_not_its_own(serve: Callable[..., Any]) -> None:
    """It refuses calls without a signature since the user's last message; others refuse calls that have one."""
    act = Act(headers={"content-type": "application/json"}, pieces=(json.dumps(CHAT_WHOLE).encode(),))  # fmt: skip
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    path = "/v1/chat/completions"
    skipped = {"google": {"thought_signature": "skip_thought_signature_validator"}}
    for provider, signed, expected in (("google", None, skipped), ("google", SIGNED, SIGNED), ("groq", SIGNED, None)):  # fmt: skip
        served = await serve({"w": [act]}, provider=provider)
        said = {"role": "assistant", "content": None, "tool_calls": [call | ({"extra_content": signed} if signed else {})]}  # fmt: skip
        await served.post(path, asked(path, [USER, said, result_for(path)]))
        assert given_back("openai", served.upstream.requests[-1].json)[1] == expected
        await served.post(path, asked(path, [USER, said, result_for(path), {"role": "user", "content": "thanks"}]))  # fmt: skip
        later = given_back("openai", served.upstream.requests[-1].json)[1]
        assert later == (expected if signed else None)


async def test_some_hosts_have_their_reasoning_in_every_later_turn(
    serve: Callable[..., Any],
) -> None:
    """They refuse a history with calls whose reasoning is gone; of other hosts it is not known."""
    act = Act(headers={"content-type": "application/json"}, pieces=(json.dumps(CHAT_WHOLE).encode(),))  # fmt: skip
    path = "/v1/chat/completions"
    for provider, own, foreign in (("deepseek", "hm, add", ""), ("moonshotai", "hm, add", " "), ("groq", None, None)):  # fmt: skip
        served = await serve({"w": [act]}, provider=provider)
        first = kept_of(path, await served.post(path, asked(path, [USER])), stream=False)
        for said, expected in ((first[0], own), ({**first[0], "reasoning_content": None}, foreign)):
            history = [USER, said, result_for(path), {"role": "user", "content": "thanks"}]
            await served.post(path, asked(path, history))
            assert given_back("openai", served.upstream.requests[-1].json)[0] == expected


async def test_what_a_client_has_spoiled_is_left_out(serve: Callable[..., Any]) -> None:
    """Cut, made up, or not what the worker's codec knows: the request goes on without it."""
    act = Act(headers={"content-type": "application/json"}, pieces=(json.dumps(MESSAGES_WHOLE).encode(),))  # fmt: skip
    served = await serve({"w": [act]}, apis={"w": "anthropic"})
    worker = served.fugu.pool["w"]
    good = seal(json.dumps(THINKING), worker)
    texts = [good[:-3], "fugu2.", "fugu2.000000000000.AAAA", seal("[]", worker), seal('{"type": "image"}', worker), 7, None, good]  # fmt: skip
    details = [{"type": "reasoning.encrypted", "data": text} for text in texts] + ["x", None]
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    path = "/v1/chat/completions"
    for spoiled, kept in ((details, [THINKING]), ("fugu2", []), ({"a": 1}, []), (3, [])):
        said = {"role": "assistant", "content": None, "tool_calls": [call], "reasoning_details": spoiled}  # fmt: skip
        reply = await served.post(path, asked(path, [USER, said, result_for(path)]))
        assert reply.status_code == 200
        assert given_back("anthropic", served.upstream.requests[-1].json) == kept
