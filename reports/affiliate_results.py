"""What a partner achieved as an affiliate: clicks, trials, conversions and earnings, per day and per campaign.

One rule for products everywhere: a click has its link's, a license and its first tier have the license's, and the
second tier has `partner_program`. Every result belongs to one campaign: the winning link's, or the product's built-in
one.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from reports.campaigns import Campaigns
from reports.click_counts import clicks_by_day, clicks_by_visit
from reports.partner_api.asked import ALL
from reports.partner_api.commission import commission_days
from reports.periods import Period
from reports.room import Room

Days = list[tuple[date, int]]

CLICKS, TRIALS, CONVERSIONS, EARNINGS = "clicks", "trials", "conversions", "earned_cents"
"""The names of results, as the statements' columns."""

AFFILIATE = "affiliate"


async def total_of(room: Room, result: str, partner_id: str, period: Period, product: str = "") -> int:
    """A result over a period; earnings in cents. `product` is empty for all."""
    if result == EARNINGS:
        return sum(cents for _, cents in await days_of(room, result, partner_id, period, product))
    if result == CLICKS:
        return sum((await clicks_by_day(room, partner_id, period, product)).values())
    rows = await _counts(room, partner_id, period, product=product)
    return sum(row[result] for row in rows)


async def days_of(room: Room, result: str, partner_id: str, period: Period, product: str = "") -> Days:
    """A result by day, without days on which there was none."""
    if result == EARNINGS:
        return await commission_days(room, partner_id, period, product or ALL, AFFILIATE)
    if result == CLICKS:
        return list((await clicks_by_day(room, partner_id, period, product)).items())
    rows = await _counts(room, partner_id, period, product=product, by_day=1)
    return [(date.fromisoformat(row["day_text"]), row[result]) for row in rows]


async def by_campaign(
    room: Room, result: str, partner_id: str, campaigns: Campaigns, period: Period, billing_cycle: str = ""
) -> dict[int, int]:
    """A result over a period by the campaign's number; campaigns without any are left out. `billing_cycle` narrows
    earnings only."""
    found: list[tuple[str, str, int]]
    if result == CLICKS:
        visits = await clicks_by_visit(room, partner_id, period)
        found = [(visit.campaign, visit.product, clicks) for visit, clicks in visits.items()]
    else:
        rows = await (
            _earnings(room, partner_id, period, billing_cycle)
            if result == EARNINGS
            else _counts(room, partner_id, period, by_campaign=1)
        )
        found = [(row["campaign"], row["campaign_product"], row[result]) for row in rows]
    sums: dict[int, int] = {}
    for slug, product, value in found:
        campaign = campaigns.of(slug, product)
        sums[campaign.id] = sums.get(campaign.id, 0) + value
    return sums


async def campaign_earning_days(
    room: Room, partner_id: str, campaigns: Campaigns, campaign_id: int, period: Period, billing_cycle: str
) -> Days:
    """Cents of one campaign by day, of payments billed so."""
    found = []
    for row in await _earnings(room, partner_id, period, billing_cycle, by_day=1):
        if campaigns.of(row["campaign"], row["campaign_product"]).id == campaign_id:
            found.append((date.fromisoformat(row["day_text"]), row[EARNINGS]))
    return found


async def _counts(
    room: Room, partner_id: str, period: Period, product: str = "", by_day: int = 0, by_campaign: int = 0
) -> list[dict[str, Any]]:
    return await room.rows(
        "affiliate_licenses_count",
        partner_id=partner_id,
        from_ms=period.from_ms,
        to_ms=period.to_ms,
        product=product,
        by_day=by_day,
        by_campaign=by_campaign,
    )


async def _earnings(
    room: Room, partner_id: str, period: Period, billing_cycle: str, by_day: int = 0
) -> list[dict[str, Any]]:
    return await room.rows(
        "affiliate_earnings",
        partner_id=partner_id,
        from_ms=period.from_ms,
        to_ms=period.to_ms,
        billing_cycle=billing_cycle,
        by_day=by_day,
    )
