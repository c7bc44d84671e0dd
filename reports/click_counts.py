"""A partner's countable clicks (R1): people's, in the spans in which the partner is active.

Whole days are counted from the table `click_days`; a day of which only a part counts, for the partner became active or
ceased to be, or the period begins or ends within, is counted click by click.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, NamedTuple

from attribution.staging import LAST_CLICK_MS
from reports.periods import LATEST_MS, Period
from reports.room import Room
from tracker.program import DAY_MS

TAGS = ("utm_campaign", "utm_medium", "utm_content", "utm_term")
EPOCH = date(1970, 1, 1)


class Visit(NamedTuple):
    """Where clicks came from: product and campaign of the link, and the tags of the visit, in the order of TAGS."""

    product: str
    campaign: str
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Countable:
    """The part of a period in which clicks count: days since 1970, each range from one to before another, and what is
    left of it, each less than a day and of one day."""

    days: tuple[tuple[int, int], ...]
    parts: tuple[Period, ...]


def countable(period: Period, spans: Iterable[Period]) -> Countable:
    """What of a period lies in spans; these don't overlap."""
    days: list[tuple[int, int]] = []
    parts: list[Period] = []
    for span in spans:
        from_ms, to_ms = max(period.from_ms, span.from_ms), min(period.to_ms, span.to_ms)
        first, end = -(-from_ms // DAY_MS), to_ms // DAY_MS
        around = [(from_ms, first * DAY_MS), (end * DAY_MS, to_ms)] if first <= end else [(from_ms, to_ms)]
        if first < end:
            days.append((first, end))
        parts += (Period(since_ms, until_ms) for since_ms, until_ms in around if since_ms < until_ms)
    return Countable(tuple(days), tuple(parts))


async def clicks_by_day(room: Room, partner_id: str, period: Period, product: str = "") -> dict[date, int]:
    """Clicks by day, without days that had none. `product` is the links'; empty for all."""
    wanted = await _countable(room, partner_id, period)
    days, parts = await asyncio.gather(room.rows("click_days", partner_id=partner_id), _parts(room, partner_id, wanted))
    ranges = [(_text(first), _text(end)) for first, end in wanted.days]
    counts: Counter[date] = Counter()
    for row in days:
        day: str = row["day_text"]
        if product in ("", row["product"]) and any(first <= day < end for first, end in ranges):
            counts[date.fromisoformat(day)] += row["clicks"]
    for part, visits in parts:
        clicks = sum(count for visit, count in visits if product in ("", visit.product))
        if clicks:
            counts[EPOCH + timedelta(days=part.from_ms // DAY_MS)] += clicks
    return counts


async def clicks_by_visit(room: Room, partner_id: str, period: Period, by_tags: bool = False) -> Mapping[Visit, int]:
    """Clicks by where they came from, without what had none; `by_tags`, or with empty tags."""
    wanted = await _countable(room, partner_id, period)
    ranges = [list(each) for each in wanted.days]
    whole, parts = await asyncio.gather(
        room.rows("click_visits", partner_id=partner_id, ranges=ranges, by_tags=int(by_tags)),
        _parts(room, partner_id, wanted),
    )
    counts: Counter[Visit] = Counter(dict(_visits(whole)))
    for _, visits in parts:
        for visit, clicks in visits:
            counts[visit if by_tags else visit._replace(tags=("",) * len(TAGS))] += clicks
    return counts


async def _countable(room: Room, partner_id: str, period: Period) -> Countable:
    spans = await room.rows("active_spans", partner_id=partner_id)
    return countable(period, (Period(span["from_ms"], _until_ms(span["until_ms"])) for span in spans))


async def _parts(room: Room, partner_id: str, wanted: Countable) -> list[tuple[Period, list[tuple[Visit, int]]]]:
    found = await asyncio.gather(
        *(
            room.rows("clicks_between", partner_id=partner_id, from_ms=part.from_ms, to_ms=part.to_ms)
            for part in wanted.parts
        )
    )
    return [(part, list(_visits(rows))) for part, rows in zip(wanted.parts, found, strict=True)]


def visit_of(row: Mapping[str, Any]) -> Visit:
    """The visit of a statement's row that has one."""
    return Visit(row["campaign_product"], row["campaign"], tuple(row[tag] for tag in TAGS))


def _visits(rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Visit, int]]:
    for row in rows:
        yield visit_of(row), row["clicks"]


def _until_ms(until_ms: int) -> int:
    """When a span ends. One without an end does so after the last click that can be; that needs no part of a day."""
    return LATEST_MS if until_ms >= LAST_CLICK_MS else until_ms


def _text(day: int) -> str:
    """An ISO date."""
    return (EPOCH + timedelta(days=day)).isoformat()
