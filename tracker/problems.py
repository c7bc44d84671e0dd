"""Turns what went wrong into `application/problem+json` (RFC 9457), for the HTTP apps of all rooms."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from redis.exceptions import RedisError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from tracker.errors import Problem, TooMany, Unauthorized, Unavailable

logger = logging.getLogger("lasttouch")

RETRY_AFTER_SECONDS = 2


def problem_response(document: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    """A problem document as a response with its status."""
    return Response(
        json.dumps(document, ensure_ascii=False),
        status_code=int(document["status"]),
        headers=dict(headers or {}),
        media_type="application/problem+json",
    )


def status_problem(status: int, detail: str) -> dict[str, Any]:
    return {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}


async def on_problem(request: Request, error: Exception) -> Response:
    """A Problem that a handler raised."""
    assert isinstance(error, Problem)
    headers = {"WWW-Authenticate": "Bearer"} if isinstance(error, Unauthorized) else {}
    if isinstance(error, TooMany):
        headers["Retry-After"] = str(error.retry_after_seconds)
    return problem_response(error.document(), headers)


async def on_unavailable(request: Request, error: Exception) -> Response:
    """A store that does not answer: 503, and when to try again. The inside goes to the log, not to the caller."""
    # Nobody knows how far it came; ids make it the same whether it is the first time or the second.
    detail, seconds = "A store does not answer. Send the same again: it counts once.", RETRY_AFTER_SECONDS
    if isinstance(error, Unavailable):
        detail, seconds = error.detail, error.retry_after_seconds
    logger.warning("503 on %s %s: %s: %s", request.method, request.url.path, type(error).__name__, error)
    return problem_response(status_problem(503, detail), {"Retry-After": str(seconds)})


async def on_http_exception(request: Request, error: Exception) -> Response:
    """What the router itself says: 404, 405."""
    assert isinstance(error, HTTPException)
    detail = {404: "There is nothing at this address.", 405: "This address does not take that method."}
    return problem_response(
        status_problem(error.status_code, detail.get(error.status_code, str(error.detail))), error.headers
    )


PROBLEM_HANDLERS: dict[Any, Any] = {
    Problem: on_problem,
    Unavailable: on_unavailable,
    RedisError: on_unavailable,
    ConnectionError: on_unavailable,
    TimeoutError: on_unavailable,
    HTTPException: on_http_exception,
}
