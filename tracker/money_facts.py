"""Decides on facts about money: payments, refunds, chargebacks, won disputes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tracker import redis_keys
from tracker.bodies import Body
from tracker.desk import Decision, Desk, simple_decision
from tracker.directory import Key, Known
from tracker.errors import Invalid
from tracker.events import Paid, Refunded, fact_row


@dataclass(frozen=True, slots=True)
class MoneyState:
    """What is known of a payment's money, in cents. `paid` is None while only its reversals have arrived."""

    paid: int | None = None
    refunded: int = 0
    charged_back: int = 0
    won_back: int = 0

    @classmethod
    def parse(cls, stored: str | None) -> MoneyState:
        if stored is None:
            return cls()
        paid, *others = stored.split(",")
        return cls(int(paid) if paid else None, *map(int, others))

    def text(self) -> str:
        return f"{'' if self.paid is None else self.paid},{self.refunded},{self.charged_back},{self.won_back}"

    def after(self, kind: str, amount_cents: int) -> MoneyState:
        return MoneyState(
            self.paid,
            self.refunded + (amount_cents if kind == "refund" else 0),
            self.charged_back + (amount_cents if kind == "chargeback" else 0),
            self.won_back + (amount_cents if kind == "chargeback_won" else 0),
        )

    def remaining(self, kind: str) -> int | None:
        """How much a further event of `kind` may be (R8); None while the payment is not known.

        A won dispute may come before its chargeback, so it is only bounded by what was paid.
        """
        if self.paid is None:
            return None
        if kind == "chargeback_won":
            return max(0, self.paid - self.won_back)
        return max(0, min(self.paid, self.paid - self.refunded - self.charged_back + self.won_back))


def payment_reads(body: Body, desk: Desk) -> Iterable[Key]:
    yield redis_keys.PAYMENTS, body.values["payment_id"]


def decide_payment(body: Body, known: Known, desk: Desk) -> Decision:
    fact = Paid(
        payment_id=body.values["payment_id"],
        license_id=body.values["license_id"],
        paid_at=body.get("paid_at", desk.now_ms),
        amount_cents=body.values["amount_cents"],
        currency=body.values["currency"],
        discount_cents=body.get("discount_cents"),
        method=body.get("method", ""),
        billing_cycle=body.get("billing_cycle", ""),
        digest=body.digest,
    )
    key = (redis_keys.PAYMENTS, fact.payment_id)
    state = MoneyState.parse(known.entries[key])
    paid = MoneyState(fact.amount_cents, state.refunded, state.charged_back, state.won_back)
    write, expect = {key: paid.text()}, {key: known.entries[key]}
    return simple_decision(fact.payment_id, body, fact_row(fact), write=write, expect=expect)


def decide_refund(body: Body, known: Known, desk: Desk) -> Decision:
    fact = Refunded(
        refund_id=body.values["refund_id"],
        payment_id=body.values["payment_id"],
        refunded_at=body.get("refunded_at", desk.now_ms),
        amount_cents=body.values["amount_cents"],
        kind=body.values["kind"],
        digest=body.digest,
    )
    key = (redis_keys.PAYMENTS, fact.payment_id)
    state = MoneyState.parse(known.entries[key])
    remaining = state.remaining(fact.kind)
    if remaining is not None and fact.amount_cents > remaining and not desk.is_import:
        left = "can still be won back" if fact.kind == "chargeback_won" else "remain"
        message = f"is more than the {remaining} cents that {left} of payment {fact.payment_id}"
        raise Invalid.fields([{"field": "amount_cents", "message": message}])
    write = {key: state.after(fact.kind, fact.amount_cents).text()}
    return simple_decision(fact.refund_id, body, fact_row(fact), write=write, expect={key: known.entries[key]})
