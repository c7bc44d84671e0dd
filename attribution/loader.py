"""Loads the journal into ClickHouse, exactly once in effect (docs/architecture.md, "Loading, exactly once").

A load has a number. It (1) writes which entries it takes, (2) stages their rows, (3) stores those whose id is not
there yet, tagged with the number, and counts the clicks among them by day, (4) writes its counts, (5) publishes
progress and trims the journal. After a failure at any step the stores alone say how to go on: an unfinished load is
taken again under its number, where rows with that number are its own and rows with another are duplicates.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import redis

from attribution.client_stores import ClientStores
from attribution.fence import Scripts, unfenced
from attribution.incoming import Incoming, read_entries
from attribution.journal_lines import CLIENT_TABLES, FACT_TABLES
from attribution.journal_streams import Entry, JournalStreams, Span, is_out_of_memory
from attribution.loads import Counts, begin_load, finish_load, read_loads
from attribution.quarantine import Quarantine
from attribution.staging import QUERIES, Staging
from attribution.warehouse import Warehouse
from tracker import redis_keys
from tracker.errors import Unavailable
from tracker.events import Clicked
from tracker.program import Program

MAX_LOAD_BYTES = 32 * 1024 * 1024  # of journal read for one load; it takes about four times that in memory
KEEP_LOADS = 10_000  # newer loads stay in the table `loads` for people to look at
FORGET_EVERY = 1_000

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Load:
    """A finished load, in facts. `total` is how many accepted facts are loaded over all time, this load included."""

    load_id: int
    spans: tuple[Span, ...]
    stored: int
    duplicates: int
    quarantined: int
    total: int
    by_type: Mapping[str, int]
    """Type of fact, and `click` → how many were stored."""
    has_more: bool
    """Whether the load was as big as one may be, so that more is likely to wait."""


class Loader:
    """One loader per program: two at once would store the same facts twice. For use from one thread."""

    def __init__(
        self,
        client: redis.Redis,
        warehouse: Warehouse,
        program: Program,
        now_ms: Callable[[], int],
        scripts: Scripts = unfenced,
    ) -> None:
        """`client` must give bytes. `warehouse` is migrated. Where others may take over, both are fenced (fence.py)."""
        self._redis = client
        self._warehouse = warehouse
        self._now_ms = now_ms
        self.streams = JournalStreams(client, program.data_centers, scripts)
        self._staging = Staging(warehouse, {name: number for number, name in enumerate(self.streams.names)})
        self._stores = ClientStores(warehouse, program.data_centers)
        self._quarantine = Quarantine(self._stores)
        self._sums = Counts()
        self._lost: Counter[str] = Counter()
        self._newest = 0
        self._unfinished: tuple[Span, ...] = ()
        self.finished_load = 0
        """The newest finished load's number."""
        self.resets = 0
        """How often Redis was met anew: at the start, and after it was away, emptied or restored."""
        self._is_recovered = False
        self._is_settled = False
        self._is_published = False

    @property
    def total(self) -> int:
        """How many accepted facts are loaded: stored, duplicates or quarantined."""
        return sum(self._sums.totals().values())

    def load_once(self) -> Load | None:
        """Take what waits in the journal, up to a bound; None when nothing waits.

        Raises Unavailable when Redis or ClickHouse does not answer. Nothing is lost by it: call again.
        """
        try:
            self.recover()
            if self._unfinished:
                return self._take(self._unfinished, self.streams.between(self._unfinished), is_again=True)
            if not self._is_published:
                self._publish()
            entries, accepted = self.streams.waiting(MAX_LOAD_BYTES)
            self._watch(accepted)
            if not entries:
                return None
            spans = _spans(entries)
            self._newest += 1
            begin_load(self._warehouse, self._newest, spans, self._now_ms())
            return self._take(spans, entries, is_again=False)
        except redis.RedisError as error:
            self._is_recovered = self._is_settled = False
            raise Unavailable(f"Redis does not answer: {error}") from error
        except BaseException:
            self._is_recovered = False
            raise

    def recover(self) -> None:
        """After a start or a failure: learn from ClickHouse how far the loads came and which was begun and not
        finished, and finish the publishing of the last one. Does nothing when all that is known."""
        if self._is_recovered:
            return
        loads = read_loads(self._warehouse)
        self._sums, self._newest, self._unfinished = loads.sums, loads.newest, loads.unfinished
        self.finished_load = loads.newest_finished
        self._staging.prepare()
        self.streams.trim([span for span in loads.finished if self.streams.still_holds(span)])
        if not self._is_settled:
            self._settle()
        self._publish()
        self._is_recovered = True

    def forget(self) -> None:
        """Somebody else may have loaded meanwhile: the next call learns anew how far the loads came."""
        self._is_recovered = False

    def _settle(self) -> None:
        """Make the counters of accepted facts agree with what is loaded and what waits; see JournalStreams.settle."""
        for stream in self.streams.counters:
            accepted, found = self.streams.settle(stream, self._sums.loaded(stream))
            self._lost[stream] = max(0, accepted - found)
            if accepted < found:
                log.warning("%s: Redis had counted %d accepted facts, %d are known; corrected", stream, accepted, found)
            elif accepted > found:
                log.error("%s: %d facts were accepted, %d are known: Redis lost the others", stream, accepted, found)
        self.streams.settle_clicks()
        self._is_settled = True
        self.resets += 1

    def _watch(self, accepted: Mapping[str, int]) -> None:
        """Notice a Redis that was emptied or restored from an older state: fewer were accepted than are loaded."""
        if any(count < self._sums.loaded(stream) for stream, count in accepted.items()):
            self._settle()

    def _take(self, spans: Sequence[Span], entries: Sequence[Entry], is_again: bool) -> Load:
        """Steps 2 to 5 of a load. `is_again`: some of it may have been done before."""
        size = sum(entry.size for entry in entries)
        incoming = read_entries(entries, self._quarantine.may_come_back(entries, self._newest))
        stored, by_type = self._store(incoming, is_again)
        quarantined = self._quarantine.put(incoming.refused, self._newest, self._now_ms(), is_again)
        self._quarantine.mark_replayed(incoming.replayed, self._newest)
        counts = Counts(stored=stored, quarantined=quarantined)
        for stream, received in incoming.received.items():
            counts.duplicates[stream] = max(0, received - stored[stream] - quarantined[stream])
        for stream, facts in incoming.replayed.values():
            counts.quarantined[stream] -= facts
        self._finish(spans, counts)
        self._publish()
        self.streams.trim(spans)
        if self._newest % FORGET_EVERY == 0 and self._newest > KEEP_LOADS:
            self._warehouse.run(QUERIES["loader_forget_loads"], before=self._newest - KEEP_LOADS)
        return Load(
            self._newest,
            tuple(spans),
            **counts.totals(),
            total=self.total,
            by_type=by_type,
            has_more=is_again or size >= MAX_LOAD_BYTES,
        )

    def _store(self, incoming: Incoming, is_again: bool) -> tuple[Counter[str], Counter[str]]:
        """Stage and store everything. Returns how many facts this load has stored, by stream and by type."""
        stored: Counter[str] = Counter()
        by_type: Counter[str] = Counter()
        if incoming.clicks:
            stored, refused = self._staging.store_clicks(incoming.clicks, self._newest, is_again)
            incoming.refused += refused
        for kind, pieces in incoming.facts.items():
            incoming.refused += self._staging.store_facts(kind, pieces, self._newest)
        if is_again:  # what was stored before and is in Redis no more, should Redis have been emptied in between
            self._staging.count_days_again(self._newest)
            missed = self._staging.stored_rows("clicks", self._newest) - stored.total()
            stored[redis_keys.click_journal(0)] += missed
        by_type[Clicked.type] = stored.total()
        for kind, fact in FACT_TABLES.items():
            if is_again or kind in incoming.facts:
                by_type[kind] = self._staging.stored_rows(fact.table, self._newest)
        stored[redis_keys.FACT_JOURNAL] = by_type.total() - by_type[Clicked.type]
        self._store_uncounted(incoming)
        return stored, by_type

    def _store_uncounted(self, incoming: Incoming) -> None:
        """Directory changes and clients' records: the newest of a key counts; repeating them changes nothing."""
        rows = [[*entry, self._newest] for entry in incoming.entries]
        self._warehouse.insert("directory_entries", ["kind", "key", "value", "written_at", "load_id"], rows)
        for (stream, kind), clients in incoming.clients.items():
            table = CLIENT_TABLES[kind]
            named = [[*client, self._newest] for client in clients.values()]
            self._stores.of_stream(stream).insert(table.table, [*table.columns, "version", "load_id"], named)

    def _finish(self, spans: Sequence[Span], counts: Counts) -> None:
        sums = Counts()
        sums.add(self._sums)
        sums.add(counts)
        finish_load(self._warehouse, self._newest, self.streams.names, spans, counts, sums, self._now_ms())
        self._sums, self._unfinished, self.finished_load = sums, (), self._newest

    def _publish(self) -> None:
        """Tell how far loading has come. Where Redis is out of memory that is left for later: loading makes room."""
        # What Redis lost takes no room in it.
        gone = {stream: self._sums.loaded(stream) + self._lost[stream] for stream in self.streams.counters}
        self._is_published = False
        try:
            self.streams.publish(self._sums.totals(), gone)
            self._is_published = True
        except redis.ResponseError as error:
            if not is_out_of_memory(error):
                raise
            log.debug("progress is not published: %s", error)


def _spans(entries: Sequence[Entry]) -> list[Span]:
    """The span of each stream in `entries`, which are in order within a stream."""
    firsts: dict[str, str] = {}
    lasts: dict[str, str] = {}
    for entry in entries:
        firsts.setdefault(entry.stream, entry.entry_id)
        lasts[entry.stream] = entry.entry_id
    return [Span(stream, first_id, lasts[stream]) for stream, first_id in firsts.items()]
