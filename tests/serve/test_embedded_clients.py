"""The official clients on the local models, through the real server: no key, no network, no script."""

from __future__ import annotations

from pathlib import Path

import pytest

openai = pytest.importorskip("openai")
anthropic = pytest.importorskip("anthropic")

from served import listening  # noqa: E402

from fugu_adapters import Fugu, Pool, Worker  # noqa: E402
from fugu_adapters.serve.app import make_app  # noqa: E402
from fugu_adapters.store import Store  # noqa: E402
from fugu_adapters.workers.local_models import locate  # noqa: E402


@pytest.mark.embedded
@pytest.mark.timeout(300)
async def test_one_conversation_in_three_dialects(tmp_path: Path) -> None:
    """Whole and streamed, gone on from by its id, counted and recorded."""
    if locate("smollm2-135m") is None:
        pytest.skip("weights are not here; `fugu pull` fetches them")
    pytest.importorskip("xllamacpp")
    workers = [Worker(name=mode, api="embedded", model="smollm2-135m", mode=mode) for mode in ("plain", "calculator")]  # fmt: skip
    store = Store(str(tmp_path / "runs.db"))
    async with listening(make_app(Fugu(Pool(workers), store=store), store=store)) as url:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client:
            ask = [{"role": "user", "content": "Compute 12 * 12."}]
            whole = await client.chat.completions.create(model="fugu", messages=ask, max_tokens=40)
            assert whole.choices[0].message.content
            assert whole.usage.completion_tokens > 0
            assert whole.fugu["worker"] in ("plain", "calculator")
            first = await client.responses.create(model="fugu", input="Say hello.", max_output_tokens=20)  # fmt: skip
            then = await client.responses.create(model="fugu", input="Again.", previous_response_id=first.id, max_output_tokens=20)  # fmt: skip
            assert then.output_text
        async with anthropic.AsyncAnthropic(base_url=url, api_key="none") as other:
            asked = {"model": "fugu", "max_tokens": 20, "messages": [{"role": "user", "content": "Say hello."}]}  # fmt: skip
            async with other.messages.stream(**asked) as stream:
                pieces = [piece async for piece in stream.text_stream]
                said = await stream.get_final_message()
        assert "".join(pieces) == said.content[0].text != ""
    runs = store.list(10)
    assert [run.status for run in runs] == ["ok"] * 4
    history = runs[1].request.messages  # type: ignore[union-attr]
    assert [message["role"] for message in history] == ["user", "assistant", "user"]
    store.close()
