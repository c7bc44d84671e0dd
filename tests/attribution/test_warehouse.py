"""The warehouse: the engine, its errors in our words, migrations that only go forward."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from attribution.audit import audit
from attribution.migration import statements
from attribution.warehouse import (
    QueryFailed,
    UnreadableRows,
    Warehouse,
    WarehouseUnavailable,
    load_queries,
    open_client_store,
)
from tracker.errors import SettingError, Unavailable
from tracker.program import Program

AT = 1_736_251_200_123


@pytest.fixture
def bare(clickhouse_url: str) -> Iterator[Warehouse]:
    """A database without a schema."""
    opened = Warehouse.open(clickhouse_url, f"test_{uuid.uuid4().hex[:12]}")
    yield opened
    opened.drop()
    opened.close()


def test_values_come_back_as_they_went_in(bare: Warehouse) -> None:
    bare.run("create table t (id UUID, at DateTime64(3, 'UTC'), name String, many Array(String), maybe Nullable(Int64))"
             " engine = MergeTree order by id")  # fmt: skip
    name = str(uuid.uuid4())
    nasty = "tab\t quote' \\ back\n line {x:String} ünï 😀"
    bare.insert("t", ["id", "at", "name", "many", "maybe"], [[name, AT, nasty, [nasty, ""], None]])
    query = "select id, toUnixTimestamp64Milli(at) as at, name, many, maybe from t where name = {name:String}"
    assert bare.rows(query, name=nasty) == [{"id": name, "at": AT, "name": nasty, "many": [nasty, ""], "maybe": None}]
    assert bare.rows(query, name="other") == []
    assert len(bare.rows("select id from t where has({names:Array(String)}, name)", names=[nasty, "x"])) == 1
    assert len(bare.rows("-- a comment; with a semicolon\nselect id from t where id = {id:UUID}", id=name)) == 1
    bare.insert("t", ["id"], [])
    bare.insert_bytes("t", ["id"], b"", "TSV")


def test_an_insert_knows_the_types_until_one_fails(bare: Warehouse) -> None:
    """Types are asked for once; only a migration changes them, and after it the first insert that does not fit asks."""
    bare.run("create table t (n UInt8) engine = MergeTree order by tuple()")
    bare.insert("t", ["n"], [[7]])
    bare.run("alter table t modify column n UInt64")
    with pytest.raises(QueryFailed):
        bare.insert("t", ["n"], [[2**40]])
    bare.insert("t", ["n"], [[2**40]])
    assert bare.rows("select n from t order by n") == [{"n": 7}, {"n": 2**40}]


def test_raw_rows_are_taken_whole_or_not_at_all(bare: Warehouse) -> None:
    bare.run("create table t (id UInt32, name String) engine = Memory")
    many = b"".join(b"%d\tname\n" % i for i in range(200_000))
    with pytest.raises(UnreadableRows, match="Cannot parse"):
        bare.insert_bytes("t", ["id", "name"], many + b"x\tname\n", "TSV")
    assert bare.rows("select count() as n from t") == [{"n": 0}]
    bare.insert_bytes("t", ["id", "name"], many, "TSV")
    bare.insert_bytes("t", ["id", "name"], b'{"id":1,"extra":[1],"name":"a"}\n{"name":null,"id":2}\n', "JSONEachRow")
    assert bare.rows("select count() as n from t") == [{"n": 200_002}]


def test_refused_statements_are_told_from_an_absent_clickhouse(bare: Warehouse, tmp_path: Path) -> None:
    for broken in ("selec 1", "select * from nothing", "select {missing:UInt8}"):
        with pytest.raises(QueryFailed):
            bare.rows(broken)
    with pytest.raises(WarehouseUnavailable, match="does not answer"):
        Warehouse.open("http://someone:secret-word@127.0.0.1:1")
    try:
        Warehouse.open("http://someone:secret-word@127.0.0.1:1")
    except Unavailable as error:
        assert "secret-word" not in str(error)
    with pytest.raises(WarehouseUnavailable, match="embedded"):
        Warehouse.open(f"chdb://{tmp_path}/another")
    with pytest.raises(ValueError, match="name"):
        bare.sibling("no; drop")


def test_threads_and_siblings_have_clients_of_their_own(bare: Warehouse) -> None:
    sibling = bare.sibling(f"{bare.database}_other")
    bare.run("create table t (n UInt8) engine = Memory")
    sibling.run("create table t (n UInt8) engine = Memory")
    sibling.insert("t", ["n"], [[7]])
    seen: list[tuple[int, int]] = []

    def work(number: int) -> None:
        bare.insert("t", ["n"], [[number]])
        seen.append((bare.rows("select count() as n from t")[0]["n"] > 0, sibling.rows("select n from t")[0]["n"]))

    threads = [threading.Thread(target=work, args=[number]) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [(True, 7)] * 6
    assert bare.rows("select sum(n) as n from t") == [{"n": 15}]
    bare.close()
    assert bare.rows("select sum(n) as n from t") == [{"n": 15}]
    sibling.drop()
    sibling.close()


def test_migrations_run_once_and_in_order(bare: Warehouse, tmp_path: Path) -> None:
    (tmp_path / "002_b.sql").write_text("-- b; two\ninsert into t values (2);\ninsert into t values (3);\n")
    (tmp_path / "001_a.sql").write_text("create table if not exists t (n UInt8) engine = MergeTree order by n;")
    bare.migrate(tmp_path)
    bare.migrate(tmp_path)
    (tmp_path / "003_c.sql").write_text("insert into t values (4)")
    bare.migrate(tmp_path)
    assert [row["n"] for row in bare.rows("select n from t order by n")] == [2, 3, 4]
    assert len(bare.rows("select file from schema_versions")) == 3
    (tmp_path / "003_c.sql").unlink()
    with pytest.raises(SettingError, match="newer"):
        bare.migrate(tmp_path)


def test_a_migration_that_died_is_repeated(bare: Warehouse, tmp_path: Path) -> None:
    path = tmp_path / "001_a.sql"
    path.write_text("create table if not exists t (n UInt8) engine = MergeTree order by n;\nselec;")
    with pytest.raises(QueryFailed):
        bare.migrate(tmp_path)
    path.write_text("create table if not exists t (n UInt8) engine = MergeTree order by n;\n")
    bare.migrate(tmp_path)


def test_the_schema_can_be_repeated(warehouse: Warehouse) -> None:
    """A crash between a file's last statement and its record repeats the file."""
    folder = Path(__file__).parents[2] / "attribution" / "schema"
    for path in [*sorted(folder.glob("*.sql")), *sorted((folder / "clients").glob("*.sql"))]:
        for statement in statements(path.read_text()):
            # The last: an update of what has nothing yet, a setting, a projection for the rows of before, and a table
            # made beside another to take its place.
            guards = (
                *(" if not exists ", "if exists", " not in (select ", " is null\n", " modify setting\n"),
                *(" materialize projection ", "insert into rebuilt_", "exchange tables rebuilt_"),
            )
            assert any(guard in statement for guard in guards), f"{path.name}: {statement[:80]}"
    warehouse.run("truncate table schema_versions")
    warehouse.migrate()


