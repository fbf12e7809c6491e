"""``FuguLLM``: the LLM of a CrewAI agent that is a whole pool, or an endpoint that is one."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from contextlib import aclosing, closing, contextmanager
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self, cast

from crewai.events.types.llm_events import LLMCallType
from crewai.llms.base_llm import BaseLLM, llm_call_context
from pydantic import BaseModel, Field, PrivateAttr, model_validator

from crewai_tool.convert import (
    Asked,
    Thoughts,
    plain_calls,
    plain_messages,
    plain_usage,
    response_format,
    session_of,
)
from crewai_tool.errors import as_final, not_again
from fugu_adapters import ConfigError, Event, Fugu, FuguError, Limits, Pool, Request, Result
from fugu_adapters.fugu import MODELS, RunOptions
from fugu_adapters.hosts import KEY, make_fugu
from fugu_adapters.messages import estimate_tokens
from fugu_adapters.store import Store
from fugu_adapters.types import Effort

__all__ = ["FuguLLM"]

_SOURCES = ("fugu", "pool", "config")
_OF_A_POOL = ("quality", "max_cost", "exclude")
_SETTINGS = ("temperature", "top_p", "seed", "effort", *_OF_A_POOL)
"""Options that ``Fugu`` knows under the same name."""

_NOT_OURS = ("frequency_penalty", "presence_penalty", "n")
"""Settings of CrewAI's that no request of ours can say."""

_UNKNOWN_WINDOW = 128_000
_USABLE = 0.85  # the share that CrewAI's own models promise of a window


