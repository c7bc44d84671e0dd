"""Reads clients' records (R20) where they are now: in the journal's stream of their data center, or in its store.

What a step wrote can be read at once: the directory knows in which entry of the stream the newest version of a record
is. The loader takes entries out of the stream only after their records are in the store.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeVar, cast

from redis.asyncio import Redis

from attribution.client_stores import ClientStores
from attribution.journal_lines import CLIENT_TABLES, ClientTable
from attribution.journal_streams import entry_order
from attribution.staging import QUERIES
from tracker import redis_keys
from tracker.events import ClientRecord

KEYS_PER_QUERY = 5_000

Record = TypeVar("Record", bound=ClientRecord)


class ClientRecords:
    """Reads records of any type. Raises redis.RedisError, and Unavailable where a store does not answer."""

    def __init__(
        self, redis: Redis, stores: ClientStores, in_thread: Callable[[Callable[[], Any]], Awaitable[Any]]
    ) -> None:
        """`redis` must give bytes; `in_thread` runs blocking work on the stores."""
        self._redis = redis
        self._stores = stores
        self._in_thread = in_thread

    async def read(self, blanks: Iterable[Record]) -> dict[str, Record]:
        """The records that `blanks` name by their key fields and data center, by their `record`; the blank one where
        nothing is known."""
        found = {blank.record: blank for blank in blanks}
        by_place: dict[tuple[str, str], list[Record]] = {}
        for blank in found.values():
            by_place.setdefault((blank.data_center, blank.type), []).append(blank)
        for (data_center, kind), wanted in by_place.items():
            rows = await self._waiting(data_center, wanted)
            stored = [blank for blank in wanted if blank.record not in rows]
            for start in range(0, len(stored), KEYS_PER_QUERY):
                rows |= await self._stored(data_center, CLIENT_TABLES[kind], stored[start : start + KEYS_PER_QUERY])
            for name, row in rows.items():
                found[name] = type(found[name])(**row, data_center=data_center)
        return found

    async def one(self, blank: Record) -> Record:
        """The record that `blank` names."""
        return (await self.read([blank]))[blank.record]

    async def _waiting(self, data_center: str, wanted: list[Record]) -> dict[str, Mapping[str, Any]]:
        """The columns of those records that wait in the stream."""
        stream = redis_keys.client_journal(data_center)
        names = [blank.record for blank in wanted]
        known = await cast("Awaitable[list[bytes | None]]", self._redis.hmget(redis_keys.CLIENT_ENTRIES, names))
        first: Any = await self._redis.xrange(stream, count=1)
        if not first:
            return {}
        oldest = entry_order(first[0][0].decode())
        waiting = {
            name: entry_id.decode()
            for name, entry_id in zip(names, known, strict=True)
            if entry_id is not None and entry_order(entry_id.decode()) >= oldest
        }
        rows: dict[str, Mapping[str, Any]] = {}
        async with self._redis.pipeline(transaction=False) as pipe:
            for entry_id in waiting.values():
                pipe.xrange(stream, entry_id, entry_id)
            entries: list[Any] = await pipe.execute()
        by_name = {blank.record: blank for blank in wanted}
        for name, entry in zip(waiting, entries, strict=True):
            if entry:
                row = _row_of(by_name[name], entry[0][1].get(b"clients", b""))
                if row is not None:
                    rows[name] = row
        return rows

    async def _stored(self, data_center: str, table: ClientTable, wanted: list[Record]) -> dict[str, Mapping[str, Any]]:
        """The columns of those records that are in the store."""
        keys = {tuple(getattr(blank, name) for name in _key_names(table)): blank.record for blank in wanted}

        def query() -> list[dict[str, Any]]:
            store = self._stores.of(data_center)
            return store.rows(
                QUERIES["client_records"], table=table.table, ids=sorted({key[0] for key in keys}), key=table.columns[0]
            )

        rows = await self._in_thread(query)
        found: dict[str, Mapping[str, Any]] = {}
        for row in rows:
            name = keys.get(tuple(row[column] for column in _key_names(table)))
            if name is not None:
                found[name] = {column: row[column] for column in table.columns}
        return found


def _key_names(table: ClientTable) -> tuple[str, ...]:
    return table.columns[: table.key_columns]


def _row_of(blank: ClientRecord, lines: bytes) -> Mapping[str, Any] | None:
    """The columns of a record among the lines of an entry; the last of them."""
    table = CLIENT_TABLES[blank.type]
    found = None
    for line in lines.splitlines():
        document = json.loads(line)
        if document["type"] == blank.type and all(document[k] == getattr(blank, k) for k in _key_names(table)):
            found = {column: document.get(column, "") for column in table.columns}
    return found
