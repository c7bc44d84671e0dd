"""Partners as the app shows them: from the warehouse, and from the directory while a join is still on its way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import anyio

from reports.paging import TOP, After, Page, cut_page
from reports.room import Room
from tracker import redis_keys
from tracker.attribution_now import read_standing
from tracker.rfc3339 import rfc3339

JOINS_SECONDS = 2.0  # longer than a load takes


@dataclass(frozen=True, slots=True)
class Partner:
    """One partner now. `joined_at` is in ms; `links` maps products to short codes; `recruiter_id` may be None."""

    partner_id: str
    name: str
    email: str
    recruiter_id: str | None
    status: str
    joined_at: int
    links: Mapping[str, str]

    def document(self) -> dict[str, Any]:
        """The partner as the admin API shows it."""
        return {
            "partner_id": self.partner_id,
            "name": self.name,
            "email": self.email,
            "recruiter_id": self.recruiter_id,
            "status": self.status,
            "joined_at": rfc3339(self.joined_at),
        }


async def find_partner(room: Room, partner_id: str) -> Partner | None:
    """A partner by id. One that the warehouse doesn't have yet is looked up in the directory."""
    rows = await _rows(room, partner_id=partner_id)
    if rows:
        return _stored(rows[0])
    entry = cast("bytes | None", await room.redis.hget(redis_keys.PARTNERS, partner_id))
    standing = read_standing(partner_id, entry)
    if entry is None or standing is None:
        return None
    known = json.loads(entry)
    return Partner(
        partner_id=partner_id,
        name=known["name"],
        email=known["email"],
        recruiter_id=known["recruiter_id"] or None,
        status="suspended" if standing.suspended_at(room.now_ms()) else "active",
        joined_at=known["joined_at"],
        links=known["links"],
    )


async def joins_are_stored(room: Room) -> None:
    """Wait, up to JOINS_SECONDS, until every partner of the directory is in the warehouse: a join that was answered a
    moment ago is then listed."""
    with anyio.move_on_after(JOINS_SECONDS):
        while True:
            known = await room.redis.hlen(redis_keys.PARTNERS)
            stored = await room.row("partners_count")
            if stored is None or int(stored["partners"]) >= known:
                return
            await anyio.sleep(0.05)


async def partners_page(room: Room, search: str, after: After, limit: int) -> tuple[list[Partner], Page]:
    """Partners whose id, name or e-mail holds `search`, newest first, and the page that they are on."""
    rows = await _rows(room, search=search, after=after, most=limit + 1)
    page = cut_page(rows, limit, "joined_ms", "partner_id")
    return [_stored(row) for row in page.rows], page


async def _rows(
    room: Room, search: str = "", partner_id: str = "", after: After = TOP, most: int = 1
) -> list[dict[str, Any]]:
    return await room.rows(
        "partners_page",
        search=search,
        partner_id=partner_id,
        now_ms=room.now_ms(),
        before_ms=after.moment,
        before_id=after.key,
        most=most,
    )


def _stored(row: Mapping[str, Any]) -> Partner:
    return Partner(
        partner_id=row["partner_id"],
        name=row["name"],
        email=row["email"],
        recruiter_id=row["recruiter_id"] or None,
        status=row["status"],
        joined_at=row["joined_ms"],
        links=json.loads(row["links"] or "{}"),
    )
