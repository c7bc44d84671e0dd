"""The chain of a ledger line: payment → license → signup → click → partner → how they joined → click → recruiter.

It is told as it was when the line was written: later decisions have lines of their own. R20 is not applied here: steps
hold ids that some readers may not see, and the reports leave them out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from attribution.binding import License, Reason, reason_text
from attribution.commission import Payment, Refund, discount_cents
from attribution.facts import (
    QUERIES,
    Binding,
    Recruitment,
    Scope,
    read_bindings,
    read_is_blocked,
    read_join,
    read_license,
    read_payments,
    read_published,
    read_refunds,
)
from attribution.warehouse import Warehouse
from tracker.ids import NIL_UUID
from tracker.program import Program


@dataclass(frozen=True, slots=True)
class PaymentStep:
    """The money: the payment, and the refund of it when the line is about one."""

    payment: Payment
    refund: Refund | None


@dataclass(frozen=True, slots=True)
class LicenseStep:
    """The license that was paid for. `discount_cents`: R6, what a partner-paid payment saved, else None."""

    license: License
    is_blocked: bool
    discount_cents: int | None


@dataclass(frozen=True, slots=True)
class SignupStep:
    """How the license came to belong to its partner: a signup, or its creation by a partner (R5)."""

    started_at: int
    origin: str
    reason: str
    rule: str
    text: str


@dataclass(frozen=True, slots=True)
class ClickStep:
    """The click that won the signup or the join."""

    click_id: str
    clicked_at: int
    partner_id: str
    product: str
    campaign: str
    source: str
    country: str
    device: str
    referrer: str


@dataclass(frozen=True, slots=True)
class PartnerStep:
    """The partner whose license it is, or the one who recruited them. `joined_at` is None while not known."""

    role: str
    partner_id: str
    joined_at: int | None


@dataclass(frozen=True, slots=True)
class JoinStep:
    """How the partner joined the program (R7)."""

    partner_id: str
    joined_at: int
    reason: str
    rule: str
    text: str


Step = PaymentStep | LicenseStep | SignupStep | ClickStep | PartnerStep | JoinStep


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """A published line. Times in ms, money in cents, the percent in hundredths."""

    entry_id: str
    round: int
    posted_at: int
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
class Chain:
    """A line and the steps behind it. `is_blocked`: it is in no balance until the license is unblocked (R12)."""

    line: LedgerLine
    steps: tuple[Step, ...]
    is_blocked: bool


def chain(warehouse: Warehouse, program: Program, entry_id: str, partner_id: str = "") -> Chain | None:
    """The chain of a published line; of `partner_id`'s own lines only, if given. None when there is no such line."""
    published = read_published(warehouse)
    rows = warehouse.rows(QUERIES["explain_line"], entry_id=entry_id, round=published.round, partner_id=partner_id)
    if not rows:
        return None
    line = LedgerLine(**rows[0])
    is_blocked = read_is_blocked(warehouse, line.license_id)
    story = _Story(warehouse, program, line, published.through_load, is_blocked)
    return Chain(line, tuple(story.steps()), is_blocked)


@dataclass(frozen=True, slots=True)
class _Story:
    """Tells a line's chain, reading what each step needs."""

    warehouse: Warehouse
    program: Program
    line: LedgerLine
    through_load: int
    is_blocked: bool

    def steps(self) -> Iterator[Step]:
        scope = Scope(self.through_load, self.line.license_id)
        license = read_license(self.warehouse, scope)
        assert license is not None, "a published line's license is among the facts"
        binding = self._binding()
        payments = read_payments(self.warehouse, scope)
        payment = next(each for each in payments if each.payment_id == self.line.payment_id)
        refunds = read_refunds(self.warehouse, scope)[payment.payment_id]
        refund = next((each for each in refunds if f"refund:{each.refund_id}" == self.line.money_event_id), None)
        yield PaymentStep(payment, refund)
        partner_pays = binding.bound.partner_pays_at(payment.paid_at)
        yield LicenseStep(license, self.is_blocked, discount_cents(payment) if partner_pays else None)
        text = reason_text(binding.reason, self.program)
        yield SignupStep(binding.started_at, binding.origin, binding.reason, binding.rule, text)
        yield from self._click(binding.click_id, binding.clicked_at)
        yield from self._partner(binding.partner_id)

    def _partner(self, partner_id: str) -> Iterator[Step]:
        """The partner, how they joined, and who recruited them."""
        join = read_join(self.warehouse, self.through_load, partner_id)
        yield PartnerStep("partner", partner_id, join.joined_at if join else None)
        recruitment = self._recruitment(partner_id)
        if not join or not recruitment:
            return
        text = join_text(recruitment, self.program)
        yield JoinStep(partner_id, join.joined_at, recruitment.reason, recruitment.rule, text)
        if recruitment.recruiter_id:
            yield from self._click(recruitment.click_id, recruitment.clicked_at)
            recruiter = read_join(self.warehouse, self.through_load, recruitment.recruiter_id)
            yield PartnerStep("recruiter", recruitment.recruiter_id, recruiter.joined_at if recruiter else None)

    def _click(self, click_id: str, clicked_at: int) -> Iterator[ClickStep]:
        if click_id != NIL_UUID:
            rows = self.warehouse.rows(QUERIES["explain_click"], click_id=click_id, clicked_at_ms=clicked_at)
            yield from (ClickStep(**row) for row in rows)

    def _binding(self) -> Binding:
        """The newest binding, when the line was written, under which its partner earned: no other partner's (R20)."""
        versions = read_bindings(self.warehouse, self.line.round, self.line.license_id)
        bound_id = self.line.partner_id if self.line.tier == 1 else self.line.referred_id
        return next((each for each in versions if each.partner_id == bound_id), versions[0])

    def _recruitment(self, partner_id: str) -> Recruitment | None:
        """How the partner was recruited, when the line was written; for a second tier, by the line's partner."""
        rows = self.warehouse.rows(QUERIES["explain_recruitments"], partner_id=partner_id, round=self.line.round)
        versions = [Recruitment(**row) for row in rows]
        if self.line.tier == 2:
            versions = [each for each in versions if each.recruiter_id == self.line.partner_id] or versions
        return versions[0] if versions else None


def join_text(recruitment: Recruitment, program: Program) -> str:
    """Who recruited a partner and why, in a sentence with the rule's number (R7)."""
    if recruitment.reason == Reason.SELF_REFERRAL:
        return "R7, R4: a partner is never recruited by themself"
    if recruitment.reason == Reason.NONE:
        return "R7: nobody recruited the partner"
    return f"R7 by {reason_text(recruitment.reason, program)}"
