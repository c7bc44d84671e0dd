"""Rebuilding from ClickHouse: what the tracker itself wrote to Redis comes back byte for byte."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.asyncio import Redis

from attribution.ledger import run_round
from attribution.loader import Loader
from attribution.rebuild import is_directory_lost, mark_complete, rebuild_derived, rebuild_redis
from attribution.rebuild_directory import DirectoryRebuild
from attribution.removals import Removals
from attribution.warehouse import Warehouse
from tests.attribution.fact_writer import FactWriter, changed, clicked, joined, paid, signed_up
from tests.attribution.journaling import pipeline
from tracker import redis_keys
from tracker.bodies import Reading, read_body
from tracker.directory import Directory, Known, Step
from tracker.errors import Unavailable
from tracker.events import Clicked
from tracker.ids import new_time_ordered_id, new_visitor_id
from tracker.intake import Intake
from tracker.journal import Journal
from tracker.metrics import Metrics
from tracker.program import DAY_MS, Program
from tracker.spool import Spool
from tracker.state import change, new_number, state_step
from tracker.tokens import Tokens

pytestmark = pytest.mark.anyio

NOW_MS = time.time_ns() // 1_000_000
PROGRAM = Program()
VISITORS = [new_visitor_id() for _ in range(12)]


@pytest.fixture
async def aredis(empty_redis_url: str) -> AsyncIterator[Redis]:
    opened = Redis.from_url(empty_redis_url)
    yield opened
    await opened.aclose()


@pytest.fixture
def client(empty_redis_url: str) -> Iterator[redis.Redis]:
    opened = redis.Redis.from_url(empty_redis_url)
    yield opened
    opened.close()


class Story:
    """A small program that went through the real tracker and the real loader."""

    def __init__(self, aredis: Redis, client: redis.Redis, warehouse: Warehouse, folder: Path) -> None:
        self.aredis = aredis
        self.client = client
        self.warehouse = warehouse
        self.intake = Intake(Directory(aredis), PROGRAM, b"s" * 32, "http://go.example", lambda: NOW_MS)
        self.tokens = Tokens(aredis, "admin")
        self._folder = folder

    async def accept(self, fact: str, /, **fields: Any) -> None:
        await self.intake.accept(read_body(fact, fields, Reading(PROGRAM, NOW_MS)), is_import=True)

    async def click(self, *clicks: Clicked) -> None:
        url = f"unix://{self.aredis.connection_pool.connection_kwargs['path']}"
        journal = Journal(url, Spool(self._folder), PROGRAM.window_ms, lambda: NOW_MS, Metrics("0"))
        await journal.append_many(clicks)
        await journal.close()

    async def happen(self) -> None:
        mark_complete(self.client)
        clicks = [
            Clicked(
                click_id=new_time_ordered_id(NOW_MS - i * DAY_MS // 8), clicked_at=NOW_MS - i * DAY_MS // 8,
                visitor_id=VISITORS[i % 12 if i % 12 < 11 else 0], partner_id=f"P{i % 4}", product="livechat",
                campaign="pp_a b" if i % 3 else "", verdict="bot" if i % 7 == 0 else "human",
            )
            for i in range(180)
        ]  # fmt: skip
        old = NOW_MS - 130 * DAY_MS
        opted_out = Clicked(click_id=new_visitor_id(), clicked_at=NOW_MS, visitor_id=None, partner_id="P0",
                            product="livechat", verdict="opted-out")  # fmt: skip
        long_ago = Clicked(click_id=new_time_ordered_id(old), clicked_at=old, visitor_id=VISITORS[11],
                           partner_id="P0", product="livechat")  # fmt: skip
        await self.click(*clicks, opted_out, long_ago)
        await self.accept("partner_event", event_id="early", partner_id="P3", kind="suspended",
                          occurred_at="2025-01-05T00:00:00Z")  # fmt: skip
        await self.accept("partner_event", event_id="ghost", partner_id="never", kind="suspended")
        for i in range(4):
            await self.accept("partner", partner_id=f"P{i}", name=f"Zoë {i}", email=f"p{i}@example.com",
                              joined_at="2025-01-01T00:00:00Z", visitor_id=VISITORS[i])  # fmt: skip
        await self.accept("partner_event", event_id="s1", partner_id="P1", kind="suspended")
        await self.accept("partner_event", event_id="s2", partner_id="P1", kind="reinstated",
                          occurred_at="2025-06-01T00:00:00Z")  # fmt: skip
        await self.accept("partner_event", event_id="rate", partner_id="P1", kind="rate_changed",
                          first_tier_percent=30, second_tier_percent=5)  # fmt: skip
        for i in range(6):
            await self.accept("signup", license_id=f"L{i}", product="livechat", visitor_id=VISITORS[i],
                              client_email=f"c{i}@example.com",
                              data_center=("us-south1", "eu-west3")[i % 2])  # fmt: skip
        await self.accept("solution_license", license_id="S1", product="livechat", partner_id="P2",
                          client_email="s@example.com", payment_origin="partner")  # fmt: skip
        await self.accept("license_transfer", event_id="t1", license_id="S1")
        await self.accept("license_event", event_id="e1", license_id="L1", kind="qualified")
        for i in range(3):
            await self.accept("payment", payment_id=f"pay{i}", license_id=f"L{i}", amount_cents=2900, currency="USD")
        for number, (payment, kind, cents) in enumerate(
            [
                ("pay0", "refund", 1000),
                ("pay0", "chargeback", 1900),
                ("pay0", "chargeback_won", 1900),
                ("pay1", "refund", 5),
                ("pay1", "refund", 6),
                ("unknown", "refund", 700),
            ]
        ):
            await self.accept("refund", refund_id=f"r{number}", payment_id=payment, kind=kind, amount_cents=cents)
        await self.tokens.issue("partner", "phone", NOW_MS, "P1")
        await self.tokens.issue("service", "billing", NOW_MS)
        revoked, _ = await self.tokens.issue("service", "old", NOW_MS)
        await self.tokens.issue("service", "newest", NOW_MS)
        await self.tokens.revoke("service", revoked.id, NOW_MS + 1)
        for kind, hash_key in redis_keys.KEPT.items():
            if kind not in ("link", "token"):
                await self.keep(kind, hash_key)

    async def keep(self, kind: str, hash_key: str) -> None:
        """State of one kind: an entry that changed, and one that is there no more."""
        key, gone = (hash_key, "7"), (hash_key, "8")

        async def write(value: str | None, known: Known) -> tuple[None, Step]:
            if kind in redis_keys.NUMBERED:
                while await new_number(self.aredis, known, kind) < 7:
                    pass
                known.entries.clear()
            return None, state_step(known, {key: f"{value} of Zoë", gone: value})

        for value in ("old", None):
            await change(Directory(self.aredis), [], partial(write, value))

    def load(self) -> None:
        loader = Loader(self.client, self.warehouse, PROGRAM, lambda: NOW_MS)
        while loader.load_once():
            pass
        run_round(self.warehouse, PROGRAM, NOW_MS)
        self.client.hset(redis_keys.PROGRESS, "attributed", str(loader.total))

    def rebuild(self) -> list[str]:
        said: list[str] = []
        rebuild_redis(self.client, self.warehouse, PROGRAM, NOW_MS, said.append)
        return said


@pytest.fixture
async def story(aredis: Redis, client: redis.Redis, warehouse: Warehouse, tmp_path: Path) -> AsyncIterator[Story]:
    told = Story(aredis, client, warehouse, tmp_path)
    await told.happen()
    told.load()
    yield told
    for name in ("us_south1", "eu_west3"):
        warehouse.sibling(f"{warehouse.database}_{name}").drop()


def state(client: redis.Redis) -> dict[str, Any]:
    """Everything in Redis but the streams."""
    found: dict[str, Any] = {}
    for key in client.scan_iter(count=1000):
        if client.type(key) == b"hash":
            found[key.decode()] = client.hgetall(key)
        elif client.type(key) == b"string":
            found[key.decode()] = client.get(key)
    # What came before a join is in the partner's entry too; Redis keeps it here, and a rebuild does not bring it back.
    found.get(redis_keys.EARLY_CHANGES, {}).pop(b"P3", None)
    # Where records of clients wait in the streams: in what Redis lost, none does.
    found.pop(redis_keys.CLIENT_ENTRIES, None)
    return found


async def test_an_intact_redis_stays_equal(story: Story) -> None:
    before = state(story.client)
    told = story.client.xlen(redis_keys.CHANGES)
    said = story.rebuild()
    assert state(story.client) == before
    assert story.client.xlen(redis_keys.CHANGES) == told
    assert all(line.endswith(": 0 put back") for line in said), said


# PEXPIRETIME is Redis 7's. The clock and what is left of a key's life, read at one moment, say the same.
EXPIRES_AT = """
local now = redis.call('TIME')
return now[1] * 1000 + math.floor(now[2] / 1000) + redis.call('PTTL', KEYS[1])
"""


def expires_at(client: redis.Redis, key: str) -> int:
    """When a key is forgotten, in ms."""
    return int(client.eval(EXPIRES_AT, 1, key))


async def test_an_emptied_redis_comes_back_byte_for_byte(story: Story) -> None:
    before = state(story.client)
    expiries = {key: expires_at(story.client, key) for key in before if ":touch:" in key}
    assert len(expiries) == 11
    story.client.flushall()
    assert is_directory_lost(story.client, story.warehouse)
    story.rebuild()
    assert state(story.client) == before
    after = {key: expires_at(story.client, key) for key in expiries}
    assert after == {key: pytest.approx(moment, rel=0, abs=20) for key, moment in expiries.items()}
    assert not is_directory_lost(story.client, story.warehouse)
    assert pipeline(story.client)["pending"] == 0
    changes = {(entry[b"kind"], entry[b"key"]) for _, entry in story.client.xrange(redis_keys.CHANGES)}
    assert {(b"partner", f"P{i}".encode()) for i in range(4)} <= changes
    assert len([kind for kind, _ in changes if kind == b"link"]) == 8
    story.rebuild()
    assert state(story.client) == before


async def test_who_joins_an_emptied_redis_does_not_hide_the_loss(story: Story) -> None:
    before = state(story.client)
    story.client.flushall()
    await story.accept("partner", partner_id="early-bird", name="E", email="e@example.com")
    assert is_directory_lost(story.client, story.warehouse)
    story.rebuild()
    assert not is_directory_lost(story.client, story.warehouse)
    partners = state(story.client)[redis_keys.PARTNERS]
    assert partners.keys() == before[redis_keys.PARTNERS].keys() | {b"early-bird"}
    newest = story.client.xrevrange(redis_keys.CHANGES, count=1)[0][1]
    assert newest == {b"kind": b"all", b"key": b""}, "trackers read everything once it is complete"


async def test_a_redis_that_is_emptied_again_during_the_rebuild_is_not_called_complete(story: Story) -> None:
    before = state(story.client)
    story.client.flushall()

    def empty_once_more(line: str) -> None:
        if line.startswith("licenses"):
            story.client.flushall()

    with pytest.raises(Unavailable, match="lost its directory again"):
        rebuild_redis(story.client, story.warehouse, PROGRAM, NOW_MS, empty_once_more)
    assert is_directory_lost(story.client, story.warehouse)
    story.rebuild()
    assert state(story.client) == before


async def test_any_part_that_is_lost_comes_back(story: Story) -> None:
    before = state(story.client)
    one_visitor = next(key for key in before if ":touch:" in key)
    for key in (key for key in before if key == one_visitor or ":touch:" not in key):
        if key == redis_keys.EARLY_CHANGES:
            story.client.hdel(key, "never")
        else:
            story.client.delete(key)
        story.rebuild()
        assert state(story.client) == before, key
    for hash_key, field in ((redis_keys.PARTNERS, "P1"), (redis_keys.PAYMENTS, "pay0"), (redis_keys.LICENSES, "L2")):
        story.client.hdel(hash_key, field)
        story.rebuild()
        assert state(story.client) == before, hash_key


async def test_what_is_newer_in_redis_stays(story: Story) -> None:
    """Redis comes back from an older state and goes on, before anything is rebuilt."""
    partners: dict[bytes, bytes] = story.client.hgetall(redis_keys.PARTNERS)
    older = json.loads(partners[b"P1"])
    older["changes"] = older["changes"][:1]
    story.client.hset(redis_keys.PARTNERS, "P1", json.dumps(older))
    story.client.hset(redis_keys.PAYMENTS, "pay1", "2900,5,0,0")
    story.client.hdel(redis_keys.seen("refund"), "r4")
    await story.accept("refund", refund_id="new", payment_id="pay1", kind="refund", amount_cents=100)
    await story.accept("partner_event", event_id="later", partner_id="P1", kind="suspended")
    newest = Clicked(click_id=new_time_ordered_id(NOW_MS + 5), clicked_at=NOW_MS + 5, visitor_id=VISITORS[0],
                     partner_id="P2", product="livechat")  # fmt: skip
    touches = redis_keys.touches(VISITORS[0])
    kept = story.client.get(touches).splitlines()
    story.client.delete(touches)
    await story.click(newest)
    story.rebuild()
    assert story.client.hget(redis_keys.PAYMENTS, "pay1") == b"2900,111,0,0"
    changes = json.loads(story.client.hget(redis_keys.PARTNERS, "P1"))["changes"]
    assert {change[1] for change in changes} == {"s1", "s2", "later"}
    assert changes == sorted(changes)
    lines = story.client.get(touches).splitlines()
    assert newest.click_id.encode() in lines[0]
    assert lines[1:] == kept[:7]
    assert pipeline(story.client)["pending"] == 3
    story.load()
    assert pipeline(story.client)["pending"] == 0


async def test_a_revoked_token_does_not_come_back(story: Story) -> None:
    before = state(story.client)
    token = before[redis_keys.TOKENS]
    rows = story.warehouse.rows("select key from directory_entries final where kind = 'token' and value = ''")
    story.client.hset(redis_keys.TOKENS, rows[0]["key"], next(iter(token.values())))
    story.rebuild()
    assert state(story.client) == before


async def revoke(story: Story, label: str) -> str:
    """Revoke a service token; the entry that it had."""
    (token,) = [one for one in await story.tokens.list("service", NOW_MS + 2) if one.label == label]
    before = set(story.client.hkeys(redis_keys.TOKENS))
    assert await story.tokens.revoke("service", token.id, NOW_MS + 2)
    (gone,) = before - set(story.client.hkeys(redis_keys.TOKENS))
    return str(gone.decode())


async def test_a_token_that_is_revoked_and_not_loaded_does_not_come_back(story: Story) -> None:
    """ClickHouse still takes it for valid."""
    gone = await revoke(story, "billing")
    before = state(story.client)
    story.rebuild()
    assert state(story.client) == before
    story.load()
    story.rebuild()
    assert not story.client.hexists(redis_keys.TOKENS, gone)


@pytest.mark.parametrize("moment", ["read", "followed"])
async def test_a_token_that_is_revoked_while_it_is_put_back_is_not(
    story: Story, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After ClickHouse was asked for tokens, and after the journal was asked what was revoked."""
    revoked: list[str] = []

    def revoke_now() -> None:
        if not revoked:
            with ThreadPoolExecutor(1) as other:
                revoked.append(other.submit(asyncio.run, revoke_alone()).result())

    async def revoke_alone() -> str:
        path = story.aredis.connection_pool.connection_kwargs["path"]
        async with Redis.from_url(f"unix://{path}") as own:
            alone = Story(own, story.client, story.warehouse, Path())
            return await revoke(alone, "billing")

    pages, follow = DirectoryRebuild._pages, Removals._follow

    def reading(self: DirectoryRebuild, query: str, **given: object) -> Iterator[list[dict[str, Any]]]:
        for page in pages(self, query, **given):
            if given.get("kind") == "token":
                revoke_now()
            yield page

    def following(self: Removals) -> None:
        follow(self)
        revoke_now()

    if moment == "read":
        monkeypatch.setattr(DirectoryRebuild, "_pages", reading)
    else:
        monkeypatch.setattr(Removals, "_follow", following)
    story.rebuild()
    assert revoked and not story.client.hexists(redis_keys.TOKENS, revoked[0])


