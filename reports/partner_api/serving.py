"""Serves the contract's operations: who asks, what, and the handler's answer with the status that the contract says.

An operation is served once a handler of its id is in the table of its tag's module.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reports.access import bearer_token
from reports.long_lists import json_answer
from reports.partner_api import account, affiliate, solution
from reports.partner_api.asked import Asked, Handler, read_request
from reports.partner_api.contract import CONTRACT, CONTRACT_OPERATIONS, Operation
from reports.room import Room, room_of
from reports.whole_rounds import of_one_round
from tracker.errors import Unauthorized
from tracker.tokens import Token

OPERATIONS: Mapping[str, Handler] = {**account.OPERATIONS, **affiliate.OPERATIONS, **solution.OPERATIONS}
"""Operation id → handler, of all tags."""

NOBODY = Token(0, "", "", "", 0)
_NO_BODY = 204


def partner_api_routes() -> list[Route]:
    """One route per path: those without parameters first, so that `…/campaigns/search` is no campaign."""
    by_path: dict[str, dict[str, Operation]] = {}
    for one in CONTRACT_OPERATIONS.values():
        if one.operation_id in OPERATIONS:
            by_path.setdefault(one.path, {})[one.method] = one
    paths = sorted(by_path, key=lambda path: [part.startswith("{") for part in path.split("/")])
    return [Route(path, _endpoint(by_path[path]), methods=list(by_path[path])) for path in paths]


def served_paths() -> dict[str, dict[str, Any]]:
    """The contract's paths as far as they are served: path → method → operation, with its path's parameters."""
    paths: dict[str, dict[str, Any]] = {}
    for one in CONTRACT_OPERATIONS.values():
        if one.operation_id in OPERATIONS:
            item = CONTRACT["paths"][one.path]
            entry = item[one.method.lower()]
            parameters = [*item.get("parameters", ()), *entry.get("parameters", ())]
            paths.setdefault(one.path, {})[one.method.lower()] = (
                {**entry, "parameters": parameters} if parameters else entry
            )
    return paths


def missing_operations() -> Iterable[str]:
    """Operations of the contract that nobody handles yet."""
    return CONTRACT_OPERATIONS.keys() - OPERATIONS.keys()


def _endpoint(operations: Mapping[str, Operation]):  # type: ignore[no-untyped-def]  # Starlette's own shape
    async def endpoint(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        return await _answer(room_of(request), operations[method], request)

    return endpoint


async def _answer(room: Room, operation: Operation, request: Request) -> Response:
    token = NOBODY if operation.is_public else await _partner_token(room, request)
    asked: Asked = await read_request(operation, room.program, request, token)
    handler = OPERATIONS[operation.operation_id]
    if operation.method == "GET":
        document = await of_one_round(room, asked.partner_id, lambda reading: handler(reading, asked))
    else:
        document = await handler(room, asked)
    if document is None:
        return Response(status_code=operation.status)
    return await json_answer(document, operation.status)


async def _partner_token(room: Room, request: Request) -> Token:
    token = await bearer_token(room, request)
    if token.scope != "partner":
        raise Unauthorized(f"Send a partner's token; this one is of the kind {token.scope}.")
    return token
