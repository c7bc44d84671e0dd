"""The Partner API's account operations, against the ledger of world.py."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
import world
from running_app import ADMIN_TOKEN, App

from reports.sessions import read_session
from tracker import redis_keys

BILLING = {
    "type": "business", "company": "Zoë Ltd", "address": "1 Street", "city": "Łódź", "country": "PL",
    "paypal": "pay@example.com", "vat": "PL1",
}  # fmt: skip
YEAR = {"date_from": "2026-01-01", "date_to": "2026-12-31"}


def ledger(app: App, partner_id: str, **filters: Any) -> list[dict[str, Any]]:
    """The partner's lines as the admin sees them."""
    query = "&".join(f"{name}={value}" for name, value in filters.items())
    found: list[dict[str, Any]] = app.admin(f"/v2/admin/commissions?partner_id={partner_id}&limit=1000&{query}")[
        "items"
    ]
    return found


def test_profile(app: App) -> None:
    profile = app.partner_api("GET", "", "Q")
    assert profile == app.partner_api("GET", "/profile", "Q")
    names = ("partner_id", "login", "first_name", "last_name", "contact_name", "contact_email", "solution_status")
    assert [profile[name] for name in names] == [
        "Q", "q@partners.example", "Quinn", "Recruiter", "Quinn Recruiter", "q@partners.example", "accepted",
    ]  # fmt: skip
    changed = {"first_name": "Zoë", "last_name": "O", "contact_name": "Z", "contact_email": "z@example.com"}
    assert app.partner_api("PUT", "/profile", "Q", status=204, body={**changed, "send_newsletter": True}) is None
    assert app.partner_api("PUT", "/profile", "Q", status=204, body={**changed, "partner_id": "P"}) is None
    after = app.partner_api("GET", "", "Q")
    assert after == {**profile, **changed, "send_newsletter": True}
    wrong = app.partner_api("PUT", "/profile", "Q", status=400, body={"first_name": "", "send_newsletter": "yes"})
    assert {error["field"] for error in wrong["errors"]} == {*changed, "send_newsletter"}


def test_stats_and_coupons(app: App) -> None:
    none = {"trials": 0, "trials_cc": 0, "paid": 0}
    assert app.partner_api("GET", "/stats", "P") == {
        "affiliate": {"livechat": {**none, "paid": 2}, "partner_program": {**none, "partners_referred": 0}},
        "solution": {"livechat": {**none, "paid": 2}},
    }
    brought = app.partner_api("GET", "/stats", "Q")["affiliate"]["partner_program"]
    assert brought == {**none, "paid": 4, "partners_referred": 1}
    assert app.partner_api("GET", "/coupons") == {"result": [{"id": 1, "label": "10% off for a year"}]}


def test_earnings_are_the_ledger_s(app: App) -> None:
    lines = ledger(app, "P")
    total = sum(line["amount_cents"] for line in lines)
    earnings = app.partner_api("GET", "/earnings", "P")
    lately = 2900 // 5 - 200 + 2000  # the payments of SOL2 and L1 are 22 and 16 days old
    assert (total, earnings["commission_total"]) == (2380, 23.8)
    assert earnings == {
        "balance": 3.8, "blocked": 20, "commission_total": 23.8, "commission_last_30_days": lately / 100,
        "withdrawals": 0, "pending": 0,
        "affiliate": {
            "commission_total": 3.8, "commission_last_30_days": 3.8,
            "livechat": {"commission_total": 3.8, "commission_last_30_days": 3.8},
            "partner_program": {"commission_total": 0, "commission_last_30_days": 0},
        },
        "solution": {
            "commission_total": 20, "commission_last_30_days": 20,
            # 20 % of what pay4 would have cost, and what pay5 says itself.
            "livechat": {"commission_total": 20, "commission_last_30_days": 20, "discount": 7.03},
        },
    }  # fmt: skip
    recruiter = app.partner_api("GET", "/earnings", "Q")
    assert recruiter["affiliate"]["partner_program"]["commission_total"] == 8.11
    assert (recruiter["balance"], recruiter["blocked"]) == (3.11, 5)


