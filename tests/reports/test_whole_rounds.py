"""Readers see a round whole or not at all, however long its publishing takes and wherever it dies."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
import world
from running_app import ADMIN_TOKEN, Answer, App

from attribution import ledger
from attribution.ledger import APPLIED, run_round
from attribution.publication import SETTLED, Publication
from attribution.warehouse import Warehouse
from reports.app import create_app
from reports.whole_rounds import visible
from tracker import redis_keys
from tracker.errors import Unavailable
from tracker.program import Program
from tracker.settings import Settings
from tracker.tokens import Tokens

DAYS = "date_from=2026-02-05&date_to=2026-02-08"
"""The sales of this module's tests, and nothing of world.py's history."""
EARNED_CENTS = 580

Apply = Callable[..., None]


class Died(Exception):
    """The process ends here."""


class Sales:
    """Partner P's, one after the other: a click, a signup and a payment, which a round attributes."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.count = 0

    def one_more(self, *, attributed: bool = True) -> None:
        """A load with one sale, and, unless that is somebody else's to do, the round."""
        self.count += 1
        number = 1000 + self.count
        facts = (
            world.click(number, "P", 36, number),
            world.signup(f"sale{number}", 37, number, f"client{number}@example.com"),
            world.paid(f"sale-pay{number}", f"sale{number}", 38, 2900),
        )
        world.store(self.app.warehouse, *facts, load_id=number)
        if attributed:
            self.round()

    def round(self) -> None:
        run_round(self.app.warehouse, Program(), world.NOW, publication=Publication(self.app.redis))


@pytest.fixture(scope="module")
def sales(app: App) -> Sales:
    return Sales(app)


@pytest.fixture
def whole(app: App, sales: Sales) -> Iterator[Sales]:
    """Sales whose rounds are whole, before and after the test."""
    sales.round()
    yield sales
    sales.round()


def overview(app: App) -> Answer:
    return app.get(f"/v2/partners/overview?{DAYS}", app.tokens["P"])


def sold(answer: Answer) -> tuple[int, int]:
    """Sales by the tables that a round's versions are applied to, and by the ledger."""
    assert answer.status == 200, answer.text
    totals = answer.json["totals"]
    assert totals["first_tier_cents"] % EARNED_CENTS == 0
    return totals["signups"], totals["first_tier_cents"] // EARNED_CENTS


def balance_cents(app: App) -> int:
    return round(100 * app.partner_api("GET", "/balance")["available"])


def slow(apply: Apply, seconds: float) -> Apply:
    """`_apply`, with its tables and the round far apart."""

    def applied(warehouse: Warehouse, round: int, changed: Any = APPLIED) -> None:
        time.sleep(seconds)
        apply(warehouse, round, changed)
        time.sleep(seconds)

    return applied


def dies(*_: object, **__: object) -> None:
    raise Died


