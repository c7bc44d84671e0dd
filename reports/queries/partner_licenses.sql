-- Purpose: the licenses bound to a partner, with their stage and what they earned, newest first.
-- Grain: one row per license.
-- Parameters: partner_id, license_id (that license only; empty for all), now_ms, before_ms and before_id (the page
--   starts after this license), most (rows to read), trial_days (of a license that names none).
with
    (select max(round) from rounds) as published,
    fromUnixTimestamp64Milli({before_ms:Int64}, 'UTC') as before_at,
    fromUnixTimestamp64Milli({now_ms:Int64}, 'UTC') as now_at,
    licenses as materialized (
        select license_id, partner_id, product, started_at, origin, payment_origin, transferred_at, reason, campaign
        from partner_bindings final
        where partner_id = {partner_id:String} and is_current
            and ({license_id:String} = '' or license_id = {license_id:String})
            and (started_at, license_id) < (before_at, {before_id:String})
        order by started_at desc, license_id desc
        limit {most:UInt32}
    ),
    payments_by_payer as (
        select
            payments.license_id as license_id,
            payments.paid_at as paid_at,
            payments.amount_cents as amount_cents,
            payments.discount_cents as discount_cents,
            licenses.payment_origin = 'partner'
                and (licenses.transferred_at is null or payments.paid_at < licenses.transferred_at)
                as is_partners
        from payments
        inner join licenses on licenses.license_id = payments.license_id
        where payments.license_id in (select license_id from licenses)
    ),
    money as (
        select
            license_id,
            sumIf(ifNull(discount_cents, 0), is_partners) as given_discount_cents,
            groupArrayIf(amount_cents, is_partners and discount_cents is null) as paid_without_discount
        from payments_by_payer
        group by license_id
    ),
    earned as (include license_earnings),
    clients as (
        select license_id, client_email_masked from signups
        where license_id in (select license_id from licenses)
        union all
        select license_id, client_email_masked from solution_licenses
        where license_id in (select license_id from licenses)
    ),
    standings as (include license_standings)
select
    standings.license_id as license_id,
    standings.product as product,
    toUnixTimestamp64Milli(standings.started_at) as started_ms,
    standings.origin as origin,
    standings.campaign as campaign,
    standings.reason as reason,
    if(
        standings.payment_origin = 'partner'
            and (standings.transferred_at is null or standings.transferred_at > now_at),
        'partner', 'client'
    ) as payer,
    multiIf(
        standings.is_expired, 'expired',
        standings.has_paid, 'paid',
        standings.has_card, 'card_added',
        standings.is_qualified, 'qualified',
        'trial'
    ) as stage,
    standings.is_blocked as is_blocked,
    standings.payment_count as payment_count,
    money.given_discount_cents as given_discount_cents,
    money.paid_without_discount as paid_without_discount,
    earned.earned_cents as earned_cents,
    clients.client_email_masked as client_email_masked
from standings
left join money on money.license_id = standings.license_id
left join earned on earned.license_id = standings.license_id
left any join clients on clients.license_id = standings.license_id
order by standings.started_at desc, standings.license_id desc
