"""Every row of the rules' "Worked cases", through HTTP, to the cent."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from tests.harness import Journey

START = datetime.now(UTC) - timedelta(days=125)


def day(number: float) -> str:
    """Day `number` of a history that began 125 days ago."""
    return (START + timedelta(days=number)).isoformat(timespec="milliseconds")


def recruited_pair(journey: Journey) -> None:
    """P, recruited by Q: P joined as the visitor who had followed Q's link to the partner site."""
    journey.join("Q")
    future_partner = journey.visitor()
    future_partner.click(journey.id("Q"), "partner_program")
    answer = journey.join("P", visitor_id=future_partner.id)
    assert (answer["recruiter_id"], answer["reason"]) == (journey.id("Q"), "last_touch")


def link_license(journey: Journey) -> None:
    """License L of a visitor who followed P's link."""
    client = journey.visitor()
    client.click(journey.id("P"))
    attribution = journey.sign_up("L", visitor_id=client.id)["attribution"]
    assert (attribution["partner_id"], attribution["reason"]) == (journey.id("P"), "last_touch")


def net(journey: Journey) -> dict[str, int]:
    """The net of payment `pay` as `{"1P": 580}`: tier and partner, as the cases name them."""
    journey.attributed()
    return {f"{tier}{partner.partition('.')[0]}": cents for (tier, partner), cents in journey.net("pay").items()}


def newest_lines(journey: Journey, occurred: str) -> dict[str, int]:
    """Amounts of the lines of one kind of money event."""
    lines = [line for line in journey.ledger("pay") if line["kind"] == occurred]
    return {f"{line['tier']}{line['partner_id'].partition('.')[0]}": line["amount_cents"] for line in lines}


def test_paid_refunded_charged_back_and_won(journey: Journey) -> None:
    recruited_pair(journey)
    link_license(journey)

    journey.pay("L", "pay", 2900)
    assert net(journey) == {"1P": 580, "2Q": 145}
    assert newest_lines(journey, "commission") == {"1P": 580, "2Q": 145}

    journey.refund("pay", "part", 1000)
    assert net(journey) == {"1P": 380, "2Q": 95}
    assert newest_lines(journey, "refund") == {"1P": -200, "2Q": -50}

    journey.refund("pay", "rest", 1900, "chargeback")
    assert net(journey) == {}
    assert newest_lines(journey, "chargeback") == {"1P": -380, "2Q": -95}

    journey.refund("pay", "won", 1900, "chargeback_won")
    assert net(journey) == {"1P": 380, "2Q": 95}
    assert newest_lines(journey, "chargeback_won") == {"1P": 380, "2Q": 95}


@pytest.mark.parametrize(("amount_cents", "expected"), [(1990, {"1P": 398, "2Q": 100}), (1970, {"1P": 394, "2Q": 98})])
def test_half_to_even(journey: Journey, amount_cents: int, expected: dict[str, int]) -> None:
    recruited_pair(journey)
    link_license(journey)
    journey.pay("L", "pay", amount_cents)
    assert net(journey) == expected


def test_partner_pays_for_a_solution_license(journey: Journey) -> None:
    recruited_pair(journey)
    line = {
        "type": "solution_license",
        "license_id": journey.id("L"),
        "product": "livechat",
        "partner_id": journey.id("P"),
        "client_email": "client@example.com",
        "payment_origin": "partner",
    }
    assert journey.import_lines([line])["accepted"] == 1
    journey.pay("L", "pay", 2320)
    assert net(journey) == {"2Q": 116}


def test_no_recruiter(journey: Journey) -> None:
    assert journey.join("P")["recruiter_id"] is None
    link_license(journey)
    journey.pay("L", "pay", 2900)
    assert net(journey) == {"1P": 580}


def click_line(journey: Journey, partner: str, visitor_id: str, at: str) -> dict[str, str]:
    return {
        "type": "click",
        "click_id": str(uuid.uuid4()),
        "clicked_at": at,
        "visitor_id": visitor_id,
        "partner_id": journey.id(partner),
    }


def test_the_last_of_two_clicks(journey: Journey) -> None:
    visitor_id = str(uuid.uuid4())
    journey.join("R", joined_at=day(-2))
    journey.join("A", joined_at=day(-2))
    journey.join("B", joined_at=day(-1), recruiter_id=journey.id("R"))
    journey.import_lines([click_line(journey, "A", visitor_id, day(0)), click_line(journey, "B", visitor_id, day(30))])
    answer = journey.sign_up("L", visitor_id=visitor_id, signed_up_at=day(31))
    assert answer["attribution"]["partner_id"] == journey.id("B")
    journey.pay("L", "pay", 2900, paid_at=day(45))
    assert net(journey) == {"1B": 580, "2R": 145}


def test_outside_the_window(journey: Journey) -> None:
    visitor_id = str(uuid.uuid4())
    journey.join("A", joined_at=day(-2))
    journey.import_lines([click_line(journey, "A", visitor_id, day(0))])
    answer = journey.sign_up("L", visitor_id=visitor_id, signed_up_at=day(121))
    assert answer["attribution"]["reason"] == "none"
    journey.pay("L", "pay", 2900, paid_at=day(122))
    assert net(journey) == {}


def test_a_visitor_who_goes_on_to_the_partner_site(journey: Journey) -> None:
    """A's LiveChat link; the site hands the stamp on to the partner site, where the visitor joins as B."""
    journey.join("A")
    visitor = journey.visitor()
    stamp = visitor.click(journey.id("A")).query["lt"]
    assert journey.join("B", lt=stamp)["recruiter_id"] == journey.id("A")

    client = journey.visitor()
    client.click(journey.id("B"))
    journey.sign_up("L", visitor_id=client.id)
    journey.pay("L", "pay", 2900)
    assert net(journey) == {"1B": 580, "2A": 145}
