"""Why: attributions, chains and payments as JSON documents, and what of them a partner may see (R15, R20)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from attribution.chain import Chain, ClickStep, JoinStep, LicenseStep, PartnerStep, PaymentStep, SignupStep, Step
from attribution.explain import LicenseExplanation, PaymentExplanation, chain, explain_payment
from reports.commissions import SECOND_TIER
from reports.room import Room
from tracker.rfc3339 import rfc3339

MAX_PAYMENTS_EXPLAINED = 12  # each takes a handful of queries; older ones are among the commission lines


def attribution_document(explained: LicenseExplanation) -> dict[str, Any]:
    """A license's attribution as the admin API shows it."""
    license = explained.license
    return {
        "license_id": explained.license_id,
        "partner_id": explained.partner_id,
        "recruiter_id": explained.recruiter_id,
        "reason": explained.reason,
        "rule": explained.rule,
        "rule_text": explained.rule_text,
        "product": license.product,
        "started_at": rfc3339(license.started_at),
        "origin": license.origin,
        "payment_origin": license.payment_origin,
        "is_blocked": explained.is_blocked,
        "candidates": [
            {
                "click_id": each.click_id,
                "clicked_at": rfc3339(each.clicked_at),
                "partner_id": each.partner_id,
                "counted": each.counted,
                "refused": each.refused,
            }
            for each in explained.candidates
        ],
    }


def step_document(step: Step) -> dict[str, Any]:
    """One step of a chain; `step` says which kind it is. Times are RFC 3339."""
    match step:
        case PaymentStep(payment, refund):
            return {
                "step": "payment",
                "payment_id": payment.payment_id,
                "paid_at": rfc3339(payment.paid_at),
                "amount_cents": payment.amount_cents,
                "currency": payment.currency,
                "refund": refund
                and {
                    "refund_id": refund.refund_id,
                    "refunded_at": rfc3339(refund.refunded_at),
                    "amount_cents": refund.amount_cents,
                    "kind": refund.kind,
                },
            }
        case LicenseStep(license, is_blocked, discount_cents):
            return {
                "step": "license",
                "license_id": license.license_id,
                "product": license.product,
                "client_email_masked": license.client_email_masked,
                "origin": license.origin,
                "payment_origin": license.payment_origin,
                "transferred_at": None if license.transferred_at is None else rfc3339(license.transferred_at),
                "discount_cents": discount_cents,
                "is_blocked": is_blocked,
            }
        case SignupStep():
            return {
                "step": "signup",
                "started_at": rfc3339(step.started_at),
                "origin": step.origin,
                "reason": step.reason,
                "rule": step.rule,
                "text": step.text,
            }
        case ClickStep():
            return {
                "step": "click",
                "click_id": step.click_id,
                "clicked_at": rfc3339(step.clicked_at),
                "partner_id": step.partner_id,
                "product": step.product,
                "campaign": step.campaign,
                "source": step.source,
                "country": step.country,
                "device": step.device,
            }
        case PartnerStep():
            joined_at = None if step.joined_at is None else rfc3339(step.joined_at)
            return {"step": step.role, "partner_id": step.partner_id, "joined_at": joined_at}
        case JoinStep():
            return {
                "step": "join",
                "partner_id": step.partner_id,
                "joined_at": rfc3339(step.joined_at),
                "reason": step.reason,
                "rule": step.rule,
                "text": step.text,
            }


def chain_document(found: Chain) -> dict[str, Any]:
    """A chain as administrators see it: everything."""
    steps = [step_document(step) for step in found.steps]
    return {"entry_id": found.line.entry_id, "is_blocked": found.is_blocked, "steps": steps}


def partner_chain_document(found: Chain) -> dict[str, Any]:
    """A chain as the partner who earned the line sees it.

    R20: a second-tier chain tells of the referred partner only who they are and how they joined. Of the money it
    tells what the line itself does.
    """
    document = chain_document(found)
    if found.line.tier == SECOND_TIER:
        line = found.line
        money = {
            "step": "payment",
            "referred_partner_id": line.referred_id,
            "occurred_at": rfc3339(line.occurred_at),
            "kind": line.kind,
            "basis_cents": line.basis_cents,
            "currency": line.currency,
        }
        about_partner = [i for i, step in enumerate(found.steps) if isinstance(step, PartnerStep)]
        document["steps"] = [money, *document["steps"][about_partner[0] :]]
    return document


async def partner_chain(room: Room, partner_id: str, entry_id: str) -> dict[str, Any] | None:
    """The chain of a partner's own line as they may see it; None for any other line."""
    found = await room.in_thread(partial(chain, room.warehouse, room.program, entry_id, partner_id))
    return partner_chain_document(found) if found else None


@dataclass(frozen=True, slots=True)
class PaymentReason:
    """What one payment earned its license's partner, and why. Times in ms; money in cents.

    `amount_cents` is None where the partner has no business with it: the client paid and nothing was earned (R15).
    """

    paid_at: int
    amount_cents: int | None
    earned_cents: int
    text: str
    came_back: tuple[tuple[str, int, int], ...]
    """Kind, time and commission of each refund, chargeback or won dispute."""


async def license_payments(room: Room, license_id: str) -> list[PaymentReason]:
    """The newest payments of a license, newest first, as its partner sees them."""
    rows = await room.rows("license_payments", license_id=license_id, most=MAX_PAYMENTS_EXPLAINED)

    def explain() -> list[PaymentReason]:
        found = (explain_payment(room.warehouse, room.program, row["payment_id"]) for row in rows)
        return [_payment_reason(one) for one in found if one]

    return await room.in_thread(explain)


def _payment_reason(explained: PaymentExplanation) -> PaymentReason:
    first, payment = explained.shares[0], explained.payment
    is_shown = not first.withheld or first.withheld == "partner_pays"
    percent = 0 if first.withheld else first.percent_hundredths
    earned = [(one, one.earned_cents(percent)) for one in explained.money_events]
    return PaymentReason(
        payment.paid_at,
        payment.amount_cents if is_shown else None,
        sum(cents for _, cents in earned),
        explained.texts[0],
        tuple((str(one.kind), one.occurred_at, cents) for one, cents in earned[1:]),
    )
