"""What the server answers to each method: JSON in, JSON out, without the MCP SDK."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from fugu_adapters.errors import FuguError, InputError, WorkerRefused
from fugu_adapters.fugu import Fugu, RunOptions
from fugu_adapters.hosts import plain_decision
from fugu_adapters.pool import Pool
from fugu_adapters.types import Limits, to_plain
from fugu_adapters.workers import why_not_ready
from mcp_server.jobs import Job, Jobs, Wish
from mcp_server.peer import INVALID_PARAMS, NOT_FOUND, Peer, Refused
from mcp_server.sampling import host_names, with_host_model
from mcp_server.tools import (
    POOL_URI,
    RUN_URI,
    OrchestrateArgs,
    Orchestrated,
    ResultArgs,
    RouteArgs,
    listing,
    prompt_messages,
)

__all__ = ["Handlers", "Settings"]

_Args = TypeVar("_Args", bound=BaseModel)
_NO_RUN = "run_id: there is no such run of yours; orchestrate tells the id of each"


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How the server treats its callers.

    Attributes:
        patience_s: seconds that one call may take where the client listens to progress; then the run goes
            on, and ``result`` waits for it.
        silent_s: the same for clients that do not listen, which give up after a minute.
        beat_s: seconds between two reports of progress.
        on_cancel: what becomes of a run whose call is cancelled, by the user or by the client's time limit.
        runs: runs that may be under way at a time.
    """

    patience_s: float = 600.0
    silent_s: float = 45.0
    beat_s: float = 5.0
    on_cancel: Literal["stop", "keep"] = "stop"
    runs: int = 16


