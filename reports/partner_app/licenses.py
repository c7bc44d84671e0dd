"""A partner's licenses: stage, why they are theirs, and what a partner-paid license saved."""

from __future__ import annotations

from typing import Any

from attribution.commission import Payment, discount_cents
from reports.paging import TOP, After, Page, cut_page
from reports.room import Room
from tracker import redis_keys


async def licenses_page(room: Room, partner_id: str, after: After, limit: int) -> Page:
    """Licenses bound to a partner, newest first, each with `discount_cents`: what the partner saved (R6)."""
    page = cut_page(await _rows(room, partner_id, "", after, limit + 1), limit, "started_ms", "license_id")
    for row in page.rows:
        row["discount_cents"] = _discount(row)
    return page


async def partner_license(room: Room, partner_id: str, license_id: str) -> dict[str, Any] | None:
    """One license of a partner, or None when there is none or it is another's."""
    rows = await _rows(room, partner_id, license_id, TOP, 1)
    return {**rows[0], "discount_cents": _discount(rows[0])} if rows else None


async def is_own_solution_license(room: Room, partner_id: str, license_id: str) -> bool:
    """Whether a license is a solution license of the partner's, as the directory knows it at once."""
    return await room.redis.hexists(redis_keys.solutions_of(partner_id), license_id)


async def _rows(room: Room, partner_id: str, license_id: str, after: After, most: int) -> list[dict[str, Any]]:
    return await room.rows(
        "partner_licenses",
        partner_id=partner_id,
        license_id=license_id,
        now_ms=room.now_ms(),
        before_ms=after.moment,
        before_id=after.key,
        most=most,
        trial_days=room.program.trial_days_default,
    )


def _discount(row: dict[str, Any]) -> int:
    implied = (discount_cents(Payment("", "", 0, amount)) for amount in row["paid_without_discount"])
    return int(row["given_discount_cents"]) + sum(implied)
