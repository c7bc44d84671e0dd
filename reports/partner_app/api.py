"""A partner's commission lines, their chains, and why a license earns, over the API, with R15 and R20 applied."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from reports.access import Viewer
from reports.commissions import LineFilter, line_document, partner_lines_page
from reports.explanations import explain_own_license, partner_chain, partner_license_document
from reports.filters import one_of, read_link, read_query
from reports.link_check import check_link
from reports.paging import read_cursor, read_limit
from reports.partner_app.licenses import is_own_solution_license
from reports.partner_app.overview import NUMBERS, read_days_asked, read_overview
from reports.partner_app.subscription_history import change_document, subscription_history
from reports.partners import find_partner
from reports.periods import read_period
from reports.room import Room
from tracker.errors import NotFound
from tracker.ids import is_caller_id

MAX_ROWS = 500


async def list_commissions(room: Room, viewer: Viewer, request: Request) -> Response:
    names = ("license_id", "payment_id", "tier", "date_from", "date_to", "cursor", "limit")
    values = read_query(request, names)
    wanted = LineFilter(
        partner_id=viewer.partner_id,
        license_id=values["license_id"],
        payment_id=values["payment_id"],
        tier=int(one_of("tier", values["tier"], ("0", "1", "2"))),
        period=read_period(values["date_from"], values["date_to"]),
    )
    page = await partner_lines_page(room, wanted, read_cursor(values["cursor"]), read_limit(values["limit"], MAX_ROWS))
    return JSONResponse({"items": [line_document(row) for row in page.rows], "next_cursor": page.next_cursor})


async def commission_chain(room: Room, viewer: Viewer, request: Request) -> Response:
    entry_id = request.path_params["entry_id"]
    document = await partner_chain(room, viewer.partner_id, entry_id)
    if document is None:
        raise NotFound("There is no such commission line among yours.")
    return JSONResponse(document)


async def link_check(room: Room, viewer: Viewer, request: Request) -> Response:
    link = read_link(request)
    partner = await find_partner(room, viewer.partner_id)
    if partner is None:
        raise NotFound("There is no such partner any more.")
    return JSONResponse((await check_link(room, link, partner)).document())


async def overview(room: Room, viewer: Viewer, request: Request) -> Response:
    values = read_query(request, ("date_from", "date_to"))
    first, last = read_days_asked(values["date_from"], values["date_to"], room.now_ms())
    days, balance = await read_overview(room, viewer.partner_id, first, last)
    items = [
        {"day": day.isoformat(), **{name: days.values[name][number] for name in NUMBERS}}
        for number, day in enumerate(days.days)
    ]
    return JSONResponse(
        {
            "date_from": first.isoformat(),
            "date_to": last.isoformat(),
            "totals": days.totals,
            "commission_cents": balance.commission_cents,
            "blocked_cents": balance.blocked_cents,
            "balance_cents": balance.balance_cents,
            "items": items,
        }
    )


async def license_explanation(room: Room, viewer: Viewer, request: Request) -> Response:
    license_id = request.path_params["license_id"]
    found = await explain_own_license(room, viewer.partner_id, license_id) if is_caller_id(license_id) else None
    if found is None:
        raise NotFound("There is no such license among yours.")
    return JSONResponse(await partner_license_document(room, found))


async def subscription_changes(room: Room, viewer: Viewer, request: Request) -> Response:
    license_id = request.path_params["license_id"]
    values = read_query(request, ("cursor", "limit"))
    after, limit = read_cursor(values["cursor"]), read_limit(values["limit"], MAX_ROWS)
    if not is_caller_id(license_id) or not await is_own_solution_license(room, viewer.partner_id, license_id):
        raise NotFound("There is no such license among yours.")
    page = await subscription_history(room, viewer.partner_id, license_id, after, limit)
    return JSONResponse({"items": [change_document(row) for row in page.rows], "next_cursor": page.next_cursor})