class FuguLLM(BaseLLM):
    """A pool of workers as the LLM of a CrewAI agent, manager, crew or Flow.

    ::

        llm = FuguLLM("fugu", config="fugu.toml")
        Agent(role="Analyst", goal=..., backstory=..., llm=llm)

    It answers with ``fugu``, ``pool`` or ``config``; with none of them at the endpoint that ``base_url``
    or ``FUGU_BASE_URL`` names, and without one by the workers that ``Pool.from_env()`` finds.

    One agent at one task is one conversation: the calls of its tool loop stay with the worker that began
    it, and another agent may end on another worker. Errors are ours, have been retried by us and are not
    retried by CrewAI. It may be shared: the first call of an agent gives that agent a copy, which shares
    everything but the token counts. CrewAI adds up the counts of each agent's LLM, so that those of a
    shared one would be counted once for every agent.

    Attributes:
        model: the policy: ``fugu`` in this process, any name at an endpoint.
        fugu: the orchestrator to ask. It stays the caller's to close.
        pool: the workers.
        config: path of a ``fugu.toml``.
        base_url: an endpoint that speaks OpenAI's Chat Completions.
        api_key: the endpoint's key, or ``FUGU_API_KEY``. It is sent to the endpoint and nowhere else.
        store: where runs are recorded: as for ``Fugu``.
        effort: ``low``, ``medium``, ``high`` or ``xhigh``.
        quality: least expected score relative to the best worker's, above 0 to 1.
        max_cost: dollars that a call may be expected to cost.
        exclude: workers not to ask, by name, ``provider:NAME`` or tag.
        limits: hard caps on one call.
        timeout: seconds that a call may take, retries included; in place of ``limits.seconds``.
        max_retries: how often one worker is asked again. Nothing retries on top of it.
        native: whether tools are offered as functions, or described in the prompt (ReAct); as the workers
            can where not given.
        context_window: tokens, where the pool's largest is not known; else 128,000 are assumed.
        temperature: sampling temperature, as ``top_p``, ``seed``, ``max_tokens`` and ``stop`` for every call.
        stream: whether text is told in events as it comes.
    """

    llm_type: str = "fugu"
    provider: str = "fugu"
    model: str = "fugu"
    fugu: Fugu | None = Field(default=None, exclude=True, repr=False)
    pool: Pool | None = Field(default=None, exclude=True, repr=False)
    config: str | Path | None = None
    base_url: str | None = Field(default_factory=lambda: os.environ.get("FUGU_BASE_URL"))
    api_key: str | None = Field(
        default_factory=lambda: os.environ.get(KEY), exclude=True, repr=False
    )
    store: Store | Literal[False] | None = Field(default=None, exclude=True, repr=False)
    effort: Effort | None = None
    quality: float | None = None
    max_cost: float | None = None
    exclude: frozenset[str] | None = None
    limits: Limits | None = None
    timeout: float | None = None
    max_retries: int | None = Field(default=None, ge=0)
    native: bool | None = None
    context_window: int | None = Field(default=None, ge=1)

    _made: dict[str, Fugu] = PrivateAttr(default_factory=dict)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)
    _counts_for: Any = PrivateAttr(default=None)
    _thoughts: Thoughts = PrivateAttr(default_factory=Thoughts)

    def __init__(self, model: str = "fugu", **settings: Any) -> None:
        super().__init__(**{"provider": "fugu", **settings, "model": model})

    @model_validator(mode="after")
    def _check_settings(self) -> Self:
        """Refuse what is unknown or contradicts itself, and find out now whether the source is usable.

        Raises:
            ConfigError: naming it.
        """
        unknown = sorted(self.additional_params)
        unknown += [name for name in _NOT_OURS if getattr(self, name) is not None]
        if unknown:
            raise ConfigError(f"FuguLLM: unknown setting {unknown[0]!r}; see its Attributes")
        given = [name for name in _SOURCES if getattr(self, name) is not None]
        if "base_url" in self.model_fields_set and self.base_url is not None:
            given.append("base_url")
        if len(given) > 1:
            raise ConfigError(f"FuguLLM: expected one of {', '.join(given)}, got all of them")
        if self.fugu is not None and (self.max_retries is not None or self.store is not None):
            raise ConfigError(
                "FuguLLM: max_retries and store are for the Fugu that is made here; "
                "give them to your own, as Fugu(retry=..., store=...)"
            )
        if self._endpoint is None:
            if "api_key" in self.model_fields_set and self.api_key:
                raise ConfigError("FuguLLM: api_key is for an endpoint; name it in base_url")
            if self.model not in MODELS:
                known = ", ".join(MODELS)
                raise ConfigError(
                    f"FuguLLM: model: expected one of {known} for a pool in this process, "
                    f"got {self.model!r}; any name goes with an endpoint's base_url"
                )
        else:
            told = [name for name in _OF_A_POOL if getattr(self, name) is not None]
            if told:
                raise ConfigError(f"FuguLLM: {told[0]} is for a pool in this process, not here")
        self._orchestrator()
        return self

    # --- whom it asks -------------------------------------------------------------------------

    @property
    def _endpoint(self) -> str | None:
        """The endpoint that answers; ``None`` where the pool is in this process."""
        is_here = any(getattr(self, name) is not None for name in _SOURCES)
        return None if is_here else self.base_url

    def _orchestrator(self) -> Fugu:
        """The one that is given, or made once and shared with copies."""
        if self.fugu is not None:
            return self.fugu
        with self._lock:
            if "fugu" not in self._made:
                self._made["fugu"] = self._make()
            return self._made["fugu"]

    def _make(self) -> Fugu:
        return make_fugu(
            pool=self.pool, config=self.config, endpoint=self._endpoint, key=self.api_key or "",
            model=self.model, effort=self.effort, store=self.store, max_retries=self.max_retries,
        )  # fmt: skip

    def close(self) -> None:
        """Close connections and threads that were opened here. A later call opens them again."""
        for made in list(self._made.values()):
            made.close()

    async def aclose(self) -> None:
        """``close`` for asynchronous code."""
        for made in list(self._made.values()):
            await made.aclose()
            await asyncio.to_thread(made.close)  # what synchronous calls opened

    # --- asking -------------------------------------------------------------------------------

    @not_again
    def call(
        self,
        messages: str | list[Any],
        tools: list[dict[str, Any]] | None = None,
        callbacks: list[Any] | None = None,
        available_functions: dict[str, Any] | None = None,
        from_task: Any = None,
        from_agent: Any = None,
        response_model: type[BaseModel] | None = None,
    ) -> Any:
        """Answer CrewAI's messages, under a running event loop too.

        Returns:
            Text; or a list of calls in OpenAI's shape; or what the called one of ``available_functions``
            gave; or an instance of ``response_model``.

        Raises:
            FuguError: as from ``Fugu.run``; it is also a ``crewai.hooks.HookAborted``.
            ValueError: where the answer does not follow ``response_model``.
        """
        with self._watched(
            messages, tools, callbacks, available_functions, from_task, from_agent, response_model
        ) as asked:
            fugu, options = self._orchestrator(), self._options(asked)
            plain = self._messages(asked)
            if not self._effective_stream():
                return self._finish(asked, fugu.run(plain, **options))
            with closing(fugu.stream(plain, **options)) as events:
                for event in events:
                    self._tell(asked, event)
            return self._finish(asked, cast(Result, event.result))

    @not_again
    async def acall(
        self,
        messages: str | list[Any],
        tools: list[dict[str, Any]] | None = None,
        callbacks: list[Any] | None = None,
        available_functions: dict[str, Any] | None = None,
        from_task: Any = None,
        from_agent: Any = None,
        response_model: type[BaseModel] | None = None,
    ) -> Any:
        """``call`` for asynchronous code."""
        with self._watched(
            messages, tools, callbacks, available_functions, from_task, from_agent, response_model
        ) as asked:
            fugu, options = self._orchestrator(), self._options(asked)
            plain = self._messages(asked)
            if not self._effective_stream():
                return self._finish(asked, await fugu.arun(plain, **options))
            async with aclosing(fugu.astream(plain, **options)) as events:
                async for event in events:
                    self._tell(asked, event)
            return self._finish(asked, cast(Result, event.result))

    @contextmanager
    def _watched(
        self,
        messages: str | list[Any],
        tools: list[dict[str, Any]] | None,
        callbacks: list[Any] | None,
        functions: dict[str, Any] | None,
        task: Any,
        agent: Any,
        form: type[BaseModel] | None,
    ) -> Iterator[Asked]:
        """A call with the events and hooks that CrewAI expects around it."""
        with llm_call_context():
            formed = self._format_messages(messages)
            asked = Asked(
                messages=formed, tools=tools, functions=functions, task=task, agent=agent, form=form
            )
            self._emit_call_started_event(
                messages=formed,
                tools=tools,
                callbacks=callbacks,
                available_functions=functions,
                **asked.whose,
            )
            try:
                self._invoke_before_llm_call_hooks(formed, agent)
                yield asked
            except BaseException as error:
                # Every call that began owes an event that says how it ended, cancelled ones too.
                self._emit_call_failed_event(
                    error=str(error) or type(error).__name__, **asked.whose
                )
                if isinstance(error, FuguError):
                    as_final(error)
                raise

    def _options(self, asked: Asked) -> RunOptions:
        limits, fugu = self.limits, self._orchestrator()
        if self.timeout is not None:
            limits = replace(limits or fugu.limits, seconds=self.timeout)
        told = {name: getattr(self, name) for name in _SETTINGS}
        told |= {
            "limits": limits,
            "max_output_tokens": None if self.max_tokens is None else int(self.max_tokens),
            "stop": tuple(self.stop_sequences) or None,
            "session": session_of(asked.agent, asked.task),
            "tools": asked.tools or None,
            "about": getattr(asked.task, "description", None),  # its prompt has words around it
        }
        if asked.form is not None and any(w.json_schema is not False for w in fugu.pool):
            told["response_format"] = response_format(asked.form)
        return cast(RunOptions, {key: value for key, value in told.items() if value is not None})

    def _messages(self, asked: Asked) -> list[dict[str, Any]]:
        plain = plain_messages(asked.messages)
        with self._lock:
            self._thoughts.give_back(plain)
        return plain

    def _tell(self, asked: Asked, event: Event) -> None:
        """Pass on a piece of text. Calls are told whole, when they are complete."""
        if event.delta is not None and event.delta.text:
            self._emit_stream_chunk_event(
                chunk=event.delta.text,
                call_type=LLMCallType.LLM_CALL,
                response_id=event.run_id,
                **asked.whose,
            )

    def _finish(self, asked: Asked, result: Result) -> Any:
        """What CrewAI takes for an answer, counted and told."""
        with self._lock:
            self._thoughts.keep(result)
        usage = plain_usage(result)
        self._counter(asked.agent)._track_token_usage_internal(usage)
        answer: Any = plain_calls(result)
        kind = LLMCallType.TOOL_CALL if answer else LLMCallType.LLM_CALL
        if not answer and asked.form is not None:
            answer = self._validate_structured_output(result.text, asked.form)
        elif not answer:
            # A worker may go on past a stop word, and invent what its tool has found.
            text = self._apply_stop_words(result.text)
            answer = self._invoke_after_llm_call_hooks(asked.messages, text, asked.agent)
        self._emit_call_completed_event(
            response=answer,
            call_type=kind,
            messages=asked.messages,
            usage=usage,
            finish_reason=result.finish_reason,
            response_id=result.run_id,
            **asked.whose,
        )
        if result.tool_calls and asked.functions:
            return self._carry_out(asked, result)
        return answer

    def _carry_out(self, asked: Asked, result: Result) -> Any:
        """Make the first call, for callers that want its result in place of the call."""
        call = result.tool_calls[0]
        return self._handle_tool_execution(
            call.name, json.loads(call.arguments), asked.functions or {}, asked.task, asked.agent
        )

    def _counter(self, agent: Any) -> FuguLLM:
        """The LLM whose counts a call of this agent belongs to, made the agent's own if it is not yet."""
        theirs, agent_id = getattr(agent, "llm", None), getattr(agent, "id", None)
        if not isinstance(theirs, FuguLLM) or agent_id is None:
            return self
        with self._lock:
            theirs = cast(FuguLLM, agent.llm)
            if theirs._counts_for != agent_id:
                theirs = copy(theirs)
                theirs._token_usage = dict.fromkeys(theirs._token_usage, 0)
                theirs._counts_for = agent_id
                agent.llm = theirs
            return theirs

    # --- what CrewAI asks about it ------------------------------------------------------------

    def supports_function_calling(self) -> bool:
        """Whether tools are offered as functions. Not part of ``BaseLLM``, yet called on it."""
        if self.native is not None:
            return self.native
        return any(worker.tools is not False for worker in self._orchestrator().pool)

    def supports_multimodal(self) -> bool:
        """Whether one of the workers is known to read images."""
        return any(worker.images for worker in self._orchestrator().pool)

    def _multimodal_formatter_name(self) -> str:
        return "openai"  # the shape of our messages

    def get_context_window_size(self) -> int:
        """Tokens that the largest window leaves for use: a request goes to a worker that it fits."""
        known = [worker.context_window or 0 for worker in self._orchestrator().pool]
        return int((self.context_window or max(known) or _UNKNOWN_WINDOW) * _USABLE)

    def get_input_tokens_count(
        self,
        messages: str | list[Any],
        tools: list[dict[str, Any]] | None = None,
        response_model: type[BaseModel] | None = None,
    ) -> int:
        """Prompt tokens, estimated without a tokenizer, as for budgets."""
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        form = None if response_model is None else response_format(response_model)
        request = Request(
            messages=tuple(plain_messages(messages)),
            tools=tuple(tools or ()),
            response_format=form,
        )
        return estimate_tokens(request)
