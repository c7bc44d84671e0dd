-- What others were told, or wait to be, for lists and counts: one row per delivery, as it was last. Their documents are in
-- directory_entries, from where each row comes in the step that writes its document. No money depends on it.
create table if not exists deliveries
(
    ordered_at  DateTime64(3, 'UTC'),
    delivery_id String,
    channel     LowCardinality(String),
    status      LowCardinality(String),
    written_at  DateTime64(3, 'UTC')
)
engine = ReplacingMergeTree(written_at) order by (ordered_at, delivery_id);

create materialized view if not exists deliveries_of_entries to deliveries as
select
    fromUnixTimestamp64Milli(JSONExtractInt(value, 'ordered_at'), 'UTC') as ordered_at,
    key as delivery_id,
    JSONExtractString(value, 'channel') as channel,
    JSONExtractString(value, 'status') as status,
    written_at
from directory_entries
where kind = 'delivery' and value != '';

-- Those of before.
insert into deliveries (ordered_at, delivery_id, channel, status, written_at)
select
    fromUnixTimestamp64Milli(JSONExtractInt(value, 'ordered_at'), 'UTC'),
    key,
    JSONExtractString(value, 'channel'),
    JSONExtractString(value, 'status'),
    written_at
from directory_entries
where kind = 'delivery'
    and value != ''
    and key not in (select delivery_id from deliveries);
