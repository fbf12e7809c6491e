"""Workers that run inside this process on small open models, with no key and no network.

A mode makes one model into several workers: asked plainly, shown examples first, or asked for a
calculation or a program that we then run. The last two are strong where the model's own arithmetic or
spelling is weak; where the program fails they answer plainly instead.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fugu_adapters.config import Worker
from fugu_adapters.engine.backend import OnDelta
from fugu_adapters.errors import InputError, WeightsError
from fugu_adapters.messages import text_of
from fugu_adapters.types import Delta, Message, Reply, Request, Usage
from fugu_adapters.workers import local_models, prompts_embedded
from fugu_adapters.workers.local_runtime import (
    CONTEXT_WINDOW,
    SLOTS,
    Completion,
    OnText,
    get_runtime,
)
from fugu_adapters.workers.program import ProgramResult, evaluate_expression, run_program

__all__ = ["EmbeddedBackend", "embedded_workers"]

_MAX_OUTPUT = 512  # tokens of a reply where nobody says
_MAX_PROGRAM = 256  # tokens of a program
_MAX_EXPRESSION = 48  # tokens of an expression
_PROGRAM_S = 3.0  # what a program may take


class EmbeddedBackend:
    """Answers with a local model. The weights load on the first call and are shared by path."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def call(self, request: Request, *, on_delta: OnDelta | None = None) -> Reply:
        """Answer one request in the worker's mode; see ``Backend``.

        Raises:
            ConfigError: where the runtime or the weights are missing.
            WorkerError: where the prompt is too long or the runtime fails.
        """
        request = replace(request, messages=tuple(_flatten(request.messages)))
        mode = self._worker.mode or "plain"
        if request.response_format is None:  # programs cannot be held to a format
            if mode == "calculator" and prompts_embedded.has_number(request.messages):
                return await self._calculate(request, on_delta)
            if mode == "python" and not prompts_embedded.asks_for_code(request.messages):
                return await self._program(request, on_delta)
        messages: Sequence[Message] = request.messages
        if mode == "few-shot":
            messages = prompts_embedded.with_examples(messages)
        return await self._plain(request, messages, on_delta)

    async def aclose(self) -> None:
        """Nothing to release: loaded weights are shared and stay for the process's life."""

    async def _plain(
        self, request: Request, messages: Sequence[Message], on_delta: OnDelta | None
    ) -> Reply:
        on_text = None
        if on_delta is not None:
            deliver = on_delta

            def on_text(text: str) -> None:
                deliver(Delta(text=text))

        bound = request.max_output_tokens or self._worker.max_output_tokens or _MAX_OUTPUT
        completion = await self._complete(request, messages, bound, on_text=on_text)
        return Reply(
            text=completion.text.strip(),
            usage=completion.usage,
            finish_reason="length" if completion.truncated else "stop",
            model=self._worker.model,
        )

    async def _calculate(self, request: Request, on_delta: OnDelta | None) -> Reply:
        completion = await self._complete(
            request,
            prompts_embedded.ask_for_expression(request.messages),
            _MAX_EXPRESSION,
            grammar=prompts_embedded.expression_grammar(request.messages),
        )
        expression = completion.text.strip()
        try:
            value = evaluate_expression(expression)
        except InputError as error:
            step = f"calculator: {expression} -> {error}"
            return await self._fall_back(request, on_delta, completion.usage, step)
        answer = str(value) if isinstance(value, int) else f"{value:.10g}"
        return self._answer(answer, completion.usage, f"calculator: {expression}", on_delta)

    async def _program(self, request: Request, on_delta: OnDelta | None) -> Reply:
        completion = await self._complete(
            request, prompts_embedded.ask_for_program(request.messages), _MAX_PROGRAM
        )
        source = prompts_embedded.extract_program(completion.text)
        if source is None:
            step = "python: the model answered without a program"
            return self._answer(completion.text.strip(), completion.usage, step, on_delta)
        result = await run_program(source, seconds=_PROGRAM_S)
        step = _describe(source, result)
        if result.error is None and not result.output:  # only definitions: code was asked for
            return self._answer(f"```python\n{source}\n```", completion.usage, step, on_delta)
        if result.error is not None:
            return await self._fall_back(request, on_delta, completion.usage, step)
        return self._answer(result.output, completion.usage, step, on_delta)

    async def _fall_back(
        self, request: Request, on_delta: OnDelta | None, spent: Usage, step: str
    ) -> Reply:
        """The program came to nothing: answer plainly."""
        reply = await self._plain(request, request.messages, on_delta)
        return replace(reply, usage=spent + reply.usage, steps=(step, "answered plainly instead"))

    def _answer(self, text: str, usage: Usage, step: str, on_delta: OnDelta | None) -> Reply:
        if on_delta is not None and text:
            on_delta(Delta(text=text))
        return Reply(text=text, usage=usage, model=self._worker.model, steps=(step,))

    async def _complete(
        self,
        request: Request,
        messages: Sequence[Message],
        max_tokens: int,
        *,
        grammar: str | None = None,
        on_text: OnText | None = None,
    ) -> Completion:
        body = _body(request, messages, max_tokens, grammar)
        runtime = await get_runtime(_path(self._worker))
        return await runtime.complete(body, worker=self._worker.name, on_text=on_text)


