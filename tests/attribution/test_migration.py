"""Schema files are applied once, by one at a time, whoever starts on one ClickHouse at the same moment or dies."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from attribution import migration_claim
from attribution.migration_claim import ClaimLost, claimed_schema
from attribution.warehouse import Warehouse
from tests.attribution.test_service import until
from tracker.errors import Unavailable

SLOW_TWICE = """
create table if not exists t (n UInt64) engine = MergeTree order by n;
insert into t select 1 from numbers(1) where sleep(0.1) = 0;
insert into t select count() from t where sleep(0.1) = 0;
"""
"""A file whose rows tell how often, and how near to each other, it was applied."""

ONCE = [1, 1]

Open = Callable[[], Warehouse]


@pytest.fixture
def open_again(clickhouse_url: str) -> Iterator[Open]:
    """One new database, opened as often as asked for, each time with clients of its own as a process has."""
    database = f"test_{uuid.uuid4().hex[:12]}"
    with ExitStack() as stack:
        first = Warehouse.open(clickhouse_url, database)
        stack.callback(first.close)
        stack.callback(first.drop)

        def open_again() -> Warehouse:
            opened = Warehouse.open(clickhouse_url, database)
            stack.callback(opened.close)
            return opened

        yield open_again


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "001_a.sql").write_text(SLOW_TWICE)
    return tmp_path


def all_at_once(works: list[Callable[[], None]]) -> list[Exception]:
    """Each in a thread of its own, begun at the same moment; what they raised."""
    begin = threading.Barrier(len(works))
    raised: list[Exception] = []

    def working(work: Callable[[], None]) -> None:
        begin.wait()
        try:
            work()
        except Exception as error:
            raised.append(error)

    threads = [threading.Thread(target=working, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def rows_of(warehouse: Warehouse) -> list[int]:
    return [row["n"] for row in warehouse.rows("select n from t order by n")]


def test_of_many_who_start_at_once_one_applies_a_file(open_again: Open, folder: Path) -> None:
    starting = [open_again() for _ in range(4)]
    assert all_at_once([lambda one=one: one.migrate(folder) for one in starting]) == []  # type: ignore[misc]
    assert rows_of(starting[0]) == ONCE
    assert starting[0].rows("select file from schema_versions") == [{"file": "001_a.sql"}]


def test_many_who_start_at_once_bring_an_empty_database_up_to_date(open_again: Open) -> None:
    starting = [open_again() for _ in range(2)]
    assert all_at_once([one.migrate for one in starting]) == []
    files = [row["file"] for row in starting[0].rows("select file from schema_versions")]
    assert len(files) == len(set(files)) > 12


def test_a_statement_may_take_longer_than_a_claim_lives(
    open_again: Open, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migration_claim, "CLAIM_SECONDS", 1)
    monkeypatch.setattr(migration_claim, "RENEW_SECONDS", 0.1)
    (folder / "001_a.sql").write_text(SLOW_TWICE.replace("0.1", "1.2", 1))
    starting = [open_again() for _ in range(2)]
    assert all_at_once([lambda one=one: one.migrate(folder) for one in starting]) == []  # type: ignore[misc]
    assert rows_of(starting[0]) == ONCE


def test_a_dead_process_holds_nobody_up_for_long(
    open_again: Open, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It died with its claim: nobody gives that back, and until it has run out nobody else applies anything."""
    monkeypatch.setattr(migration_claim, "CLAIM_SECONDS", 1)
    monkeypatch.setattr(migration_claim, "RENEW_SECONDS", 60.0)
    warehouse, dead = open_again(), open_again()
    claim = migration_claim._Claim(dead)
    dead.run(migration_claim.QUERIES["migration_claim_create"])
    began_s = time.monotonic()
    claim.take()
    warehouse.migrate(folder)
    assert time.monotonic() - began_s > 0.9
    assert rows_of(warehouse) == ONCE
    claim.give_back()  # for its thread to end


def test_who_waits_too_long_says_for_whom(open_again: Open, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migration_claim, "WAIT_SECONDS", 0.3)
    warehouse = open_again()
    refused = pytest.raises(Unavailable, match=r"process \d+ is bringing database test_\w+ up to date")
    with claimed_schema(open_again()), refused:
        warehouse.migrate(folder)
    warehouse.migrate(folder)
    assert rows_of(warehouse) == ONCE


class Stopped(Warehouse):
    """Its process is stopped before the file's last statement, for longer than a claim lives."""

    asleep_s = 0.0

    def run(self, query: str, /, **parameters: object) -> None:
        if query.startswith("insert into t select count()"):
            self.asleep_s += migration_claim.CLAIM_SECONDS
        super().run(query, **parameters)


def test_who_was_stopped_for_longer_applies_no_further_statement(
    open_again: Open, folder: Path, clickhouse_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one repeats the file from its beginning."""
    other = open_again()
    (folder / "001_a.sql").write_text(SLOW_TWICE + "insert into t values (100);")
    stopped = Stopped.open(clickhouse_url, other.database)
    assert isinstance(stopped, Stopped)
    clock_s = migration_claim.passed_s
    monkeypatch.setattr(migration_claim, "passed_s", lambda: clock_s() + stopped.asleep_s)
    with pytest.raises(ClaimLost):
        stopped.migrate(folder)
    assert rows_of(other) == [1, 1]
    assert other.rows("select file from schema_versions") == []
    stopped.close()


def test_a_claim_that_was_dead_is_not_renewed(open_again: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may have it by now: who is told after its end that it lives would be a second holder."""
    asleep_s = 0.0
    clock_s = migration_claim.passed_s
    monkeypatch.setattr(migration_claim, "passed_s", lambda: clock_s() + asleep_s)
    monkeypatch.setattr(migration_claim, "RENEW_SECONDS", 0.02)
    warehouse = open_again()
    with claimed_schema(warehouse) as require:
        require()
        asleep_s = migration_claim.CLAIM_SECONDS
        until(lambda: not any(thread.name == "schema claim" for thread in threading.enumerate()), "it gives up")
        with pytest.raises(ClaimLost):
            require()
