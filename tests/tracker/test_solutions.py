"""Billing cycles and payers of solution licenses: pure."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tracker.program import DAY_MS
from tracker.solutions import (
    SolutionLicense,
    Subscription,
    end_of_cycle,
    read_solution_license,
)

LICENSE = SolutionLicense(
    license_id="1", partner_id="P", product="livechat", data_center="us-south1", payment_origin="partner",
    created_at=0, email_hash="ab",
)  # fmt: skip


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


@pytest.mark.parametrize(
    ("cycle", "start", "now", "end"),
    [
        ("monthly", "2026-01-31T12:00:00", "2026-01-31T12:00:00", "2026-02-28T12:00:00"),
        ("monthly", "2026-01-31T12:00:00", "2026-02-28T11:59:59", "2026-02-28T12:00:00"),
        ("monthly", "2026-01-31T12:00:00", "2026-02-28T12:00:00", "2026-03-31T12:00:00"),
        ("monthly", "2026-01-31T12:00:00", "2026-03-30T00:00:00", "2026-03-31T12:00:00"),
        ("monthly", "2026-01-15T00:00:00", "2030-06-15T00:00:00", "2030-07-15T00:00:00"),
        ("annual", "2024-02-29T00:00:00", "2024-03-01T00:00:00", "2025-02-28T00:00:00"),
        ("annual", "2024-02-29T00:00:00", "2025-03-01T00:00:00", "2026-02-28T00:00:00"),
        ("annual", "2024-02-29T00:00:00", "2027-12-01T00:00:00", "2028-02-29T00:00:00"),
        ("monthly", "2026-05-01T00:00:00", "2026-04-01T00:00:00", "2026-06-01T00:00:00"),  # not begun yet
    ],
)
def test_a_billing_cycle_ends_on_its_day(cycle: str, start: str, now: str, end: str) -> None:
    subscription = Subscription(plan="team", billing_cycle=cycle, seats=1, started_at=ms(start))
    assert subscription.period_end(ms(now)) == ms(end)


def test_what_was_paid_runs_out() -> None:
    assert end_of_cycle(ms("2026-01-31T00:00:00"), "monthly") == ms("2026-02-28T00:00:00")
    assert end_of_cycle(ms("2026-01-31T00:00:00"), "") == ms("2026-02-28T00:00:00")
    assert end_of_cycle(ms("2024-02-29T00:00:00"), "annual") == ms("2025-02-28T00:00:00")


def test_a_transfer_makes_the_client_pay_from_its_instant_on() -> None:
    assert [LICENSE.payer_at(moment, 100) for moment in (99, 100, 101)] == ["partner", "client", "client"]
    assert LICENSE.payer_at(100, None) == "partner"
    assert LICENSE.trial_end(None) == 14 * DAY_MS
    assert LICENSE.trial_end(100) == 100 + 14 * DAY_MS


def test_a_license_is_read_as_it_was_written() -> None:
    terms = Subscription(plan="team", billing_cycle="annual", seats=3, started_at=1)
    created = LICENSE.subscription_changed("created", terms, 1, "e1", "d")
    changed = replace(LICENSE.after(created), operators=(("hash", "agent"),))
    assert read_solution_license(changed.text()) == changed
    assert read_solution_license(LICENSE.text()) == LICENSE


def test_a_state_of_before_its_changes_were_facts_is_read() -> None:
    old = json.loads(LICENSE.text())
    old["subscription_events"] = [{"at": 1, "kind": "created", "plan": "team", "billing_cycle": "annual", "seats": 3}]
    assert read_solution_license(json.dumps(old)) == replace(LICENSE, subscription_changes=1)


def test_a_change_of_a_subscription_makes_the_state() -> None:
    """Each fact tells the whole of it, so that the newest is enough."""
    terms = Subscription(plan="team", billing_cycle="annual", seats=3, started_at=1)
    ending = replace(terms, closes_at=9)
    states = {
        "created": (terms, terms, None),
        "changed": (terms, terms, None),
        "closing": (ending, ending, None),
        "closed": (ending, ending, 5),
        "transferred": (ending, None, None),
    }
    for kind, (told, subscription, ended_at) in states.items():
        fact = LICENSE.subscription_changed(kind, told, 5, "e", "d")
        after = LICENSE.after(fact)
        assert after == replace(LICENSE, subscription=subscription, ended_at=ended_at, subscription_changes=1), kind
        assert after.subscription_changed(kind, told, 6, "f", "d").number == 2
