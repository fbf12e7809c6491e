"""The event parser: the same events however the bytes are cut."""

from __future__ import annotations

import time

import pytest

from fugu_adapters.engine.providers.sse import SseEvent, SseParser
from fugu_adapters.errors import WorkerProtocolError

STREAM = (
    "\ufeffdata: first\n\n"
    ": a comment\n"
    "event: named\r\ndata: zwei Zeilen: äöü \U0001f421\r\ndata:second\r\n\r\n"
    "id: 1\nretry: 5\nunknown\n\n"
    "data\rdata:  spaced\r\r"
    "event: no data\n\n"
    "data: last"
).encode()
EVENTS = [
    SseEvent(data="first"),
    SseEvent(name="named", data="zwei Zeilen: äöü \U0001f421\nsecond"),
    SseEvent(data="\n spaced"),
    SseEvent(data="last"),
]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64, 10_000])
def test_cutting_does_not_matter(size: int) -> None:
    """Pieces may split characters, line ends and lines; comments and unknown fields are dropped."""
    parser = SseParser("w")
    events: list[SseEvent] = []
    for start in range(0, len(STREAM), size):
        events += parser.feed(STREAM[start : start + size])
    assert events + parser.finish() == EVENTS


@pytest.mark.parametrize(
    "chunks",
    [
        [b"data: " + b"x" * 200],
        [b"x"] * 200,
        [b"data: " + b"x" * 40 + b"\n"] * 3,
    ],
    ids=["one-line", "tiny-pieces", "many-lines"],
)
def test_events_are_bounded(chunks: list[bytes]) -> None:
    """One event may not grow without end, neither in one line nor over many."""
    parser = SseParser("w", max_bytes=100)
    with pytest.raises(WorkerProtocolError) as caught:
        [parser.feed(chunk) for chunk in chunks]
    assert caught.value.cause_kind == "too_long"
    assert caught.value.worker == "w"


def test_invalid_utf8_is_a_protocol_error() -> None:
    """Bytes that are not UTF-8 are not replaced silently."""
    with pytest.raises(WorkerProtocolError) as caught:
        SseParser("w").feed(b"data: \xff\n")
    assert caught.value.cause_kind == "encoding"


def test_tiny_pieces_cost_linear_time() -> None:
    """200,000 one-byte pieces of one line are taken in seconds, not in hours."""
    parser = SseParser("w")
    begun = time.perf_counter()
    for _ in range(200_000):
        parser.feed(b"x")
    assert time.perf_counter() - begun < 5
