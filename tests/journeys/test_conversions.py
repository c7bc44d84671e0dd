"""The Conversions API as the contract has it: idempotency, conflicts, reasons, explanations, imports."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.harness import CRAWLER, Journey, send


def ago(**given: float) -> str:
    return (datetime.now(UTC) - timedelta(**given)).isoformat(timespec="milliseconds")


def click_line(journey: Journey, partner: str, visitor_id: str, at: str, **given: str) -> dict[str, str]:
    line = {"type": "click", "click_id": str(uuid.uuid4()), "clicked_at": at, "visitor_id": visitor_id}
    return {**line, "partner_id": journey.id(partner), **given}


def bodies(journey: Journey) -> dict[str, dict[str, Any]]:
    """One body per call, of things that nobody knows yet."""
    name = journey.id
    return {
        "/v1/partners": {"partner_id": name("P"), "email": f"{name('p')}@x.example", "name": "P"},
        "/v1/signups": {"license_id": name("L"), "product": "livechat", "partner_id": name("P")},
        "/v1/payments": {
            "payment_id": name("pay"), "license_id": name("L"), "amount_cents": 2900, "currency": "USD",
        },
        "/v1/refunds": {
            "refund_id": name("r"), "payment_id": name("pay"), "amount_cents": 100, "kind": "refund",
        },
        "/v1/license-events": {"event_id": name("e"), "license_id": name("L"), "kind": "qualified"},
        "/v1/partner-events": {"event_id": name("e"), "partner_id": name("P"), "kind": "suspended"},
    }  # fmt: skip


CHANGED: dict[str, dict[str, Any]] = {
    "/v1/partners": {"name": "Another"},
    "/v1/signups": {"product": "partner_program"},
    "/v1/payments": {"amount_cents": 2901},
    "/v1/refunds": {"amount_cents": 101},
    "/v1/license-events": {"kind": "expired"},
    "/v1/partner-events": {"kind": "reinstated"},
}


@pytest.mark.parametrize("path", CHANGED)
def test_calls_are_idempotent(journey: Journey, path: str) -> None:
    body = bodies(journey)[path]
    first = journey.server.api(path, body)
    assert first.status == 201, first.body
    assert first.headers["Idempotent-Replay"] is None
    again = journey.server.api(path, dict(reversed(body.items())))
    assert (again.status, again.json, again.headers["Idempotent-Replay"]) == (200, first.json, "true")
    other = journey.server.api(path, {**body, **CHANGED[path]})
    assert (other.status, other.headers.get_content_type()) == (409, "application/problem+json")
    assert journey.server.api(path, body).status == 200


def test_an_email_belongs_to_one_partner(journey: Journey) -> None:
    journey.join("P", email=f"{journey.id('jane')}@x.example")
    answer = journey.server.api(
        "/v1/partners", {"partner_id": journey.id("R"), "name": "R", "email": f" {journey.id('JANE')}@X.example "}
    )
    assert (answer.status, answer.headers.get_content_type()) == (409, "application/problem+json")
    # the id of the refused join is free
    journey.join("R")


def test_a_join_without_an_id_gets_one(journey: Journey) -> None:
    body = {"email": f"{journey.id('new')}@x.example", "name": "New"}
    answer = journey.call("/v1/partners", body)
    assert answer["partner_id"]
    assert set(answer) >= {"partner_id", "recruiter_id", "reason", "links"}
    for product, links in answer["links"].items():
        assert f"a={answer['partner_id']}" in links["url"], product
        assert links["short_url"].startswith(f"http://127.0.0.1:{journey.server.tracker_port}/"), product
    assert set(answer["links"]) == {"livechat", "partner_program"}
    # the answers' short links work at once, in every worker
    for _ in range(8):
        clicked = journey.visitor().get("/" + answer["links"]["livechat"]["short_url"].rpartition("/")[2])
        assert (clicked.said, clicked.query["a"]) == ("counted", answer["partner_id"])


def test_reasons_of_signups(journey: Journey) -> None:
    journey.join("Q")
    journey.join("P", email=f"{journey.id('self')}@x.example", recruiter_id=journey.id("Q"))
    journey.join("S")
    journey.partner_event("e", "S", "suspended")
    visitor = journey.visitor()
    visitor.click(journey.id("P"))

    touched = journey.sign_up("touched", visitor_id=visitor.id)["attribution"]
    assert touched["reason"] == "last_touch"
    assert (touched["partner_id"], touched["recruiter_id"]) == (journey.id("P"), journey.id("Q"))
    assert uuid.UUID(touched["click_id"]) and touched["clicked_at"].endswith("Z")

    cases: list[tuple[str, dict[str, Any], str | None, str]] = [
        ("explicit", {"partner_id": journey.id("P")}, journey.id("P"), "explicit_partner"),
        ("over", {"partner_id": journey.id("Q"), "visitor_id": visitor.id}, journey.id("P"), "last_touch"),
        ("none", {}, None, "none"),
        ("unknown", {"partner_id": journey.id("nobody")}, None, "none"),
        ("suspended", {"partner_id": journey.id("S")}, None, "partner_suspended"),
        ("elsewhere", {"visitor_id": str(uuid.uuid4())}, None, "none"),
    ]
    for name, given, partner_id, reason in cases:
        attribution = journey.sign_up(name, **given)["attribution"]
        assert (attribution["partner_id"], attribution["reason"]) == (partner_id, reason), name
        if reason != "last_touch":
            assert attribution["click_id"] is None and attribution["clicked_at"] is None, name

    own = journey.sign_up("own", visitor_id=visitor.id, client_email=f"{journey.id('SELF')}@x.example ")["attribution"]
    assert own["reason"] == "self_referral"
    journey.pay("own", "own-pay", 2900)
    journey.pay("touched", "pay", 2900)
    journey.attributed()
    assert journey.net("own-pay") == {}
    assert journey.net("pay") == {(1, journey.id("P")): 580, (2, journey.id("Q")): 145}
    for name, reason in [("own", "self_referral"), *((name, reason) for name, _, _, reason in cases)]:
        assert journey.attribution(name)["reason"] == reason, name


def test_the_raw_stamp_signs_up(journey: Journey) -> None:
    journey.join("P")
    stamp = journey.visitor().click(journey.id("P")).query["lt"]
    assert journey.sign_up("L", lt=stamp)["attribution"]["partner_id"] == journey.id("P")
    broken = journey.sign_up("M", lt=stamp[:-2] + "xx", partner_id=journey.id("P"))["attribution"]
    assert broken["reason"] == "explicit_partner"


def test_the_explanation_names_every_candidate(journey: Journey) -> None:
    journey.join("P", joined_at=ago(days=300))
    journey.join("R", joined_at=ago(days=20))
    visitor_id = str(uuid.uuid4())
    lines = {
        "old": click_line(journey, "P", visitor_id, ago(days=140)),
        "winner": click_line(journey, "P", visitor_id, ago(days=30)),
        "before R joined": click_line(journey, "R", visitor_id, ago(days=25)),
        "bot": click_line(journey, "P", visitor_id, ago(days=12), user_agent=CRAWLER),
        "after": click_line(journey, "P", visitor_id, ago(days=5)),
    }
    journey.import_lines(lines.values())
    journey.sign_up("L", visitor_id=visitor_id, signed_up_at=ago(days=10))
    journey.attributed()

    explained = journey.attribution("L")
    assert (explained["license_id"], explained["partner_id"]) == (journey.id("L"), journey.id("P"))
    assert (explained["reason"], explained["rule"]) == ("last_touch", "R2")
    candidates = {candidate["click_id"]: candidate for candidate in explained["candidates"]}
    winner = candidates[lines["winner"]["click_id"]]
    assert winner["counted"] and not winner["refused"]
    for name in ("before R joined", "bot"):
        candidate = candidates[lines[name]["click_id"]]
        assert not candidate["counted"] and candidate["refused"], name
        assert candidate["partner_id"] == lines[name]["partner_id"]
    for name in ("old", "after"):
        if lines[name]["click_id"] in candidates:
            assert candidates[lines[name]["click_id"]]["refused"], name


def test_explanations_of_unknown_licenses_are_404(journey: Journey) -> None:
    headers = {"Authorization": f"Bearer {journey.server.environ['LASTTOUCH_ADMIN_TOKEN']}"}
    answer = send(journey.server.app_port, "GET", f"/v2/admin/licenses/{journey.id('X')}/attribution", headers=headers)
    assert answer.status == 404


def test_a_refund_of_more_than_remains(journey: Journey) -> None:
    journey.join("P")
    journey.sign_up("L", partner_id=journey.id("P"))
    journey.pay("L", "pay", 2900)
    journey.refund("pay", "a", 2000)
    answer = journey.server.api(
        "/v1/refunds",
        {"refund_id": journey.id("b"), "payment_id": journey.id("pay"), "amount_cents": 901, "kind": "chargeback"},
    )
    assert (answer.status, answer.headers.get_content_type()) == (422, "application/problem+json")
    assert "amount_cents" in [error["field"] for error in answer.json["errors"]]
    journey.refund("pay", "c", 900, "chargeback")
    excess = {"refund_id": journey.id("d"), "payment_id": journey.id("pay"), "amount_cents": 5000, "kind": "refund"}
    assert journey.import_lines([{"type": "refund", **excess}])["accepted"] == 1
    journey.attributed()
    assert journey.net("pay") == {}


def test_suspension_rates_and_transfer(journey: Journey) -> None:
    journey.join("Q", joined_at=ago(days=50))
    journey.join("P", joined_at=ago(days=49), recruiter_id=journey.id("Q"))
    journey.import_lines(
        [
            {
                "type": "solution_license",
                "license_id": journey.id("L"),
                "product": "livechat",
                "partner_id": journey.id("P"),
                "client_email": "client@example.com",
                "payment_origin": "partner",
                "created_at": ago(days=40),
            },
            {
                "type": "license_transfer",
                "event_id": journey.id("t"),
                "license_id": journey.id("L"),
                "occurred_at": ago(days=20),
            },
        ]
    )
    rates = {"first_tier_percent": 12.5, "second_tier_percent": 7}
    journey.partner_event("p", "P", "rate_changed", occurred_at=ago(days=15), until=ago(days=10), **rates)
    journey.partner_event("q", "Q", "rate_changed", occurred_at=ago(days=15), until=ago(days=10), **rates)
    journey.partner_event("s", "P", "suspended", occurred_at=ago(days=5))
    journey.partner_event("r", "P", "reinstated", occurred_at=ago(days=1))
    for name, days in {
        "by-partner": 30,
        "by-client": 18,
        "own-rate": 12,
        "after-rate": 8,
        "suspended": 3,
        "back": 0.5,
    }.items():
        journey.pay("L", name, 2000, paid_at=ago(days=days))
    journey.attributed()
    first, second = (1, journey.id("P")), (2, journey.id("Q"))
    assert journey.net("by-partner") == {second: 100}
    assert journey.net("by-client") == {first: 400, second: 100}
    assert journey.net("own-rate") == {first: 250, second: 140}
    assert journey.net("after-rate") == {first: 400, second: 100}
    assert journey.net("suspended") == {second: 100}
    assert journey.net("back") == {first: 400, second: 100}


def test_lines_name_what_the_contract_says(journey: Journey) -> None:
    journey.join("P")
    journey.sign_up("L", partner_id=journey.id("P"))
    journey.pay("L", "pay", 2900, paid_at="2026-01-05T10:00:00.1239Z")
    journey.attributed()
    (line,) = journey.ledger("pay")
    expected = {
        "partner_id": journey.id("P"),
        "tier": 1,
        "kind": "commission",
        "payment_id": journey.id("pay"),
        "license_id": journey.id("L"),
        "product": "livechat",
        "basis_cents": 2900,
        "percent": 20,
        "amount_cents": 580,
        "currency": "USD",
        "occurred_at": "2026-01-05T10:00:00.123Z",
    }
    assert {name: line[name] for name in expected} == expected
    assert {"entry_id", "posted_at", "reason"} <= set(line)
    for name, value in (("partner_id", "P"), ("license_id", "L"), ("payment_id", "pay")):
        assert journey.server.lines(**{name: journey.id(value)}) == [line]
    assert journey.server.lines(payment_id=journey.id("pay"), date_from="2026-01-05", date_to="2026-01-05") == [line]
    assert journey.server.lines(payment_id=journey.id("pay"), date_from="2026-01-06") == []


def test_import_answers(journey: Journey) -> None:
    visitor_id = str(uuid.uuid4())
    partner = {"type": "partner", "partner_id": journey.id("P"), "email": f"{journey.id('p')}@x.example", "name": "P"}
    click = click_line(journey, "P", visitor_id, ago(days=1))
    lines: list[dict[str, Any]] = [
        partner,
        click,
        click,
        {**click, "partner_id": journey.id("other")},
        {"type": "payment", "payment_id": journey.id("pay"), "license_id": "L", "amount_cents": -5, "currency": "EUR"},
        {"type": "party"},
        partner,
    ]
    answer = journey.import_lines(lines)
    assert (answer["accepted"], answer["duplicates"]) == (2, 2)
    rejected = {item["line"]: [error["field"] for error in item["errors"]] for item in answer["rejected"]}
    assert rejected == {4: ["click_id"], 5: ["amount_cents", "currency"], 6: ["type"]}


def test_partners_are_listed_for_admins(journey: Journey) -> None:
    journey.join("Q", name="Quintus")
    journey.join("P", recruiter_id=journey.id("Q"))
    journey.partner_event("e", "Q", "suspended")
    journey.attributed()
    found = journey.server.admin("/v2/admin/partners", search=journey.key, limit=10)
    items = {item["partner_id"]: item for item in found["items"]}
    assert set(items) == {journey.id("P"), journey.id("Q")} and found["next_cursor"] is None
    assert items[journey.id("P")]["recruiter_id"] == journey.id("Q")
    assert (items[journey.id("Q")]["name"], items[journey.id("Q")]["status"]) == ("Quintus", "suspended")


@pytest.mark.parametrize("path", [*CHANGED, "/v1/import"])
def test_calls_need_a_token(journey: Journey, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic YTpi"}):
        answer = send(journey.server.tracker_port, "POST", path, {"a": 1}, headers)
        assert (answer.status, answer.headers.get_content_type()) == (401, "application/problem+json")


def test_the_pipeline_adds_up(journey: Journey) -> None:
    """The one equation that says that nothing is lost, while facts are on their way and after."""
    before = journey.attributed()
    journey.join("P")
    lines = [click_line(journey, "P", str(uuid.uuid4()), ago(hours=1)) for _ in range(200)]
    journey.import_lines(lines)
    for _ in range(20):
        assert adds_up(journey.server.pipeline())
    after = journey.attributed()
    assert adds_up(after)
    assert after["accepted"] - before["accepted"] >= 201
    assert (after["pending"], after["spooled"]) == (0, 0)


def adds_up(pipeline: dict[str, Any]) -> bool:
    parts = ("stored", "duplicates", "quarantined", "pending", "spooled")
    return bool(pipeline["accepted"] == sum(pipeline[part] for part in parts))


def test_health_and_metrics_need_no_token(journey: Journey) -> None:
    for port in (journey.server.tracker_port, journey.server.app_port):
        for path in ("/health/live", "/health/ready"):
            assert send(port, "GET", path).status == 200
    metrics = send(journey.server.tracker_port, "GET", "/metrics")
    assert metrics.status == 200 and b"# TYPE " in metrics.body
