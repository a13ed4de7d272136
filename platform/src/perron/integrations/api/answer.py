"""Reading answers: a status becomes an error, a body becomes the declared type."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from perron import clock
from perron.errors import AuthFailed, IntegrationError, Invalid, NotFound, RateLimited, Upstream
from perron.integrations.exchange import UNREADABLE, Exchange

_SAID = ("message", "detail", "title", "error_description", "error")
_SHOWN = 200
_UNPRINTABLE = re.compile(r"[^\x20-\x7e\xa0-\ud7ff\uf900-\uffef]+")


def read_answer(exchange: Exchange, *, operation: str, into: Any = None) -> Any:
    """Return the body of a 2xx: parsed into a type, or plain JSON, or None when it is empty.

    Raises:
        IntegrationError: The one that the status stands for.
        Upstream: The body is not what was expected. The API has done its part: this is never sent again.
    """
    raise_for_status(exchange, operation=operation)
    if not exchange.body and into is None:
        return None
    try:
        if into is None:
            return from_json(exchange.body, allow_inf_nan=False)
        return adapter(into).validate_json(exchange.body)
    except ValidationError as exc:
        raise _unreadable(exchange, operation, explain(exc)) from None
    except ValueError as exc:
        raise _unreadable(exchange, operation, f"no valid JSON: {exc}") from None


def raise_for_status(exchange: Exchange, *, operation: str) -> None:
    """Turn any status but 2xx into its error, and a body that could not be read into Upstream."""
    status = exchange.status
    if 200 <= status < 300:
        if UNREADABLE in exchange.headers:
            raise _unreadable(exchange, operation, exchange.headers[UNREADABLE])
        return
    detail = f"{operation} was answered {status}: {_said(exchange) or 'nothing readable'}"
    facts: dict[str, Any] = {"detail": detail, "operation": operation, "status": status}
    if status in (401, 403):
        raise AuthFailed(f"{operation}: the account's credentials were refused ({status}).", **facts)
    if status in (404, 410):
        raise NotFound(f"{operation}: not found{_quoted(exchange)}.", **facts)
    wait_s = retry_after_s(exchange.headers)
    if status == 429 or (status == 503 and wait_s is not None):
        raise RateLimited(f"{operation}: the API wants fewer requests.", retry_after_s=wait_s, **facts)
    if 400 <= status < 500 and status not in (408, 425):
        raise Invalid(f"{operation}: the API refused this ({status}){_quoted(exchange)}.", **facts)
    raise Upstream(f"{operation}: the API failed ({status}).", **facts)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of `Retry-After`, given as a number or as a date; None without one."""
    value = headers.get("retry-after", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - clock.now()).total_seconds())


def explain(exc: ValidationError) -> str:
    """Name the first field that does not fit and why, without its value."""
    first = exc.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else str(first["msg"])


@lru_cache(maxsize=1024)
def adapter(into: Any) -> TypeAdapter[Any]:
    """Return pydantic's adapter for a type; building one is slow."""
    return TypeAdapter(into)


def refusal(exc: IntegrationError) -> Exchange | None:
    """Return the answer that stands for a definite error of an effect's function; None for one that is not."""
    statuses = ((NotFound, 404), (Invalid, 400), (AuthFailed, 401), (RateLimited, 429))
    status = next((status for kind, status in statuses if isinstance(exc, kind)), None)
    if status is None:
        return None
    headers = {}
    if isinstance(exc, RateLimited) and exc.retry_after_s is not None:
        headers["retry-after"] = str(int(exc.retry_after_s))
    return Exchange(status, headers, adapter(dict[str, str]).dump_json({"message": exc.message}))


def _unreadable(exchange: Exchange, operation: str, reason: str) -> Upstream:
    return Upstream(
        f"{operation}: the API's answer cannot be read.",
        detail=f"{operation} was answered {exchange.status}, and the answer cannot be read: {reason[:500]}",
        operation=operation,
        status=exchange.status,
    )


def _quoted(exchange: Exchange) -> str:
    said = _said(exchange)
    return f": {said.rstrip('.')}" if said else ""


def _said(exchange: Exchange) -> str:
    """Return the API's own sentence, short and on one line: it may be shown to a model."""
    try:
        found = from_json(exchange.body)
    except ValueError:
        return ""
    for _ in range(2):  # {"message": …} or {"error": {"message": …}}
        if isinstance(found, dict):
            found = next((found[name] for name in _SAID if found.get(name)), None)
    if not isinstance(found, str):
        return ""
    return " ".join(_UNPRINTABLE.sub(" ", found[: 2 * _SHOWN]).split())[:_SHOWN]