def test_a_client_store_is_a_database_of_its_own(warehouse: Warehouse) -> None:
    store = open_client_store(warehouse, "eu-west3")
    assert store.database == f"{warehouse.database}_eu_west3"
    assert store.rows("select * from clients") == []
    with pytest.raises(QueryFailed):
        warehouse.rows("select * from clients")
    store.drop()
    store.close()


def test_queries_are_loaded_by_name(tmp_path: Path) -> None:
    (tmp_path / "one.sql").write_text("-- one\nselect 1;\n")
    (tmp_path / "notes.txt").write_text("no")
    assert load_queries(tmp_path) == {"one": "-- one\nselect 1"}


def test_statements_include_parts(warehouse: Warehouse, tmp_path: Path) -> None:
    """A part is a select in brackets, reads what the statement names, and may include others."""
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "doubled.sql").write_text("select n * 2 as n from numbered  -- twice\n")
    (tmp_path / "parts" / "eightfold.sql").write_text("with twice as (include doubled) select n * 4 as n from twice\n")
    (tmp_path / "both.sql").write_text(
        "with numbered as (select number as n from numbers(3)), other as (include eightfold)\n"
        "select n from other union all select n from (include doubled)\n"
    )
    statements_by_name = load_queries(tmp_path)
    assert list(statements_by_name) == ["both"]
    assert sorted(row["n"] for row in warehouse.rows(statements_by_name["both"])) == [0, 0, 2, 4, 8, 16]
    (tmp_path / "wrong.sql").write_text("select * from (include nothing)")
    with pytest.raises(FileNotFoundError, match=r"nothing\.sql"):
        load_queries(tmp_path)


