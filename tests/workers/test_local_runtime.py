"""How the runtime of local models is started: its settings, its threads, its failures."""

from __future__ import annotations

import sys
import types

import pytest
from local_model_double import FakeServer

from fugu_adapters.config import Worker
from fugu_adapters.errors import ConfigError, WeightsError
from fugu_adapters.types import Request
from fugu_adapters.workers import local_runtime
from fugu_adapters.workers.embedded import EmbeddedBackend


def ask():
    return Request(messages=({"role": "user", "content": "hi"},))


class FakeRuntime:
    """Stands for the module ``xllamacpp``: keeps the settings that a server is started with."""

    class CommonParams(types.SimpleNamespace):
        """Settings, all free to set."""

        def __init__(self):
            groups = {name: types.SimpleNamespace() for name in ("model", "cpuparams")}
            super().__init__(**groups, cpuparams_batch=types.SimpleNamespace())

    def __init__(self, failure=None):
        self.failure = failure
        self.started = []

    def Server(self, params):
        if self.failure is not None:
            raise self.failure
        self.started.append(params)
        return FakeServer("hello")


async def test_the_runtime_starts_bounded_and_locked(monkeypatch, tmp_path):
    """Whole context for each slot, no hidden cache, no chatter, and a key for its port that is secret."""
    path = tmp_path / "m.gguf"
    path.write_bytes(b"weights")
    runtime = FakeRuntime()
    monkeypatch.setitem(sys.modules, "xllamacpp", runtime)
    monkeypatch.setenv("FUGU_THREADS", "3")
    own = EmbeddedBackend(Worker(name="w", api="embedded", model="mine", path=path))
    try:
        assert (await own.call(ask())).text == "hello"
    finally:
        local_runtime.unload_all()
    params = runtime.started[0]
    assert params.model.path == str(path)
    assert params.n_ctx == local_runtime.CONTEXT_WINDOW * params.n_parallel
    assert params.n_batch <= 64
    assert (params.cpuparams.n_threads, params.cpuparams_batch.n_threads) == (3, 3)
    assert (params.cache_ram_mib, params.verbosity, params.kv_unified) == (0, -1, False)
    assert [len(key) >= 32 for key in params.api_keys] == [True]


async def test_weights_that_do_not_load_are_an_error(monkeypatch, tmp_path):
    """The runtime's refusal names the file."""
    path = tmp_path / "m.gguf"
    path.write_bytes(b"garbage")
    monkeypatch.setitem(sys.modules, "xllamacpp", FakeRuntime(RuntimeError("Failed to init")))
    own = EmbeddedBackend(Worker(name="w", api="embedded", model="mine", path=path))
    with pytest.raises(WeightsError, match=r"m\.gguf: not a model"):
        await own.call(ask())


@pytest.mark.parametrize(
    ("cores", "given", "threads"),
    [(1, None, 1), (2, None, 1), (4, None, 2), (64, None, 4), (None, None, 1), (2, "3", 3)],
)
def test_threads_leave_half_the_cores(monkeypatch, cores, given, threads):
    """The default never takes every core; the variable overrides it."""
    monkeypatch.delenv("FUGU_THREADS", raising=False)
    if given is not None:
        monkeypatch.setenv("FUGU_THREADS", given)
    monkeypatch.setattr(local_runtime.os, "cpu_count", lambda: cores)
    assert local_runtime._thread_count() == threads


@pytest.mark.parametrize("given", ["0", "-1", "many", ""])
def test_a_wrong_thread_count_is_an_error(monkeypatch, given):
    """It says what was expected."""
    monkeypatch.setenv("FUGU_THREADS", given)
    with pytest.raises(ConfigError, match="FUGU_THREADS: expected a whole number"):
        local_runtime._thread_count()
