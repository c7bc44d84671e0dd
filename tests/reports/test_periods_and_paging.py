"""Dates, cursors, limits and CSV cells, as pure functions."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from reports.marketing.presets import presets
from reports.paging import TOP, After, read_cursor, read_limit, write_cursor
from reports.periods import EARLIEST_MS, LATEST_MS, read_period
from reports.spreadsheet import csv_text
from tracker.errors import BadRequest


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("date_from", "date_to", "expected"),
    [
        ("", "", (EARLIEST_MS, LATEST_MS)),
        ("2026-02-11", "", (ms("2026-02-11"), LATEST_MS)),
        ("2026-02-11", "2026-02-11", (ms("2026-02-11"), ms("2026-02-12"))),
        ("", "2024-02-29", (EARLIEST_MS, ms("2024-03-01"))),
        ("2026-02-11T13:00:00Z", "2026-02-11T13:00:00Z", (ms("2026-02-11T13:00:00"), ms("2026-02-11T13:00:00"))),
        ("2026-02-11T13:00:00.5+02:00", "", (ms("2026-02-11T11:00:00.500"), LATEST_MS)),
        ("2026-02-11T13:00:00 02:00", "", (ms("2026-02-11T11:00:00"), LATEST_MS)),
        ("2026-02-11t13:00:00.123999z", "", (ms("2026-02-11T13:00:00.123"), LATEST_MS)),
        ("1970-01-01", "2299-12-30", (0, LATEST_MS)),
    ],
)
def test_periods(date_from: str, date_to: str, expected: tuple[int, int]) -> None:
    period = read_period(date_from, date_to)
    assert (period.from_ms, period.to_ms) == expected


@pytest.mark.parametrize(
    ("date_from", "date_to", "field"),
    [
        ("yesterday", "", "date_from"),
        ("2026-02-30", "", "date_from"),
        ("2026-2-3", "", "date_from"),
        ("20260211", "", "date_from"),
        ("2026-02-11T13:00:00", "", "date_from"),
        ("2026-02-11T25:00:00Z", "", "date_from"),
        ("1969-12-31", "", "date_from"),
        ("", "9999-12-31", "date_to"),
        ("", "0000-01-01", "date_to"),
        ("2026-02-12", "2026-02-10", "date_to"),
        ("\u0662\u0660\u0662\u0666-02-11", "", "date_from"),
    ],
)
def test_bad_dates_name_the_field(date_from: str, date_to: str, field: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read_period(date_from, date_to)
    assert [error["field"] for error in refused.value.errors] == [field]


def test_presets_end_today() -> None:
    named = {one.label: (one.date_from, one.date_to) for one in presets(ms("2026-03-01T23:59:59"))}
    assert named["Last 7 days"] == ("2026-02-23", "2026-03-01")
    assert named["This month"] == ("2026-03-01", "2026-03-01")
    assert named["Last month"] == ("2026-02-01", "2026-02-28")


@pytest.mark.parametrize("after", [After(0, ""), After(1_767_225_600_123, "019c-ä'\\"), After(LATEST_MS, "x" * 64)])
def test_cursors_come_back(after: After) -> None:
    cursor = write_cursor(after)
    assert read_cursor(cursor) == after
    assert cursor.isascii() and not set(cursor) & set("+/=&? ")


def test_an_empty_cursor_is_the_top() -> None:
    assert read_cursor("") == TOP


@pytest.mark.parametrize(
    "cursor",
    ["x", "!!!", "bm90IGpzb24", "W10", "WzEsMl0", "WyJhIiwiYiJd", "Wy0xLCJhIl0", "WzEuNSwiYSJd", "W3RydWUsImEiXQ",
     "a" * 500, write_cursor(After(LATEST_MS + 1, "a")), "é", "Wzk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5LCJhIl0",
     "WzEsIlx1ZDgwMCJd"],
)  # fmt: skip
def test_foreign_cursors_are_refused(cursor: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read_cursor(cursor)
    assert refused.value.errors[0]["field"] == "cursor"


@pytest.mark.parametrize(("text", "expected"), [("", 100), ("1", 1), ("1000", 1000)])
def test_limits(text: str, expected: int) -> None:
    assert read_limit(text, 1000) == expected


@pytest.mark.parametrize("text", ["0", "1001", "-1", "1.5", "ten", "\u0661", "9" * 30, "1e3"])
def test_bad_limits(text: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read_limit(text, 1000)
    assert refused.value.errors[0]["field"] == "limit"


def test_csv_cells_never_run_as_formulas() -> None:
    rows = [{"a": text, "b": -5} for text in ("=1+1", "+1", "-1", "@x", "\tx", " =1", 'a"b,c\nd', "ok", None)]
    assert csv_text(("a", "b"), rows).split("\r\n") == [
        "a,b", "'=1+1,-5", "'+1,-5", "'-1,-5", "'@x,-5", "'\tx,-5", "' =1,-5", '"a""b,c\nd",-5', "ok,-5", ",-5", "",
    ]  # fmt: skip
