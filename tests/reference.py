"""The rules of the program once more, in plain Python, to hold the product against.

It is written from the rules alone and shares no code with the product but the records of facts. It looks at all
facts at once, as often as it likes: being obviously right is its only virtue. Times are milliseconds, money is
integer cents. An empty string is "nobody".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

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
from tracker.program import Program

AnyFact = (
    Clicked
    | PartnerJoined
    | SignedUp
    | SolutionLicenseCreated
    | LicenseTransferred
    | Paid
    | Refunded
    | LicenseChanged
    | PartnerChanged
)
DAY = 86_400_000

_ID_FIELDS = {
    Clicked: "click_id",
    PartnerJoined: "partner_id",
    SignedUp: "license_id",
    SolutionLicenseCreated: "license_id",
    LicenseTransferred: "event_id",
    Paid: "payment_id",
    Refunded: "refund_id",
    LicenseChanged: "event_id",
    PartnerChanged: "event_id",
}


def fact_id(fact: AnyFact) -> tuple[str, str]:
    """What makes two deliveries the same fact. Signups and solution licenses share one space of license ids."""
    kind = "license" if isinstance(fact, SignedUp | SolutionLicenseCreated) else fact.type
    return kind, getattr(fact, _ID_FIELDS[type(fact)])


@dataclass(frozen=True)
class Binding:
    """Whom a license is bound to. `reason` is the contract's, or `solution_license`."""

    partner_id: str
    click_id: str
    reason: str


@dataclass(frozen=True)
class FunnelLicense:
    """A license that a click won (R19), with the stages that it has reached and what it paid net."""

    click_id: str
    license_id: str
    stages: frozenset[str]
    revenue_cents: int


@dataclass
class Outcome:
    """What the rules give on all facts. Sums that are zero are left out."""

    bindings: dict[str, Binding] = field(default_factory=dict)
    recruiters: dict[str, str] = field(default_factory=dict)
    events: dict[tuple[str, int, str], int] = field(default_factory=dict)
    """(`payment:<id>` or `refund:<id>`, tier, partner) → cents."""
    payments: dict[tuple[str, int, str], int] = field(default_factory=dict)
    """(payment id, tier, partner) → net cents."""
    blocked: set[str] = field(default_factory=set)
    exceeding: set[str] = field(default_factory=set)
    """Payments of which more than was paid came back, or was won back (R8)."""
    countable: set[str] = field(default_factory=set)
    """Click ids that count (R1)."""
    funnel: list[FunnelLicense] = field(default_factory=list)


def outcome(facts: Iterable[AnyFact], program: Program, first_touch: bool = False) -> Outcome:
    """What the rules give on `facts`, in any order, with repeats. With `first_touch` R2 takes the oldest click."""
    return Reference(facts, program, first_touch).outcome()


def once(facts: Iterable[AnyFact]) -> list[AnyFact]:
    """The facts without repeats: the first of an id wins."""
    first: dict[tuple[str, str], AnyFact] = {}
    for fact in facts:
        first.setdefault(fact_id(fact), fact)
    return list(first.values())


def half_even(value: Fraction) -> int:
    """R9."""
    below = value.numerator // value.denominator
    rest = value - below
    if rest > Fraction(1, 2) or (rest == Fraction(1, 2) and below % 2 == 1):
        return below + 1
    return below


