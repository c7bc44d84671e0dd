-- Purpose: where `licenses` (license_id, payment_origin, transferred_at) stand now. One that expired after its newest payment,
--   or was never paid until its trial ended, is expired.
-- Grain: one row per license, with all that `licenses` says of it.
-- Parameters: now_ms, trial_days (of a license that names none).
with
    fromUnixTimestamp64Milli({now_ms:Int64}, 'UTC') as now_at,
    toDateTime64(0, 3, 'UTC') as never,
    stages as (include license_stages),
    money as (include license_payments),
    trials as (include trials),
    subscriptions as (
        select license_id, argMax(tuple(kind, closes_at), number) as newest
        from subscription_events
        where license_id in (select license_id from licenses)
        group by license_id
    )
select
    licenses.license_id as license_id,
    licenses.* except license_id,
    stages.is_qualified as is_qualified,
    stages.has_card as has_card,
    stages.is_blocked as is_blocked,
    money.payment_count as payment_count,
    -- R13: a transfer begins a new trial
    if(licenses.payment_origin = 'partner', ifNull(licenses.transferred_at, never), never) as renewed_at,
    if(renewed_at > never, addDays(renewed_at, 14), trials.ends_at) as trial_ends_at,
    greatest(
        stages.expired_at,
        if(
            subscriptions.newest.1 = 'closing' and subscriptions.newest.2 <= now_at,
            ifNull(subscriptions.newest.2, never),
            never
        )
    ) as ended_at,
    payment_count > 0 and money.last_paid_at >= renewed_at as has_paid,
    (ended_at > renewed_at and ended_at >= money.last_paid_at)
        or (not has_paid and subscriptions.newest.1 in ('', 'transferred') and trial_ends_at <= now_at)
        as is_expired
from licenses
left join stages on stages.license_id = licenses.license_id
left join money on money.license_id = licenses.license_id
left join trials on trials.license_id = licenses.license_id
left join subscriptions on subscriptions.license_id = licenses.license_id
