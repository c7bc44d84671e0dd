"""Why a license belongs to whom it does, why a payment earned what it did, and the chain of a ledger line.

Everything is as published: from the facts of loads that the newest round has seen; only holds (R12) are as of now, as
they are in balances. Times are milliseconds since 1970. R20 is not applied here: a chain has the ids that its reader
may not see, and the reports leave them out.
"""

from __future__ import annotations

from dataclasses import dataclass

from attribution.binding import CandidateClick, Decision, JudgedClick, License, Origin, bind, reason_text
from attribution.chain import Chain, Step, chain
from attribution.commission import (
    WITHHELD_TEXTS,
    Due,
    MoneyEvent,
    Payment,
    Share,
    Withheld,
    due,
    money_events,
    shares,
)
from attribution.facts import (
    QUERIES,
    Partners,
    Published,
    Scope,
    read_bindings,
    read_is_blocked,
    read_license,
    read_payments,
    read_published,
    read_refunds,
)
from attribution.warehouse import Warehouse
from tracker.program import Program, percent_number

__all__ = [
    "Candidate", "Chain", "LicenseExplanation", "PaymentExplanation", "Step", "chain", "explain_license",
    "explain_payment", "share_text",
]  # fmt: skip

MAX_CANDIDATES = 500
"""Clicks of a visitor that are listed; those that can win are always among them."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A click of the visitor. `counted` is R1's; `refused` says why it did not win, None for the winner."""

    click_id: str
    clicked_at: int
    partner_id: str
    counted: bool
    refused: str | None


@dataclass(frozen=True, slots=True)
class LicenseExplanation:
    """Whom a license belongs to and why, with every candidate click, newest first."""

    license_id: str
    partner_id: str | None
    recruiter_id: str | None
    reason: str
    rule: str
    rule_text: str
    candidates: tuple[Candidate, ...]
    license: License
    is_blocked: bool


@dataclass(frozen=True, slots=True)
class PaymentExplanation:
    """What a payment earned whom. `texts` says it for each tier; `dues` is what the ledger says in sum (R8)."""

    payment: Payment
    money_events: tuple[MoneyEvent, ...]
    shares: tuple[Share, Share]
    texts: tuple[str, str]
    dues: tuple[Due, ...]
    is_blocked: bool


def explain_license(warehouse: Warehouse, program: Program, license_id: str) -> LicenseExplanation | None:
    """Whom a license belongs to, and every candidate's fate. None when the license is not known (yet)."""
    published = read_published(warehouse)
    license = read_license(warehouse, Scope(published.through_load, license_id))
    if license is None:
        return None
    partners = Partners(warehouse, published.through_load, published.round)
    decision = _decide(warehouse, program, license, partners, published)
    recruitment = partners.recruitments([decision.partner_id]).get(decision.partner_id)
    return LicenseExplanation(
        license_id,
        decision.partner_id or None,
        (recruitment.recruiter_id if recruitment else "") or None,
        decision.reason,
        decision.rule,
        reason_text(decision.reason, program),
        tuple(map(_candidate, decision.judged)),
        license,
        read_is_blocked(warehouse, license_id),
    )


def _candidate(judged: JudgedClick) -> Candidate:
    click = judged.click
    return Candidate(click.click_id, click.clicked_at, click.partner_id, judged.counted, judged.refused or None)


def _decide(
    warehouse: Warehouse, program: Program, license: License, partners: Partners, published: Published
) -> Decision:
    clicks: list[CandidateClick] = []
    if license.origin == Origin.SIGNUP and license.visitor_id:
        rows = warehouse.rows(
            QUERIES["explain_clicks"],
            through_load=published.through_load,
            visitor_id=license.visitor_id,
            moment_ms=license.started_at,
            window_ms=program.window_ms,
            max_rows=MAX_CANDIDATES,
        )
        clicks = [CandidateClick(**row) for row in rows]
    named = {click.partner_id for click in clicks} | {license.partner_hint, license.creator_id}
    return bind(license, clicks, partners.standings(named), program)


def explain_payment(warehouse: Warehouse, program: Program, payment_id: str) -> PaymentExplanation | None:
    """Why a payment earned what it did on each tier. None when the payment is not known (yet)."""
    published = read_published(warehouse)
    rows = warehouse.rows(QUERIES["explain_payment"], through_load=published.through_load, payment_id=payment_id)
    if not rows:
        return None
    scope = Scope(published.through_load, rows[0]["license_id"])
    payment = next(each for each in read_payments(warehouse, scope) if each.payment_id == payment_id)
    refunds = read_refunds(warehouse, scope)[payment_id]
    versions = read_bindings(warehouse, published.round, scope.license_id)
    both, dues = (Share(1, "", withheld=Withheld.LICENSE_UNKNOWN), Share(2, "", withheld=Withheld.LICENSE_UNKNOWN)), []
    if versions:
        bound = versions[0].bound
        known = Partners(warehouse, published.through_load, published.round)
        standings = known.standings([bound.partner_id, bound.recruiter_id])
        both = shares(payment.paid_at, bound, standings, program)
        dues = due(payment, refunds, bound, standings, program)
    return PaymentExplanation(
        payment,
        tuple(money_events(payment, refunds)),
        both,
        (share_text(both[0]), share_text(both[1])),
        tuple(dues),
        read_is_blocked(warehouse, scope.license_id),
    )


def share_text(share: Share) -> str:
    """What a tier gets of a payment, or why it gets nothing."""
    if share.withheld:
        return WITHHELD_TEXTS[share.withheld]
    return f"R6: {share.partner_id} earns {percent_number(share.percent_hundredths)} % of what was paid"
