"""The funnel's page: filters, a chart of the groups, the table below it, and its CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from reports import pages, wording
from reports.access import Viewer
from reports.charts import ColumnChart, Series, bar_width, column_chart
from reports.filters import one_of, read_query
from reports.marketing.funnel import COLUMNS, FILTERS, GROUPINGS, FunnelRequest, funnel, read_funnel
from reports.marketing.presets import Preset, preset_links, presets, read_values
from reports.periods import Period, utc_date
from reports.room import Room
from reports.spreadsheet import csv_answer
from tracker.countries import BUNDLED
from tracker.errors import BadRequest

NAMES = ("date_from", "date_to", *FILTERS, "group_by", "measure")
MEASURES = {
    "clicks": "Clicks",
    "visitors": "Visitors",
    "trials": "Trials",
    "qualified": "Qualified",
    "card_added": "Card added",
    "paid": "Paid",
    "expired": "Expired",
    "revenue_cents": "Revenue",
}
BUCKET_DAYS = {"day": 1, "week": 7, "month": 31}  # enough days to reach the next bucket
MAX_COLUMNS = 400
MAX_ROWS_SHOWN = 500  # the CSV has them all
DEFAULT_PRESET = 1  # last 30 days


@dataclass(frozen=True, slots=True)
class FunnelStep:
    """One stage of the whole cohort: how many, how many of the stage before, and its bar (0–100)."""

    name: str
    number: int
    rate: str
    width: float


async def funnel_page(room: Room, viewer: Viewer, request: Request) -> Response:
    shortcuts = presets(room.now_ms())
    try:
        values = read_values(request, NAMES, shortcuts[DEFAULT_PRESET])
        values["group_by"] = one_of("group_by", values["group_by"] or "day", GROUPINGS)
        measure = one_of("measure", values["measure"], tuple(MEASURES))
        asked = read_funnel(values)
        message, status = "", 200
    except BadRequest as problem:
        message, status = problem.detail, 400
        values = {name: request.query_params.get(name, "")[:100] for name in NAMES} | {"group_by": "day"}
        return await _show(room, request, values, shortcuts, [], [], None, "clicks", message, status)
    items = await funnel(room, asked)
    if asked.group_by not in BUCKET_DAYS:
        items.sort(key=lambda item: -item[measure])
    totals = items
    if values["group_by"] != "none":
        totals = await funnel(room, read_funnel({**values, "group_by": "none"}))
    chart = _chart(asked, items, measure, room)
    return await _show(room, request, values, shortcuts, items, steps(totals[0]), chart, measure, message, status)


async def funnel_csv(room: Room, viewer: Viewer, request: Request) -> Response:
    """The page's table as a download."""
    values = read_query(request, NAMES)
    asked = read_funnel({**values, "group_by": values["group_by"] or "day"})
    return csv_answer(f"funnel-by-{asked.group_by}", COLUMNS, await funnel(room, asked))


def steps(total: Mapping[str, Any]) -> list[FunnelStep]:
    """The cohort's way from click to payment; each rate is of the stage that it comes from."""
    before = {"visitors": "clicks", "trials": "visitors"} | dict.fromkeys(("qualified", "card_added", "paid"), "trials")
    return [
        FunnelStep(
            name=MEASURES[stage],
            number=total[stage],
            rate=f"{wording.share(total[stage], total[before[stage]])} of {before[stage]}" if stage in before else "",
            width=bar_width(total[stage], total["clicks"]),
        )
        for stage in ("clicks", *before)
    ]


def chart_of(buckets: Sequence[date], items: Sequence[Mapping[str, Any]], measure: str, currency: str) -> ColumnChart:
    """Groups of time as columns, also for the buckets in which nothing happened."""
    values = {item["group"]: item[measure] for item in items}

    def write(value: int) -> str:
        return wording.money(value, currency) if measure == "revenue_cents" else wording.count(value)

    title = f"{MEASURES[measure]} over time"
    series = Series(MEASURES[measure], "one", [values.get(bucket.isoformat(), 0) for bucket in buckets])
    return column_chart(title, [f"{bucket.day} {bucket:%b %Y}" for bucket in buckets], [series], write)


def time_buckets(first: str, last: str, group_by: str) -> list[date]:
    """The first days of all days, weeks or months from the one of `first` to the one of `last`, ISO dates."""
    bucket, end = _bucket_of(date.fromisoformat(first), group_by), date.fromisoformat(last)
    buckets = []
    while bucket <= end:
        buckets.append(bucket)
        bucket = _bucket_of(bucket + timedelta(days=BUCKET_DAYS[group_by]), group_by)
    return buckets


def _bucket_of(day: date, group_by: str) -> date:
    if group_by == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if group_by == "month" else day


def _chart(asked: FunnelRequest, items: Sequence[Mapping[str, Any]], measure: str, room: Room) -> ColumnChart | None:
    """The chart of a funnel by time; None for other groups, and for so many buckets that none would be seen."""
    if asked.group_by not in BUCKET_DAYS or not items:
        return None
    bounded_from = asked.period.from_ms > Period().from_ms
    first = utc_date(asked.period.from_ms) if bounded_from else items[0]["group"]
    last = utc_date(min(asked.period.to_ms, room.now_ms() + 1) - 1)
    buckets = time_buckets(first, max(last, items[-1]["group"]), asked.group_by)
    return chart_of(buckets, items, measure, room.program.currency) if len(buckets) <= MAX_COLUMNS else None


async def _show(
    room: Room,
    request: Request,
    values: Mapping[str, str],
    shortcuts: Sequence[Preset],
    items: Sequence[Mapping[str, Any]],
    total_steps: Sequence[FunnelStep],
    chart: ColumnChart | None,
    measure: str,
    message: str,
    status: int,
) -> Response:
    most = max((item[measure] for item in items), default=0)
    kept = {name: value for name, value in values.items() if value}
    return await pages.show(
        request,
        "marketing/funnel.html",
        status,
        values=values,
        message=message,
        presets=preset_links(shortcuts, values),
        groupings=GROUPINGS,
        measures=MEASURES,
        measure=measure,
        items=items[:MAX_ROWS_SHOWN],
        widths=[bar_width(item[measure], most) for item in items[:MAX_ROWS_SHOWN]],
        left_off=max(0, len(items) - MAX_ROWS_SHOWN),
        steps=total_steps,
        chart=chart,
        csv_query=urlencode(kept),
        countries_are_bundled=room.settings.countries == BUNDLED,
    )
