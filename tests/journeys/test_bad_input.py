"""Bad input gets a clear problem document, never a 5xx, and nothing of it is kept or lost."""

from __future__ import annotations

import json
import socket
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.harness import ADMIN_TOKEN, Answer, Journey, Server, send

GOOD: dict[str, dict[str, Any]] = {
    "/v1/partners": {"partner_id": "ID", "email": "ID@x.example", "name": "P"},
    "/v1/signups": {"license_id": "ID", "product": "livechat"},
    "/v1/payments": {"payment_id": "ID", "license_id": "L", "amount_cents": 2900, "currency": "USD"},
    "/v1/refunds": {"refund_id": "ID", "payment_id": "unknown", "amount_cents": 100, "kind": "refund"},
    "/v1/license-events": {"event_id": "ID", "license_id": "L", "kind": "qualified"},
    "/v1/partner-events": {"event_id": "ID", "partner_id": "nobody", "kind": "suspended"},
}
IMPORT_TYPES = {
    "/v1/partners": "partner",
    "/v1/signups": "signup",
    "/v1/payments": "payment",
    "/v1/refunds": "refund",
    "/v1/license-events": "license_event",
    "/v1/partner-events": "partner_event",
}
RATE = {"kind": "rate_changed", "first_tier_percent": 20, "second_tier_percent": 5}
TOMORROW = (datetime.now(UTC) + timedelta(hours=25)).isoformat()

BAD_IDS: list[Any] = ["", "a b", "ü", "x" * 65, "a/b", "a\n", "a\x00", 7, True, [], {}, "\ud800"]
BAD_TIMES: list[Any] = [
    "", "yesterday", "2026-02-30T00:00:00Z", "2026-02-11", "2026-02-11T13:18:53", "2026-02-11T25:00:00Z",
    "2026-02-11T13:18:53+99:00", 1739280000, TOMORROW, "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z",
    "1969-12-31T23:59:59Z", "\uff12\uff10\uff12\uff16-02-11T13:18:53Z", True, {}, "2026-02-11T13:18:53Z" + " " * 99,
]  # fmt: skip
BAD_AMOUNTS: list[Any] = [0, -1, -2900, 29.5, 2900.0, "2900", "", True, [], 10**12, 10**30, 2**63, 1e300, float("1e16")]
BAD_EMAILS: list[Any] = [
    "",
    "jane",
    "@x.example",
    "jane@",
    "a@b@c",
    "a b@x.example",
    5,
    "x" * 400 + "@x.example",
    "a@x\n.example",
]
BAD_VISITORS: list[Any] = [
    "", "x", "00000000-0000-0000-0000-000000000000", str(uuid.uuid4()).upper(), uuid.uuid4().hex,
    f"{{{uuid.uuid4()}}}", f"urn:uuid:{uuid.uuid4()}", 5, f"{uuid.uuid4()} ",
]  # fmt: skip
BAD_WORDS: list[Any] = ["", "nonsense", "REFUND", 5, None, []]
BAD_PERCENTS: list[Any] = [-1, 100.01, 12.345, "20", True, None, 1e300, float("5e-324")]

