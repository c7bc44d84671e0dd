"""Commission lines: read from the ledger, and shaped for administrators and for the partner who earned them (R20)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reports.paging import TOP, After, Page, cut_page
from reports.periods import ALL_TIME, Period
from reports.room import Room
from tracker.program import percent_number
from tracker.rfc3339 import rfc3339

FIRST_TIER = 1
SECOND_TIER = 2

# How attribution/queries/ledger_post_differences.sql says that a license or a partner went to someone else.
_MOVED = re.compile(r"(binding|recruiter of \S+) moved from (\S+) to (\S+)")


@dataclass(frozen=True, slots=True)
class LineFilter:
    """Which ledger lines; empty texts and tier 0 filter nothing."""

    partner_id: str = ""
    license_id: str = ""
    payment_id: str = ""
    entry_id: str = ""
    tier: int = 0
    period: Period = ALL_TIME


async def lines_page(room: Room, wanted: LineFilter, after: After, limit: int) -> Page:
    """Ledger lines, newest money event first; the entry id orders lines of one moment."""
    rows = await room.rows(
        "commission_lines",
        partner_id=wanted.partner_id,
        license_id=wanted.license_id,
        payment_id=wanted.payment_id,
        entry_id=wanted.entry_id,
        tier=wanted.tier,
        from_ms=wanted.period.from_ms,
        to_ms=wanted.period.to_ms,
        before_ms=after.moment,
        before_id=after.key,
        most=limit + 1,
    )
    return cut_page(rows, limit, "occurred_ms", "entry_id")


async def partner_lines_page(room: Room, wanted: LineFilter, after: After, limit: int) -> Page:
    """Like `lines_page`, for the partner who earned them.

    A second-tier line must not tell which license or payment it is of (R20), so those filters find first-tier
    lines only.
    """
    if wanted.license_id or wanted.payment_id:
        if wanted.tier == SECOND_TIER:
            return Page([], None)
        wanted = LineFilter(
            wanted.partner_id, wanted.license_id, wanted.payment_id, wanted.entry_id, FIRST_TIER, wanted.period
        )
    page = await lines_page(room, wanted, after, limit)
    return Page([for_partner(row) for row in page.rows], page.next_cursor)


async def partner_line(room: Room, partner_id: str, entry_id: str) -> dict[str, Any] | None:
    """One line of a partner as they may see it; None when there is none or it is another's."""
    page = await lines_page(room, LineFilter(partner_id=partner_id, entry_id=entry_id), TOP, 1)
    return for_partner(page.rows[0]) if page.rows else None


def for_partner(row: Mapping[str, Any]) -> dict[str, Any]:
    """A line as the partner who earned it may see it (R20).

    A second-tier line names the referred partner instead of the license and the payment, and a correction does
    not tell which other partner a license moved to.
    """
    known = {row["partner_id"], row["referred_id"], "nobody"}

    def hide(match: re.Match[str]) -> str:
        was, now = (one if one in known else "another partner" for one in match.group(2, 3))
        return f"{match[1]} moved from {was} to {now}"

    seen = {**row, "reason": _MOVED.sub(hide, row["reason"])}
    return {**seen, "license_id": None, "payment_id": None} if row["tier"] == SECOND_TIER else seen


def line_document(row: Mapping[str, Any]) -> dict[str, Any]:
    """A ledger line as the API shows it."""
    return {
        "entry_id": row["entry_id"],
        "posted_at": rfc3339(row["posted_ms"]),
        "occurred_at": rfc3339(row["occurred_ms"]),
        "partner_id": row["partner_id"],
        "tier": row["tier"],
        "kind": row["kind"],
        "payment_id": row["payment_id"],
        "license_id": row["license_id"],
        "referred_partner_id": row["referred_id"] or None,
        "product": row["product"],
        "basis_cents": row["basis_cents"],
        "percent": percent_number(row["percent_hundredths"]),
        "amount_cents": row["amount_cents"],
        "currency": row["currency"],
        "reason": row["reason"] or None,
    }
