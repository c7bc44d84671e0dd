"""Periods and buckets of the Partner API: UTC days and seconds, whole days, weeks from Monday, and months.

A period is `reports.periods.Period`, two moments [from, to) in milliseconds. Here a bare `date_to` is the last second
of its day, and a `date_to` with a time includes that second.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from reports.periods import EARLIEST_MS, LATEST_MS, Period
from tracker.program import DAY_MS

AGGREGATIONS = ("day", "week", "month")
MAX_BUCKETS = 4_000  # of a report: ten years of days
SECOND_MS = 1000

_QUERY_DATE = re.compile(r"(\d{4}-\d\d-\d\d)(T\d\d:\d\d:\d\dZ)?", re.ASCII)


def read_moment(text: str) -> tuple[int, bool]:
    """A date's or time's moment in ms, and whether it is a bare date. Raises ValueError with what is wrong."""
    found = _QUERY_DATE.fullmatch(text)
    if not found:
        raise ValueError("must be a date such as 2026-01-31 or a time such as 2026-01-31T23:59:59Z")
    try:
        at = datetime.fromisoformat(text.removesuffix("Z")).replace(tzinfo=UTC)
    except ValueError:
        raise ValueError("is not a date or time that exists") from None
    moment = int(at.timestamp()) * SECOND_MS
    if not EARLIEST_MS <= moment <= LATEST_MS - DAY_MS:
        raise ValueError("must lie between 1970 and 2299")
    return moment, found[2] is None


def read_period(date_from: str | None, date_to: str | None) -> tuple[Period, list[dict[str, str]]]:
    """The period of two query values, None for "no bound", and what is wrong with them."""
    errors: list[dict[str, str]] = []
    from_ms, to_ms = EARLIEST_MS, LATEST_MS
    try:
        from_ms = read_moment(date_from)[0] if date_from is not None else EARLIEST_MS
    except ValueError as error:
        errors.append({"field": "date_from", "message": str(error)})
    try:
        if date_to is not None:
            moment, is_day = read_moment(date_to)
            to_ms = moment + (DAY_MS if is_day else SECOND_MS)
    except ValueError as error:
        errors.append({"field": "date_to", "message": str(error)})
    if not errors and from_ms >= to_ms:
        errors.append({"field": "date_from", "message": "is later than date_to"})
    return Period(from_ms, to_ms), errors


@dataclass(frozen=True, slots=True)
class Bucket:
    """A whole day, week or month: its first day and the day after its last."""

    first: date
    after: date

    def document(self, total: int | float) -> dict[str, Any]:
        """The bucket as a report shows it: its first and its last second."""
        last = self.after - timedelta(days=1)
        return {"date_range": {"from": f"{self.first} 00:00:00", "to": f"{last} 23:59:59"}, "total": total}


def buckets(period: Period, aggregation: str) -> Iterator[Bucket]:
    """Every bucket that the period touches, oldest first."""
    last = _day(period.to_ms - 1)
    first = bucket_start(_day(period.from_ms), aggregation)
    while first <= last:
        after = _next(first, aggregation)
        yield Bucket(first, after)
        first = after


def report(period: Period, aggregation: str, totals: Mapping[date, int | float]) -> dict[str, Any]:
    """A report's document. `totals` has what is not 0, by the first day of its bucket; see `by_bucket`."""
    return {"items": [one.document(totals.get(one.first, 0)) for one in buckets(period, aggregation)]}


def by_bucket(days: Iterable[tuple[date, int]], aggregation: str) -> dict[date, int]:
    """Sums of days' numbers by the first day of the bucket that each lies in."""
    sums: dict[date, int] = {}
    for day, value in days:
        first = bucket_start(day, aggregation)
        sums[first] = sums.get(first, 0) + value
    return sums


def bucket_start(day: date, aggregation: str) -> date:
    """The first day of the bucket that a day lies in."""
    match aggregation:
        case "week":
            return day - timedelta(days=day.weekday())
        case "month":
            return day.replace(day=1)
        case _:
            return day


def has_too_many(period: Period, aggregation: str) -> bool:
    """Whether a report would have more than MAX_BUCKETS buckets."""
    days = {"day": 1, "week": 7, "month": 28}[aggregation]
    return (period.to_ms - period.from_ms) / DAY_MS / days > MAX_BUCKETS


def _next(first: date, aggregation: str) -> date:
    match aggregation:
        case "week":
            return first + timedelta(days=7)
        case "month":
            return (first + timedelta(days=31)).replace(day=1)
        case _:
            return first + timedelta(days=1)


def _day(moment: int) -> date:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=moment)).date()


def timestamp(moment: int | None) -> str:
    """A moment in ms as `2026-02-11 13:18:53`; empty for None and 0, for what has not happened."""
    return f"{datetime.fromtimestamp(moment // 1000, UTC):%Y-%m-%d %H:%M:%S}" if moment else ""


def money(cents: int) -> int | float:
    """Cents as the number of dollars that JSON shows, exact: 1820 → 18.2, 1800 → 18."""
    return cents // 100 if cents % 100 == 0 else cents / 100


def money_report(period: Period, aggregation: str, days: Sequence[tuple[date, int]]) -> dict[str, Any]:
    """A report's document of days' cents."""
    sums = by_bucket(days, aggregation)
    return report(period, aggregation, {first: money(cents) for first, cents in sums.items()})


def count_report(period: Period, aggregation: str, days: Sequence[tuple[date, int]]) -> dict[str, Any]:
    """A report's document of days' counts."""
    return report(period, aggregation, by_bucket(days, aggregation))