class Reference:
    def __init__(self, facts: Iterable[AnyFact], program: Program, first_touch: bool = False) -> None:
        self.program = program
        self.pick = min if first_touch else max
        self.clicks: list[Clicked] = []
        self.partners: dict[str, PartnerJoined] = {}
        self.licenses: dict[str, SignedUp | SolutionLicenseCreated] = {}
        self.transfers: list[LicenseTransferred] = []
        self.payments: list[Paid] = []
        self.refunds: list[Refunded] = []
        self.license_changes: list[LicenseChanged] = []
        self.partner_changes: list[PartnerChanged] = []
        for fact in once(facts):
            match fact:
                case Clicked():
                    self.clicks.append(fact)
                case PartnerJoined():
                    self.partners[fact.partner_id] = fact
                case SignedUp() | SolutionLicenseCreated():
                    self.licenses[fact.license_id] = fact
                case LicenseTransferred():
                    self.transfers.append(fact)
                case Paid():
                    self.payments.append(fact)
                case Refunded():
                    self.refunds.append(fact)
                case LicenseChanged():
                    self.license_changes.append(fact)
                case PartnerChanged():
                    self.partner_changes.append(fact)

    # Partners over time

    def suspended(self, partner_id: str, moment: int) -> bool:
        """R11."""
        changes = [
            change
            for change in self.partner_changes
            if change.partner_id == partner_id
            and change.kind in ("suspended", "reinstated")
            and change.occurred_at <= moment
        ]
        return bool(changes) and max(changes, key=lambda c: (c.occurred_at, c.event_id)).kind == "suspended"

    def joined(self, partner_id: str, moment: int) -> bool:
        return partner_id in self.partners and self.partners[partner_id].joined_at <= moment

    def active(self, partner_id: str, moment: int) -> bool:
        return self.joined(partner_id, moment) and not self.suspended(partner_id, moment)

    def percent(self, partner_id: str, tier: int, moment: int) -> Fraction:
        """R10, as a fraction of one."""
        rates = [
            change
            for change in self.partner_changes
            if change.partner_id == partner_id and change.kind == "rate_changed" and change.occurred_at <= moment
        ]
        hundredths: int | None = (
            self.program.first_tier_percent_hundredths if tier == 1 else self.program.second_tier_percent_hundredths
        )
        if rates:
            newest = max(rates, key=lambda c: (c.occurred_at, c.event_id))
            if newest.until is None or moment < newest.until:
                hundredths = (
                    newest.first_tier_percent_hundredths if tier == 1 else newest.second_tier_percent_hundredths
                )
        assert hundredths is not None
        return Fraction(hundredths, 10_000)

    # Who brought whom

    def counts(self, click: Clicked) -> bool:
        """R1."""
        return click.verdict == "human" and self.active(click.partner_id, click.clicked_at)

    def winning_click(self, visitor_id: str | None, moment: int) -> Clicked | None:
        """R2."""
        if visitor_id is None:
            return None
        candidates = [
            click
            for click in self.clicks
            if click.visitor_id == visitor_id
            and moment - self.program.window_days * DAY <= click.clicked_at <= moment
            and self.counts(click)
        ]
        return self.pick(candidates, key=lambda click: (click.clicked_at, click.click_id), default=None)

    def brought_by(self, visitor_id: str | None, hint: str, moment: int) -> Binding:
        """R2, then R3."""
        click = self.winning_click(visitor_id, moment)
        if click is not None:
            return Binding(click.partner_id, click.click_id, "last_touch")
        if self.active(hint, moment):
            return Binding(hint, "", "explicit_partner")
        if self.joined(hint, moment):
            return Binding("", "", "partner_suspended")
        return Binding("", "", "none")

    def same_email(self, partner_id: str, email_hash: str) -> bool:
        """R4's comparison, unless the program allows self-referral."""
        if self.program.allow_self_referral or not email_hash or partner_id not in self.partners:
            return False
        return self.partners[partner_id].email_hash == email_hash

    def binding(self, license_: SignedUp | SolutionLicenseCreated) -> Binding:
        """R2 to R5."""
        if isinstance(license_, SolutionLicenseCreated):
            bound = Binding(license_.partner_id, "", "solution_license")
        else:
            bound = self.brought_by(license_.visitor_id, license_.partner_hint, license_.signed_up_at)
        if self.same_email(bound.partner_id, license_.client_email_hash):
            return Binding(bound.partner_id, bound.click_id, "self_referral")
        return bound

    def recruiter(self, partner_id: str) -> str:
        """R7."""
        joined = self.partners[partner_id]
        found = self.brought_by(joined.visitor_id, joined.recruiter_hint, joined.joined_at).partner_id
        if found == partner_id or self.same_email(found, joined.email_hash):
            return ""
        return found

    # Money

    def money_events(self, payment: Paid) -> list[tuple[str, int]]:
        """The payment and its reversals in order, each with the base after it (R8)."""
        refunds = sorted(
            (refund for refund in self.refunds if refund.payment_id == payment.payment_id),
            key=lambda refund: (refund.refunded_at, refund.refund_id),
        )
        total = payment.amount_cents
        events = [(f"payment:{payment.payment_id}", total)]
        for refund in refunds:
            total += refund.amount_cents if refund.kind == "chargeback_won" else -refund.amount_cents
            events.append((f"refund:{refund.refund_id}", min(max(total, 0), payment.amount_cents)))
        return events

    def partner_pays(self, license_id: str, moment: int) -> bool:
        """R6 and R13."""
        license_ = self.licenses[license_id]
        if not isinstance(license_, SolutionLicenseCreated) or license_.payment_origin != "partner":
            return False
        return not any(t.license_id == license_id and t.occurred_at <= moment for t in self.transfers)

    def earners(self, payment: Paid) -> list[tuple[int, str, Fraction]]:
        """R6, R10, R11: (tier, partner, percent) of who earns on a payment."""
        if payment.license_id not in self.licenses:
            return []
        bound = self.binding(self.licenses[payment.license_id])
        partner_id, moment = bound.partner_id, payment.paid_at
        if partner_id not in self.partners or bound.reason == "self_referral":
            return []
        earning = []
        if not self.partner_pays(payment.license_id, moment) and not self.suspended(partner_id, moment):
            earning.append((1, partner_id, self.percent(partner_id, 1, moment)))
        recruiter = self.recruiter(partner_id)
        if recruiter and not self.suspended(recruiter, moment):
            earning.append((2, recruiter, self.percent(recruiter, 2, moment)))
        return earning

    def exceeds(self, payment: Paid) -> bool:
        """R8: more came back, or was won back, than there was."""
        refunds = [refund for refund in self.refunds if refund.payment_id == payment.payment_id]
        won = sum(refund.amount_cents for refund in refunds if refund.kind == "chargeback_won")
        went = sum(refund.amount_cents for refund in refunds if refund.kind != "chargeback_won")
        return not 0 <= payment.amount_cents - went + won <= payment.amount_cents

    # All of it

    def outcome(self) -> Outcome:
        result = Outcome()
        result.recruiters = {partner_id: self.recruiter(partner_id) for partner_id in self.partners}
        result.bindings = {license_id: self.binding(license_) for license_id, license_ in self.licenses.items()}
        result.countable = {click.click_id for click in self.clicks if self.counts(click)}
        result.blocked = {license_id for license_id in self.licenses if self.is_blocked(license_id)}
        result.exceeding = {payment.payment_id for payment in self.payments if self.exceeds(payment)}
        events: dict[tuple[str, int, str], int] = defaultdict(int)
        payments: dict[tuple[str, int, str], int] = defaultdict(int)
        for payment in self.payments:
            for tier, partner_id, percent in self.earners(payment):
                before = 0
                for event, base in self.money_events(payment):
                    net = half_even(percent * base)
                    events[event, tier, partner_id] += net - before
                    payments[payment.payment_id, tier, partner_id] += net - before
                    before = net
        result.events = without_zeros(events)
        result.payments = without_zeros(payments)
        result.funnel = [self.funnel_license(i, b) for i, b in result.bindings.items() if b.click_id]
        return result

    def is_blocked(self, license_id: str) -> bool:
        """R12: the newest hold decides."""
        holds = [c for c in self.license_changes if c.license_id == license_id and c.kind in ("blocked", "unblocked")]
        return bool(holds) and max(holds, key=lambda c: (c.occurred_at, c.event_id)).kind == "blocked"

    def funnel_license(self, license_id: str, bound: Binding) -> FunnelLicense:
        """R19."""
        stages = {
            change.kind
            for change in self.license_changes
            if change.license_id == license_id and change.kind in ("qualified", "card_added", "expired")
        }
        paid = [payment for payment in self.payments if payment.license_id == license_id]
        if paid:
            stages.add("paid")
        revenue = sum(self.money_events(payment)[-1][1] for payment in paid)
        return FunnelLicense(bound.click_id, license_id, frozenset(stages), revenue)


def without_zeros(sums: Mapping[Any, int]) -> dict[Any, int]:
    """The sums that are not zero."""
    return {key: cents for key, cents in sums.items() if cents}
