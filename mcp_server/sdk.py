"""The MCP SDK, in either of its majors, between the wire and ``Handlers``.

Both are used through their low-level server: the decorators of 1.x and 2.x differ in how errors are worded
and which arguments a tool may have, and neither can be told our own schemas. Importing the SDK takes about
a second, so nothing here is imported before it is needed (``early.py``).
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from fugu_adapters.errors import ConfigError
from mcp_server.peer import Refused
from mcp_server.tools import INSTRUCTIONS, about_server

if TYPE_CHECKING:
    from mcp_server.handlers import Handlers

__all__ = ["make_server", "sdk_major"]

_STDIO = "local"


def sdk_major() -> int:
    """Which SDK is installed, without importing it.

    Raises:
        ConfigError: where none is.
    """
    try:
        version = importlib.metadata.version("mcp")
    except importlib.metadata.PackageNotFoundError:
        raise ConfigError(
            "the MCP server needs the MCP SDK: pip install 'fugu-adapters[mcp]'"
        ) from None
    return int(version.split(".", 1)[0])


def make_server(handlers: Handlers) -> Any:
    """An ``mcp.server.lowlevel.Server`` of the installed major."""
    return _server_1(handlers) if sdk_major() < 2 else _server_2(handlers)


def _caller(request: Any) -> str:
    """Who called: the token's owner, else the session, else whoever started this process.

    Over HTTP without a token and without a session, as protocol 2026-07-28 has none, all are one.
    """
    if request is None:
        return _STDIO
    user = request.scope.get("user")
    if user is not None and user.is_authenticated:
        return f"token:{user.username}"
    session = request.headers.get("mcp-session-id")
    return f"session:{hashlib.sha256(session.encode()).hexdigest()}" if session else "loopback"


class _Peer:
    """A client, as seen through either SDK."""

    def __init__(
        self,
        *,
        request: Any,
        wants_progress: bool,
        can_sample: bool,
        replays: bool,
        progress: Callable[[float, str], Awaitable[None]],
        sample: Callable[[dict[str, Any]], Awaitable[Any]],
    ) -> None:
        self.caller = _caller(request)
        self.wants_progress = wants_progress
        self.can_sample = can_sample
        self.replays = replays
        self._progress = progress
        self._sample = sample
        self._last = 0.0

    async def progress(self, value: float, message: str) -> None:
        self._last = max(value, self._last + 0.001)  # the protocol wants it to grow
        await self._progress(self._last, message)

    async def sample(self, params: dict[str, Any]) -> dict[str, Any]:
        return _plain(await self._sample(params))


def _server_1(handlers: Handlers) -> Any:
    from mcp import types
    from mcp.server.lowlevel import Server
    from mcp.shared.exceptions import McpError
    from mcp.shared.message import ServerMessageMetadata

    about = about_server()
    server: Any = Server(about["name"], version=about["version"], instructions=INSTRUCTIONS)

    def peer() -> _Peer:
        context = server.request_context
        session, token = context.session, context.meta and context.meta.progressToken
        known = session.client_params

        async def progress(value: float, message: str) -> None:
            if token is not None:
                await session.send_progress_notification(
                    token, value, None, message, related_request_id=str(context.request_id)
                )

        async def sample(params: dict[str, Any]) -> Any:
            asked = types.CreateMessageRequestParams.model_validate(params)
            return await session.send_request(
                types.ServerRequest(types.CreateMessageRequest(params=asked)),
                types.CreateMessageResult,
                metadata=ServerMessageMetadata(related_request_id=context.request_id),
            )

        return _Peer(
            request=context.request,
            wants_progress=token is not None,
            can_sample=bool(known and known.capabilities.sampling is not None),
            replays=False,
            progress=progress,
            sample=sample,
        )

    def serve(method: str, request: Any, result: Any) -> None:
        async def handler(asked: Any) -> Any:
            try:
                found = await handlers.handle(method, _plain(asked.params), peer())
            except Refused as error:
                data = types.ErrorData(code=error.code, message=str(error), data=error.data)
                raise McpError(data) from None
            return types.ServerResult(result.model_validate(found))

        server.request_handlers[request] = handler

    serve("tools/list", types.ListToolsRequest, types.ListToolsResult)
    serve("tools/call", types.CallToolRequest, types.CallToolResult)
    serve("resources/list", types.ListResourcesRequest, types.ListResourcesResult)
    serve(
        "resources/templates/list",
        types.ListResourceTemplatesRequest,
        types.ListResourceTemplatesResult,
    )
    serve("resources/read", types.ReadResourceRequest, types.ReadResourceResult)
    serve("prompts/list", types.ListPromptsRequest, types.ListPromptsResult)
    serve("prompts/get", types.GetPromptRequest, types.GetPromptResult)
    return server


def _server_2(handlers: Handlers) -> Any:
    from mcp import types
    from mcp.server.lowlevel import Server
    from mcp.shared.exceptions import MCPError
    from mcp.shared.message import ServerMessageMetadata
    from mcp_types.version import MODERN_PROTOCOL_VERSIONS

    about = about_server()
    server: Any = Server(about["name"], version=about["version"], instructions=INSTRUCTIONS)

    def peer(context: Any) -> _Peer:
        session = context.session
        offered = session.client_capabilities
        replays = context.protocol_version in MODERN_PROTOCOL_VERSIONS
        meta = (context.params or {}).get("_meta") or {}

        async def sample(params: dict[str, Any]) -> Any:
            # `create_message` does the same, with a warning that sampling is to go.
            asked = types.CreateMessageRequestParams.model_validate(params)
            return await session.send_request(
                types.CreateMessageRequest(params=asked),
                types.CreateMessageResult,
                metadata=ServerMessageMetadata(related_request_id=context.request_id),
            )

        return _Peer(
            request=context.request,
            wants_progress="progressToken" in meta,
            can_sample=bool(offered and offered.sampling is not None)
            and (replays or session.can_send_request),
            replays=replays,
            progress=lambda value, message: session.report_progress(value, None, message),
            sample=sample,
        )

    def serve(method: str, params: Any, result: Any) -> None:
        async def handler(context: Any, asked: Any) -> Any:
            try:
                found = await handlers.handle(method, _plain(asked), peer(context))
            except Refused as error:
                raise MCPError(code=error.code, message=str(error), data=error.data) from None
            asks = found.get("resultType") == "input_required"
            return (types.InputRequiredResult if asks else result).model_validate(found)

        server.add_request_handler(method, params, handler)

    listed, templates = types.PaginatedRequestParams, types.ListResourceTemplatesResult
    serve("tools/list", listed, types.ListToolsResult)
    serve("tools/call", types.CallToolRequestParams, types.CallToolResult)
    serve("resources/list", listed, types.ListResourcesResult)
    serve("resources/templates/list", listed, templates)
    serve("resources/read", types.ReadResourceRequestParams, types.ReadResourceResult)
    serve("prompts/list", listed, types.ListPromptsResult)
    serve("prompts/get", types.GetPromptRequestParams, types.GetPromptResult)
    return server


def _plain(params: Any) -> dict[str, Any]:
    if params is None:
        return {}
    plain: dict[str, Any] = params.model_dump(by_alias=True, mode="json", exclude_none=True)
    return plain