TABLE: list[tuple[str, dict[str, Any], str]] = [
    *(("/v1/partners", {"partner_id": bad}, "partner_id") for bad in BAD_IDS),
    *(("/v1/partners", {"recruiter_id": bad}, "recruiter_id") for bad in BAD_IDS[1:]),
    *(("/v1/partners", {"email": bad}, "email") for bad in BAD_EMAILS),
    *(("/v1/partners", {"name": bad}, "name") for bad in ["", " ", 5, "x" * 1000, "a\x00b", None, "\ud800"]),
    *(("/v1/partners", {"joined_at": bad}, "joined_at") for bad in BAD_TIMES),
    *(("/v1/partners", {"visitor_id": bad}, "visitor_id") for bad in BAD_VISITORS),
    *(("/v1/signups", {"license_id": bad}, "license_id") for bad in BAD_IDS),
    *(("/v1/signups", {"product": bad}, "product") for bad in BAD_WORDS),
    *(("/v1/signups", {"visitor_id": bad}, "visitor_id") for bad in BAD_VISITORS),
    *(("/v1/signups", {"client_email": bad}, "client_email") for bad in BAD_EMAILS),
    *(("/v1/signups", {"data_center": bad}, "data_center") for bad in ["", "moon", 5]),
    *(("/v1/signups", {"seats": bad}, "seats") for bad in [-1, 0, 1.5, "3", 2**40, True]),
    *(("/v1/signups", {"trial_days": bad}, "trial_days") for bad in [-1, 1.5, "3", 2**40]),
    *(("/v1/signups", {"signed_up_at": bad}, "signed_up_at") for bad in BAD_TIMES),
    *(("/v1/payments", {"payment_id": bad}, "payment_id") for bad in BAD_IDS),
    *(("/v1/payments", {"license_id": bad}, "license_id") for bad in BAD_IDS),
    *(("/v1/payments", {"amount_cents": bad}, "amount_cents") for bad in [*BAD_AMOUNTS, None]),
    *(("/v1/payments", {"currency": bad}, "currency") for bad in ["EUR", "usd", "", 840, None]),
    *(("/v1/payments", {"discount_cents": bad}, "discount_cents") for bad in [-1, 1.5, "3", 10**30]),
    *(("/v1/payments", {"method": bad}, "method") for bad in ["cash", 5]),
    *(("/v1/payments", {"paid_at": bad}, "paid_at") for bad in BAD_TIMES),
    *(("/v1/refunds", {"refund_id": bad}, "refund_id") for bad in BAD_IDS),
    *(("/v1/refunds", {"payment_id": bad}, "payment_id") for bad in BAD_IDS),
    *(("/v1/refunds", {"amount_cents": bad}, "amount_cents") for bad in [*BAD_AMOUNTS, None]),
    *(("/v1/refunds", {"kind": bad}, "kind") for bad in BAD_WORDS),
    *(("/v1/refunds", {"refunded_at": bad}, "refunded_at") for bad in BAD_TIMES),
    *(("/v1/license-events", {"kind": bad}, "kind") for bad in BAD_WORDS),
    *(("/v1/license-events", {"occurred_at": bad}, "occurred_at") for bad in BAD_TIMES[:5]),
    *(("/v1/partner-events", {"kind": bad}, "kind") for bad in BAD_WORDS),
    *(("/v1/partner-events", {**RATE, "first_tier_percent": bad}, "first_tier_percent") for bad in BAD_PERCENTS),
    *(("/v1/partner-events", {**RATE, "second_tier_percent": bad}, "second_tier_percent") for bad in BAD_PERCENTS),
    *(("/v1/partner-events", {**RATE, "until": bad}, "until") for bad in ["", "soon", 5, "2003-01-01T00:00:00Z"]),
]


def body_of(path: str, bad: Mapping[str, Any], own: str) -> dict[str, Any]:
    good = {name: value.replace("ID", own) if isinstance(value, str) else value for name, value in GOOD[path].items()}
    return {**good, **bad}


def named(answer: Answer, field: str) -> bool:
    return field in [error["field"] for error in answer.json["errors"]]


@pytest.mark.parametrize("path", GOOD)
def test_bad_fields_are_named(journey: Journey, path: str) -> None:
    """Every row of the table for one call: 422 that names the field, and the id stays free."""
    wrong = []
    for number, (bad_path, bad, field) in enumerate(TABLE):
        if bad_path != path:
            continue
        answer = journey.server.api(path, body_of(path, bad, journey.id(f"n{number}")))
        if (
            answer.status != 422
            or answer.headers.get_content_type() != "application/problem+json"
            or not named(answer, field)
            or answer.json["status"] != 422
        ):
            wrong.append(f"{bad!r:.200}: {answer.status} {answer.body[:300]!r}")
    assert not wrong, "\n".join(wrong)
    assert journey.server.api(path, body_of(path, {}, journey.id("good"))).status == 201


def test_bad_fields_are_named_in_imports(journey: Journey) -> None:
    """The same table as lines of one import, between good lines: only the good ones are taken."""
    lines: list[dict[str, Any]] = []
    expected: dict[int, str] = {}
    for number, (path, bad, field) in enumerate(TABLE):
        lines.append({"type": IMPORT_TYPES[path], **body_of(path, bad, journey.id(f"i{number}"))})
        expected[len(lines)] = field
        lines.append({"type": IMPORT_TYPES[path], **body_of(path, {}, journey.id(f"g{number}"))})
    answer = journey.import_lines(lines)
    rejected = {item["line"]: [error["field"] for error in item["errors"]] for item in answer["rejected"]}
    assert {line: field for line, field in expected.items() if field not in rejected.get(line, [])} == {}
    assert set(rejected) == set(expected)
    assert answer["accepted"] == len(TABLE)


def test_every_bad_field_is_named_at_once(journey: Journey) -> None:
    answer = journey.server.api(
        "/v1/payments", {"payment_id": "a b", "amount_cents": -1, "currency": "EUR", "paid_at": "soon"}
    )
    assert answer.status == 422
    fields = {error["field"] for error in answer.json["errors"]}
    assert fields == {"payment_id", "license_id", "amount_cents", "currency", "paid_at"}
    assert all(error["message"] for error in answer.json["errors"])


