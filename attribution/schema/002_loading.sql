-- The loader's own book-keeping.

-- One row per load and stream when the load begins, one more when it is finished: the newest per (load_id, stream) counts.
create table loads
(
    load_id     UInt64,
    stream      String,                   -- Redis key of the stream
    first_id    String,                   -- journal entry ids, both inclusive
    last_id     String,
    is_finished UInt8,
    stored      UInt64,
    duplicates  UInt64,
    quarantined UInt64,
    written_at  DateTime64(3, 'UTC')
)
engine = ReplacingMergeTree(is_finished) order by (load_id, stream);

-- What could not be understood, with its bytes and the reason; it can be replayed.
create table quarantine
(
    stream         String,
    entry_id       String,
    line           UInt32,                -- which row of the entry, from 0
    bytes          String,
    reason         String,
    load_id        UInt64,
    quarantined_at DateTime64(3, 'UTC')
)
engine = MergeTree order by (stream, entry_id, line);
