"""`lasttouch bench day`: what ClickHouse's tables look like after a day of small loads.

A load a second is 86,400 loads a day, and each inserts a part or more into every table that it feeds: whether merges
keep up is what this shows. Loads follow each other without a pause, which leaves merges less time than a day would: a
whole day takes an hour or two. Where that is too long, it ends after so many seconds, and tells what it saw by then;
what it keeps, a later run goes on with.
Every load has clicks, some have a sale as well: a click, a signup and a payment; they come through a journal of its
own and the real loader, and what the sales decide through the real rounds, as attribution runs them.
"""

from __future__ import annotations

import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from redis import Redis

from attribution.ledger import News, run_round
from attribution.loader import Loader
from attribution.warehouse import Warehouse
from loadtests.journaled_clicks import journal_clicks, kinds_of_clicks
from tracker import redis_keys, redis_server
from tracker.errors import SettingError
from tracker.events import Clicked, Fact, Paid, PartnerJoined, SignedUp, click_row, fact_row
from tracker.ids import IdMaker
from tracker.program import Program
from tracker.settings import Settings

CLICKS_PER_LOAD = 50
BATCH = 20  # clicks that a worker journals at once
LOADS_PER_SALE = 20
LOOKS = 12  # at the tables, in even steps, the last at the end
PARTNER = "W-0000001"
SEED = 86_400
JOINED_AT = 1_600_000_000_000
PROGRAM = Program()
PARTS = """
with by_partition as (
    select table, count() as parts, sum(rows) as rows, sum(bytes_on_disk) as bytes
    from system.parts
    where active and database = currentDatabase()
    group by table, partition
)
select
    table,
    max(by_partition.parts) as most,
    sum(by_partition.parts) as parts,
    sum(by_partition.rows) as rows,
    sum(by_partition.bytes) as bytes
from by_partition
group by table
"""
EVENTS = """
select event, value
from system.events
where event in ('Merge', 'DelayedInserts', 'RejectedInserts')
"""
MERGING = """
select count() as merges
from system.merges
"""


def bench_day(loads: int, at_most_s: float | None = None, keep: Path | None = None) -> dict[str, Any]:
    """What is printed as JSON, after so many loads, or as many as were made in `at_most_s`. `keep`: a folder for the
    data, that stays; where a run left some there, this one goes on with it."""
    with ExitStack() as stack:
        if keep is None:
            keep = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lasttouch-bench-")))
        keep.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings = Settings(data=keep)
        warehouse = Warehouse.open(settings.effective_clickhouse_url)
        warehouse.migrate()
        try:
            with redis_server.running(settings) as redis_url, Redis.from_url(redis_url) as redis:
                return Day(redis, warehouse).run(loads, at_most_s)
        finally:
            warehouse.close()


