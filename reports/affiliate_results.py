"""What a partner achieved as an affiliate: clicks, trials, conversions and earnings, per day and per campaign.

One rule for products everywhere: a click has its link's, a license and its first tier have the license's, and the
second tier has `partner_program`. Every result belongs to one campaign: the winning link's, or the product's built-in
one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from reports.campaigns import Campaigns
from reports.periods import Period
from reports.room import Room

Days = list[tuple[date, int]]

CLICKS, TRIALS, CONVERSIONS, EARNINGS = "clicks", "trials", "conversions", "earned_cents"
"""The names of results, as the statements' columns."""

_QUERIES = {
    CLICKS: "affiliate_clicks",
    TRIALS: "affiliate_licenses_count",
    CONVERSIONS: "affiliate_licenses_count",
    EARNINGS: "affiliate_earnings",
}


async def total_of(
    room: Room, result: str, partner_id: str, period: Period, product: str = "", billing_cycle: str = ""
) -> int:
    """A result over a period; earnings in cents. `billing_cycle` narrows earnings only."""
    rows = await _rows(room, result, partner_id, period, product=product, billing_cycle=billing_cycle)
    return sum(row[result] for row in rows)


async def days_of(room: Room, result: str, partner_id: str, period: Period, product: str = "") -> Days:
    """A result by day, without days on which there was none."""
    rows = await _rows(room, result, partner_id, period, product=product, by_day=1)
    return [(date.fromisoformat(row["day_text"]), row[result]) for row in rows]


async def by_campaign(
    room: Room, result: str, partner_id: str, campaigns: Campaigns, period: Period, billing_cycle: str = ""
) -> dict[int, int]:
    """A result over a period by the campaign's number; campaigns without any are left out."""
    rows = await _rows(room, result, partner_id, period, billing_cycle=billing_cycle, by_campaign=1)
    return _shared_out(campaigns, ((_link_of(row), row[result]) for row in rows))


async def earnings_by_campaign(room: Room, partner_id: str, campaigns: Campaigns, period: Period) -> dict[int, int]:
    """Cents by the campaign's number."""
    return await by_campaign(room, EARNINGS, partner_id, campaigns, period)


async def campaign_earning_days(
    room: Room, partner_id: str, campaigns: Campaigns, campaign_id: int, period: Period, billing_cycle: str
) -> Days:
    """Cents of one campaign by day, of payments billed so."""
    rows = await _rows(room, EARNINGS, partner_id, period, billing_cycle=billing_cycle, by_day=1, by_campaign=1)
    found = []
    for row in rows:
        campaign = campaigns.of(*_link_of(row))
        if campaign is not None and campaign.id == campaign_id:
            found.append((date.fromisoformat(row["day_text"]), row[EARNINGS]))
    return found


async def _rows(
    room: Room,
    result: str,
    partner_id: str,
    period: Period,
    product: str = "",
    billing_cycle: str = "",
    by_day: int = 0,
    by_campaign: int = 0,
) -> list[dict[str, Any]]:
    more = {"billing_cycle": billing_cycle} if result == EARNINGS else {}
    return await room.rows(
        _QUERIES[result],
        partner_id=partner_id,
        from_ms=period.from_ms,
        to_ms=period.to_ms,
        product=product,
        by_day=by_day,
        by_campaign=by_campaign,
        **more,
    )


def _link_of(row: Mapping[str, Any]) -> tuple[str, str]:
    """Slug and product of the link that a row is about."""
    if "link_campaign" in row:
        return row["link_campaign"], row["link_product"]
    return row["campaign"], row["campaign_product"]


def _shared_out(campaigns: Campaigns, values: Iterable[tuple[tuple[str, str], int]]) -> dict[int, int]:
    sums: dict[int, int] = {}
    for link, value in values:
        campaign = campaigns.of(*link)
        if campaign is not None:
            sums[campaign.id] = sums.get(campaign.id, 0) + value
    return sums
