"""The service: everything that waits gets loaded and attributed, whatever fails in between."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import redis

from attribution import service as service_module
from attribution.audit import audit
from attribution.client_stores import ClientStores
from attribution.journal_streams import JournalStreams
from attribution.lease import Lease
from attribution.publication import SETTLED
from attribution.quarantine import Quarantine
from attribution.service import AttributionService
from attribution.warehouse import Warehouse, WarehouseUnavailable
from tests.attribution.fact_writer import clicked, joined, paid, signed_up
from tests.attribution.journaling import journal, journal_bytes, pipeline, room_taken, waiting_entries
from tracker import redis_keys
from tracker.events import fact_row
from tracker.program import Program
from tracker.redis_server import find_redis_server
from tracker.settings import Settings

PATIENCE = 30.0
PROGRAM = Program()
SALE = (joined("A"), clicked(1, "A", 1), signed_up("l1", 3), paid("p1", "l1", 2900, 4))


@pytest.fixture
def client(empty_redis_url: str) -> Iterator[redis.Redis]:
    opened = redis.Redis.from_url(empty_redis_url)
    yield opened
    opened.close()


Start = Callable[[], AttributionService]


@pytest.fixture
def start(empty_redis_url: str, warehouse: Warehouse, tmp_path: Path) -> Iterator[Start]:
    """Starts a service on the test's stores; whatever was started is stopped."""
    yield from starting(empty_redis_url, warehouse, tmp_path)


def starting(redis_url: str, warehouse: Warehouse, folder: Path) -> Iterator[Start]:
    started: list[AttributionService] = []
    settings = Settings(data=folder, redis_url=redis_url)  # with an embedded ClickHouse: all starts are one process's
    lease = Lease(settings)
    lease.start()

    def start() -> AttributionService:
        service = AttributionService(settings, PROGRAM, warehouse, lease)
        started.append(service)
        service.start()
        return service

    yield start
    for service in started:
        service.stop()
    lease.release()


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}"
        time.sleep(0.02)


def attributed(client: redis.Redis) -> int:
    return int(client.hget(redis_keys.PROGRESS, "attributed") or 0)


def earned(warehouse: Warehouse) -> int:
    cents: int = warehouse.rows("select sum(amount_cents) as cents from ledger")[0]["cents"]
    return cents


def test_facts_become_ledger_lines(client: redis.Redis, warehouse: Warehouse, start: Start) -> None:
    service = start()
    assert service.wait_idle(PATIENCE)
    assert service.is_ready and service.last_error is None
    journal(client, *SALE, paid("p1", "l1", 2900, 4))
    assert service.wait_idle(PATIENCE)
    assert earned(warehouse) == 580
    assert pipeline(client) == {"accepted": 5, "stored": 4, "duplicates": 1, "quarantined": 0, "pending": 0}
    assert attributed(client) == 5
    assert service.last_load is not None and service.last_load.stored == 4
    assert service.rounds == 1
    service.stop()
    assert not service.is_ready
    journal(client, paid("p2", "l1", 1000, 5))
    assert pipeline(client)["pending"] == 1
    second = start()
    assert second.wait_idle(PATIENCE)
    assert earned(warehouse) == 780
    assert attributed(client) == 6


def test_what_was_attributed_survives_a_restart(client: redis.Redis, start: Start) -> None:
    journal(client, *SALE)
    first = start()
    assert first.wait_idle(PATIENCE)
    journal(client, *SALE)  # nothing new: no round, or one without lines
    assert first.wait_idle(PATIENCE)
    first.stop()
    assert attributed(client) == 8
    client.hset(redis_keys.PROGRESS, "attributed", "999")  # more than was ever loaded: from another life
    assert start().wait_idle(PATIENCE)
    assert attributed(client) == 8