class Day:
    """Loads of one program."""

    def __init__(self, redis: Redis, warehouse: Warehouse) -> None:
        self._redis = redis
        self._warehouse = warehouse
        self._loader = Loader(redis, warehouse, PROGRAM, _now_ms)
        self._ids = IdMaker()
        self._chance = random.Random(SEED)
        self._kinds = kinds_of_clicks(self._chance)
        self._news: News | None = None
        self._loads_s: list[float] = []
        self._rounds_s: list[float] = []

    def run(self, loads: int, at_most_s: float | None) -> dict[str, Any]:
        """Load after load, until there are so many; the tables are looked at a few times on the way."""
        self._loader.recover()
        made = found = self._loader.finished_load
        if not found:
            self._journal(_joined())
        looks = []
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        while made < loads and (at_most_s is None or time.perf_counter() - began_s < at_most_s):
            made += 1
            self._arrive(made)
            self._load()
            if made % max(1, loads // LOOKS) == 0:
                looks.append({"loads": made, **self._look()})
                print(f"{made} of {loads} loads: {looks[-1]}", file=sys.stderr, flush=True)
        if made == found:
            raise SettingError(f"--keep: there are {found} loads already; ask for more with --rounds")
        took_s = time.perf_counter() - began_s
        return {
            "loads": made,
            "of_loads": loads,
            "made_before": found,
            "clicks_per_load": CLICKS_PER_LOAD,
            "loads_per_second": round((made - found) / took_s, 1),
            "processor_ms_per_load": round(1000 * (time.process_time() - began_cpu_s) / (made - found), 1),
            "load": _waits(self._loads_s),
            "round": _waits(self._rounds_s),
            "looks": looks,
            "last_look": self._look(),
            "tables": self._tables(),
        }

    def _arrive(self, number: int) -> None:
        journal_clicks(self._redis, CLICKS_PER_LOAD, BATCH, self._kinds, self._chance)
        if number % LOADS_PER_SALE == 0:
            self._journal(*self._sale(number))

    def _sale(self, number: int) -> tuple[Clicked | Fact, ...]:
        at, visitor_id, license_id = _now_ms(), self._ids.visitor(), f"day-{number}"
        return (
            Clicked(
                click_id=self._ids.click(at),
                clicked_at=at,
                visitor_id=visitor_id,
                partner_id=PARTNER,
                product="livechat",
            ),
            SignedUp(
                license_id=license_id,
                signed_up_at=at,
                product="livechat",
                visitor_id=visitor_id,
                data_center="us-south1",
                digest="",
            ),
            Paid(
                payment_id=license_id,
                license_id=license_id,
                paid_at=at,
                amount_cents=2900,
                currency="USD",
                digest="",
            ),
        )

    def _journal(self, *facts: Clicked | Fact) -> None:
        for fact in facts:
            if isinstance(fact, Clicked):
                stream, field, line = redis_keys.click_journal(0), "clicks", click_row(fact)
            else:
                stream, field, line = redis_keys.FACT_JOURNAL, "facts", fact_row(fact)
            self._redis.xadd(stream, {field: line, "n": 1})
            counter = redis_keys.click_counts(0) if field == "clicks" else redis_keys.FACT_COUNTS
            self._redis.hincrby(counter, "accepted", 1)

    def _load(self) -> None:
        """A load, and a round when it brought more than clicks."""
        began_s = time.perf_counter()
        load = self._loader.load_once()
        self._loads_s.append(time.perf_counter() - began_s)
        if load is None:
            raise AssertionError("a load found nothing")
        brought = {kind: facts for kind, facts in load.by_type.items() if kind != Clicked.type and facts}
        if self._news is not None:
            stored = Counter(self._news.stored) + Counter(brought)
            self._news = replace(self._news, through_load=load.load_id, stored=stored)
        if self._news is None or brought:
            began_s = time.perf_counter()
            done = run_round(self._warehouse, PROGRAM, _now_ms(), self._news)
            self._rounds_s.append(time.perf_counter() - began_s)
            self._news = News(done, done.through_load, {}) if done else None

    def _look(self) -> dict[str, Any]:
        """How many parts there are, in all and at most in one partition; and what ClickHouse did about them so far."""
        rows = self._warehouse.rows(PARTS)
        (clicks,) = (row for row in rows if row["table"] == "clicks")
        did = {row["event"]: row["value"] for row in self._warehouse.rows(EVENTS)}
        return {
            "parts": sum(row["parts"] for row in rows),
            "most_parts_of_a_partition": max(row["most"] for row in rows),
            "merges": did.get("Merge", 0),
            "merges_under_way": self._warehouse.rows(MERGING)[0]["merges"],
            "delayed_inserts": did.get("DelayedInserts", 0),
            "rejected_inserts": did.get("RejectedInserts", 0),
            "megabytes_per_million_clicks": round(clicks["bytes"] / clicks["rows"], 1),
            "memory_mb": _memory_mb(),
        }

    def _tables(self) -> dict[str, dict[str, int]]:
        rows = sorted(self._warehouse.rows(PARTS), key=lambda row: -row["parts"])
        return {row["table"]: {name: row[name] for name in ("parts", "rows", "bytes")} for row in rows}


def _joined() -> PartnerJoined:
    return PartnerJoined(
        partner_id=PARTNER,
        joined_at=JOINED_AT,
        name="Partner",
        email="partner@day.example",
        email_hash="",
        digest="",
    )


def _waits(seconds: Sequence[float]) -> dict[str, float]:
    """Milliseconds, in the middle and at most."""
    ordered = sorted(1000 * each for each in seconds)
    shares = {"p50_ms": 0.5, "p99_ms": 0.99}
    shown = {name: round(ordered[int(len(ordered) * share)], 1) for name, share in shares.items()}
    return {"times": len(ordered), **shown, "longest_ms": round(ordered[-1], 1)}


def _memory_mb() -> int:
    """What this process has now: ClickHouse with it (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1_000_000


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
