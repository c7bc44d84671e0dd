"""One process at a time loads and attributes, whichever end the other one takes."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis

from attribution import lease as lease_module
from attribution.audit import audit
from attribution.facts import QUERIES as ROUND_QUERIES
from attribution.fence import FencedWarehouse, Script, fenced
from attribution.journal_streams import JournalStreams
from attribution.lease import LEASE_SECONDS, Lease, LeaseLost
from attribution.ledger import run_round
from attribution.loader import Loader
from attribution.process import WAITING, RunningAttribution, readiness, rebuild_everything
from attribution.publication import SETTLED, Publication
from attribution.rebuild import mark_complete, rebuild_redis
from attribution.rebuild_directory import DirectoryRebuild
from attribution.service import AttributionService
from attribution.staging import QUERIES
from attribution.warehouse import QueryFailed, Warehouse, WarehouseUnavailable
from tests.attribution.fact_writer import paid
from tests.attribution.journaling import journal, pipeline
from tests.attribution.test_service import PROGRAM, SALE, attributed, client, earned, until
from tracker import redis_keys
from tracker.errors import Conflict
from tracker.settings import Settings

__all__ = ["client"]

Begin = Callable[[], RunningAttribution]


@pytest.fixture
def settings(empty_redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A program whose ClickHouse is a server, so that each start is a process of its own."""
    monkeypatch.setattr(lease_module, "RENEW_SECONDS", 0.1)
    return Settings(data=tmp_path, redis_url=empty_redis_url, clickhouse_url="http://clickhouse.example:8123")


@pytest.fixture
def begin(settings: Settings, warehouse: Warehouse) -> Iterator[Begin]:
    """Attribution at work like in a process of its own; whatever was begun is stopped."""
    begun: list[RunningAttribution] = []

    def begin() -> RunningAttribution:
        attribution = RunningAttribution(settings, PROGRAM, warehouse)
        begun.append(attribution)
        attribution.start()
        return attribution

    yield begin
    for attribution in begun:
        attribution.stop()


