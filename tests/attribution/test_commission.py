"""R6, R8–R11 and R13 as pure integers."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest

from attribution.commission import (
    Bound,
    Payment,
    Refund,
    Withheld,
    commission_cents,
    discount_cents,
    due,
    money_events,
    round_half_even,
    shares,
)
from tracker.program import Program
from tracker.standing import Change, Rate, standing

PROGRAM = Program()
P, Q = standing("P", 0, ""), standing("Q", 0, "")
KNOWN = {"P": P, "Q": Q}
BOUND = Bound("P", "Q")
PAYMENT = Payment("p", "L", 1000, 2900)


def test_halves_go_to_the_even_cent() -> None:
    halves = [(-5, -2), (-3, -2), (-1, 0), (1, 0), (3, 2), (5, 2), (7, 4)]
    assert [round_half_even(numerator, 2) for numerator, _ in halves] == [expected for _, expected in halves]
    assert [commission_cents(cents, 500) for cents in (1990, 1970, -1990, -1970)] == [100, 98, -100, -98]


def test_rounding_is_that_of_exact_fractions() -> None:
    for numerator, denominator in itertools.product(range(-75, 76), (1, 2, 3, 4, 10, 25)):
        assert round_half_even(numerator, denominator) == round(Fraction(numerator, denominator))


def refunds(*given: tuple[str, int, int, str]) -> list[Refund]:
    return [Refund(name, "p", at, cents, kind) for name, at, cents, kind in given]


STORY = refunds(("r1", 2000, 1000, "refund"), ("r2", 3000, 1900, "chargeback"), ("r3", 4000, 1900, "chargeback_won"))


def amounts(payment: Payment, given: list[Refund], bound: Bound = BOUND) -> dict[tuple[str, int], int]:
    return {(each.money_event_id, each.tier): each.amount_cents for each in due(payment, given, bound, KNOWN, PROGRAM)}


def test_a_payment_and_what_came_back() -> None:
    assert amounts(PAYMENT, STORY) == {
        ("payment:p", 1): 580,
        ("payment:p", 2): 145,
        ("refund:r1", 1): -200,
        ("refund:r1", 2): -50,
        ("refund:r2", 1): -380,
        ("refund:r2", 2): -95,
        ("refund:r3", 1): 380,
        ("refund:r3", 2): 95,
    }
    assert due(PAYMENT, STORY, BOUND, KNOWN, PROGRAM)[3].referred_id == "P"


def test_the_order_in_which_refunds_are_given_does_not_matter() -> None:
    expected = amounts(PAYMENT, STORY)
    assert all(amounts(PAYMENT, list(order)) == expected for order in itertools.permutations(STORY))


@pytest.mark.parametrize(
    ("given", "bases"),
    [
        ([("r1", 2, 2900, "refund"), ("r2", 3, 100, "refund")], [2900, 0, 0]),
        ([("r1", 2, 4000, "refund"), ("r2", 3, 1500, "chargeback_won")], [2900, 0, 400]),
        ([("r1", 2, 500, "chargeback_won"), ("r2", 3, 100, "refund")], [2900, 2900, 2900]),
        ([("b", 2, 100, "refund"), ("a", 2, 200, "refund")], [2900, 2700, 2600]),
        ([("r1", 0, 100, "refund")], [2900, 2800]),
    ],
)
def test_the_base_stays_between_nothing_and_what_was_paid(
    given: list[tuple[str, int, int, str]], bases: list[int]
) -> None:
    assert [event.base_after_cents for event in money_events(PAYMENT, refunds(*given))] == bases


def test_any_full_refund_nets_to_zero_on_both_tiers() -> None:
    for paid, part, percent in itertools.product(range(1, 40), (1, 3, 7, 19), (1, 333, 1250, 2000, 9999)):
        rated = {"P": standing("P", 0, "", rates=[Rate(0, "e", percent, percent, None)]), "Q": Q}
        given = refunds(("r1", 2, min(part, paid), "refund"), ("r2", 3, paid, "refund"))
        lines = due(Payment("p", "L", 1, paid), given, BOUND, rated, PROGRAM)
        assert sum(line.amount_cents for line in lines if line.tier == 1) == 0
        assert sum(line.amount_cents for line in lines if line.tier == 2) == 0
        assert all(line.amount_cents for line in lines)


SUSPENDED = [Change(500, "e1", "suspended"), Change(1500, "e2", "reinstated")]


@pytest.mark.parametrize(
    ("bound", "known", "first", "second"),
    [
        (Bound(), KNOWN, Withheld.UNBOUND, Withheld.UNBOUND),
        (Bound("P", "Q", is_self_referral=True), KNOWN, Withheld.SELF_REFERRAL, Withheld.SELF_REFERRAL),
        (Bound("ghost"), KNOWN, Withheld.PARTNER_UNKNOWN, Withheld.PARTNER_UNKNOWN),
        (Bound("P"), KNOWN, 2000, Withheld.NO_RECRUITER),
        (BOUND, KNOWN, 2000, 500),
        (Bound("P", "Q", payment_origin="partner"), KNOWN, Withheld.PARTNER_PAYS, 500),
        (Bound("P", "Q", payment_origin="partner", transferred_at=1001), KNOWN, Withheld.PARTNER_PAYS, 500),
        (Bound("P", "Q", payment_origin="partner", transferred_at=1000), KNOWN, 2000, 500),
        (BOUND, {"P": standing("P", 0, "", SUSPENDED), "Q": Q}, Withheld.PARTNER_SUSPENDED, 500),
        (BOUND, {"P": P, "Q": standing("Q", 0, "", SUSPENDED)}, 2000, Withheld.PARTNER_SUSPENDED),
        (BOUND, {"P": standing("P", 0, "", rates=[Rate(1000, "e", 1, 2, None)]), "Q": Q}, 1, 500),
        (BOUND, {"P": standing("P", 0, "", rates=[Rate(900, "e", 1, 2, 1000)]), "Q": Q}, 2000, 500),
        (BOUND, {"P": P, "Q": standing("Q", 0, "", rates=[Rate(900, "e", 1, 2, 1001)])}, 2000, 2),
    ],
)
def test_who_gets_a_share(
    bound: Bound, known: dict[str, object], first: int | Withheld, second: int | Withheld
) -> None:
    both = shares(1000, bound, known, PROGRAM)  # type: ignore[arg-type]
    assert [share.withheld or share.percent_hundredths for share in both] == [first, second]


def test_nothing_is_no_line() -> None:
    assert amounts(Payment("p", "L", 1000, 2), []) == {}
    assert amounts(Payment("p", "L", 1000, 5), []) == {("payment:p", 1): 1}


def test_what_a_partner_paid_payment_saved() -> None:
    assert discount_cents(Payment("p", "L", 1, 2320)) == 580
    assert discount_cents(Payment("p", "L", 1, 2320, discount_cents=0)) == 0
    assert discount_cents(Payment("p", "L", 1, 2)) == 0
