"""``fugu init``: write a commented ``fugu.toml`` from what is found."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fugu_adapters.cli.common import CONFIG_NAME, JsonOption, note, print_json
from fugu_adapters.errors import ConfigError, FuguError, WorkerProtocolError, WorkerTimeout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import SecretStr

__all__ = ["fetch_models", "init", "list_models"]


def init(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path(CONFIG_NAME),
    probe: Annotated[
        bool,
        typer.Option(help="Look for servers on this machine (Ollama, vLLM, llama.cpp, LM Studio)."),
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a fugu.toml with the workers for the keys, servers and local models found here.

    Keys themselves are never written; the file names their variables.
    """
    from fugu_adapters.discover import init_toml, workers_from_env
    from fugu_adapters.workers.embedded import embedded_workers

    if path.exists() and not force:
        raise ConfigError(f"{path} exists; --force overwrites it")
    workers = list(embedded_workers())
    try:
        workers = workers_from_env(os.environ, probe=list_models if probe else None) + workers
    except ConfigError as nothing:
        if not workers:
            raise ConfigError(f"{nothing}; or run `fugu pull` for local models") from None
    text = init_toml(workers)
    _write(path, text)
    if as_json:
        print_json({"path": str(path), "workers": [worker.name for worker in workers]})
        return
    print(path)
    note(f"{len(workers)} workers: {', '.join(worker.name for worker in workers)}")
    note("next: fugu pool, fugu doctor")


def _write(path: Path, text: str) -> None:
    """Write all or nothing."""
    half = path.with_name(f".{path.name}.half")
    try:
        half.write_text(text, encoding="utf-8")
        half.replace(path)
    except OSError as error:
        half.unlink(missing_ok=True)
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None


def list_models(base_url: str) -> list[str]:
    """Ids of the models that an OpenAI-compatible server offers; none where nothing answers."""
    try:
        return asyncio.run(fetch_models(base_url, {}, seconds=1.0))
    except FuguError:
        return []


async def fetch_models(
    base_url: str, headers: Mapping[str, str | SecretStr], *, seconds: float
) -> list[str]:
    """Ask a server for its models: ``GET {base_url}/models``.

    Raises:
        WorkerError: it does not answer, refuses, or answers something else.
    """
    from pydantic_core import from_json

    from fugu_adapters.engine.status import error_for_status
    from fugu_adapters.engine.transport import Transport

    transport = Transport(connect_timeout=seconds)
    try:
        async with (
            asyncio.timeout(seconds),
            transport.stream(
                f"{base_url}/models", headers=headers, body=None, worker="models", method="GET"
            ) as reply,
        ):
            body = await reply.read()
            if reply.status != 200:
                raise error_for_status(reply.status, reply.headers, "models")
        return [str(entry["id"]) for entry in from_json(body)["data"]]
    except TimeoutError:
        raise WorkerTimeout(f"no answer within {seconds:g} s") from None
    except (ValueError, KeyError, TypeError):
        raise WorkerProtocolError(
            "it does not list models as OpenAI-compatible servers do"
        ) from None
    finally:
        await transport.aclose()
