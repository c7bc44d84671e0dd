"""What each partner has earned and achieved, in plain Python from the rules and docs/partner-api.md.

Like the reference that it stands on, it shares no code with the product but the records of facts, and looks at all
facts for each figure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property

from tests.periods import Span, months_later
from tests.reference import DAY, AnyFact, Binding, Reference, half_even
from tracker.events import Paid, SignedUp, SolutionLicenseCreated
from tracker.program import Program

LATELY = 30 * DAY
TRIAL = 14 * DAY
BRINGS_PARTNERS = "partner_program"
SOLD = "livechat"
"""The one product of these histories that clients have licenses for."""
RESULTS = ("clicks", "trials", "conversions", "earnings")


@dataclass(frozen=True)
class Campaign:
    """A campaign as the app lists it."""

    id: int
    slug: str
    name: str
    product: str


@dataclass
class Account:
    """What is known of a partner besides facts."""

    pending_cents: int = 0
    withdrawn_cents: int = 0
    campaigns: list[Campaign] = field(default_factory=list)
    """The built-in ones included."""

    def campaign(self, slug: str, product: str) -> Campaign:
        """Whose result it is that came by a link with this slug to this product."""
        named = [one for one in self.campaigns if one.slug == slug]
        return (named or [one for one in self.campaigns if one.slug == f"pp_default_{product}"])[0]


@dataclass(frozen=True)
class Line:
    """What a money event earned a partner on a tier, with corrections: cents are not 0."""

    occurred_at: int
    tier: int
    license_id: str
    payment_id: str
    referred_id: str
    cents: int


@dataclass(frozen=True, order=True)
class Link:
    """What won a license or a partner: the product and the campaign of the click; of neither where none did."""

    product: str = ""
    slug: str = ""


class Figures:
    """What every partner must be told once `facts` are attributed, at `now_ms`, which is after all of them."""

    def __init__(self, facts: Iterable[AnyFact], program: Program, now_ms: int) -> None:
        self.reference = Reference(facts, program)
        self.result = self.reference.outcome()
        self.now_ms = now_ms
        self.clicks = {click.click_id: click for click in self.reference.clicks}
        self.payments = {payment.payment_id: payment for payment in self.reference.payments}
        self.refunds = {refund.refund_id: refund for refund in self.reference.refunds}

    @property
    def partner_ids(self) -> list[str]:
        return sorted(self.reference.partners)

    @cached_property
    def lines(self) -> dict[str, list[Line]]:
        """Partner → lines."""
        found: dict[str, list[Line]] = {partner_id: [] for partner_id in self.partner_ids}
        for (event, tier, partner_id), cents in self.result.events.items():
            kind, _, name = event.partition(":")
            payment = self.payments[name if kind == "payment" else self.refunds[name].payment_id]
            occurred_at = payment.paid_at if kind == "payment" else self.refunds[name].refunded_at
            referred = self.bindings[payment.license_id].partner_id if tier == 2 else ""
            line = Line(occurred_at, tier, payment.license_id, payment.payment_id, referred, cents)
            found[partner_id].append(line)
        return found

    @property
    def bindings(self) -> Mapping[str, Binding]:
        return self.result.bindings

    # Licenses

    def licenses(self, partner_id: str) -> list[SignedUp | SolutionLicenseCreated]:
        return [one for name, one in self.reference.licenses.items() if self.bindings[name].partner_id == partner_id]

    def affiliate_licenses(self, partner_id: str) -> list[SignedUp]:
        return [one for one in self.licenses(partner_id) if isinstance(one, SignedUp)]

    def is_solution(self, license_id: str) -> bool:
        return isinstance(self.reference.licenses[license_id], SolutionLicenseCreated)

    def paid(self, license_id: str) -> list[Paid]:
        """Payments by time, equal ones by id."""
        found = [payment for payment in self.payments.values() if payment.license_id == license_id]
        return sorted(found, key=lambda payment: (payment.paid_at, payment.payment_id))

    def has_reached(self, license_id: str, stage: str) -> bool:
        return any(one.license_id == license_id and one.kind == stage for one in self.reference.license_changes)

    def handed_over_at(self, license_id: str) -> int | None:
        """R13: when its client began to pay for a license that its partner had paid for, with a trial."""
        license_ = self.reference.licenses[license_id]
        if not isinstance(license_, SolutionLicenseCreated) or license_.payment_origin != "partner":
            return None
        moments = [one.occurred_at for one in self.reference.transfers if one.license_id == license_id]
        return min(moments, default=None)

    def trial_end(self, license_id: str) -> int:
        license_ = self.reference.licenses[license_id]
        if isinstance(license_, SignedUp):
            return license_.signed_up_at + (TRIAL if license_.trial_days is None else license_.trial_days * DAY)
        handed_over = self.handed_over_at(license_id)
        return (license_.created_at if handed_over is None else handed_over) + TRIAL

    def ended_at(self, license_id: str) -> int | None:
        """When it was reported as expired that nobody has paid for or handed over since, or else its trial ended that
        who pays now has not paid for."""
        ends = [
            one.occurred_at
            for one in self.reference.license_changes
            if one.license_id == license_id and one.kind == "expired"
        ]
        paid = [payment.paid_at for payment in self.paid(license_id)]
        handed_over = self.handed_over_at(license_id) or 0
        if ends and max(ends) > handed_over and max(ends) >= max(paid, default=0):
            return max(ends)
        if self.has_paid(license_id) or self.trial_end(license_id) > self.now_ms:
            return None
        return self.trial_end(license_id)

    def has_paid(self, license_id: str) -> bool:
        """Whether who pays now has paid."""
        handed_over = self.handed_over_at(license_id) or 0
        return any(payment.paid_at >= handed_over for payment in self.paid(license_id))

    def state(self, license_id: str) -> str:
        if self.ended_at(license_id) is not None:
            return "expired"
        return "paid" if self.has_paid(license_id) else "trial"

    def paid_until(self, license_id: str) -> int:
        last = self.paid(license_id)[-1]
        return months_later(last.paid_at, 12 if last.billing_cycle == "annual" else 1)

    def end(self, license_id: str) -> int:
        """When it ended, or ends as far as is known."""
        ended = self.ended_at(license_id)
        if ended is not None:
            return ended
        return self.paid_until(license_id) if self.has_paid(license_id) else self.trial_end(license_id)

    def saved(self, license_: SolutionLicenseCreated) -> int:
        """R6: what its partner saved by paying for it."""
        return sum(
            half_even(Fraction(payment.amount_cents * 20, 80))
            if payment.discount_cents is None
            else payment.discount_cents
            for payment in self.paid(license_.license_id)
            if self.reference.partner_pays(license_.license_id, payment.paid_at)
        )

    def link(self, license_id: str) -> Link:
        won = self.bindings[license_id].click_id
        return Link(self.clicks[won].product, self.clicks[won].campaign) if won else Link(SOLD)

    def join_link(self, partner_id: str) -> Link:
        joined = self.reference.partners[partner_id]
        won = self.reference.brought_by(joined.visitor_id, joined.recruiter_hint, joined.joined_at).click_id
        return Link(self.clicks[won].product, self.clicks[won].campaign) if won else Link(BRINGS_PARTNERS)

    def referred(self, partner_id: str) -> list[str]:
        return [name for name, recruiter in self.result.recruiters.items() if recruiter == partner_id]

    # Money

    def available(self, partner_id: str, account: Account) -> int:
        """R18."""
        lines = self.lines[partner_id]
        commission = sum(line.cents for line in lines)
        blocked = sum(line.cents for line in lines if line.license_id in self.result.blocked)
        return commission - blocked - account.pending_cents - account.withdrawn_cents

    def earned_with(self, line: Line) -> tuple[str, str]:
        """Program and product of what was earned."""
        if line.tier == 2:
            return "affiliate", BRINGS_PARTNERS
        return "solution" if self.is_solution(line.license_id) else "affiliate", SOLD

    def commission(self, partner_id: str, product: str, program: str, referred: bool) -> list[tuple[int, int]]:
        """Moments and cents of lines; `all` products and programs. `referred`: of what referred partners' licenses
        paid, by these."""
        found = []
        for line in self.lines[partner_id]:
            of_program, of_product = self.earned_with(line)
            if referred:
                of_program = "solution" if self.is_solution(line.license_id) else "affiliate"
                of_product = BRINGS_PARTNERS if product == BRINGS_PARTNERS else SOLD
            if (not referred or line.tier == 2) and product in ("all", of_product) and program in ("all", of_program):
                found.append((line.occurred_at, line.cents))
        return found

    def line_link(self, line: Line) -> Link:
        return self.join_link(line.referred_id) if line.tier == 2 else self.link(line.license_id)

    def results(self, result: str, partner_id: str) -> list[tuple[int, int, str, Link]]:
        """What a partner achieved as an affiliate: moment, how much, product, and by which link."""
        if result == "clicks":
            counted = [self.clicks[click_id] for click_id in self.result.countable]
            return [
                (click.clicked_at, 1, click.product, Link(click.product, click.campaign))
                for click in counted
                if click.partner_id == partner_id
            ]
        if result == "earnings":
            return [
                (line.occurred_at, line.cents, self.earned_with(line)[1], self.line_link(line))
                for line in self.lines[partner_id]
                if self.earned_with(line)[0] == "affiliate"
            ]
        own = self.affiliate_licenses(partner_id)
        if result == "trials":
            return [(one.signed_up_at, 1, SOLD, self.link(one.license_id)) for one in own]
        return [
            (paid[0].paid_at, 1, SOLD, self.link(one.license_id)) for one in own if (paid := self.paid(one.license_id))
        ]

    def by_campaign(self, result: str, partner_id: str, span: Span, account: Account) -> list[tuple[Campaign, int]]:
        """Campaigns with the most of a result first, of equal ones the smaller number; none without any."""
        sums: dict[Campaign, int] = {}
        for moment, value, _, link in self.results(result, partner_id):
            if moment in span:
                campaign = account.campaign(link.slug, link.product)
                sums[campaign] = sums.get(campaign, 0) + value
        return sorted(
            ((one, value) for one, value in sums.items() if value > 0), key=lambda pair: (-pair[1], pair[0].id)
        )
