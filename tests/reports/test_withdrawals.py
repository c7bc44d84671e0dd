"""Withdrawals (R18): never twice, on a ledger that is current, and settled by finance."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import anyio
import pytest
import redis.asyncio
import world
from running_app import ADMIN_TOKEN, Answer, App
from test_partner_api_account import BILLING, at_once

from reports.app import create_app
from reports.room import Room
from reports.withdrawals import request_withdrawal
from tracker import redis_keys
from tracker.directory import Directory, Step
from tracker.events import Refunded
from tracker.program import Program
from tracker.settings import Settings
from tracker.tokens import Tokens

_loads = iter(range(2, 1000))


@pytest.fixture(autouse=True)
def no_withdrawals(app: App) -> Iterator[None]:
    yield
    for name in ("withdrawals", "withdrawal-lists", "withdrawals-waiting", "billing"):
        app.redis.delete(f"{{dir}}:{name}")


def earn(app: App, payment_id: str, amount_cents: int) -> None:
    """A payment on P's license: a fifth of it is P's."""
    world.load(app.warehouse, world.paid(payment_id, "L1", 39, amount_cents), load_id=next(_loads))


def refund(app: App, payment_id: str, amount_cents: int) -> None:
    fact = Refunded(refund_id=f"{payment_id}.back", payment_id=payment_id, refunded_at=world.day(39.5),
                    amount_cents=amount_cents, kind="refund", digest="")  # fmt: skip
    world.load(app.warehouse, fact, load_id=next(_loads))


def cents(app: App) -> dict[str, int]:
    """P's balance as the Partner API says it, in cents; `total` is the ledger's lines less what is blocked."""
    said = app.partner_api("GET", "/balance")
    found = {name: round(float(said[name]) * 100) for name in said}
    lines = app.admin("/v2/admin/commissions?partner_id=P&limit=1000")["items"]
    blocked = sum(line["amount_cents"] for line in lines if line["license_id"] == "SOL2")
    assert found["total"] == found["pending"] + found["withdrawn"] + found["available"]
    assert found["total"] == sum(line["amount_cents"] for line in lines) - blocked
    overview = app.partner_api("GET", "/overview")
    assert (overview["balance_cents"], overview["blocked_cents"]) == (found["available"], blocked)
    return found


def test_the_way_of_a_withdrawal(app: App) -> None:
    before = cents(app)["available"]
    app.partner_api("POST", "/withdrawals", status=403)
    earn(app, "w1", 25_000 - before * 5 + 5 * 3000)
    assert cents(app)["available"] == 8000
    app.partner_api("POST", "/withdrawals", status=409)
    app.partner_api("PUT", "/billing", status=204, body=BILLING)
    asked = app.partner_api("POST", "/withdrawals", status=201)
    assert asked == {
        "withdrawal_id": asked["withdrawal_id"], "request_timestamp": "2026-02-10 12:00:00", "action_timestamp": "",
        "status": "pending", "amount": 80, "invoice_id": "2026/2/P", "paypal": "pay@example.com",
    }  # fmt: skip
    assert cents(app) == {"pending": 8000, "withdrawn": 0, "available": 0, "total": 8000}
    app.partner_api("POST", "/withdrawals", status=403)
    app.partner_api("PUT", "/billing", status=204, body=BILLING | {"paypal": "new@example.com"})
    path = f"/v2/admin/withdrawals/{asked['withdrawal_id']}"
    assert app.send("POST", f"{path}/paid", app.tokens["marketing"]).status == 403
    for _ in range(2):
        paid = app.send("POST", f"{path}/paid", app.tokens["finance"])
        assert (paid.status, paid.json["status"], paid.json["balance_cents"]) == (200, "paid", 0)
    assert app.send("POST", f"{path}/rejected", ADMIN_TOKEN).status == 409
    assert app.send("POST", "/v2/admin/withdrawals/99999/paid", ADMIN_TOKEN).status == 404
    assert cents(app) == {"pending": 0, "withdrawn": 8000, "available": 0, "total": 8000}
    listed = app.partner_api("GET", "/withdrawals")["result"]
    assert [(one["status"], one["action_timestamp"], one["paypal"]) for one in listed] == [
        ("paid", "2026-02-10 12:00:00", "pay@example.com")
    ]
    assert app.partner_api("GET", "/withdrawals", date_to="2026-02-09")["result"] == []
    assert app.partner_api("GET", "/withdrawals", date_from="2026-02-10T12:00:00Z")["result"] == listed
    assert app.partner_api("GET", "/withdrawals", "Q")["result"] == []

    # A refund of what was paid out: below zero, and what is earned next brings it up first.
    refund(app, "w1", 10_000)
    assert cents(app)["available"] == -2000
    earn(app, "w2", 20_000)
    assert cents(app)["available"] == 2000
    assert "20.00" in app.partner_api("POST", "/withdrawals", status=403)["detail"]
    earn(app, "w3", 20_000)
    again = app.partner_api("POST", "/withdrawals", status=201)
    assert again["amount"] == 60 and again["withdrawal_id"] > asked["withdrawal_id"]
    assert [one["amount"] for one in app.partner_api("GET", "/withdrawals")["result"]] == [60, 80]
    rejected = app.send("POST", f"/v2/admin/withdrawals/{again['withdrawal_id']}/rejected", ADMIN_TOKEN).json
    assert (rejected["status"], rejected["balance_cents"]) == ("rejected", 6000)
    assert cents(app) == {"pending": 0, "withdrawn": 8000, "available": 6000, "total": 14_000}
    earnings = app.partner_api("GET", "/earnings")
    assert [earnings[name] for name in ("balance", "pending", "withdrawals")] == [60, 0, 80]


def test_the_page_says_what_can_be_had_and_why_not_more(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reports.withdrawals.LEDGER_SECONDS", 0.2)
    session = app.sign_in(app.tokens["P"])

    def form() -> dict[str, str]:
        text = app.get("/partner/billing", cookie=session).text
        found = re.search(r'name="csrf" value="([^"]+)"', text)
        assert found is not None
        return {"csrf": found[1]}

    def ask(**fields: str) -> Answer:
        return app.send("POST", "/partner/withdrawals/new", cookie=session, form=fields)

    earn(app, "page", 500_000)
    available = cents(app)["available"]
    assert "save your billing details" in app.get("/partner/withdrawals", cookie=session).text
    shown = {"amount_cents": str(available), "paypal": BILLING["paypal"]}
    refused = ask(**form(), **shown)
    assert refused.status == 409 and "Save billing details first" in refused.text and 'role="alert"' in refused.text
    app.partner_api("PUT", "/billing", status=204, body=BILLING)
    assert ask(**shown).status == 403, "not without the page's own form"
    for wrong in ("", "-5", "x", "9" * 40, str(available - 1)):
        assert ask(**form(), **shown | {"amount_cents": wrong}).status == 409, wrong
    app.redis.hincrby(redis_keys.FACT_COUNTS, "accepted", 1)
    waits = ask(**form(), **shown)
    assert waits.status == 503 and "does not have everything yet" in waits.text
    app.redis.hincrby(redis_keys.FACT_COUNTS, "accepted", -1)
    taken = ask(**form(), **shown)
    assert taken.status == 303, taken.text
    page = app.get(taken.headers["Location"], cookie=session).text
    assert "You asked for" in page and "Waits for finance" in page and "$0.00" in page
    again = ask(**form(), **shown)
    assert again.status == 409 and "0.00 USD is available by now" in again.text, "a second click asks for nothing"
    below = ask(**form(), **shown | {"amount_cents": "0"})
    assert below.status == 403 and "a withdrawal is 50.00 USD or more" in below.text
    refund(app, "page", 1000)
    assert "refunded to clients" in app.get("/partner/withdrawals", cookie=session).text
    seen = app.get("/admin/partners/P/withdrawals", cookie=app.sign_in(ADMIN_TOKEN)).text
    assert "Waits for finance" in seen and "/partner/withdrawals/new" not in seen
    assert "Waits for finance" not in app.get("/partner/withdrawals", cookie=app.sign_in(app.tokens["Q"])).text
    other = app.get("/partner/withdrawals?asked=1", cookie=app.sign_in(app.tokens["Q"])).text
    assert "You asked for" not in other, "of another's withdrawal nothing is said"


def test_money_goes_where_the_partner_saw_it_go(app: App) -> None:
    """Billing details that change after the confirmation was shown, be it by somebody else, are shown anew first."""
    earn(app, "address", 50_000)
    app.partner_api("PUT", "/billing", status=204, body=BILLING)
    session = app.sign_in(app.tokens["P"])

    def confirmation() -> tuple[str, dict[str, str]]:
        text = app.get("/partner/withdrawals/new", cookie=session).text
        return text, dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', text))

    text, fields = confirmation()
    assert BILLING["paypal"] in text and fields.keys() == {"csrf", "amount_cents", "paypal"}
    moved = "somebody.else@example.com"
    app.partner_api("PUT", "/billing", status=204, body={**BILLING, "paypal": moved})
    for given in (fields, {name: value for name, value in fields.items() if name != "paypal"}):
        refused = app.send("POST", "/partner/withdrawals/new", cookie=session, form=given)
        assert refused.status == 409 and 'role="alert"' in refused.text
        assert f"Your billing details have changed: the money goes to {moved} now." in refused.text
    assert app.partner_api("GET", "/withdrawals")["result"] == []
    text, fields = confirmation()
    assert moved in text
    assert app.send("POST", "/partner/withdrawals/new", cookie=session, form=fields).status == 303
    (waiting,) = app.admin("/v2/admin/withdrawals?status=pending")["items"]
    assert waiting["paypal"] == moved


def test_requests_at_once_withdraw_once(app: App) -> None:
    earn(app, "many", 50_000)
    app.partner_api("PUT", "/billing", status=204, body=BILLING)
    available = cents(app)["available"]
    statuses = at_once(20, lambda: app.send("POST", "/v2/partners/withdrawals", app.tokens["P"]).status)
    assert sorted(statuses) == [201] + [403] * 19
    assert cents(app) == {"pending": available, "withdrawn": 0, "available": 0, "total": available}
    (waiting,) = app.admin("/v2/admin/withdrawals?status=pending")["items"]
    assert waiting["amount_cents"] == available
    # Finance says both at once: one of them counts.
    words = iter(["paid", "rejected"] * 5)
    lock = threading.Lock()

    def settle() -> int:
        with lock:
            word = next(words)
        return app.send("POST", f"/v2/admin/withdrawals/{waiting['withdrawal_id']}/{word}", ADMIN_TOKEN).status

    assert sorted(at_once(10, settle)) == [200] * 5 + [409] * 5


def in_room(app: App, work: Callable[[Room], Any], directory: type[Directory] = Directory) -> Any:
    """What a coroutine on a room gives, whose directory is of the test's making."""

    async def run() -> Any:
        async with redis.asyncio.Redis.from_url(app.redis_url) as client:
            settings = Settings(data=app.data, admin_token=ADMIN_TOKEN, redis_url=app.redis_url)
            tokens = Tokens(client, ADMIN_TOKEN)
            made = create_app(settings, Program(), client, app.warehouse, tokens, world.SECRET, None, lambda: world.NOW)
            room = replace(made.state.room, directory=directory(client))
            return await work(room)

    return asyncio.run(run())