def test_clickhouse_away(
    client: redis.Redis, warehouse: Warehouse, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = start()
    assert service.wait_idle(PATIENCE)

    def away(*_: object, **__: object) -> Any:
        raise WarehouseUnavailable("ClickHouse does not answer: gone")

    with monkeypatch.context() as patch:
        patch.setattr(Warehouse, "insert", away)
        journal(client, *SALE)
        until(lambda: service.last_error is not None, "an error")
        assert service.last_error == "ClickHouse does not answer: gone"
        assert not service.is_ready
        assert pipeline(client)["pending"] == 4
    assert service.wait_idle(PATIENCE)
    assert service.is_ready and service.last_error is None
    assert earned(warehouse) == 580


FULL_DISK = "alter table {table:Identifier} modify setting min_free_disk_bytes_to_perform_insert = 1000000000000000"
ROOM_AGAIN = "alter table {table:Identifier} reset setting min_free_disk_bytes_to_perform_insert"


def test_a_full_disk_at_any_step(client: redis.Redis, warehouse: Warehouse, start: Start) -> None:
    """ClickHouse finds too little room on its disk for a table, as it checks before it writes; then there is room."""
    service = start()
    cents, facts = 0, 0
    for number, table in enumerate(("loads", "clicks", "ledger", "rounds", "bindings")):
        assert service.wait_idle(PATIENCE)
        warehouse.run(FULL_DISK, table=table)
        license_id, payment_id = f"l{number}", f"p{number}"
        journal(client, joined(f"P{number}"), clicked(number, f"P{number}", 1, visitor=number),
                signed_up(license_id, 3, visitor=number), paid(payment_id, license_id, 2900, 4))  # fmt: skip
        facts += 4
        until(lambda: service.last_error is not None, f"an error of {table}")
        assert "enough free space" in str(service.last_error), service.last_error
        assert "ClickHouse cannot serve now" in str(service.last_error)
        assert earned(warehouse) <= cents + 580
        assert sum(room_taken(client)) in (0, 4), "what was not loaded waits"
        warehouse.run(ROOM_AGAIN, table=table)
        assert service.wait_idle(PATIENCE), service.last_error
        cents += 580
        assert service.is_ready and service.last_error is None
        assert earned(warehouse) == cents, f"after {table} was full"
        assert pipeline(client) == {"accepted": facts, "stored": facts, "duplicates": 0, "quarantined": 0, "pending": 0}
        assert attributed(client) == facts
    assert audit(warehouse, PROGRAM).is_clean


def test_a_redis_without_memory_is_drained_all_the_same(
    client: redis.Redis, warehouse: Warehouse, start: Start
) -> None:
    """Attribution comes back when Redis is full of what waits: it must need no room to make room."""
    start().stop()
    journal(client, *SALE)
    client.config_set("maxmemory", "1")
    try:
        service = start()
        until(lambda: waiting_entries(client) == 0, "everything is loaded and trimmed")
        until(lambda: earned(warehouse) == 580, "the ledger")
        with pytest.raises(redis.ResponseError):
            client.set("more", "than Redis takes")
    finally:
        client.config_set("maxmemory", "0")
    until(lambda: attributed(client) == 4, "what was done is told when there is room")
    assert service.wait_idle(PATIENCE) and service.last_error is None
    assert pipeline(client) == {"accepted": 4, "stored": 4, "duplicates": 0, "quarantined": 0, "pending": 0}
    assert room_taken(client) == (0, 0)


def test_loads_go_on_while_rounds_fail(
    client: redis.Redis,
    warehouse: Warehouse,
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    working = service_module.run_round

    def broken(*_: object) -> None:
        raise ZeroDivisionError("a mistake of ours")

    monkeypatch.setattr(service_module, "run_round", broken)
    service = start()
    journal(client, *SALE)
    until(lambda: pipeline(client)["stored"] == 4, "the first load")
    until(lambda: service.last_error is not None, "the round's failure")
    assert service.last_error == "ZeroDivisionError: a mistake of ours"
    journal(client, paid("p2", "l1", 1000, 5))
    until(lambda: pipeline(client)["stored"] == 5, "a load after the failure")
    assert service.is_ready and attributed(client) == 0
    monkeypatch.setattr(service_module, "run_round", working)
    assert service.wait_idle(PATIENCE)
    assert earned(warehouse) == 780 and attributed(client) == 5
    lines = [record.getMessage() for record in caplog.records if record.name == service_module.log.name]
    assert any(line.startswith("attribution failed, again in 0.2 s: ZeroDivisionError") for line in lines)


def test_clicks_of_people_who_have_not_signed_up_need_no_round(
    client: redis.Redis, warehouse: Warehouse, start: Start
) -> None:
    service = start()
    journal(client, *SALE)
    assert service.wait_idle(PATIENCE)
    rounds = service.rounds
    for number in range(2, 5):
        journal(client, clicked(number, "A", 2, visitor=number))
        assert service.wait_idle(PATIENCE)
    assert attributed(client) == 7
    assert service.rounds == rounds
    journal(client, paid("p2", "l1", 1000, 5))
    assert service.wait_idle(PATIENCE)
    assert (service.rounds, earned(warehouse), attributed(client)) == (rounds + 1, 780, 8)
    assert service.last_round is not None and service.last_round.through_load == service.last_round.after_load + 4


def test_clicks_do_not_wait_for_the_round_of_what_came_with_them(
    client: redis.Redis, warehouse: Warehouse, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A round that fails holds up a payment and a click that decides a signup, and no other click."""
    service = start()
    journal(client, *SALE)
    assert service.wait_idle(PATIENCE)

    def broken(*_: object) -> None:
        raise ZeroDivisionError("a mistake of ours")

    with monkeypatch.context() as patch:
        patch.setattr(service_module, "run_round", broken)
        journal(client, clicked(2, "A", 2, visitor=2), clicked(3, "A", 2, visitor=3), paid("p2", "l1", 1000, 5))
        until(lambda: service.last_error is not None, "the round's failure")
        assert attributed(client) == 6
    assert service.wait_idle(PATIENCE)
    assert (earned(warehouse), attributed(client)) == (780, 7)
    with monkeypatch.context() as patch:
        patch.setattr(service_module, "run_round", broken)
        journal(client, clicked(4, "A", 2, visitor=1), clicked(5, "A", 2, visitor=5))
        until(lambda: service.last_error is not None, "the round's failure")
        assert attributed(client) == 8
    assert service.wait_idle(PATIENCE)
    assert attributed(client) == 9


def test_a_click_that_comes_late_gets_its_round(client: redis.Redis, warehouse: Warehouse, start: Start) -> None:
    """It decides whose a license is that was signed up for long before; also after loads that needed no round."""
    service = start()
    journal(client, joined("B"), *SALE)
    journal(client, clicked(2, "A", 2, visitor=2))
    assert service.wait_idle(PATIENCE)
    journal(client, clicked(3, "A", 2, visitor=3))
    assert service.wait_idle(PATIENCE)
    rounds = service.rounds
    journal(client, clicked(4, "B", 2, visitor=1))  # the newest before the signup
    assert service.wait_idle(PATIENCE)
    assert service.rounds == rounds + 1
    owed = "select partner_id, sum(amount_cents) as cents from ledger group by all having cents != 0"
    assert warehouse.rows(owed) == [{"partner_id": "B", "cents": 580}]


def test_loads_without_a_round_are_few_and_in_one_piece(
    client: redis.Redis, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A round that is needed looks at all clicks since the last one, so that these must not become many; and a load of
    which nobody knows what it brought, because it failed after it was finished, needs one."""
    monkeypatch.setattr(service_module, "LOADS_WITHOUT_ROUND", 2)
    service = start()
    journal(client, *SALE)
    assert service.wait_idle(PATIENCE)
    seen = [service.rounds]
    for number in range(2, 6):
        journal(client, clicked(number, "A", 2, visitor=number))
        assert service.wait_idle(PATIENCE)
        seen.append(service.rounds)
    assert [after - before for before, after in pairwise(seen)] == [0, 0, 1, 0]
    with monkeypatch.context() as patch:
        patch.setattr(JournalStreams, "publish", refused)
        journal(client, paid("p2", "l1", 1000, 5))
        until(lambda: service.last_error is not None, "an error")
        journal(client, clicked(9, "A", 2, visitor=9))
    assert service.wait_idle(PATIENCE)
    assert service.rounds > seen[-1]
    assert attributed(client) == 10


def refused(*_: object) -> None:
    raise redis.ConnectionError("gone")


def test_a_lost_directory_is_rebuilt_by_itself(client: redis.Redis, start: Start) -> None:
    service = start()
    journal(client, *SALE)
    assert service.wait_idle(PATIENCE)
    assert client.hget(redis_keys.PROGRESS, SETTLED)
    client.flushall()
    journal(client, paid("p2", "l1", 1000, 5))
    until(lambda: client.hexists(redis_keys.PARTNERS, "A"), "the directory")
    assert service.wait_idle(PATIENCE)
    assert client.hget(redis_keys.PAYMENTS, "p1") == b"2900,0,0,0"
    assert client.hget(redis_keys.PROGRESS, SETTLED)
    assert pipeline(client) == {"accepted": 5, "stored": 5, "duplicates": 0, "quarantined": 0, "pending": 0}
    assert attributed(client) == 5


def test_a_replayed_fact_gets_its_round(client: redis.Redis, warehouse: Warehouse, start: Start) -> None:
    service = start()
    broken = fact_row(paid("p1", "l1", 2900, 4)).encode().replace(b'"USD"', b"USD")
    journal(client, *SALE[:3])
    journal_bytes(client, redis_keys.FACT_JOURNAL, "facts", broken, 1)
    assert service.wait_idle(PATIENCE)
    assert earned(warehouse) == 0 and attributed(client) == 4
    stores = ClientStores(warehouse, PROGRAM.data_centers)
    quarantine = Quarantine(stores)
    [item] = quarantine.listed()
    quarantine.replay(client, [item.quarantine_id], {item.quarantine_id: fact_row(SALE[3]).encode()})
    assert service.wait_idle(PATIENCE)
    assert earned(warehouse) == 580
    assert pipeline(client) == {"accepted": 4, "stored": 4, "duplicates": 0, "quarantined": 0, "pending": 0}
    for store in stores.all()[1:]:
        store.drop()
        store.close()


def test_redis_is_killed_and_comes_back(warehouse: Warehouse, tmp_path: Path) -> None:
    socket = tmp_path / "redis.sock"

    def run_redis() -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [find_redis_server()[0], "--port", "0", "--unixsocket", str(socket), "--dir", str(tmp_path), "--save", "",
             "--appendonly", "yes", "--appendfsync", "always"], stdout=subprocess.DEVNULL,
        )  # fmt: skip
        until(lambda: answers(client), "redis-server")
        return process

    def answers(client: redis.Redis) -> bool:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False

    client = redis.Redis(unix_socket_path=str(socket))
    process = run_redis()
    starts = starting(f"unix://{socket}", warehouse, tmp_path)
    try:
        service = next(starts)()
        journal(client, *SALE)
        assert service.wait_idle(PATIENCE)
        journal(client, paid("p2", "l1", 1000, 5))
        process.kill()
        process.wait()
        until(lambda: not service.is_ready, "the loss of Redis to be noticed")
        assert "Redis" in (service.last_error or "")
        process = run_redis()
        assert service.wait_idle(PATIENCE)
        assert service.is_ready
        assert earned(warehouse) == 780
        assert pipeline(client) == {"accepted": 5, "stored": 5, "duplicates": 0, "quarantined": 0, "pending": 0}
    finally:
        next(starts, None)
        process.kill()
        process.wait()
        client.close()
