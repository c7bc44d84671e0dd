"""How errors are answered: `application/problem+json` to programs, a friendly page to people.

Callers read what to do; what happened inside goes to the log.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from redis.exceptions import RedisError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from attribution.warehouse import WarehouseUnavailable
from reports import pages
from tracker.errors import Problem, TooMany, Unauthorized, Unavailable

log = logging.getLogger(__name__)

API_PATHS = ("/v2/", "/openapi.json", "/health/", "/metrics")
RETRY_AFTER_SECONDS = 5
STORE_DOWN = "A store does not answer right now. Nothing is lost; try again in a moment."


async def answer_problem(request: Request, error: Exception) -> Response:
    """A Problem as the caller reads it; someone not signed in gets the sign-in form in place of the page."""
    assert isinstance(error, Problem)
    headers = {"WWW-Authenticate": "Bearer"} if isinstance(error, Unauthorized) else {}
    if isinstance(error, TooMany):
        headers = {"Retry-After": str(error.retry_after_seconds), **error.headers}
    if not is_page(request) or not isinstance(error, Unauthorized):
        return _answer(request, error.document(), headers)
    wanted = request.url.path if request.method == "GET" else ""
    if request.url.query and wanted:
        wanted += f"?{request.url.query}"
    return await pages.show(request, "sign_in.html", 401, wanted=wanted, message="", asked=False)


async def answer_http_error(request: Request, error: Exception) -> Response:
    """What Starlette itself refuses: unknown paths, wrong methods, bodies that are too large."""
    assert isinstance(error, HTTPException)
    details = {404: "There is nothing at this address.", 405: "This address does not take that method."}
    detail = details.get(error.status_code, error.detail)
    return _answer(request, _document(error.status_code, detail), dict(error.headers or {}))


async def answer_unavailable(request: Request, error: Exception) -> Response:
    """A store that is down: 503, and when to try again."""
    log.warning("%s %s: %s", request.method, request.url.path, error)
    seconds = error.retry_after_seconds if isinstance(error, Unavailable) else RETRY_AFTER_SECONDS
    is_ours = isinstance(error, Unavailable) and not isinstance(error, WarehouseUnavailable)
    detail = str(error) if is_ours else STORE_DOWN
    return _answer(request, _document(503, detail), {"Retry-After": str(seconds)})


async def answer_surprise(request: Request, error: Exception) -> Response:
    """A mistake of ours. The server logs the trace; the caller learns only that it was us."""
    # This answer is made outside of the middleware, so it brings the headers itself.
    document = _document(500, "Something went wrong on our side. It has been logged.")
    return _answer(request, document, dict(pages.SECURITY_HEADERS))


HANDLERS: dict[Any, Any] = {
    Problem: answer_problem,
    HTTPException: answer_http_error,
    Unavailable: answer_unavailable,
    RedisError: answer_unavailable,
    Exception: answer_surprise,
}


def is_page(request: Request) -> bool:
    """Whether a person asks for a page, rather than a program for an answer of the API."""
    return not request.url.path.startswith(API_PATHS)


def _document(status: int, detail: str) -> dict[str, Any]:
    return {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}


def _answer(request: Request, document: dict[str, Any], headers: dict[str, str]) -> Response:
    status = document["status"]
    if is_page(request):
        return pages.show_plain("problem.html", status, headers, problem=document)
    return JSONResponse(document, status, headers, media_type="application/problem+json")
