"""What becomes of a license of the example program: trial, stages, monthly payments, and what goes wrong."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from loadtests.example_partners import COMPANIES, PLANS, RESELLERS
from tracker.program import DAY_MS
from tracker.rfc3339 import rfc3339

MINUTE_MS = 60_000
TRIAL_DAYS = 14
MONTH_MS = 30 * DAY_MS
QUALIFIED_SHARE = 0.62  # of trials install the chat
CARD_SHARE = 0.6  # of those add a card
PAYING_SHARE = 0.88  # of those pay
CHURN_SHARE = 0.07  # of paying licenses leave each month
REFUND_SHARE = 0.02  # of payments
CHARGEBACK_SHARE = 0.015  # of payments; half are won
BLOCKED_SHARE = 0.01  # of payments are followed by a hold; half are lifted
TRANSFER_SHARE = 0.35  # of partner-paid licenses move to the client

Fact = dict[str, Any]
TimedFact = tuple[int, Fact]


def life_of_license(
    chance: random.Random, number: int, click: Fact, clicked_at: int, ends_at: int
) -> Iterator[TimedFact]:
    """All facts of the license that a click leads to, up to `ends_at` (ms)."""
    license_id = str(number)
    signed_up_at = clicked_at + _decision_time(chance)
    company = chance.choice(COMPANIES)
    plan, seat_cents = chance.choices(PLANS, (5, 4, 2))[0]
    seats = chance.choices((1, 2, 3, 5, 8, 12), (6, 6, 4, 3, 1, 1))[0]
    started = {
        "type": "signup",
        "license_id": license_id,
        "product": "livechat",
        "visitor_id": click["visitor_id"],
        "client_email": f"{company.lower().replace(' ', '.').replace('&', 'and')}+{number}@example.com",
        "client_name": company,
        "data_center": "eu-west3" if click["country"] in EUROPE else "us-south1",
        "plan": plan,
        "seats": seats,
        "signed_up_at": rfc3339(signed_up_at),
    }
    is_solution = click["partner_id"] in RESELLERS and chance.random() < 0.4
    by_partner = is_solution and chance.random() < 0.5
    if is_solution:
        started = _solution(started, click["partner_id"], "partner" if by_partner else "client")
    facts = [
        (signed_up_at, started),
        *_stages(chance, license_id, signed_up_at, seats * seat_cents, by_partner, ends_at),
    ]
    yield from (item for item in facts if item[0] < ends_at)


EUROPE = frozenset("SE NO DK FI IT CH GB IE PL CZ ES PT FR BE DE AT RO HU NL".split())  # noqa: SIM905 (shorter to read)


def _decision_time(chance: random.Random) -> int:
    """Most sign up in the first hour, some after days, a few after the 120 days of the window."""
    kind = chance.random()
    if kind < 0.6:
        return chance.randrange(2 * MINUTE_MS, 60 * MINUTE_MS)
    if kind < 0.97:
        return int(chance.expovariate(1 / 6) * DAY_MS) + 60 * MINUTE_MS
    return chance.randrange(121, 140) * DAY_MS


def _solution(signup: Fact, partner_id: str, payment_origin: str) -> Fact:
    return {
        "type": "solution_license",
        "license_id": signup["license_id"],
        "product": signup["product"],
        "partner_id": partner_id,
        "client_email": signup["client_email"],
        "payment_origin": payment_origin,
        "data_center": signup["data_center"],
        "created_at": signup["signed_up_at"],
    }


def _stages(
    chance: random.Random, license_id: str, started_at: int, monthly_cents: int, by_partner: bool, ends_at: int
) -> Iterator[TimedFact]:
    trial_ends_at = started_at + TRIAL_DAYS * DAY_MS
    if chance.random() > QUALIFIED_SHARE:
        yield _stage(license_id, "expired", trial_ends_at)
        return
    yield _stage(license_id, "qualified", started_at + chance.randrange(20 * MINUTE_MS, 3 * DAY_MS))
    if not by_partner:
        if chance.random() > CARD_SHARE:
            yield _stage(license_id, "expired", trial_ends_at)
            return
        yield _stage(license_id, "card_added", started_at + chance.randrange(3 * DAY_MS, 13 * DAY_MS))
    if chance.random() > PAYING_SHARE:
        yield _stage(license_id, "expired", trial_ends_at)
        return
    yield from _payments(chance, license_id, trial_ends_at, monthly_cents, by_partner, ends_at)


def _payments(
    chance: random.Random, license_id: str, first_at: int, monthly_cents: int, by_partner: bool, ends_at: int
) -> Iterator[TimedFact]:
    paid_at, number = first_at, 1
    discount_cents = monthly_cents // 5 if by_partner else 0
    if by_partner and chance.random() < TRANSFER_SHARE:
        transferred_at = first_at + 2 * MONTH_MS - DAY_MS
        event = {"event_id": f"{license_id}-transfer", "license_id": license_id, "occurred_at": rfc3339(transferred_at)}
        yield transferred_at, {"type": "license_transfer", **event}
    else:
        transferred_at = ends_at
    while paid_at < ends_at:
        discount = discount_cents if paid_at < transferred_at else 0
        payment: Fact = {
            "type": "payment",
            "payment_id": f"{license_id}-{number}",
            "license_id": license_id,
            "amount_cents": monthly_cents - discount,
            "currency": "USD",
            "paid_at": rfc3339(paid_at),
            "method": "card",
        }
        if discount:
            payment["discount_cents"] = discount
        yield paid_at, payment
        yield from _reversals(chance, payment, paid_at)
        if chance.random() < BLOCKED_SHARE:
            yield _stage(license_id, "blocked", paid_at + 3 * DAY_MS)
            if chance.random() < 0.5:
                yield _stage(license_id, "unblocked", paid_at + 12 * DAY_MS)
        if chance.random() < CHURN_SHARE:
            yield _stage(license_id, "expired", paid_at + MONTH_MS)
            return
        paid_at, number = paid_at + MONTH_MS, number + 1


def _reversals(chance: random.Random, payment: Fact, paid_at: int) -> Iterator[TimedFact]:
    kind = chance.random()
    if kind < REFUND_SHARE:
        share = chance.choice((1.0, 1.0, 0.5, 0.25))
        amount = round(payment["amount_cents"] * share)
        yield _reversal(payment, "refund", amount, paid_at + chance.randrange(1, 9) * DAY_MS)
    elif kind < REFUND_SHARE + CHARGEBACK_SHARE:
        disputed_at = paid_at + chance.randrange(10, 30) * DAY_MS
        yield _reversal(payment, "chargeback", payment["amount_cents"], disputed_at)
        if chance.random() < 0.5:
            yield _reversal(payment, "chargeback_won", payment["amount_cents"], disputed_at + 21 * DAY_MS)


def _reversal(payment: Fact, kind: str, amount_cents: int, at: int) -> TimedFact:
    return at, {
        "type": "refund",
        "refund_id": f"{payment['payment_id']}-{kind}",
        "payment_id": payment["payment_id"],
        "amount_cents": amount_cents,
        "kind": kind,
        "refunded_at": rfc3339(at),
    }


def _stage(license_id: str, kind: str, at: int) -> TimedFact:
    event_id = f"{license_id}-{kind}-{at // DAY_MS}"
    return at, {
        "type": "license_event",
        "event_id": event_id,
        "license_id": license_id,
        "kind": kind,
        "occurred_at": rfc3339(at),
    }
