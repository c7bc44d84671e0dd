"""Pages for operators: health, partners, commission lines, a license's attribution, service tokens."""

from __future__ import annotations

from functools import partial
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from attribution import explain
from reports import pages
from reports.access import Viewer, read_form
from reports.admin.api import SERVICE_SCOPES, explained_license
from reports.admin.deliveries import deliveries_page, provisioning_state, read_wanted, resend_all, settled_counts
from reports.admin.tokens import service_label_and_scope
from reports.commissions import LineFilter, lines_page
from reports.delivery_log import DeliveryLog
from reports.explanations import attribution_document, chain_document, license_payment_documents
from reports.filters import one_of, read_query
from reports.health import check_stores
from reports.link_check import check_link
from reports.paging import TOP, read_cursor
from reports.partner_app.chain_words import chain_words
from reports.partners import partners_page
from reports.periods import Period, read_period
from reports.room import Room
from tracker.delivery import DELIVERED, FAILED, MAIL, NOT_SENT, PROVISIONING, WAITING
from tracker.errors import BadRequest, Conflict, Invalid, NotFound
from tracker.pipeline import read_pipeline

ROWS_PER_PAGE = 50
STATUS_NAMES = {WAITING: "Waits", DELIVERED: "Delivered", FAILED: "Given up", NOT_SENT: "Not sent"}
CHANNEL_NAMES = {PROVISIONING: "LiveChat's own system", MAIL: "Client, by e-mail"}
LINE_FILTERS = ("partner_id", "license_id", "payment_id", "date_from", "date_to")


async def health(room: Room, viewer: Viewer, request: Request) -> Response:
    resent = read_query(request, ("resent",))["resent"]
    stores = await check_stores(room)
    pipeline = await read_pipeline(room.redis, room.settings)
    progress = await room.row("alive") if stores["clickhouse"] else None
    quarantine = partial(room.rows, "quarantine_page", before_ms=Period().to_ms, before_id="", most=10)
    return await pages.show(
        request,
        "admin/health.html",
        stores=stores,
        pipeline=pipeline,
        progress=progress,
        attribution_error=room.attribution.last_error if room.attribution else None,
        quarantined=await quarantine() if stores["clickhouse"] else [],
        waiting=await DeliveryLog(room.redis).waiting(),
        has_receiver=await provisioning_state(room),
        sends_mail=room.settings.mail_server is not None,
        settled=await settled_counts(room) if stores["clickhouse"] else {NOT_SENT: 0, FAILED: 0},
        resent=int(resent) if resent.isascii() and resent.isdigit() and len(resent) < 9 else None,
    )


async def deliveries(room: Room, viewer: Viewer, request: Request) -> Response:
    """What others are told, one by one."""
    values = read_query(request, ("status", "channel", "cursor"))
    wanted = read_wanted(values)
    page = await deliveries_page(room, wanted, values["cursor"], ROWS_PER_PAGE)
    older = _older(page.next_cursor, **wanted)
    return await pages.show(
        request,
        "admin/deliveries.html",
        deliveries=page.deliveries,
        wanted=wanted,
        statuses=STATUS_NAMES,
        channels=CHANNEL_NAMES,
        older=older,
        is_first=not values["cursor"],
    )


async def resend_deliveries(room: Room, viewer: Viewer, request: Request) -> Response:
    """`POST /admin/deliveries`: sends what was not sent, or given up, again."""
    form = await read_form(room, viewer, request)
    status = one_of("status", str(form.get("status", "")), (NOT_SENT, FAILED))
    resent, _ = await resend_all(room, status)
    return RedirectResponse(f"/admin/?resent={resent}#deliveries", 303)


async def partners(room: Room, viewer: Viewer, request: Request) -> Response:
    values = read_query(request, ("search", "cursor"))
    found, page = await partners_page(room, values["search"], read_cursor(values["cursor"]), ROWS_PER_PAGE)
    older = _older(page.next_cursor, search=values["search"])
    return await pages.show(request, "admin/partners.html", partners=found, search=values["search"], older=older)


async def link_check(room: Room, viewer: Viewer, request: Request) -> Response:
    """What a pasted link will do, and whose it is."""
    pasted = request.query_params.get("link", "")
    check = await check_link(room, pasted, None) if pasted.strip() else None
    return await pages.show(request, "admin/link_check.html", check=check)


