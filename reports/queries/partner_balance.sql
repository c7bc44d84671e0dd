-- Purpose: partners' commission by tier, and how much of it is blocked (R12); by the day of the money event where asked.
-- Grain: one row per partner and tier that has lines, and day where asked. Parameters: partner_ids, by_day, now_ms.
with
    held as (
        select license_id
        from license_events
        where kind in ('blocked', 'unblocked') and occurred_at <= fromUnixTimestamp64Milli({now_ms:Int64}, 'UTC')
        group by license_id
        having argMax(kind, (occurred_at, event_id)) = 'blocked'
    )
select
    partner_id,
    tier,
    if({by_day:UInt8} = 1, toString(toDate32(occurred_at, 'UTC')), '') as day_text,
    sum(amount_cents) as commission_cents,
    sumIf(amount_cents, license_id in (select license_id from held)) as blocked_cents
from ledger
where partner_id in {partner_ids:Array(String)} and round <= (select max(round) from rounds)
group by partner_id, tier, day_text
