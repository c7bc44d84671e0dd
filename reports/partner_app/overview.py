"""A partner's numbers: balance by tier, and the last 30 days."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from reports import wording
from reports.charts import ColumnChart, Series, column_chart
from reports.room import Room
from tracker.program import DAY_MS

DAYS = 30


@dataclass(frozen=True, slots=True)
class Balance:
    """Commission by tier and what of it is blocked (R12), in cents, over all time."""

    first_tier_cents: int
    second_tier_cents: int
    blocked_cents: int

    @property
    def commission_cents(self) -> int:
        return self.first_tier_cents + self.second_tier_cents

    @property
    def balance_cents(self) -> int:
        """R18, as far as nothing was withdrawn."""
        return self.commission_cents - self.blocked_cents


@dataclass(frozen=True, slots=True)
class LastDays:
    """Totals of the last 30 days and their charts."""

    totals: Mapping[str, int]
    clicks: ColumnChart
    commission: ColumnChart


async def read_balance(room: Room, partner_id: str) -> Balance:
    """A partner's balance now."""
    rows = await room.rows("partner_balance", partner_id=partner_id, now_ms=room.now_ms())
    by_tier = {row["tier"]: row["commission_cents"] for row in rows}
    return Balance(by_tier.get(1, 0), by_tier.get(2, 0), sum(row["blocked_cents"] for row in rows))


async def read_last_days(room: Room, partner_id: str) -> LastDays:
    """A partner's last 30 days, today included."""
    now_ms = room.now_ms()
    to_ms = (now_ms // DAY_MS + 1) * DAY_MS
    from_ms = to_ms - DAYS * DAY_MS
    rows = await room.rows("partner_days", partner_id=partner_id, from_ms=from_ms, to_ms=to_ms)
    by_day = {row["day_text"]: row for row in rows}
    first = datetime.fromtimestamp(from_ms / 1000, UTC).date()
    days = [first + timedelta(days=i) for i in range(DAYS)]
    names = ("clicks", "signups", "first_tier_cents", "second_tier_cents")
    values = {name: [by_day.get(day.isoformat(), {}).get(name, 0) for day in days] for name in names}
    labels = [f"{day.day} {day:%b}" for day in days]
    currency = room.program.currency
    return LastDays(
        totals={name: sum(series) for name, series in values.items()},
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
