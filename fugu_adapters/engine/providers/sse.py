"""Server-sent events: bytes in, events out. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from fugu_adapters.errors import WorkerProtocolError

__all__ = ["MAX_EVENT_BYTES", "SseEvent", "SseParser"]

MAX_EVENT_BYTES = 1024 * 1024
"""The longest event (and so the longest line) that is accepted."""

_LINE_END = re.compile(rb"\r\n|\r|\n")


@dataclass(frozen=True, kw_only=True, slots=True)
class SseEvent:
    """One event.

    Attributes:
        name: ``""`` where it has none.
        data: its data lines, joined by line feeds.
        raw: its bytes as they came, with the comments before it and the empty line after it.
    """

    name: str = ""
    data: str = ""
    raw: bytes = field(default=b"", repr=False, compare=False)


class SseParser:
    """Cuts a byte stream into events, wherever the pieces happen to be cut.

    Args:
        worker: who sends, for errors.
        max_bytes: bound on one event.
    """

    def __init__(self, worker: str, *, max_bytes: int = MAX_EVENT_BYTES) -> None:
        self._worker = worker
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        self._scanned = (
            0  # no line ends before here, so that tiny pieces do not cost quadratic time
        )
        self._name = ""
        self._data: list[str] = []
        self._raw = bytearray()
        self._size = 0
        self._first = True

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """Take the next piece and return the events that it completes.

        Raises:
            WorkerProtocolError: an event is too long or not UTF-8.
        """
        self._buffer += chunk
        events: list[SseEvent] = []
        start = 0
        while match := _LINE_END.search(self._buffer, self._scanned):
            if match.group() == b"\r" and match.end() == len(self._buffer):
                break  # the other half of a CRLF may be in the next piece
            self._raw += self._buffer[start : match.end()]
            events += self._line(bytes(self._buffer[start : match.start()]))
            start = self._scanned = match.end()
        self._scanned = (match.start() if match else len(self._buffer)) - start
        del self._buffer[:start]
        self._bound(len(self._buffer))
        return events

    def finish(self) -> list[SseEvent]:
        """Return what the end of the stream completes: it may come without a last empty line."""
        self._raw += self._buffer
        events = self._line(bytes(self._buffer).rstrip(b"\r")) if self._buffer else []
        self._buffer.clear()
        return events + self._dispatch()

    def _line(self, raw: bytes) -> list[SseEvent]:
        self._bound(len(raw))
        try:
            line = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise self._error("the stream is not UTF-8", "encoding") from None
        if self._first:
            self._first, line = False, line.removeprefix("\ufeff")
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._size += len(raw)
            self._data.append(value)
        elif name == "event":
            self._name = value
        return []  # comments, ids and retry hints mean nothing to us

    def _dispatch(self) -> list[SseEvent]:
        name, data = self._name, self._data
        self._name, self._data, self._size = "", [], 0
        if not data:
            return []  # what came before it stays with the next one
        raw = bytes(self._raw)
        self._raw.clear()
        return [SseEvent(name=name, data="\n".join(data), raw=raw)]

    def _bound(self, more: int) -> None:
        if len(self._raw) > 2 * self._max_bytes:
            del self._raw[: -self._max_bytes]  # an endless run of comments
        if self._size + more > self._max_bytes:
            raise self._error(f"an event is longer than {self._max_bytes:,} bytes", "too_long")

    def _error(self, text: str, kind: str) -> WorkerProtocolError:
        return WorkerProtocolError(text, worker=self._worker, cause_kind=kind)
