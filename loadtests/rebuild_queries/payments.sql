-- Payments, the same number for each license, after its signup.
-- Grain: one row per payment. Parameters: first and count, of the payments to make; signups, start_ms, load_id.
insert into payments (payment_id, license_id, paid_at, amount_cents, currency, method, load_id)
select
    concat('P', hex(sipHash64(number, 11))),
    concat('L', hex(sipHash64(toUInt64(number % {signups:UInt64}), 9))),
    fromUnixTimestamp64Milli({start_ms:Int64} + toInt64(80 * 86400000 + sipHash64(number, 5) % 28512000000), 'UTC'),
    1000 + sipHash64(number, 6) % 9000,
    'USD',
    'card',
    {load_id:UInt64}
from numbers({first:UInt64}, {count:UInt64})
