"""Periods, buckets, money and times of the Partner API."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.partner_api.dates import bucket_start, buckets, by_bucket, money, money_report, read_period, timestamp
from reports.periods import Period
from tracker.program import DAY_MS


def ms(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp() * 1000)  # type: ignore[misc, arg-type]


@pytest.mark.parametrize(
    ("date_from", "date_to", "period"),
    [
        ("2026-01-31", "2026-01-31", (ms(2026, 1, 31), ms(2026, 2, 1))),
        ("2026-01-31T08:00:00Z", "2026-01-31T08:00:00Z", (ms(2026, 1, 31, 8), ms(2026, 1, 31, 8, 0, 1))),
        ("2024-02-29", "2024-02-29T23:59:59Z", (ms(2024, 2, 29), ms(2024, 3, 1))),
    ],
)
def test_a_period_includes_both_its_ends(date_from: str, date_to: str, period: tuple[int, int]) -> None:
    assert read_period(date_from, date_to) == (Period(*period), [])


@pytest.mark.parametrize(
    ("date_from", "date_to", "fields"),
    [
        ("2026-02-30", "2026-13-01", ["date_from", "date_to"]),
        ("2026-02-02", "2026-02-01", ["date_from"]),
        ("2026-02-02T00:00:01Z", "2026-02-02T00:00:00Z", ["date_from"]),
        ("2026-2-2", None, ["date_from"]),
        ("", None, ["date_from"]),
        (None, "2026-02-02T00:00:00+01:00", ["date_to"]),
        (None, "2026-02-02T24:00:00Z", ["date_to"]),
        ("2026-02-02\n", None, ["date_from"]),
        ("٢٠٢٦-02-02", None, ["date_from"]),
        ("1969-12-31", "9999-12-31", ["date_from", "date_to"]),
    ],
)
def test_what_is_wrong_with_a_period_is_said(date_from: str | None, date_to: str | None, fields: list[str]) -> None:
    assert [error["field"] for error in read_period(date_from, date_to)[1]] == fields


@pytest.mark.parametrize(
    ("aggregation", "ranges"),
    [
        ("day", [("2026-01-31 00:00:00", "2026-01-31 23:59:59"), ("2026-02-01 00:00:00", "2026-02-01 23:59:59"),
                 ("2026-02-02 00:00:00", "2026-02-02 23:59:59")]),
        ("week", [("2026-01-26 00:00:00", "2026-02-01 23:59:59"), ("2026-02-02 00:00:00", "2026-02-08 23:59:59")]),
        ("month", [("2026-01-01 00:00:00", "2026-01-31 23:59:59"), ("2026-02-01 00:00:00", "2026-02-28 23:59:59")]),
    ],
)  # fmt: skip
def test_buckets_are_whole_and_empty_ones_are_there(aggregation: str, ranges: list[tuple[str, str]]) -> None:
    period, _ = read_period("2026-01-31T12:00:00Z", "2026-02-02T00:00:00Z")
    items = money_report(period, aggregation, [(date(2026, 2, 2), 1820)])["items"]
    assert [(item["date_range"]["from"], item["date_range"]["to"]) for item in items] == ranges
    assert [item["total"] for item in items] == [0] * (len(ranges) - 1) + [18.2]


@given(st.integers(0, 200 * 365 * DAY_MS), st.integers(1, 900 * DAY_MS), st.sampled_from(["day", "week", "month"]))
def test_buckets_follow_each_other_and_cover_the_period(from_ms: int, length: int, aggregation: str) -> None:
    period = Period(from_ms, from_ms + length)
    found = list(buckets(period, aggregation))
    epoch = date(1970, 1, 1).toordinal()
    first, last = (date.fromordinal(epoch + at // DAY_MS) for at in (from_ms, from_ms + length - 1))
    assert all(one.after == following.first for one, following in itertools.pairwise(found))
    assert found[0].first <= first < found[0].after
    assert found[-1].first <= last < found[-1].after
    assert by_bucket([(first, 3), (last, 4)], aggregation).keys() <= {one.first for one in found}
    assert all(bucket_start(one.first, aggregation) == one.first for one in found)


@given(st.integers(-(10**12), 10**12))
def test_money_has_two_decimals_at_most_and_is_exact(cents: int) -> None:
    text = repr(money(cents))
    assert len(text.partition(".")[2]) <= 2
    assert round(float(text) * 100) == cents


def test_what_has_not_happened_is_empty() -> None:
    assert [timestamp(None), timestamp(0), timestamp(ms(2026, 2, 11, 13, 18, 53) + 999)] == [
        "", "", "2026-02-11 13:18:53",
    ]  # fmt: skip