def test_the_second_waits_and_says_so(
    client: redis.Redis, warehouse: Warehouse, begin: Begin, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    first = begin()
    until(lambda: first.is_ready, "the first is at work")
    second = begin()
    until(lambda: second.is_waiting, "the second knows of the first")
    journal(client, *SALE)
    until(lambda: attributed(client) == 4, "the first attributes")
    assert not second.is_ready and "is at work on this program" in (second.last_error or "")
    said = json.loads(bytes(readiness(second).body))
    assert said == {"status": "not ready", "missing": ["attribution"], "waiting": WAITING}
    assert readiness(second).status_code == 503
    assert any(record.getMessage().startswith("attribution waits: ") for record in caplog.records)

    first.stop()
    journal(client, paid("p2", "l1", 1000, 5))
    until(lambda: second.is_ready and attributed(client) == 5, "the second takes over")
    assert not second.is_waiting and second.last_error is None
    assert readiness(second).status_code == 200
    assert earned(warehouse) == 780
    assert audit(warehouse, PROGRAM).is_clean


def test_a_dead_holder_is_followed_when_its_lease_has_run_out(
    client: redis.Redis, warehouse: Warehouse, begin: Begin
) -> None:
    client.set(redis_keys.ATTRIBUTION, "a dead process", px=1_000)
    attribution = begin()
    until(lambda: attribution.is_waiting, "it waits")
    journal(client, *SALE)
    until(lambda: attributed(client) == 4, "it takes over")
    assert earned(warehouse) == 580


def test_who_has_lost_the_lease_stops_and_learns_what_the_other_did(
    client: redis.Redis, warehouse: Warehouse, begin: Begin
) -> None:
    attribution = begin()
    journal(client, *SALE)
    until(lambda: attributed(client) == 4, "the sale")
    client.set(redis_keys.ATTRIBUTION, "another process")  # as after a pause of this one
    until(lambda: attribution.is_waiting, "it notices")
    journal(client, paid("p2", "l1", 1000, 5))
    other = Loader(client, warehouse, PROGRAM, lambda: 0)
    assert other.load_once() is not None
    journal(client, paid("p3", "l1", 500, 6))
    assert pipeline(client)["pending"] == 1
    client.delete(redis_keys.ATTRIBUTION)
    until(lambda: attributed(client) == 6, "it goes on where the other ended")
    assert earned(warehouse) == 880
    assert pipeline(client) == {"accepted": 6, "stored": 6, "duplicates": 0, "quarantined": 0, "pending": 0}


def test_a_machine_that_was_suspended_knows_as_soon_as_it_wakes(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock that counts suspended time has moved on, the one that does not has not; nobody has asked Redis yet."""
    monkeypatch.setattr(lease_module, "RENEW_SECONDS", 60.0)
    counts_suspended = time.CLOCK_BOOTTIME if sys.platform == "linux" else time.CLOCK_MONOTONIC
    asleep_s = 0.0
    clock_s = time.clock_gettime

    def as_after_suspend(clock: int) -> float:
        return clock_s(clock) + (asleep_s if clock == counts_suspended else 0.0)

    monkeypatch.setattr(time, "clock_gettime", as_after_suspend)
    lease = Lease(settings)
    lease.start()
    until(lambda: lease.is_held, "it is at work")
    lease.require()
    asleep_s = LEASE_SECONDS
    assert not lease.is_held
    with pytest.raises(LeaseLost):
        lease.require()
    lease.release()


class Stopped(FencedWarehouse):
    """A fenced warehouse whose process is stopped before it writes `text`: `meanwhile` happens, then it wakes."""

    def __init__(
        self, warehouse: Warehouse, require: Callable[[], None], text: str, meanwhile: Callable[[], None]
    ) -> None:
        super().__init__(warehouse, require)
        self._text, self._meanwhile = text, meanwhile

    def _stop(self, text: str) -> None:
        if text == self._text:
            self._text = ""
            self._meanwhile()

    def run(self, query: str, /, **parameters: object) -> None:
        self._stop(query)
        super().run(query, **parameters)

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        self._stop(table)
        super().insert(table, columns, rows)


@pytest.mark.parametrize(
    "text",
    [QUERIES["loader_store_facts"], "loads", ROUND_QUERIES["ledger_bind"], ROUND_QUERIES["ledger_post"], "rounds"],
    ids=["store facts", "loads", "bind", "post", "publish"],
)
def test_who_was_stopped_inside_a_step_writes_nothing_when_it_wakes(
    text: str, settings: Settings, client: redis.Redis, warehouse: Warehouse
) -> None:
    """Another process has loaded and attributed everything by then."""
    lease = Lease(settings)
    lease.start()
    until(lambda: lease.is_held, "the first is at work")

    def another_process() -> None:
        client.set(redis_keys.ATTRIBUTION, "another process")
        until(lambda: not lease.is_held, "its time is over")
        Loader(client, warehouse, PROGRAM, lambda: 0).load_once()
        run_round(warehouse, PROGRAM, 0)

    stopped = Stopped(warehouse, lease.require, text, another_process)
    journal(client, *SALE)
    with pytest.raises(LeaseLost):
        Loader(client, stopped, PROGRAM, lambda: 0).load_once()
        run_round(stopped, PROGRAM, 0)
    lease.release()
    assert earned(warehouse) == 580
    assert audit(warehouse, PROGRAM).is_clean
    assert pipeline(client) == {"accepted": 4, "stored": 4, "duplicates": 0, "quarantined": 0, "pending": 0}
    assert run_round(warehouse, PROGRAM, 0) is None


SLOW = """
insert into ledger (round, entry_id, payment_id, amount_cents)
select 1, toString(number), 'p', 100 + sleepEachRow(0.1)
from numbers(600)
settings max_block_size = 1, function_sleep_max_microseconds_per_block = 100000000
"""
"""A minute's work, which ends between two rows when it is told to."""


class Orphan:
    """A statement that goes on although nobody waits for it, as on a server after its process has died."""

    def __init__(self, warehouse: Warehouse) -> None:
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._write, args=[warehouse])
        self._thread.start()
        self._warehouse = warehouse
        until(lambda: self.is_under_way, "the orphan is under way")

    def _write(self, warehouse: Warehouse) -> None:
        try:
            warehouse.run(SLOW)
        except WarehouseUnavailable as error:
            self.error = error

    @property
    def is_under_way(self) -> bool:
        query = "select 1 from system.processes where query like '%sleepEachRow(%' and query_kind = 'Insert'"
        return bool(self._warehouse.rows(query))

    def ends(self) -> str:
        """Why it ended."""
        self._thread.join(20)
        assert not self._thread.is_alive(), "the orphan goes on"
        return str(self.error)


@pytest.fixture
def orphan(warehouse: Warehouse) -> Iterator[Orphan]:
    """One that was told through a fence."""
    found = Orphan(FencedWarehouse(warehouse, lambda: None))
    yield found
    FencedWarehouse(warehouse, lambda: None).end_leftovers()
    found.ends()


def test_who_begins_ends_what_is_still_written(
    settings: Settings, client: redis.Redis, warehouse: Warehouse, orphan: Orphan
) -> None:
    """Its lines would come beside those of the next try."""
    lease = Lease(settings)
    lease.start()
    service = AttributionService(settings, PROGRAM, warehouse, lease)
    journal(client, *SALE)
    service.start()
    try:
        assert service.wait_idle(20)
    finally:
        service.stop()
        lease.release()
    assert "cancelled" in orphan.ends()
    assert earned(warehouse) == 580
    assert audit(warehouse, PROGRAM).is_clean


def test_only_what_attribution_writes_into_the_same_database_is_ended(
    warehouse: Warehouse, orphan: Orphan, caplog: pytest.LogCaptureFixture
) -> None:
    other = warehouse.sibling(f"{warehouse.database}_other")
    try:
        FencedWarehouse(other, lambda: None).end_leftovers()
        assert orphan.is_under_way and not caplog.records
    finally:
        other.drop()
    FencedWarehouse(warehouse, lambda: None).end_leftovers()
    assert "cancelled" in orphan.ends() and "ending 1 statements" in caplog.text
    audits = Orphan(warehouse)
    FencedWarehouse(warehouse, lambda: None).end_leftovers()
    assert audits.is_under_way
    warehouse.run("kill query where query like '%sleepEachRow(%' and query_kind = 'Insert' sync")
    audits.ends()


def test_a_rebuild_waits_until_the_step_under_way_is_done(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would else write beside it."""
    attribution = begin()
    until(lambda: attribution.is_ready, "it is at work")
    happened: list[str] = []
    stop = AttributionService.stop

    def stops_late(service: AttributionService) -> bool:
        is_done = bool(happened) and stop(service)
        happened.append("done" if is_done else "under way")
        return is_done

    with monkeypatch.context() as patch:
        patch.setattr(AttributionService, "stop", stops_late)
        patch.setattr("attribution.process.rebuild_everything", lambda *_: happened.append("rebuilt"))
        asyncio.run(attribution.rebuild())
    assert happened == ["under way", "done", "rebuilt"]


def test_a_clickhouse_that_lets_nobody_end_statements(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Attribution goes on, and the log says what is not sure."""

    def refuses(*_: object, **__: object) -> list[dict[str, Any]]:
        raise QueryFailed("Not enough privileges. (ACCESS_DENIED)")

    monkeypatch.setattr(warehouse, "rows", refuses)
    FencedWarehouse(warehouse, lambda: None).end_leftovers()
    assert "ACCESS_DENIED" in caplog.text


def test_who_was_stopped_while_publishing_does_not_tell_that_a_round_is_whole(
    settings: Settings, client: redis.Redis, warehouse: Warehouse
) -> None:
    """Another process publishes the next one by then: readers would take half of it for all."""
    lease = Lease(settings)
    lease.start()
    until(lambda: lease.is_held, "the first is at work")

    def stopped_before_it_tells(client: redis.Redis, text: str) -> Script:
        write = fenced(lease)(client, text)

        def tell(**given: Any) -> Any:
            if warehouse.rows("select 1 from round_applied where round = 1"):
                client.set(redis_keys.ATTRIBUTION, "another process")
                until(lambda: not lease.is_held, "its time is over")
            return write(**given)

        return tell

    journal(client, *SALE)
    Loader(client, warehouse, PROGRAM, lambda: 0).load_once()
    with pytest.raises(LeaseLost):
        run_round(warehouse, PROGRAM, 0, publication=Publication(client, stopped_before_it_tells))
    lease.release()
    assert earned(warehouse) == 580
    assert not client.hexists(redis_keys.PROGRESS, SETTLED)


@pytest.fixture
def overtaken(settings: Settings, client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lease]:
    """A process that was stopped between its look at the clock and its write: another one holds the lease in Redis."""
    monkeypatch.setattr(lease_module, "RENEW_SECONDS", 60.0)
    lease = Lease(settings)
    lease.start()
    until(lambda: lease.is_held, "it is at work")
    client.set(redis_keys.ATTRIBUTION, "another process")
    yield lease
    assert lease.is_held, "by its own clock it was its turn all the time"
    lease.release()
    assert client.get(redis_keys.ATTRIBUTION) == b"another process"


def test_redis_takes_no_progress_from_who_was_overtaken(
    overtaken: Lease, settings: Settings, client: redis.Redis, warehouse: Warehouse
) -> None:
    """Older counts would stay until the next load, and withdrawals would wait for them."""
    journal(client, *SALE)
    assert Loader(client, warehouse, PROGRAM, lambda: 0).load_once() is not None
    run_round(warehouse, PROGRAM, 0, publication=Publication(client))
    client.hset(redis_keys.PROGRESS, "attributed", "4")
    counts = (redis_keys.PROGRESS, redis_keys.JOURNAL, redis_keys.FACT_COUNTS)
    before = [client.hgetall(name) for name in counts]
    assert before[0][b"stored"] == b"4" and SETTLED.encode() in before[0]
    scripts = fenced(overtaken)
    late = JournalStreams(client, PROGRAM.data_centers, scripts)
    service = AttributionService(settings, PROGRAM, warehouse, overtaken)
    publication = Publication(client, scripts)
    writes: list[Callable[[], object]] = [
        lambda: late.publish({"stored": 0}, dict.fromkeys(late.counters, 0)),
        lambda: service._publish_attributed(1),
        publication.begins,
        lambda: publication.ends(1),
    ]
    for write in writes:
        with pytest.raises(LeaseLost, match="another process has the lease"):
            write()
        assert [client.hgetall(name) for name in counts] == before
    assert service.stop()


def test_who_was_overtaken_in_a_rebuild_puts_nothing_back(
    overtaken: Lease, client: redis.Redis, warehouse: Warehouse
) -> None:
    """What it had read from ClickHouse, such as a token, may have been removed since."""
    journal(client, *SALE)
    assert Loader(client, warehouse, PROGRAM, lambda: 0).load_once() is not None
    token = {"id": 1001, "scope": "finance", "partner_id": "", "label": "old", "created_at": 1}
    values = [["token", "hash", json.dumps(token), 1, 1]]
    warehouse.insert("directory_entries", ["kind", "key", "value", "written_at", "load_id"], values)
    scripts = fenced(overtaken)
    directory = DirectoryRebuild(client, warehouse, scripts)
    steps: list[Callable[[], object]] = [
        directory.tokens, directory.partners, directory.licenses, directory.money,
        lambda: directory.state("token"), lambda: mark_complete(client, scripts=scripts),
        lambda: rebuild_redis(client, warehouse, PROGRAM, 0, lambda _: None, scripts),
    ]  # fmt: skip
    before = {key: client.dump(key) for key in client.scan_iter()}
    for step in steps:
        with pytest.raises(LeaseLost, match="another process has the lease"):
            step()
        assert {key: client.dump(key) for key in client.scan_iter()} == before
    directory = DirectoryRebuild(client, warehouse)
    assert (directory.tokens(), directory.partners(), directory.licenses(), directory.money()) == (1, 1, 1, 1)
    assert client.hexists(redis_keys.TOKENS, "hash")


def test_a_lease_that_redis_was_not_told_of_fences_nobody_off(
    settings: Settings, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Redis without room takes no key, and gets room only by loading."""
    monkeypatch.setattr(lease_module, "RENEW_SECONDS", 60.0)
    with (lease := Lease(settings)).held():
        client.delete(redis_keys.ATTRIBUTION)
        Publication(client, fenced(lease)).ends(1)
    assert client.hexists(redis_keys.PROGRESS, SETTLED)


def test_who_was_stopped_inside_a_rebuild_writes_nothing_when_it_wakes(
    settings: Settings, client: redis.Redis, warehouse: Warehouse
) -> None:
    lease = Lease(settings)
    lease.start()
    until(lambda: lease.is_held, "the first is at work")
    journal(client, *SALE)
    Loader(client, warehouse, PROGRAM, lambda: 0).load_once()
    run_round(warehouse, PROGRAM, 0)

    def stopped(step: str) -> None:
        client.set(redis_keys.ATTRIBUTION, "another process")
        until(lambda: not lease.is_held, "its time is over")

    # It tells of its round before it swaps the tables.
    with pytest.raises(LeaseLost):
        rebuild_everything(settings, PROGRAM, warehouse, lease, stopped)
    lease.release()
    assert earned(warehouse) == 580
    assert audit(warehouse, PROGRAM).is_clean


def test_who_opens_the_data_folder_again_waits_for_nobody(empty_redis_url: str, tmp_path: Path) -> None:
    """An embedded ClickHouse has one process only: the holder of before is dead."""
    settings = Settings(data=tmp_path, redis_url=empty_redis_url)
    killed, again = Lease(settings), Lease(settings)
    killed.start()
    until(lambda: killed.is_held, "the first holds it")
    with again.held():
        assert again.is_held
    killed.release()


def test_nobody_rebuilds_beside_a_process_at_work(settings: Settings, client: redis.Redis) -> None:
    refused = pytest.raises(Conflict, match="is at work on this program")
    with Lease(settings).held(), refused, Lease(settings).held():
        raise AssertionError("two hold it")
    with Lease(settings).held():
        assert client.pttl(redis_keys.ATTRIBUTION) > 0
    assert not client.exists(redis_keys.ATTRIBUTION)


def test_a_redis_without_memory_does_not_hold_it_up(settings: Settings, client: redis.Redis) -> None:
    lease = Lease(settings)
    client.config_set("maxmemory", "1")
    try:
        with lease.held():
            assert lease.is_held
    finally:
        client.config_set("maxmemory", "0")
