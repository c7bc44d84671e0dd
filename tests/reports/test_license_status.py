"""Trial, paid, expired: a status follows the clock, to the millisecond, and is the same wherever it is shown."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import world
from running_app import App

from attribution.rebuild import rebuild_redis
from reports.room import QUERIES
from tracker.events import LicenseTransferred, SignedUp, SolutionLicenseCreated, SubscriptionChanged
from tracker.program import DAY_MS, Program

NOW = world.NOW


def signup(license_id: str, ends_at: int, days: int, **more: Any) -> SignedUp:
    """A license that named P, whose trial of `days` ends at a moment."""
    made = world.signup(license_id, 0, None, f"{license_id}@client.example")
    return replace(made, signed_up_at=ends_at - days * DAY_MS, partner_hint="P", **more)


def deal(days: int) -> str:
    return json.dumps({"deal": {"campaign": "pp_x", "trial_days": days, "coupon": None}})


def created(license_id: str, created_at: int, payer: str = "client", trial_days: int | None = None) -> Any:
    return SolutionLicenseCreated(
        license_id=license_id, created_at=created_at, product="livechat", partner_id="P", payment_origin=payer,
        data_center="us-south1", trial_days=trial_days, digest="",
    )  # fmt: skip


def transferred(license_id: str, at: int) -> Any:
    return LicenseTransferred(event_id=f"t-{license_id}", license_id=license_id, occurred_at=at, digest="")


def subscribed(license_id: str, kind: str, closes_at: int | None) -> Any:
    return SubscriptionChanged(
        event_id=f"s-{license_id}", license_id=license_id, occurred_at=NOW - 40 * DAY_MS, number=1, kind=kind,
        plan="team", billing_cycle="monthly", seats=1, started_at=NOW - 40 * DAY_MS, closes_at=closes_at, digest="",
    )  # fmt: skip


def paid(license_id: str, at: int) -> Any:
    return replace(world.paid(f"p-{license_id}", license_id, 0, 2900), paid_at=at)


LONG_AGO = NOW - 60 * DAY_MS

AFFILIATE: dict[str, tuple[tuple[Any, ...], str]] = {
    "default-over": ((signup("default-over", NOW, 14),), "expired"),
    "default-on": ((signup("default-on", NOW + 1, 14),), "trial"),
    "site-over": ((signup("site-over", NOW, 30, trial_days=30),), "expired"),
    "site-on": ((signup("site-on", NOW + 1, 30, trial_days=30),), "trial"),
    "deal-over": ((signup("deal-over", NOW, 21, answered=deal(21)),), "expired"),
    "deal-on": ((signup("deal-on", NOW + 1, 21, answered=deal(21)),), "trial"),
    "paid-late": ((signup("paid-late", NOW - DAY_MS, 14), paid("paid-late", NOW - 1)), "paid"),
}
"""License that came by P's name → its facts, and its status."""

SOLUTION: dict[str, tuple[tuple[Any, ...], str]] = {
    "sol-over": ((created("sol-over", NOW - 14 * DAY_MS),), "expired"),
    "sol-on": ((created("sol-on", NOW - 14 * DAY_MS + 1),), "trial"),
    "sol-60-over": ((created("sol-60-over", NOW - 60 * DAY_MS, trial_days=60),), "expired"),
    "sol-60-on": ((created("sol-60-on", NOW - 60 * DAY_MS + 1, trial_days=60),), "trial"),
    # R13: a new trial of 14 days begins with the transfer, whatever the partner had paid.
    "moved-over": (
        (created("moved-over", LONG_AGO, "partner"), paid("moved-over", LONG_AGO),
         transferred("moved-over", NOW - 14 * DAY_MS)),
        "expired",
    ),
    "moved-on": (
        (created("moved-on", LONG_AGO, "partner"), paid("moved-on", LONG_AGO),
         transferred("moved-on", NOW - 14 * DAY_MS + 1)),
        "trial",
    ),
    "moved-paid": (
        (created("moved-paid", LONG_AGO, "partner"), transferred("moved-paid", NOW - 20 * DAY_MS),
         paid("moved-paid", NOW - 20 * DAY_MS)),
        "paid",
    ),
    # A license on a plan does not end with its trial.
    "renewing": ((created("renewing", LONG_AGO, "partner"), subscribed("renewing", "created", None)), "trial"),
    "closed": ((created("closed", LONG_AGO, "partner"), subscribed("closed", "closing", NOW)), "expired"),
    "closing": ((created("closing", LONG_AGO, "partner"), subscribed("closing", "closing", NOW + 1)), "trial"),
}  # fmt: skip
"""The same of solution licenses."""