def _body(
    request: Request, messages: Sequence[Message], max_tokens: int, grammar: str | None
) -> dict[str, Any]:
    """The runtime's request. Temperature 0 where nobody says, so that runs can be repeated."""
    body: dict[str, Any] = {
        "messages": [dict(message) for message in messages],
        "max_tokens": max_tokens,
        "temperature": request.temperature or 0.0,
    }
    if request.top_p is not None:
        body["top_p"] = request.top_p
    if request.seed is not None:
        body["seed"] = request.seed
    if grammar is not None:
        body["grammar"] = grammar
    else:
        body |= {"stop": list(request.stop)} if request.stop else {}
        body |= {"response_format": request.response_format} if request.response_format else {}
    return body


def _path(worker: Worker) -> Path:
    """Where the worker's weights are.

    Raises:
        WeightsError: where they are not here.
    """
    if worker.path is not None:
        return worker.path
    name = worker.model or worker.name
    path = local_models.locate(name)
    if path is None:
        raise WeightsError(
            f"worker {worker.name!r}: the weights of {name!r} are not here; "
            f"`fugu pull {name}` fetches them ({local_models.get_model(name).size / 1e6:,.0f} MB)"
        )
    return path


def _flatten(messages: Iterable[Message]) -> list[Message]:
    """Messages as the models' chat templates take them: text only, three roles."""
    return [_plain_message(message) for message in messages]


def _plain_message(message: Message) -> Message:
    role, text = message.get("role"), text_of(message)
    if role == "tool":
        return {"role": "user", "content": f"The tool returned:\n{text}"}
    if role == "assistant" and message.get("tool_calls"):
        calls = [_call_text(call.get("function") or {}) for call in message["tool_calls"]]
        return {"role": "assistant", "content": "\n".join([*([text] if text else []), *calls])}
    return {"role": "system" if role == "developer" else role, "content": text}


def _call_text(function: Mapping[str, Any]) -> str:
    return f"(called {function.get('name')} with {function.get('arguments')})"


def _describe(source: str, result: ProgramResult) -> str:
    outcome = f"error: {result.error}" if result.error is not None else result.output
    return f"python:\n{source}\n-> {outcome}"


_MODES = {
    "smollm2-135m": {"smol-plain": "plain", "smol-calculator": "calculator"},
    "qwen2.5-coder-0.5b": {"qwen-0.5b-plain": "plain", "qwen-0.5b-python": "python"},
    "qwen2.5-coder-1.5b": {"qwen-1.5b-plain": "plain", "qwen-1.5b-python": "python"},
}


@functools.cache
def _all_workers() -> tuple[Worker, ...]:
    return tuple(
        Worker(
            name=name,
            api="embedded",
            model=model,
            mode=mode,  # type: ignore[arg-type]  # checked by pydantic
            provider="embedded",
            context_window=CONTEXT_WINDOW,
            max_output_tokens=_MAX_OUTPUT,  # small models ramble, at ten tokens a second
            tools=False,
            images=False,
            json_schema=True,
            tags=frozenset({"local"}),
            concurrency=SLOTS,
        )
        for model, modes in _MODES.items()
        for name, mode in modes.items()
    )


def embedded_workers(*, missing: bool = False) -> tuple[Worker, ...]:
    """The workers that local models give, smallest first.

    Args:
        missing: also those whose weights are not here yet.
    """
    present = set(local_models.available())
    return tuple(w for w in _all_workers() if missing or w.model in present)
