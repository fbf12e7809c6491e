"""The one API as an ASGI application: the pool as models, in three dialects."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from pydantic_core import from_json
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fugu_adapters.errors import FuguError, InputError
from fugu_adapters.fugu import MODELS, Fugu
from fugu_adapters.messages import estimate_tokens
from fugu_adapters.options import RunOptions, read_request
from fugu_adapters.serve import Settings
from fugu_adapters.serve.access import Access, Denied, Guest
from fugu_adapters.serve.chat import ChatSpeaker
from fugu_adapters.serve.dialect import Asked, Speaker, capped
from fugu_adapters.serve.exchange import Exchange, Heartbeat, Receive, Send, send_json
from fugu_adapters.serve.messages import MessagesSpeaker
from fugu_adapters.serve.metrics import Metrics
from fugu_adapters.serve.problems import Problem, problem_of
from fugu_adapters.serve.responses import ResponsesSpeaker
from fugu_adapters.serve.state import Conversations
from fugu_adapters.store import Store

__all__ = ["Settings", "make_app"]

_logger = logging.getLogger("fugu_adapters.serve")

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_GARBAGE = 10_000  # objects between two collections; most of a request's are freed without one
_MADE = 1_780_000_000  # what /v1/models says of when its models were made; clients want a number


def make_app(fugu: Fugu, *, store: Store | None = None, settings: Settings | None = None) -> Starlette:  # fmt: skip
    """An application for any ASGI server. It closes ``fugu`` when it ends.

    Args:
        fugu: answers.
        store: where keys and replies to go on from are kept.
        settings: see ``Settings``.
    """
    server = _Server(fugu, store, settings or Settings())

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        warming = asyncio.create_task(_warm(fugu, store, own=server.settings.own_process))
        try:
            yield
        finally:
            await asyncio.wait({warming})
            await fugu.aclose()

    return _Api(
        server,
        routes=[
            Route("/v1/responses/{id}", server.response, methods=["GET", "DELETE"]),
            Route("/v1/messages/count_tokens", server.count_tokens, methods=["POST"]),
            Route("/v1/models", server.models),
            Route("/v1/models/{id}", server.model),
            Route("/health", server.health),
            Route("/ready", server.ready),
            Route("/metrics", server.metrics),
        ],
        lifespan=lifespan,
        exception_handlers={404: _not_found, 405: _not_found},
    )


async def _warm(fugu: Fugu, store: Store | None, *, own: bool) -> None:
    """Load what the first request would have to wait for; set up the process, where it is ours."""
    with contextlib.suppress(FuguError):  # the first request tells
        await asyncio.to_thread(fugu.plan, "What is there?", model="fugu")
        if store is not None:
            await asyncio.to_thread(store.open)
    if own:  # the garbage collector need not look at weights and modules again and again
        gc.collect()
        gc.freeze()
        gc.set_threshold(_GARBAGE, *gc.get_threshold()[1:])


class _Api(Starlette):
    """The three dialects' endpoints without what stands between a framework's door and its functions."""

    def __init__(self, server: _Server, **options: Any) -> None:
        super().__init__(**options)
        self._server = server
        self._speakers: dict[str, Speaker] = {
            "/v1/chat/completions": ChatSpeaker(),
            "/v1/responses": ResponsesSpeaker(),
            "/v1/messages": MessagesSpeaker(),
        }

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """An ASGI application."""
        speaker = self._speakers.get(scope.get("path"))
        if speaker is not None and scope["type"] == "http" and scope["method"] == "POST":
            await self._server.answer(speaker, scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


class _Server:
    def __init__(self, fugu: Fugu, store: Store | None, settings: Settings) -> None:
        self._fugu, self.settings = fugu, settings
        self._access = Access(store, required=settings.keys)
        self._conversations = Conversations(store)
        self._heartbeat = Heartbeat(settings.keep_alive_s)
        self._metrics = Metrics()
        self._under_way = 0

    # --- answering -----------------------------------------------------------------------------

    async def answer(self, speaker: Speaker, scope: Any, receive: Receive, send: Send) -> None:
        """A request for an answer."""
        began, model, exchange, status = time.monotonic(), "", None, 500
        guest: Guest | None = None
        self._under_way += 1
        self._metrics.under_way.set(self._under_way)
        try:
            headers = _headers(scope)
            guest = await self._admit(headers)
            if self._under_way > self.settings.max_requests:
                text = f"{self.settings.max_requests} requests are under way; try again in a moment"
                raise Denied(Problem(status=429, kind="rate_limit", text=text, retry_after=1))
            body = await self._body(headers, receive)
            owner = guest.key.digest if guest else ""
            whole = body
            if speaker.name == "responses":
                whole = await self._conversations.continued(body, owner)
            asked = speaker.read(whole, headers)
            model = _model(asked)
            exchange = Exchange(
                self._fugu,
                speaker,
                asked,
                self._options(asked, model, guest),
                receive=receive,
                send=send,
                heartbeat=self._heartbeat,
                keep=self._conversations.keeper(body, owner)
                if speaker.name == "responses"
                else None,
            )
            await exchange.run()
            status = exchange.status
        except Denied as denied:
            status = denied.problem.status
            await send_json(send, status, speaker.problem(denied.problem), problem=denied.problem)
        except Exception as error:  # before there was a run: in one, the exchange tells
            if not isinstance(error, FuguError):
                _logger.exception("a request could not be read")
            problem = problem_of(error)
            status = problem.status
            await send_json(send, status, speaker.problem(problem), problem=problem)
        finally:
            self._under_way -= 1
            self._metrics.under_way.set(self._under_way)
            first = exchange.first_s if exchange else None
            self._metrics.request(speaker.name, model, status, time.monotonic() - began, first)
            if exchange is not None:
                await self._settle(exchange, guest)

    async def _settle(self, exchange: Exchange, guest: Guest | None) -> None:
        for call in exchange.calls:
            self._metrics.call(call)
        if guest is not None:
            cost = sum(call.cost_usd or 0.0 for call in exchange.calls)
            await asyncio.shield(self._access.spend(guest, cost))

    async def _admit(self, headers: Mapping[str, str]) -> Guest | None:
        """Raises ``Denied`` for pages of other sites, and for requests without a key that is good."""
        hosts = (*_LOOPBACK, *self.settings.allowed_hosts)
        if not self.settings.keys and "*" not in hosts:
            origin = headers.get("origin")
            named = [urlsplit(f"//{headers.get('host', '')}").hostname]
            named += [urlsplit(origin).hostname] if origin is not None else []
            if any(host not in hosts for host in named):
                text = "this name is not known here; --allow-host adds it"
                raise Denied(Problem(status=403, kind="permission", text=text))
        return await self._access.admit(headers)

    async def _body(self, headers: Mapping[str, str], receive: Receive) -> Mapping[str, Any]:
        most, data = self.settings.max_body, bytearray()
        declared = headers.get("content-length", "")
        too_large = Denied(
            Problem(status=413, kind="too_large", text=f"a request may have {most:,} bytes")
        )
        if declared.isdigit() and int(declared) > most:
            raise too_large
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise InputError("the request ended early")
            data += message.get("body", b"")
            if len(data) > most:
                raise too_large
            if not message.get("more_body"):
                break
        try:
            body = from_json(bytes(data), allow_inf_nan=False)
        except ValueError:
            raise InputError("the body is not JSON") from None
        if not isinstance(body, dict):
            raise InputError("the body: expected a JSON object")
        return body

    def _options(self, asked: Asked, model: str, guest: Guest | None) -> RunOptions:
        options: RunOptions = {**asked.options, "model": model}
        options["limits"] = capped(self._fugu.limits, asked.limits)
        if guest is not None:
            options["exclude"] = [*options.get("exclude", ()), *guest.key.exclude]
            options["account"] = guest.account
        return options

    # --- the rest ------------------------------------------------------------------------------

    async def count_tokens(self, request: HttpRequest) -> Response:
        """An estimate of a request's tokens, for Anthropic's clients."""
        speaker = MessagesSpeaker()
        try:
            headers = _headers(request.scope)
            await self._admit(headers)
            asked = speaker.read(await self._body(headers, request.receive), headers)
            count = estimate_tokens(read_request(list(asked.messages), asked.options))
        except (Denied, FuguError) as error:
            return _problem(speaker, error)
        return JSONResponse({"input_tokens": count})

    async def response(self, request: HttpRequest) -> Response:
        """A kept reply of the Responses dialect."""
        speaker = ResponsesSpeaker()
        try:
            guest = await self._admit(_headers(request.scope))
            owner, name = guest.key.digest if guest else "", request.path_params["id"]
            if request.method == "DELETE" and await self._conversations.forget(name, owner):
                return JSONResponse({"id": name, "object": "response", "deleted": True})
            found = await self._conversations.get(name, owner)
        except (Denied, FuguError) as error:
            return _problem(speaker, error)
        if found is None:
            text = "there is no such response, or it is another key's"
            return _problem(speaker, Denied(Problem(status=404, kind="not_found", text=text)))
        return JSONResponse(found["response"])

    async def models(self, request: HttpRequest) -> Response:
        """The models, in a shape that OpenAI's and Anthropic's clients both read."""
        try:
            await self._admit(_headers(request.scope))
        except (Denied, FuguError) as error:
            return _problem(ChatSpeaker(), error)
        listed = [_listed(name) for name in MODELS]
        return JSONResponse(
            {
                "object": "list",
                "data": listed,
                "has_more": False,
                "first_id": MODELS[0],
                "last_id": MODELS[-1],
            }
        )

    async def model(self, request: HttpRequest) -> Response:
        """One model."""
        try:
            await self._admit(_headers(request.scope))
            name = request.path_params["id"]
            if name not in MODELS:
                raise Denied(_unknown_model(name))
        except (Denied, FuguError) as error:
            return _problem(ChatSpeaker(), error)
        return JSONResponse(_listed(name))

    async def health(self, request: HttpRequest) -> Response:
        """Whether the process is there."""
        return JSONResponse({"status": "ok"})

    async def ready(self, request: HttpRequest) -> Response:
        """Whether a worker could be asked."""
        from fugu_adapters.workers import why_not_ready

        reasons = [await asyncio.to_thread(why_not_ready, worker) for worker in self._fugu.pool]
        able = sum(reason is None for reason in reasons)
        return JSONResponse({"ready": able > 0, "workers": able}, 200 if able else 503)

    async def metrics(self, request: HttpRequest) -> Response:
        """Counters, for Prometheus."""
        try:
            await self._admit(_headers(request.scope))
        except (Denied, FuguError) as error:
            return _problem(ChatSpeaker(), error)
        return Response(self._metrics.page(), media_type="text/plain; version=0.0.4")


def _headers(scope: Any) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def _model(asked: Asked) -> str:
    if asked.model not in MODELS:
        raise Denied(_unknown_model(asked.model))
    return asked.model


def _unknown_model(name: str) -> Problem:
    text = f"model: there is no {name[:80]!r} here; expected one of {', '.join(MODELS)}"
    return Problem(status=404, kind="not_found", text=text, code="model_not_found")


def _listed(name: str) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": _MADE,
        "owned_by": "fugu-adapters",
        "type": "model",
        "display_name": name,
        "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(_MADE)),
    }


def _problem(speaker: Speaker, error: Denied | FuguError) -> Response:
    problem = error.problem if isinstance(error, Denied) else problem_of(error)
    return JSONResponse(speaker.problem(problem), problem.status)


async def _not_found(request: HttpRequest, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    what = "there is no such address" if status == 404 else "this address takes another method"
    text = f"{what}: {request.method} {request.url.path}"
    problem = replace(_unknown_model(""), status=status, text=text, code=None)
    speaker: Speaker = MessagesSpeaker() if "anthropic-version" in request.headers else ChatSpeaker()  # fmt: skip
    return JSONResponse(speaker.problem(problem), status)
