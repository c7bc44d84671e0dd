"""Callers who call at the same moment: one is first, the others are told so, and money is counted once."""

from __future__ import annotations

import http.client
import json
import os
import signal
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.harness import ADMIN_TOKEN, Journey

CALLERS = 12


def at_once(journey: Journey, path: str, bodies: Sequence[dict[str, Any]]) -> Counter[int]:
    """How often each status came when all bodies were sent at the same time."""
    with ThreadPoolExecutor(len(bodies)) as pool:
        return Counter(pool.map(lambda body: journey.server.api(path, body).status, bodies))


def payment(journey: Journey, **given: Any) -> dict[str, Any]:
    body = {"payment_id": journey.id("pay"), "license_id": journey.id("L"), "amount_cents": 2900, "currency": "USD"}
    return {**body, **given}


def test_one_webhook_sent_many_times(journey: Journey) -> None:
    journey.join("P")
    journey.sign_up("L", partner_id=journey.id("P"))
    assert at_once(journey, "/v1/payments", [payment(journey)] * CALLERS) == {201: 1, 200: CALLERS - 1}
    journey.attributed()
    assert [line["amount_cents"] for line in journey.ledger("pay")] == [580]


def test_more_callers_than_there_are_connections_to_redis(journey: Journey) -> None:
    server = journey.server
    workers = [pid for pid, command in server.processes().items() if " tracker --worker" in command]
    callers = [http.client.HTTPConnection("127.0.0.1", server.tracker_port, timeout=30) for _ in range(400)]
    for pid in workers:  # they find all calls at once when they go on
        os.kill(pid, signal.SIGSTOP)
    try:
        for number, caller in enumerate(callers):
            body = json.dumps(payment(journey, payment_id=journey.id(f"many{number}")))
            caller.request("POST", "/v1/payments", body, {"Authorization": f"Bearer {ADMIN_TOKEN}"})
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
    statuses = Counter(caller.getresponse().status for caller in callers)
    for caller in callers:
        caller.close()
    assert statuses == {201: len(callers)}


def test_one_id_for_different_payments(journey: Journey) -> None:
    bodies = [payment(journey, amount_cents=100 + number) for number in range(CALLERS)]
    assert at_once(journey, "/v1/payments", bodies) == {201: 1, 409: CALLERS - 1}


def test_one_email_for_different_partners(journey: Journey) -> None:
    bodies = [
        {"partner_id": journey.id(f"P{number}"), "name": "P", "email": f"{journey.id('jane')}@x.example"}
        for number in range(CALLERS)
    ]
    assert at_once(journey, "/v1/partners", bodies) == {201: 1, 409: CALLERS - 1}


def test_one_join_without_an_id_sent_many_times(journey: Journey) -> None:
    """Without an id of the caller's there is nothing to replay by: the e-mail lets only one in."""
    bodies = [{"name": "P", "email": f"{journey.id('joe')}@x.example"}] * CALLERS
    statuses = at_once(journey, "/v1/partners", bodies)
    assert statuses[201] == 1 and set(statuses) <= {200, 201, 409}


def test_refunds_that_together_exceed(journey: Journey) -> None:
    journey.join("P")
    journey.sign_up("L", partner_id=journey.id("P"))
    journey.pay("L", "pay", 2900)
    bodies = [
        {"refund_id": journey.id(f"r{n}"), "payment_id": journey.id("pay"), "amount_cents": 1000, "kind": "refund"}
        for n in range(CALLERS)
    ]
    assert at_once(journey, "/v1/refunds", bodies) == {201: 2, 422: CALLERS - 2}
    journey.attributed()
    assert journey.net("pay") == {(1, journey.id("P")): 180}


def test_signup_and_solution_license_of_one_id(journey: Journey) -> None:
    """License ids are unique in the whole program."""
    journey.join("P")
    journey.sign_up("L")
    line = {
        "type": "solution_license",
        "license_id": journey.id("L"),
        "product": "livechat",
        "partner_id": journey.id("P"),
        "client_email": "client@example.com",
        "payment_origin": "client",
    }
    answer = journey.import_lines([line])
    assert (answer["accepted"], [item["line"] for item in answer["rejected"]]) == (0, [1])