def test_readers_never_see_half_a_round(app: App, whole: Sales, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds that take long to publish, one after the other, while readers ask all the time."""
    monkeypatch.setattr(ledger, "_apply", slow(ledger._apply, 0.06))
    before, done = whole.count, threading.Event()

    def read() -> list[tuple[int, int]]:
        seen = []
        while not done.is_set():
            seen.append(sold(overview(app)))
            earned = balance_cents(app) - at_first
            listed = app.partner_api("GET", "/affiliates/licenses", date_from="2026-02-05", date_to="2026-02-08")
            assert sum(1 for one in listed["result"] if one["earnings"]) * EARNED_CENTS >= earned
        return seen

    at_first = balance_cents(app) - before * EARNED_CENTS
    with ThreadPoolExecutor(3) as readers:
        reading = [readers.submit(read) for _ in range(3)]
        try:
            for _ in range(5):
                whole.one_more()
        finally:
            done.set()
        seen = [pair for each in reading for pair in each.result()]
    assert sold(overview(app)) == (whole.count, whole.count)
    assert [pair for pair in seen if pair[0] != pair[1]] == []
    assert len(set(seen)) > 2 and len(seen) > 20


def test_a_round_that_stays_half_is_waited_for_and_then_refused(
    app: App, whole: Sales, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reports.whole_rounds.WAIT_SECONDS", 0.3)
    published, go_on = threading.Event(), threading.Event()
    apply = ledger._apply

    def held(*given: Any) -> None:
        published.set()
        assert go_on.wait(20)
        apply(*given)

    monkeypatch.setattr(ledger, "_apply", held)
    with ThreadPoolExecutor(1) as attribution:
        running = attribution.submit(whole.one_more)
        try:
            assert published.wait(20)
            began = time.monotonic()
            refused = overview(app)
            assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
            assert "published" in refused.json["detail"] and 0.3 <= time.monotonic() - began < 5
            page = app.get("/admin/partners/P/licenses", cookie=app.sign_in(ADMIN_TOKEN))
            assert page.status == 503 and "published" in page.text
            assert app.get("/health/ready").status == 200
            monkeypatch.setattr("reports.whole_rounds.WAIT_SECONDS", 20.0)
            waiting = a_read_that_waits(app)
            go_on.set()
            assert sold(waiting()) == (whole.count, whole.count)
        finally:
            go_on.set()
        running.result()
    assert sold(overview(app)) == (whole.count, whole.count)


def looks(app: App) -> int:
    """How often anybody has looked for the mark."""
    return int(app.redis.info("commandstats")["cmdstat_hmget"]["calls"])


def a_read_that_waits(app: App) -> Callable[[], Answer]:
    """A read that has looked for the mark of a whole round more than once. Call it for its answer."""
    before = looks(app)
    reader = ThreadPoolExecutor(1)
    asked = reader.submit(overview, app)
    deadline = time.monotonic() + 20
    while looks(app) < before + 3:
        assert time.monotonic() < deadline and not asked.done(), "the read does not wait"
        time.sleep(0.002)

    def answer() -> Answer:
        with reader:
            return asked.result()

    return answer


def test_what_a_crash_leaves(app: App, whole: Sales, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the round is published readers see the one before; after it nothing, until the next start has applied."""
    monkeypatch.setattr("reports.whole_rounds.WAIT_SECONDS", 0.0)  # who waits no longer asks ClickHouse all the same
    before = (whole.count, whole.count)
    with monkeypatch.context() as patch:
        patch.setattr(app.warehouse, "insert", insert_without_rounds(app.warehouse))
        with pytest.raises(Died):
            whole.one_more()
    assert app.redis.hget(redis_keys.PROGRESS, SETTLED) is None
    assert sold(overview(app)) == before
    with monkeypatch.context() as patch:
        patch.setattr(ledger, "_apply", dies)
        with pytest.raises(Died):
            whole.round()
    assert overview(app).status == 503
    assert app.get("/v2/partners/affiliates/licenses", app.tokens["P"]).status == 503
    with monkeypatch.context() as patch:  # the next start applies first, and dies then
        patch.setattr(ledger, "_clear", dies)
        with pytest.raises(Died):
            whole.round()
    assert sold(overview(app)) == (whole.count, whole.count)


def insert_without_rounds(warehouse: Warehouse) -> Callable[..., None]:
    insert = warehouse.insert

    def inserted(table: str, *given: Any) -> None:
        if table == "rounds":
            raise Died
        insert(table, *given)

    return inserted


def test_clickhouse_says_it_where_redis_does_not(
    app: App, whole: Sales, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reports.whole_rounds.WAIT_SECONDS", 0.1)
    nobody = f"unix://{tmp_path}/nobody.sock"

    def asked(url: str) -> str:
        async def ask() -> str:
            async with redis.asyncio.Redis.from_url(url) as client:
                settings = Settings(data=tmp_path, admin_token=ADMIN_TOKEN, redis_url=url)
                tokens = Tokens(client, ADMIN_TOKEN)
                made = create_app(
                    settings, Program(), client, app.warehouse, tokens, world.SECRET, None, lambda: world.NOW
                )
                return (await visible(made.state.room)).round

        return asyncio.run(ask())

    newest = app.warehouse.rows("select max(round) as round from rounds")[0]["round"]
    marked = asked(app.redis_url)
    assert marked.startswith(f"{newest} ") and asked(nobody) == str(newest)
    whole.round()
    assert asked(app.redis_url) != marked, "another word, though the round is the same"
    with monkeypatch.context() as patch:
        patch.setattr(ledger, "_apply", dies)
        with pytest.raises(Died):
            whole.one_more()
    for url in (app.redis_url, nobody):
        with pytest.raises(Unavailable):
            asked(url)
