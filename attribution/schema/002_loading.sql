-- The loader's own book-keeping.

-- One row per load and stream that it takes when the load begins; one row per stream of the journal when it is
-- finished. The newest per (load_id, stream) counts. The …_sum columns are of finished loads only: sums over all time
-- of that stream, so that the newest finished load tells all totals and old loads can be forgotten.
create table if not exists loads
(
    load_id         UInt64,
    stream          String,               -- Redis key of the stream
    first_id        String,               -- journal entry ids, both inclusive; empty when nothing was taken from it
    last_id         String,
    is_finished     UInt8,
    stored          UInt64,
    duplicates      UInt64,
    quarantined     Int64,                -- below zero when rows left the quarantine by a replay
    stored_sum      UInt64,
    duplicates_sum  UInt64,
    quarantined_sum UInt64,
    written_at      DateTime64(3, 'UTC')
)
engine = ReplacingMergeTree(is_finished) order by (load_id, stream);

-- What could not be understood, with its bytes and the reason; it can be replayed.
create table if not exists quarantine
(
    quarantine_id  String,                -- from stream, entry, field and line: the same however often it is loaded
    stream         String,
    entry_id       String,
    field          LowCardinality(String),-- of the entry: clicks, facts or entries; empty for the whole entry
    line           UInt32,                -- which line of the field, from 0
    facts          UInt32,                -- how many accepted facts these bytes stand for
    bytes          String,
    reason         String,
    load_id        UInt64,
    quarantined_at DateTime64(3, 'UTC')
)
engine = MergeTree order by (stream, entry_id, line);

-- Which quarantined rows were put back, and the load that took them.
create table if not exists quarantine_replays
(
    quarantine_id String,
    load_id       UInt64
)
engine = MergeTree order by quarantine_id;
