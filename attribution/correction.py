"""What the ledger lacks: the difference between what it should say of a payment and what it says. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from attribution.binding import Reason
from attribution.commission import Due, Kind, Payment, Share, Withheld
from attribution.facts import Binding
from tracker.ids import NIL_UUID
from tracker.program import percent_number


@dataclass(frozen=True, slots=True)
class Posted:
    """What the ledger says so far of one money event, tier, partner and referred partner, over all its lines."""

    money_event_id: str
    tier: int
    partner_id: str
    referred_id: str
    occurred_at: int
    amount_cents: int
    basis_cents: int
    percent_hundredths: int


@dataclass(frozen=True, slots=True)
class Line:
    """A line to append, but for its id, round and time of posting."""

    occurred_at: int
    partner_id: str
    tier: int
    kind: str
    money_event_id: str
    payment_id: str
    license_id: str
    referred_id: str
    product: str
    basis_cents: int
    percent_hundredths: int
    amount_cents: int
    currency: str
    reason: str


@dataclass(frozen=True, slots=True)
class Change:
    """Why a payment's commission may be another than before. `before` is None when the license was not bound yet."""

    before: Binding | None
    after: Binding
    shares: tuple[Share, Share]


def lines(payment: Payment, dues: Iterable[Due], posted: Iterable[Posted], change: Change) -> Iterator[Line]:
    """The lines that make the ledger say `dues`, given that it says `posted`. None where both agree.

    A line is natural where nothing stood yet for its money event and tier, and else a correction with a reason. A
    natural line says a reason too when the payment had earned before and now earns for others (R17).
    """
    owed = {(each.money_event_id, each.tier, each.partner_id, each.referred_id): each for each in dues}
    stands = {(each.money_event_id, each.tier, each.partner_id, each.referred_id): each for each in posted}
    touched = {(each.money_event_id, each.tier) for each in stands.values()}
    for key in [*owed, *(key for key in stands if key not in owed)]:
        target, standing = owed.get(key), stands.get(key)
        amount = (target.amount_cents if target else 0) - (standing.amount_cents if standing else 0)
        if not amount:
            continue
        basis = (target.basis_cents if target else 0) - (standing.basis_cents if standing else 0)
        fixed = target or standing
        assert fixed is not None
        is_natural = target is not None and key[:2] not in touched
        yield Line(
            occurred_at=fixed.occurred_at,
            partner_id=fixed.partner_id,
            tier=fixed.tier,
            kind=target.kind if target and is_natural else Kind.CORRECTION,
            money_event_id=fixed.money_event_id,
            payment_id=payment.payment_id,
            license_id=payment.license_id,
            referred_id=fixed.referred_id,
            product=change.after.product,
            basis_cents=basis,
            percent_hundredths=fixed.percent_hundredths,
            amount_cents=amount,
            currency=payment.currency,
            reason=(moved_reason(fixed.tier, change) if stands else "")
            if is_natural
            else correction_reason(target, standing, change),
        )


def correction_reason(target: Due | None, standing: Posted | None, change: Change) -> str:
    """What changed, in words with the rule's number; the first of the causes that fits."""
    tier = target.tier if target else standing.tier if standing else 1
    if moved := moved_reason(tier, change):
        return moved
    if change.shares[tier - 1].withheld == Withheld.PARTNER_SUSPENDED:
        return "partner_suspended (R11)"
    if target and standing and target.percent_hundredths != standing.percent_hundredths:
        was, now = percent_number(standing.percent_hundredths), percent_number(target.percent_hundredths)
        return f"rate changed from {was} % to {now} % (R10)"
    if target and standing and target.basis_cents != standing.basis_cents:
        return "what came back was reported late (R8)"
    return "a late fact (R16)"


def moved_reason(tier: int, change: Change) -> str:
    """What changed about whose the license is and who pays, or nothing."""
    before, after = change.before, change.after
    if before is None:
        return ""
    is_self_referral = after.reason == Reason.SELF_REFERRAL
    if before.partner_id != after.partner_id:
        was, now = before.partner_id or "nobody", after.partner_id or "nobody"
        moved = f"binding moved from {was} to {now} (R16: {_rebinding_cause(before, after)})"
        return f"{moved}; self_referral (R4)" if is_self_referral else moved
    if before.reason != after.reason and (is_self_referral or before.reason == Reason.SELF_REFERRAL):
        return "self_referral (R4)"
    if tier == 2 and before.recruiter_id != after.recruiter_id:
        was, now = before.recruiter_id or "nobody", after.recruiter_id or "nobody"
        return f"recruiter of {after.partner_id} moved from {was} to {now} (R16: a late fact)"
    return "transfer to the client (R13)" if before.transferred_at != after.transferred_at else ""


def _rebinding_cause(before: Binding, after: Binding) -> str:
    """A click that arrived late, or that counts late because its partner's join did, moves a binding forward."""
    if after.click_id not in ("", NIL_UUID) and after.clicked_at >= before.clicked_at:
        return "a late click"
    return "a click that no longer counts" if before.reason == Reason.LAST_TOUCH else "a late fact"
