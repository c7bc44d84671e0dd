-- Purpose: the funnel (R19): a cohort of countable clicks, and how far the licenses that they won have come by now.
-- Grain: one row per group; groups without a click are left out.
-- Parameters: from_ms and to_ms (of clicked_at: inclusive, exclusive), product, partner_id, campaign, country, device
--   (each empty for all), group_by (none, day, week, month, partner, campaign, product, country, device).
with
    (select max(round) from rounds) as published,
    active as (
        select partner_id, argMax(spans, round) as active_spans
        from partner_spans
        where round <= published
        group by partner_id
    ),
    cohort as (
        select
            clicks.click_id as click_id,
            clicks.visitor_id as visitor_id,
            multiIf(
                {group_by:String} = 'day', toString(toDate(clicks.clicked_at, 'UTC')),
                {group_by:String} = 'week', toString(toMonday(clicks.clicked_at, 'UTC')),
                {group_by:String} = 'month', toString(toStartOfMonth(clicks.clicked_at, 'UTC')),
                {group_by:String} = 'partner', clicks.partner_id,
                {group_by:String} = 'campaign', clicks.campaign,
                {group_by:String} = 'product', toString(clicks.product),
                {group_by:String} = 'country', toString(clicks.country),
                {group_by:String} = 'device', toString(clicks.device),
                ''
            ) as group_name
        from clicks
        inner join active on active.partner_id = clicks.partner_id
        where clicks.verdict = 'human'
            and clicks.clicked_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
            and clicks.clicked_at < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
            and ({product:String} = '' or clicks.product = {product:String})
            and ({partner_id:String} = '' or clicks.partner_id = {partner_id:String})
            and ({campaign:String} = '' or clicks.campaign = {campaign:String})
            and ({country:String} = '' or clicks.country = {country:String})
            and ({device:String} = '' or clicks.device = {device:String})
            and arrayExists(span -> span.1 <= clicks.clicked_at and clicks.clicked_at < span.2, active.active_spans)
    ),
    click_groups as (
        select group_name, count() as clicks, uniqExact(visitor_id) as visitors
        from cohort
        group by group_name
    ),
    newest_bindings as (
        select license_id, click_id
        from bindings
        where round <= published
        order by round desc
        limit 1 by license_id
    ),
    won as (
        select license_id, click_id from newest_bindings where click_id != toUUID('00000000-0000-0000-0000-000000000000')
    ),
    stage_events as (
        select
            license_id,
            countIf(kind = 'qualified') > 0 as is_qualified,
            countIf(kind = 'card_added') > 0 as has_card,
            countIf(kind = 'expired') > 0 as is_expired
        from license_events
        where license_id in (select license_id from won)
        group by license_id
    ),
    reversals as (
        select payment_id, sum(if(kind = 'chargeback_won', -amount_cents, amount_cents)) as reversed_cents
        from refunds
        group by payment_id
    ),
    money as (
        select
            payments.license_id as license_id,
            sum(greatest(0, least(payments.amount_cents, payments.amount_cents - reversals.reversed_cents)))
                as revenue_cents
        from payments
        left join reversals on reversals.payment_id = payments.payment_id
        where payments.license_id in (select license_id from won)
        group by payments.license_id
    ),
    license_groups as (
        select
            cohort.group_name as group_name,
            count() as trials,
            countIf(stage_events.is_qualified) as qualified,
            countIf(stage_events.has_card) as card_added,
            countIf(money.license_id != '') as paid,
            countIf(stage_events.is_expired) as expired,
            sum(money.revenue_cents) as revenue_cents
        from cohort
        inner join won on won.click_id = cohort.click_id
        left join stage_events on stage_events.license_id = won.license_id
        left join money on money.license_id = won.license_id
        group by group_name
    )
select
    click_groups.group_name as group_name,
    click_groups.clicks as clicks,
    click_groups.visitors as visitors,
    license_groups.trials as trials,
    license_groups.qualified as qualified,
    license_groups.card_added as card_added,
    license_groups.paid as paid,
    license_groups.expired as expired,
    license_groups.revenue_cents as revenue_cents
from click_groups
left join license_groups on license_groups.group_name = click_groups.group_name
order by if({group_by:String} in ('day', 'week', 'month'), 0, clicks) desc, group_name