@pytest.mark.parametrize("partner_id", ["P", "Q", "S"])
def test_reports_and_metrics_add_up(app: App, partner_id: str) -> None:
    lines = ledger(app, partner_id)
    total = sum(line["amount_cents"] for line in lines) / 100

    def metric(**query: str) -> Any:
        return app.partner_api("GET", "/metrics/commission", partner_id, **query)["value"]

    assert metric() == metric(**YEAR) == metric(product="all", program="all") == total
    assert sum(metric(product=name) for name in ("livechat", "partner_program")) == pytest.approx(total)
    assert sum(metric(program=name) for name in ("affiliate", "solution")) == pytest.approx(total)
    for aggregation, buckets in (("day", 365), ("week", 53), ("month", 12)):
        query = {**YEAR, "aggregation": aggregation}
        items = app.partner_api("GET", "/reports/commission", partner_id, **query)["items"]
        assert len(items) == buckets
        assert round(sum(item["total"] for item in items), 2) == total
        brought = app.partner_api("GET", "/partners-referred/reports/commission", partner_id, **query)["items"]
        second = sum(line["amount_cents"] for line in lines if line["tier"] == 2)
        assert round(sum(item["total"] for item in brought) * 100) == second


def test_a_report_by_day_has_the_lines_of_each_day(app: App) -> None:
    query = {**YEAR, "aggregation": "day", "filters": '[{"field":"product","operator":"equals","value":"livechat"}]'}
    items = app.partner_api("GET", "/reports/commission", "P", **query)["items"]
    days: dict[str, int] = {}
    for line in ledger(app, "P"):
        days[line["occurred_at"][:10]] = days.get(line["occurred_at"][:10], 0) + line["amount_cents"]
    shown = {item["date_range"]["from"][:10]: round(item["total"] * 100) for item in items if item["total"]}
    assert shown == {day: cents for day, cents in days.items() if cents}
    nothing = query | {
        "filters": query["filters"][:-1] + ',{"field":"product","operator":"equals","value":"partner_program"}]'
    }
    assert {item["total"] for item in app.partner_api("GET", "/reports/commission", "P", **nothing)["items"]} == {0}
    program = {"aggregation": "month", "program": "solution", **YEAR}
    brought = app.partner_api("GET", "/partners-referred/reports/commission", "Q", **program)["items"]
    assert brought[0]["total"] == 7.16


def test_billing(app: App) -> None:
    empty = app.partner_api("GET", "/billing", "S")
    assert set(empty.values()) == {""} and {"company", "vat", "state", "type"} <= set(empty)
    app.partner_api("PUT", "/billing", "S", status=204, body=BILLING)
    assert app.partner_api("GET", "/billing", "S") == {"state": "", "zip_code": "", **BILLING}
    for bad in ({"country": "Poland"}, {"country": "PL\n"}, {"type": ""}, {"paypal": "nobody"}):
        wrong = app.partner_api("PUT", "/billing", "S", status=400, body=BILLING | bad)
        assert [error["field"] for error in wrong["errors"]] == list(bad)
    app.redis.hdel(redis_keys.BILLING, "S")


