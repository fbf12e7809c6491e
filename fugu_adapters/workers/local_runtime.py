"""Running a GGUF file in this process with xllamacpp (llama.cpp), and stopping it when told to.

Facts about the runtime that the code rests on, each held by a test with real weights:

* Starting a server always opens an HTTP port on 127.0.0.1. We do not use it and cannot avoid it, so
  it gets a random key that nobody is told: every request to it is answered 401.
* A call blocks its thread and releases the interpreter lock. It can be stopped only from its callback,
  which runs once per token, and during the prompt once per batch: hence small batches and
  ``return_progress``. Batches of 64 tokens read a prompt as fast as larger ones here.
* ``n_ctx`` is divided among the slots. ``cache_ram_mib`` defaults to 8 GiB and is switched off.
* More threads than idle cores make generation collapse (measured: from 60 to 0.4 tokens per second
  with two threads on two busy cores), so the default is half the cores, and at most 4.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from fugu_adapters.errors import (
    ConfigError,
    WeightsError,
    WorkerProtocolError,
    WorkerRefused,
    WorkerUnavailable,
)
from fugu_adapters.types import Usage

__all__ = [
    "CONTEXT_WINDOW",
    "SLOTS",
    "ChatServer",
    "Completion",
    "LocalModelRuntime",
    "get_runtime",
    "unload_all",
]

CONTEXT_WINDOW = 4096
"""Tokens that prompt and reply of one call may have together."""

SLOTS = 2
"""Calls that one model works on at a time; further ones wait."""

_BATCH = 64  # tokens of the prompt between two chances to stop
_STOP_S = 10.0  # how long a stopped call may take to end, on a busy machine

OnText: TypeAlias = Callable[[str], None]


class ChatServer(Protocol):
    """The one method of ``xllamacpp.Server`` that is used."""

    def handle_chat_completions(
        self, body: dict[str, Any], callback: Callable[[dict[str, Any]], bool]
    ) -> Any:
        """Answer a chat request, calling back with each chunk; ``True`` from there stops it."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Completion:
    """One reply of the runtime.

    Attributes:
        text: what was generated.
        usage: tokens by the runtime's count.
        truncated: whether it stopped for length rather than by itself.
    """

    text: str
    usage: Usage
    truncated: bool


class _Collector:
    """The callback of one call: gathers its chunks and carries the wish to stop."""

    def __init__(self, on_text: OnText | None) -> None:
        self.stop = threading.Event()
        self.pieces: list[str] = []
        self.usage: Mapping[str, Any] = {}
        self.finish: str | None = None
        self.error: Mapping[str, Any] | None = None
        self._on_text = on_text

    def __call__(self, chunk: dict[str, Any]) -> bool:
        if "error" in chunk:
            self.error = chunk["error"]
        self.usage = chunk.get("usage") or self.usage
        for choice in chunk.get("choices") or ():
            self.finish = choice.get("finish_reason") or self.finish
            text = (choice.get("delta") or {}).get("content")
            if text and not self.stop.is_set():
                self.pieces.append(text)
                if self._on_text is not None:
                    self._on_text(text)
        return self.stop.is_set()


class LocalModelRuntime:
    """One loaded model. Calls run in its own threads, so that no other work waits for them."""

    def __init__(self, server: ChatServer) -> None:
        self._server = server
        self._threads = ThreadPoolExecutor(SLOTS, thread_name_prefix="fugu-local-model")

    async def complete(
        self, body: Mapping[str, Any], *, worker: str, on_text: OnText | None = None
    ) -> Completion:
        """Generate one reply.

        Args:
            body: a chat completions request of llama.cpp's server, without streaming keys.
            worker: whom errors are about.
            on_text: called on the event loop with each piece of text.

        Raises:
            WorkerError: where the request does not fit, is malformed, or the runtime fails.
        """
        loop = asyncio.get_running_loop()
        forward = None
        if on_text is not None:
            deliver = on_text

            def forward(text: str) -> None:
                loop.call_soon_threadsafe(deliver, text)

        collector = _Collector(forward)
        streamed = {
            **body,
            "stream": True,
            "stream_options": {"include_usage": True},
            "return_progress": True,
        }
        job = self._threads.submit(self._server.handle_chat_completions, streamed, collector)
        try:
            await asyncio.shield(waiting := asyncio.wrap_future(job))
        except asyncio.CancelledError:
            collector.stop.set()
            if not job.cancel():  # it runs: leave nothing running behind the caller's back
                await asyncio.wait({waiting}, timeout=_STOP_S)
            raise
        except (ValueError, RuntimeError) as error:
            raise WorkerRefused(
                f"worker {worker!r}: the local model cannot take this request "
                f"({str(error).splitlines()[0]:.120})",
                worker=worker,
                cause_kind="bad_request",
            ) from error
        return _completion(collector, worker)

    def close(self) -> None:
        """Let running calls end and free the threads; the model goes with the last reference."""
        self._threads.shutdown(wait=True)


