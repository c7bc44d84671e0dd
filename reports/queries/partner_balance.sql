-- Purpose: partners' commission by tier, and how much of it is blocked (R12).
-- Grain: one row per partner and tier that has lines.
-- Parameters: partner_ids, now_ms.
with
    lines as materialized (
        select partner_id, tier, license_id, amount_cents
        from ledger
        where partner_id in {partner_ids:Array(String)} and round <= (select max(round) from rounds)
    ),
    held as (
        select license_id
        from license_events
        where kind in ('blocked', 'unblocked')
            and occurred_at <= fromUnixTimestamp64Milli({now_ms:Int64}, 'UTC')
            and license_id in (select license_id from lines)
        group by license_id
        having argMax(kind, (occurred_at, event_id)) = 'blocked'
    )
select
    partner_id,
    tier,
    sum(amount_cents) as commission_cents,
    sumIf(amount_cents, license_id in (select license_id from held)) as blocked_cents
from lines
group by partner_id, tier
order by partner_id, tier
