-- A published ledger line.
-- Grain: one row per line. Times in ms.
-- Parameters: round, entry_id, partner_id ('' for any partner's).
select
    entry_id,
    round,
    toUnixTimestamp64Milli(posted_at) as posted_at,
    toUnixTimestamp64Milli(occurred_at) as occurred_at,
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
    reason
from ledger
where entry_id = {entry_id:String}
    and round <= {round:UInt64}
    and ({partner_id:String} = '' or partner_id = {partner_id:String})
