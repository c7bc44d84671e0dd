-- What partners did with the subscriptions of licenses that they pay for, each change a fact of its own. No rule of the
-- program asks for it: it is the history that partners see, and what a subscription's state is rebuilt from.
create table if not exists subscription_events
(
    event_id      String,
    license_id    String,
    occurred_at   DateTime64(3, 'UTC'),
    number        UInt32,                    -- of the license's changes, from 1
    kind          LowCardinality(String),    -- created, changed, closing, closed, transferred
    plan          LowCardinality(String),    -- the terms that hold from then on; of what is closed, those that it had
    billing_cycle LowCardinality(String),    -- monthly, annual
    seats         UInt32,
    started_at    DateTime64(3, 'UTC'),      -- when the billing cycle began that runs
    closes_at     Nullable(DateTime64(3, 'UTC')),
    digest        String,
    load_id       UInt64
)
engine = MergeTree order by (license_id, event_id);

-- Before, the newest hundred were in the license's state. Only of the last one its cycle and end are known.
insert into subscription_events
    (event_id, license_id, occurred_at, number, kind, plan, billing_cycle, seats, started_at, closes_at, digest, load_id)
with kept as (
    select
        key as license,
        JSONExtractRaw(value, 'subscription') as terms,
        JSONExtractArrayRaw(value, 'subscription_events') as events
    from directory_entries final
    where kind = 'solution-license'
)
select
    concat('migrated-', license, '-', toString(place)) as migrated_id,
    license,
    fromUnixTimestamp64Milli(JSONExtractInt(event, 'at'), 'UTC') as changed_at,
    place,
    if(terms = '' and place = length(events), 'transferred', JSONExtractString(event, 'kind')),
    JSONExtractString(event, 'plan'),
    JSONExtractString(event, 'billing_cycle'),
    JSONExtractUInt(event, 'seats'),
    if(
        terms != '' and place = length(events),
        fromUnixTimestamp64Milli(JSONExtractInt(terms, 'started_at'), 'UTC'),
        changed_at
    ),
    if(
        terms != '' and place = length(events),
        fromUnixTimestamp64Milli(JSONExtract(terms, 'closes_at', 'Nullable(Int64)'), 'UTC'),
        null
    ),
    '',
    0
from kept
array join events as event, arrayEnumerate(events) as place
where migrated_id not in (select event_id from subscription_events);
