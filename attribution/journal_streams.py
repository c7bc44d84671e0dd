"""The journal's streams as the loader sees them: reading what waits, trimming what is stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import redis

from attribution.fence import Scripts, unfenced
from tracker import redis_keys

PAGE_ENTRIES = 256  # asked for at once, of all streams together: a batch of clicks takes up to a megabyte


class Entry(NamedTuple):
    """A journal entry as Redis has it."""

    stream: str
    entry_id: str
    fields: Mapping[bytes, bytes]

    @property
    def size(self) -> int:
        """How many bytes its fields hold."""
        return sum(map(len, self.fields.values()))


@dataclass(frozen=True, slots=True)
class Span:
    """Entries of one stream, from and to these ids, both inclusive."""

    stream: str
    first_id: str
    last_id: str


def entry_order(entry_id: str) -> tuple[int, int]:
    """What orders entry ids: milliseconds and sequence."""
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence or 0)


class JournalStreams:
    """All streams of the journal. Raises redis.RedisError when Redis does not answer."""

    def __init__(self, client: redis.Redis, data_centers: Iterable[str], scripts: Scripts = unfenced) -> None:
        """`client` must give bytes (decode_responses=False). `scripts` make what must not be written too late."""
        self._redis = client
        self.counters: dict[str, str] = {
            **{redis_keys.click_journal(i): redis_keys.click_counts(i) for i in range(redis_keys.SHARDS)},
            redis_keys.FACT_JOURNAL: redis_keys.FACT_COUNTS,
        }
        """Counted stream → the hash that holds its `accepted`."""
        # Clients' names are not counted: each is part of a fact that is.
        self.names: tuple[str, ...] = (*self.counters, *map(redis_keys.client_journal, data_centers))
        self._settle = client.register_script(_SETTLE)
        self._publish = scripts(client, _PUBLISH)
        self._settle_clicks = client.register_script(_SETTLE_CLICKS)

    def waiting(self, max_bytes: int) -> tuple[list[Entry], dict[str, int]]:
        """What waits, oldest first within a stream, in the order of `names`; and each counted stream's `accepted`.

        Streams take turns, so that a flood of clicks does not hold up payments. Ends once `max_bytes` were read;
        it may go over by one page.
        """
        read: dict[str, list[Entry]] = {name: [] for name in self.names}
        starts = dict.fromkeys(self.names, "-")
        size, accepted = 0, None
        while starts and size < max_bytes:
            count = PAGE_ENTRIES // len(starts)
            pages, accepted = self._pages(starts, count, accepted)
            for name, page in pages.items():
                read[name] += page
                size += sum(entry.size for entry in page)
                if len(page) < count:
                    del starts[name]
                else:
                    starts[name] = f"({page[-1].entry_id}"
        return [entry for entries in read.values() for entry in entries], accepted or {}

    def _pages(
        self, starts: Mapping[str, str], count: int, accepted: dict[str, int] | None
    ) -> tuple[dict[str, list[Entry]], dict[str, int]]:
        """The next page of each stream, in one round trip, with the counters unless they are known."""
        counted = list(self.counters.items()) if accepted is None else []
        with self._redis.pipeline(transaction=False) as pipe:
            for counter in (hash_key for _, hash_key in counted):
                pipe.hget(counter, "accepted")
            for name, start in starts.items():
                pipe.xrange(name, start, "+", count)
            answers: list[Any] = pipe.execute()
        if accepted is None:
            values = answers[: len(counted)]
            accepted = {name: int(value or 0) for (name, _), value in zip(counted, values, strict=True)}
        pages = zip(starts, answers[len(counted) :], strict=True)
        return {name: _entries(name, page) for name, page in pages}, accepted

    def between(self, spans: Iterable[Span]) -> list[Entry]:
        """The entries of `spans` that are still there, in their order."""
        return [entry for span in spans for entry in self._between(span)]

    def _between(self, span: Span) -> Iterator[Entry]:
        start = span.first_id
        while True:
            answer: Any = self._redis.xrange(span.stream, start, span.last_id, PAGE_ENTRIES)
            page = _entries(span.stream, answer)
            yield from page
            if len(page) < PAGE_ENTRIES:
                return
            start = f"({page[-1].entry_id}"

    def trim(self, spans: Sequence[Span]) -> None:
        """Drop what is stored: everything up to the end of each span."""
        with self._redis.pipeline(transaction=False) as pipe:
            for span in spans:
                milliseconds, sequence = entry_order(span.last_id)
                pipe.xtrim(span.stream, minid=f"{milliseconds}-{sequence + 1}", approximate=False)
            pipe.execute()

    def still_holds(self, span: Span) -> bool:
        """Whether the stream is the one that `span` was taken from, and not one that was emptied or restored since:
        then its entries may be others, or older ones, and a trim would lose them."""
        try:
            info: Any = self._redis.xinfo_stream(span.stream)
        except redis.ResponseError:  # no such key
            return False
        first: Any = info["first-entry"]
        is_past = entry_order(info["last-generated-id"].decode()) >= entry_order(span.last_id)
        return is_past and (first is None or entry_order(first[0].decode()) >= entry_order(span.first_id))

    def settle(self, stream: str, loaded: int) -> tuple[int, int]:
        """Raise a stream's `accepted` to what is loaded plus what waits, if a lost or restored Redis has it lower.

        Returns (accepted as it was, what is loaded or waits). A higher count is left alone: it shows a loss.
        """
        start, found = "-", loaded
        while True:
            is_end, found, rest = self._settle(keys=[stream, self.counters[stream]], args=[start, found])
            if is_end:
                return int(rest), int(found)
            start = f"({rest.decode()}"

    def settle_clicks(self) -> None:
        """Make the count of all shards' accepted clicks what the shards say; they are settled before."""
        shards = [redis_keys.click_counts(shard) for shard in range(redis_keys.SHARDS)]
        self._settle_clicks(keys=[redis_keys.JOURNAL, *shards])

    def publish(self, progress: Mapping[str, int], loaded: Mapping[str, int]) -> None:
        """Tell how far loading has come, and how much room the journal has: `loaded` has the facts of each counted
        stream that wait no more."""
        facts = loaded[redis_keys.FACT_JOURNAL]
        counts = [str(part) for item in progress.items() for part in item]
        keys = [redis_keys.PROGRESS, redis_keys.JOURNAL, redis_keys.FACT_COUNTS]
        self._publish(keys=keys, args=[str(sum(loaded.values()) - facts), str(facts), *counts])


