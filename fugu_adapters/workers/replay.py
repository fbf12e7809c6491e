"""Workers that give recorded answers: for tests, and to evaluate policies without asking anybody."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from fugu_adapters.config import Worker
from fugu_adapters.engine.backend import OnDelta, deliver
from fugu_adapters.errors import ConfigError, WorkerRefused
from fugu_adapters.messages import routing_text
from fugu_adapters.types import Reply, Request, Usage

__all__ = ["ReplayBackend"]


class _Row(BaseModel):
    """One recorded answer. Other columns of an outcomes file are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    prompt: str
    answer: str | None = None
    worker: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None


class ReplayBackend:
    """Answers from ``worker.path``: JSONL, or Parquet where the name ends so.

    A row has ``prompt`` and ``answer``, and may have ``worker``, ``input_tokens``, ``output_tokens``
    and ``cost_usd``. Rows whose ``worker`` is another one than ``worker.model`` (or the
    worker's name, where it has no model) are left out. A request is answered where its last user
    message *is* a recorded prompt. Of several answers the request's seed picks one, the first where it
    has none. A recorded latency is not waited for.

    Args:
        worker: a worker with ``api = "replay"``.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._rows: dict[str, list[_Row]] | None = None

    async def call(self, request: Request, *, on_delta: OnDelta | None = None) -> Reply:
        """Answer one request; see ``Backend.call``.

        Raises:
            WorkerRefused: with ``cause_kind`` ``"not_recorded"`` for a prompt that is not in the file.
            ConfigError: where the file is missing or holds something else.
        """
        if self._rows is None:  # two first requests may both read it, to the same end
            self._rows = await asyncio.to_thread(_load, self._worker)
        recorded = self._rows.get(routing_text(request, max_chars=2**62))
        if not recorded:
            raise WorkerRefused(
                f"no answer to this prompt is recorded in {self._worker.path}",
                worker=self._worker.name,
                cause_kind="not_recorded",
            )
        row = recorded[(request.seed or 0) % len(recorded)]
        reply = Reply(
            text=row.answer or "",
            usage=Usage(input_tokens=row.input_tokens, output_tokens=row.output_tokens),
            model=self._worker.model,
            cost_usd=row.cost_usd,
        )
        deliver(reply, on_delta)
        return reply

    async def aclose(self) -> None:
        """Forget the answers; they are read again when asked for."""
        self._rows = None


def _load(worker: Worker) -> dict[str, list[_Row]]:
    path = Path(str(worker.path))
    wanted = (None, worker.model or worker.name)
    answers: dict[str, list[_Row]] = {}
    try:
        entries = _read_parquet(path) if path.suffix == ".parquet" else _read_jsonl(path)
        for number, entry in enumerate(entries, start=1):
            row = _parse(entry, f"{path}: row {number}")
            if row.worker in wanted and row.answer is not None:
                answers.setdefault(row.prompt, []).append(row)
    except OSError as error:
        raise ConfigError(f"{path}: recorded answers cannot be read ({error.strerror})") from None
    if not answers:
        raise ConfigError(
            f"{path}: no recorded answer of {wanted[1]!r}; set the worker's model to a name that the "
            "file's worker column has"
        )
    return answers


def _parse(entry: Any, where: str) -> _Row:
    try:
        return _Row.model_validate(entry)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(str(part) for part in problem["loc"])
        raise ConfigError(f"{where}: {key}: {problem['msg']}".replace(": : ", ": ")) from None


def _read_jsonl(path: Path) -> Iterable[Any]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    yield json.loads(line)
                except ValueError:
                    raise ConfigError(f"{path}: line {number} is not JSON") from None


def _read_parquet(path: Path) -> Iterable[Any]:
    try:
        import pyarrow.parquet
    except ImportError:
        raise ConfigError(
            f'{path}: reading Parquet needs pyarrow: pip install "fugu-adapters[train]"'
        ) from None
    try:
        rows: list[Any] = pyarrow.parquet.read_table(path).to_pylist()
    except pyarrow.ArrowInvalid:
        raise ConfigError(f"{path}: is not a Parquet file") from None
    return rows