class Handlers:
    """The server's side of every method, for all its clients.

    Args:
        find_pool: finds the pool; called once, at the first request that needs it, in a thread.
        settings: how callers are treated.
        make_fugu: makes the orchestrator of a pool.
    """

    def __init__(
        self,
        find_pool: Callable[[], Pool],
        settings: Settings | None = None,
        make_fugu: Callable[[Pool], Fugu] = Fugu,
    ) -> None:
        self._find_pool = find_pool
        self._settings = settings or Settings()
        self._make_fugu = make_fugu
        self._jobs = Jobs(most=self._settings.runs)
        self._opening = asyncio.Lock()
        self._opened: tuple[Fugu, frozenset[str]] | None = None

    async def handle(self, method: str, params: Mapping[str, Any], peer: Peer) -> dict[str, Any]:
        """The result of a request.

        Raises:
            Refused: where it is answered with an error of the protocol.
        """
        match method:
            case "tools/call":
                return await self._call_tool(params, peer)
            case "resources/read":
                return await self._read_resource(str(params.get("uri", "")), peer)
            case "prompts/get":
                try:
                    return prompt_messages(params.get("name", ""), params.get("arguments") or {})
                except ValueError as error:
                    raise Refused(INVALID_PARAMS, str(error)) from None
            case "resources/list":
                listed = listing(method)
                listed["resources"] += [_run_resource(job) for job in self._jobs.of(peer.caller)]
                return listed
            case _:
                return listing(method)

    async def aclose(self) -> None:
        """Stop what is under way and close the pool's connections."""
        await self._jobs.aclose()
        if self._opened is not None:
            await self._opened[0].aclose()

    async def _open(self) -> tuple[Fugu, frozenset[str]]:
        """The orchestrator, and the workers that are the client's own model."""
        async with self._opening:
            if self._opened is None:
                self._opened = await asyncio.to_thread(self._make)
            return self._opened

    def _make(self) -> tuple[Fugu, frozenset[str]]:
        pool = self._find_pool()
        return self._make_fugu(with_host_model(pool)), host_names(pool)

    # --- tools --------------------------------------------------------------------------------

    async def _call_tool(self, params: Mapping[str, Any], peer: Peer) -> dict[str, Any]:
        """A tool's result. What goes wrong in it is a result too, so that the model can mend it."""
        name, given = params.get("name"), params.get("arguments") or {}
        tools = {"orchestrate": self._orchestrate, "route": self._route, "result": self._result}
        if name not in tools:
            known = ", ".join(tools)
            raise Refused(INVALID_PARAMS, f"tool: expected one of {known}, got {str(name)[:100]!r}")
        answered = _answered(params) if peer.replays else None
        try:
            if answered is not None:
                return await self._go_on(*answered, peer)
            return await tools[name](given, peer)
        except FuguError as error:
            return _failed(f"{type(error).__name__}: {error}")

    async def _orchestrate(self, given: Mapping[str, Any], peer: Peer) -> dict[str, Any]:
        args = _read(OrchestrateArgs, given)
        fugu, hosts = await self._open()
        limits = Limits(usd=args.budget_usd)
        if args.deadline_s is not None:
            limits = replace(limits, seconds=args.deadline_s)
        options: RunOptions = {
            "model": args.model,
            "effort": args.effort,
            "about": args.task,
            "limits": limits,
            "exclude": () if peer.can_sample else hosts,
        }
        text = f"{args.context}\n\n{args.task}" if args.context.strip() else args.task
        job = self._jobs.start(peer.caller, fugu.astream(text, **options))
        try:
            return await self._follow(job, peer)
        except asyncio.CancelledError:
            if self._settings.on_cancel == "stop":
                job.cancel()
            raise

    async def _route(self, given: Mapping[str, Any], peer: Peer) -> dict[str, Any]:
        args = _read(RouteArgs, given)
        fugu, hosts = await self._open()
        exclude = () if peer.can_sample else hosts
        decision = await asyncio.to_thread(
            fugu.route, args.task, effort=args.effort, exclude=exclude
        )
        told = plain_decision(decision)
        del told["continuity"]
        return _told(told)

    async def _result(self, given: Mapping[str, Any], peer: Peer) -> dict[str, Any]:
        args = _read(ResultArgs, given)
        job = self._jobs.find(peer.caller, args.run_id)
        if job is None:
            raise InputError(_NO_RUN)
        return await self._follow(job, peer)

    async def _go_on(self, run_id: str, answers: Mapping[str, Any], peer: Peer) -> dict[str, Any]:
        """A call that is made again with what the client's model has answered."""
        job = self._jobs.find(peer.caller, run_id)
        if job is None:
            raise InputError(_NO_RUN)
        for key, wish in job.wishes.items():
            if key in answers:
                wish.answer.set_result(answers[key])
        return await self._follow(job, peer)

    async def _follow(self, job: Job, peer: Peer) -> dict[str, Any]:
        """Tell how a run goes, until it ends or the client would lose patience."""
        settings = self._settings
        began = time.monotonic()
        until = began + (settings.patience_s if peer.wants_progress else settings.silent_s)
        asked: dict[str, asyncio.Task[dict[str, Any]]] = {}
        try:
            while not job.over and (left := until - time.monotonic()) > 0:
                if peer.replays and job.wishes:
                    return _asking(job)
                for key, wish in job.wishes.items():
                    if key not in asked:
                        asked[key] = _pass_on(wish, peer)
                await peer.progress(time.monotonic() - began, job.saying)
                await job.wait(min(settings.beat_s, left))
        finally:
            for task in asked.values():
                task.cancel()
        # A run that has not even been decided has no id to be found by.
        while not job.run_id and not job.over:
            await job.wait(settings.beat_s)
        told = job.outcome()
        if told.status == "failed" and not told.text:
            return _failed(told.note, told)
        return _told(_plain(told))

    # --- resources ----------------------------------------------------------------------------

    async def _read_resource(self, uri: str, peer: Peer) -> dict[str, Any]:
        try:
            if uri == POOL_URI:
                fugu, hosts = await self._open()
                body = _pool(fugu.pool, hosts)
            elif uri.startswith(RUN_URI):
                body = self._trace(uri.removeprefix(RUN_URI), peer)
            else:
                raise InputError(f"there is no resource {uri[:200]!r}")
        except FuguError as error:
            code = INVALID_PARAMS if peer.replays else NOT_FOUND  # since 2026-07-28
            raise Refused(code, f"{type(error).__name__}: {error}", {"uri": uri}) from None
        text = json.dumps(body, ensure_ascii=False)
        return {"contents": [{"uri": uri, "mimeType": "application/json", "text": text}]}

    def _trace(self, run_id: str, peer: Peer) -> dict[str, Any]:
        job = self._jobs.find(peer.caller, run_id)
        if job is None:
            raise InputError(_NO_RUN)
        told = _plain(job.outcome())
        if job.result is not None:
            told["decision"] = to_plain(job.result.decision)
            told["trace"] = to_plain(job.result.trace)
            told["usage"] = to_plain(job.result.usage)
        return told


