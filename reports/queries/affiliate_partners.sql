-- Purpose: the partners whom a partner referred: totals of their licenses, and what they earned the partner (R20: nothing
--   else of them).
-- Grain: one row per referred partner, newest first.
-- Parameters: partner_id, now_ms, trial_days (of a license that names none).
with
    (select max(round) from rounds) as published,
    fromUnixTimestamp64Milli({now_ms:Int64}, 'UTC') as now_at,
    toDateTime64(0, 3, 'UTC') as never,
    joins as materialized (
        select partner_id, click_id, clicked_at
        from recruitments final
        where recruiter_id = {partner_id:String}
    ),
    won as (
        select
            click_id, toString(product) as product, campaign,
            if(landing_query like '%utm_%', concat('?', landing_query), '') as url
        from clicks
        where partner_id = {partner_id:String}
            and (clicked_at, click_id) in (select clicked_at, click_id from joins)
    ),
    licenses as materialized (
        select license_id, partner_id, started_at, payment_origin, transferred_at
        from bindings final
        where partner_id in (select partner_id from joins)
    ),
    stage_events as (
        select license_id, countIf(kind = 'card_added') > 0 as has_card, maxIf(occurred_at, kind = 'expired') as expired_at
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
    stages as (
        select
            licenses.partner_id as partner_id,
            money.payment_count > 0 as was_paid,
            stage_events.has_card as has_card,
            -- R13: a transfer begins a new trial
            if(licenses.payment_origin = 'partner', ifNull(licenses.transferred_at, never), never) as renewed_at,
            if(
                renewed_at > never, addDays(renewed_at, 14), addDays(licenses.started_at, trial_lengths.trial_length)
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
        from licenses
        left join stage_events on stage_events.license_id = licenses.license_id
        left join money on money.license_id = licenses.license_id
        left join trial_lengths on trial_lengths.license_id = licenses.license_id
        left join subscriptions on subscriptions.license_id = licenses.license_id
    ),
    totals as (
        select
            partner_id,
            count() as total_trials,
            countIf(was_paid) as total_paid,
            countIf(not has_paid and not is_expired) as active_trials,
            countIf(not has_paid and not is_expired and has_card) as active_trials_with_card,
            countIf(has_paid and not is_expired) as active_paid
        from stages
        group by partner_id
    ),
    earned as (
        select referred_id, sum(amount_cents) as earned_cents
        from ledger
        where partner_id = {partner_id:String} and tier = 2 and round <= published
        group by referred_id
    )
select
    joins.partner_id as partner_id,
    toUnixTimestamp64Milli(partners.joined_at) as joined_ms,
    if(won.product = '', 'partner_program', won.product) as campaign_product,
    won.campaign as campaign,
    decodeURLFormComponent(extractURLParameter(won.url, 'utm_campaign')) as utm_campaign,
    decodeURLFormComponent(extractURLParameter(won.url, 'utm_medium')) as utm_medium,
    decodeURLFormComponent(extractURLParameter(won.url, 'utm_content')) as utm_content,
    decodeURLFormComponent(extractURLParameter(won.url, 'utm_term')) as utm_term,
    totals.total_trials as total_trials,
    totals.total_paid as total_paid,
    totals.active_trials as active_trials,
    totals.active_trials_with_card as active_trials_with_card,
    totals.active_paid as active_paid,
    earned.earned_cents as earned_cents
from joins
inner join partners on partners.partner_id = joins.partner_id
left any join won on won.click_id = joins.click_id
left join totals on totals.partner_id = joins.partner_id
left join earned on earned.referred_id = joins.partner_id
order by joined_ms desc, partner_id
