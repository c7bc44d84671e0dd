"""The reference itself, against cases worked out by hand (the rules' own "Worked cases" first)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from tests.histories import START
from tests.reference import DAY, AnyFact, half_even, outcome
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

PROGRAM = Program()


def at(day: float) -> int:
    return START + round(day * DAY)


def joined(partner_id: str, day: float = -10, **given: Any) -> PartnerJoined:
    given = {"email_hash": f"hash of {partner_id}", **given}
    return PartnerJoined(partner_id=partner_id, joined_at=at(day), name=partner_id, email="", digest="", **given)


def clicked(click_id: str, partner_id: str, day: float, visitor_id: str = "v", **given: Any) -> Clicked:
    given = {"product": "livechat", **given}
    return Clicked(click_id=click_id, partner_id=partner_id, clicked_at=at(day), visitor_id=visitor_id, **given)


def signed_up(day: float, visitor_id: str | None = "v", **given: Any) -> SignedUp:
    return SignedUp(
        license_id="L",
        signed_up_at=at(day),
        visitor_id=visitor_id,
        product="livechat",
        data_center="",
        digest="",
        **given,
    )


def solution(origin: str, day: float = 0, **given: Any) -> SolutionLicenseCreated:
    given = {"partner_id": "P", **given}
    return SolutionLicenseCreated(
        license_id="L", created_at=at(day), product="", payment_origin=origin, data_center="", digest="", **given
    )


def paid(amount_cents: int, day: float = 40) -> Paid:
    return Paid(payment_id="p", license_id="L", paid_at=at(day), amount_cents=amount_cents, currency="USD", digest="")


def back(refund_id: str, amount_cents: int, kind: str = "refund", day: float = 50) -> Refunded:
    return Refunded(
        refund_id=refund_id, payment_id="p", refunded_at=at(day), amount_cents=amount_cents, kind=kind, digest=""
    )


def transferred(day: float) -> LicenseTransferred:
    return LicenseTransferred(event_id="t", license_id="L", occurred_at=at(day), digest="")


def license_changed(kind: str) -> LicenseChanged:
    return LicenseChanged(event_id=kind, license_id="L", occurred_at=at(2), kind=kind, digest="")


def changed(event_id: str, partner_id: str, kind: str, day: float, **given: Any) -> PartnerChanged:
    return PartnerChanged(event_id=event_id, partner_id=partner_id, occurred_at=at(day), kind=kind, digest="", **given)


def rate(
    event_id: str, partner_id: str, day: float, first: int, second: int, until: float | None = None
) -> PartnerChanged:
    return changed(
        event_id,
        partner_id,
        "rate_changed",
        day,
        first_tier_percent_hundredths=first,
        second_tier_percent_hundredths=second,
        until=None if until is None else at(until),
    )


RECRUITED: list[AnyFact] = [joined("Q"), joined("P", -5, recruiter_hint="Q")]
LINKED: list[AnyFact] = [*RECRUITED, clicked("c", "P", 0), signed_up(1)]

MONEY: list[tuple[str, Sequence[AnyFact], dict[str, int]]] = [
    ("a link license pays", [*LINKED, paid(2900)], {"1P": 580, "2Q": 145}),
    ("part is refunded", [*LINKED, paid(2900), back("r1", 1000)], {"1P": 380, "2Q": 95}),
    (
        "the rest is charged back",
        [*LINKED, paid(2900), back("r1", 1000), back("r2", 1900, "chargeback", 51)],
        {},
    ),
    (
        "the chargeback is won",
        [
            *LINKED,
            paid(2900),
            back("r1", 1000),
            back("r2", 1900, "chargeback", 51),
            back("r3", 1900, "chargeback_won", 52),
        ],
        {"1P": 380, "2Q": 95},
    ),
    ("99.5 to even", [*LINKED, paid(1990)], {"1P": 398, "2Q": 100}),
    ("98.5 to even", [*LINKED, paid(1970)], {"1P": 394, "2Q": 98}),
    ("a partner-paid license", [*RECRUITED, solution("partner"), paid(2320)], {"2Q": 116}),
    ("a client-paid solution license", [*RECRUITED, solution("client"), paid(2320)], {"1P": 464, "2Q": 116}),
    ("no recruiter", [joined("P"), clicked("c", "P", 0), signed_up(1), paid(2900)], {"1P": 580}),
    (
        "the last touch wins",
        [
            joined("R"),
            joined("A"),
            joined("B", recruiter_hint="R"),
            clicked("a", "A", 0),
            clicked("b", "B", 30),
            signed_up(31),
            paid(2900),
        ],
        {"1B": 580, "2R": 145},
    ),
    ("outside the window", [joined("A"), clicked("a", "A", 0), signed_up(121), paid(2900, 122)], {}),
    ("the window's edge is inside", [joined("A"), clicked("a", "A", 0), signed_up(120), paid(2900, 122)], {"1A": 580}),
    (
        "a visitor who followed A's link joins as B",
        [
            joined("A"),
            clicked("a", "A", 0),
            joined("B", 1, visitor_id="v"),
            clicked("b", "B", 2, "w"),
            signed_up(3, "w"),
            paid(2900),
        ],
        {"1B": 580, "2A": 145},
    ),
    (
        "suspended when it pays: the recruiter still earns",
        [*LINKED, changed("e", "P", "suspended", 40), paid(2900)],
        {"2Q": 145},
    ),
    ("a suspended recruiter", [*LINKED, changed("e", "Q", "suspended", 40), paid(2900)], {"1P": 580}),
    (
        "lifting is not retroactive",
        [*LINKED, changed("e", "P", "suspended", 39), changed("f", "P", "reinstated", 41), paid(2900)],
        {"2Q": 145},
    ),
    (
        "suspended later: the binding and the refund stand",
        [*LINKED, changed("e", "P", "suspended", 41), paid(2900), back("r", 2900)],
        {},
    ),
    (
        "of one moment the greater event id decides",
        [*LINKED, changed("b", "P", "reinstated", 40), changed("a", "P", "suspended", 40), paid(2900)],
        {"1P": 580, "2Q": 145},
    ),
    ("transferred", [*RECRUITED, solution("partner"), transferred(40), paid(2900)], {"1P": 580, "2Q": 145}),
    ("transferred later", [*RECRUITED, solution("partner"), transferred(40.1), paid(2900)], {"2Q": 145}),
    ("a rate of one's own", [*LINKED, rate("e", "P", 40, 1250, 0), paid(2900)], {"1P": 362, "2Q": 145}),
    ("a rate's end is exclusive", [*LINKED, rate("e", "P", 0, 1250, 0, until=40), paid(2900)], {"1P": 580, "2Q": 145}),
    (
        "after a newer rate's end the older one does not return",
        [*LINKED, rate("e", "P", 0, 5000, 0), rate("f", "P", 10, 1250, 0, until=20), paid(2900)],
        {"1P": 580, "2Q": 145},
    ),
    ("more back than was paid", [*LINKED, paid(2900), back("r", 9000), back("s", 100, "chargeback_won", 51)], {}),
    ("more won than was lost", [*LINKED, paid(2900), back("s", 100, "chargeback_won")], {"1P": 580, "2Q": 145}),
    ("a refund of an unknown payment", [*LINKED, back("r", 1000)], {}),
    ("blocked: the lines stand", [*LINKED, license_changed("blocked"), paid(2900)], {"1P": 580, "2Q": 145}),
    ("self-referral", [*RECRUITED, clicked("c", "P", 0), signed_up(1, client_email_hash="hash of P"), paid(2900)], {}),
    (
        "a solution license of one's own",
        [*RECRUITED, solution("client", client_email_hash="hash of P"), paid(2900)],
        {},
    ),
    ("a solution license of nobody known", [solution("client", partner_id="X"), paid(2900)], {}),
    (
        "no third tier",
        [
            joined("R"),
            joined("Q", recruiter_hint="R"),
            joined("P", -5, recruiter_hint="Q"),
            clicked("c", "P", 0),
            signed_up(1),
            paid(2900),
        ],
        {"1P": 580, "2Q": 145},
    ),
]


@pytest.mark.parametrize(("facts", "expected"), [case[1:] for case in MONEY], ids=[case[0] for case in MONEY])
def test_money(facts: Sequence[AnyFact], expected: dict[str, int]) -> None:
    for arrival in (list(facts), list(reversed(facts)), [*facts, *facts]):
        result = outcome(arrival, PROGRAM)
        assert {f"{tier}{partner}": cents for (_, tier, partner), cents in result.payments.items()} == expected


def test_lines_are_differences_of_rounded_nets() -> None:
    facts: list[AnyFact] = [*LINKED, paid(1990), back("b", 10, day=50), back("a", 10, day=50), back("z", 1, day=41)]
    second = {event: cents for (event, tier, _), cents in outcome(facts, PROGRAM).events.items() if tier == 2}
    # 99.5 → 100; 1989: 99.45 → 99; 1979: 98.95 → 99; 1969: 98.45 → 98
    assert second == {"payment:p": 100, "refund:z": -1, "refund:b": -1}


BINDINGS: list[tuple[str, Sequence[AnyFact], tuple[str, str, str]]] = [
    ("last touch", [joined("A"), clicked("c", "A", 0), signed_up(1)], ("A", "c", "last_touch")),
    (
        "equal times: the greater text",
        [joined("A"), joined("B"), clicked("c9", "A", 0), clicked("d0", "B", 0), signed_up(1)],
        ("B", "d0", "last_touch"),
    ),
    ("at the signup itself", [joined("A"), clicked("c", "A", 1), signed_up(1)], ("A", "c", "last_touch")),
    ("a click after the signup", [joined("A"), clicked("c", "A", 1.001), signed_up(1)], ("", "", "none")),
    ("bots do not count", [joined("A"), clicked("c", "A", 0, verdict="bot"), signed_up(1)], ("", "", "none")),
    ("clicked before the partner joined", [joined("A", 0.5), clicked("c", "A", 0), signed_up(1)], ("", "", "none")),
    (
        "clicked while suspended: the older click",
        [
            joined("A"),
            joined("B"),
            clicked("b", "B", -1),
            clicked("a", "A", 0),
            changed("e", "A", "suspended", 0),
            signed_up(1),
        ],
        ("B", "b", "last_touch"),
    ),
    ("R3 when nothing was clicked", [joined("A"), signed_up(1, None, partner_hint="A")], ("A", "", "explicit_partner")),
    (
        "a click beats R3",
        [joined("A"), joined("B"), clicked("c", "B", 0), signed_up(1, partner_hint="A")],
        ("B", "c", "last_touch"),
    ),
    (
        "R3 suspended",
        [joined("A"), changed("e", "A", "suspended", 1), signed_up(1, partner_hint="A")],
        ("", "", "partner_suspended"),
    ),
    ("R3 unknown", [signed_up(1, partner_hint="X")], ("", "", "none")),
    ("R3 not joined yet", [joined("A", 1.5), signed_up(1, partner_hint="A")], ("", "", "none")),
    (
        "R4 keeps partner and click",
        [
            joined("A"),
            joined("B"),
            clicked("b", "B", -1),
            clicked("a", "A", 0),
            signed_up(1, client_email_hash="hash of A"),
        ],
        ("A", "a", "self_referral"),
    ),
    (
        "R4 by R3",
        [joined("A"), signed_up(1, partner_hint="A", client_email_hash="hash of A")],
        ("A", "", "self_referral"),
    ),
    ("R5", [joined("P"), joined("A"), clicked("a", "A", 0), solution("client", 1)], ("P", "", "solution_license")),
]


@pytest.mark.parametrize(("facts", "expected"), [case[1:] for case in BINDINGS], ids=[case[0] for case in BINDINGS])
def test_binding(facts: Sequence[AnyFact], expected: tuple[str, str, str]) -> None:
    bound = outcome(facts, PROGRAM).bindings["L"]
    assert (bound.partner_id, bound.click_id, bound.reason) == expected


def test_self_referral_may_be_allowed() -> None:
    facts: list[AnyFact] = [*RECRUITED, clicked("c", "P", 0), signed_up(1, client_email_hash="hash of P"), paid(2900)]
    assert outcome(facts, replace(PROGRAM, allow_self_referral=True)).payments["p", 1, "P"] == 580


RECRUITERS: list[tuple[str, Sequence[AnyFact], str]] = [
    ("by a hint", RECRUITED, "Q"),
    (
        "a click beats the hint",
        [joined("Q"), joined("R"), clicked("c", "R", -6), joined("P", -5, recruiter_hint="Q", visitor_id="v")],
        "R",
    ),
    (
        "never oneself, and no older click",
        [joined("Q"), clicked("q", "Q", -6), joined("P", -5, visitor_id="v"), clicked("p", "P", -5)],
        "",
    ),
    (
        "never one of the same e-mail",
        [joined("Q", email_hash="same"), joined("P", -5, recruiter_hint="Q", email_hash="same")],
        "",
    ),
    ("a suspended one", [*RECRUITED, changed("e", "Q", "suspended", -5)], ""),
    ("suspended later", [*RECRUITED, changed("e", "Q", "suspended", -4)], "Q"),
]


@pytest.mark.parametrize(("facts", "expected"), [case[1:] for case in RECRUITERS], ids=[case[0] for case in RECRUITERS])
def test_recruiter(facts: Sequence[AnyFact], expected: str) -> None:
    assert outcome(facts, PROGRAM).recruiters["P"] == expected


def test_funnel() -> None:
    stages = [license_changed("qualified"), license_changed("blocked")]
    result = outcome([*LINKED, clicked("bot", "P", 0, verdict="bot"), *stages, paid(2900), back("r", 1000)], PROGRAM)
    assert result.countable == {"c"}
    assert result.blocked == {"L"}
    (license_,) = result.funnel
    assert (license_.click_id, license_.stages, license_.revenue_cents) == ("c", frozenset({"qualified", "paid"}), 1900)


@pytest.mark.parametrize(
    ("value", "rounded"),
    [("1/2", 0), ("3/2", 2), ("5/2", 2), ("-1/2", 0), ("-3/2", -2), ("7/10", 1), ("-7/10", -1), ("4", 4)],
)
def test_half_even(value: str, rounded: int) -> None:
    assert half_even(Fraction(value)) == rounded == round(Fraction(value))
