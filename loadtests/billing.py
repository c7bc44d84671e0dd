"""The product's own systems report signups, payments and refunds to the Conversions API with a service token.

A license is signed up by a visitor who has just followed a link, by the Partner ID that the site saw, or by nobody's
visitor; the answer must bind it accordingly (R2, R3). Then it pays every now and then, and some money goes back.
"""

from __future__ import annotations

import uuid
from collections import deque
from typing import Any

from locust import between, task
from locust.contrib.fasthttp import FastResponse

from loadtests.load_user import Check, LoadUser, bearer, header, is_json_with, json_object, said
from loadtests.visitors import KINDS, follow

MOST_LICENSES = 200  # that one load user has pay
MOST_PAYMENTS = 200  # that one load user may refund
PRICES_CENTS = (2000, 2900, 4900, 5900, 11_900)
Body = dict[str, Any]


class BillingUser(LoadUser):
    """One system that reports one thing after the other."""

    weight = 3
    wait_time = between(0.1, 0.5)

    def on_start(self) -> None:
        super().on_start()
        self._licenses: deque[str] = deque(maxlen=MOST_LICENSES)
        self._payments: deque[tuple[str, int]] = deque(maxlen=MOST_PAYMENTS)

    @task(4)
    def sign_up_after_a_click(self) -> None:
        partner = self.some_partner()
        if visitor_id := follow(self, KINDS[0], partner):
            self._sign_up(_binds(partner.partner_id, "last_touch"), visitor_id=visitor_id)

    @task(1)
    def sign_up_with_a_partner_id(self) -> None:
        partner = self.some_partner()
        self._sign_up(_binds(partner.partner_id, "explicit_partner"), partner_id=partner.partner_id)

    @task(1)
    def sign_up_directly(self) -> None:
        self._sign_up(_binds(None, "none"), visitor_id=str(uuid.uuid4()))

    @task(8)
    def pay(self) -> None:
        if not self._licenses:
            return self.sign_up_after_a_click()
        payment_id, amount_cents = self._new_id("p"), self.chance.choice(PRICES_CENTS) * self.chance.choice((1, 2, 5))
        body = {
            "payment_id": payment_id,
            "license_id": self.chance.choice(self._licenses),
            "amount_cents": amount_cents,
            "currency": self.program.currency,
            "method": "card",
        }
        if self._report("payments", body, is_json_with(201, payment_id=payment_id)):
            self._payments.append((payment_id, amount_cents))
        return None

    @task(1)
    def refund(self) -> None:
        """Part or all of a payment goes back; a chargeback may be won."""
        if not self._payments:
            return
        payment_id, paid_cents = self._payments.popleft()
        kind = self.chance.choice(("refund", "chargeback"))
        amount_cents = self.chance.choice((paid_cents, paid_cents // 3))
        refund: Body = {"payment_id": payment_id, "amount_cents": amount_cents}
        taken = self._report("refunds", {**refund, "refund_id": self._new_id("r"), "kind": kind}, is_json_with(201))
        if taken and kind == "chargeback" and self.chance.random() < 0.3:
            won = {**refund, "refund_id": self._new_id("r"), "kind": "chargeback_won"}
            self._report("refunds", won, is_json_with(201))

    @task(2)
    def say_how_far_a_license_is(self) -> None:
        if self._licenses:
            body = {
                "event_id": self._new_id("e"),
                "license_id": self.chance.choice(self._licenses),
                "kind": self.chance.choice(("qualified", "card_added")),
            }
            self._report("license-events", body, is_json_with(201))

    @task(1)
    def report_a_payment_twice(self) -> None:
        """A retry: the same body again is answered with 200 and the first answer."""
        if not self._licenses:
            return
        body: Body = {"payment_id": self._new_id("p"), "license_id": self.chance.choice(self._licenses)}
        body.update(amount_cents=self.chance.choice(PRICES_CENTS), currency=self.program.currency)
        if self._report("payments", body, is_json_with(201)):
            self._report("payments", body, _is_replay, name="payments again")

    def _sign_up(self, check: Check, **given: str) -> None:
        license_id = self._new_id("l")
        body = {
            "license_id": license_id,
            "product": self.program.partners[0].links[0].product,
            "client_email": f"{license_id}@clients.example.com",
            "client_name": f"Client {license_id}",
            "plan": self.chance.choice(("starter", "team", "business")),
            "seats": self.chance.randint(1, 20),
            **given,
        }
        if self._report("signups", body, check):
            self._licenses.append(license_id)

    def _report(self, call: str, body: Body, check: Check, name: str = "") -> bool:
        headers = bearer(self.program.service_token)
        return self.ask(f"api: {name or call}", "POST", f"/v1/{call}", check, json=body, headers=headers) is not None

    def _new_id(self, letter: str) -> str:
        return f"{self.program.run}.{letter}{uuid.uuid4().hex[:16]}"


def _binds(partner_id: str | None, reason: str) -> Check:
    """The signup is accepted and bound to this partner for this reason."""

    def check(answer: FastResponse) -> str:
        if answer.status_code != 201:
            return said(answer)
        attribution = json_object(answer).get("attribution") or {}
        is_right = (attribution.get("partner_id"), attribution.get("reason")) == (partner_id, reason)
        return "" if is_right else f"expected {partner_id} by {reason}, got {attribution}"

    return check


def _is_replay(answer: FastResponse) -> str:
    is_right = answer.status_code == 200 and header(answer, "Idempotent-Replay") == "true"
    return "" if is_right else f"not the first answer again: {said(answer)}"
