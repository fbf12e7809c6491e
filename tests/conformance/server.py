"""Our server, and beside our tools the fixtures that the official conformance suite asks for by name."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

from fugu_adapters import Fugu, Pool
from fugu_adapters.testing import ScriptedWorker
from mcp_server import Handlers, serve_http, serve_stdio
from mcp_server.peer import Peer

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEARKwAAIhYAQACABAAZGF0YQAAAAA="


def text(words: str) -> dict[str, Any]:
    """A block of text."""
    return {"type": "text", "text": words}


def embedded(uri: str, words: str, kind: str = "text/plain") -> dict[str, Any]:
    """A block that holds a resource."""
    return {"type": "resource", "resource": {"uri": uri, "mimeType": kind, "text": words}}


IMAGE = {"type": "image", "data": PNG, "mimeType": "image/png"}
AUDIO = {"type": "audio", "data": WAV, "mimeType": "audio/wav"}

TOOLS: dict[str, dict[str, Any]] = {
    "test_simple_text": {"content": [text("This is a simple text response for testing.")]},
    "test_image_content": {"content": [IMAGE]},
    "test_audio_content": {"content": [AUDIO]},
    "test_embedded_resource": {
        "content": [embedded("test://embedded-resource", "An embedded resource for testing.")]
    },
    "test_multiple_content_types": {
        "content": [
            text("Multiple content types test:"),
            IMAGE,
            embedded("test://mixed-content-resource", '{"test": "data"}', "application/json"),
        ]
    },
    "test_tool_with_progress": {"content": [text("done")]},
    "test_error_handling": {
        "content": [text("This tool intentionally returns an error for testing")],
        "isError": True,
    },
}

PROMPTS: dict[str, list[str]] = {
    "test_simple_prompt": [],
    "test_prompt_with_arguments": ["arg1", "arg2"],
    "test_prompt_with_embedded_resource": ["resourceUri"],
    "test_prompt_with_image": [],
}


class Fixtures(Handlers):
    """Answers for the fixtures; everything else is answered as it always is."""

    async def handle(self, method: str, params: Mapping[str, Any], peer: Peer) -> dict[str, Any]:
        name, uri = params.get("name", ""), str(params.get("uri", ""))
        if method == "tools/call" and name in TOOLS:
            if name == "test_tool_with_progress":
                for done in (0, 50, 100):
                    await peer.progress(done, f"{done} of 100")
                    await asyncio.sleep(0.05)
            return TOOLS[name]
        if method == "tools/call" and name == "test_sampling":
            return await _sampled(params, peer)
        if method == "tools/call" and name == "test_input_required_result_sampling":
            return _asked_back(params)
        if (method == "resources/read" and uri in _STATIC) or uri.startswith("test://template/"):
            return {"contents": [_resource(uri)]}
        if method == "prompts/get" and name in PROMPTS:
            return {"messages": _prompt(name, params.get("arguments") or {})}
        answer = await super().handle(method, params, peer)
        for key, fixtures in _LISTED.items():
            if key in answer:
                answer[key] += fixtures
        return answer


async def _sampled(params: Mapping[str, Any], peer: Peer) -> dict[str, Any]:
    """The client's model answers a prompt, by a request to the client."""
    prompt = text(params["arguments"]["prompt"])
    asked = {"messages": [{"role": "user", "content": prompt}], "maxTokens": 100}
    answer = await peer.sample(asked)
    return {"content": [text(f"LLM response: {answer['content']['text']}")]}


def _asked_back(params: Mapping[str, Any]) -> dict[str, Any]:
    """The same since 2026-07-28: the result asks, and the call is made again with the answer."""
    answers = params.get("inputResponses")
    if answers:
        return {"content": [text(f"The model says: {answers['ask-1']['content']['text']}")]}
    prompt = text("What is the capital of France?")
    asked = {"messages": [{"role": "user", "content": prompt}], "maxTokens": 100}
    question = {"method": "sampling/createMessage", "params": asked}
    return {"resultType": "input_required", "inputRequests": {"ask-1": question}}


_STATIC = ("test://static-text", "test://static-binary")
_SAMPLED = ("test_sampling", "test_input_required_result_sampling")
_LISTED: dict[str, list[dict[str, Any]]] = {
    "tools": [
        {"name": name, "description": "A fixture.", "inputSchema": {"type": "object"}}
        for name in (*TOOLS, *_SAMPLED)
    ],
    "prompts": [
        {
            "name": name,
            "description": "A fixture.",
            "arguments": [
                {"name": each, "description": "A fixture's.", "required": True}
                for each in arguments
            ],
        }
        for name, arguments in PROMPTS.items()
    ],
    "resources": [
        {"uri": "test://static-text", "name": "text", "mimeType": "text/plain"},
        {"uri": "test://static-binary", "name": "binary", "mimeType": "image/png"},
    ],
    "resourceTemplates": [{"uriTemplate": "test://template/{id}/data", "name": "template"}],
}


def _resource(uri: str) -> dict[str, Any]:
    if uri == "test://static-binary":
        return {"uri": uri, "mimeType": "image/png", "blob": PNG}
    if uri == "test://static-text":
        words = "This is the content of the static text resource."
        return {"uri": uri, "mimeType": "text/plain", "text": words}
    number = uri.removeprefix("test://template/").removesuffix("/data")
    body = f'{{"id": "{number}", "templateTest": true, "data": "Data for ID: {number}"}}'
    return {"uri": uri, "mimeType": "application/json", "text": body}


def _prompt(name: str, arguments: Mapping[str, str]) -> list[dict[str, Any]]:
    words = text("This is a simple prompt for testing.")
    if name == "test_prompt_with_arguments":
        words = text("Prompt with arguments: arg1='{arg1}', arg2='{arg2}'".format(**arguments))
    contents = [words]
    if name == "test_prompt_with_embedded_resource":
        first = embedded(arguments["resourceUri"], "Embedded resource content for testing.")
        contents = [first, text("Please process the embedded resource above.")]
    elif name == "test_prompt_with_image":
        contents = [IMAGE, text("Please analyze the image above.")]
    return [{"role": "user", "content": content} for content in contents]


def _handlers() -> Handlers:
    pool = Pool([ScriptedWorker("scripted", "an answer").worker])
    return Fixtures(lambda: pool, None, lambda pool: Fugu(pool, store=False))


if __name__ == "__main__":
    if sys.argv[1] == "stdio":
        serve_stdio(_handlers)
    else:
        serve_http(_handlers, port=int(sys.argv[1]))
