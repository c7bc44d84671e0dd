"""Why: attributions, chains and payments as JSON documents, and what of them a partner may see (R15, R20)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from attribution.chain import Chain, ClickStep, JoinStep, LicenseStep, PartnerStep, PaymentStep, SignupStep, Step
from attribution.explain import LicenseExplanation, PaymentExplanation, chain, explain_license, explain_payment
from reports.commissions import SECOND_TIER
from reports.room import Room
from tracker.program import percent_number
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


def payment_document(explained: PaymentExplanation) -> dict[str, Any]:
    """What a payment earned whom, or why it earned nobody anything, as the admin API shows it."""
    payment = explained.payment
    return {
        "payment_id": payment.payment_id,
        "license_id": payment.license_id,
        "paid_at": rfc3339(payment.paid_at),
        "amount_cents": payment.amount_cents,
        "currency": payment.currency,
        "is_blocked": explained.is_blocked,
        "tiers": [
            {
                "tier": share.tier,
                "partner_id": share.partner_id or None,
                "percent": None if share.withheld else percent_number(share.percent_hundredths),
                "earned_cents": sum(due.amount_cents for due in explained.dues if due.tier == share.tier),
                "withheld": share.withheld or None,
                "text": text,
            }
            for share, text in zip(explained.shares, explained.texts, strict=True)
        ],
        "money_events": [
            {"kind": str(event.kind), "occurred_at": rfc3339(event.occurred_at), "base_cents": event.base_after_cents}
            for event in explained.money_events
        ],
    }


@dataclass(frozen=True, slots=True)
class CandidateWords:
    """A click of a license's visitor, as the license's partner may see it: never whose link another's was (R20)."""

    clicked_at: int
    is_own: bool
    counted: bool
    refused: str | None
    """Why it did not win; None for the winner."""


def partner_candidates(explained: LicenseExplanation) -> list[CandidateWords]:
    """The visitor's clicks, newest first, for the partner to whom the license belongs."""
    return [
        CandidateWords(
            each.clicked_at,
            is_own := each.partner_id == explained.partner_id,
            each.counted,
            each.refused if is_own or each.refused is None or each.counted else "R1: it does not count",
        )
        for each in explained.candidates
    ]


async def partner_license_document(room: Room, explained: LicenseExplanation) -> dict[str, Any]:
    """Why a license is its partner's and what each payment earned them, as they may see it (R15, R20)."""
    payments = await license_payments(room, explained.license_id)
    return {
        "license_id": explained.license_id,
        "reason": explained.reason,
        "rule": explained.rule,
        "rule_text": explained.rule_text,
        "started_at": rfc3339(explained.license.started_at),
        "is_blocked": explained.is_blocked,
        "clicks": [
            {
                "clicked_at": rfc3339(each.clicked_at),
                "is_own": each.is_own,
                "counted": each.counted,
                "refused": each.refused,
            }
            for each in partner_candidates(explained)
        ],
        "payments": [
            {
                "paid_at": rfc3339(each.paid_at),
                "amount_cents": each.amount_cents,
                "earned_cents": each.earned_cents,
                "text": each.text,
                "came_back": [
                    {"kind": kind, "occurred_at": rfc3339(at), "earned_cents": cents}
                    for kind, at, cents in each.came_back
                ],
            }
            for each in payments
        ],
    }


async def explain_own_license(room: Room, partner_id: str, license_id: str) -> LicenseExplanation | None:
    """Why a license is whose it is, where it is this partner's; else None."""
    found = await room.in_thread(partial(explain_license, room.warehouse, room.program, license_id))
    return found if found is not None and found.partner_id == partner_id else None


async def license_payment_documents(room: Room, license_id: str) -> list[dict[str, Any]]:
    """The newest payments of a license, newest first, as administrators see them."""
    return [payment_document(one) for one in await _explained_payments(room, license_id)]


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
    return [_payment_reason(one) for one in await _explained_payments(room, license_id)]


async def _explained_payments(room: Room, license_id: str) -> list[PaymentExplanation]:
    rows = await room.rows("license_payments", license_id=license_id, most=MAX_PAYMENTS_EXPLAINED)

    def explain() -> list[PaymentExplanation]:
        found = (explain_payment(room.warehouse, room.program, row["payment_id"]) for row in rows)
        return [one for one in found if one]

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
