"""The operations tagged Affiliate Partner."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from reports.affiliate_results import (
    CLICKS,
    CONVERSIONS,
    EARNINGS,
    TRIALS,
    by_campaign,
    campaign_earning_days,
    days_of,
    total_of,
)
from reports.campaigns import long_url, read_campaigns, short_url
from reports.partner_api.affiliate_lists import (
    get_affiliate_licenses,
    get_partners_referred,
    get_performance_report,
)
from reports.partner_api.asked import ALL, Asked, Handler
from reports.partner_api.campaigns import create_campaign, disable_campaign, get_campaigns, search_campaigns
from reports.partner_api.commission import commission_days
from reports.partner_api.commission import metric as commission_metric
from reports.partner_api.dates import count_report, money, money_report
from reports.periods import ALL_TIME, Period
from reports.room import Room
from tracker.campaigns import Campaign

BEST_CAMPAIGNS = 10  # of best-performing earnings without a limit
REPORT_MONTHS = 12  # before the current one


def metric(result: str) -> Handler:
    """The total of a result in the period."""

    async def answer(room: Room, asked: Asked) -> Mapping[str, Any]:
        value = await total_of(room, result, asked.partner_id, asked.period, _product(asked))
        return {"value": _shown(result, value)}

    return answer


def report(result: str) -> Handler:
    """A result over time. What lies further back than reports reach is left out, its buckets too."""

    async def answer(room: Room, asked: Asked) -> Mapping[str, Any]:
        period = reachable(asked.period, room.now_ms())
        if period.from_ms >= period.to_ms:
            return {"items": []}
        days = await days_of(room, result, asked.partner_id, period, _product(asked))
        write = money_report if result == EARNINGS else count_report
        return write(period, asked.query["aggregation"], days)

    return answer


def best_campaigns(result: str) -> Handler:
    """The campaigns with the most of a result; of equal ones those with the smaller number. None that has nothing."""

    async def answer(room: Room, asked: Asked) -> Mapping[str, Any]:
        return {
            "items": [
                {"id": one.id, "name": one.name, "value": _shown(result, value), "product": one.product}
                for one, value in await _best(room, asked, result)
            ]
        }

    return answer


def best_campaigns_total(result: str) -> Handler:
    """The sum of a result over the campaigns with the most of it."""

    async def answer(room: Room, asked: Asked) -> Mapping[str, Any]:
        return {"value": _shown(result, sum(value for _, value in await _best(room, asked, result)))}

    return answer


async def campaign_earnings_metric(room: Room, asked: Asked) -> Mapping[str, Any]:
    campaigns = await read_campaigns(room, asked.partner_id)
    campaign = campaigns.get(asked.path["campaign_id"])
    cycle = asked.query.get("billing_cycle", "")
    earned = await by_campaign(room, EARNINGS, asked.partner_id, campaigns, asked.period, cycle)
    return {"value": money(earned.get(campaign.id, 0))}


async def campaign_earnings_report(room: Room, asked: Asked) -> Mapping[str, Any]:
    campaigns = await read_campaigns(room, asked.partner_id)
    campaign = campaigns.get(asked.path["campaign_id"])
    cycle = asked.query["billing_cycle"]
    days = await campaign_earning_days(room, asked.partner_id, campaigns, campaign.id, asked.period, cycle)
    return money_report(asked.period, asked.query["aggregation"], days)


async def campaign_summary(room: Room, asked: Asked) -> Mapping[str, Any]:
    campaigns = await read_campaigns(room, asked.partner_id)
    campaign = campaigns.get(asked.path["campaign_id"])
    counts = [
        (await by_campaign(room, result, asked.partner_id, campaigns, ALL_TIME)).get(campaign.id, 0)
        for result in (CLICKS, TRIALS, CONVERSIONS, EARNINGS)
    ]
    return {"click": counts[0], "trial": counts[1], "paid": counts[2], "earnings": money(counts[3])}


async def referred_commission_metric(room: Room, asked: Asked) -> Mapping[str, Any]:
    product, program = asked.query["product"], asked.query["program"]
    days = await commission_days(room, asked.partner_id, asked.period, product, program, referred=True)
    return commission_metric(days)


async def affiliate_links(room: Room, asked: Asked) -> Mapping[str, Any]:
    campaigns = await read_campaigns(room, asked.partner_id)
    return {
        one.product: {"url": long_url(one, room.program), "short_url": short_url(one, room.settings.tracker_url)}
        for one in campaigns
        if one.is_built_in
    }


async def affiliate_summary(room: Room, asked: Asked) -> Mapping[str, Any]:
    trial_days = room.program.trial_days_default
    row = await room.row("affiliate_summary", partner_id=asked.partner_id, now_ms=room.now_ms(), trial_days=trial_days)
    return row or {"trials": 0, "paid": 0, "expired": 0}


def reachable(period: Period, now_ms: int) -> Period:
    """As much of a period as reports reach back: from the first day of the month twelve months before this one."""
    today = datetime.fromtimestamp(now_ms / 1000, UTC)
    months = today.year * 12 + today.month - 1 - REPORT_MONTHS
    earliest = datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC)
    return Period(max(period.from_ms, int(earliest.timestamp()) * 1000), period.to_ms)


async def _best(room: Room, asked: Asked, result: str) -> list[tuple[Campaign, int]]:
    campaigns = await read_campaigns(room, asked.partner_id)
    values = await by_campaign(room, result, asked.partner_id, campaigns, asked.period)
    found = [(one, values[one.id]) for one in campaigns if values.get(one.id, 0) > 0]
    found.sort(key=lambda pair: (-pair[1], pair[0].id))
    return found[: asked.query.get("limit", BEST_CAMPAIGNS)]


def _product(asked: Asked) -> str:
    """The product that is asked for; empty for all."""
    product: str = asked.query.get("product", ALL)
    return "" if product == ALL else product


def _shown(result: str, value: int) -> int | float:
    return money(value) if result == EARNINGS else value


OPERATIONS: Mapping[str, Handler] = {
    "get_campaigns": get_campaigns,
    "create_campaign": create_campaign,
    "search_campaigns": search_campaigns,
    "disable_campaign": disable_campaign,
    "get_campaigns_earnings_metric": campaign_earnings_metric,
    "get_campaigns_earnings_report": campaign_earnings_report,
    "get_campaigns_summary": campaign_summary,
    "get_best_performing_campaigns_clicks_report": best_campaigns(CLICKS),
    "get_best_performing_campaigns_trials_report": best_campaigns(TRIALS),
    "get_best_performing_campaigns_conversions_report": best_campaigns(CONVERSIONS),
    "get_best_performing_campaigns_earnings_report": best_campaigns(EARNINGS),
    "get_best_performing_campaigns_clicks_metrics": best_campaigns_total(CLICKS),
    "get_best_performing_campaigns_trials_metrics": best_campaigns_total(TRIALS),
    "get_best_performing_campaigns_conversions_metrics": best_campaigns_total(CONVERSIONS),
    "get_best_performing_campaigns_earnings_metrics": best_campaigns_total(EARNINGS),
    "get_affiliate_licenses": get_affiliate_licenses,
    "get_performance_report": get_performance_report,
    "get_partners_referred": get_partners_referred,
    "get_affiliate_links": affiliate_links,
    "get_trials_metrics": metric(TRIALS),
    "get_earnings_metrics": metric(EARNINGS),
    "get_conversions_metrics": metric(CONVERSIONS),
    "get_clicks_metrics": metric(CLICKS),
    "get_referred_partners_commission_metrics": referred_commission_metric,
    "get_trials_report": report(TRIALS),
    "get_earnings_report": report(EARNINGS),
    "get_conversions_report": report(CONVERSIONS),
    "get_clicks_report": report(CLICKS),
    "get_summary": affiliate_summary,
}
"""Operation id → handler."""
