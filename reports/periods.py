"""Periods: `date_from` and `date_to` as callers give them.

A period is two moments [from, to) in milliseconds since 1970, UTC. `date_from` is inclusive; `date_to` is
exclusive, and a bare date as `date_to` means the end of that day.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tracker.errors import BadRequest
from tracker.program import DAY_MS

EARLIEST_MS = 0
LATEST_MS = 10_413_705_600_000  # 2299-12-31, the last day that DateTime64(3) and our arithmetic both hold

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.(\d+))?(?:Z|[+-]\d\d:\d\d)", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Period:
    """The moments [from_ms, to_ms). Without bounds it is all of time."""

    from_ms: int = EARLIEST_MS
    to_ms: int = LATEST_MS


ALL_TIME = Period()


def read_period(date_from: str, date_to: str) -> Period:
    """The period of two query values, empty for "no bound". Raises BadRequest that names every bad field."""
    errors: list[dict[str, str]] = []
    from_ms, to_ms = EARLIEST_MS, LATEST_MS
    try:
        from_ms = _moment(date_from) if date_from else EARLIEST_MS
    except ValueError as error:
        errors.append({"field": "date_from", "message": str(error)})
    try:
        if date_to:
            to_ms = _moment(date_to) + (DAY_MS if _DATE.fullmatch(date_to) else 0)
    except ValueError as error:
        errors.append({"field": "date_to", "message": str(error)})
    if not errors and date_from and date_to and to_ms < from_ms:
        errors.append({"field": "date_to", "message": "is before date_from"})
    if errors:
        raise BadRequest("; ".join(f"{error['field']}: {error['message']}" for error in errors), errors)
    return Period(from_ms, min(to_ms, LATEST_MS))


def _moment(text: str) -> int:
    # A "+" of a zone that was not percent-encoded arrives as a blank; there is only one thing it can mean.
    plain = re.sub(r" (\d\d:\d\d)$", r"+\1", text.strip().upper())
    time = _TIME.fullmatch(plain)
    if not time and not _DATE.fullmatch(plain):
        raise ValueError("must be a date such as 2026-02-11 or an RFC 3339 time such as 2026-02-11T13:18:53Z")
    digits = (time[1] or "") if time else ""
    try:
        at = datetime.fromisoformat(plain.replace(f".{digits}", "") if digits else plain)
        at = at if time else at.replace(tzinfo=UTC)
        moment = (at - _EPOCH) // timedelta(milliseconds=1) + int(digits[:3].ljust(3, "0"))
    except (ValueError, OverflowError):
        raise ValueError("is not a date or time that exists") from None
    if not EARLIEST_MS <= moment <= LATEST_MS - DAY_MS:
        raise ValueError("must lie between 1970 and 2299")
    return moment


def utc_date(moment: int) -> str:
    """The day of a moment in ms, as an ISO date."""
    return datetime.fromtimestamp(moment // 1000, UTC).date().isoformat()
