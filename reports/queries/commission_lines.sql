-- Purpose: ledger lines, newest money event first.
-- Grain: one row per ledger line.
-- Parameters: partner_id, license_id, payment_id (each empty for all), tier (0 for both), from_ms and to_ms (of
--   occurred_at: inclusive, exclusive), entry_id (that line only; empty for all), before_ms and before_id (the page
--   starts after this line), most (rows to read).
select
    entry_id,
    toUnixTimestamp64Milli(posted_at) as posted_ms,
    toUnixTimestamp64Milli(occurred_at) as occurred_ms,
    partner_id,
    tier,
    kind,
    payment_id,
    license_id,
    referred_id,
    product,
    basis_cents,
    percent_hundredths,
    amount_cents,
    currency,
    reason
from ledger
where round <= (select max(round) from rounds)
    and ({partner_id:String} = '' or partner_id = {partner_id:String})
    and ({license_id:String} = '' or license_id = {license_id:String})
    and ({payment_id:String} = '' or payment_id = {payment_id:String})
    and ({entry_id:String} = '' or entry_id = {entry_id:String})
    and ({tier:UInt8} = 0 or tier = {tier:UInt8})
    and occurred_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
    and occurred_at < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
    and (occurred_at, entry_id) < (fromUnixTimestamp64Milli({before_ms:Int64}, 'UTC'), {before_id:String})
order by occurred_at desc, entry_id desc
limit {most:UInt32}