def is_out_of_memory(error: redis.RedisError) -> bool:
    """Whether Redis takes no more because its memory is full. What waits can be read and trimmed all the same."""
    return isinstance(error, redis.OutOfMemoryError) or "OOM command not allowed" in str(error)


def _entries(stream: str, page: Any) -> list[Entry]:
    return [Entry(stream, entry_id.decode(), fields) for entry_id, fields in page]


# KEYS: a stream and the hash with its `accepted`. ARGV: where to go on, and what was found so far (loaded or waiting).
# Looks at up to 1000 entries at a time, so that Redis is never held up; at the end the counter is raised if it is
# too low, as one step with the last look, because trackers go on appending.
_SETTLE = """
local entries = redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', 1000)
local found = tonumber(ARGV[2])
for _, entry in ipairs(entries) do
  for i = 1, #entry[2], 2 do
    if entry[2][i] == 'n' then
      found = found + (tonumber(entry[2][i + 1]) or 0)
    end
  end
end
if #entries == 1000 then
  return {0, found, entries[1000][1]}
end
local accepted = tonumber(redis.call('HGET', KEYS[2], 'accepted') or '0')
if accepted < found then
  redis.call('HSET', KEYS[2], 'accepted', string.format('%.0f', found))
end
return {1, found, accepted}
"""

# KEYS: the hash of progress, and those of the journal's clicks and facts. ARGV: how many clicks and how many facts wait
# no more; then names and counts of progress.
_PUBLISH = """
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
redis.call('HSET', KEYS[2], 'loaded', ARGV[1])
redis.call('HSET', KEYS[3], 'loaded', ARGV[2])
"""

# KEYS: the count of all shards' clicks, then each shard's own. As one step, because trackers go on appending. Like the
# script above it writes only what is wrong, so that a Redis that is out of memory stops neither.
_SETTLE_CLICKS = """
local accepted = 0
for shard = 2, #KEYS do
  accepted = accepted + tonumber(redis.call('HGET', KEYS[shard], 'accepted') or '0')
end
if accepted ~= tonumber(redis.call('HGET', KEYS[1], 'accepted') or '0') then
  redis.call('HSET', KEYS[1], 'accepted', string.format('%.0f', accepted))
end
"""