def test_tokens(app: App) -> None:
    made = app.partner_api("POST", "/tokens", status=201, body={"label": "phone"})
    secret = made["token"]
    assert app.send("GET", "/v2/partners/balance", secret).status == 200
    assert app.partner_api("POST", "/tokens", status=409, body={"label": "phone"})["errors"][0]["field"] == "label"
    listed = app.partner_api("GET", "/tokens")["result"]
    mine = next(one for one in listed if one["id"] == made["id"])
    assert mine["token"] == f"lt_p_…{secret[-4:]}" and mine["last_used_timestamp"] and mine["label"] == "phone"
    assert secret.encode() not in b"".join(
        app.redis.hgetall(redis_keys.TOKENS).values()  # type: ignore[union-attr]
    )
    assert app.partner_api("DELETE", f"/tokens/{made['id']}", "Q", status=404)
    assert app.redis.hlen(redis_keys.TOKEN_USES) > 0
    assert app.partner_api("DELETE", f"/tokens/{made['id']}", status=204) is None
    uses, tokens = (app.redis.hkeys(name) for name in (redis_keys.TOKEN_USES, redis_keys.TOKENS))
    assert set(uses) <= set(tokens), "what is gone leaves nothing behind"  # type: ignore[arg-type]
    gone = app.send("GET", "/v2/partners/balance", secret)
    assert (gone.status, gone.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert app.partner_api("DELETE", f"/tokens/{made['id']}", status=404)
    app.partner_api("DELETE", "/tokens/first", status=404)
    form = app.send("POST", "/v2/partners/tokens", app.tokens["P"], form={"label": "phone", "expires_in_days": "1"})
    assert form.status == 201 and form.json["expiration_timestamp"] == "2026-02-11 12:00:00"
    app.partner_api("POST", "/tokens", status=400, body={"label": "ab"})


def test_a_token_s_label_is_given_once(app: App) -> None:
    statuses = at_once(
        20, lambda: app.send("POST", "/v2/partners/tokens", app.tokens["S"], body={"label": "twice"}).status
    )
    assert sorted(statuses) == [201] + [409] * 19


def test_an_expired_token_is_none(app: App) -> None:
    body = {"label": "short", "expires_at": "2026-02-10T12:00:01Z"}
    made = app.send("POST", "/v2/admin/partners/P/tokens", ADMIN_TOKEN, body=body)
    assert made.status == 201 and app.send("GET", "/v2/partners/balance", made.json["token"]).status == 200
    stored = {name: json.loads(value) for name, value in app.redis.hgetall(redis_keys.TOKENS).items()}  # type: ignore[union-attr]
    key = next(name for name, token in stored.items() if token["label"] == "short")
    app.redis.hset(redis_keys.TOKENS, key, json.dumps(stored[key] | {"expires_at": world.NOW}))
    assert app.send("GET", "/v2/partners/balance", made.json["token"]).status == 401
    # Who signed in with it is signed out when it ends.
    lasting = app.send("POST", "/v2/admin/partners/P/tokens", ADMIN_TOKEN, body=body | {"label": "page"}).json["token"]
    session = read_session(world.SECRET, app.sign_in(lasting), world.NOW)
    assert session is not None and session.expires_at == world.NOW + 1000
    assert "short" not in [one["label"] for one in app.partner_api("GET", "/tokens")["result"]]
    app.partner_api("POST", "/tokens", status=201, body={"label": "short"})
    past = app.send(
        "POST", "/v2/admin/partners/P/tokens", ADMIN_TOKEN, body=body | {"expires_at": "2026-01-01T00:00:00Z"}
    )
    assert past.status == 422


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer nobody", "Basic eDp5", f"bearer {'x' * 300}"])
def test_who_has_no_token_is_asked_for_one(app: App, authorization: str) -> None:
    answer = app.send(
        "GET", "/v2/partners/billing", headers={"Authorization": authorization} if authorization else None
    )
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert answer.headers["Content-Type"] == "application/problem+json" and answer.json["status"] == 401


def test_the_status_needs_no_token_and_methods_are_checked(app: App) -> None:
    assert app.send("GET", "/v2/partners/status").status == 200
    wrong = app.send("DELETE", "/v2/partners/billing", app.tokens["P"])
    assert (wrong.status, wrong.json["status"]) == (405, 405)
    assert {name.strip() for name in wrong.headers["Allow"].split(",")} == {"GET", "HEAD", "PUT"}
    assert app.send("GET", "/v2/partners/balance", ADMIN_TOKEN).status == 401


def at_once(number: int, work: Callable[[], int]) -> list[int]:
    """The answers of so many threads that do the same at the same time."""
    answers: list[int] = []
    start = threading.Barrier(number)

    def run() -> None:
        start.wait()
        answers.append(work())

    threads = [threading.Thread(target=run) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_a_token_has_so_many_calls_a_minute(app: App) -> None:
    made = app.partner_api("POST", "/tokens", "Q", status=201, body={"label": "counted"})
    key = redis_keys.token_calls(made["id"], world.NOW // 60_000)
    app.redis.set(key, 9_998)

    def call(path: str) -> tuple[int, str | None, str | None]:
        answer = app.send("GET", f"/v2/partners{path}", made["token"])
        return answer.status, answer.headers["RateLimit-Remaining"], answer.headers["Retry-After"]

    assert call("/balance") == (200, "1", None)
    assert call("/reports/commission") == (400, "0", None)
    assert call("/balance") == (429, "0", "60")
    assert call("/commissions") == (429, "0", "60")
    answer = app.send("GET", "/v2/partners/balance", app.tokens["Q"])
    assert (answer.status, answer.headers["RateLimit-Limit"]) == (200, "10000")
    assert (answer.headers["RateLimit-Reset"], answer.headers["RateLimit-Policy"]) == ("60", "10000;w=60")
    assert app.redis.ttl(key) > 60


def test_a_call_that_cannot_be_counted_is_allowed(app: App) -> None:
    """The limit must not take the API with it."""
    made = app.partner_api("POST", "/tokens", "Q", status=201, body={"label": "uncounted"})
    app.redis.hset(redis_keys.token_calls(made["id"], world.NOW // 60_000), "not", "a number")
    answer = app.send("GET", "/v2/partners/coupons", made["token"])
    assert answer.status == 200 and "RateLimit-Limit" not in answer.headers
