"""The history of a solution license's subscription: every change that its partner made, from the first one on.

R15: a subscription is the partner's while they pay, so what they did with it stays theirs to see after a handover.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports.paging import After, Page, cut_page
from reports.room import Room
from tracker.rfc3339 import rfc3339


async def subscription_history(room: Room, partner_id: str, license_id: str, after: After, limit: int) -> Page:
    """Changes of a license's subscription, newest first; none where the license is not the partner's."""
    rows = await room.rows(
        "subscription_events",
        partner_id=partner_id,
        license_id=license_id,
        before_number=after.moment,
        before_id=after.key,
        most=limit + 1,
    )
    return cut_page(rows, limit, "number", "event_id")


def change_document(row: Mapping[str, Any]) -> dict[str, Any]:
    """A change as the API shows it."""
    return {
        "number": row["number"],
        "occurred_at": rfc3339(row["occurred_ms"]),
        "kind": row["kind"],
        "plan": row["plan"],
        "billing_cycle": row["billing_cycle"],
        "seats": row["seats"],
        "closes_at": rfc3339(row["closes_ms"]) if row["closes_ms"] is not None else None,
    }
