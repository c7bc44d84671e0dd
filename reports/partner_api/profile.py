"""A partner's profile and billing details: what the partner changed, over what is known from their join."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from reports.partner_api.asked import Asked
from reports.partners import find_partner
from reports.room import Room
from tracker import redis_keys
from tracker.directory import Known, Step
from tracker.errors import NotFound
from tracker.state import change, state_step

NAMES = ("first_name", "last_name", "contact_name", "contact_email")
MAILINGS = {
    "send_monthly_summary": False,
    "send_reseller_weekly_summary": False,
    "send_newsletter": False,
    "send_notifications": True,
}
"""What a partner may be mailed, and whether they are until they say otherwise."""

FLAGS = ("sales_kit_popup_closed", "pitch_deck_downloaded", "tier2_popup_closed", "payment_origin_popup_closed")
BILLING = ("type", "company", "vat", "address", "city", "state", "zip_code", "country", "paypal")


async def get_profile(room: Room, asked: Asked) -> Mapping[str, Any] | None:
    partner = await find_partner(room, asked.partner_id)
    if partner is None:
        raise NotFound("This partner is not known any more.")
    first, _, last = partner.name.partition(" ")
    names = (first, last, partner.name, partner.email)
    return {
        "partner_id": partner.partner_id,
        "login": partner.email,
        **dict(zip(NAMES, names, strict=True)),
        # Every partner may create solution accounts from the day they join.
        "solution_status": "accepted" if partner.status == "active" else partner.status,
        "properties": dict.fromkeys(FLAGS, False),
        **MAILINGS,
        **await _saved(room, redis_keys.PROFILES, asked.partner_id),
    }


async def update_profile(room: Room, asked: Asked) -> None:
    async def save(known: Known) -> tuple[None, Step]:
        before = json.loads(known.get(redis_keys.PROFILES, asked.partner_id) or "{}")
        given = {name: asked.body[name] for name in (*NAMES, *MAILINGS) if name in asked.body}
        document = json.dumps({**before, **given}, ensure_ascii=False)
        return None, state_step(known, {(redis_keys.PROFILES, asked.partner_id): document})

    await change(room.directory, [(redis_keys.PROFILES, asked.partner_id)], save)


async def get_billing(room: Room, asked: Asked) -> Mapping[str, Any] | None:
    return await read_billing(room, asked.partner_id)


async def update_billing(room: Room, asked: Asked) -> None:
    await save_billing(room, asked.partner_id, asked.body)


async def read_billing(room: Room, partner_id: str) -> dict[str, str]:
    """What payouts are billed to; every field is empty until something was saved."""
    return dict.fromkeys(BILLING, "") | await _saved(room, redis_keys.BILLING, partner_id)


async def save_billing(room: Room, partner_id: str, details: Mapping[str, str]) -> None:
    """Keep `details`, which are right by the contract."""

    async def save(known: Known) -> tuple[None, Step]:
        document = json.dumps({name: details.get(name, "") for name in BILLING}, ensure_ascii=False)
        return None, state_step(known, {(redis_keys.BILLING, partner_id): document})

    await change(room.directory, [], save)


async def _saved(room: Room, hash_key: str, partner_id: str) -> dict[str, Any]:
    known = Known()
    await room.directory.read(known, [(hash_key, partner_id)])
    found: dict[str, Any] = json.loads(known.get(hash_key, partner_id) or "{}")
    return found
