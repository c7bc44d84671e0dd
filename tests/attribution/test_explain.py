"""Explanations of licenses and payments, and chains of ledger lines."""

from __future__ import annotations

import pytest

from attribution.chain import ClickStep, JoinStep, LicenseStep, PartnerStep, PaymentStep, SignupStep
from attribution.explain import chain, explain_license, explain_payment
from attribution.ledger import run_round
from attribution.warehouse import Warehouse
from tests.attribution.fact_writer import (
    DAY,
    START,
    FactWriter,
    at,
    changed,
    clicked,
    created,
    joined,
    license_changed,
    paid,
    refunded,
    signed_up,
    uuid_of,
)
from tracker.program import Program

PROGRAM = Program()
NOW = START + 400 * DAY
AHEAD = 36_500
"""A day of the story that no clock has come to."""


@pytest.fixture
def told(warehouse: Warehouse) -> FactWriter:
    """L is P's by a click, P is recruited by Q by a click; 2900 paid, 900 refunded; a round is published."""
    writer = FactWriter(warehouse)
    writer.load(
        joined("Q"),
        joined("O"),
        clicked(90, "Q", 0.5, visitor=9, product="partner_program"),
        joined("P", 1, visitor=9),
        clicked(1, "O", 1.5),
        clicked(2, "P", 2),
        clicked(3, "O", 2.5, verdict="bot"),
        clicked(4, "O", 3.5),
        signed_up("L", 3),
        paid("p", "L", 2900, 4),
        refunded("r", "p", 900, 5),
        created("S", "P", 3, "partner"),
        paid("s", "S", 2320, 6),
    )
    run_round(warehouse, PROGRAM, NOW)
    return writer


def line(warehouse: Warehouse, event: str, tier: int, partner_id: str) -> str:
    rows = warehouse.rows(
        "select entry_id from ledger where money_event_id = {event:String} and tier = {tier:UInt8}"
        " and partner_id = {partner_id:String} order by round desc",
        event=event,
        tier=tier,
        partner_id=partner_id,
    )
    return str(rows[0]["entry_id"])


def test_a_license_with_every_candidate(told: FactWriter) -> None:
    found = explain_license(told.warehouse, PROGRAM, "L")
    assert found is not None
    assert (found.partner_id, found.recruiter_id, found.reason, found.rule) == ("P", "Q", "last_touch", "R2")
    assert found.rule_text.startswith("R2: ")
    assert [
        (each.click_id, each.clicked_at, each.partner_id, each.counted, each.refused) for each in found.candidates
    ] == [
        (uuid_of(4), at(3.5), "O", True, "R2: after the signup"),
        (uuid_of(3), at(2.5), "O", False, "R1: bot"),
        (uuid_of(2), at(2), "P", True, None),
        (uuid_of(1), at(1.5), "O", True, "R2: an older click; the newest one wins"),
    ]
    assert found.license.client_email_masked == "c…t@e…m"


def test_licenses_of_other_kinds(told: FactWriter) -> None:
    told.load(signed_up("N", 3, visitor=77), license_changed("b", "S", 7, "blocked"))
    run_round(told.warehouse, PROGRAM, NOW)
    solution, nobody = (explain_license(told.warehouse, PROGRAM, license_id) for license_id in ("S", "N"))
    assert solution is not None and nobody is not None
    assert (solution.partner_id, solution.recruiter_id, solution.reason, solution.rule) == (
        "P",
        "Q",
        "solution_license",
        "R5",
    )
    assert solution.is_blocked and not nobody.is_blocked
    assert (nobody.partner_id, nobody.recruiter_id, nobody.reason, nobody.candidates) == (None, None, "none", ())
    assert explain_license(told.warehouse, PROGRAM, "ghost") is None


def test_a_winner_behind_hundreds_of_refused_clicks_is_listed(told: FactWriter) -> None:
    told.load(*(clicked(1000 + number, "O", 2.6, verdict="bot") for number in range(600)))
    run_round(told.warehouse, PROGRAM, NOW)
    found = explain_license(told.warehouse, PROGRAM, "L")
    assert found is not None and found.partner_id == "P" and 500 <= len(found.candidates) <= 502
    assert [each.click_id for each in found.candidates if each.refused is None] == [uuid_of(2)]


def test_payments(told: FactWriter) -> None:
    told.load(paid("lost", "ghost", 100, 4))
    run_round(told.warehouse, PROGRAM, NOW)
    by_client, by_partner, lost = (explain_payment(told.warehouse, PROGRAM, each) for each in ("p", "s", "lost"))
    assert by_client is not None and by_partner is not None and lost is not None
    assert by_client.texts == ("R6: P earns 20 % of what was paid", "R6: Q earns 5 % of what was paid")
    assert [(due.money_event_id, due.tier, due.amount_cents) for due in by_client.dues] == [
        ("payment:p", 1, 580), ("payment:p", 2, 145), ("refund:r", 1, -180), ("refund:r", 2, -45),
    ]  # fmt: skip
    assert by_partner.texts == ("R6: the partner pays, 20 % less already", "R6: Q earns 5 % of what was paid")
    assert lost.texts == ("R16: the license is not known yet",) * 2 and lost.dues == ()
    assert explain_payment(told.warehouse, PROGRAM, "ghost") is None


