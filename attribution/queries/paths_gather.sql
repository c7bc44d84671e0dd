-- The paths of countable clicks (R1) that end in a period: with a signup that a click won (R2), or with a visitor's last
-- click that no signup followed within the window. A path holds the clicks of the window before its end; one of the
-- second kind only those that no signup followed. All is as one round saw it, however many are published meanwhile: its
-- bindings among all versions, and the facts that it had. Only clicks that nobody's binding depends on are told as loaded.
-- Grain: one row per sequence of channels, the most conversions first; `all_…` count the rows beyond max_paths too.
-- Parameters: round, and through_load, the newest load that it has seen; from_ms and to_ms (of the paths' ends:
--   inclusive, exclusive), window_ms, by (partner, campaign, product), product (of the signup, or of the last click
--   without one; empty for all), conversion (trial: every such signup, paid: one whose license has paid), half_life_ms
--   (the age at which a touch weighs half), shares (one of so many visitors who never signed up is looked at, and counted
--   so many times), max_touches (longer paths keep their first and their newest), max_paths.
with
    toUUID('00000000-0000-0000-0000-000000000000') as nobody,
    fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') as period_begin,
    fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC') as period_end,
    holds as (
        select partner_id, occurred_at, argMax(kind, event_id) = 'suspended' as is_suspended
        from partner_events
        where kind in ('suspended', 'reinstated') and load_id <= {through_load:UInt64}
        group by partner_id, occurred_at
    ),
    held as (
        select partner_id, arraySort(groupArray((occurred_at, is_suspended))) as holds
        from holds
        group by partner_id
    ),
    joins as (
        select partners.partner_id as partner_id, partners.joined_at as joined_at, held.holds as holds
        from partners
        left join held on held.partner_id = partners.partner_id
        where partners.load_id <= {through_load:UInt64}
    ),
    newest_bindings as (
        select license_id, argMax(click_id, round) as newest_click
        from binding_versions
        where round <= {round:UInt64}
        group by license_id
    ),
    won as (
        select license_id, assumeNotNull(visitor_id) as visitor, signed_up_at as ended_at
        from signups
        where license_id in (select license_id from newest_bindings where newest_click != nobody)
            and load_id <= {through_load:UInt64}
            and visitor_id is not null
            and signed_up_at >= period_begin
            and signed_up_at < period_end
            and ({product:String} = '' or product = {product:String})
    ),
    reversals as (
        select payment_id, sum(if(kind = 'chargeback_won', -amount_cents, amount_cents)) as reversed_cents
        from refunds
        where load_id <= {through_load:UInt64}
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
            and payments.load_id <= {through_load:UInt64}
        group by payments.license_id
    ),
    won_clicks as (
        select
            won.license_id as license_id,
            won.ended_at as ended_at,
            clicks.clicked_at as clicked_at,
            clicks.click_id as click_id,
            clicks.partner_id as partner_id,
            clicks.campaign as campaign,
            clicks.product as product
        from clicks
        inner join won on won.visitor = clicks.visitor_id
        where clicks.visitor_id in (select visitor from won)
            and clicks.load_id <= {through_load:UInt64}
            and clicks.verdict = 'human'
            and clicks.clicked_at <= won.ended_at
            and toUnixTimestamp64Milli(clicks.clicked_at)
                >= toUnixTimestamp64Milli(won.ended_at) - {window_ms:Int64}
    ),
    won_journeys as (
        select
            won_clicks.license_id as license_id,
            any(won_clicks.ended_at) as ended_at,
            groupArray(tuple(
                won_clicks.clicked_at,
                toString(won_clicks.click_id),
                multiIf(
                    {by:String} = 'partner', won_clicks.partner_id,
                    {by:String} = 'campaign', won_clicks.campaign,
                    toString(won_clicks.product)
                )
            )) as touches
        from won_clicks
        inner join joins on joins.partner_id = won_clicks.partner_id
        where joins.joined_at <= won_clicks.clicked_at
            and not tupleElement(arrayLast(hold -> hold.1 <= won_clicks.clicked_at, joins.holds), 2)
        group by won_clicks.license_id
    ),
    every_signup as (
        select assumeNotNull(visitor_id) as visitor, signed_up_at
        from signups
        where visitor_id is not null
            and cityHash64(visitor_id) % {shares:UInt32} = 0
            and load_id <= {through_load:UInt64}
    ),
    sampled_clicks as (
        select visitor_id, clicked_at, click_id, partner_id, campaign, product
        from clicks
        where verdict = 'human'
            and visitor_id != nobody
            and cityHash64(visitor_id) % {shares:UInt32} = 0
            and clicked_at >= fromUnixTimestamp64Milli(greatest(0, {from_ms:Int64} - {window_ms:Int64}), 'UTC')
            and clicked_at < period_end
    ),
    lost_clicks as (
        select sampled_clicks.*
        from sampled_clicks
        asof left join every_signup
            on every_signup.visitor = sampled_clicks.visitor_id
            and every_signup.signed_up_at >= sampled_clicks.clicked_at
        where every_signup.visitor != sampled_clicks.visitor_id
            or toUnixTimestamp64Milli(every_signup.signed_up_at) - toUnixTimestamp64Milli(sampled_clicks.clicked_at)
                > {window_ms:Int64}
    ),
    lost_journeys as (
        select
            lost_clicks.visitor_id as visitor,
            max(lost_clicks.clicked_at) as ended_at,
            groupArray(tuple(
                lost_clicks.clicked_at,
                toString(lost_clicks.click_id),
                multiIf(
                    {by:String} = 'partner', lost_clicks.partner_id,
                    {by:String} = 'campaign', lost_clicks.campaign,
                    toString(lost_clicks.product)
                )
            )) as touches
        from lost_clicks
        inner join joins on joins.partner_id = lost_clicks.partner_id
        where joins.joined_at <= lost_clicks.clicked_at
            and not tupleElement(arrayLast(hold -> hold.1 <= lost_clicks.clicked_at, joins.holds), 2)
        group by lost_clicks.visitor_id
        having ended_at >= period_begin
            and (
                {product:String} = ''
                or argMax(toString(lost_clicks.product), tuple(lost_clicks.clicked_at, toString(lost_clicks.click_id)))
                    = {product:String}
            )
    ),
    journeys as (
        select
            won_journeys.touches as touches,
            {conversion:String} = 'trial' or money.license_id != '' as is_conversion,
            money.revenue_cents as value_cents,
            1 as journeys
        from won_journeys
        left join money on money.license_id = won_journeys.license_id
        union all
        select
            arrayFilter(
                touch -> toUnixTimestamp64Milli(touch.1) >= toUnixTimestamp64Milli(ended_at) - {window_ms:Int64},
                touches
            ) as touches,
            false as is_conversion,
            toInt64(0) as value_cents,
            {shares:UInt32} as journeys
        from lost_journeys
    ),
    shortened as (
        select
            arraySort(touches) as in_order,
            length(in_order) > {max_touches:UInt32} as is_shortened,
            if(
                is_shortened,
                arrayConcat([in_order[1]], arraySlice(in_order, 1 - {max_touches:Int32})),
                in_order
            ) as kept,
            is_conversion,
            value_cents,
            journeys
        from journeys
    ),
    weighed as (
        select
            arrayMap(touch -> touch.3, kept) as channels,
            arrayMap(
                touch -> exp2((
                    toUnixTimestamp64Milli(touch.1) - toUnixTimestamp64Milli(tupleElement(kept[-1], 1))
                ) / {half_life_ms:Int64}),
                kept
            ) as weights,
            arrayMap(weight -> weight / arraySum(weights), weights) as decayed,
            is_shortened,
            is_conversion,
            value_cents,
            journeys
        from shortened
    )
select
    channels as touches,
    sumIf(weighed.journeys, is_conversion) as conversions,
    sum(weighed.value_cents) as value_cents,
    sumIf(weighed.journeys, not is_conversion) as nulls,
    sumForEach(arrayMap(share -> share * is_conversion, decayed)) as decayed,
    sumForEach(arrayMap(share -> share * weighed.value_cents, weighed.decayed)) as decayed_value_cents,
    count() over () as all_paths,
    sum(conversions) over () as all_conversions,
    sum(value_cents) over () as all_value_cents,
    sum(nulls) over () as all_nulls,
    sum(countIf(is_shortened)) over () as shortened
from weighed
group by channels
order by conversions desc, nulls desc, touches
limit {max_paths:UInt32}
settings max_bytes_before_external_group_by = 500000000