def _pass_on(wish: Wish, peer: Peer) -> asyncio.Task[dict[str, Any]]:
    """Ask the client's model, and hand its answer or its refusal to the worker that waits for it."""
    asking = asyncio.create_task(peer.sample(wish.params))

    def hand_over(done: asyncio.Task[dict[str, Any]]) -> None:
        if done.cancelled() or wish.answer.done():
            return  # whoever follows the run next asks again
        error = done.exception()
        if error is None:
            wish.answer.set_result(done.result())
        else:
            wish.answer.set_exception(WorkerRefused(f"the client's model did not answer: {error}"))

    asking.add_done_callback(hand_over)
    return asking


def _answered(params: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]] | None:
    """The run and the answers of the client's model, where a call is made again to bring them."""
    state, answers = params.get("requestState"), params.get("inputResponses")
    if not isinstance(state, str) or not isinstance(answers, Mapping):
        return None
    return state, answers


def _asking(job: Job) -> dict[str, Any]:
    """The result that asks the client's model, to be called again with its answers."""
    questions = {
        key: {"method": "sampling/createMessage", "params": wish.params}
        for key, wish in job.wishes.items()
    }
    return {
        "resultType": "input_required",
        "inputRequests": questions,
        "requestState": job.run_id,
    }


def _read(kind: type[_Args], given: Mapping[str, Any]) -> _Args:
    """The arguments of a tool. ``null`` counts as left out, which is what models mean by it.

    Raises:
        InputError: naming each that is wrong.
    """
    try:
        return kind.model_validate(
            {key: value for key, value in given.items() if value is not None}
        )
    except ValidationError as error:
        known = ", ".join(kind.model_fields)
        # An optional argument has a problem for each type that it may have; the first one tells.
        problems = {each["loc"][0]: each for each in reversed(error.errors())}
        told = [_complaint(each, known) for each in problems.values()]
        raise InputError("; ".join(reversed(told))) from None


def _complaint(problem: Any, known: str) -> str:
    where = str(problem["loc"][0])
    if problem["type"] == "extra_forbidden":
        return f"{where[:100]}: unknown argument; known: {known}"
    if problem["type"] == "missing":
        return f"{where}: missing; it is required"
    given = problem["input"]
    got = (
        f"{len(given):,} characters" if isinstance(given, str) and len(given) > 60 else repr(given)
    )
    return f"{where}: {problem['msg'].lower()}, got {got[:60]}"


def _plain(told: Orchestrated) -> dict[str, Any]:
    return told.model_dump(mode="json", exclude_none=True, exclude_defaults=True)


def _told(body: dict[str, Any]) -> dict[str, Any]:
    """A tool's result: as JSON, and as text for clients that know no structured content."""
    text = json.dumps(body, ensure_ascii=False)
    return {"content": [{"type": "text", "text": text}], "structuredContent": body}


def _failed(message: str, told: Orchestrated | None = None) -> dict[str, Any]:
    failure: dict[str, Any] = {"content": [{"type": "text", "text": message}], "isError": True}
    if told is not None:
        failure["structuredContent"] = _plain(told)
    return failure


def _pool(pool: Pool, hosts: frozenset[str]) -> dict[str, Any]:
    """The workers, without their addresses."""
    workers = []
    for worker in pool:
        price = None if worker.known_price is None else to_plain(worker.known_price.model_dump())
        workers.append(
            {
                "name": worker.name,
                "api": "host" if worker.name in hosts else worker.api,
                "model": worker.model,
                "provider": worker.provider,
                "description": worker.description,
                "context_window": worker.context_window,
                "price": price,
                "not_ready": why_not_ready(worker),
            }
        )
    return {"workers": [{k: v for k, v in each.items() if v is not None} for each in workers]}


def _run_resource(job: Job) -> dict[str, Any]:
    return {
        "uri": RUN_URI + job.run_id,
        "name": f"run {job.run_id[:8]}",
        "mimeType": "application/json",
    }
