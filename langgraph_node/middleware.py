"""``FuguMiddleware``: chooses one of the user's own chat models for each model call of an agent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.utils.function_calling import convert_to_openai_tool

from fugu_adapters import ConfigError, Decision, Fugu, Pool
from fugu_adapters.hosts import plain_decision
from fugu_adapters.types import Effort
from langgraph_node.messages import for_routing
from langgraph_node.profiles import model_worker

__all__ = ["FuguMiddleware"]


class FuguMiddleware(AgentMiddleware[Any, Any]):
    """Gives each model call of ``create_agent`` to one of several chat models.

    ::

        models = {"fast": ChatX(model="small"), "strong": ChatY(model="large")}
        agent = create_agent(models["fast"], tools, middleware=[FuguMiddleware(models)])

    Choosing makes no call of its own. The calls of a tool loop stay with the model that began it. Each
    choice is a custom stream event, and is kept in the answer's ``response_metadata["fugu"]``. What the
    chosen model raises is raised once, to the agent's own handling.

    Args:
        models: name to chat model.
        facts: name to what a worker's entry in ``fugu.toml`` may say: ``description``, ``price``,
            ``profile``, ``tags``, capabilities. What the model says of itself need not be repeated.
        effort: how much an answer is worth: ``low``, ``medium``, ``high`` or ``xhigh``.
        quality: least expected score relative to the best model's, above 0 to 1.
        max_cost: dollars that a call may be expected to cost.
        exclude: models not to ask, by name, ``provider:NAME`` or tag.

    Raises:
        ConfigError: where there is no model, or facts do not fit.
    """

    def __init__(
        self,
        models: Mapping[str, BaseChatModel],
        *,
        facts: Mapping[str, Mapping[str, Any]] | None = None,
        effort: Effort = "medium",
        quality: float | None = None,
        max_cost: float | None = None,
        exclude: Collection[str] = (),
    ) -> None:
        super().__init__()
        told = facts or {}
        unknown = sorted(set(told) - set(models))
        if unknown:
            raise ConfigError(f"facts: no model {unknown[0]!r}; known: {', '.join(models)}")
        workers = [model_worker(name, model, told.get(name, {})) for name, model in models.items()]
        self._models = dict(models)
        self._fugu = Fugu(Pool(workers), store=False, effort=effort)  # it is asked nothing
        self._quality = quality
        self._max_cost = max_cost
        self._exclude = frozenset(exclude)

    def wrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], ModelResponse[Any]],
    ) -> ModelResponse[Any]:
        """Choose, and let the agent ask."""
        decision = self._decide(request)
        return _noted(handler(self._given(request, decision)), decision)

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        """Choose, and let the agent ask."""
        # Encoding a long prompt takes tens of milliseconds, which would stall the host's loop.
        decision = await asyncio.to_thread(self._decide, request)
        return _noted(await handler(self._given(request, decision)), decision)

    def _given(self, request: ModelRequest[Any], decision: Decision) -> ModelRequest[Any]:
        """The request with the chosen model, and the choice told to who streams."""
        request.runtime.stream_writer({"type": "fugu.decision", **plain_decision(decision)})
        return request.override(model=self._models[decision.worker])

    def _decide(self, request: ModelRequest[Any]) -> Decision:
        system = [] if request.system_message is None else [request.system_message]
        execution = getattr(request.runtime, "execution_info", None)
        return self._fugu.route(
            for_routing([*system, *request.messages]),
            tools=_tools(request),
            response_format=_form(request),
            exclude=self._exclude | self._unfit(request),
            session=getattr(execution, "thread_id", None),
            quality=self._quality,
            max_cost=self._max_cost,
        )

    def _unfit(self, request: ModelRequest[Any]) -> set[str]:
        """Models without either of the two ways to a schema, where the agent picks one for each model."""
        form = request.response_format
        if form is None or isinstance(form, ProviderStrategy | ToolStrategy):
            return set()
        unfit = {w.name for w in self._fugu.pool if w.tools is False and w.json_schema is False}
        return unfit if len(unfit) < len(self._models) else set()


def _tools(request: ModelRequest[Any]) -> list[dict[str, Any]]:
    """What the model is offered, the agent's tool for structured answers included."""
    shaped = [
        tool if isinstance(tool, dict) else convert_to_openai_tool(tool) for tool in request.tools
    ]
    form = request.response_format
    specs = form.schema_specs if isinstance(form, ToolStrategy) else ()
    return [*shaped, *({"name": spec.name, "parameters": spec.json_schema} for spec in specs)]


def _form(request: ModelRequest[Any]) -> dict[str, Any] | None:
    """The format that the model itself has to be held to."""
    form = request.response_format
    if not isinstance(form, ProviderStrategy):
        return None
    return {"type": "json_schema", "json_schema": {"schema": form.schema_spec.json_schema}}


def _noted(response: ModelResponse[Any], decision: Decision) -> ModelResponse[Any]:
    """The response with the choice in its message's metadata; the model's own message stays as it is."""
    noted = {"fugu": plain_decision(decision)}
    result = [
        message.model_copy(update={"response_metadata": message.response_metadata | noted})
        if isinstance(message, AIMessage)
        else message
        for message in response.result
    ]
    return replace(response, result=result)
