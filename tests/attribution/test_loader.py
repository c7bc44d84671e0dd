"""The loader against the real Redis and the real engine: exact counts, whatever fails and whenever."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import redis

from attribution.loader import Load, Loader
from attribution.rebuild import rebuild_click_days
from attribution.staging import QUERIES, Staging
from attribution.warehouse import Warehouse
from tests.attribution.fact_writer import (
    changed,
    clicked,
    created,
    joined,
    license_changed,
    paid,
    rated,
    refunded,
    signed_up,
    transferred,
    uuid_of,
)
from tests.attribution.journaling import (
    journal,
    journal_bytes,
    journal_directory_entry,
    pipeline,
    room_taken,
    waiting_entries,
)
from tracker import redis_keys
from tracker.errors import Unavailable
from tracker.events import Clicked, ClientNamed, click_row, fact_row
from tracker.program import Program

NOW_MS = 1_760_000_000_000
PROGRAM = Program()
TABLES = ("clicks", "partners", "signups", "solution_licenses", "license_transfers", "payments", "refunds",
          "license_events", "partner_events")  # fmt: skip


@pytest.fixture
def client(empty_redis_url: str) -> Iterator[redis.Redis]:
    opened = redis.Redis.from_url(empty_redis_url)
    yield opened
    opened.close()


def loader(client: redis.Redis, warehouse: Warehouse) -> Loader:
    return Loader(client, warehouse, PROGRAM, lambda: NOW_MS)


def load_all(loading: Loader) -> list[Load]:
    loads = []
    while load := loading.load_once():
        loads.append(load)
    return loads


def rows_of(warehouse: Warehouse, table: str) -> int:
    count: int = warehouse.rows("select count() as n from {t:Identifier}", t=table)[0]["n"]
    return count


def stored(warehouse: Warehouse) -> int:
    return sum(rows_of(warehouse, table) for table in TABLES)


def assert_counted_by_day(warehouse: Warehouse) -> None:
    """What is counted by day are the clicks that are stored, each once."""
    found = warehouse.rows(
        "select * from (select partner_id, toDate32(clicked_at, 'UTC') as day, count() as clicks from clicks"
        " where verdict = 'human' group by partner_id, day) as stored"
        " full join (select partner_id, day, sum(click_days.clicks) as counted from click_days"
        " group by partner_id, day) as days using (partner_id, day) where clicks != counted"
    )
    assert not found


ONE_OF_EACH = (
    joined("A", email="ann"), signed_up("l1", 3), created("l2", "A", 3, "partner"), transferred("l2", 5),
    paid("p1", "l1", 2900, 4), refunded("r1", "p1", 1000, 5), license_changed("e1", "l1", 4, "qualified"),
    changed("s1", "A", 9, "suspended"), rated("s2", "A", 9, 1500, 250, 12), clicked(1, "A", 1), clicked(2, "A", 2, 9),
)  # fmt: skip


def test_every_kind_of_fact_is_stored_as_it_was(client: redis.Redis, warehouse: Warehouse) -> None:
    journal(client, *ONE_OF_EACH)
    [load] = load_all(loader(client, warehouse))
    assert (load.stored, load.duplicates, load.quarantined, load.total) == (11, 0, 0, 11)
    assert pipeline(client) == {"accepted": 11, "stored": 11, "duplicates": 0, "quarantined": 0, "pending": 0}
    assert waiting_entries(client) == 0
    assert {table: rows_of(warehouse, table) for table in TABLES} == {
        **dict.fromkeys(TABLES, 1), "clicks": 2, "partner_events": 2,
    }  # fmt: skip
    [rate] = warehouse.rows(
        "select * replace (toUnixTimestamp64Milli(occurred_at) as occurred_at, toUnixTimestamp64Milli(until) as until)"
        " from partner_events where event_id = 's2'"
    )
    fact = rated("s2", "A", 9, 1500, 250, 12)
    assert rate == {**{item.name: getattr(fact, item.name) for item in fields(fact)}, "load_id": load.load_id}
    [click] = warehouse.rows(
        "select * replace (toUnixTimestamp64Milli(clicked_at) as clicked_at) from clicks where click_id = {id:UUID}",
        id=uuid_of(1),
    )
    seen = clicked(1, "A", 1)
    assert click == {**{item.name: getattr(seen, item.name) for item in fields(seen)}, "load_id": load.load_id}


def test_texts_survive_whatever_they_hold(client: redis.Redis, warehouse: Warehouse) -> None:
    nasty = 'tab\there "quoted" \\N \\ back\nline\r ünï 😀 {x:String} %s \\'
    click = Clicked(click_id=uuid_of(1), clicked_at=NOW_MS, visitor_id=None, partner_id="A", product="livechat",
                    user_agent=nasty, referrer=nasty, landing_query=nasty)  # fmt: skip
    journal(client, click, clicked(2, "A", 1))
    load_all(loader(client, warehouse))
    [row] = warehouse.rows("select user_agent, referrer, landing_query, visitor_id from clicks where partner_id = 'A'"
                           " and click_id = {id:UUID}", id=uuid_of(1))  # fmt: skip
    assert row == {
        "user_agent": nasty, "referrer": nasty, "landing_query": nasty,
        "visitor_id": "00000000-0000-0000-0000-000000000000",
    }  # fmt: skip


def test_the_first_of_a_repeated_id_wins(client: redis.Redis, warehouse: Warehouse) -> None:
    loading = loader(client, warehouse)
    journal(client, paid("p1", "first", 1, 1), paid("p1", "second", 2, 1), clicked(1, "first", 1), entry_size=1)
    journal(client, clicked(1, "second", 1), paid("p2", "l", 5, 1))
    [load] = load_all(loading)
    assert (load.stored, load.duplicates) == (3, 2)
    journal(client, paid("p1", "third", 3, 9), clicked(1, "third", 1), paid("p2", "l", 5, 1), paid("p3", "l", 5, 1))
    [load] = load_all(loading)
    assert (load.stored, load.duplicates) == (1, 3)
    assert warehouse.rows("select license_id from payments where payment_id = 'p1'") == [{"license_id": "first"}]
    assert warehouse.rows("select partner_id from clicks") == [{"partner_id": "first"}]


def test_repeated_clicks_are_told_by_the_stream_that_they_came_from(client: redis.Redis, warehouse: Warehouse) -> None:
    """In the load that brings a click twice, and in later ones; other clicks of the same moment are no repeats."""
    loading = loader(client, warehouse)
    streams = [redis_keys.click_journal(shard) for shard in (2, 5)]
    journal_bytes(client, streams[0], "clicks", click_bytes(1) + click_bytes(2) + click_bytes(1), 3)
    journal_bytes(client, streams[1], "clicks", click_bytes(2) + click_bytes(3), 2)
    journal_bytes(client, streams[1], "clicks", click_bytes(3), 1)
    [first] = load_all(loading)
    journal_bytes(client, streams[1], "clicks", click_bytes(4), 1)
    journal_bytes(client, streams[0], "clicks", click_bytes(5) + click_bytes(3), 2)
    [second] = load_all(loading)
    rows = warehouse.rows(
        "select load_id, stream, stored, duplicates from loads final where stored + duplicates > 0 order by all"
    )
    assert [tuple(row.values()) for row in rows] == [
        (first.load_id, streams[0], 2, 1), (first.load_id, streams[1], 1, 2),
        (second.load_id, streams[0], 1, 1), (second.load_id, streams[1], 1, 0),
    ]  # fmt: skip
    assert rows_of(warehouse, "clicks") == 5


def test_stored_clicks_are_looked_up_among_those_of_the_same_time(client: redis.Redis, warehouse: Warehouse) -> None:
    """However many clicks there were before: else each load would cost what the history does."""
    journal(client, *(clicked(i, "A", day=i / 1000, visitor=i) for i in range(100_000)), entry_size=20_000)
    loading = loader(client, warehouse)
    load_all(loading)
    warehouse.run("insert into incoming_clicks (click_id, clicked_at) values ({id:UUID}, {at:Int64})",
                  id=uuid_of(7), at=clicked(7, "A", day=7 / 1000).clicked_at)  # fmt: skip
    assert warehouse.rows(QUERIES["loader_known_clicks"]) == [{"known": 1}]
    [plan] = warehouse.rows(f"explain estimate {QUERIES['loader_known_clicks']}")
    assert 0 < plan["rows"] <= 16_384


def test_a_load_is_bounded_and_streams_take_turns(
    client: redis.Redis, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal(client, *(clicked(i, "A", 1, visitor=i) for i in range(3000)), entry_size=1)
    journal(client, paid("p1", "l1", 2900, 4))
    monkeypatch.setattr("attribution.loader.MAX_LOAD_BYTES", 50_000)
    loads = load_all(loader(client, warehouse))
    assert len(loads) > 2
    assert max(load.stored for load in loads) < 1000
    assert redis_keys.FACT_JOURNAL in {span.stream for span in loads[0].spans}
    assert sum(load.stored for load in loads) == stored(warehouse) == 3001
    assert waiting_entries(client) == 0


POISONS: tuple[tuple[bytes, str], ...] = (
    (b'{"type":"coupon","id":1}', "unknown type of fact"),
    (b"[1,2]", "not a JSON object"),
    (b"{", "not JSON"),
    (b'{"type":"payment","payment_id":"\xff"}', "not UTF-8"),
    (fact_row(paid("x1", "l", 1, 1)).encode().replace(b'"digest":""', b'"digest":"","colour":"red"'), "unknown field"),
    (fact_row(paid("x2", "l", 1, 1)).encode().replace(b'"license_id":"l",', b""), "license_id is missing"),
    (fact_row(paid("x3", "l", 10**30, 1)).encode(), "amount_cents is not a whole number"),
    (fact_row(paid("x4", "l", 1, 1)).encode().replace(b":1,", b':"1",'), "amount_cents is not a whole number"),
    (fact_row(paid("", "l", 1, 1)).encode(), "payment_id is empty"),
    (fact_row(paid("x5", "l", 1, 1)).encode().replace(b"2025-01-", b"2025-02-3"), "paid_at is not a time"),
    (fact_row(paid("x6", "l", 1, 1)).encode().replace(b"2025-01-07", b"2025-02-31"), "Cannot read DateTime"),
    (fact_row(paid("x7", "l\ud800", 1, 1)).encode("utf-8", "replace").replace(b"l?", b"l\\ud800"), "surrogate"),
)  # fmt: skip


def test_poisoned_facts_are_set_aside_and_the_rest_is_stored(client: redis.Redis, warehouse: Warehouse) -> None:
    good = [fact_row(paid(f"p{i}", "l", 5, 1)).encode() for i in range(len(POISONS))]
    lines = [line for pair in zip(good, (bytes_ for bytes_, _ in POISONS), strict=True) for line in pair]
    journal_bytes(client, redis_keys.FACT_JOURNAL, "facts", b"\n".join(lines), len(lines))
    journal(client, paid("after", "l", 1, 1))
    [load] = load_all(loader(client, warehouse))
    assert (load.stored, load.duplicates, load.quarantined) == (len(good) + 1, 0, len(POISONS))
    assert pipeline(client)["pending"] == 0
    rows = warehouse.rows("select line, hex(bytes) as bytes, reason, facts from quarantine order by line")
    assert [bytes.fromhex(row["bytes"]) for row in rows] == [bytes_ for bytes_, _ in POISONS]
    for row, (_, reason) in zip(rows, POISONS, strict=True):
        assert reason in row["reason"]
        assert row["facts"] == 1


def click_bytes(number: int, **replaced: str) -> bytes:
    line = click_row(clicked(number, "A", 1, visitor=1))
    for old, new in replaced.items():
        line = line.replace({"time": "1736251200000", "id": uuid_of(number), "visitor": uuid_of(1)}[old], new)
    return line.encode()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (click_bytes(9, time="1"), "malformed"),
        (click_bytes(9, time="1736251200"), "malformed"),  # ClickHouse would take it for seconds
        (click_bytes(9, time="17362512000000"), "malformed"),
        (click_bytes(9, time="-1736251200000"), "malformed"),
        (click_bytes(9, time="2025-01-07 12:00:00"), "malformed"),
        (click_bytes(9, time=""), "malformed"),
        (click_bytes(9, id="\\N"), "malformed"),
        (click_bytes(9, id="x" * 36), "malformed"),
        (click_bytes(9, visitor="nobody"), "malformed"),
        (b"\xff" + click_bytes(9)[1:], "not UTF-8"),
        (click_bytes(9)[:-1] + b"\tmore\n", "has 16 cells, this has 17"),
        (b"\n", "has 16 cells, this has 1"),
        (click_bytes(9).replace(b"livechat", b"livechat\\"), "Cannot parse"),
    ],
)
def test_a_poisoned_click_in_the_middle(client: redis.Redis, warehouse: Warehouse, line: bytes, reason: str) -> None:
    stream = redis_keys.click_journal(1)
    before, after = (b"".join(click_bytes(i) for i in numbers) for numbers in (range(10, 30), range(30, 37)))
    journal_bytes(client, stream, "clicks", before + line + after, 28)
    journal_bytes(client, stream, "clicks", click_bytes(50), 1)
    [load] = load_all(loader(client, warehouse))
    assert (load.stored, load.duplicates, load.quarantined) == (28, 0, 1)
    assert rows_of(warehouse, "clicks") == 28
    [row] = warehouse.rows("select line, hex(bytes) as bytes, reason, entry_id, stream from quarantine")
    assert (row["line"], bytes.fromhex(row["bytes"]), row["stream"]) == (20, line.removesuffix(b"\n"), stream)
    assert reason in row["reason"]


@pytest.mark.parametrize(
    ("data", "count", "expected"),
    [
        (click_bytes(1) + click_bytes(2), 3, (2, 0, 1)),  # one that was accepted is missing
        (click_bytes(1) + click_bytes(2), 1, (0, 0, 1)),  # one more than was accepted: none can be told apart
        (click_bytes(1) + b"half a\nclick\n" + click_bytes(2), 3, (2, 0, 1)),  # a line feed where none may be
        (b"", 2, (0, 0, 2)),
    ],
)
def test_entries_that_do_not_hold_what_they_count(
    client: redis.Redis, warehouse: Warehouse, data: bytes, count: int, expected: tuple[int, int, int]
) -> None:
    journal_bytes(client, redis_keys.click_journal(0), "clicks", data, count)
    [load] = load_all(loader(client, warehouse))
    assert (load.stored, load.duplicates, load.quarantined) == expected
    assert pipeline(client)["pending"] == 0


def test_an_entry_of_unknown_shape_is_set_aside(client: redis.Redis, warehouse: Warehouse) -> None:
    client.xadd(redis_keys.FACT_JOURNAL, {"future": "thing", "n": 2})
    client.hincrby(redis_keys.FACT_COUNTS, "accepted", 2)
    [load] = load_all(loader(client, warehouse))
    assert load.quarantined == 2
    assert pipeline(client)["pending"] == 0
    assert warehouse.rows("select bytes, facts from quarantine") == [{"bytes": "future=thing\nn=2", "facts": 2}]


def test_clients_live_in_their_data_center_only(client: redis.Redis, warehouse: Warehouse) -> None:
    loading = loader(client, warehouse)
    journal(client, ClientNamed(license_id="l1", data_center="us-south1", email="jane@example.com", name="Jane"))
    journal(client, ClientNamed(license_id="l2", data_center="eu-west3", email="hans@example.com"))
    journal(client, ClientNamed(license_id="l1", data_center="us-south1", email="new@example.com", name="Jane"))
    strayed = ClientNamed(license_id="l3", data_center="eu-west3", email="stray@example.com")
    client.xadd(redis_keys.client_journal("us-south1"), {"clients": fact_row(strayed) + "\nsecret@example.com"})
    load_all(loading)
    stores = {name: warehouse.sibling(f"{warehouse.database}_{name}") for name in ("us_south1", "eu_west3")}
    found = {
        name: store.rows("select license_id, email from clients final order by license_id")
        for name, store in stores.items()
    }
    assert found == {
        "us_south1": [{"license_id": "l1", "email": "new@example.com"}],
        "eu_west3": [{"license_id": "l2", "email": "hans@example.com"}],
    }
    assert rows_of(warehouse, "quarantine") == 0
    assert rows_of(stores["us_south1"], "quarantine") == 2
    for store in stores.values():
        store.drop()


def test_directory_entries_keep_the_newest(client: redis.Redis, warehouse: Warehouse) -> None:
    journal_directory_entry(client, "token", "k1", '{"id":1}', NOW_MS)
    journal_directory_entry(client, "token", "k1", "", NOW_MS + 1)
    journal_directory_entry(client, "link", "abc", '{"partner_id":"A"}', NOW_MS)
    client.xadd(redis_keys.FACT_JOURNAL, {"facts": "", "n": 0, "entries": '{"kind":"token"}'})
    [load] = load_all(loader(client, warehouse))
    assert load.total == 0
    rows = warehouse.rows("select kind, key, value from directory_entries final order by kind, key")
    assert [tuple(row.values()) for row in rows] == [("link", "abc", '{"partner_id":"A"}'), ("token", "k1", "")]
    assert warehouse.rows("select field, facts from quarantine") == [{"field": "entries", "facts": 0}]


class Broken(Exception):
    """The failure that a test injects."""


class Fuse:
    """Lets calls through and breaks one of them. (That a call was done and then broke is the next one's breaking.)"""

    def __init__(self) -> None:
        self.calls = 0
        self.breaks_at: int | None = None

    def arm(self, breaks_at: int | None) -> None:
        self.calls, self.breaks_at = 0, breaks_at

    def __call__(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def through(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            if self.calls == self.breaks_at:
                raise Broken
            return call(*args, **kwargs)

        return through


def fused_loader(client: redis.Redis, warehouse: Warehouse, fuse: Fuse) -> Loader:
    """A loader all of whose dealings with the stores go through the fuse."""
    loading = loader(client, warehouse)
    for name in ("waiting", "between", "trim", "still_holds", "settle"):
        setattr(loading.streams, name, fuse(getattr(loading.streams, name)))
    loading._publish = fuse(loading._publish)  # type: ignore[method-assign]
    return loading


@pytest.mark.parametrize("repeats", [True, False], ids=["clicks that come twice", "clicks that are all new"])
def test_a_crash_between_any_two_steps(
    client: redis.Redis, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, repeats: bool
) -> None:
    """Break every call to a store in turn, break the recovery at some call too, then restart."""
    fuse = Fuse()
    for name in ("rows", "run", "insert", "insert_bytes"):
        monkeypatch.setattr(Warehouse, name, fuse(getattr(Warehouse, name)))
    broken, attempt, expected, duplicates, quarantined = 0, 0, 0, 0, 0
    while True:
        attempt += 1
        fuse.arm(None)
        loading = fused_loader(client, warehouse, fuse)
        loading.load_once()
        journal(client, paid(f"p{attempt}", "l", 5, 1), clicked(attempt, "A", 1, attempt), paid("p1", "l", 5, 1),
                *[clicked(attempt, "A", 1, attempt)] * repeats, joined(f"P{attempt}"),
                ClientNamed(license_id=f"l{attempt}", data_center="us-south1", email="j@example.com"))  # fmt: skip
        journal_bytes(client, redis_keys.FACT_JOURNAL, "facts", b"poison", 1)
        expected, duplicates, quarantined = expected + 3, duplicates + 1 + repeats, quarantined + 1
        fuse.arm(attempt)
        try:
            loading.load_once()
        except Broken:
            broken += 1
        else:
            break
        fuse.arm(1 + attempt * 7 % 45)
        try:
            fused_loader(client, warehouse, fuse).load_once()
        except Broken:
            broken += 1
        fuse.arm(None)
        load_all(fused_loader(client, warehouse, fuse))
        assert pipeline(client) == {
            "accepted": expected + duplicates + quarantined, "stored": expected, "duplicates": duplicates,
            "quarantined": quarantined, "pending": 0,
        }, f"after a failure of call {attempt}"  # fmt: skip
        assert room_taken(client) == (0, 0), f"after a failure of call {attempt}"
        assert_counted_by_day(warehouse)
    fuse.arm(None)
    load_all(loader(client, warehouse))
    assert broken > attempt > 20
    assert stored(warehouse) == expected
    assert len(warehouse.rows("select distinct payment_id from payments")) == attempt
    assert rows_of(warehouse, "quarantine") == quarantined == pipeline(client)["quarantined"]
    assert waiting_entries(client) == 0
    store = warehouse.sibling(f"{warehouse.database}_us_south1")
    assert len(store.rows("select license_id from clients final")) == attempt
    store.drop()


KILLED = """
import os, sys
import redis
from attribution import loader, staging, warehouse
from tracker.program import Program

redis_url, clickhouse_url, dies_at = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = warehouse.Warehouse.open(clickhouse_url)
store.migrate()
calls = 0

def mortal(call):
    def through(*args, **kwargs):
        global calls
        calls += 1
        if calls == dies_at:
            os._exit(9)
        return call(*args, **kwargs)
    return through

loading = loader.Loader(redis.Redis.from_url(redis_url), store, Program(), lambda: 1_760_000_000_000)
loading.recover()
for name in ("run", "rows", "insert", "insert_bytes"):
    setattr(store, name, mortal(getattr(store, name)))
while loading.load_once():
    pass
counts = {t: store.rows(f"select count() as n, uniqExact({c}) as ids from {t}")[0]
          for t, c in (("clicks", "click_id"), ("payments", "payment_id"))}
print(calls, [value for row in counts.values() for value in row.values()])
"""


def test_a_killed_process_leaves_exact_counts(empty_redis_url: str, client: redis.Redis, tmp_path: Path) -> None:
    """`os._exit` at several calls of a load, on a data folder that the next process opens again."""
    expected, output = 0, ""
    for dies_at in (2, 3, 5, 9, 0):
        numbers = range(expected, expected + 400)
        journal(client, *(clicked(i, "A", 1, visitor=i) for i in numbers), *(paid(f"p{i}", "l", 5, 1) for i in numbers))
        expected += 400
        done = subprocess.run(
            [sys.executable, "-c", KILLED, empty_redis_url, f"chdb://{tmp_path}/chdb", str(dies_at)],
            capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        )  # fmt: skip
        assert done.returncode == (9 if dies_at else 0), done.stderr
        output = done.stdout
    assert output.endswith(f"{[expected] * 4}\n")
    assert pipeline(client) == {
        "accepted": 2 * expected, "stored": 2 * expected, "duplicates": 0, "quarantined": 0, "pending": 0,
    }  # fmt: skip


def test_an_emptied_redis_starts_again(client: redis.Redis, warehouse: Warehouse) -> None:
    loading = loader(client, warehouse)
    journal(client, *ONE_OF_EACH)
    load_all(loading)
    client.flushall()
    journal(client, paid("p2", "l1", 5, 6), paid("p1", "l1", 2900, 4), clicked(3, "A", 1))
    assert room_taken(client) == (1, 2)
    [load] = load_all(loading)
    assert (load.stored, load.duplicates) == (2, 1)
    assert room_taken(client) == (0, 0)
    assert pipeline(client) == {"accepted": 14, "stored": 13, "duplicates": 1, "quarantined": 0, "pending": 0}


def test_a_restored_redis_with_older_ids_is_read_again(client: redis.Redis, warehouse: Warehouse) -> None:
    """An older state comes back: loaded entries are there again, and the clock of its ids is behind ours."""
    client.xadd(redis_keys.FACT_JOURNAL, {"facts": fact_row(paid("p1", "l", 5, 1)), "n": 1}, id="9000-0")
    client.hincrby(redis_keys.FACT_COUNTS, "accepted", 1)
    load_all(loader(client, warehouse))
    client.flushall()
    for name, entry_id in (("p1", "5000-0"), ("p2", "5001-0")):
        client.xadd(redis_keys.FACT_JOURNAL, {"facts": fact_row(paid(name, "l", 5, 1)), "n": 1}, id=entry_id)
    client.hincrby(redis_keys.FACT_COUNTS, "accepted", 2)
    [load] = load_all(loader(client, warehouse))
    assert (load.stored, load.duplicates) == (1, 1)
    assert pipeline(client) == {"accepted": 3, "stored": 2, "duplicates": 1, "quarantined": 0, "pending": 0}


def test_a_redis_emptied_in_the_middle_of_a_load(
    client: redis.Redis, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    loading = loader(client, warehouse)
    loading.recover()
    journal(client, *ONE_OF_EACH)

    def broken(*_: object) -> None:
        raise Broken

    monkeypatch.setattr(loading, "_finish", broken)
    with pytest.raises(Broken):
        loading.load_once()
    client.flushall()
    journal(client, paid("p2", "l1", 5, 6))
    load_all(loader(client, warehouse))
    assert stored(warehouse) == 12
    assert_counted_by_day(warehouse)
    assert pipeline(client) == {"accepted": 12, "stored": 12, "duplicates": 0, "quarantined": 0, "pending": 0}


def test_clicks_that_were_stored_in_part_are_counted_by_day_once(
    client: redis.Redis, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A load's clicks of several months are not stored as one step."""
    load_all(loader(client, warehouse))
    clicks = [clicked(number, "A", 20 * number) for number in range(1, 7)]
    journal(client, *clicks, clicked(9, "A", 50, verdict="bot"))
    query = QUERIES["loader_store_clicks"].replace("from incoming_clicks", "from incoming_clicks limit 3")
    assert "limit 3" in query

    def dies(staging: Staging) -> None:
        staging._warehouse.run(query, load_id=1)
        raise Broken

    with monkeypatch.context() as patched:
        patched.setattr(Staging, "_are_known", dies)
        with pytest.raises(Broken):
            loader(client, warehouse).load_once()
    assert rows_of(warehouse, "clicks") == 3 and rows_of(warehouse, "click_days") == 0
    rebuild_click_days(warehouse)
    assert rows_of(warehouse, "click_days") == 0, "a load that is not finished is counted when it is"
    load_all(loader(client, warehouse))
    assert rows_of(warehouse, "clicks") == 7
    assert_counted_by_day(warehouse)
    warehouse.run("truncate table click_days")
    rebuild_click_days(warehouse)
    assert_counted_by_day(warehouse)
    assert warehouse.rows("select sum(clicks) as clicks from click_days") == [{"clicks": 6}]


def test_a_loss_in_redis_stays_visible(client: redis.Redis, warehouse: Warehouse) -> None:
    journal(client, paid("p1", "l1", 5, 6), paid("p2", "l1", 5, 6), entry_size=1)
    [entry_id, _] = client.xrange(redis_keys.FACT_JOURNAL, count=1)[0]
    client.xdel(redis_keys.FACT_JOURNAL, entry_id)
    load_all(loader(client, warehouse))
    assert pipeline(client) == {"accepted": 2, "stored": 1, "duplicates": 0, "quarantined": 0, "pending": 1}
    assert room_taken(client) == (0, 0), "what is not there takes no room"


def test_the_room_that_is_taken_is_counted_anew_where_it_was_not(client: redis.Redis, warehouse: Warehouse) -> None:
    """As after an upgrade from a version that had no bound."""
    journal(client, *(clicked(number, "A", 1) for number in range(5)), paid("p1", "l1", 5, 6))
    loading = loader(client, warehouse)
    load_all(loading)
    client.delete(redis_keys.JOURNAL)
    client.hdel(redis_keys.FACT_COUNTS, "loaded")
    journal(client, clicked(7, "A", 1), clicked(8, "A", 1), paid("p2", "l1", 5, 6))
    loader(client, warehouse).recover()
    assert room_taken(client) == (2, 1)


def test_redis_away_is_unavailable_and_loses_nothing(client: redis.Redis, warehouse: Warehouse) -> None:
    journal(client, paid("p1", "l1", 5, 6))
    gone = redis.Redis(unix_socket_path="/nonexistent/redis.sock")
    with pytest.raises(Unavailable):
        loader(gone, warehouse).load_once()
    [load] = load_all(loader(client, warehouse))
    assert load.stored == 1


def test_progress_is_published_again_when_it_was_lost(client: redis.Redis, warehouse: Warehouse) -> None:
    journal(client, *ONE_OF_EACH)
    load_all(loader(client, warehouse))
    client.delete(redis_keys.PROGRESS)
    assert loader(client, warehouse).load_once() is None
    assert pipeline(client)["stored"] == 11


def test_old_loads_are_forgotten_once_they_are_in_a_round(
    client: redis.Redis, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("attribution.loader.KEEP_LOADS", 3)
    monkeypatch.setattr("attribution.loader.FORGET_EVERY", 5)
    loading = loader(client, warehouse)
    for i in range(10):
        if i == 7:
            warehouse.insert("rounds", ["round", "through_load", "lines", "published_at"], [[1, 6, 0, NOW_MS]])
        journal(client, paid(f"p{i}", "l", 5, 1))
        load_all(loading)
    rows = warehouse.rows("select distinct load_id from loads order by load_id")
    assert [row["load_id"] for row in rows] == [6, 7, 8, 9, 10]
    assert loader(client, warehouse).load_once() is None
    assert pipeline(client)["stored"] == 10
