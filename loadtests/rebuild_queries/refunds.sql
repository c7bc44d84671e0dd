-- Refunds of one payment in twenty, some of them more than was paid.
-- Grain: one row per refund. Parameters: payments, start_ms.
insert into refunds (refund_id, payment_id, refunded_at, amount_cents, kind, load_id)
select
    concat('R', toString(number)),
    concat('P', hex(sipHash64(number * 20, 11))),
    fromUnixTimestamp64Milli({start_ms:Int64} + toInt64(420 * 86400000), 'UTC'),
    500 + sipHash64(number, 12) % 3000,
    'refund',
    1
from numbers(intDiv({payments:UInt64}, 20))
