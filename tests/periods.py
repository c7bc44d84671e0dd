"""Periods as they are asked for, and the calendar by which the Partner API reports."""

from __future__ import annotations

import calendar
import random
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from tests.reference import DAY

AGGREGATIONS = ("day", "week", "month")


@dataclass(frozen=True)
class Span:
    """A period as it is asked for, and its moments [begins, ends)."""

    date_from: str
    date_to: str
    begins: int
    ends: int

    def __contains__(self, moment: object) -> bool:
        return isinstance(moment, int) and self.begins <= moment < self.ends

    @property
    def query(self) -> dict[str, str]:
        return {"date_from": self.date_from, "date_to": self.date_to}


def day_of(moment: int) -> date:
    return datetime.fromtimestamp(moment // 1000, UTC).date()


def start_of(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000


def whole_days(first: date, last: date) -> Span:
    return Span(str(first), str(last), start_of(first), start_of(last + timedelta(days=1)))


def span_between(first: int, last: int, chance: random.Random) -> Span:
    """The period from one moment through another: as days, or to the second and so around them closely."""
    if chance.random() < 0.5:
        return whole_days(day_of(first), day_of(last))
    begins, last_second = first // 1000 * 1000, last // 1000 * 1000
    return Span(second(begins), second(last_second), begins, last_second + 1000)


def second(moment: int) -> str:
    return f"{datetime.fromtimestamp(moment // 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def shown(moment: int) -> str:
    """A time as the Partner API shows it."""
    return f"{datetime.fromtimestamp(moment // 1000, UTC):%Y-%m-%d %H:%M:%S}"


def months_later(moment: int, months: int) -> int:
    """The same time of day, on the same day of a later month or its last one."""
    at = datetime.fromtimestamp(moment / 1000, UTC)
    year, month = divmod(at.year * 12 + at.month - 1 + months, 12)
    day = min(at.day, calendar.monthrange(year, month + 1)[1])
    return start_of(date(year, month + 1, day)) + moment % DAY


def bucket_of(day: date, aggregation: str) -> date:
    """The first day of the bucket that a day is in."""
    if aggregation == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if aggregation == "month" else day


def last_of(first: date, aggregation: str) -> date:
    """The last day of the bucket that begins on `first`."""
    days = {"day": 1, "week": 7, "month": calendar.monthrange(first.year, first.month)[1]}[aggregation]
    return first + timedelta(days=days - 1)
