"""What is shown, as pure functions: charts, words, steps of a chain, lines as their partner sees them."""

from __future__ import annotations

from datetime import date

import pytest

from reports import wording
from reports.charts import HEIGHT, Series, bar_width, column_chart
from reports.commissions import for_partner
from reports.marketing.pages import steps, time_buckets
from reports.partner_app.chain_words import chain_words
from tracker.program import Program


def test_columns_stack_up_and_hang_down() -> None:
    chart = column_chart("T", ["a", "b"], [Series("x", "one", [30, -10]), Series("y", "two", [10, 0])], str)
    assert (chart.top_label, chart.bottom_label, chart.zero_y) == ("40", "-10", HEIGHT * 40 / 50)
    assert [(bar.y, bar.height, bar.style) for bar in chart.bars] == [
        (40, 120, "one"),
        (0, 40, "two"),
        (160, 40, "one"),
    ]
    assert chart.bars[1].title == "a – y: 10"
    assert chart.rows == [("a", ["30", "10"]), ("b", ["-10", "0"])]


@pytest.mark.parametrize("values", [[], [0, 0]])
def test_a_chart_of_nothing_is_empty(values: list[int]) -> None:
    chart = column_chart("T", ["d"] * len(values), [Series("x", "one", values)], str)
    assert chart.is_empty and chart.bars == []


def test_bars_in_tables() -> None:
    assert [bar_width(value, 200) for value in (200, 100, 0, 1)] == [100, 50, 0, 0.8]
    assert bar_width(0, 0) == bar_width(-5, 10) == 0


@pytest.mark.parametrize(
    ("group_by", "expected"),
    [
        ("day", [date(2025, 12, 31), date(2026, 1, 1), date(2026, 1, 2)]),
        ("week", [date(2025, 12, 29)]),
        ("month", [date(2025, 12, 1), date(2026, 1, 1)]),
    ],
)
def test_time_buckets(group_by: str, expected: list[date]) -> None:
    assert time_buckets("2025-12-31", "2026-01-02", group_by) == expected


def test_every_month_of_a_year_is_a_bucket() -> None:
    assert len(time_buckets("2024-01-31", "2024-12-01", "month")) == 12


def test_the_whole_cohort_in_steps() -> None:
    total = {"clicks": 200, "visitors": 100, "trials": 10, "qualified": 5, "card_added": 0, "paid": 12}
    assert [(one.name, one.number, one.rate, one.width) for one in steps(total)] == [
        ("Clicks", 200, "", 100),
        ("Visitors", 100, "50.0 % of clicks", 50),
        ("Trials", 10, "10.0 % of visitors", 5),
        ("Qualified", 5, "50.0 % of trials", 2.5),
        ("Card added", 0, "0.0 % of trials", 0),
        ("Paid", 12, "120.0 % of trials", 6),
    ]


@pytest.mark.parametrize(
    ("cents", "currency", "expected"),
    [
        (0, "USD", "$0.00"),
        (-5, "USD", "−$0.05"),
        (123_456_789, "USD", "$1,234,567.89"),
        (100, "EUR", "1.00 EUR"),
    ],
)
def test_money(cents: int, currency: str, expected: str) -> None:
    assert wording.money(cents, currency) == expected


def test_other_words() -> None:
    assert (wording.percent(2000), wording.percent(1250), wording.share(1, 0)) == ("20 %", "12.5 %", "–")
    assert wording.minute(1_767_225_600_000) == "1 Jan 2026, 00:00"
    assert wording.words(wording.STAGES, "brand_new-stage") == "brand new stage"


@pytest.mark.parametrize(
    ("partner_id", "tier", "reason", "expected"),
    [
        ("A", 1, "binding moved from A to B (R16: a late click)",
         "binding moved from A to another partner (R16: a late click)"),
        ("B", 1, "binding moved from nobody to B (R16: a late fact)",
         "binding moved from nobody to B (R16: a late fact)"),
        ("Q", 2, "binding moved from R to Z (R16: a late click)",
         "binding moved from R to another partner (R16: a late click)"),
        ("Q", 2, "recruiter of R moved from X to Q (R16: a late fact)",
         "recruiter of R moved from another partner to Q (R16: a late fact)"),
        ("A", 1, "rate changed from 20 % to 15 % (R10)", "rate changed from 20 % to 15 % (R10)"),
        ("A", 1, "", ""),
    ],
)  # fmt: skip
def test_corrections_do_not_tell_which_other_partner(partner_id: str, tier: int, reason: str, expected: str) -> None:
    line = {"partner_id": partner_id, "referred_id": "R" if tier == 2 else "", "tier": tier, "reason": reason,
            "license_id": "L", "payment_id": "p"}  # fmt: skip
    seen = for_partner(line)
    assert seen["reason"] == expected
    assert (seen["license_id"], seen["payment_id"]) == ((None, None) if tier == 2 else ("L", "p"))


def test_a_solution_license_in_words() -> None:
    license = {"step": "license", "license_id": "L", "product": "livechat", "client_email_masked": "a…b@c…d",
               "discount_cents": 580, "is_blocked": True}  # fmt: skip
    signup = {"step": "signup", "origin": "solution", "started_at": "2026-01-01T00:00:00.000Z", "rule": "R5",
              "text": "R5: it belongs to the partner who created it; no click can take it over"}  # fmt: skip
    told = chain_words({"steps": [license, signup, {"step": "recruiter", "partner_id": "Q"}]}, Program())
    assert [one.title for one in told] == ["LiveChat license L", "You created the license", "Recruited by Q"]
    assert told[0].text.startswith("Client a…b@c…d. You paid, $5.80 less. It is on hold")
    assert told[1].text == "It belongs to the partner who created it; no click can take it over."
