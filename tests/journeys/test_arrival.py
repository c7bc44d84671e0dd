"""Facts arrive in any order, and again: the ledger is the same (R16)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

from tests.harness import Journey, Server, sums

START = datetime.now(UTC) - timedelta(days=60)

Line = Mapping[str, Any]


def day(number: float) -> str:
    return (START + timedelta(days=number)).isoformat(timespec="milliseconds")


class Story:
    """P is recruited by Q's click, L signs up by P's click and pays 2900, of which 1000 is refunded."""

    def __init__(self, server: Server) -> None:
        self.journey = Journey(server)
        self.joining, self.client = str(uuid.uuid4()), str(uuid.uuid4())

    def facts(self) -> dict[str, list[Line]]:
        """The story in six steps that may come in any order."""
        name = self.journey.id
        license_id, payment_id = name("L"), name("pay")
        return {
            "click": [self.click("P", self.client, 10), self.click("Q", self.joining, 2)],
            "recruiter": [self.join("Q", 1)],
            "join": [self.join("P", 3, visitor_id=self.joining)],
            "signup": [
                {
                    "type": "signup",
                    "license_id": license_id,
                    "product": "livechat",
                    "visitor_id": self.client,
                    "signed_up_at": day(11),
                }
            ],
            "payment": [
                {
                    "type": "payment",
                    "payment_id": payment_id,
                    "license_id": license_id,
                    "amount_cents": 2900,
                    "currency": "USD",
                    "paid_at": day(25),
                }
            ],
            "refund": [
                {
                    "type": "refund",
                    "refund_id": name("back"),
                    "payment_id": payment_id,
                    "amount_cents": 1000,
                    "kind": "refund",
                    "refunded_at": day(30),
                }
            ],
        }

    def click(self, partner: str, visitor_id: str, at: int) -> Line:
        return {
            "type": "click",
            "click_id": str(uuid.uuid4()),
            "clicked_at": day(at),
            "visitor_id": visitor_id,
            "partner_id": self.journey.id(partner),
        }

    def join(self, partner: str, at: int, **given: str) -> Line:
        name = self.journey.id(partner)
        body = {"type": "partner", "partner_id": name, "name": partner, "email": f"{name}@partners.example"}
        return {**body, "joined_at": day(at), **given}

    def expected(self) -> dict[tuple[int, str], int]:
        return {(1, self.journey.id("P")): 380, (2, self.journey.id("Q")): 95}


def test_every_order_of_arrival_gives_the_same_ledger(server: Server) -> None:
    """All 720 orders at once: step n of every story, then wait until that is attributed."""
    stories = [
        (Story(server), order) for order in permutations(("click", "recruiter", "join", "signup", "payment", "refund"))
    ]
    facts = [story.facts() for story, _ in stories]
    bulk = Journey(server)
    for step in range(6):
        lines = [line for told, (_, order) in zip(facts, stories, strict=True) for line in told[order[step]]]
        answer = bulk.import_lines(lines)
        assert (answer["accepted"], answer["rejected"]) == (len(lines), [])
        bulk.attributed()
    by_payment = lines_by_payment(server)
    for story, order in stories:
        found = sums(by_payment.get(story.journey.id("pay"), []))
        assert found == story.expected(), f"arrived as {', '.join(order)}"

    again = [line for told in facts for lines in told.values() for line in lines]
    answer = bulk.import_lines(reversed(again))
    assert (answer["accepted"], answer["duplicates"], answer["rejected"]) == (0, len(again), [])
    bulk.attributed()
    assert lines_by_payment(server) == by_payment


def lines_by_payment(server: Server) -> dict[str, list[Line]]:
    found: dict[str, list[Line]] = {}
    for line in server.lines(date_from=day(20)[:10], date_to=day(35)[:10], limit=500):
        found.setdefault(line["payment_id"], []).append(line)
    return found


CALLS = {
    "partner": "/v1/partners",
    "signup": "/v1/signups",
    "payment": "/v1/payments",
    "refund": "/v1/refunds",
}


def test_every_order_of_calls_gives_the_same_ledger(server: Server) -> None:
    """The same by single calls, which each name things that may not be known yet; each call is sent twice."""
    stories = []
    for order in permutations(("join", "signup", "payment", "refund")):
        story = Story(server)
        facts = story.facts()
        story.journey.import_lines([*facts["click"], *facts["recruiter"]])
        for name in order:
            (line,) = facts[name]
            body = {key: value for key, value in line.items() if key != "type"}
            first = story.journey.call(CALLS[line["type"]], body)
            assert story.journey.call(CALLS[line["type"]], body, status=200) == first
        stories.append((story, order))
    server.attributed()
    for story, order in stories:
        assert story.journey.net("pay") == story.expected(), f"called as {', '.join(order)}"
        assert story.journey.attribution("L")["partner_id"] == story.journey.id("P")
