"""``ChatFugu``: a LangChain chat model that is a whole pool, or an endpoint that is one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput, ModelProfile
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils import from_env, secret_from_env
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import ConfigDict, Field, PrivateAttr, SecretStr, model_validator

from fugu_adapters import (
    ConfigError,
    Event,
    Fugu,
    FuguError,
    InputError,
    Limits,
    Pool,
    Request,
    Result,
)
from fugu_adapters.fugu import RunOptions
from fugu_adapters.hosts import KEY, make_fugu
from fugu_adapters.messages import estimate_tokens
from fugu_adapters.types import Effort, Message
from langgraph_node.formats import (
    METHODS,
    answer_parser,
    choice_of,
    function_tools,
    response_format,
    with_raw,
)
from langgraph_node.messages import to_chunk, to_last_chunk, to_message, to_openai
from langgraph_node.profiles import pool_profile

__all__ = ["ChatFugu"]

_SETTINGS = (
    "temperature",
    "top_p",
    "seed",
    "effort",
    "quality",
    "max_cost",
    "exclude",
    "session",
)
"""Options that ``Fugu`` knows under the same name."""

_LANGCHAINS = ("stream",)
"""What LangChain leaves among the options after it was heeded."""

_PER_CALL = frozenset(
    [
        *_SETTINGS,
        *_LANGCHAINS,
        "limits",
        "max_tokens",
        "model",
        "response_format",
        "timeout",
        "tool_choice",
        "tools",
    ]
)
_OF_A_POOL = ("quality", "max_cost", "exclude")
_SOURCES = ("fugu", "pool", "config")


class ChatFugu(BaseChatModel):
    """A pool of workers as one LangChain chat model.

    ::

        model = ChatFugu(config="fugu.toml", effort="high")
        answer = model.invoke("Prove that the square root of 2 is irrational.")
        answer.response_metadata["worker"], answer.response_metadata["cost_usd"]

    It answers with ``fugu``, ``pool`` or ``config``; with none of them at the endpoint that ``base_url``
    or ``FUGU_BASE_URL`` names, and without one by the workers that ``Pool.from_env()`` finds. What a
    request may say, such as ``effort`` or ``model``, may be given per call too. Connections are kept
    from call to call; ``close`` or ``aclose`` ends them.

    Attributes:
        model_name: the policy (alias ``model``): ``fugu`` in this process, any name at an endpoint.
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
        limits: hard caps on one request.
        session: the conversation, for hosts that do not send its history.
        temperature: sampling temperature.
        top_p: nucleus sampling mass.
        seed: sampling seed.
        max_tokens: bound on the reply.
        timeout: seconds that a request may take, retries included; in place of ``limits.seconds``.
        stop: strings that end the reply (alias ``stop_sequences``).
        max_retries: how often one worker is asked again. Nothing retries on top of it.
        streaming: whether ``invoke`` streams too, so that callbacks see the tokens.
    """

    model_name: str = Field(default="fugu", alias="model")
    fugu: Fugu | None = Field(default=None, exclude=True, repr=False)
    pool: Pool | None = Field(default=None, exclude=True)
    config: str | Path | None = None
    base_url: str | None = Field(default_factory=from_env("FUGU_BASE_URL", default=None))
    api_key: SecretStr | None = Field(default_factory=secret_from_env(KEY, default=None))
    store: Any = Field(default=None, exclude=True, repr=False)
    effort: Effort | None = None
    quality: float | None = None
    max_cost: float | None = None
    exclude: frozenset[str] | None = None
    limits: Limits | None = None
    session: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    max_tokens: int | None = None
    timeout: float | None = None
    stop: list[str] | None = Field(default=None, alias="stop_sequences")
    max_retries: int | None = Field(default=None, ge=0)
    streaming: bool = False

    model_config = ConfigDict(
        populate_by_name=True, arbitrary_types_allowed=True, extra="forbid", protected_namespaces=()
    )

    _made: dict[tuple[str, str | None], Fugu] = PrivateAttr(default_factory=dict)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        """Refuse settings that contradict one another, and find out now whether the source is usable.

        Raises:
            ConfigError: naming them, or what is wrong with the source.
        """
        given = [name for name in _SOURCES if getattr(self, name) is not None]
        if "base_url" in self.model_fields_set and self.base_url is not None:
            given.append("base_url")
        if len(given) > 1:
            raise ConfigError(f"ChatFugu: expected one of {', '.join(given)}, got all of them")
        if self._endpoint is None and "api_key" in self.model_fields_set and self.api_key:
            raise ConfigError("ChatFugu: api_key is for an endpoint; name it in base_url")
        if self.fugu is not None and (self.max_retries is not None or self.store is not None):
            raise ConfigError(
                "ChatFugu: max_retries and store are for the Fugu that is made here; "
                "give them to your own, as Fugu(retry=..., store=...)"
            )
        self._refuse_pool_options({name: getattr(self, name) for name in _OF_A_POOL}, ConfigError)
        self._orchestrator(self.model_name, self.effort)
        return self

    # --- whom it asks -------------------------------------------------------------------------

    @property
    def _endpoint(self) -> str | None:
        """The endpoint that answers; ``None`` where the pool is in this process."""
        is_here = any(getattr(self, name) is not None for name in _SOURCES)
        return None if is_here else self.base_url

    def _refuse_pool_options(self, options: Mapping[str, Any], error: type[FuguError]) -> None:
        told = sorted(name for name in _OF_A_POOL if options.get(name) is not None)
        if told and self._endpoint is not None:
            raise error(f"ChatFugu: {told[0]} is for a pool in this process, not for an endpoint")

    def _orchestrator(self, model: str, effort: Effort | None) -> Fugu:
        """The one that is given or made once; at an endpoint, once for each model and effort."""
        if self.fugu is not None:
            return self.fugu
        key = ("", None) if self._endpoint is None else (model, effort)
        with self._lock:
            if key not in self._made:
                self._made[key] = self._make(model, effort)
            return self._made[key]

    def _make(self, model: str, effort: Effort | None) -> Fugu:
        key = self.api_key.get_secret_value() if self.api_key else ""
        return make_fugu(
            pool=self.pool, config=self.config, endpoint=self._endpoint, key=key,
            model=model, effort=effort, store=self.store, max_retries=self.max_retries,
        )  # fmt: skip

    def close(self) -> None:
        """Close connections and threads. A later call opens them again."""
        for made in list(self._made.values()):
            made.close()

    async def aclose(self) -> None:
        """``close`` for asynchronous code."""
        for made in list(self._made.values()):
            await made.aclose()
            await asyncio.to_thread(made.close)  # what synchronous calls opened

    # --- asking -------------------------------------------------------------------------------

    def _call(
        self, messages: list[BaseMessage], stop: list[str] | None, given: dict[str, Any]
    ) -> tuple[Fugu, Sequence[Message], RunOptions, str]:
        """Whom to ask, what, and how; and the model's name for the answer's metadata.

        Raises:
            InputError: where an option is not known, or not for this source.
        """
        unknown = sorted(set(given) - _PER_CALL)
        if unknown:
            raise InputError(
                f"ChatFugu: unknown option {unknown[0]!r}; known: {', '.join(sorted(_PER_CALL))}"
            )
        self._refuse_pool_options(given, InputError)
        model = given.get("model") or self.model_name
        settings = {name: given.get(name, getattr(self, name)) for name in _SETTINGS}
        fugu = self._orchestrator(model, settings["effort"])
        limits = given.get("limits") or self.limits
        timeout = given.get("timeout", self.timeout)
        if timeout is not None:
            limits = replace(limits or fugu.limits, seconds=timeout)
        settings |= {name: given.get(name) for name in ("tools", "tool_choice", "response_format")}
        settings |= {
            "model": model if self._endpoint is None else "fugu",
            "limits": limits,
            "max_output_tokens": given.get("max_tokens", self.max_tokens),
            "stop": stop or self.stop,
        }
        options = {name: value for name, value in settings.items() if value is not None}
        return fugu, to_openai(messages), cast(RunOptions, options), model

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        fugu, asked, options, model = self._call(messages, stop, kwargs)
        return _chat_result(fugu.run(asked, **options), model)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        fugu, asked, options, model = self._call(messages, stop, kwargs)
        return _chat_result(await fugu.arun(asked, **options), model)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        fugu, asked, options, model = self._call(messages, stop, kwargs)
        with closing(fugu.stream(asked, **options)) as events:
            for event in events:
                chunk = _chunk(event, model)
                if chunk is None:
                    continue
                if run_manager is not None:
                    run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        fugu, asked, options, model = self._call(messages, stop, kwargs)
        async with aclosing(fugu.astream(asked, **options)) as events:
            async for event in events:
                chunk = _chunk(event, model)
                if chunk is None:
                    continue
                if run_manager is not None:
                    await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    # --- tools and formats --------------------------------------------------------------------

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | dict[str, Any] | bool | None = None,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """This model with tools.

        Args:
            tools: functions, LangChain tools, schemas or function tools in OpenAI's shape.
            tool_choice: ``"auto"``, ``"none"``, ``"any"`` (or ``"required"``, ``True``), or a tool's name.
            strict: whether arguments have to follow the schema, where the worker can be held to it.
            **kwargs: options of a call, bound too.

        Raises:
            InputError: where a tool is no function, or ``tool_choice`` names none of them.
        """
        shaped = function_tools(tools, strict=strict)
        if tool_choice is not None and tool_choice is not False:
            kwargs["tool_choice"] = choice_of(tool_choice, shaped)
        return self.bind(tools=shaped, **kwargs)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type | None = None,
        *,
        method: Literal["json_schema", "function_calling", "json_mode"] = "json_schema",
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """This model with answers that follow a schema.

        Args:
            schema: a pydantic class, a typed dict or a JSON schema; not needed for ``json_mode``.
            method: ``json_schema`` holds the worker to the schema, ``function_calling`` lets it call one
                tool, ``json_mode`` asks for any JSON: the prompt has to describe it.
            include_raw: give ``{"raw", "parsed", "parsing_error"}`` and do not raise on bad answers.
            strict: whether the worker must follow the schema to the letter, where it can be held to it.
            **kwargs: options of a call, bound too.

        Raises:
            InputError: where the method is not known, or needs a schema and got none.
        """
        if method not in METHODS:
            raise InputError(f"method: expected one of {', '.join(METHODS)}, got {method!r:.60}")
        if schema is None and method != "json_mode":
            raise InputError(f"method: {method} needs a schema")
        kwargs["ls_structured_output_format"] = {
            "kwargs": {"method": method, "strict": strict},
            "schema": None if schema is None else convert_to_openai_tool(schema),
        }
        model: Runnable[LanguageModelInput, AIMessage]
        if schema is not None and method == "function_calling":
            name = convert_to_openai_tool(schema)["function"]["name"]
            model = self.bind_tools([schema], tool_choice=name, strict=strict, **kwargs)
        else:
            wanted = None if method == "json_mode" else schema
            model = self.bind(response_format=response_format(wanted, strict), **kwargs)
        parser = answer_parser(schema, from_tool=method == "function_calling")
        return with_raw(model, parser) if include_raw else model | parser

    # --- what LangChain asks about it ---------------------------------------------------------

    @property
    def _llm_type(self) -> str:
        return "fugu-chat"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        """What tells one model from another, for traces and caches. No key is among it."""
        pool = self._orchestrator(self.model_name, self.effort).pool
        names = ("model_name", *_SETTINGS, "max_tokens", "timeout", "stop", "limits")
        told = {name: getattr(self, name) for name in names}
        told["exclude"] = sorted(self.exclude or ())  # a set's own order changes from run to run
        workers = [f"{worker.name}={worker.profile_name}" for worker in pool]
        return {"base_url": self._endpoint, "workers": workers, **told}

    @property
    def lc_secrets(self) -> dict[str, str]:
        """Fields that hold secrets, with the variables they come from."""
        return {"api_key": KEY}

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Not serializable: LangChain's loader takes its own classes only, and a pool holds functions."""
        return False

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        told = LangSmithParams(
            ls_provider="fugu",
            ls_model_name=kwargs.get("model") or self.model_name,
            ls_model_type="chat",
        )
        if (temperature := kwargs.get("temperature", self.temperature)) is not None:
            told["ls_temperature"] = temperature
        if (bound := kwargs.get("max_tokens", self.max_tokens)) is not None:
            told["ls_max_tokens"] = bound
        if ends := stop or self.stop:
            told["ls_stop"] = ends
        return told

    def _resolve_model_profile(self) -> ModelProfile | None:
        return pool_profile(self._orchestrator(self.model_name, self.effort).pool)

    def get_num_tokens(self, text: str) -> int:
        """Tokens of a text, estimated without a tokenizer, as for budgets."""
        return self.get_num_tokens_from_messages([HumanMessage(text)])

    def get_num_tokens_from_messages(
        self, messages: Sequence[BaseMessage], tools: Sequence[Any] | None = None
    ) -> int:
        """Prompt tokens of messages and tools, estimated without a tokenizer, as for budgets."""
        shaped = tuple(function_tools(tools or ()))
        return estimate_tokens(Request(messages=tuple(to_openai(messages)), tools=shaped))


def _chat_result(result: Result, model: str) -> ChatResult:
    return ChatResult(generations=[ChatGeneration(message=to_message(result, model))])


def _chunk(event: Event, model: str) -> ChatGenerationChunk | None:
    """What an event adds to the answer; ``None`` where it adds nothing."""
    if event.delta is not None:
        return ChatGenerationChunk(message=to_chunk(event.delta))
    if event.result is not None:
        return ChatGenerationChunk(message=to_last_chunk(event.result, model))
    return None
