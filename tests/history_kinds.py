"""What a history has of all that the rules and the journal tell apart.

A property is as good as what it is tried on: who changes how histories are drawn sees by this what went.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise

from tests.delivery import PROGRAM
from tests.histories import History
from tests.reference import DAY, AnyFact, Reference, fact_id, outcome
from tracker.events import (
    Clicked,
    LicenseChanged,
    LicenseTransferred,
    Paid,
    PartnerChanged,
    PartnerJoined,
    Refunded,
    SignedUp,
    SolutionLicenseCreated,
)

WINDOW = PROGRAM.window_days * DAY
KINDS = {
    # how facts come
    "a fact twice in a batch", "a fact again in a later batch", "facts out of order", "one batch", "five batches",
    "a fact later than the window after it happened", "a click after the signup it wins",
    "a join after the partner's clicks", "a payment before its license", "a refund before its payment",
    # moments
    "clicks of one moment", "a click at the moment of the signup", "a click on the window's edge",
    "a click a millisecond too old", "a payment at the moment of its refund", "a suspension at the moment of a click",
    "a rate from the moment of a payment on", "a rate until the moment of a payment",
    "a transfer at the moment of a payment",
    # what the rules tell apart
    "last_touch", "explicit_partner", "partner_suspended", "none", "solution_license", "self_referral", "a recruiter",
    "partners of one e-mail", "a click of a suspended partner", "a click before the join",
    "a click that is no person's",
    "paid by the partner", "paid by the client of a solution license", "a license that was handed over",
    "a payment of no known license", "a refund of no known payment", "refund", "chargeback", "chargeback_won",
    "more came back than was paid", "all came back", "a dispute won after all came back", "suspended", "reinstated",
    "a rate of one's own that earns", "a rate of one's own that ends", "qualified", "card_added", "expired", "blocked",
    "unblocked", "a license on hold that earns", "a payment on a suspended partner's license",
    "a recruiter who earns on a suspended partner's license", "a license that goes to another partner later",
    "a partner whose recruiter changes later",
}  # fmt: skip


def kinds(history: History) -> Iterator[str]:
    """What a history has, as KINDS calls it."""
    yield from how_it_comes(history)
    facts = Reference(history.facts, PROGRAM)
    yield from what_coincides(facts)
    yield from what_is_told_apart(facts)
    yield from what_changes_later(history)


def how_it_comes(history: History) -> Iterator[str]:
    yield {1: "one batch", 5: "five batches"}.get(len(history.batches), "batches")
    seen: set[tuple[str, str]] = set()
    newest = 0
    for batch in history.batches:
        ids = [fact_id(fact) for fact in batch]
        if len(set(ids)) < len(ids):
            yield "a fact twice in a batch"
        if seen & set(ids):
            yield "a fact again in a later batch"
        fresh = [fact for fact in batch if fact_id(fact) not in seen]
        if any(moment(fact) < newest - WINDOW for fact in fresh):
            yield "a fact later than the window after it happened"
        seen |= set(ids)
        newest = max([newest, *(moment(fact) for fact in batch)])
    if [moment(fact) for fact in history.facts] != sorted(moment(fact) for fact in history.facts):
        yield "facts out of order"
    yield from what_comes_late(history)


def what_comes_late(history: History) -> Iterator[str]:
    came: dict[tuple[str, str], int] = {}
    for number, batch in enumerate(history.batches):
        for fact in batch:
            came.setdefault(fact_id(fact), number)
    facts = Reference(history.facts, PROGRAM)
    for name, bound in facts.outcome().bindings.items():
        if bound.click_id and came["click", bound.click_id] > came["license", name]:
            yield "a click after the signup it wins"
    for click in facts.clicks:
        if came.get(("partner", click.partner_id), 0) > came["click", click.click_id]:
            yield "a join after the partner's clicks"
    for payment in facts.payments:
        if came.get(("license", payment.license_id), 0) > came["payment", payment.payment_id]:
            yield "a payment before its license"
    for refund in facts.refunds:
        if came.get(("payment", refund.payment_id), 0) > came["refund", refund.refund_id]:
            yield "a refund before its payment"


def what_coincides(facts: Reference) -> Iterator[str]:
    for one, other in combinations(facts.clicks, 2):
        if one.clicked_at == other.clicked_at and one.visitor_id == other.visitor_id is not None:
            yield "clicks of one moment"
    for license_ in facts.licenses.values():
        for click in facts.clicks:
            if isinstance(license_, SignedUp) and license_.visitor_id == click.visitor_id is not None:
                ages = {0: "a click at the moment of the signup", WINDOW: "a click on the window's edge"}
                ages[WINDOW + 1] = "a click a millisecond too old"
                yield ages.get(license_.signed_up_at - click.clicked_at, "a click")
    paid_at = {payment.payment_id: payment.paid_at for payment in facts.payments}
    if any(paid_at.get(refund.payment_id) == refund.refunded_at for refund in facts.refunds):
        yield "a payment at the moment of its refund"
    clicked = {(click.partner_id, click.clicked_at) for click in facts.clicks}
    for change in facts.partner_changes:
        if change.kind == "suspended" and (change.partner_id, change.occurred_at) in clicked:
            yield "a suspension at the moment of a click"
        if change.kind == "rate_changed" and change.occurred_at in paid_at.values():
            yield "a rate from the moment of a payment on"
        if change.until in paid_at.values():
            yield "a rate until the moment of a payment"
    paid = {(payment.license_id, payment.paid_at) for payment in facts.payments}
    if any((transfer.license_id, transfer.occurred_at) in paid for transfer in facts.transfers):
        yield "a transfer at the moment of a payment"


def what_is_told_apart(facts: Reference) -> Iterator[str]:
    result = facts.outcome()
    yield from (bound.reason for bound in result.bindings.values())
    yield from (change.kind for change in (*facts.license_changes, *facts.partner_changes))
    yield from (refund.kind for refund in facts.refunds)
    if any(result.recruiters.values()):
        yield "a recruiter"
    emails = [partner.email_hash for partner in facts.partners.values()]
    if len(set(emails)) < len(emails):
        yield "partners of one e-mail"
    for click in facts.clicks:
        if click.verdict != "human":
            yield "a click that is no person's"
        elif click.partner_id in facts.partners and not facts.joined(click.partner_id, click.clicked_at):
            yield "a click before the join"
        elif facts.suspended(click.partner_id, click.clicked_at):
            yield "a click of a suspended partner"
    yield from what_money_meets(facts)
    if result.exceeding:
        yield "more came back than was paid"


def what_money_meets(facts: Reference) -> Iterator[str]:
    result = facts.outcome()
    for payment in facts.payments:
        yield from what_a_payment_meets(facts, payment)
        if payment.license_id in result.blocked and facts.earners(payment):
            yield "a license on hold that earns"
        bases = [base for _, base in facts.money_events(payment)]
        if 0 in bases:
            yield "all came back" if bases[-1] == 0 else "a dispute won after all came back"
    if any(refund.payment_id not in {p.payment_id for p in facts.payments} for refund in facts.refunds):
        yield "a refund of no known payment"


def what_a_payment_meets(facts: Reference, payment: Paid) -> Iterator[str]:
    license_ = facts.licenses.get(payment.license_id)
    if license_ is None:
        yield "a payment of no known license"
        return
    handed_over = [one for one in facts.transfers if one.license_id == payment.license_id]
    if facts.partner_pays(payment.license_id, payment.paid_at):
        yield "paid by the partner"
    elif isinstance(license_, SolutionLicenseCreated):
        is_handed_over = license_.payment_origin == "partner" and handed_over
        yield "a license that was handed over" if is_handed_over else "paid by the client of a solution license"
    partner_id = facts.binding(license_).partner_id
    earners = facts.earners(payment)
    if partner_id in facts.partners and facts.suspended(partner_id, payment.paid_at):
        yield "a payment on a suspended partner's license"
        if earners:
            yield "a recruiter who earns on a suspended partner's license"
    for tier, earner, percent in earners:
        if percent not in (facts.percent(tier=tier, partner_id="", moment=0), 0):
            yield "a rate of one's own that earns"
            ends = [one.until for one in facts.partner_changes if one.partner_id == earner]
            if any(until is not None for until in ends):
                yield "a rate of one's own that ends"


def what_changes_later(history: History) -> Iterator[str]:
    """R16: what the rules gave on earlier batches, and no more on all."""
    results = [
        outcome((fact for batch in history.batches[:count] for fact in batch), PROGRAM)
        for count in range(1, len(history.batches) + 1)
    ]
    for earlier, later in pairwise(results):
        for name, bound in earlier.bindings.items():
            if bound.partner_id and later.bindings[name].partner_id not in ("", bound.partner_id):
                yield "a license that goes to another partner later"
        if any(recruiter != later.recruiters[name] for name, recruiter in earlier.recruiters.items()):
            yield "a partner whose recruiter changes later"


def moment(fact: AnyFact) -> int:
    """When it happened."""
    match fact:
        case Clicked():
            return fact.clicked_at
        case PartnerJoined():
            return fact.joined_at
        case SignedUp():
            return fact.signed_up_at
        case SolutionLicenseCreated():
            return fact.created_at
        case Paid():
            return fact.paid_at
        case Refunded():
            return fact.refunded_at
        case LicenseTransferred() | LicenseChanged() | PartnerChanged():
            return fact.occurred_at


def counted(histories: Sequence[History]) -> Counter[str]:
    """Kind → how many histories have it."""
    return Counter(kind for history in histories for kind in set(kinds(history)))
