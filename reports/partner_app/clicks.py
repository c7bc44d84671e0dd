"""What became of a partner's clicks: which signup they won, or why they won none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from reports.paging import After, Page, cut_page
from reports.partners import Partner
from reports.room import Room
from tracker.program import DAY_MS


async def clicks_page(room: Room, partner: Partner, after: After, limit: int) -> Page:
    """Clicks on a partner's links, newest first, each with `counts_as` (R1) and `outcome`, words for people."""
    rows = await room.rows(
        "partner_clicks",
        partner_id=partner.partner_id,
        joined_ms=partner.joined_at,
        before_ms=after.moment,
        before_id=after.key,
        most=limit + 1,
    )
    page = cut_page(rows, limit, "clicked_ms", "id")
    visitors = sorted({row["visitor"] for row in page.rows if row["counts_as"] == "counted"})
    signups = await room.rows("visitors_signups", visitors=visitors) if visitors else []
    for row in page.rows:
        row["outcome"] = outcome(row, signups, room.now_ms(), room.program.window_ms)
        row["came_from"] = referring_host(row["referrer"])
    return page


def referring_host(referrer: str) -> str:
    """The host of a referrer's URL, empty when there is none. The rest of the URL is nobody's business."""
    try:
        return urlsplit(referrer).hostname or ""
    except ValueError:
        return ""


def outcome(click: Mapping[str, Any], signups: Iterable[Mapping[str, Any]], now_ms: int, window_ms: int) -> str:
    """What a click led to. `signups` are rows of visitors_signups.sql, of any visitors.

    It tells of other partners' wins only that a newer click won, never whose or which license (R20).
    """
    if click["counts_as"] != "counted":
        return ""
    own = [one for one in signups if one["visitor"] == click["visitor"]]
    for signup in own:
        if signup["winner"] == click["id"]:
            return f"Won license {signup['id']}" if signup["what"] == "license" else f"Recruited {signup['id']}"
    end = click["clicked_ms"] + window_ms
    if any(click["clicked_ms"] <= signup["happened_ms"] <= end for signup in own):
        return "The visitor signed up; a newer click won"
    window_days = window_ms // DAY_MS
    return "No signup yet" if now_ms <= end else f"No signup within {window_days} days"
