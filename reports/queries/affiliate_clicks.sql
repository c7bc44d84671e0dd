-- Purpose: a partner's countable clicks (R1) in a period.
-- Grain: one row per product and campaign of the links where asked, and per day where asked.
-- Parameters: partner_id, from_ms and to_ms (inclusive, exclusive), product (empty for all), by_day and by_campaign (1, or
--   0 for empty texts in their columns).
with
    fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') as from_at,
    fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC') as to_at,
    toDate32(from_at, 'UTC') as first_day,
    toDate32(fromUnixTimestamp64Milli({to_ms:Int64} - 1, 'UTC'), 'UTC') as last_day,
    (
        select argMax(spans, round)
        from partner_spans
        where partner_id = {partner_id:String} and round <= (select max(round) from rounds)
    ) as active,
    -- Days that count in part: the partner became active or ceased to be, or the period begins or ends within.
    arrayFilter(
        day -> day >= first_day and day <= last_day,
        arrayConcat(
            arrayFlatten(arrayMap(span -> [toDate32(span.1, 'UTC'), toDate32(span.2, 'UTC')], active)),
            if({from_ms:Int64} % 86400000 = 0, [], [first_day]),
            if({to_ms:Int64} % 86400000 = 0, [], [last_day])
        )
    ) as edges,
    -- Other days: counted from the projection `by_day`.
    whole_days as (
        select toDate(clicked_at, 'UTC') as day, product, campaign as link_campaign, count() as clicks
        from clicks
        where partner_id = {partner_id:String} and verdict = 'human'
            and toDate(clicked_at, 'UTC') >= first_day and toDate(clicked_at, 'UTC') <= last_day
            and not has(edges, toDate32(toDate(clicked_at, 'UTC')))
            and ({product:String} = '' or product = {product:String})
            and arrayExists(
                span -> toDate32(span.1, 'UTC') < toDate(clicked_at, 'UTC')
                    and toDate(clicked_at, 'UTC') < toDate32(span.2, 'UTC'),
                active
            )
        group by day, product, link_campaign
    ),
    -- Those days: click by click.
    other_days as (
        select toDate(clicked_at, 'UTC') as day, product, campaign as link_campaign, count() as clicks
        from clicks
        where notEmpty(edges) and partner_id = {partner_id:String} and verdict = 'human'
            and clicked_at >= greatest(from_at, toDateTime64(arrayMin(edges), 3, 'UTC'))
            and clicked_at < least(to_at, toDateTime64(arrayMax(edges) + 1, 3, 'UTC'))
            and has(edges, toDate32(clicked_at, 'UTC'))
            and ({product:String} = '' or product = {product:String})
            and arrayExists(span -> span.1 <= clicked_at and clicked_at < span.2, active)
        group by day, product, link_campaign
    )
select
    if({by_day:UInt8} = 1, toString(day), '') as day_text,
    if({by_campaign:UInt8} = 1, toString(product), '') as campaign_product,
    if({by_campaign:UInt8} = 1, link_campaign, '') as campaign,
    sum(clicks) as clicks
from (select * from whole_days union all select * from other_days)
group by day_text, campaign_product, campaign
