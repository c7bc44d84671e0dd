"""The Partner App's pages, for the partner themself and, with the same templates, for administrators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import anyio
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from reports import pages
from reports.access import Viewer
from reports.balances import read_balance
from reports.commissions import LineFilter, partner_line, partner_lines_page
from reports.explanations import explain_own_license, license_payments, partner_candidates, partner_chain
from reports.filters import one_of, read_query
from reports.link_check import check_link
from reports.paging import TOP, Page, read_cursor
from reports.partner_app.chain_words import chain_words
from reports.partner_app.clicks import clicks_page
from reports.partner_app.licenses import licenses_page, partner_license
from reports.partner_app.overview import SPANS, dates_of, draw, read_overview
from reports.partner_app.subscription_history import subscription_history
from reports.partners import Partner, find_partner
from reports.pasted_link import BAD
from reports.periods import read_period
from reports.qr_codes import MAX_LINK, qr_png, qr_svg
from reports.room import Room
from tracker.errors import BadRequest, NotFound
from tracker.ids import is_caller_id

ROWS_PER_PAGE = 50
TABS = (
    ("/", "Overview"),
    ("/links", "Links"),
    ("/campaigns", "Campaigns"),
    ("/clicks", "Clicks"),
    ("/licenses", "Licenses"),
    ("/commissions", "Commission"),
    ("/withdrawals", "Withdrawals"),
)


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose pages these are, and the path that they start with."""

    partner: Partner
    base: str


async def overview(room: Room, viewer: Viewer, request: Request) -> Response:
    subject = await subject_of(room, viewer, request)
    partner_id = subject.partner.partner_id
    chosen = one_of("span", read_query(request, ("span",))["span"], [span.key for span in SPANS])
    span = next(one for one in SPANS if one.key == chosen)
    days, balance = await read_overview(room, partner_id, *dates_of(span, room.now_ms()))
    return await show_subject(
        request,
        subject,
        "partner/overview.html",
        balance=balance,
        spans=SPANS,
        span=span,
        totals=days.totals,
        charts=draw(days, span, room.program.currency),
        newest=await partner_lines_page(room, LineFilter(partner_id=partner_id), TOP, 5),
    )


async def links(room: Room, viewer: Viewer, request: Request) -> Response:
    subject = await subject_of(room, viewer, request)
    partner, tracker = subject.partner, room.settings.tracker_url
    rows = [
        {
            "product": product,
            "direct": f"{tracker}/a/{partner.partner_id}"
            + ("" if product.key == room.program.default_product else f"/{product.key}"),
            "short": f"{tracker}/{partner.links[product.key]}" if product.key in partner.links else "",
            "long": f"{product.url}?{urlencode({'a': partner.partner_id, 'utm_source': 'PP'})}",
        }
        for product in room.program.products.values()
    ]
    return await show_subject(request, subject, "partner/links.html", links=rows)


async def link_check(room: Room, viewer: Viewer, request: Request) -> Response:
    """What a pasted link will do, for this partner."""
    subject = await subject_of(room, viewer, request)
    pasted = request.query_params.get("link", "")
    check = await check_link(room, pasted, subject.partner) if pasted.strip() else None
    return await show_subject(request, subject, "partner/link_check.html", check=check, qr_most=MAX_LINK)


async def link_qr_svg(room: Room, viewer: Viewer, request: Request) -> Response:
    """The QR code of a link that counts for this partner, as an SVG."""
    return await _link_qr(room, viewer, request, qr_svg, "svg", "image/svg+xml")


async def link_qr_png(room: Room, viewer: Viewer, request: Request) -> Response:
    """The same as a PNG."""
    return await _link_qr(room, viewer, request, qr_png, "png", "image/png")


async def _link_qr(
    room: Room, viewer: Viewer, request: Request, qr: Callable[[str], bytes], ending: str, media_type: str
) -> Response:
    """A QR code to be shown; with `download` a file to be kept."""
    subject = await subject_of(room, viewer, request)
    check = await check_link(room, request.query_params.get("link", ""), subject.partner)
    if check.whose != "own":
        raise NotFound("This is not one of your links.")
    if check.costs_clicks:
        raise BadRequest(" ".join(one.text for one in check.findings if one.level == BAD))
    if len(check.url) > MAX_LINK:
        raise BadRequest(f"A QR code holds a link of at most {MAX_LINK} characters.")
    headers = {"Cache-Control": "private, max-age=3600"}
    if request.query_params.get("download"):
        headers["Content-Disposition"] = f'attachment; filename="qr-{subject.partner.partner_id}.{ending}"'
    drawn = await anyio.to_thread.run_sync(qr, check.url)  # takes up to 60 ms
    return Response(drawn, media_type=media_type, headers=headers)


