"""Periods with a name, which the pages offer, and have where none is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from urllib.parse import urlencode

from starlette.requests import Request

from reports.filters import read_query


@dataclass(frozen=True, slots=True)
class Preset:
    """A period with a name, as the pages offer it. Dates are ISO texts, both ends included."""

    label: str
    date_from: str
    date_to: str


def presets(now_ms: int) -> list[Preset]:
    """The periods that people ask for most, seen from `now_ms`."""
    today = datetime.fromtimestamp(now_ms / 1000, UTC).date()
    month = today.replace(day=1)
    last_month_end = month - timedelta(days=1)

    def days(count: int) -> date:
        return today - timedelta(days=count - 1)

    return [
        Preset("Last 7 days", days(7).isoformat(), today.isoformat()),
        Preset("Last 30 days", days(30).isoformat(), today.isoformat()),
        Preset("Last 90 days", days(90).isoformat(), today.isoformat()),
        Preset("This month", month.isoformat(), today.isoformat()),
        Preset("Last month", last_month_end.replace(day=1).isoformat(), last_month_end.isoformat()),
        Preset("This year", today.replace(month=1, day=1).isoformat(), today.isoformat()),
    ]


def read_values(request: Request, names: Sequence[str], default: Preset) -> dict[str, str]:
    """The values of a page's query, with the dates of `default` where it has none. Raises BadRequest."""
    values = dict(read_query(request, names))
    if "date_from" not in request.query_params and "date_to" not in request.query_params:
        values.update(date_from=default.date_from, date_to=default.date_to)
    return values


def preset_links(offered: Sequence[Preset], values: Mapping[str, str]) -> list[tuple[str, str, bool]]:
    """Label, query and whether it is the current one, of each period that is offered, with the other values."""
    kept = {name: value for name, value in values.items() if value and name not in ("date_from", "date_to")}
    return [
        (
            one.label,
            urlencode({**kept, "date_from": one.date_from, "date_to": one.date_to}),
            (one.date_from, one.date_to) == (values["date_from"], values["date_to"]),
        )
        for one in offered
    ]
