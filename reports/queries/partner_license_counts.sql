-- Purpose: how many licenses of a partner, and of the partners they referred, are trials or paid now. A license that
--   expired after its newest payment, or was never paid until its trial ended, is neither.
-- Grain: one row per program (affiliate, solution; referred for those of referred partners) and product.
-- Parameters: partner_id, now_ms, trial_days (of a license that names none).
with
    (select max(round) from rounds) as published,
    fromUnixTimestamp64Milli({now_ms:Int64}, 'UTC') as now_at,
    toDateTime64(0, 3, 'UTC') as never,
    referred as materialized (
        select partner_id
        from recruitments final
        where recruiter_id = {partner_id:String}
    ),
    owners as (
        select {partner_id:String} as partner_id
        union all
        select partner_id from referred
    ),
    licenses as materialized (
        select
            license_id,
            product,
            started_at,
            payment_origin,
            transferred_at,
            multiIf(partner_id != {partner_id:String}, 'referred', origin = 'solution', 'solution', 'affiliate') as program
        from bindings final
        where license_id in (select license_id from bindings where partner_id in (select partner_id from owners))
            and partner_id in (select partner_id from owners)
            and round <= published
    ),
    stages as (
        select
            license_id,
            countIf(kind = 'card_added') > 0 as has_card,
            maxIf(occurred_at, kind = 'expired') as expired_at
        from license_events
        where license_id in (select license_id from licenses) and occurred_at <= now_at
        group by license_id
    ),
    money as (
        select license_id, count() as payment_count, max(paid_at) as last_paid_at
        from payments
        where license_id in (select license_id from licenses)
        group by license_id
    ),
    trial_lengths as (
        select
            license_id,
            coalesce(
                trial_days, nullIf(JSONExtractUInt(answered, 'deal', 'trial_days'), 0), {trial_days:UInt16}
            ) as trial_length
        from signups
        where license_id in (select license_id from licenses)
        union all
        select license_id, ifNull(trial_days, {trial_days:UInt16}) as trial_length
        from solution_licenses
        where license_id in (select license_id from licenses)
    ),
    subscriptions as (
        select license_id, argMax(tuple(kind, closes_at), number) as newest
        from subscription_events
        where license_id in (select license_id from licenses)
        group by license_id
    ),
    standing as (
        select
            licenses.program as program,
            licenses.product as product,
            stages.has_card as has_card,
            -- R13: a transfer begins a new trial
            if(licenses.payment_origin = 'partner', ifNull(licenses.transferred_at, never), never) as renewed_at,
            if(
                renewed_at > never, addDays(renewed_at, 14), addDays(licenses.started_at, trial_lengths.trial_length)
            ) as trial_ends_at,
            greatest(
                stages.expired_at,
                if(
                    subscriptions.newest.1 = 'closing' and subscriptions.newest.2 <= now_at,
                    ifNull(subscriptions.newest.2, never),
                    never
                )
            ) as ended_at,
            money.payment_count > 0 and money.last_paid_at >= renewed_at as has_paid,
            (ended_at > renewed_at and ended_at >= money.last_paid_at)
                or (not has_paid and subscriptions.newest.1 in ('', 'transferred') and trial_ends_at <= now_at)
                as is_expired
        from licenses
        left join stages on stages.license_id = licenses.license_id
        left join money on money.license_id = licenses.license_id
        left join trial_lengths on trial_lengths.license_id = licenses.license_id
        left join subscriptions on subscriptions.license_id = licenses.license_id
    )
select
    program,
    product,
    countIf(not is_expired and not has_paid) as trials,
    countIf(not is_expired and not has_paid and has_card) as trials_cc,
    countIf(not is_expired and has_paid) as paid
from standing
group by program, product
order by program, product