BROKEN_BODIES = [
    b"", b" ", b"{", b"null", b"[]", b"1", b'"text"', b"{'a': 1}", b'{"a": 1,}', b"\xff\xfe{}", b'{"a": "\xff"}',
    b'{"amount_cents": NaN}', b'{"amount_cents": Infinity}', b"[" * 60_000, b'{"a":' * 12_000,
    b'{"amount_cents": ' + b"9" * 10_000 + b"}", b"\x00", b"\xef\xbb\xbf{", b"a=1&b=2",
]  # fmt: skip


@pytest.mark.parametrize("path", GOOD)
def test_bodies_that_are_no_json_object(server: Server, path: str) -> None:
    wrong = []
    for body in BROKEN_BODIES:
        answer = server.api(path, body)
        if answer.status not in (400, 422) or answer.headers.get_content_type() != "application/problem+json":
            wrong.append(f"{body[:60]!r}: {answer.status} {answer.body[:200]!r}")
    assert not wrong, "\n".join(wrong)


def test_unknown_fields_are_ignored_and_named(journey: Journey) -> None:
    names = ["surprise", "amount", "", "x" * 5000, "\ud800", "é\x00", "__proto__"]
    body = {"payment_id": journey.id("pay"), "license_id": "L", "amount_cents": 5, "currency": "USD"}
    answer = journey.server.api("/v1/payments", {**body, **{name: {"deep": [1]} for name in names}})
    assert answer.status == 201, answer.body
    assert answer.json["payment_id"] == journey.id("pay")
    assert {"surprise", "amount"} <= set(answer.json["ignored"])
    imported = journey.import_lines(
        [{"type": "payment", **body, "payment_id": journey.id("p2"), **dict.fromkeys(names, 1)}]
    )
    assert (imported["accepted"], imported["rejected"]) == (1, [])


@pytest.mark.parametrize("path", GOOD)
def test_huge_bodies_are_refused(server: Server, path: str) -> None:
    body = json.dumps({**GOOD[path], "padding": "x" * 3_000_000})
    try:
        answer = server.api(path, body)
    except (BrokenPipeError, ConnectionResetError):
        pass  # refused before it was read
    else:
        assert (answer.status, answer.headers.get_content_type()) == (413, "application/problem+json")
    assert server.is_ready(server.tracker_port)


def test_broken_import_lines(journey: Journey) -> None:
    """Lines in every kind of disrepair between good ones: each is rejected by number, no good one is lost."""
    broken: list[bytes] = [
        *(body for body in BROKEN_BODIES if body.strip()),
        b'{"type": "payment"',
        b'{"type": 5}',
        b'{"type": null}',
        b"{}",
        b'{"type": "payment"} {"type": "payment"}',
        b'{"type": "click", "click_id": "x"}',
        b'{"type": "solution_license", "payment_origin": "nobody"}',
        b'{"type": "license_transfer"}',
        b'{"type": "payment", "padding": "' + b"x" * 200_000 + b'"}',
    ]

    def good(number: int) -> bytes:
        event = {"type": "license_event", "event_id": journey.id(f"e{number}"), "license_id": "L", "kind": "expired"}
        return json.dumps(event).encode()

    lines: list[bytes] = []
    for number, line in enumerate(broken):
        lines += [good(number), line]
    text = b"\r\n".join(lines) + b"\r\n\n   \n" + good(999)  # blank lines, and none after the last
    answer = journey.server.api("/v1/import", text)
    assert answer.status == 200, answer.body
    assert answer.json["accepted"] == len(broken) + 1
    assert [item["line"] for item in answer.json["rejected"]] == list(range(2, 2 * len(broken) + 1, 2))
    assert all(error["message"] for item in answer.json["rejected"] for error in item["errors"])
    again = journey.server.api("/v1/import", text).json
    assert (again["accepted"], again["duplicates"]) == (0, len(broken) + 1)


def test_bad_clicks_in_imports(journey: Journey) -> None:
    def click(**bad: Any) -> dict[str, Any]:
        line = {
            "type": "click",
            "click_id": str(uuid.uuid4()),
            "clicked_at": "2026-02-11T13:18:53Z",
            "visitor_id": str(uuid.uuid4()),
            "partner_id": "P",
        }
        return {**line, **bad}

    rows: list[tuple[str, Any]] = [
        *(("click_id", bad) for bad in [*BAD_VISITORS, None]),
        *(("visitor_id", bad) for bad in [*BAD_VISITORS, None]),
        *(("clicked_at", bad) for bad in [*BAD_TIMES, None]),
        *(("partner_id", bad) for bad in [*BAD_IDS, None]),
        *(("product", bad) for bad in ["nonsense", 5]),
        *(("country", bad) for bad in ["Germany", "D1", 5]),
        *(("user_agent", bad) for bad in [5, "x" * 60_000]),
    ]
    answer = journey.import_lines([click(**{field: bad}) for field, bad in rows])
    rejected = {item["line"]: [error["field"] for error in item["errors"]] for item in answer["rejected"]}
    missing = [(field, bad) for line, (field, bad) in enumerate(rows, 1) if field not in rejected.get(line, [])]
    assert missing == [] and answer["accepted"] == 0
    odd = [click(user_agent="tab\there" + "é" * 300), click(referrer="https://x.example/\\N"), click(campaign="a\\b")]
    journey.import_lines(odd)
    journey.attributed()
    assert journey.server.pipeline()["quarantined"] == 0


