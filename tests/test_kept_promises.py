"""What `lasttouch bench kill` holds a server to: whatever is missing, doubled, changed or wrongly paid is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from loadtests.kept_promises import broken_promises
from loadtests.promises import Promises, SentClick, SentFact
from loadtests.stored import Stored

FIRST, SECOND, UNANSWERED = "c1", "c2", "c3"
UNPAID = "a commission is not what the rules give"
Rows = list[dict[str, Any]]


def promises() -> Promises:
    """Q recruits P. A visitor follows Q's link, then P's, signs up, pays 100 dollars and gets 40 back."""
    made = Promises()
    made.clicks = [
        SentClick(FIRST, "Q", "V", is_promised=True),
        SentClick(SECOND, "P", "V", is_promised=True),
        SentClick(UNANSWERED, "Q", None, is_promised=False),
    ]
    made.facts = [
        SentFact("partner", "Q", {"partner_id": "Q", "recruiter_id": "", "name": "Q"}, is_promised=True),
        SentFact("partner", "P", {"partner_id": "P", "recruiter_id": "Q", "name": "P"}, is_promised=True),
        SentFact("signup", "L", {"license_id": "L", "visitor_id": "V", "data_center": "eu-west3"}, is_promised=True),
        SentFact("payment", "M", {"payment_id": "M", "license_id": "L", "amount_cents": 10_000}, is_promised=True),
        SentFact("refund", "R", {"refund_id": "R", "payment_id": "M", "amount_cents": 4000}, is_promised=True),
        SentFact("license_event", "E", {"event_id": "E", "license_id": "L"}, is_promised=False),
    ]
    return made


def click(mark: str, partner_id: str, clicked_at: int, visitor_id: str = "V") -> dict[str, Any]:
    names = {"click_id": f"id of {mark}", "mark": mark, "partner_id": partner_id, "visitor_id": visitor_id}
    return {**names, "verdict": "human", "clicked_at": clicked_at}


def stored() -> dict[str, Rows]:
    """What is there when every promise was kept and the call that got no answer was not taken."""
    return {
        "clicks": [click(FIRST, "Q", 10), click(SECOND, "P", 20)],
        "partner": [
            {"partner_id": "Q", "recruiter_id": "", "name": "Q", "visitor_id": "", "joined_at": 1},
            {"partner_id": "P", "recruiter_id": "Q", "name": "P", "visitor_id": "", "joined_at": 2},
        ],
        "signup": [
            {"license_id": "L", "visitor_id": "V", "partner_id": "", "data_center": "eu-west3", "signed_up_at": 30}
        ],
        "payment": [{"payment_id": "M", "license_id": "L", "amount_cents": 10_000}],
        "refund": [{"refund_id": "R", "payment_id": "M", "amount_cents": 4000, "kind": "refund"}],
        "license_event": [],
        "clients": [{"license_id": "L", "data_center": "eu-west3"}],
        "nets": [
            {"payment_id": "M", "tier": 1, "partner_id": "P", "net_cents": 1200},
            {"payment_id": "M", "tier": 2, "partner_id": "Q", "net_cents": 300},
        ],
    }


def found(rows: dict[str, Rows], sent: Promises | None = None) -> set[str]:
    kinds = ("partner", "signup", "payment", "refund", "license_event")
    facts = {kind: rows[kind] for kind in kinds}
    read = Stored(clicks=rows["clicks"], facts=facts, clients=rows["clients"], nets=rows["nets"])
    return {broken.what for broken in broken_promises(sent or promises(), read)}


def test_what_was_kept_is_no_finding() -> None:
    assert found(stored()) == set()


def test_what_got_no_answer_may_be_there_once() -> None:
    rows = stored()
    rows["clicks"].append(click(UNANSWERED, "Q", 15, "W"))
    rows["license_event"].append({"event_id": "E", "license_id": "L"})
    assert found(rows) == set()


def test_a_late_click_moves_the_commission() -> None:
    """The click without an answer was taken after all, as the visitor's last: Q earns, and nobody recruited Q."""
    rows = stored()
    rows["clicks"].append(click(UNANSWERED, "Q", 25))
    assert found(rows) == {UNPAID}
    rows["nets"] = [{"payment_id": "M", "tier": 1, "partner_id": "Q", "net_cents": 1200}]
    assert found(rows) == set()


def drop(table: str) -> Callable[[dict[str, Rows]], object]:
    return lambda rows: rows[table].pop()


def double(table: str) -> Callable[[dict[str, Rows]], object]:
    return lambda rows: rows[table].append(rows[table][-1])


def change(table: str, **columns: Any) -> Callable[[dict[str, Rows]], object]:
    return lambda rows: rows[table][-1].update(columns)


WRONGS: list[tuple[Callable[[dict[str, Rows]], object], set[str]]] = [
    (drop("clicks"), {UNPAID, "a promised click is missing"}),
    (double("clicks"), {"a click id is there twice", "a click is there twice"}),
    (change("clicks", partner_id="Q"), {UNPAID, "a click is not what was sent"}),
    (change("clicks", visitor_id="W"), {UNPAID, "a click is not what was sent"}),
    (lambda rows: rows["clicks"].append(click("other", "Q", 5, "W")), {"a click that nobody sent"}),
    (drop("signup"), {UNPAID, "a client is not in one data center", "a promised signup is missing"}),
    (change("signup", visitor_id="W"), {UNPAID, "a signup is not what was sent"}),
    (drop("payment"), {UNPAID, "a promised payment is missing"}),
    (double("payment"), {"a payment is there twice"}),
    (change("payment", amount_cents=10_100), {UNPAID, "a payment is not what was sent"}),
    (change("payment", payment_id="N"), {UNPAID, "a payment that nobody sent", "a promised payment is missing"}),
    (drop("refund"), {UNPAID, "a promised refund is missing"}),
    (double("partner"), {"a partner is there twice"}),
    (change("partner", recruiter_id=""), {UNPAID, "a partner is not what was sent"}),
    (drop("clients"), {"a client is not in one data center"}),
    (change("clients", data_center="us-south1"), {"a client is not in one data center"}),
    (change("clients", license_id="K"), {"a client is not in one data center", "a client that nobody sent"}),
    (drop("nets"), {UNPAID}),
    (change("nets", net_cents=301), {UNPAID}),
    (change("nets", partner_id="P"), {UNPAID}),
]


@pytest.mark.parametrize("number", range(len(WRONGS)))
def test_what_was_not_kept_is_found(number: int) -> None:
    spoil, what = WRONGS[number]
    rows = stored()
    spoil(rows)
    assert found(rows) == what


def test_a_wrong_answer_is_found() -> None:
    sent = promises()
    sent.wrong.append("POST /v1/payments answered 500")
    assert found(stored(), sent) == {"a wrong answer"}


def test_a_click_that_was_not_promised_may_be_missing() -> None:
    sent = promises()
    sent.clicks = [replace(one, is_promised=False) for one in sent.clicks]
    rows = stored()
    rows["clicks"], rows["nets"] = [], []
    assert found(rows, sent) == set()
