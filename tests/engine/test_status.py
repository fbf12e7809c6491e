"""Statuses, hints and error codes: which of our errors they become."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from fugu_adapters.engine.status import (
    MAX_RETRY_AFTER,
    error_code,
    error_for_status,
    error_in_body,
    parse_retry_after,
)
from fugu_adapters.errors import (
    WorkerError,
    WorkerProtocolError,
    WorkerRateLimited,
    WorkerRefused,
    WorkerUnavailable,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "1"}, 1.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "999999999"}, MAX_RETRY_AFTER),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:30 GMT"}, 30.0),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:30 -0000"}, 30.0),
        ({"retry-after": "Wed, 31 Dec 2025 00:00:00 GMT"}, 0.0),
        ({"retry-after": "Fri, 01 Jan 9999 00:00:00 GMT"}, MAX_RETRY_AFTER),
        *(
            ({"retry-after": text}, None)
            for text in ("nan", "inf", "-5", "1e9", "\u0663", "0x10", "1_0", "", "99 Foo 1:2")
        ),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    """Hints are strict ASCII numbers or HTTP dates, clamped; everything else is no hint."""
    assert parse_retry_after(headers, now=NOW) == seconds


@pytest.mark.parametrize(
    ("status", "kind", "cause"),
    [
        (301, WorkerRefused, "redirect"),
        (400, WorkerRefused, "http_400"),
        (401, WorkerRefused, "http_401"),
        (402, WorkerRefused, "http_402"),
        (404, WorkerRefused, "http_404"),
        (408, WorkerUnavailable, "http_408"),
        (409, WorkerUnavailable, "http_409"),
        (418, WorkerRefused, "http_418"),
        (422, WorkerRefused, "http_422"),
        (429, WorkerRateLimited, "http_429"),
        (500, WorkerUnavailable, "http_500"),
        (503, WorkerUnavailable, "http_503"),
        (529, WorkerUnavailable, "http_529"),
    ],
)
def test_statuses(status: int, kind: type[WorkerError], cause: str) -> None:
    """Each status has one class, and its number stays visible."""
    error = error_for_status(status, {"retry-after": "3"}, "w")
    assert type(error) is kind
    assert (error.status, error.cause_kind, error.worker) == (status, cause, "w")
    assert error.retry_after == (None if kind is WorkerRefused else 3.0)
    assert str(status) in str(error)


def test_an_empty_account_is_not_a_rate_limit() -> None:
    """Waiting does not fill an account, so 429 with that code is a refusal."""
    error = error_for_status(429, {}, "w", detail="insufficient_quota", key="MY_KEY")
    assert isinstance(error, WorkerRefused)
    assert error.cause_kind == "quota"
    assert "MY_KEY" in str(error)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"error": {"code": "invalid_api_key", "type": "x"}}', "invalid_api_key"),
        (b'{"error": {"code": null, "type": "overloaded_error"}}', "overloaded_error"),
        (b'{"error": {"code": "Bad key sk-1", "type": "auth"}}', "auth"),
        (b'{"error": {"code": 7, "message": "sk-1"}}', None),
        (b'{"error": "text"}', None),
        (b"[]", None),
        (b"<html>", None),
        (b"[" * 100_000, None),
    ],
)
def test_only_codes_are_taken_from_error_bodies(body: bytes, code: str | None) -> None:
    """An error's free text never gets further than the parser."""
    assert error_code(body) == code


def test_advice_names_the_variable_and_hides_odd_details() -> None:
    """A 401 says which variable to look at; a detail that is not a short code is dropped."""
    error = error_for_status(401, {}, "w", detail="Bad key sk-1", key="MY_KEY")
    assert "MY_KEY" in str(error)
    assert "sk-1" not in str(error)


@pytest.mark.parametrize(
    ("inside", "kind", "status"),
    [
        ({"code": 502, "message": "x"}, WorkerUnavailable, 502),
        ({"code": 429}, WorkerRateLimited, 429),
        ({"type": "overloaded_error"}, WorkerUnavailable, 529),
        ({"type": "invalid_request_error"}, WorkerRefused, 400),
        ({"type": "something_new"}, WorkerProtocolError, None),
        ({"code": 200}, WorkerProtocolError, None),
        ({"code": True}, WorkerProtocolError, None),
        ("boom", WorkerProtocolError, None),
    ],
)
def test_errors_inside_a_success(inside: object, kind: type[WorkerError], status: int) -> None:
    """Gateways send errors with status 200: a known code counts as its status."""
    error = error_in_body(inside, "w")
    assert type(error) is kind
    assert error.status == status
