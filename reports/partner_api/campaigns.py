"""Campaigns over the Partner API: starting them, listing and searching them, switching them off."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reports.affiliate_results import EARNINGS, by_campaign
from reports.campaigns import (
    Wanted,
    coupon_label,
    landing_page,
    long_url,
    read_campaigns,
    short_url,
    start_campaign,
    stop_campaign,
)
from reports.partner_api.asked import ALL, Asked, bad_field, bad_request
from reports.partner_api.dates import money, timestamp
from reports.periods import ALL_TIME
from reports.room import Room
from tracker.campaigns import Campaign

PAGE_CAMPAIGNS = 15

Condition = Callable[[Campaign, Any], bool]

SEARCHABLE: Mapping[tuple[str, str], tuple[type, Condition]] = {
    ("product", "equals"): (str, lambda campaign, value: campaign.product == value),
    ("name", "equals"): (str, lambda campaign, value: campaign.name == value),
    ("name", "contains"): (str, lambda campaign, value: value.casefold() in campaign.name.casefold()),
    ("slug", "equals"): (str, lambda campaign, value: campaign.slug == value),
    ("id", "equals"): (int, lambda campaign, value: campaign.id == value),
    ("is_default", "equals"): (bool, lambda campaign, value: campaign.is_built_in == value),
}
"""Field and operator of a filter → what its value is, and whether a campaign meets it."""


async def create_campaign(room: Room, asked: Asked) -> Mapping[str, Any]:
    product = asked.query.get("product") or asked.body.get("product")
    if not product:
        raise bad_field("product", "is required, in the query or the body")
    if product not in room.program.products:
        raise bad_field("product", f"must be one of {', '.join(room.program.products)}")
    wanted = Wanted(
        product=product,
        name=asked.body["name"],
        landing_url=asked.body.get("link", ""),
        trial_days=asked.body.get("trial_duration"),
        coupon_id=asked.body.get("coupon_id"),
    )
    return _document(room, await start_campaign(room, asked.partner_id, wanted))


async def get_campaigns(room: Room, asked: Asked) -> Mapping[str, Any]:
    """Those that the partner started, newest first; the built-in ones are among `search_campaigns`."""
    is_on = asked.query["state"] == "active"
    campaigns = (await read_campaigns(room, asked.partner_id)).started
    return {
        "result": [
            {"active": is_on, **_document(room, one)}
            for one in sorted(campaigns, key=_age, reverse=True)
            if (one.disabled_at is None) == is_on
        ]
    }


async def search_campaigns(room: Room, asked: Asked) -> Mapping[str, Any]:
    page = asked.query["page"]
    conditions = _conditions(asked)
    campaigns = await read_campaigns(room, asked.partner_id)
    found = [
        one
        for one in campaigns
        if (one.disabled_at is None) == (asked.query["state"] == "active")
        and asked.query["product"] in (ALL, one.product)
        and all(is_met(one, value) for is_met, value in conditions)
    ]
    found.sort(key=_age, reverse=asked.query.get("sort_order", "desc") == "desc")
    earned = await by_campaign(room, EARNINGS, asked.partner_id, campaigns, ALL_TIME)
    return {
        "value": money(sum(earned.get(one.id, 0) for one in found)),
        "results": [_search_document(room, one) for one in found[(page - 1) * PAGE_CAMPAIGNS : page * PAGE_CAMPAIGNS]],
        "total": len(found),
        "limit": PAGE_CAMPAIGNS,
    }


async def disable_campaign(room: Room, asked: Asked) -> None:
    await stop_campaign(room, asked.partner_id, asked.path["campaign_id"])


def _age(campaign: Campaign) -> tuple[int, int]:
    return campaign.created_at, campaign.id


def _conditions(asked: Asked) -> Sequence[tuple[Condition, Any]]:
    """The filters of a search. Raises BadRequest for what it does not know."""
    errors: list[dict[str, str]] = []
    conditions: list[tuple[Condition, Any]] = []
    fields = list(dict.fromkeys(field for field, _ in SEARCHABLE))
    for number, one in enumerate(asked.filters):
        operators = [operator for field, operator in SEARCHABLE if field == one.field]
        kind, is_met = SEARCHABLE.get((one.field, one.operator), (object, None))
        if not operators:
            errors.append({"field": f"filters.{number}.field", "message": f"must be one of {', '.join(fields)}"})
        elif is_met is None:
            errors.append({"field": f"filters.{number}.operator", "message": f"must be {' or '.join(operators)}"})
        elif type(one.value) is not kind:
            errors.append({"field": f"filters.{number}.value", "message": "is of the wrong type for its field"})
        else:
            conditions.append((is_met, one.value))
    if errors:
        raise bad_request(errors)
    return conditions


def _document(room: Room, campaign: Campaign) -> dict[str, Any]:
    return {
        "product": campaign.product,
        "name": campaign.name,
        "slug": campaign.slug,
        "url": long_url(campaign, room.program),
        "short_url": short_url(campaign, room.settings.tracker_url),
        "creation_timestamp": timestamp(campaign.created_at),
        "trial_duration": campaign.trial_days or room.program.trial_days_default,
        "discount": coupon_label(campaign, room.program),
        "id": campaign.id,
    }


def _search_document(room: Room, campaign: Campaign) -> dict[str, Any]:
    return {
        "id": campaign.id,
        "name": campaign.name,
        "product": campaign.product,
        "created_at": timestamp(campaign.created_at),
        "landing_page_url": landing_page(campaign, room.program),
        "slug": campaign.slug,
        "is_default": campaign.is_built_in,
        "region": room.program.default_data_center,
        "offer": coupon_label(campaign, room.program) or None,
        "url": long_url(campaign, room.program),
        "short_url": short_url(campaign, room.settings.tracker_url),
    }