async def clicks(room: Room, viewer: Viewer, request: Request) -> Response:
    subject = await subject_of(room, viewer, request)
    after = read_cursor(read_query(request, ("cursor",))["cursor"])
    page = await clicks_page(room, subject.partner, after, ROWS_PER_PAGE)
    return await show_subject(request, subject, "partner/clicks.html", page=page, older=_older(request, page))


async def licenses(room: Room, viewer: Viewer, request: Request) -> Response:
    subject = await subject_of(room, viewer, request)
    after = read_cursor(read_query(request, ("cursor",))["cursor"])
    page = await licenses_page(room, subject.partner.partner_id, after, ROWS_PER_PAGE)
    return await show_subject(request, subject, "partner/licenses.html", page=page, older=_older(request, page))


async def license(room: Room, viewer: Viewer, request: Request) -> Response:
    """Why a license is theirs, click by click, and earned what it did, payment by payment; and its subscription's
    history, of which `cursor` is an older page."""
    subject = await subject_of(room, viewer, request)
    partner_id, license_id = subject.partner.partner_id, request.path_params["license_id"]
    found = await partner_license(room, partner_id, license_id) if is_caller_id(license_id) else None
    if found is None:
        raise NotFound("There is no such license among yours.")
    payments = await license_payments(room, license_id)
    explained = await explain_own_license(room, partner_id, license_id)
    candidates = partner_candidates(explained) if explained else []
    after = read_cursor(read_query(request, ("cursor",))["cursor"])
    changes = await subscription_history(room, partner_id, license_id, after, ROWS_PER_PAGE)
    return await show_subject(
        request,
        subject,
        "partner/license.html",
        license=found,
        payments=payments,
        candidates=candidates,
        changes=changes,
        older=_older(request, changes),
    )


async def commissions(room: Room, viewer: Viewer, request: Request) -> Response:
    subject = await subject_of(room, viewer, request)
    values = read_query(request, ("tier", "date_from", "date_to", "cursor"))
    wanted = LineFilter(
        partner_id=subject.partner.partner_id,
        tier=int(one_of("tier", values["tier"], ("0", "1", "2"))),
        period=read_period(values["date_from"], values["date_to"]),
    )
    page = await partner_lines_page(room, wanted, read_cursor(values["cursor"]), ROWS_PER_PAGE)
    balance = await read_balance(room, subject.partner.partner_id)
    older = _older(request, page)
    return await show_subject(
        request, subject, "partner/commissions.html", page=page, older=older, values=values, balance=balance
    )


async def chain(room: Room, viewer: Viewer, request: Request) -> Response:
    """A line and its chain, as a page of its own: what the list unfolds, for browsers without JavaScript."""
    return await _chain(room, viewer, request, "partner/chain.html")


async def chain_fragment(room: Room, viewer: Viewer, request: Request) -> Response:
    """The chain alone, for the list to unfold."""
    return await _chain(room, viewer, request, "partner/chain_fragment.html")


async def _chain(room: Room, viewer: Viewer, request: Request, template: str) -> Response:
    subject = await subject_of(room, viewer, request)
    partner_id, entry_id = subject.partner.partner_id, request.path_params["entry_id"]
    line = await partner_line(room, partner_id, entry_id)
    document = await partner_chain(room, partner_id, entry_id) if line else None
    if line is None or document is None:
        raise NotFound("There is no such commission line among yours.")
    return await show_subject(request, subject, template, line=line, steps=chain_words(document, room.program))


async def subject_of(room: Room, viewer: Viewer, request: Request) -> Subject:
    """The partner themself, or the one whom an administrator looks at."""
    is_own = viewer.scope == "partner"
    partner_id = viewer.partner_id if is_own else request.path_params["partner_id"]
    partner = await find_partner(room, partner_id) if is_caller_id(partner_id) else None
    if partner is None:
        raise NotFound("There is no such partner.")
    return Subject(partner, "/partner" if is_own else f"/admin/partners/{partner_id}")


def _older(request: Request, page: Page) -> str:
    """The query of the next page, with the filters of this one; empty on the last."""
    if page.next_cursor is None:
        return ""
    kept = {name: value for name, value in request.query_params.items() if value and name != "cursor"}
    return urlencode({**kept, "cursor": page.next_cursor})


async def show_subject(
    request: Request, subject: Subject, template: str, status: int = 200, **values: Any
) -> HTMLResponse:
    """A page of the partner's, with the frame that all of them have."""
    is_first = not request.query_params.get("cursor")
    values.update(partner=subject.partner, base=subject.base, tabs=TABS, is_first=is_first)
    return await pages.show(request, template, status, **values)
