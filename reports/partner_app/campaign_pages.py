"""A partner's campaigns: their named links, with deals, and the form that starts one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from reports.access import Viewer, read_form
from reports.affiliate_results import CLICKS, CONVERSIONS, EARNINGS, TRIALS, by_campaign
from reports.campaigns import (
    Wanted,
    deal_words,
    landing_page,
    long_url,
    read_campaigns,
    short_url,
    start_campaign,
    stop_campaign,
)
from reports.filters import read_query
from reports.partner_app.pages import show_subject, subject_of
from reports.periods import ALL_TIME
from reports.room import Room
from tracker.campaigns import Campaign
from tracker.errors import BadRequest, Conflict, Forbidden, Invalid, Problem
from tracker.program import Program

MAX_NAME = 100
MAX_LANDING_URL = 1024


@dataclass(frozen=True, slots=True)
class Row:
    """A campaign as its page shows it. `deal` is in words, empty for none. Results are of all time."""

    campaign: Campaign
    short_url: str
    long_url: str
    landing_page: str
    deal: str
    clicks: int
    trials: int
    paid: int
    earned_cents: int


async def campaigns(room: Room, viewer: Viewer, request: Request) -> Response:
    read_query(request, ())
    return await _page(room, viewer, request)


async def change_campaigns(room: Room, viewer: Viewer, request: Request) -> Response:
    """`POST /partner/campaigns`: starts a campaign, or switches off the one in `stop`."""
    form = {name: str(value).strip() for name, value in (await read_form(room, viewer, request)).items()}
    try:
        if stopped := form.get("stop", ""):
            campaign = await stop_campaign(room, viewer.partner_id, stopped)
            return await _page(room, viewer, request, said=f"“{campaign.name}” is switched off.")
        campaign = await start_campaign(room, viewer.partner_id, _wanted(form, room.program))
    except (BadRequest, Invalid, Conflict, Forbidden) as problem:
        return await _page(room, viewer, request, problem.status, problem=problem, filled=form)
    return await _page(room, viewer, request, 201, said=f"“{campaign.name}” has started. Its link works at once.")


async def _page(
    room: Room,
    viewer: Viewer,
    request: Request,
    status: int = 200,
    said: str = "",
    problem: Problem | None = None,
    filled: Mapping[str, str] | None = None,
) -> Response:
    subject = await subject_of(room, viewer, request)
    partner_id = subject.partner.partner_id
    found = await read_campaigns(room, partner_id)
    results = [
        await by_campaign(room, result, partner_id, found, ALL_TIME)
        for result in (CLICKS, TRIALS, CONVERSIONS, EARNINGS)
    ]
    rows = [
        Row(
            one,
            short_url(one, room.settings.tracker_url),
            long_url(one, room.program),
            landing_page(one, room.program),
            deal_words(one, room.program),
            *(values.get(one.id, 0) for values in results),
        )
        for one in sorted(found.started, key=lambda one: (one.disabled_at is not None, -one.created_at, -one.id))
        if one.product in room.program.products
    ]
    return await show_subject(
        request,
        subject,
        "partner/campaigns.html",
        status,
        rows=rows,
        coupons=[one for one in room.program.coupons if one.usable_by(partner_id)],
        said=said,
        problem=problem.detail if problem else "",
        filled=filled or {},
    )


def _wanted(form: Mapping[str, str], program: Program) -> Wanted:
    """What the form asks for. Raises BadRequest."""
    for name, most in (("name", MAX_NAME), ("landing_url", MAX_LANDING_URL)):
        if len(form.get(name, "")) > most:
            raise BadRequest(f"{name}: has more than {most} characters")
    product = form.get("product", "")
    if product not in program.products:
        raise BadRequest("product: choose one of the list")
    return Wanted(
        product=product,
        name=form.get("name", ""),
        landing_url=form.get("landing_url", ""),
        trial_days=_number("trial_days", form),
        coupon_id=_number("coupon_id", form),
    )


def _number(name: str, form: Mapping[str, str]) -> int | None:
    text = form.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise BadRequest(f"{name}: must be a whole number")
    return int(text)
