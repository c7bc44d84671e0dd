"""The quarantine: what could not be understood, with its bytes and the reason, and the way back.

A replay puts a piece back into its journal stream, as it was or mended, in an entry that names it (`replays`) and
counts no new facts. The load that takes it marks it as replayed and takes its facts out of `quarantined`, so that
`accepted = stored + duplicates + quarantined + pending` holds throughout. Replaying twice is harmless.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import redis

from attribution.client_stores import ClientStores
from attribution.incoming import Refused
from attribution.journal_streams import Entry
from attribution.staging import QUERIES
from attribution.warehouse import Warehouse
from tracker import redis_keys
from tracker.errors import Unavailable

MAX_IDS = 500  # ids that go into one statement as a parameter
_COLUMNS = ["quarantine_id", "stream", "entry_id", "field", "line", "facts", "bytes", "reason", "load_id",
            "quarantined_at"]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A piece in quarantine. `facts`: how many accepted facts it stands for; `quarantined_at` in milliseconds."""

    quarantine_id: str
    stream: str
    entry_id: str
    field: str
    line: int
    facts: int
    bytes: bytes
    reason: str
    quarantined_at: int


class Quarantine:
    """What is in quarantine in the main database and the data centers' stores. Raises WarehouseUnavailable."""

    def __init__(self, stores: ClientStores) -> None:
        self._stores = stores

    def listed(self, limit: int = 1000) -> list[Quarantined]:
        """What was not put back, oldest first, up to `limit` of each store."""
        return [
            Quarantined(bytes=base64.b64decode(row.pop("bytes_base64")), **row)
            for store in self._stores.all()
            for row in store.rows(QUERIES["quarantine_list"], row_limit=limit)
        ]

    def replay(self, client: redis.Redis, ids: Sequence[str], mended: Mapping[str, bytes] | None = None) -> list[str]:
        """Put pieces back into the journal; `mended` has the bytes to use in place of a piece's own.

        Returns the ids that were put back: those that are in quarantine. The next load takes them.
        Raises Unavailable when Redis does not answer; then some may have been put back.
        """
        mended = mended or {}
        put_back: list[str] = []
        for chunk in _chunks(sorted(set(ids))):
            rows = [row for store in self._stores.all() for row in store.rows(QUERIES["quarantine_find"], ids=chunk)]
            for row in rows:
                stream, quarantine_id = row["stream"], row["quarantine_id"]
                data = mended.get(quarantine_id, base64.b64decode(row["bytes_base64"]))
                fields = {row["field"] or _main_field(stream): data, "n": 0, "replays": quarantine_id}
                try:
                    client.xadd(stream, fields)
                except redis.RedisError as error:
                    raise Unavailable(f"Redis does not answer: {error}") from error
                put_back.append(quarantine_id)
        return put_back

    def may_come_back(self, entries: Iterable[Entry], load_id: int) -> dict[str, int]:
        """What `entries` bring back and no other load took back: quarantine id → the facts that it stands for."""
        wanted: dict[str, list[str]] = {}
        for entry in entries:
            if b"replays" in entry.fields:
                wanted.setdefault(entry.stream, []).append(entry.fields[b"replays"].decode(errors="replace"))
        found: dict[str, int] = {}
        for stream, ids in wanted.items():
            store = self._stores.of_stream(stream)
            for chunk in _chunks(ids):
                rows = store.rows(QUERIES["quarantine_open_replays"], ids=chunk, load_id=load_id)
                found.update((row["quarantine_id"], row["facts"]) for row in rows)
        return found

    def put(self, refused: Iterable[Refused], load_id: int, now_ms: int, is_again: bool) -> Counter[str]:
        """Write what a load refused, each piece once. Returns the facts that it has put here, by stream.

        `is_again`: the load was begun before, so that some of it, or what is in Redis no more, may be here already.
        """
        facts: Counter[str] = Counter()
        rows: dict[Warehouse, dict[str, list[object]]] = {}
        for item in refused:
            piece, entry = item.piece, item.piece.entry
            facts[entry.stream] += item.facts
            rows.setdefault(self._stores.of_stream(entry.stream), {})[item.quarantine_id] = [
                item.quarantine_id.encode(), entry.stream.encode(), entry.entry_id.encode(), piece.field.encode(),
                piece.first_line, item.facts, piece.data, item.reason.encode(), load_id, now_ms,
            ]  # fmt: skip
        for store in self._stores.all() if is_again else ():
            for row in store.rows(QUERIES["quarantine_of_load"], load_id=load_id):
                if rows.get(store, {}).pop(row["quarantine_id"], None) is None:
                    facts[row["stream"]] += row["facts"]
        for store, by_id in rows.items():
            store.insert("quarantine", _COLUMNS, list(by_id.values()))
        return facts

    def mark_replayed(self, replayed: Mapping[str, tuple[str, int]], load_id: int) -> None:
        """Note which pieces a load took back: quarantine id → stream and facts."""
        by_store: dict[Warehouse, list[list[object]]] = {}
        for quarantine_id, (stream, _) in replayed.items():
            by_store.setdefault(self._stores.of_stream(stream), []).append([quarantine_id, load_id])
        for store, rows in by_store.items():
            store.insert("quarantine_replays", ["quarantine_id", "load_id"], rows)


def _main_field(stream: str) -> str:
    """The entry field that a stream's rows are in, for an entry that had none that we know."""
    if stream == redis_keys.FACT_JOURNAL:
        return "facts"
    return "clients" if stream.startswith(redis_keys.client_journal("")) else "clicks"


def _chunks(ids: Sequence[str]) -> Iterable[Sequence[str]]:
    return (ids[start : start + MAX_IDS] for start in range(0, len(ids), MAX_IDS))