def test_subscription_events_of_before_they_were_facts_are_moved(warehouse: Warehouse) -> None:
    """Schema 010 takes them out of the states that were kept, once, and the audit finds nothing wrong with them."""
    at = 1_770_000_000_000

    def event(number: int, kind: str, seats: int) -> dict[str, Any]:
        return {"at": at + number, "kind": kind, "plan": "team", "billing_cycle": "monthly", "seats": seats}

    terms = {"plan": "team", "billing_cycle": "monthly", "seats": 5, "started_at": at + 1}
    states: dict[str, dict[str, Any]] = {
        "renews": {
            "subscription": {**terms, "closes_at": None},
            "events": [event(1, "created", 3), event(2, "changed", 5)],
        },
        "closes": {
            "subscription": {**terms, "closes_at": at + 9},
            "events": [event(1, "created", 5), event(2, "closing", 5)],
        },
        "moved": {"events": [event(1, "created", 5), event(2, "closed", 5)]},
        "none": {"events": []},
    }
    rows = [
        [
            "solution-license",
            name,
            json.dumps({"license_id": name, "subscription_events": one.pop("events"), **one}),
            at,
            0,
        ]
        for name, one in states.items()
    ]
    names = ["kind", "key", "value", "written_at", "load_id"]
    warehouse.insert("directory_entries", names, rows)
    for _ in range(2):  # a crash repeats a file
        forgotten = "alter table schema_versions delete where file like '010%' settings mutations_sync = 1"
        warehouse.run(forgotten)
        warehouse.migrate()
    moved = warehouse.rows(
        "select license_id, number, kind, seats, toUnixTimestamp64Milli(occurred_at) as at, "
        "toUnixTimestamp64Milli(closes_at) as closes_ms from subscription_events order by license_id, number"
    )
    assert [tuple(row.values()) for row in moved] == [
        ("closes", 1, "created", 5, at + 1, None), ("closes", 2, "closing", 5, at + 2, at + 9),
        ("moved", 1, "created", 5, at + 1, None), ("moved", 2, "transferred", 5, at + 2, None),
        ("renews", 1, "created", 3, at + 1, None), ("renews", 2, "changed", 5, at + 2, None),
    ]  # fmt: skip
    assert audit(warehouse, Program()).finding_counts["subscription_differs"] == 0


def test_trials_of_before_their_length_was_in_the_fact_keep_it(warehouse: Warehouse) -> None:
    """Schema 012 takes it out of the states that were kept, 14 days where they name none. Imported ones had none."""
    names = ["license_id", "partner_id", "created_at", "trial_days", "load_id"]
    lengths = {"long": None, "usual": None, "imported": None, "new": 30}
    rows = [[name, "P", datetime(2026, 1, 1, tzinfo=UTC), days, 1] for name, days in lengths.items()]
    warehouse.insert("solution_licenses", names, rows)
    states: dict[str, dict[str, int]] = {"long": {"trial_days": 60}, "usual": {}, "new": {"trial_days": 30}}
    warehouse.insert(
        "directory_entries",
        ["kind", "key", "value", "written_at", "load_id"],
        [["solution-license", name, json.dumps({"license_id": name, **state}), 1, 0] for name, state in states.items()],
    )
    for _ in range(2):  # a crash repeats a file
        warehouse.run("alter table schema_versions delete where file like '012%' settings mutations_sync = 1")
        warehouse.migrate()
    found = warehouse.rows("select license_id, trial_days from solution_licenses")
    assert {row["license_id"]: row["trial_days"] for row in found} == {
        "long": 60, "usual": 14, "imported": None, "new": 30,
    }  # fmt: skip


def test_deliveries_of_before_are_listed_as_they_were_last(warehouse: Warehouse) -> None:
    """Schema 016 takes them out of their documents; those that come later need no migration."""

    def write(delivery_id: str, status: str, written_at: int) -> None:
        document = json.dumps({"ordered_at": written_at // 10 * 10, "channel": "mail", "status": status})
        row = ["delivery", delivery_id, document, written_at, 1]
        warehouse.insert("directory_entries", ["kind", "key", "value", "written_at", "load_id"], [row])

    write("msg_1", "waiting", 1_770_000_000_001)
    write("msg_1", "delivered", 1_770_000_000_005)
    warehouse.run("truncate table deliveries")
    for _ in range(2):  # a crash repeats a file
        warehouse.run("alter table schema_versions delete where file like '016%' settings mutations_sync = 1")
        warehouse.migrate()
    write("msg_2", "waiting", 1_770_000_000_011)
    found = warehouse.rows(
        "select delivery_id, channel, status, toUnixTimestamp64Milli(ordered_at) as at "
        "from deliveries final order by at"
    )
    assert [tuple(row.values()) for row in found] == [
        ("msg_1", "mail", "delivered", 1_770_000_000_000), ("msg_2", "mail", "waiting", 1_770_000_000_010),
    ]  # fmt: skip
