"""Bad input is named field by field; good input is read into clean values."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tracker.bodies import FIELDS, Reading, parse_json, read_body
from tracker.errors import Invalid
from tracker.program import Program

NOW = 1_763_830_000_000  # 2025-11-22T16:46:40Z
READING = Reading(Program(), NOW)

GOOD: dict[str, dict[str, Any]] = {
    "partner": {"email": "a@example.com", "name": "Ann"},
    "signup": {"license_id": "L1", "product": "livechat"},
    "payment": {"payment_id": "p1", "license_id": "L1", "amount_cents": 2900, "currency": "USD"},
    "refund": {"refund_id": "r1", "payment_id": "p1", "amount_cents": 1000, "kind": "refund"},
    "license_event": {"event_id": "e1", "license_id": "L1", "kind": "qualified"},
    "partner_event": {"event_id": "e1", "partner_id": "A", "kind": "suspended"},
    "click": {
        "click_id": "018bcfe5-6800-707d-995f-b6ead1584193",
        "clicked_at": "2025-11-01T00:00:00Z",
        "visitor_id": "018bcfe5-6800-407d-995f-b6ead1584193",
        "partner_id": "A",
    },
    "solution_license": {
        "license_id": "L1",
        "product": "livechat",
        "partner_id": "A",
        "client_email": "c@example.com",
        "payment_origin": "partner",
    },
    "license_transfer": {"event_id": "e1", "license_id": "L1"},
}


def test_every_kind_has_a_good_example() -> None:
    assert set(GOOD) == set(FIELDS)


@pytest.mark.parametrize("kind", FIELDS)
def test_required_fields_are_enough_and_each_is_required(kind: str) -> None:
    assert dict(read_body(kind, GOOD[kind], READING).values).keys() == GOOD[kind].keys()
    with pytest.raises(Invalid) as refusal:
        read_body(kind, {}, READING)
    assert [error["field"] for error in refusal.value.errors] == list(GOOD[kind])


UUID_ADVICE = "must be a UUID in canonical lower-case text, and not the nil UUID"


@pytest.mark.parametrize(
    ("kind", "field", "value", "message"),
    [
        ("payment", "amount_cents", 0, "whole number from 1"),
        ("payment", "amount_cents", -5, "whole number from 1"),
        ("payment", "amount_cents", 10**18, "to 1000000000"),
        ("payment", "amount_cents", 29.0, "whole number"),
        ("payment", "amount_cents", True, "whole number"),
        ("payment", "amount_cents", "2900", "whole number"),
        ("payment", "currency", "EUR", "must be USD"),
        ("payment", "currency", 5, "must be USD"),
        ("payment", "payment_id", "", "1–64 characters"),
        ("payment", "payment_id", "x" * 65, "1–64 characters"),
        ("payment", "payment_id", "a/b", "1–64 characters"),
        ("payment", "payment_id", "a\n", "1–64 characters"),
        ("payment", "payment_id", ["a"], "1–64 characters"),
        ("payment", "paid_at", "yesterday", "RFC 3339"),
        ("payment", "paid_at", "2025-11-20", "RFC 3339"),
        ("payment", "paid_at", "2025-11-20T10:00:00", "RFC 3339"),
        ("payment", "paid_at", "2025-02-30T10:00:00Z", "not a time that exists"),
        ("payment", "paid_at", "2025-11-23T16:46:40.001Z", "24 hours in the future"),
        ("payment", "paid_at", "1970-01-01T00:00:00Z", "before 2002"),
        ("payment", "paid_at", 1763830000, "RFC 3339"),
        ("payment", "method", "cash", "card, wire"),
        ("payment", "discount_cents", -1, "whole number from 0"),
        ("signup", "product", "nothing", "livechat"),
        ("signup", "visitor_id", "018BCFE5-6800-407D-995F-B6EAD1584193", UUID_ADVICE),
        ("signup", "visitor_id", "00000000-0000-0000-0000-000000000000", UUID_ADVICE),
        ("signup", "visitor_id", "{}", UUID_ADVICE),
        ("signup", "client_email", "nobody", "e-mail address"),
        ("signup", "client_name", "a\x00b", "control characters"),
        ("signup", "client_name", "\ud800", "broken Unicode"),
        ("signup", "client_name", "x" * 201, "at most 200"),
        ("signup", "data_center", "mars", "us-south1"),
        ("signup", "seats", 0, "whole number from 1"),
        ("refund", "kind", "gift", "refund, chargeback"),
        ("partner", "name", "  ", "1–200 characters"),
        ("partner_event", "first_tier_percent", 101, "0 to 100"),
        ("partner_event", "first_tier_percent", 12.345, "two decimals"),
        ("partner_event", "first_tier_percent", "20", "0 to 100"),
        ("click", "country", "Poland", "two letters"),
    ],
)
def test_a_bad_field_is_named_with_the_mend(kind: str, field: str, value: object, message: str) -> None:
    with pytest.raises(Invalid) as refusal:
        read_body(kind, {**GOOD[kind], field: value}, READING)
    assert [error["field"] for error in refusal.value.errors] == [field]
    assert message in refusal.value.errors[0]["message"]


def test_every_bad_field_is_named_at_once() -> None:
    with pytest.raises(Invalid) as refusal:
        read_body("payment", {"payment_id": "/", "amount_cents": -1, "currency": "XXX"}, READING)
    assert {error["field"] for error in refusal.value.errors} == {
        "payment_id",
        "license_id",
        "amount_cents",
        "currency",
    }


def test_rate_changed_needs_both_percents_and_an_end_after_its_start() -> None:
    body = {"event_id": "e", "partner_id": "A", "kind": "rate_changed", "first_tier_percent": 25}
    with pytest.raises(Invalid) as refusal:
        read_body("partner_event", body, READING)
    assert [error["field"] for error in refusal.value.errors] == ["second_tier_percent"]
    body |= {"second_tier_percent": 5, "occurred_at": "2025-11-01T00:00:00Z", "until": "2025-11-01T00:00:00Z"}
    with pytest.raises(Invalid) as refusal:
        read_body("partner_event", body, READING)
    assert [error["field"] for error in refusal.value.errors] == ["until"]


def test_times_keep_milliseconds_and_cut_the_rest() -> None:
    body = read_body("payment", {**GOOD["payment"], "paid_at": "2025-11-20T12:00:00.1239+02:00"}, READING)
    assert body.values["paid_at"] == 1_763_632_800_123


def test_unknown_fields_are_ignored_and_named() -> None:
    body = read_body("payment", {**GOOD["payment"], "discount_cent": 5, "zzz": {}}, READING)
    assert body.ignored == ("discount_cent", "zzz")
    assert "discount_cents" not in body.values


def test_an_ignored_name_can_always_be_answered() -> None:
    body = read_body("payment", {**GOOD["payment"], "\ud800": 1, "x" * 200: 2}, READING)
    assert body.ignored == ("?", "x" * 100)
    json.dumps(body.ignored, ensure_ascii=False).encode()


def test_the_digest_follows_the_values_not_their_order_or_unknown_fields() -> None:
    first = read_body("payment", GOOD["payment"], READING)
    again = read_body("payment", {**dict(reversed(GOOD["payment"].items())), "note": 1, "method": None}, READING)
    other = read_body("payment", {**GOOD["payment"], "amount_cents": 2901}, READING)
    assert first.digest == again.digest != other.digest


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[1]", "must be a JSON object"),
        (b'"x"', "must be a JSON object"),
        (b"\xff{}", "not UTF-8"),
        (b'{"a": NaN}', "not JSON"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b'{"a": ' + b"9" * 5000 + b"}", "a number that is too long"),
    ],
)
def test_a_body_that_is_not_json_is_refused(raw: bytes, message: str) -> None:
    with pytest.raises(Invalid) as refusal:
        parse_json(raw)
    assert message in refusal.value.detail
