"""The funnel (R19): what is asked for, what comes out, and how it is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from reports.access import Viewer
from reports.filters import one_of, read_query
from reports.periods import Period, read_period
from reports.room import Room
from reports.spreadsheet import csv_answer

GROUPINGS = ("none", "day", "week", "month", "partner", "campaign", "product", "country", "device")
FILTERS = ("product", "partner_id", "campaign", "country", "device")
STAGES = ("clicks", "visitors", "trials", "qualified", "card_added", "paid", "expired")
COLUMNS = ("group", *STAGES, "revenue_cents")


@dataclass(frozen=True, slots=True)
class FunnelRequest:
    """A funnel's cohort and grouping. `filters` has one text per name of FILTERS, empty for all."""

    period: Period
    filters: Mapping[str, str]
    group_by: str


def read_funnel(values: Mapping[str, str]) -> FunnelRequest:
    """A funnel as query values ask for it. Raises BadRequest that names the bad field."""
    filters = {name: values[name] for name in FILTERS}
    filters["country"] = filters["country"].upper()
    period = read_period(values["date_from"], values["date_to"])
    return FunnelRequest(period, filters, one_of("group_by", values["group_by"], GROUPINGS))


async def funnel(room: Room, asked: FunnelRequest) -> list[dict[str, Any]]:
    """One item per group with the keys of COLUMNS; without grouping one item, of zeros where nothing happened."""
    rows = await room.rows(
        "funnel", from_ms=asked.period.from_ms, to_ms=asked.period.to_ms, group_by=asked.group_by, **asked.filters
    )
    items = [{column: row["group_name" if column == "group" else column] for column in COLUMNS} for row in rows]
    if not items and asked.group_by == "none":
        return [{"group": "", **dict.fromkeys(COLUMNS[1:], 0)}]
    return items


async def funnel_call(room: Room, viewer: Viewer, request: Request) -> Response:
    """`GET /v2/reports/funnel`."""
    values = read_query(request, ("date_from", "date_to", *FILTERS, "group_by", "format"))
    asked = read_funnel(values)
    answer_format = one_of("format", values["format"], ("json", "csv"))
    items = await funnel(room, asked)
    if answer_format == "csv":
        return csv_answer(f"funnel-by-{asked.group_by}", COLUMNS, items)
    return JSONResponse({"items": items})
