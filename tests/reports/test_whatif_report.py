"""What-ifs on the hand-made history of world.py: as JSON, CSV, page, and as the command prints them."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from running_app import App

from reports.marketing import whatif
from reports.whatif_command import whatif_report


def asked(app: App, query: str = "") -> Any:
    answer = app.get(f"/v2/reports/whatif?{query}", app.tokens["marketing"])
    assert answer.status == 200, answer.text
    return answer.json


def sums(app: App, query: str) -> dict[str, tuple[int, int]]:
    """Partner → what both tiers would give, and the difference."""
    items = asked(app, query)["items"]
    assert all(tuple(item) == whatif.COLUMNS for item in items)
    return {
        item["partner_id"]: (item["first_tier_then_cents"] + item["second_tier_then_cents"], item["difference_cents"])
        for item in items
    }


def test_today_s_rules_are_the_ledger(app: App) -> None:
    answer = asked(app)
    assert answer["now"] == answer["then"] == {
        "window_days": 120, "first_tier_percent": 20, "second_tier_percent": 5, "allow_self_referral": False,
        "model": "last",
    }  # fmt: skip
    lines = app.admin("/v2/admin/commissions?limit=1000")["items"]
    posted = sum(line["amount_cents"] for line in lines)
    total = answer["total"]
    assert posted == total["first_tier_now_cents"] + total["second_tier_now_cents"] > 0
    assert total["difference_cents"] == answer["moved_licenses"] == 0


# P has L1 (1900 net; P's clicks only), the self-referral L3 (5000), SOL1 that P pays (4320) and SOL2 (10000); recruited
# by Q. L2 (1000) was won by S a day after a click of P, and paid while S was suspended.
@pytest.mark.parametrize(
    ("query", "moved", "expected"),
    [
        ("first_tier_percent=25", 0, {"P": (2975, 595), "S": (0, 0), "Q": (811, 0)}),
        ("second_tier_percent=0", 0, {"P": (2380, 0), "S": (0, 0), "Q": (0, -811)}),
        ("model=first", 1, {"P": (2580, 200), "S": (0, 0), "Q": (861, 50)}),
        ("window_days=1", 0, {"P": (2380, 0), "S": (0, 0), "Q": (811, 0)}),
        ("allow_self_referral=true", 0, {"P": (3380, 1000), "S": (0, 0), "Q": (1061, 250)}),
        (  # 12.5 % of 1900 is 237.5, to even 238
            "model=first&first_tier_percent=12.5&allow_self_referral=true", 1,
            {"P": (238 + 125 + 625 + 1250, 2238 - 2380), "S": (0, 0), "Q": (1111, 300)},
        ),
    ],
)  # fmt: skip
def test_other_rules(app: App, query: str, moved: int, expected: dict[str, tuple[int, int]]) -> None:
    assert sums(app, query) == expected
    assert asked(app, query)["moved_licenses"] == moved


@pytest.mark.parametrize(
    ("query", "field", "says"),
    [
        ("window_days=0", "window_days", "must be a whole number from 1 to 3650"),
        ("window_days=1.5", "window_days", "must be a whole number"),
        ("window_days=99999999999999999999", "window_days", "must be a whole number"),
        ("first_tier_percent=101", "first_tier_percent", "must be a number from 0 to 100"),
        ("second_tier_percent=1.234", "second_tier_percent", "at most two decimals"),
        ("first_tier_percent=nan", "first_tier_percent", "must be a number"),
        ("first_tier_percent=1e999", "first_tier_percent", "must be a number"),
        ("first_tier_percent=much", "first_tier_percent", "must be a number"),
        ("model=linear", "model", "must be one of last, first"),
        ("allow_self_referral=yes", "allow_self_referral", "must be true or false"),
        ("window=3", "window", "is not a parameter"),
        ("format=xml", "format", "must be one of"),
    ],
)
def test_bad_values_are_named(app: App, query: str, field: str, says: str) -> None:
    answer = app.get(f"/v2/reports/whatif?{query}", app.tokens["admin"])
    assert answer.status == 400
    assert [error["field"] for error in answer.json["errors"]] == [field]
    assert says in answer.json["errors"][0]["message"]


def test_csv(app: App) -> None:
    answer = app.get("/v2/reports/whatif?model=first&format=csv", app.tokens["marketing"])
    assert answer.headers["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert {row["partner_id"]: row["difference_cents"] for row in rows} == {"P": "200", "S": "0", "Q": "50"}


def test_page(app: App) -> None:
    cookie = app.sign_in(app.tokens["marketing"])
    empty = app.get("/marketing/whatif", cookie=cookie)
    assert empty.status == 200 and "Change a rule above" in empty.text and 'value="120"' in empty.text
    query = "window_days=120&first_tier_percent=20&second_tier_percent=5&model=first&allow_self_referral=false"
    page = app.get(f"/marketing/whatif?{query}", cookie=cookie)
    assert page.status == 200
    assert "+$2.00" in page.text and "now $8.11" in page.text and "+$0.50" in page.text
    assert '<option value="first" selected>' in page.text
    assert "/marketing/whatif.csv?" in page.text
    same = app.get("/marketing/whatif?window_days=120", cookie=cookie)
    assert "Nobody would earn more or less" in same.text
    wrong = app.get("/marketing/whatif?window_days=soon", cookie=cookie)
    assert wrong.status == 400 and "window_days: must be a whole number" in wrong.text and 'value="soon"' in wrong.text
    download = app.get(f"/marketing/whatif.csv?{query}", cookie=cookie)
    assert download.status == 200 and download.text.count("\r\n") == 4


def test_the_command_s_table(app: App) -> None:
    text = whatif_report(json.loads(json.dumps(asked(app, "model=first&first_tier_percent=25"))), "USD")
    assert text == [
        "now:  last click within 120 days, 20 % and 5 %, a self-referral earns nothing",
        "then: first click within 120 days, 25 % and 5 %, a self-referral earns nothing",
        "",
        "partner  licenses  would be  first tier  would be  second tier  would be  difference",
        "P               4         5      $23.80    $32.25        $0.00     $0.00      +$8.45",
        "Q               0         0       $0.00     $0.00        $8.11     $8.61      +$0.50",
        "total           5         5      $23.80    $32.25        $8.11     $8.61      +$8.95",
        "",
        "For 1 other partners nothing would differ.",
        "1 licenses would be somebody else's, or nobody's.",
        "As of round 1 (load 1); nothing was changed.",
    ]
