-- The store of one data center: personal data of the clients whose licenses live there, and nowhere else (R20).

-- One row per license and naming; the greatest version counts.
create table if not exists clients
(
    license_id String,
    email      String,
    name       String,
    company    String,
    version    UInt64,                    -- grows along the journal: milliseconds of the entry's id, then its sequence
    load_id    UInt64
)
engine = ReplacingMergeTree(version) order by license_id;

-- What could not be understood of this data center's journal; as in the main database.
create table if not exists quarantine
(
    quarantine_id  String,
    stream         String,
    entry_id       String,
    field          LowCardinality(String),-- clients; empty for the whole entry
    line           UInt32,
    facts          UInt32,                -- always 0: names of clients are not counted as facts
    bytes          String,
    reason         String,
    load_id        UInt64,
    quarantined_at DateTime64(3, 'UTC')
)
engine = MergeTree order by (stream, entry_id, line);

create table if not exists quarantine_replays
(
    quarantine_id String,
    load_id       UInt64
)
engine = MergeTree order by quarantine_id;