def test_lines_that_post_between_reading_and_writing_are_no_part_of_the_request(app: App) -> None:
    earn(app, "race", 50_000)
    app.partner_api("PUT", "/billing", status=204, body=BILLING)
    available = cents(app)["available"]

    class Interrupted(Directory):
        """What a request read is refunded right before it is written."""

        async def commit(self, steps: Sequence[Step]) -> list[bool]:
            await anyio.to_thread.run_sync(lambda: refund(app, "race", 20_000))
            return await super().commit(steps)

    asked = in_room(app, lambda room: request_withdrawal(room, "P"), Interrupted)
    assert asked.amount_cents == available
    assert cents(app) == {
        "pending": available, "withdrawn": 0, "available": -4000, "total": available - 4000,
    }  # fmt: skip
    assert app.admin("/v2/admin/withdrawals?status=pending")["items"][0]["balance_cents"] == -4000


def test_a_withdrawal_that_was_settled_meanwhile_is_read_again(app: App) -> None:
    earn(app, "again", 50_000)
    app.partner_api("PUT", "/billing", status=204, body=BILLING)
    first = app.partner_api("POST", "/withdrawals", status=201)
    earn(app, "again2", 50_000)

    class Interrupted(Directory):
        """Finance rejects the first request before the second is written."""

        is_first = True

        async def commit(self, steps: Sequence[Step]) -> list[bool]:
            if self.is_first:
                self.is_first = False
                path = f"/v2/admin/withdrawals/{first['withdrawal_id']}/rejected"
                await anyio.to_thread.run_sync(lambda: app.send("POST", path, ADMIN_TOKEN))
            return await super().commit(steps)

    asked = in_room(app, lambda room: request_withdrawal(room, "P"), Interrupted)
    assert asked.amount_cents == round(first["amount"] * 100) + 10_000
    assert cents(app)["available"] == 0


