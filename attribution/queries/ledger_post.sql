-- Lines for the payments of which the ledger says nothing yet.
-- Grain: one row per line.
-- Parameters: posted_at_ms, id_prefix (how every entry id begins: its time, as UUIDs of version 7 have it), and those of
-- parts/dues.sql.
insert into ledger (
    entry_id, round, posted_at, occurred_at, partner_id, tier, kind, money_event_id, payment_id, license_id,
    referred_id, product, basis_cents, percent_hundredths, amount_cents, currency, reason
)
select
    concat({id_prefix:String}, substring(toString(generateUUIDv7()), 15)),
    {round:UInt64},
    fromUnixTimestamp64Milli({posted_at_ms:Int64}, 'UTC'),
    occurred_at,
    partner_id,
    tier,
    kind,
    money_event_id,
    payment_id,
    license_id,
    referred_id,
    product,
    basis_cents,
    percent_hundredths,
    amount_cents,
    currency,
    ''
from (include dues)
-- Many lines are sorted and written by two threads, in parts of so many rows: that takes less time than one large part.
settings max_insert_threads = 2, min_insert_block_size_rows = 262144, min_insert_block_size_bytes = 0