def test_an_import_that_breaks_off(journey: Journey) -> None:
    """A caller who hangs up in the middle: the same import again takes the rest, and nothing twice."""
    lines = [
        json.dumps({"type": "license_event", "event_id": journey.id(f"e{n}"), "license_id": "L", "kind": "expired"})
        for n in range(3000)
    ]
    text = ("\n".join(lines) + "\n").encode()
    head = "\r\n".join(
        [
            "POST /v1/import HTTP/1.1",
            "Host: tracker",
            f"Authorization: Bearer {ADMIN_TOKEN}",
            f"Content-Length: {len(text)}\r\n\r\n",
        ]
    )
    with socket.create_connection(("127.0.0.1", journey.server.tracker_port), timeout=10) as connection:
        connection.sendall(head.encode() + text[: len(text) * 2 // 3])
    answer = journey.server.api("/v1/import", text).json
    assert answer["accepted"] + answer["duplicates"] == 3000 and answer["rejected"] == []
    again = journey.server.api("/v1/import", text).json
    assert (again["accepted"], again["duplicates"]) == (0, 3000)
    journey.attributed()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/payments", 405),
        ("PUT", "/v1/payments", 405),
        ("POST", "/v1/nonsense", 404),
        ("POST", "/v1/pipeline", 405),
        ("DELETE", "/v1/import", 405),
    ],
)
def test_wrong_methods_and_paths(server: Server, method: str, path: str, status: int) -> None:
    answer = server.api(path, {}, method=method)
    assert answer.status == status or (path == "/v1/nonsense" and answer.status == 405)
    assert answer.headers.get_content_type() == "application/problem+json"


ADMIN_CALLS = [
    ("/v2/admin/commissions?limit=0", 400),
    ("/v2/admin/commissions?limit=x", 400),
    ("/v2/admin/commissions?limit=99999999999999999999", 400),
    ("/v2/admin/commissions?date_from=yesterday", 400),
    ("/v2/admin/commissions?cursor=nonsense", 400),
    ("/v2/admin/partners?limit=-1", 400),
    ("/v2/admin/partners?cursor=%ff%fe", 400),
    ("/v2/reports/funnel?group_by=nonsense", 400),
    ("/v2/reports/funnel?date_from=2026-13-01", 400),
]


@pytest.mark.parametrize(("target", "status"), ADMIN_CALLS)
def test_bad_queries_of_the_app(server: Server, target: str, status: int) -> None:
    """A clear refusal: 400, or 422 as the Conversions API has it."""
    answer = send(server.app_port, "GET", target, headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
    assert answer.status in (status, 422), answer.body
    assert answer.headers.get_content_type() == "application/problem+json"


HARMLESS_CALLS = [
    "/v2/admin/commissions?partner_id='%20or%201=1--",
    "/v2/admin/commissions?payment_id=%00",
    "/v2/admin/commissions?license_id=%ff",
    "/v2/admin/commissions?date_from=0001-01-01&date_to=9999-12-31",
    "/v2/admin/partners?search=%25%27%5C",
    "/v2/admin/licenses/%27/attribution",
    "/v2/admin/licenses/%00/attribution",
    "/v2/reports/funnel?partner_id=%27%29&country=%00&date_from=1900-01-01&date_to=2299-12-31",
]


@pytest.mark.parametrize("target", HARMLESS_CALLS)
def test_odd_queries_of_the_app_never_fail(server: Server, target: str) -> None:
    answer = send(server.app_port, "GET", target, headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
    assert answer.status < 500, answer.body


def test_raw_nonsense_on_the_sockets(server: Server) -> None:
    """Bytes that are no HTTP: the connection ends, the server goes on."""
    for port in (server.tracker_port, server.app_port):
        for nonsense in (
            b"\x16\x03\x01\x02\x00",
            b"GET\r\n\r\n",
            b"\x00" * 4096,
            b"GET / HTTP/9.9\r\n\r\n",
            b"X" * 200_000,
        ):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                try:
                    connection.sendall(nonsense)
                    connection.shutdown(socket.SHUT_WR)
                    answer = connection.recv(64)
                except OSError:
                    answer = b""
                assert not answer.startswith(b"HTTP/1.1 5"), nonsense[:20]
        assert server.is_ready(port)
