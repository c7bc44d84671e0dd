"""The LiveChat site: people sign up, and pay; the site's server tells Lasttouch.

Nobody signs in, and no card is asked for: the buttons on the account's page play the billing system.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from reports.example_sites.outbox import Call
from reports.example_sites.pages import EUROPE, Form, NotThere, Sites, Wrong, email, now, render, text
from reports.example_sites.referral import read_referral

MAX_SEATS = 100
MOST_PAYMENTS = 50  # of one license: it is an example


@dataclass(frozen=True, slots=True)
class Plan:
    """What a license may be. The price is for a seat and month."""

    key: str
    name: str
    seat_cents: int
    claim: str


PLANS = {
    plan.key: plan
    for plan in (
        Plan("starter", "Starter", 1900, "One inbox, and a chat widget that looks like your site."),
        Plan("team", "Team", 2900, "Shared answers, departments, and reports on what customers ask."),
        Plan("business", "Business", 5900, "Schedules, tags by rules, and somebody to call at night."),
    )
}


def pricing(sites: Sites, request: Request) -> Response:
    return render(sites, request, "pricing.html", plans=PLANS.values())


def signup(sites: Sites, request: Request) -> Response:
    return render(sites, request, "signup.html", plans=PLANS.values())


def sign_up(sites: Sites, form: Form, _: Mapping[str, str]) -> str:
    """Make the license, and tell who signed up, with all that is known of who sent them."""
    plan = PLANS.get(form.fields.get("plan", ""))
    seats = form.fields.get("seats", "")
    if plan is None:
        raise Wrong("Please choose a plan.")
    if not (seats.isascii() and seats.isdigit() and 1 <= int(seats[:4]) <= MAX_SEATS):
        raise Wrong(f"Please give a number of seats from 1 to {MAX_SEATS}.")
    license_id = f"lc-{secrets.token_hex(6)}"
    body = {
        "license_id": license_id,
        "product": "livechat",
        "client_email": email(form),
        "client_name": text(form, "name", 200),
        "plan": plan.key,
        "seats": int(seats),
        "signed_up_at": now(),
        **read_referral(form.fields, form.cookies).fields("partner_id"),
    }
    sites.outbox.tell("/v1/signups", license_id, license_id, body)
    base = EUROPE if form.fields.get("base") == EUROPE else ""
    return f"{base}/account/{license_id}/"


def account(sites: Sites, request: Request) -> Response:
    """The license, what it paid, and what Lasttouch was told and answered."""
    calls = sites.outbox.about(request.path_params["license_id"])
    if not calls:
        return render(sites, request, "not_found.html", 404)
    signed_up = calls[0].body
    refunded = {call.body["payment_id"] for call in calls if call.path == "/v1/refunds"}
    payments = [call.body for call in calls if call.path == "/v1/payments"]
    return render(
        sites,
        request,
        "account.html",
        license=signed_up,
        plan=PLANS[signed_up["plan"]],
        deal=deal_of(calls[0]),
        price_cents=price_cents(calls[0]),
        payments=payments,
        refunded=refunded,
        calls=calls,
    )


def pay(sites: Sites, form: Form, path: Mapping[str, str]) -> str:
    """A payment that the billing has taken. Its number comes from the page, so that a double click pays once."""
    calls = _license(sites, path["license_id"])
    license_id = path["license_id"]
    number = form.fields.get("number", "")
    if not (number.isascii() and number.isdigit() and 1 <= int(number[:4]) <= MOST_PAYMENTS):
        raise Wrong(f"This example takes {MOST_PAYMENTS} payments of a license.")
    payment_id = f"{license_id}-p{int(number)}"
    body = {
        "payment_id": payment_id,
        "license_id": license_id,
        "amount_cents": price_cents(calls[0]),
        "currency": "USD",
        "paid_at": now(),
        "method": "card",
    }
    sites.outbox.tell("/v1/payments", payment_id, license_id, body)
    return "../"


def refund(sites: Sites, form: Form, path: Mapping[str, str]) -> str:
    """All of a payment goes back. A payment is refunded once, so its id makes the refund's."""
    payment_id = form.fields.get("payment_id", "")
    calls = _license(sites, path["license_id"])
    paid = [call.body for call in calls if call.path == "/v1/payments" and call.id == payment_id]
    if not paid:
        raise Wrong("There is no such payment.")
    body = {
        "refund_id": f"{payment_id}-r",
        "payment_id": payment_id,
        "amount_cents": paid[0]["amount_cents"],
        "kind": "refund",
        "refunded_at": now(),
    }
    sites.outbox.tell("/v1/refunds", body["refund_id"], path["license_id"], body)
    return "../"


def deal_of(signup: Call) -> Mapping[str, Any]:
    """What the campaign that brought the visitor promised them, as Lasttouch answered; empty for nothing."""
    return signup.answer.get("deal") or {}


def price_cents(signup: Call) -> int:
    """What a month costs, with the coupon of the deal."""
    full_cents = PLANS[signup.body["plan"]].seat_cents * int(signup.body["seats"])
    coupon = deal_of(signup).get("coupon") or {"discount_percent": 0}
    return full_cents - full_cents * int(coupon["discount_percent"]) // 100


def _license(sites: Sites, license_id: str) -> list[Call]:
    calls = sites.outbox.about(license_id)
    if not calls:
        raise NotThere
    return calls