@pytest.fixture(scope="module", autouse=True)
def facts(app: App) -> None:
    made = [fact for cases in (AFFILIATE, SOLUTION) for told, _ in cases.values() for fact in told]
    world.load(app.warehouse, *made, load_id=2)
    rebuild_redis(app.redis, app.warehouse, Program(), NOW)


def test_the_partner_s_lists_pages_and_counts_say_the_same(app: App) -> None:
    own = {name: status for cases in (AFFILIATE, SOLUTION) for name, (_, status) in cases.items()}
    page = app.warehouse.rows(
        QUERIES["partner_licenses"], partner_id="P", license_id="", now_ms=NOW, before_ms=10**13, before_id="", most=99,
        trial_days=14,
    )  # fmt: skip
    assert {row["license_id"]: row["stage"] for row in page if row["license_id"] in own} == own
    # Of world.py: L1, L3, SOL1 and SOL2, which are paid.
    affiliate = Counter(status for _, status in AFFILIATE.values()) + Counter(paid=2)
    solution = Counter(status for _, status in SOLUTION.values()) + Counter(paid=2)
    summary = app.partner_api("GET", "/affiliates/summary")
    assert summary == {"trials": affiliate["trial"], "paid": affiliate["paid"], "expired": affiliate["expired"]}
    stats = app.partner_api("GET", "/stats")
    for program, counts in (("affiliate", affiliate), ("solution", solution)):
        found = stats[program]["livechat"]
        assert (found["trials"], found["paid"]) == (counts["trial"], counts["paid"]), program
    (referred,) = app.partner_api("GET", "/affiliates/partners-referred", "Q")["result"]
    assert referred["active_trials"] == affiliate["trial"] + solution["trial"]
    assert referred["active_paid"] == affiliate["paid"] + solution["paid"]
    assert referred["total_trials"] == len(own) + 4


def test_affiliate_licenses_are_active_until_then(app: App) -> None:
    """The list names no license; each has a start of its own, to the second, but the pairs that are a millisecond
    apart: of these one is active."""
    listed = app.partner_api("GET", "/affiliates/licenses")["result"]
    active = {
        (one["end_timestamp"], one["active"])
        for one in listed
        if one["end_timestamp"] == "2026-02-10 12:00:00" and not one["paid"]
    }
    assert active == {("2026-02-10 12:00:00", True), ("2026-02-10 12:00:00", False)}
    ends = Counter((one["creation_timestamp"], one["active"], one["paid"]) for one in listed)
    for day in ("2026-01-27", "2026-01-11", "2026-01-20"):
        assert ends[f"{day} 12:00:00", True, False] == ends[f"{day} 12:00:00", False, False] == 1, day
    assert ends["2026-01-26 12:00:00", True, True] == 1


def test_solution_licenses_have_one_status_everywhere(app: App) -> None:
    wanted = {name: status for name, (_, status) in SOLUTION.items()}
    listed = app.partner_api("GET", "/solutions/licenses")["result"]
    assert {one["license"]: one["status"] for one in listed if one["license"] in wanted} == wanted
    by_status: dict[str, str] = {}
    for status in ("trial", "paid", "expired"):
        cursor = ""
        while True:
            page = app.partner_api(
                "GET", f"/solutions/licenses/{status}", date_from="2025-01-01", date_to="2026-02-10", next_cursor=cursor
            )  # fmt: skip
            by_status |= {one["license_id"]: status for one in page["results"] if one["status"] == status}
            if not (cursor := page["next_cursor"]):
                break
    assert {name: status for name, status in by_status.items() if name in wanted} == wanted
    details = {name: app.partner_api("GET", f"/solutions/licenses/livechat/{name}") for name in wanted}
    assert {name: one["status"] for name, one in details.items()} == wanted
    for name in ("sol-over", "sol-on", "sol-60-over", "sol-60-on", "moved-over", "moved-on"):
        assert details[name]["end_timestamp"] == "2026-02-10 12:00:00", name
    assert details["moved-on"]["paid"] and details["moved-paid"]["end_timestamp"] == "2026-02-21 12:00:00"


def test_a_trial_that_ran_out_can_still_be_put_on_a_plan(app: App) -> None:
    world.load(app.warehouse, created("late", LONG_AGO, "partner"), load_id=3)
    rebuild_redis(app.redis, app.warehouse, Program(), NOW)
    path = "/solutions/licenses/livechat/late"
    assert app.partner_api("GET", path)["status"] == "expired"
    terms = {"plan": "team", "billing_cycle": "monthly", "seats": 2}
    app.partner_api("POST", f"{path}/subscription", body=terms, status=201)
    found = app.partner_api("GET", path)
    assert (found["status"], found["end_timestamp"]) == ("trial", "2026-03-10 12:00:00")
