"""The admin API on the hand-made history of world.py."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from typing import Any

import pytest
import redis.asyncio
import world
from running_app import ADMIN_TOKEN, App

from reports.audit_command import audit_report
from tracker import redis_keys
from tracker.tokens import Tokens

LINE_FIELDS = [
    "entry_id", "posted_at", "occurred_at", "partner_id", "tier", "kind", "payment_id", "license_id",
    "referred_partner_id", "product", "basis_cents", "percent", "amount_cents", "currency", "reason",
]  # fmt: skip


def test_partners_are_listed_newest_first(app: App) -> None:
    items = app.admin("/v2/admin/partners")["items"]
    assert [item["partner_id"] for item in items] == ["P", "S", "Q"]
    assert items[0] == {
        "partner_id": "P",
        "name": world.HOSTILE,
        "email": "p@partners.example",
        "recruiter_id": "Q",
        "status": "active",
        "joined_at": "2026-01-03T00:00:00.000Z",
    }
    assert (items[1]["status"], items[1]["recruiter_id"]) == ("suspended", None)


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ("quinn", ["Q"]),
        ("PARTNERS.EXAMPLE", ["P", "S", "Q"]),
        ("script", ["P"]),
        ("%25", []),
        ("q", ["Q"]),
        ("+", ["P", "S", "Q"]),
    ],
)
def test_partners_are_searched(app: App, search: str, expected: list[str]) -> None:
    assert [item["partner_id"] for item in app.admin(f"/v2/admin/partners?search={search}")["items"]] == expected


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_partners_are_paged(app: App, limit: int) -> None:
    assert [item["partner_id"] for item in walk(app, "/v2/admin/partners?", limit)] == ["P", "S", "Q"]


def walk(app: App, path: str, limit: int, token: str = ADMIN_TOKEN) -> list[dict[str, Any]]:
    """All items, page by page."""
    items: list[dict[str, Any]] = []
    cursor = ""
    while cursor is not None:
        answer = app.get(f"{path}&limit={limit}&cursor={cursor}", token)
        assert answer.status == 200, answer.text
        assert len(answer.json["items"]) <= limit
        items += answer.json["items"]
        cursor = answer.json["next_cursor"]
    return items


def test_commission_lines(app: App) -> None:
    items = app.admin("/v2/admin/commissions")["items"]
    assert all(list(item) == LINE_FIELDS for item in items)
    names = ("payment_id", "partner_id", "tier", "kind", "amount_cents")
    assert sorted(tuple(item[name] for name in names) for item in items) == [
        ("pay1", "P", 1, "commission", 580),
        ("pay1", "P", 1, "refund", -200),
        ("pay1", "Q", 2, "commission", 145),
        ("pay1", "Q", 2, "refund", -50),
        ("pay4", "Q", 2, "commission", 116),
        ("pay5", "Q", 2, "commission", 100),
        ("pay6", "P", 1, "commission", 2000),
        ("pay6", "Q", 2, "commission", 500),
    ]  # fmt: skip
    moments = [(item["occurred_at"], item["entry_id"]) for item in items]
    assert moments == sorted(moments, reverse=True)
    line = next(item for item in items if (item["payment_id"], item["kind"], item["tier"]) == ("pay1", "refund", 1))
    assert line | {"entry_id": ""} == {
        "entry_id": "",
        "posted_at": "2026-02-10T12:00:00.000Z",
        "occurred_at": "2026-01-31T00:00:00.000Z",
        "partner_id": "P",
        "tier": 1,
        "kind": "refund",
        "payment_id": "pay1",
        "license_id": "L1",
        "referred_partner_id": None,
        "product": "livechat",
        "basis_cents": -1000,
        "percent": 20,
        "amount_cents": -200,
        "currency": "USD",
        "reason": None,
    }


@pytest.mark.parametrize("limit", [1, 3, 8, 1000])
def test_commission_pages_lose_and_repeat_nothing(app: App, limit: int) -> None:
    whole = app.admin("/v2/admin/commissions?limit=1000")["items"]
    assert walk(app, "/v2/admin/commissions?", limit) == whole


@pytest.mark.parametrize(
    ("query", "amounts"),
    [
        ("partner_id=P", [-200, 580, 2000]),
        ("partner_id=p", []),
        ("license_id=L1&partner_id=Q", [-50, 145]),
        ("payment_id=pay5", [100]),
        ("partner_id=P&date_from=2026-01-25", [-200, 580]),
        ("partner_id=P&date_from=2026-01-25T00:00:00.001Z", [-200]),
        ("partner_id=P&date_to=2026-01-25", [580, 2000]),
        ("partner_id=P&date_to=2026-01-25T00:00:00Z", [2000]),
        ("partner_id=P&date_to=2026-01-25T00:00:00.001Z", [580, 2000]),
        ("partner_id=P&date_from=2026-01-25&date_to=2026-01-25", [580]),
        ("partner_id=P&date_from=2026-01-25T02:00:00%2B02:00&date_to=2026-01-25T00:00:00.001Z", [580]),
        ("partner_id=&license_id=&payment_id=&date_from=&date_to=&cursor=&limit=2&partner_id=P", [-200, 580]),
    ],
)
def test_commission_filters(app: App, query: str, amounts: list[int]) -> None:
    assert [item["amount_cents"] for item in app.admin(f"/v2/admin/commissions?{query}")["items"]] == amounts


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("date_from=x&date_to=y", ["date_from", "date_to"]),
        ("date_from=2026-02-30", ["date_from"]),
        ("date_to=2026-02-11T10:00:00", ["date_to"]),
        ("date_from=2026-02-11&date_to=2026-02-01", ["date_to"]),
        ("limit=0", ["limit"]),
        ("limit=1001", ["limit"]),
        ("limit=many", ["limit"]),
        ("cursor=abc", ["cursor"]),
        ("licence_id=L1", ["licence_id"]),
        ("partner_id=a%0Ab", ["partner_id"]),
    ],
)
def test_bad_filters_are_named(app: App, query: str, fields: list[str]) -> None:
    answer = app.get(f"/v2/admin/commissions?{query}", ADMIN_TOKEN)
    assert answer.status == 400 and answer.headers["Content-Type"] == "application/problem+json"
    assert [error["field"] for error in answer.json["errors"]] == fields


def test_attribution_names_every_candidate(app: App) -> None:
    found = app.admin("/v2/admin/licenses/L2/attribution")
    assert (found["license_id"], found["partner_id"], found["recruiter_id"]) == ("L2", "S", None)
    assert (found["reason"], found["rule"]) == ("last_touch", "R2")
    assert [(one["click_id"], one["clicked_at"], one["partner_id"], one["counted"]) for one in found["candidates"]] == [
        (world.uid(21), "2026-01-10T00:00:00.000Z", "S", True),
        (world.uid(20), "2026-01-09T00:00:00.000Z", "P", True),
    ]
    assert found["candidates"][0]["refused"] is None and "R2" in found["candidates"][1]["refused"]
    assert app.admin("/v2/admin/licenses/L1/attribution")["recruiter_id"] == "Q"
    assert app.admin("/v2/admin/licenses/L3/attribution")["reason"] == "self_referral"
    assert app.admin("/v2/admin/licenses/SOL1/attribution")["rule"] == "R5"
    for unknown in ("nope", "%27", "x" * 65, "L1%00"):
        assert app.get(f"/v2/admin/licenses/{unknown}/attribution", ADMIN_TOKEN).status == 404


@pytest.mark.parametrize(
    ("payment_id", "first", "second"),
    [
        ("pay1", ("P", 20, 380, None), ("Q", 5, 95, None)),
        ("pay2", ("S", None, 0, "partner_suspended"), (None, None, 0, "no_recruiter")),
        ("pay3", (None, None, 0, "self_referral"), (None, None, 0, "self_referral")),
        ("pay4", ("P", None, 0, "partner_pays"), ("Q", 5, 116, None)),
    ],
)
def test_a_payment_says_what_it_earned_or_why_not(app: App, payment_id: str, first: Any, second: Any) -> None:
    found = app.admin(f"/v2/admin/payments/{payment_id}/explanation")
    told = [
        tuple(tier[name] for name in ("partner_id", "percent", "earned_cents", "withheld")) for tier in found["tiers"]
    ]
    assert told == [first, second]
    assert all(tier["text"].startswith("R") for tier in found["tiers"])
    assert found["money_events"][0]["base_cents"] == found["amount_cents"]
    assert app.get("/v2/admin/payments/nope/explanation", ADMIN_TOKEN).status == 404
    page = app.get(f"/admin/licenses/{found['license_id']}", cookie=app.sign_in(app.tokens["admin"])).text
    assert payment_id in page and found["tiers"][0]["text"] in page


CALLS = 10  # at most, of some seconds each


def test_a_license_on_its_way_is_waited_for(app: App) -> None:
    app.redis.hset(redis_keys.LICENSES, mapping={"LATE": "{}", "STUCK": "{}"})
    facts = (world.click(70, "P", 30, 70), world.signup("LATE", 31, 70))
    later = threading.Timer(0.5, lambda: world.load(app.warehouse, *facts, load_id=2))
    later.start()
    # One call waits for it; on a busy machine attribution may take longer, and then the answer says to ask again.
    for _ in range(CALLS):
        found = app.get("/v2/admin/licenses/LATE/attribution", ADMIN_TOKEN)
        if found.status != 503:
            break
    later.join()
    assert found.status == 200 and found.json["partner_id"] == "P", found.text
    answer = app.get("/v2/admin/licenses/STUCK/attribution", ADMIN_TOKEN)
    assert answer.status == 503 and answer.headers["Retry-After"]


def test_chain_of_a_first_tier_line(app: App) -> None:
    line = app.admin("/v2/admin/commissions?payment_id=pay1&partner_id=P")["items"][0]
    chain = app.admin(f"/v2/admin/commissions/{line['entry_id']}/chain")
    assert [step["step"] for step in chain["steps"]] == [
        "payment", "license", "signup", "click", "partner", "join", "click", "recruiter",
    ]  # fmt: skip
    payment, license, signup, click, partner, *_, recruiter = chain["steps"]
    assert (payment["payment_id"], payment["refund"]["refund_id"]) == ("pay1", "r1")
    assert (license["license_id"], license["client_email_masked"]) == ("L1", "j…e@e…m")
    assert (signup["started_at"], signup["rule"]) == ("2026-01-22T00:00:00.000Z", "R2")
    assert (click["click_id"], partner["partner_id"], recruiter["partner_id"]) == (world.uid(11), "P", "Q")
    assert app.get("/v2/admin/commissions/none/chain", ADMIN_TOKEN).status == 404


def test_partner_tokens(app: App) -> None:
    made = app.send("POST", "/v2/admin/partners/S/tokens", ADMIN_TOKEN, body={"label": "ci"})
    assert made.status == 201 and made.json["token"].startswith("lt_p_") and made.json["partner_id"] == "S"
    assert app.get("/v2/partners/commissions", made.json["token"]).json == {"items": [], "next_cursor": None}
    listed = app.admin("/v2/admin/partners/S/tokens")["items"]
    assert [one["label"] for one in listed] == ["ci", "S"] and all("token" not in one for one in listed)
    assert app.send("POST", "/v2/admin/partners/S/tokens", ADMIN_TOKEN, body={"label": "ci"}).status == 409
    assert app.send("DELETE", f"/v2/admin/partners/S/tokens/{made.json['id']}", ADMIN_TOKEN).status == 204
    assert app.send("DELETE", f"/v2/admin/partners/S/tokens/{made.json['id']}", ADMIN_TOKEN).status == 404
    assert app.get("/v2/partners/commissions", made.json["token"]).status == 401


def test_a_partner_who_just_joined_gets_a_token_and_pages(app: App) -> None:
    entry = {
        "joined_at": world.NOW, "name": "New Partner", "email": "new@partners.example", "email_hash": "x",
        "recruiter_id": "", "links": {"livechat": "newcode"}, "changes": [],
    }  # fmt: skip
    app.redis.hset(redis_keys.PARTNERS, "NEW", json.dumps(entry))
    made = app.send("POST", "/v2/admin/partners/NEW/tokens", ADMIN_TOKEN, body={"label": "first"})
    assert made.status == 201
    cookie = app.sign_in(made.json["token"])
    for path in ("", "links", "clicks", "licenses", "commissions"):
        assert app.get(f"/partner/{path}", cookie=cookie).status == 200
    assert "http://localhost:8000/newcode" in app.get("/partner/links", cookie=cookie).text
    assert app.send("POST", "/v2/admin/partners/GHOST/tokens", ADMIN_TOKEN, body={"label": "x"}).status == 404


@pytest.mark.parametrize("scope", ["service", "marketing", "finance"])
def test_service_tokens(app: App, scope: str) -> None:
    made = app.send("POST", "/v2/admin/service-tokens", ADMIN_TOKEN, body={"label": "billing", "scope": scope})
    assert made.status == 201 and made.json["scope"] == scope
    assert made.json["id"] in [one["id"] for one in app.admin("/v2/admin/service-tokens")["items"]]
    assert _verify(app, made.json["token"]) == scope
    assert app.send("DELETE", f"/v2/admin/service-tokens/{made.json['id']}", ADMIN_TOKEN).status == 204
    assert _verify(app, made.json["token"]) is None
    assert app.send("DELETE", f"/v2/admin/service-tokens/{made.json['id']}", ADMIN_TOKEN).status == 404


def _verify(app: App, token: str) -> str | None:
    """The scope that the tracker would see."""

    async def verify() -> str | None:
        async with redis.asyncio.Redis.from_url(app.redis_url) as client:
            found = await Tokens(client, "other").verify(token, world.NOW)
            return found.scope if found else None

    return asyncio.run(verify())


@pytest.mark.parametrize(
    ("body", "status", "fields"),
    [
        (b"{", 422, []),
        (b"[]", 422, []),
        (b"\xff", 422, []),
        (b"{}", 422, ["label", "scope"]),
        (b'{"label":"","scope":"service"}', 422, ["label"]),
        (b'{"label":7,"scope":"admin"}', 422, ["label", "scope"]),
        (b'{"label":"' + b"x" * 101 + b'","scope":"partner"}', 422, ["label", "scope"]),
        (b'{"label":"a\\u0000b","scope":["service"]}', 422, ["label", "scope"]),
    ],
)
def test_bad_token_requests(app: App, body: bytes, status: int, fields: list[str]) -> None:
    answer = app.send("POST", "/v2/admin/service-tokens", ADMIN_TOKEN, body=body)
    assert answer.status == status
    assert [error["field"] for error in answer.json.get("errors", [])] == fields


def test_audit_is_clean_and_sees_a_wrong_line(app: App) -> None:
    answer = app.send("POST", "/v2/admin/audit", ADMIN_TOKEN)
    assert answer.status == 200 and answer.json["is_clean"] is True, answer.text
    assert answer.json["lines"] >= 8 and answer.json["differences"] == []
    assert answer.json["is_replayed"] is False and answer.json["touches"]["of_shares"] == 1
    replayed = app.send("POST", "/v2/admin/audit?replay=true", ADMIN_TOKEN).json
    assert replayed["is_clean"] and replayed["is_replayed"]
    assert replayed["finding_counts"]["replayed_ledger_differs"] == 0
    wrong = app.send("POST", "/v2/admin/audit?replay=yes", ADMIN_TOKEN)
    assert wrong.status == 400 and [error["field"] for error in wrong.json["errors"]] == ["replay"]


def test_the_audit_s_report_is_for_people(app: App) -> None:
    found = app.send("POST", "/v2/admin/audit?replay=true", ADMIN_TOKEN).json
    assert audit_report(found) == [
        "Compared the touches of 0 visitors in Redis with their clicks.",
        "Compared bindings, recruiters, standings and the ledger's sums with a replay of all facts.",
        f"Audited {found['lines']} commission lines up to round {found['round']} (load {found['through_load']}): "
        "every one is what the rules give.",
    ]
    event = {"license_id": "L", "payment_id": "p", "money_event_id": "payment:p", "tier": 1, "partner_id": "P"}
    wrong = {
        **found, "is_clean": False, "is_replayed": False, "difference_count": 1, "findings": [],
        "differences": [{**event, "expected_cents": 580, "posted_cents": 0, "chain": ["no line was posted"]}],
        "touches": {"visitors": 1234, "shares": 10, "of_shares": 83, "keys": 5},
    }  # fmt: skip
    assert audit_report(wrong) == [
        "1 differences between the ledger and the rules, in cents:",
        "",
        "license_id  payment_id  money_event_id  tier  partner_id  expected_cents  posted_cents",
        "L           p           payment:p       1     P           580             0",
        "",
        "payment:p, tier 1, P:",
        "    no line was posted",
        "",
        "Compared the touches of 1,234 visitors in Redis with their clicks, 10 of 83 shares of all.",
        f"Audited {found['lines']} commission lines up to round {found['round']} (load {found['through_load']}): "
        "NOT everything agrees.",
    ]


def test_quarantine_shows_bytes_and_reason(app: App) -> None:
    for n in range(3):
        piece = {
            "quarantine_id": f"q{n}".encode(),
            "stream": b"{c1}:journal",
            "entry_id": b"1-1",
            "field": b"clicks",
            "line": n,
            "facts": 1,
            "bytes": b"\xff\x00<b>" + bytes([n]),
            "reason": b"not readable",
            "load_id": 1,
            "quarantined_at": world.NOW + n,
        }
        app.warehouse.insert("quarantine", list(piece), [list(piece.values())])
    app.warehouse.insert("quarantine_replays", ["quarantine_id", "load_id"], [["q1", 2]])
    items = walk(app, "/v2/admin/quarantine?", 1)
    assert [(one["quarantine_id"], one["bytes_base64"]) for one in items] == [("q2", "/wA8Yj4C"), ("q0", "/wA8Yj4A")]
    assert items[0]["text"] == "\ufffd\x00<b>\x02" and items[0]["reason"] == "not readable"


def test_openapi_lists_every_call(app: App) -> None:
    from reports.calls import CALLS
    from reports.partner_api.serving import CONTRACT_OPERATIONS, OPERATIONS

    document = app.get("/openapi.json").json
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    contract = {(one.method, one.path) for one in CONTRACT_OPERATIONS.values() if one.operation_id in OPERATIONS}
    assert described == {(one.method, re.sub(r":\w+}", "}", one.path)) for one in CALLS} | contract
    operations = [one["operationId"] for methods in document["paths"].values() for one in methods.values()]
    assert len(set(operations)) == len(operations)
    for reference in re.findall(r'"\$ref":"#/([^"]+)"', json.dumps(document, separators=(",", ":"))):
        found = document
        for part in reference.split("/"):
            found = found[part]
    page = app.get("/docs")
    assert page.status == 200 and all(path in page.text for path in document["paths"])
    assert all(f'id="{name}"' in page.text for name in operations)
