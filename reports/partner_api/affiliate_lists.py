"""What a partner achieved as an affiliate, row by row: licenses, referred partners, and performance."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from attribution.facts import read_published, read_standings
from reports.campaigns import Campaigns, read_campaigns
from reports.click_counts import TAGS, clicks_by_visit, visit_of
from reports.long_lists import shape_each
from reports.partner_api.asked import Asked
from reports.partner_api.dates import money, timestamp
from reports.room import Room
from tracker.program import percent_number

_NO_RESULT = dict.fromkeys(("trials", "qls", "paid", "partners_referred", "commission_cents"), 0)


async def get_affiliate_licenses(room: Room, asked: Asked) -> Mapping[str, Any]:
    """Newest first. A license that is the partner's own (R4) earns 0 percent."""
    campaigns = await read_campaigns(room, asked.partner_id)
    percent = await _first_tier_percent(room, asked.partner_id)
    rows = await room.rows(
        "affiliate_licenses",
        partner_id=asked.partner_id,
        from_ms=asked.period.from_ms,
        to_ms=asked.period.to_ms,
        now_ms=room.now_ms(),
        trial_days=room.program.trial_days_default,
    )

    def document(row: Mapping[str, Any]) -> dict[str, Any]:
        return {
            **_attribution(campaigns, row["campaign"], row["link_product"], row),
            "product": row["product"],
            "creation_timestamp": timestamp(row["started_ms"]),
            "end_timestamp": timestamp(row["end_ms"]),
            "active": not row["is_expired"],
            "ql": bool(row["is_qualified"]),
            "cc_added": bool(row["has_card"]),
            "paid": bool(row["is_paid"]),
            "commission_percent": 0 if row["is_self_referral"] else percent,
            "earnings": money(row["earned_cents"]),
            "blocked": bool(row["is_blocked"]),
        }

    return {"result": await shape_each(rows, document)}


async def get_performance_report(room: Room, asked: Asked) -> Mapping[str, Any]:
    campaigns = await read_campaigns(room, asked.partner_id)
    visits, rows = await asyncio.gather(
        clicks_by_visit(room, asked.partner_id, asked.period, by_tags=True),
        room.rows(
            "affiliate_performance",
            partner_id=asked.partner_id,
            from_ms=asked.period.from_ms,
            to_ms=asked.period.to_ms,
        ),
    )
    clicks = {(visit.product, visit): count for visit, count in visits.items()}
    results = {(row["product"], visit_of(row)): row for row in rows}
    found = []
    for product, visit in sorted(clicks.keys() | results.keys()):
        row = results.get((product, visit), _NO_RESULT)
        found.append(
            {
                **_attribution(campaigns, visit.campaign, visit.product, dict(zip(TAGS, visit.tags, strict=True))),
                "product": product,
                "clicks": clicks.get((product, visit), 0),
                **{name: row[name] for name in ("trials", "qls", "paid", "partners_referred")},
                "commission": money(row["commission_cents"]),
            }
        )
    return {"result": found}


async def get_partners_referred(room: Room, asked: Asked) -> Mapping[str, Any]:
    """Of a referred partner there is the Partner ID and totals, and nothing else (R20)."""
    campaigns = await read_campaigns(room, asked.partner_id)
    trial_days = room.program.trial_days_default
    rows = await room.rows(
        "affiliate_partners", partner_id=asked.partner_id, now_ms=room.now_ms(), trial_days=trial_days
    )
    return {
        "result": [
            {
                **_attribution(campaigns, row["campaign"], row["campaign_product"], row),
                "partner_id": row["partner_id"],
                "creation_timestamp": timestamp(row["joined_ms"]),
                "active_trials": row["active_trials"],
                "active_trials_cc_added": row["active_trials_with_card"],
                "total_trials": row["total_trials"],
                "active_paid": row["active_paid"],
                "total_paid": row["total_paid"],
                "commission": money(row["earned_cents"]),
            }
            for row in rows
        ]
    }


def _attribution(campaigns: Campaigns, slug: str, product: str, tags: Mapping[str, str]) -> dict[str, str]:
    """Campaign and tags of a visit. A slug that no campaign has, of an import, is its own name. The redirect adds
    `utm_campaign` where the visitor's link did not say it, so that it is the slug then."""
    campaign = campaigns.of(slug, product)
    is_imported = slug not in ("", campaign.slug)
    return {
        "campaign_name": slug if is_imported else campaign.name,
        **{name: tags[name] for name in TAGS},
        "utm_campaign": tags["utm_campaign"] or slug,
    }


async def _first_tier_percent(room: Room, partner_id: str) -> int | float:
    """What the partner gets of a payment on a license of theirs now (R10)."""
    now_ms = room.now_ms()

    def read() -> int:
        published = read_published(room.warehouse)
        known = read_standings(room.warehouse, [partner_id], published.through_load).get(partner_id)
        if known is None:
            return room.program.first_tier_percent_hundredths
        return known.percent_at(1, now_ms, room.program)

    return percent_number(await room.of_partner("first_tier_percent", partner_id, read, now_ms))