async def commissions(room: Room, viewer: Viewer, request: Request) -> Response:
    values = dict.fromkeys((*LINE_FILTERS, "cursor"), "")
    message, status = "", 200
    wanted, after = LineFilter(), TOP
    try:
        values.update(read_query(request, (*LINE_FILTERS, "cursor")))
        wanted = LineFilter(
            partner_id=values["partner_id"],
            license_id=values["license_id"],
            payment_id=values["payment_id"],
            period=read_period(values["date_from"], values["date_to"]),
        )
        after = read_cursor(values["cursor"])
    except BadRequest as problem:
        message, status = problem.detail, 400
    page = await lines_page(room, wanted, after, ROWS_PER_PAGE)
    older = _older(page.next_cursor, **{name: values[name] for name in LINE_FILTERS})
    return await pages.show(
        request, "admin/commissions.html", status, page=page, values=values, older=older, message=message
    )


async def chain(room: Room, viewer: Viewer, request: Request) -> Response:
    """A line's whole chain, with what its partner may not see."""
    entry_id = request.path_params["entry_id"]
    found = await room.in_thread(partial(explain.chain, room.warehouse, room.program, entry_id))
    if found is None:
        raise NotFound(f"There is no commission line {entry_id!r}.")
    steps = chain_words(chain_document(found), room.program)
    lines = await lines_page(room, LineFilter(partner_id=found.line.partner_id, entry_id=entry_id), TOP, 1)
    return await pages.show(request, "admin/chain.html", lines=lines.rows, steps=steps, is_blocked=found.is_blocked)


async def license(room: Room, viewer: Viewer, request: Request) -> Response:
    license_id = request.path_params["license_id"]
    explained = await explained_license(room, license_id)
    if explained is None:
        raise NotFound(f"There is no license {license_id!r}.")
    lines = await lines_page(room, LineFilter(license_id=license_id), TOP, ROWS_PER_PAGE)
    return await pages.show(
        request,
        "admin/license.html",
        attribution=attribution_document(explained),
        payments=await license_payment_documents(room, license_id),
        lines=lines.rows,
    )


async def find_license(room: Room, viewer: Viewer, request: Request) -> Response:
    """`GET /admin/licenses?license_id=`: the search box's way to a license."""
    license_id = read_query(request, ("license_id",))["license_id"]
    if not license_id:
        raise NotFound("Give a license id.")
    request.path_params["license_id"] = license_id
    return await license(room, viewer, request)


async def tokens(room: Room, viewer: Viewer, request: Request) -> Response:
    return await _tokens(room, request)


async def change_tokens(room: Room, viewer: Viewer, request: Request) -> Response:
    """`POST /admin/tokens`: makes a service token, or revokes the one in `revoke`."""
    form = {name: str(value) for name, value in (await read_form(room, viewer, request)).items()}
    if revoked := form.get("revoke", ""):
        if revoked.isascii() and revoked.isdigit() and len(revoked) < 16:
            for scope in SERVICE_SCOPES:
                await room.tokens.revoke(scope, int(revoked), room.now_ms())
        return await _tokens(room, request, message="The token was revoked and does not work any more.")
    try:
        label, scope = service_label_and_scope(form, room, SERVICE_SCOPES)
        _, secret = await room.tokens.issue(scope, label, room.now_ms())
    except (Invalid, Conflict) as problem:
        return await _tokens(room, request, problem.status, message=problem.detail)
    return await _tokens(room, request, 201, secret=secret, message=f"The {scope} token {label!r} was made.")


async def _tokens(room: Room, request: Request, status: int = 200, message: str = "", secret: str = "") -> Response:
    listed = [token for scope in SERVICE_SCOPES for token in await room.tokens.list(scope, room.now_ms())]
    return await pages.show(
        request, "admin/tokens.html", status, tokens=listed, scopes=SERVICE_SCOPES, message=message, secret=secret
    )


def _older(next_cursor: str | None, **kept: str) -> str:
    if next_cursor is None:
        return ""
    return urlencode({**{name: value for name, value in kept.items() if value}, "cursor": next_cursor})