def test_the_ledger_must_have_what_was_accepted(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    earn(app, "late", 50_000)
    app.partner_api("PUT", "/billing", status=204, body=BILLING)
    monkeypatch.setattr("reports.withdrawals.LEDGER_SECONDS", 0.2)
    app.redis.hset(redis_keys.FACT_COUNTS, "accepted", 7)
    try:
        answer = app.send("POST", "/v2/partners/withdrawals", app.tokens["P"])
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        app.redis.hset(redis_keys.PROGRESS, "attributed", 7)
        app.partner_api("POST", "/withdrawals", status=201)
    finally:
        app.redis.delete(redis_keys.FACT_COUNTS, redis_keys.PROGRESS)


def test_a_lost_directory_is_no_balance(app: App) -> None:
    """Withdrawals that Redis has lost for the moment must not look as if they had not happened."""
    app.redis.delete(redis_keys.COMPLETE)
    try:
        assert app.send("GET", "/v2/partners/balance", app.tokens["P"]).status == 503
        assert app.send("POST", "/v2/partners/withdrawals", app.tokens["P"]).status == 503
    finally:
        app.redis.set(redis_keys.COMPLETE, "1")


def test_finance_pages_through_withdrawals(app: App) -> None:
    app.partner_api("PUT", "/billing", status=204, body=BILLING)
    numbers = []
    for number in range(5):
        earn(app, f"page{number}", 50_000)
        numbers.append(app.partner_api("POST", "/withdrawals", status=201)["withdrawal_id"])
    app.send("POST", f"/v2/admin/withdrawals/{numbers[1]}/paid", ADMIN_TOKEN)
    found, cursor = [], ""
    while True:
        page = app.admin(f"/v2/admin/withdrawals?limit=2&partner_id=P&cursor={cursor}")
        found += [one["withdrawal_id"] for one in page["items"]]
        cursor = page["next_cursor"]
        if not cursor:
            break
    assert found == numbers[::-1]
    for query, count in (("status=paid", 1), ("status=pending", 4), ("status=all", 5), ("partner_id=Q", 0),
                         ("date_from=2026-02-11", 0), ("date_to=2026-02-10", 5)):  # fmt: skip
        assert len(app.admin(f"/v2/admin/withdrawals?{query}")["items"]) == count, query
    assert app.send("GET", "/v2/admin/withdrawals?status=lost", ADMIN_TOKEN).status == 400
    csv = app.get("/v2/admin/withdrawals?format=csv&status=paid", app.tokens["finance"]).text.splitlines()
    assert csv[0].startswith("withdrawal_id,partner_id,") and len(csv) == 2


def test_the_finance_page(app: App) -> None:
    finance = app.sign_in(app.tokens["finance"])
    assert "Nothing waits" in app.get("/finance/", cookie=finance).text
    app.partner_api("PUT", "/billing", status=204, body=BILLING)
    earn(app, "page", 50_000)
    number = app.partner_api("POST", "/withdrawals", status=201)["withdrawal_id"]
    page = app.get("/finance/", cookie=finance).text
    assert "2026/2/P" in page and "pay@example.com" in page and f"/finance/withdrawals/{number}/paid" in page
    question = app.get(f"/finance/withdrawals/{number}/paid", cookie=finance)
    assert "Yes, it was paid" in question.text
    csrf = question.text.partition('name="csrf" value="')[2].partition('"')[0]
    path = f"/finance/withdrawals/{number}/paid"
    assert app.send("POST", path, cookie=finance, form={"csrf": "wrong"}).status == 403
    answer = app.send("POST", path, cookie=finance, form={"csrf": csrf})
    assert (answer.status, answer.headers["Location"]) == (303, f"/finance/?settled={number}")
    assert "is paid" in app.get(f"/finance/?settled={number}", cookie=finance).text
    assert "already" in app.get(f"/finance/withdrawals/{number}/rejected", cookie=finance).text
    assert (
        app.send("POST", f"/finance/withdrawals/{number}/rejected", cookie=finance, form={"csrf": csrf}).status == 409
    )
    assert app.get(f"/finance/withdrawals/{number}/pending", cookie=finance).status == 404
    assert f"{number},P," in app.get("/finance/withdrawals.csv?status=paid", cookie=finance).text
    for tab in ("paid", "rejected", "all"):
        assert app.get(f"/finance/?status={tab}", cookie=finance).status == 200
