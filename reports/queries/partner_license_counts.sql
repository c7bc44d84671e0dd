-- Purpose: how many licenses of a partner, and of the partners they referred, are trials or paid now. A license that
--   expired after its newest payment is neither.
-- Grain: one row per program (affiliate, solution; referred for those of referred partners) and product.
-- Parameters: partner_id, now_ms.
with
    (select max(round) from rounds) as published,
    fromUnixTimestamp64Milli({now_ms:Int64}, 'UTC') as now_at,
    referred as (
        select partner_id
        from recruitments final
        where recruiter_id = {partner_id:String}
    ),
    owners as (
        select {partner_id:String} as partner_id
        union all
        select partner_id from referred
    ),
    licenses as (
        select
            license_id,
            product,
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
    standing as (
        select
            licenses.program as program,
            licenses.product as product,
            stages.has_card as has_card,
            stages.expired_at > toDateTime64(0, 3, 'UTC') and stages.expired_at >= money.last_paid_at as is_expired,
            money.payment_count > 0 as has_paid
        from licenses
        left join stages on stages.license_id = licenses.license_id
        left join money on money.license_id = licenses.license_id
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
