"""LangChain's own integration tests of chat models: in process, over an endpoint, on real local models.

Skipped by their own rules everywhere: PDF, audio and video (a request with them is refused), images (the
tests download one; ``test_chat.py`` passes images), Anthropic's own blocks, and recorded timings.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar

import pytest

pytest.importorskip("langchain_tests")

from langchain_core.language_models import BaseChatModel
from langchain_tests.integration_tests import ChatModelIntegrationTests
from understanding import WORKER, serving

from fugu_adapters import Pool
from fugu_adapters.workers.local_models import DEFAULTS, locate
from langgraph_node import ChatFugu


class _Closed(ChatFugu):
    """``ChatFugu`` whose instances a test can close: LangChain's tests keep those that they make."""

    open: ClassVar[list[ChatFugu]] = []

    def model_post_init(self, context: Any, /) -> None:
        super().model_post_init(context)
        self.open.append(self)


@pytest.fixture(autouse=True)
async def _close_all() -> AsyncIterator[None]:
    yield
    while _Closed.open:
        await _Closed.open.pop().aclose()


class TestPool(ChatModelIntegrationTests):
    """A pool in this process. The worker follows rules; everything above it is the real thing."""

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return _Closed

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"pool": Pool([WORKER])}

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "fugu"


class TestPoolByTool(TestPool):
    """The same with the other way to a schema."""

    @property
    def structured_output_kwargs(self) -> dict[str, Any]:
        return {"method": "function_calling"}


class TestEndpoint(TestPool):
    """An endpoint on loopback, so that requests and streams go over the wire."""

    url = ""

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _endpoint(cls) -> Iterator[None]:
        with serving() as server:
            cls.url = server.url("chat")
            yield

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"base_url": self.url, "api_key": "made-up"}

    @property
    def model_override_value(self) -> str:
        return "fugu-ultra"


@pytest.mark.embedded
@pytest.mark.skipif(
    any(locate(name) is None for name in DEFAULTS),
    reason="weights are not here; `fugu pull` fetches them",
)
class TestEmbedded(ChatModelIntegrationTests):
    """Real small models. They answer and keep to a schema; they cannot call tools (a test says so)."""

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return _Closed

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"pool": Pool.embedded(), "max_tokens": 48}

    @property
    def has_tool_calling(self) -> bool:
        return False

    @property
    def has_structured_output(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "fugu"
