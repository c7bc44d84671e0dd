"""The funnel (R19) on the hand-made history of world.py, as JSON, CSV and page."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from running_app import App

NUMBERS = ("clicks", "visitors", "trials", "qualified", "card_added", "paid", "expired", "revenue_cents")


def funnel(app: App, query: str = "") -> dict[str, tuple[int, ...]]:
    answer = app.get(f"/v2/reports/funnel?{query}", app.tokens["marketing"])
    assert answer.status == 200, answer.text
    assert all(list(item) == ["group", *NUMBERS] for item in answer.json["items"])
    return {item["group"]: tuple(item[name] for name in NUMBERS) for item in answer.json["items"]}


# The history's countable clicks: Q's 1; P's 10, 11, 20, 40, 50; S's 21. Not P's bot (30), not suspended S (31).
# L1 was won by 11, L2 by 21, L3 (a self-referral, which counts) by 40.
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"": (7, 5, 3, 1, 1, 3, 0, 1900 + 1000 + 5000)}),
        ("group_by=none&partner_id=", {"": (7, 5, 3, 1, 1, 3, 0, 7900)}),
        (
            "group_by=partner",
            {"P": (5, 4, 2, 1, 1, 2, 0, 6900), "Q": (1, 1, 0, 0, 0, 0, 0, 0), "S": (1, 1, 1, 0, 0, 1, 0, 1000)},
        ),
        (
            "group_by=product",
            {"livechat": (6, 4, 3, 1, 1, 3, 0, 7900), "partner_program": (1, 1, 0, 0, 0, 0, 0, 0)},
        ),
        ("group_by=campaign&partner_id=P", {
            "": (3, 3, 2, 1, 1, 2, 0, 6900), "=spring": (1, 1, 0, 0, 0, 0, 0, 0), "spring": (1, 1, 0, 0, 0, 0, 0, 0),
        }),
        ("group_by=day&partner_id=P", {
            "2026-01-09": (1, 1, 0, 0, 0, 0, 0, 0),
            "2026-01-21": (2, 1, 1, 1, 1, 1, 0, 1900),
            "2026-01-27": (1, 1, 1, 0, 0, 1, 0, 5000),
            "2026-02-09": (1, 1, 0, 0, 0, 0, 0, 0),
        }),
        ("group_by=week&partner_id=P&date_to=2026-01-25", {
            "2026-01-05": (1, 1, 0, 0, 0, 0, 0, 0), "2026-01-19": (2, 1, 1, 1, 1, 1, 0, 1900),
        }),
        ("group_by=month&product=livechat", {
            "2026-01-01": (5, 3, 3, 1, 1, 3, 0, 7900), "2026-02-01": (1, 1, 0, 0, 0, 0, 0, 0),
        }),
        ("group_by=country", {
            "PL": (4, 3, 2, 1, 1, 2, 0, 6900), "DE": (2, 1, 1, 0, 0, 1, 0, 1000), "": (1, 1, 0, 0, 0, 0, 0, 0),
        }),
        ("group_by=device&country=de", {"desktop": (2, 1, 1, 0, 0, 1, 0, 1000)}),
        ("campaign=spring", {"": (1, 1, 0, 0, 0, 0, 0, 0)}),
        (
            "device=mobile&date_from=2026-01-21T12:00:00Z&date_to=2026-01-21T12:00:00.001Z",
            {"": (1, 1, 1, 1, 1, 1, 0, 1900)},
        ),
        ("date_from=2026-01-21T12:00:00Z&date_to=2026-01-21T12:00:00Z", {"": (0,) * 8}),
        ("date_from=2027-01-01&group_by=day", {}),
        ("partner_id=nobody", {"": (0,) * 8}),
    ],
)  # fmt: skip
def test_numbers(app: App, query: str, expected: dict[str, tuple[int, ...]]) -> None:
    assert funnel(app, query) == expected


def test_time_groups_are_in_order_and_others_by_clicks(app: App) -> None:
    days = list(funnel(app, "group_by=day"))
    assert days == sorted(days)
    assert next(iter(funnel(app, "group_by=partner"))) == "P"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("group_by=hour", "group_by"),
        ("date_from=soon", "date_from"),
        ("date_to=2026-13-01", "date_to"),
        ("format=xml", "format"),
        ("partnerid=P", "partnerid"),
        ("campaign=a%00b", "campaign"),
        ("device=" + "x" * 500, "device"),
    ],
)
def test_bad_values_are_named(app: App, query: str, field: str) -> None:
    answer = app.get(f"/v2/reports/funnel?{query}", app.tokens["admin"])
    assert answer.status == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert [error["field"] for error in answer.json["errors"]] == [field]


@pytest.mark.parametrize("value", ["a'b", "a\\", "a\tb".replace("\t", "%09"), "{x:String}", "%25", "a;b", "ü🙂"])
def test_odd_values_are_only_values(app: App, value: str) -> None:
    from urllib.parse import quote

    answer = app.get(f"/v2/reports/funnel?campaign={quote(value, safe='%')}", app.tokens["admin"])
    assert answer.status == (400 if "%09" in value else 200), answer.text


def test_csv_is_safe_in_a_spreadsheet(app: App) -> None:
    answer = app.get("/v2/reports/funnel?group_by=campaign&format=csv", app.tokens["marketing"])
    assert answer.headers["Content-Type"].startswith("text/csv")
    assert "attachment" in answer.headers["Content-Disposition"]
    rows: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(answer.text)))
    by_group = {row["group"]: row for row in rows}
    assert set(by_group) == {"", "'=spring", "spring"}
    assert by_group[""]["revenue_cents"] == "7900"


def test_page(app: App) -> None:
    cookie = app.sign_in(app.tokens["marketing"])
    query = "date_from=2026-01-01&date_to=2026-02-10&group_by=week"
    page = app.get(f"/marketing/funnel?{query}&measure=paid", cookie=cookie)
    assert page.status == 200
    assert "<svg" in page.text and "Paid over time as a table" in page.text
    assert f"/marketing/funnel.csv?{query}".replace("&", "&amp;") in page.text
    assert "No clicks in this period" in app.get("/marketing/funnel?date_from=2027-01-01", cookie=cookie).text
    assert "nro.net" not in page.text
    assert "nro.net" in app.get("/marketing/funnel?group_by=country&date_from=2026-01-01", cookie=cookie).text
    wrong = app.get("/marketing/funnel?date_from=soon", cookie=cookie)
    assert wrong.status == 400 and "date_from: must be a date" in wrong.text
    download = app.get("/marketing/funnel.csv?date_from=2026-01-01&group_by=campaign&measure=paid", cookie=cookie)
    assert download.status == 200 and "'=spring" in download.text
