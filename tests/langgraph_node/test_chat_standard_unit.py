"""LangChain's own unit tests of chat models, over an endpoint, where an ``api_key`` has its place."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("langchain_tests")

from langchain_core.language_models import BaseChatModel
from langchain_tests.unit_tests import ChatModelUnitTests

from langgraph_node import ChatFugu

URL = "http://127.0.0.1:9/v1"


class TestChatFugu(ChatModelUnitTests):
    """``test_serdes`` is skipped by its own rule: LangChain's loader takes its own classes only."""

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatFugu

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "fugu-ultra", "base_url": URL}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        env = {"FUGU_API_KEY": "made-up", "FUGU_BASE_URL": URL}
        return env, {}, {"api_key": "made-up", "base_url": URL, "model_name": "fugu"}
