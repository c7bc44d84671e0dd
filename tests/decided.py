"""What the rules in Python (attribution/binding.py, commission.py) decide on facts, as the reference says it.

They explain to people what the ledger's SQL has decided, so they must come to the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from attribution.binding import CandidateClick, Decision, Joined, License, Origin, Reason, bind, recruit
from attribution.commission import Bound, Payment, Refund, due
from tests.reference import AnyFact, Binding, Outcome, once, without_zeros
from tracker.events import (
    Clicked,
    LicenseTransferred,
    Paid,
    PartnerChanged,
    PartnerJoined,
    Refunded,
    SignedUp,
    SolutionLicenseCreated,
)
from tracker.program import Program
from tracker.standing import Change, Rate, Standing, standing


def decided(facts: Iterable[AnyFact], program: Program) -> Outcome:
    """Bindings, recruiters and what each money event earned, of `facts` in any order, with repeats."""
    told = once(facts)
    clicks: defaultdict[str | None, list[CandidateClick]] = defaultdict(list)
    transfers: dict[str, int] = {}
    refunds: defaultdict[str, list[Refund]] = defaultdict(list)
    for fact in told:
        match fact:
            case Clicked(visitor_id=str()):
                clicks[fact.visitor_id].append(_click(fact))
            case LicenseTransferred():
                transfers[fact.license_id] = min(fact.occurred_at, transfers.get(fact.license_id, fact.occurred_at))
            case Refunded():
                refunds[fact.payment_id].append(
                    Refund(fact.refund_id, fact.payment_id, fact.refunded_at, fact.amount_cents, fact.kind)
                )
    standings = _standings(told)
    result = Outcome()
    bounds: dict[str, Bound] = {}
    for fact in told:
        if isinstance(fact, PartnerJoined):
            joined = Joined(fact.partner_id, fact.joined_at, fact.email_hash, recruiter_hint=fact.recruiter_hint)
            decision = recruit(joined, clicks[fact.visitor_id], standings, program)
            result.recruiters[fact.partner_id] = decision.partner_id
    for fact in told:
        if isinstance(fact, SignedUp | SolutionLicenseCreated):
            license = _license(fact, transfers)
            visitor_id = fact.visitor_id if isinstance(fact, SignedUp) else None
            decision = bind(license, clicks[visitor_id], standings, program)
            result.bindings[fact.license_id] = _binding(decision)
            bounds[fact.license_id] = Bound(
                decision.partner_id,
                result.recruiters.get(decision.partner_id, ""),
                decision.reason == Reason.SELF_REFERRAL,
                license.payment_origin,
                license.transferred_at,
            )
    for fact in told:
        if isinstance(fact, Paid) and fact.license_id in bounds:
            payment = Payment(fact.payment_id, fact.license_id, fact.paid_at, fact.amount_cents)
            for each in due(payment, refunds[fact.payment_id], bounds[fact.license_id], standings, program):
                result.events[each.money_event_id, each.tier, each.partner_id] = each.amount_cents
    result.events = without_zeros(result.events)
    return result


def _click(fact: Clicked) -> CandidateClick:
    return CandidateClick(fact.click_id, fact.clicked_at, fact.partner_id, verdict=fact.verdict)


def _license(fact: SignedUp | SolutionLicenseCreated, transfers: Mapping[str, int]) -> License:
    transferred_at = transfers.get(fact.license_id)
    email = fact.client_email_hash
    if isinstance(fact, SolutionLicenseCreated):
        return License(
            fact.license_id, fact.product, fact.created_at, Origin.SOLUTION, creator_id=fact.partner_id,
            payment_origin=fact.payment_origin, client_email_hash=email, transferred_at=transferred_at,
        )  # fmt: skip
    return License(
        fact.license_id, fact.product, fact.signed_up_at, Origin.SIGNUP, partner_hint=fact.partner_hint,
        client_email_hash=email, transferred_at=transferred_at,
    )  # fmt: skip


def _binding(decision: Decision) -> Binding:
    return Binding(decision.partner_id, decision.click.click_id if decision.click else "", str(decision.reason))


def _standings(facts: Iterable[AnyFact]) -> dict[str, Standing]:
    changes: defaultdict[str, list[Change]] = defaultdict(list)
    rates: defaultdict[str, list[Rate]] = defaultdict(list)
    joins: list[PartnerJoined] = []
    for fact in facts:
        if isinstance(fact, PartnerJoined):
            joins.append(fact)
        elif isinstance(fact, PartnerChanged) and fact.kind == "rate_changed":
            first, second = fact.first_tier_percent_hundredths, fact.second_tier_percent_hundredths
            assert first is not None and second is not None
            rates[fact.partner_id].append(Rate(fact.occurred_at, fact.event_id, first, second, fact.until))
        elif isinstance(fact, PartnerChanged):
            changes[fact.partner_id].append(Change(fact.occurred_at, fact.event_id, fact.kind))
    return {
        one.partner_id: standing(
            one.partner_id, one.joined_at, one.email_hash, changes[one.partner_id], rates[one.partner_id]
        )
        for one in joins
    }
