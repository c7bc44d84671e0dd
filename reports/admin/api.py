"""The admin API: partners and their tokens, attributions, commission lines and the quarantine."""

from __future__ import annotations

import base64
from functools import partial
from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from attribution import explain
from reports.access import Viewer
from reports.admin.tokens import service_label_and_scope, token_document, token_end, token_label
from reports.commissions import LineFilter, line_document, lines_page
from reports.explanations import attribution_document, chain_document, payment_document
from reports.filters import read_link, read_query
from reports.link_check import check_link
from reports.paging import cut_page, read_cursor, read_limit
from reports.partners import find_partner, joins_are_stored, partners_page
from reports.periods import read_period
from reports.room import Room
from tracker import redis_keys
from tracker.api import MAX_BODY_BYTES, read_limited
from tracker.bodies import parse_json
from tracker.errors import NotFound, Unavailable
from tracker.ids import is_caller_id
from tracker.rfc3339 import rfc3339

MAX_ROWS = 1000
ATTRIBUTION_WAIT_SECONDS = 3.0
ATTRIBUTION_POLL_SECONDS = 0.05
SERVICE_SCOPES = ("service", "marketing", "finance")


async def list_partners(room: Room, viewer: Viewer, request: Request) -> Response:
    values = read_query(request, ("search", "cursor", "limit"))
    limit = read_limit(values["limit"], MAX_ROWS)
    if not values["cursor"]:
        await joins_are_stored(room)
    partners, page = await partners_page(room, values["search"], read_cursor(values["cursor"]), limit)
    return JSONResponse({"items": [one.document() for one in partners], "next_cursor": page.next_cursor})


async def list_partner_tokens(room: Room, viewer: Viewer, request: Request) -> Response:
    partner_id = await _known_partner(room, request)
    tokens = await room.tokens.list("partner", room.now_ms(), partner_id)
    return JSONResponse({"items": [token_document(token) for token in tokens]})


async def create_partner_token(room: Room, viewer: Viewer, request: Request) -> Response:
    body = parse_json(await read_limited(request, MAX_BODY_BYTES))
    label, expires_at = token_label(body, room), token_end(body, room)
    partner_id = await _known_partner(room, request)
    token, secret = await room.tokens.issue("partner", label, room.now_ms(), partner_id, expires_at)
    return JSONResponse({"token": secret, **token_document(token)}, 201)


async def revoke_partner_token(room: Room, viewer: Viewer, request: Request) -> Response:
    partner_id = request.path_params["partner_id"]
    if not await room.tokens.revoke("partner", request.path_params["token_id"], room.now_ms(), partner_id):
        raise NotFound("This partner has no active token with this id.")
    return Response(status_code=204)


async def list_service_tokens(room: Room, viewer: Viewer, request: Request) -> Response:
    tokens = [token for scope in SERVICE_SCOPES for token in await room.tokens.list(scope, room.now_ms())]
    return JSONResponse({"items": [token_document(token) for token in tokens]})


async def create_service_token(room: Room, viewer: Viewer, request: Request) -> Response:
    label, scope = service_label_and_scope(
        parse_json(await read_limited(request, MAX_BODY_BYTES)), room, SERVICE_SCOPES
    )
    token, secret = await room.tokens.issue(scope, label, room.now_ms())
    return JSONResponse({"token": secret, **token_document(token)}, 201)


async def revoke_service_token(room: Room, viewer: Viewer, request: Request) -> Response:
    token_id: int = request.path_params["token_id"]
    for scope in SERVICE_SCOPES:
        if await room.tokens.revoke(scope, token_id, room.now_ms()):
            return Response(status_code=204)
    raise NotFound("There is no active service token with this id.")


async def license_attribution(room: Room, viewer: Viewer, request: Request) -> Response:
    license_id = request.path_params["license_id"]
    explained = await explained_license(room, license_id)
    if explained is None:
        raise NotFound(f"There is no license {license_id!r}.")
    return JSONResponse(attribution_document(explained))


