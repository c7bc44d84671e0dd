"""A small program with a hand-made history, loaded as facts and attributed by a real round."""

from __future__ import annotations

import json
import uuid
from dataclasses import fields
from typing import Any

from attribution.ledger import run_round
from attribution.staging import Staging
from attribution.warehouse import Warehouse
from tracker.events import (
    Clicked,
    LicenseChanged,
    LicenseTransferred,
    Paid,
    PartnerChanged,
    PartnerJoined,
    Refunded,
    SignedUp,
    SolutionLicenseCreated,
    SubscriptionChanged,
)
from tracker.ids import NIL_UUID
from tracker.program import DAY_MS, Program
from tracker.secret import email_hash, mask_email

SECRET = b"secret-of-the-tests"
START = 1_767_225_600_000  # 2026-01-01
NOW = START + 40 * DAY_MS + 12 * 3_600_000
HOSTILE = '<script>alert("1")</script>'

_TABLES: dict[type, str] = {
    Clicked: "clicks",
    PartnerJoined: "partners",
    SignedUp: "signups",
    SolutionLicenseCreated: "solution_licenses",
    LicenseTransferred: "license_transfers",
    Paid: "payments",
    Refunded: "refunds",
    LicenseChanged: "license_events",
    SubscriptionChanged: "subscription_events",
    PartnerChanged: "partner_events",
}


def uid(number: int) -> str:
    """A click or visitor id that is easy to write."""
    return str(uuid.UUID(int=number + (1 << 64)))


def day(number: float) -> int:
    """So many days after the start, in ms."""
    return START + int(number * DAY_MS)


def click(number: int, partner_id: str, at: float, visitor: int, **more: Any) -> Clicked:
    values = {"product": "livechat", "country": "PL", "device": "mobile"} | more
    return Clicked(click_id=uid(number), clicked_at=day(at), visitor_id=uid(visitor), partner_id=partner_id, **values)


def partner(partner_id: str, name: str, at: float = 0, **more: Any) -> PartnerJoined:
    email = f"{partner_id.lower()}@partners.example"
    return PartnerJoined(
        partner_id=partner_id,
        joined_at=day(at),
        name=name,
        email=email,
        email_hash=email_hash(SECRET, email),
        links=json.dumps({"livechat": f"lc{partner_id}", "partner_program": f"pp{partner_id}"}),
        digest="",
        **more,
    )


def partner_entry(partner_id: str) -> str:
    """The directory's entry of one of HISTORY's partners."""
    fact = next(one for one in HISTORY if isinstance(one, PartnerJoined) and one.partner_id == partner_id)
    entry = {"joined_at": fact.joined_at, "name": fact.name, "email": fact.email, "email_hash": fact.email_hash}
    return json.dumps({**entry, "recruiter_id": None, "links": json.loads(fact.links), "changes": []})


def signup(license_id: str, at: float, visitor: int | None, email: str = "jane.doe@example.com") -> SignedUp:
    return SignedUp(
        license_id=license_id,
        signed_up_at=day(at),
        product="livechat",
        visitor_id=None if visitor is None else uid(visitor),
        client_email_hash=email_hash(SECRET, email),
        client_email_masked=mask_email(email),
        data_center="us-south1",
        digest="",
    )


def paid(payment_id: str, license_id: str, at: float, amount_cents: int, discount_cents: int | None = None) -> Paid:
    return Paid(
        payment_id=payment_id,
        license_id=license_id,
        paid_at=day(at),
        amount_cents=amount_cents,
        currency="USD",
        discount_cents=discount_cents,
        digest="",
    )


def stage(license_id: str, kind: str, at: float) -> LicenseChanged:
    return LicenseChanged(
        event_id=f"{license_id}-{kind}-{at}", license_id=license_id, occurred_at=day(at), kind=kind, digest=""
    )


HISTORY: tuple[Any, ...] = (
    partner("Q", "Quinn Recruiter"),
    click(1, "Q", 1, 100, product="partner_program"),
    partner("P", HOSTILE, 2, visitor_id=uid(100)),
    partner("S", "Sam Suspended"),
    PartnerChanged(event_id="s1", partner_id="S", occurred_at=day(10), kind="suspended", digest=""),
    # Visitor 1 follows P, signs up and pays; one refund.
    click(10, "P", 20, 1, campaign="=spring", referrer="https://blog.example/post?mail=jane@example.com"),
    click(11, "P", 20.5, 1),
    signup("L1", 21, 1),
    stage("L1", "qualified", 22),
    stage("L1", "card_added", 23),
    paid("pay1", "L1", 24, 2900),
    Refunded(
        refund_id="r1", payment_id="pay1", refunded_at=day(30), amount_cents=1000, kind="refund", digest=""
    ),
    # Visitor 2 follows P, then S before the suspension, then signs up: S wins.
    click(20, "P", 8, 2, country="DE", device="desktop"),
    click(21, "S", 9, 2, country="DE", device="desktop"),
    signup("L2", 9.5, 2, "max@firma.example"),
    paid("pay2", "L2", 12, 1000),
    # Clicks that do not count: a bot, and one while suspended.
    click(30, "P", 25, 3, verdict="bot"),
    click(31, "S", 26, 4),
    # A self-referral: in the funnel, but earns nothing.
    click(40, "P", 26, 5),
    signup("L3", 27, 5, "P@Partners.example "),
    paid("pay3", "L3", 28, 5000),
    # A solution license that P pays, and one that is blocked.
    SolutionLicenseCreated(
        license_id="SOL1", created_at=day(15), product="livechat", partner_id="P", payment_origin="partner",
        client_email_hash=email_hash(SECRET, "sol@client.example"), client_email_masked="s…l@c…e",
        data_center="eu-west3", digest="",
    ),
    paid("pay4", "SOL1", 16, 2320),
    paid("pay5", "SOL1", 17, 2000, discount_cents=123),
    SolutionLicenseCreated(
        license_id="SOL2", created_at=day(15), product="livechat", partner_id="P", payment_origin="client",
        data_center="us-south1", digest="",
    ),
    paid("pay6", "SOL2", 18, 10_000),
    stage("SOL2", "blocked", 19),
    # A click that led nowhere yet.
    click(50, "P", 39, 6, campaign="spring", country="", device=""),
)  # fmt: skip


def load(warehouse: Warehouse, *facts: Any, load_id: int = 1, program: Program | None = None) -> None:
    """Put facts into the warehouse as one finished load, and run the round that attributes them."""
    store(warehouse, *facts, load_id=load_id)
    run_round(warehouse, program or Program(), NOW)


def store(warehouse: Warehouse, *facts: Any, load_id: int) -> None:
    """Put facts into the warehouse as one finished load."""
    for fact in facts:
        names = [item.name for item in fields(fact)]
        values = [getattr(fact, name) for name in names]
        if isinstance(fact, Clicked) and fact.visitor_id is None:
            values[names.index("visitor_id")] = NIL_UUID
        warehouse.insert(_TABLES[type(fact)], [*names, "load_id"], [[*values, load_id]])
    Staging(warehouse, {}).count_days_again(load_id)
    columns = ["load_id", "stream", "is_finished", "stored", "stored_sum", "written_at"]
    warehouse.insert("loads", columns, [[load_id, "test", 1, len(facts), len(facts), NOW]])
