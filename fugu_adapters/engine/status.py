"""What an endpoint's refusal means: status, hints and error codes to one of our errors. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from pydantic_core import from_json

from fugu_adapters.errors import (
    WorkerError,
    WorkerProtocolError,
    WorkerRateLimited,
    WorkerRefused,
    WorkerUnavailable,
)

__all__ = [
    "MAX_RETRY_AFTER",
    "error_code",
    "error_for_status",
    "error_in_body",
    "parse_retry_after",
]

MAX_RETRY_AFTER = 24 * 3600.0
"""The longest hint that is believed, in seconds."""

_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,6})?")
_CODE = re.compile(r"[a-z0-9_.-]{1,64}")
_QUOTA = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
_TRANSIENT = frozenset({408, 409, 425})

_ADVICE = {
    400: "the request does not suit this model; see the endpoint's documentation",
    401: "check the key in {key}",
    402: "the account behind {key} has no credit",
    403: "the key in {key} may not use this model",
    404: "check base_url and the model id",
    413: "the request is too large for this endpoint",
}

_STATUS_OF_CODE = {  # the words of OpenAI's and Anthropic's APIs for errors inside a success
    "api_error": 500,
    "authentication_error": 401,
    "billing_error": 402,
    "insufficient_quota": 429,
    "invalid_request_error": 400,
    "not_found_error": 404,
    "overloaded_error": 529,
    "permission_error": 403,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "request_too_large": 413,
    "server_error": 500,
    "timeout_error": 504,
}


def parse_retry_after(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """Seconds that an endpoint asks us to wait.

    Args:
        headers: of the reply, with lower-case names.
        now: what an HTTP date is relative to; the current time where not given.

    Returns:
        0 to ``MAX_RETRY_AFTER``, or ``None`` where there is no hint or it is not well-formed.
    """
    milliseconds = headers.get("retry-after-ms", "").strip()
    if _NUMBER.fullmatch(milliseconds):
        return min(float(milliseconds) / 1000, MAX_RETRY_AFTER)
    hint = headers.get("retry-after", "").strip()
    if _NUMBER.fullmatch(hint):
        return min(float(hint), MAX_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(hint)
    except (ValueError, TypeError, OverflowError):
        return None
    if moment.tzinfo is None:  # "-0000" means UTC of unknown origin
        moment = moment.replace(tzinfo=UTC)
    seconds = (moment - (now or datetime.now(UTC))).total_seconds()
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)


def error_code(body: bytes) -> str | None:
    """The short code in an error's body, or ``None``. Never its text, which may echo key or prompt."""
    try:
        data = from_json(body, allow_inf_nan=False)
    except ValueError:
        return None
    return _code_of(data.get("error")) if isinstance(data, dict) else None


def _code_of(error: Any) -> str | None:
    if not isinstance(error, dict):
        return None
    for value in (error.get("code"), error.get("type")):
        if isinstance(value, str) and _CODE.fullmatch(value):
            return value
    return None


def error_for_status(
    status: int,
    headers: Mapping[str, str],
    worker: str,
    *,
    detail: str | None = None,
    key: str | None = None,
) -> WorkerError:
    """The error for a reply that is not a success.

    Args:
        status: HTTP status, 300 or more.
        headers: of the reply, with lower-case names.
        worker: who was asked.
        detail: the endpoint's own short code; left out unless it looks like one.
        key: the variable that holds the key, for the advice.
    """
    code = detail if detail is not None and _CODE.fullmatch(detail) else None
    told = f"the endpoint answered {status}" + (f" ({code})" if code else "")
    kind = f"http_{status}"
    hint = parse_retry_after(headers)
    if 300 <= status < 400:
        text = f"{told}, a redirect, which is never followed; set base_url to the final address"
        return WorkerRefused(text, worker=worker, status=status, cause_kind="redirect")
    if status == 429 and code in _QUOTA:
        text = f"{told}: {_ADVICE[402].format(key=key or 'api_key_env')}"
        return WorkerRefused(text, worker=worker, status=status, cause_kind="quota")
    if status == 429:
        text = told + ("" if hint is None else f" and asks to wait {hint:.3g} s")
        return WorkerRateLimited(
            text, worker=worker, status=status, cause_kind=kind, retry_after=hint
        )
    if status >= 500 or status in _TRANSIENT:
        return WorkerUnavailable(
            told, worker=worker, status=status, cause_kind=kind, retry_after=hint
        )
    advice = _ADVICE.get(status, _ADVICE[400]).format(key=key or "api_key_env (none is set)")
    return WorkerRefused(f"{told}: {advice}", worker=worker, status=status, cause_kind=kind)


def error_in_body(error: Any, worker: str) -> WorkerError:
    """The error for an ``error`` object that came inside a success, as gateways and streams send.

    Args:
        error: what stood under ``"error"``.
        worker: who was asked.
    """
    code = _code_of(error)
    number = error.get("code") if isinstance(error, dict) else None
    status = number if isinstance(number, int) and 400 <= number < 600 else None
    if status is None and code is not None:
        status = _STATUS_OF_CODE.get(code)
    if status is not None:
        return error_for_status(status, {}, worker, detail=code)
    named = f" ({code})" if code else ""
    return WorkerProtocolError(
        f"the endpoint reported success but sent an error{named}",
        worker=worker,
        cause_kind="error_in_body",
    )