def _completion(collector: _Collector, worker: str) -> Completion:
    if collector.error is not None:
        raise _translated(collector.error, worker)
    if collector.finish is None:
        raise WorkerProtocolError(
            f"worker {worker!r}: the local runtime ended without finishing its reply",
            worker=worker,
        )
    details = collector.usage.get("prompt_tokens_details") or {}
    return Completion(
        text="".join(collector.pieces),
        usage=Usage(
            input_tokens=collector.usage.get("prompt_tokens"),
            output_tokens=collector.usage.get("completion_tokens"),
            cached_input_tokens=details.get("cached_tokens"),
        ),
        truncated=collector.finish == "length",
    )


def _translated(error: Mapping[str, Any], worker: str) -> WorkerRefused | WorkerUnavailable:
    if error.get("type") == "exceed_context_size_error":
        return WorkerRefused(
            f"worker {worker!r}: the prompt has {error.get('n_prompt_tokens')} tokens, the local "
            f"model takes {error.get('n_ctx')}; shorten it or choose a worker with a longer context",
            worker=worker,
            status=413,  # too large for this worker; another may have the room
            cause_kind="context",
        )
    code = error.get("code")
    kind = WorkerRefused if isinstance(code, int) and 400 <= code < 500 else WorkerUnavailable
    return kind(
        f"worker {worker!r}: the local runtime refused ({error.get('type')})",
        worker=worker,
        status=code if isinstance(code, int) else None,
        cause_kind=str(error.get("type") or "runtime"),
    )


_runtimes: dict[Path, LocalModelRuntime] = {}
_loading = threading.Lock()


async def get_runtime(path: Path) -> LocalModelRuntime:
    """The runtime of a weights file, loaded on first use and then kept for the process's life.

    Raises:
        ConfigError: where xllamacpp is not installed.
        WeightsError: where the file is missing or is not a model that it can run.
    """
    known = _runtimes.get(path)
    return known if known is not None else await asyncio.to_thread(_load_once, path)


def _load_once(path: Path) -> LocalModelRuntime:
    with _loading:
        if path not in _runtimes:
            _runtimes[path] = LocalModelRuntime(_start(path))
        return _runtimes[path]


def _start(path: Path) -> ChatServer:
    try:
        import xllamacpp
    except ImportError:
        raise ConfigError(
            "local models need xllamacpp: pip install 'fugu-adapters[embedded]'"
        ) from None
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file; `fugu pull` fetches the known ones")
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx = CONTEXT_WINDOW * SLOTS
    params.n_parallel = SLOTS
    params.kv_unified = False
    params.n_batch = params.n_ubatch = _BATCH
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = _thread_count()
    params.n_threads_http = 1
    params.cache_ram_mib = 0
    params.warmup = False
    params.verbosity = -1
    params.ui = params.endpoint_slots = params.endpoint_props = False
    params.api_keys = [secrets.token_urlsafe(32)]
    try:
        server: ChatServer = xllamacpp.Server(params)
    except RuntimeError as error:
        raise WeightsError(f"{path}: not a model that the local runtime can load") from error
    return server


def _thread_count() -> int:
    """``FUGU_THREADS``, or half the cores, at least 1 and at most 4."""
    given = os.environ.get("FUGU_THREADS")
    if given is None:
        return max(1, min(4, (os.cpu_count() or 2) // 2))
    if not given.isdecimal() or int(given) < 1:
        raise ConfigError(f"FUGU_THREADS: expected a whole number from 1, got {given!r:.40}")
    return int(given)


def unload_all() -> None:
    """Forget every loaded model and free its memory, once its running calls have ended."""
    with _loading:
        for runtime in _runtimes.values():
            runtime.close()
        _runtimes.clear()
