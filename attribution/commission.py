"""Who earns how much on a payment and its refunds (R6, R8–R11, R13): pure integers.

Money is integer cents, percents are hundredths of a percent, times are milliseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from tracker.program import Program
from tracker.standing import Standing

WHOLE_HUNDREDTHS = 10_000
"""100 %."""


class Kind(StrEnum):
    """What a ledger line is for."""

    COMMISSION = "commission"
    REFUND = "refund"
    CHARGEBACK = "chargeback"
    CHARGEBACK_WON = "chargeback_won"
    CORRECTION = "correction"


class Withheld(StrEnum):
    """Why a tier gets nothing of a payment. The values are shown; the texts are in WITHHELD_TEXTS."""

    LICENSE_UNKNOWN = "license_unknown"
    UNBOUND = "none"
    SELF_REFERRAL = "self_referral"
    PARTNER_UNKNOWN = "partner_unknown"
    PARTNER_PAYS = "partner_pays"
    PARTNER_SUSPENDED = "partner_suspended"
    NO_RECRUITER = "no_recruiter"


WITHHELD_TEXTS: Mapping[str, str] = {
    Withheld.LICENSE_UNKNOWN: "R16: the license is not known yet",
    Withheld.UNBOUND: "R6: the license is bound to nobody",
    Withheld.SELF_REFERRAL: "R4: the client is the partner",
    Withheld.PARTNER_UNKNOWN: "R5: the partner who created the license is not known yet",
    Withheld.PARTNER_PAYS: "R6: the partner pays, 20 % less already",
    Withheld.PARTNER_SUSPENDED: "R11: suspended at the time of the payment",
    Withheld.NO_RECRUITER: "R6: nobody recruited the partner",
}


@dataclass(frozen=True, slots=True)
class Payment:
    """`amount_cents` is what was really paid, after every discount."""

    payment_id: str
    license_id: str
    paid_at: int
    amount_cents: int
    currency: str = "USD"
    discount_cents: int | None = None


@dataclass(frozen=True, slots=True)
class Refund:
    """Money that went back, or with `kind` chargeback_won came back."""

    refund_id: str
    payment_id: str
    refunded_at: int
    amount_cents: int
    kind: str


@dataclass(frozen=True, slots=True)
class Bound:
    """As much of a license's binding as money needs. Nobody is the empty string."""

    partner_id: str = ""
    recruiter_id: str = ""
    is_self_referral: bool = False
    payment_origin: str = "client"
    transferred_at: int | None = None

    def partner_pays_at(self, moment: int) -> bool:
        """R6, R13: the partner pays until the transfer; payments from that instant on follow the client rule."""
        return self.payment_origin == "partner" and (self.transferred_at is None or moment < self.transferred_at)


@dataclass(frozen=True, slots=True)
class Share:
    """What one tier gets of a payment: a percent, or nothing for the reason `withheld` (empty when it earns)."""

    tier: int
    partner_id: str
    percent_hundredths: int = 0
    withheld: str = ""


@dataclass(frozen=True, slots=True)
class Due:
    """What the ledger should say for one money event, tier and partner. `referred_id`: R20, second tier only."""

    money_event_id: str
    kind: str
    occurred_at: int
    partner_id: str
    tier: int
    basis_cents: int
    percent_hundredths: int
    amount_cents: int
    referred_id: str


def round_half_even(numerator: int, denominator: int) -> int:
    """R9: `numerator / denominator` to the nearest integer, halves to the even one. `denominator` is positive."""
    quotient, rest = divmod(numerator, denominator)
    twice = 2 * rest
    return quotient + (twice > denominator or (twice == denominator and quotient % 2 == 1))


def commission_cents(basis_cents: int, percent_hundredths: int) -> int:
    """A percent of an amount, rounded (R9)."""
    return round_half_even(basis_cents * percent_hundredths, WHOLE_HUNDREDTHS)


def discount_cents(payment: Payment) -> int:
    """R6: what a payment that the partner made has saved."""
    given = payment.discount_cents
    return round_half_even(payment.amount_cents * 20, 80) if given is None else given


def shares(paid_at: int, bound: Bound, standings: Mapping[str, Standing], program: Program) -> tuple[Share, Share]:
    """What each tier gets of a payment made at `paid_at` (R4, R6, R10, R11, R13)."""
    partner, recruiter = standings.get(bound.partner_id), standings.get(bound.recruiter_id)
    both = ""
    if not bound.partner_id:
        both = Withheld.UNBOUND
    elif bound.is_self_referral:
        both = Withheld.SELF_REFERRAL
    elif partner is None:
        both = Withheld.PARTNER_UNKNOWN
    if both or partner is None:
        return Share(1, "", withheld=both), Share(2, "", withheld=both)
    if bound.partner_pays_at(paid_at):
        first = Share(1, partner.partner_id, withheld=Withheld.PARTNER_PAYS)
    else:
        first = _share(1, partner, paid_at, program)
    second = _share(2, recruiter, paid_at, program) if recruiter else Share(2, "", withheld=Withheld.NO_RECRUITER)
    return first, second


def _share(tier: int, earner: Standing, paid_at: int, program: Program) -> Share:
    if earner.suspended_at(paid_at):
        return Share(tier, earner.partner_id, withheld=Withheld.PARTNER_SUSPENDED)
    return Share(tier, earner.partner_id, earner.percent_at(tier, paid_at, program))


def due(
    payment: Payment,
    refunds: Iterable[Refund],
    bound: Bound,
    standings: Mapping[str, Standing],
    program: Program,
) -> list[Due]:
    """What the ledger should say of a payment and its refunds, without lines of nothing (R6–R11, R13)."""
    earning = [share for share in shares(payment.paid_at, bound, standings, program) if not share.withheld]
    return [
        Due(
            event.money_event_id,
            event.kind,
            event.occurred_at,
            share.partner_id,
            share.tier,
            event.base_after_cents - event.base_before_cents,
            share.percent_hundredths,
            amount,
            bound.partner_id if share.tier == 2 else "",
        )
        for event in money_events(payment, refunds)
        for share in earning
        if (amount := event.earned_cents(share.percent_hundredths))
    ]


@dataclass(frozen=True, slots=True)
class MoneyEvent:
    """A payment, or a refund of it, with what commission is taken of before and after it (R8)."""

    money_event_id: str
    kind: str
    occurred_at: int
    base_before_cents: int
    base_after_cents: int

    def earned_cents(self, percent_hundredths: int) -> int:
        """R9: the difference between two rounded nets."""
        after = commission_cents(self.base_after_cents, percent_hundredths)
        return after - commission_cents(self.base_before_cents, percent_hundredths)


def money_events(payment: Payment, refunds: Iterable[Refund]) -> Iterator[MoneyEvent]:
    """R8: the payment, then its refunds by time and id; the base stays between 0 and what was paid."""
    paid = total = base = payment.amount_cents
    yield MoneyEvent(f"payment:{payment.payment_id}", Kind.COMMISSION, payment.paid_at, 0, paid)
    for refund in sorted(refunds, key=lambda each: (each.refunded_at, each.refund_id)):
        total += refund.amount_cents if refund.kind == Kind.CHARGEBACK_WON else -refund.amount_cents
        before, base = base, min(max(total, 0), paid)
        yield MoneyEvent(f"refund:{refund.refund_id}", refund.kind, refund.refunded_at, before, base)
