"""The quarantine: listed with its bytes, and put back so that every accepted fact stays accounted for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from attribution.client_stores import ClientStores
from attribution.loader import Loader
from attribution.quarantine import Quarantine
from attribution.warehouse import Warehouse
from tests.attribution.fact_writer import clicked, paid
from tests.attribution.journaling import journal, journal_bytes, pipeline, waiting_entries
from tracker import redis_keys
from tracker.events import ClientNamed, click_row, fact_row
from tracker.program import Program

NOW_MS = 1_760_000_000_000
PROGRAM = Program()
BROKEN = fact_row(paid("p1", "l", 5, 1)).encode().replace(b'"USD"', b"USD")
MENDED = fact_row(paid("p1", "l", 5, 1)).encode()


@pytest.fixture
def client(empty_redis_url: str) -> Iterator[redis.Redis]:
    opened = redis.Redis.from_url(empty_redis_url)
    yield opened
    opened.close()


@pytest.fixture
def stores(warehouse: Warehouse) -> Iterator[ClientStores]:
    opened = ClientStores(warehouse, PROGRAM.data_centers)
    yield opened
    for store in opened.all()[1:]:
        store.drop()
        store.close()


@pytest.fixture
def quarantine(stores: ClientStores) -> Quarantine:
    return Quarantine(stores)


def load(client: redis.Redis, warehouse: Warehouse) -> dict[str, int]:
    loader = Loader(client, warehouse, PROGRAM, lambda: NOW_MS)
    while loader.load_once():
        pass
    assert waiting_entries(client) == 0
    return pipeline(client)


def counts(stored: int = 0, duplicates: int = 0, quarantined: int = 0) -> dict[str, int]:
    accepted = stored + duplicates + quarantined
    return {"accepted": accepted, "stored": stored, "duplicates": duplicates, "quarantined": quarantined, "pending": 0}


def test_a_mended_fact_goes_back(client: redis.Redis, warehouse: Warehouse, quarantine: Quarantine) -> None:
    journal_bytes(
        client, redis_keys.FACT_JOURNAL, "facts", BROKEN + b"\n" + fact_row(paid("p2", "l", 5, 1)).encode(), 2
    )
    assert load(client, warehouse) == counts(stored=1, quarantined=1)
    [item] = quarantine.listed()
    assert (item.bytes, item.field, item.line, item.facts) == (BROKEN, "facts", 0, 1)
    assert item.quarantined_at == NOW_MS
    assert quarantine.replay(client, [item.quarantine_id, "unknown"], {item.quarantine_id: MENDED}) == [
        item.quarantine_id
    ]
    assert pipeline(client) == counts(stored=1, quarantined=1)  # it waits, and is still counted where it was
    assert load(client, warehouse) == counts(stored=2)
    assert quarantine.listed() == []
    assert quarantine.replay(client, [item.quarantine_id]) == []


def test_what_is_still_broken_comes_back(client: redis.Redis, warehouse: Warehouse, quarantine: Quarantine) -> None:
    journal_bytes(client, redis_keys.FACT_JOURNAL, "facts", BROKEN, 1)
    load(client, warehouse)
    [item] = quarantine.listed()
    quarantine.replay(client, [item.quarantine_id])
    assert load(client, warehouse) == counts(quarantined=1)
    [again] = quarantine.listed()
    assert again.bytes == BROKEN and again.quarantine_id != item.quarantine_id


def test_replayed_twice_is_taken_once(client: redis.Redis, warehouse: Warehouse, quarantine: Quarantine) -> None:
    journal_bytes(client, redis_keys.FACT_JOURNAL, "facts", BROKEN, 1)
    load(client, warehouse)
    [item] = quarantine.listed()
    for _ in range(2):
        quarantine.replay(client, [item.quarantine_id], {item.quarantine_id: MENDED})
    assert load(client, warehouse) == counts(stored=1)
    # … also when the second comes in a load of its own, and is not even the same.
    entry = {"facts": fact_row(paid("p3", "l", 5, 1)), "n": 0, "replays": item.quarantine_id}
    client.xadd(redis_keys.FACT_JOURNAL, entry)
    assert load(client, warehouse) == counts(stored=1)


def test_a_replayed_fact_that_is_known_by_now_is_a_duplicate(
    client: redis.Redis, warehouse: Warehouse, quarantine: Quarantine
) -> None:
    journal_bytes(client, redis_keys.FACT_JOURNAL, "facts", BROKEN, 1)
    journal(client, paid("p1", "l", 5, 1))
    load(client, warehouse)
    [item] = quarantine.listed()
    quarantine.replay(client, [item.quarantine_id], {item.quarantine_id: MENDED})
    assert load(client, warehouse) == counts(stored=1, duplicates=1)


def test_clicks_and_whole_entries_go_back(client: redis.Redis, warehouse: Warehouse, quarantine: Quarantine) -> None:
    rows = [click_row(clicked(i, "A", 1)).encode() for i in range(3)]
    stream = redis_keys.click_journal(3)
    journal_bytes(client, stream, "clicks", rows[0] + b"torn\n" + rows[1], 3)
    journal_bytes(client, stream, "clicks", rows[1] + rows[2], 1)
    assert load(client, warehouse) == counts(stored=2, quarantined=2)
    torn, whole = quarantine.listed()
    assert (torn.bytes, whole.bytes) == (b"torn", rows[1] + rows[2])
    mended = {torn.quarantine_id: rows[1], whole.quarantine_id: rows[2]}
    quarantine.replay(client, list(mended), mended)
    assert load(client, warehouse) == counts(stored=3, duplicates=1)


def test_clients_data_are_replayed_where_they_belong(
    client: redis.Redis, warehouse: Warehouse, quarantine: Quarantine, stores: ClientStores
) -> None:
    row = fact_row(ClientNamed(license_id="l1", data_center="eu-west3", email="jane@example.com"))
    stream = redis_keys.client_journal("eu-west3")
    client.xadd(stream, {"clients": row + "}"})
    assert load(client, warehouse) == counts()
    [item] = quarantine.listed()
    assert (item.stream, item.facts) == (stream, 0)
    assert warehouse.rows("select * from quarantine") == []
    quarantine.replay(client, [item.quarantine_id], {item.quarantine_id: row.encode()})
    assert load(client, warehouse) == counts()
    assert quarantine.listed() == []
    assert stores.of("eu-west3").rows("select email from clients final") == [{"email": "jane@example.com"}]


def test_a_crash_in_a_load_of_replays(
    client: redis.Redis, warehouse: Warehouse, quarantine: Quarantine, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal_bytes(client, redis_keys.FACT_JOURNAL, "facts", BROKEN + b"\n" + BROKEN.replace(b"p1", b"p2"), 2)
    load(client, warehouse)
    one, two = quarantine.listed()
    quarantine.replay(client, [one.quarantine_id, two.quarantine_id], {one.quarantine_id: MENDED})
    loader = Loader(client, warehouse, PROGRAM, lambda: NOW_MS)

    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(loader, "_finish", broken)
    with pytest.raises(RuntimeError):
        loader.load_once()
    assert load(client, warehouse) == counts(stored=1, quarantined=1)
    assert [item.bytes for item in quarantine.listed()] == [two.bytes]