def test_the_chain_of_a_first_and_a_second_tier_line(told: FactWriter) -> None:
    first = chain(told.warehouse, PROGRAM, line(told.warehouse, "refund:r", 1, "P"))
    second = chain(told.warehouse, PROGRAM, line(told.warehouse, "refund:r", 2, "Q"), partner_id="Q")
    assert first is not None and second is not None and first.steps == second.steps
    payment, license, signup, click, partner, join, recruiting, recruiter = first.steps
    assert isinstance(payment, PaymentStep) and payment.refund is not None
    assert (payment.payment.payment_id, payment.refund.refund_id) == ("p", "r")
    assert isinstance(license, LicenseStep) and license.license.license_id == "L" and license.discount_cents is None
    assert isinstance(signup, SignupStep) and (signup.reason, signup.rule) == ("last_touch", "R2")
    assert isinstance(click, ClickStep) and (click.click_id, click.partner_id) == (uuid_of(2), "P")
    assert partner == PartnerStep("partner", "P", at(1))
    assert isinstance(join, JoinStep) and (join.partner_id, join.reason) == ("P", "last_touch")
    assert isinstance(recruiting, ClickStep) and recruiting.product == "partner_program"
    assert recruiter == PartnerStep("recruiter", "Q", START)
    assert (second.line.amount_cents, second.line.referred_id, second.is_blocked) == (-45, "P", False)


def test_the_chain_of_a_partner_paid_license(told: FactWriter) -> None:
    told.load(license_changed("b", "S", 7, "blocked"), license_changed("a", "S", 6, "unblocked"))
    run_round(told.warehouse, PROGRAM, NOW)
    found = chain(told.warehouse, PROGRAM, line(told.warehouse, "payment:s", 2, "Q"))
    assert found is not None and found.is_blocked
    license = found.steps[1]
    assert isinstance(license, LicenseStep) and license.discount_cents == 580 and license.is_blocked
    assert [type(step).__name__ for step in found.steps] == [
        "PaymentStep", "LicenseStep", "SignupStep", "PartnerStep", "JoinStep", "ClickStep", "PartnerStep",
    ]  # fmt: skip


def test_a_hold_is_told_when_it_holds(told: FactWriter) -> None:
    """R12, as balances know it: no round waits for it, and one that is dated ahead does not hold yet."""

    def told_of() -> list[bool]:
        license = explain_license(told.warehouse, PROGRAM, "S")
        payment = explain_payment(told.warehouse, PROGRAM, "s")
        posted = chain(told.warehouse, PROGRAM, line(told.warehouse, "payment:s", 2, "Q"))
        assert license is not None and payment is not None and posted is not None
        return [license.is_blocked, payment.is_blocked, posted.is_blocked]

    told.load(license_changed("ahead", "S", AHEAD, "blocked"))
    assert told_of() == [False] * 3
    told.load(license_changed("b", "S", 7, "blocked"))
    assert told_of() == [True] * 3


def test_an_old_line_keeps_its_own_chain(told: FactWriter) -> None:
    """R20: when a license moves from P to O, neither P's lines nor their corrections tell P of O's click."""
    before = line(told.warehouse, "payment:p", 1, "P")
    told.load(clicked(5, "O", 2.7))
    run_round(told.warehouse, PROGRAM, NOW)
    correction = line(told.warehouse, "payment:p", 1, "P")
    assert correction != before
    for entry_id in (before, correction):
        found = chain(told.warehouse, PROGRAM, entry_id)
        assert found is not None
        assert [step.partner_id for step in found.steps if isinstance(step, ClickStep)] == ["P", "Q"]
    moved = chain(told.warehouse, PROGRAM, line(told.warehouse, "payment:p", 1, "O"))
    assert moved is not None
    assert [step.click_id for step in moved.steps if isinstance(step, ClickStep)] == [uuid_of(5)]


def test_no_chain_for_others_and_for_what_is_not_there(told: FactWriter) -> None:
    mine = line(told.warehouse, "payment:p", 1, "P")
    assert chain(told.warehouse, PROGRAM, mine, partner_id="P") is not None
    assert chain(told.warehouse, PROGRAM, mine, partner_id="Q") is None
    assert chain(told.warehouse, PROGRAM, "ghost") is None


def test_nothing_is_told_of_facts_that_no_round_has_seen(told: FactWriter) -> None:
    told.load(changed("e", "P", 1.7, "suspended"), clicked(6, "O", 2.8), paid("next", "L", 100, 8))
    found = explain_license(told.warehouse, PROGRAM, "L")
    assert found is not None and found.partner_id == "P" and len(found.candidates) == 4
    assert explain_payment(told.warehouse, PROGRAM, "next") is None
