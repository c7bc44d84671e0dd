-- Purpose: how many of a partner's affiliate licenses are in trial, paid and expired now. It is what license_standings.sql
--   says, in short: no partner subscribes for a license that came by a signup, and nobody hands it over.
-- Grain: one row.
-- Parameters: partner_id, now_ms, trial_days (of a license that names none).
with
    fromUnixTimestamp64Milli({now_ms:Int64}, 'UTC') as now_at,
    licenses as materialized (
        select license_id
        from partner_bindings final
        where partner_id = {partner_id:String} and is_current and origin = 'signup'
    ),
    expiries as (
        select license_id, max(occurred_at) as expired_at
        from license_events
        where kind = 'expired' and license_id in (select license_id from licenses)
            and occurred_at <= now_at
        group by license_id
    ),
    money as (include license_payments),
    trials as (include signup_trials),
    stages as (
        select
            money.payment_count > 0 as is_paid,
            (expiries.license_id != '' and expiries.expired_at >= money.last_paid_at)
                or (not is_paid and trials.ends_at <= now_at) as is_expired
        from licenses
        left join expiries on expiries.license_id = licenses.license_id
        left join money on money.license_id = licenses.license_id
        left join trials on trials.license_id = licenses.license_id
    )
select
    countIf(not is_expired and not is_paid) as trials,
    countIf(not is_expired and is_paid) as paid,
    countIf(is_expired) as expired
from stages
