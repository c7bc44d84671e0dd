-- Purpose: the partners whom a partner referred: totals of their licenses, and what they earned the partner (R20: nothing
--   else of them).
-- Grain: one row per referred partner, newest first.
-- Parameters: partner_id, now_ms, trial_days (of a license that names none).
with
    (select max(round) from rounds) as published,
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
        select license_id, partner_id, payment_origin, transferred_at
        from partner_bindings final
        where partner_id in (select partner_id from joins) and is_current
    ),
    standings as (include license_standings),
    totals as (
        select
            partner_id,
            count() as total_trials,
            countIf(payment_count > 0) as total_paid,
            countIf(not has_paid and not is_expired) as active_trials,
            countIf(not has_paid and not is_expired and has_card) as active_trials_with_card,
            countIf(has_paid and not is_expired) as active_paid
        from standings
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
