-- Purpose: the licenses bound to a partner, with their stage and what they earned, newest first.
-- Grain: one row per license.
-- Parameters: partner_id, license_id (that license only; empty for all), now_ms, before_ms and before_id (the page
--   starts after this license), most (rows to read), trial_days (of a license that names none).
with
    (select max(round) from rounds) as published,
    fromUnixTimestamp64Milli({before_ms:Int64}, 'UTC') as before_at,
    fromUnixTimestamp64Milli({now_ms:Int64}, 'UTC') as now_at,
    toDateTime64(0, 3, 'UTC') as never,
    newest_bindings as (
        select license_id, partner_id, product, started_at, origin, payment_origin, transferred_at, reason, campaign
        from bindings
        where round <= published
            and license_id in (select license_id from bindings where partner_id = {partner_id:String})
        order by round desc
        limit 1 by license_id
    ),
    licenses_page as materialized (
        select *
        from newest_bindings
        where partner_id = {partner_id:String}
            and ({license_id:String} = '' or license_id = {license_id:String})
            and (started_at, license_id) < (before_at, {before_id:String})
        order by started_at desc, license_id desc
        limit {most:UInt32}
    ),
    stage_events as (
        select
            license_id,
            countIf(kind = 'qualified') > 0 as is_qualified,
            countIf(kind = 'card_added') > 0 as has_card,
            maxIf(occurred_at, kind = 'expired') as expired_at,
            argMaxIf(kind, (occurred_at, event_id), kind in ('blocked', 'unblocked')) = 'blocked' as is_blocked
        from license_events
        where license_id in (select license_id from licenses_page) and occurred_at <= now_at
        group by license_id
    ),
    payments_by_payer as (
        select
            payments.license_id as license_id,
            payments.paid_at as paid_at,
            payments.amount_cents as amount_cents,
            payments.discount_cents as discount_cents,
            licenses_page.payment_origin = 'partner'
                and (licenses_page.transferred_at is null or payments.paid_at < licenses_page.transferred_at)
                as is_partners
        from payments
        inner join licenses_page on licenses_page.license_id = payments.license_id
        where payments.license_id in (select license_id from licenses_page)
    ),
    money as (
        select
            license_id,
            count() as payment_count,
            max(paid_at) as last_paid_at,
            sumIf(ifNull(discount_cents, 0), is_partners) as given_discount_cents,
            groupArrayIf(amount_cents, is_partners and discount_cents is null) as paid_without_discount
        from payments_by_payer
        group by license_id
    ),
    earned as (
        select license_id, sum(amount_cents) as earned_cents
        from ledger
        where partner_id = {partner_id:String} and tier = 1 and round <= published
            and license_id in (select license_id from licenses_page)
        group by license_id
    ),
    clients as (
        select license_id, client_email_masked from signups
        where license_id in (select license_id from licenses_page)
        union all
        select license_id, client_email_masked from solution_licenses
        where license_id in (select license_id from licenses_page)
    ),
    trial_lengths as (
        select
            license_id,
            coalesce(
                trial_days, nullIf(JSONExtractUInt(answered, 'deal', 'trial_days'), 0), {trial_days:UInt16}
            ) as trial_length
        from signups
        where license_id in (select license_id from licenses_page)
        union all
        select license_id, ifNull(trial_days, {trial_days:UInt16}) as trial_length
        from solution_licenses
        where license_id in (select license_id from licenses_page)
    ),
    subscriptions as (
        select license_id, argMax(tuple(kind, closes_at), number) as newest
        from subscription_events
        where license_id in (select license_id from licenses_page)
        group by license_id
    ),
    standing as (
        select
            licenses_page.license_id as license_id,
            -- R13: a transfer begins a new trial
            if(licenses_page.payment_origin = 'partner', ifNull(licenses_page.transferred_at, never), never) as renewed_at,
            if(
                renewed_at > never, addDays(renewed_at, 14), addDays(licenses_page.started_at, trial_lengths.trial_length)
            ) as trial_ends_at,
            greatest(
                stage_events.expired_at,
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
        from licenses_page
        left join stage_events on stage_events.license_id = licenses_page.license_id
        left join money on money.license_id = licenses_page.license_id
        left join trial_lengths on trial_lengths.license_id = licenses_page.license_id
        left join subscriptions on subscriptions.license_id = licenses_page.license_id
    )
select
    licenses_page.license_id as license_id,
    licenses_page.product as product,
    toUnixTimestamp64Milli(licenses_page.started_at) as started_ms,
    licenses_page.origin as origin,
    licenses_page.campaign as campaign,
    licenses_page.reason as reason,
    if(
        licenses_page.payment_origin = 'partner'
            and (licenses_page.transferred_at is null or licenses_page.transferred_at > now_at),
        'partner', 'client'
    ) as payer,
    multiIf(
        standing.is_expired, 'expired',
        standing.has_paid, 'paid',
        stage_events.has_card, 'card_added',
        stage_events.is_qualified, 'qualified',
        'trial'
    ) as stage,
    stage_events.is_blocked as is_blocked,
    money.payment_count as payment_count,
    money.given_discount_cents as given_discount_cents,
    money.paid_without_discount as paid_without_discount,
    earned.earned_cents as earned_cents,
    clients.client_email_masked as client_email_masked
from licenses_page
left join stage_events on stage_events.license_id = licenses_page.license_id
left join money on money.license_id = licenses_page.license_id
left join standing on standing.license_id = licenses_page.license_id
left join earned on earned.license_id = licenses_page.license_id
left any join clients on clients.license_id = licenses_page.license_id
order by licenses_page.started_at desc, licenses_page.license_id desc