async def test_what_was_removed_long_ago_and_made_again_comes_back(story: Story) -> None:
    """A Redis that was restored has the removal still in its journal, and ClickHouse knows better."""
    line = {"kind": "billing", "key": "7", "value": "", "written_at": 1}
    story.client.xadd(
        redis_keys.FACT_JOURNAL, {"facts": "", "n": 0, "entries": json.dumps(line, separators=(",", ":"))}
    )
    before = story.client.hget(redis_keys.BILLING, "7")
    story.client.hdel(redis_keys.BILLING, "7")
    story.rebuild()
    assert before and story.client.hget(redis_keys.BILLING, "7") == before


def test_derived_tables_are_decided_again(warehouse: Warehouse) -> None:
    facts = FactWriter(warehouse)
    facts.load(joined("A"), joined("B", 1, visitor=7), clicked(1, "A", 1), clicked(2, "A", 0.5, visitor=7))
    facts.load(signed_up("l1", 3), signed_up("l2", 3, visitor=5, hint="B"), paid("p1", "l1", 2900, 4))
    facts.load(changed("s1", "A", 9, "suspended"), paid("p2", "l2", 1990, 4))
    assert run_round(warehouse, PROGRAM, NOW_MS)

    def derived() -> list[list[dict[str, Any]]]:
        return [
            warehouse.rows(query)
            for query in (
                "select * except round from bindings final order by license_id",
                "select * except round from partner_bindings final where is_current order by license_id",
                "select * except round from recruitments final order by partner_id",
                "select * except round from partner_spans final order by partner_id",
                "select * from ledger order by entry_id",
            )
        ]

    before = derived()
    assert [len(rows) for rows in before] == [2, 2, 2, 2, 3]
    rebuild_derived(warehouse, PROGRAM, NOW_MS, lambda _: None)
    assert derived() == before
    for table in ("bindings", "partner_bindings", "recruitments", "partner_spans"):
        warehouse.run("truncate table {table:Identifier}", table=table)
    warehouse.insert("bindings", ["license_id", "partner_id", "round"], [["l1", "B", 999], ["bogus", "B", 999]])
    warehouse.insert("recruitments", ["partner_id", "recruiter_id", "round"], [["A", "B", 999]])
    rebuild_derived(warehouse, PROGRAM, NOW_MS, lambda _: None)
    assert derived() == before
    facts.load(paid("p3", "l1", 1000, 5))
    done = run_round(warehouse, PROGRAM, NOW_MS)
    assert done is not None and (done.licenses, done.lines) == (1, 1)


def test_derived_tables_of_no_facts(warehouse: Warehouse) -> None:
    said: list[str] = []
    rebuild_derived(warehouse, PROGRAM, NOW_MS, said.append)
    assert said == ["no facts are loaded: nothing to rebuild"]
