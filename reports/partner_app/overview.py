"""A partner's numbers by day: clicks, signups and commission."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from reports import wording
from reports.balances import FIRST_TIER, SECOND_TIER, Balance, balance_of, commission_by_day
from reports.charts import ColumnChart, Series, column_chart
from reports.click_counts import clicks_by_day
from reports.periods import Period
from reports.room import Room
from reports.withdrawal_records import withdrawals_of
from tracker.errors import BadRequest
from tracker.program import DAY_MS

MAX_DAYS = 366
EARLIEST_DAY, LATEST_DAY = date(1970, 1, 1), date(2299, 12, 30)
NUMBERS = ("clicks", "signups", "first_tier_cents", "second_tier_cents")


@dataclass(frozen=True, slots=True)
class Span:
    """A choice of the overview: the last so many days or months, today included."""

    key: str
    words: str
    days: int
    months: int = 0
    """0 for a chart by day."""


SPANS = (Span("30d", "30 days", 30), Span("90d", "90 days", 90), Span("12m", "12 months", 0, months=12))


@dataclass(frozen=True, slots=True)
class Days:
    """A partner's days, without a gap, and a value of each of NUMBERS for each of them."""

    days: Sequence[date]
    values: Mapping[str, Sequence[int]]

    @property
    def totals(self) -> Mapping[str, int]:
        return {name: sum(series) for name, series in self.values.items()}

    def by_month(self) -> tuple[list[str], dict[str, list[int]]]:
        """The months' names, and the sums of their days."""
        months = list(dict.fromkeys(day.replace(day=1) for day in self.days))
        sums = {name: dict.fromkeys(months, 0) for name in self.values}
        for name, series in self.values.items():
            for day, value in zip(self.days, series, strict=True):
                sums[name][day.replace(day=1)] += value
        return [f"{month:%b %Y}" for month in months], {name: list(each.values()) for name, each in sums.items()}

    def by_day(self) -> tuple[list[str], dict[str, list[int]]]:
        """The days' names, and their values."""
        return [f"{day.day} {day:%b}" for day in self.days], {
            name: list(series) for name, series in self.values.items()
        }


@dataclass(frozen=True, slots=True)
class Charts:
    """What the overview shows of its span."""

    clicks: ColumnChart
    commission: ColumnChart


async def read_overview(room: Room, partner_id: str, first: date, last: date) -> tuple[Days, Balance]:
    """A partner's days from `first` through `last` (UTC), those without anything included, and their balance now."""
    clicks, signups, commission, withdrawals = await asyncio.gather(
        clicks_by_day(room, partner_id, Period(_day_ms(first), _day_ms(last) + DAY_MS)),
        room.rows("signup_days", partner_id=partner_id),
        commission_by_day(room, partner_id),
        withdrawals_of(room, partner_id),
    )
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    texts = [day.isoformat() for day in days]

    def series(rows: Iterable[Mapping[str, Any]], name: str) -> list[int]:
        values = {row["day_text"]: row[name] for row in rows}
        return [values.get(text, 0) for text in texts]

    def of_tier(tier: int) -> list[int]:
        return series((row for row in commission if row["tier"] == tier), "commission_cents")

    values = {
        "clicks": [clicks.get(day, 0) for day in days],
        "signups": series(signups, "signups"),
        "first_tier_cents": of_tier(FIRST_TIER),
        "second_tier_cents": of_tier(SECOND_TIER),
    }
    return Days(days, values), balance_of(commission, withdrawals)


def dates_of(span: Span, now_ms: int) -> tuple[date, date]:
    """The first and the last day of a span that ends today. Months are whole, but for the one under way."""
    today = datetime.fromtimestamp(now_ms / 1000, UTC).date()
    if not span.months:
        return today - timedelta(days=span.days - 1), today
    months = today.year * 12 + today.month - span.months
    return date(months // 12, months % 12 + 1, 1), today


def read_days_asked(date_from: str, date_to: str, now_ms: int) -> tuple[date, date]:
    """The first and the last day of two query values, dates, empty for the last 30 days. Raises BadRequest."""
    first, last = dates_of(SPANS[0], now_ms)
    errors: list[dict[str, str]] = []
    try:
        last = date.fromisoformat(date_to) if date_to else last
    except ValueError:
        errors.append({"field": "date_to", "message": "must be a date such as 2026-02-11"})
    try:
        first = date.fromisoformat(date_from) if date_from else last - timedelta(days=SPANS[0].days - 1)
    except (ValueError, OverflowError):
        errors.append({"field": "date_from", "message": "must be a date such as 2026-02-11"})
    if not errors and not (EARLIEST_DAY <= first <= LATEST_DAY and EARLIEST_DAY <= last <= LATEST_DAY):
        errors.append({"field": "date_from", "message": "must, like date_to, lie between 1970 and 2299"})
    if not errors and not first <= last < first + timedelta(days=MAX_DAYS):
        errors.append({"field": "date_to", "message": f"must be 1 to {MAX_DAYS} days from date_from on"})
    if errors:
        raise BadRequest("; ".join(f"{error['field']}: {error['message']}" for error in errors), errors)
    return first, last


def draw(days: Days, span: Span, currency: str) -> Charts:
    """The charts of a span's days."""
    labels, values = days.by_month() if span.months else days.by_day()
    return Charts(
        clicks=column_chart("Clicks", labels, [Series("Clicks", "one", values["clicks"])], wording.count),
        commission=column_chart(
            "Commission",
            labels,
            [
                Series("First tier", "one", values["first_tier_cents"]),
                Series("Second tier", "two", values["second_tier_cents"]),
            ],
            lambda cents: wording.money(cents, currency),
        ),
    )


def _day_ms(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000