async def explained_license(room: Room, license_id: str) -> explain.LicenseExplanation | None:
    """Why a license is whose it is; None for an unknown license.

    A license that the tracker knows but no round has decided on yet is waited for; Unavailable when it takes longer.
    """
    if not is_caller_id(license_id):
        return None
    deadline = anyio.current_time() + ATTRIBUTION_WAIT_SECONDS
    while not await room.rows("binding_known", license_id=license_id):
        if not await room.redis.hexists(redis_keys.LICENSES, license_id):
            return None
        if anyio.current_time() > deadline:
            raise Unavailable("This license was accepted and is not attributed yet; try again in a moment.", 1)
        await anyio.sleep(ATTRIBUTION_POLL_SECONDS)
    return await room.in_thread(partial(explain.explain_license, room.warehouse, room.program, license_id))


async def payment_explanation(room: Room, viewer: Viewer, request: Request) -> Response:
    payment_id = request.path_params["payment_id"]
    found = None
    if is_caller_id(payment_id):
        found = await room.in_thread(partial(explain.explain_payment, room.warehouse, room.program, payment_id))
    if found is None:
        raise NotFound(f"There is no payment {payment_id!r} that attribution has seen.")
    return JSONResponse(payment_document(found))


async def link_check(room: Room, viewer: Viewer, request: Request) -> Response:
    return JSONResponse((await check_link(room, read_link(request), None)).document())


async def list_commissions(room: Room, viewer: Viewer, request: Request) -> Response:
    names = ("partner_id", "license_id", "payment_id", "date_from", "date_to", "cursor", "limit")
    values = read_query(request, names)
    wanted = LineFilter(
        partner_id=values["partner_id"],
        license_id=values["license_id"],
        payment_id=values["payment_id"],
        period=read_period(values["date_from"], values["date_to"]),
    )
    page = await lines_page(room, wanted, read_cursor(values["cursor"]), read_limit(values["limit"], MAX_ROWS))
    return JSONResponse({"items": [line_document(row) for row in page.rows], "next_cursor": page.next_cursor})


async def commission_chain(room: Room, viewer: Viewer, request: Request) -> Response:
    entry_id = request.path_params["entry_id"]
    chain = await room.in_thread(partial(explain.chain, room.warehouse, room.program, entry_id))
    if chain is None:
        raise NotFound(f"There is no commission line {entry_id!r}.")
    return JSONResponse(chain_document(chain))


async def list_quarantine(room: Room, viewer: Viewer, request: Request) -> Response:
    values = read_query(request, ("cursor", "limit"))
    after, limit = read_cursor(values["cursor"]), read_limit(values["limit"], MAX_ROWS)
    rows = await room.rows("quarantine_page", before_ms=after.moment, before_id=after.key, most=limit + 1)
    page = cut_page(rows, limit, "quarantined_ms", "quarantine_id")
    return JSONResponse({"items": [_quarantined(row) for row in page.rows], "next_cursor": page.next_cursor})


def _quarantined(row: dict[str, Any]) -> dict[str, Any]:
    raw = base64.b64decode(row["bytes_base64"])
    return {
        "quarantine_id": row["quarantine_id"],
        "stream": row["stream"],
        "entry_id": row["entry_id"],
        "field": row["field"],
        "line": row["line"],
        "facts": row["facts"],
        "text": raw.decode("utf-8", "replace"),
        "bytes_base64": row["bytes_base64"],
        "reason": row["reason"],
        "quarantined_at": rfc3339(row["quarantined_ms"]),
    }


async def _known_partner(room: Room, request: Request) -> str:
    partner_id: str = request.path_params["partner_id"]
    if not is_caller_id(partner_id) or await find_partner(room, partner_id) is None:
        raise NotFound(f"There is no partner {partner_id!r}.")
    return partner_id
