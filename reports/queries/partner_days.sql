-- Purpose: a partner's clicks, signups and commission per day, for the overview's charts.
-- Grain: one row per day on which something happened.
-- Parameters: partner_id, from_ms and to_ms (inclusive, exclusive; both where a day begins).
with
    (select max(round) from rounds) as published,
    fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') as from_at,
    fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC') as to_at,
    (
        select argMax(spans, round)
        from partner_spans
        where partner_id = {partner_id:String} and round <= published
    ) as active,
    -- The days on which the partner became active or ceased to be.
    arrayFilter(
        day -> day >= toDate32(from_at, 'UTC') and day < toDate32(to_at, 'UTC'),
        arrayFlatten(arrayMap(span -> [toDate32(span.1, 'UTC'), toDate32(span.2, 'UTC')], active))
    ) as edges,
    -- Days on which the partner was active from beginning to end: counted from the projection `by_day`.
    whole_days as (
        select toDate(clicked_at, 'UTC') as day, count() as clicks
        from clicks
        where partner_id = {partner_id:String} and verdict = 'human'
            and toDate(clicked_at, 'UTC') >= toDate(from_at, 'UTC') and toDate(clicked_at, 'UTC') < toDate(to_at, 'UTC')
            and arrayExists(
                span -> toDate32(span.1, 'UTC') < toDate(clicked_at, 'UTC')
                    and toDate(clicked_at, 'UTC') < toDate32(span.2, 'UTC'),
                active
            )
        group by day
    ),
    -- Those days: click by click (R1).
    other_days as (
        select toDate(clicked_at, 'UTC') as day, count() as clicks
        from clicks
        where notEmpty(edges) and partner_id = {partner_id:String} and verdict = 'human'
            and clicked_at >= toDateTime64(arrayMin(edges), 3, 'UTC')
            and clicked_at < toDateTime64(arrayMax(edges) + 1, 3, 'UTC')
            and has(edges, toDate32(clicked_at, 'UTC'))
            and arrayExists(span -> span.1 <= clicked_at and clicked_at < span.2, active)
        group by day
    ),
    signup_days as (
        select toDate(started_at, 'UTC') as day, count() as signups
        from bindings final
        where partner_id = {partner_id:String} and started_at >= from_at and started_at < to_at
        group by day
    ),
    line_days as (
        select
            toDate(occurred_at, 'UTC') as day,
            sumIf(amount_cents, tier = 1) as first_tier_cents,
            sumIf(amount_cents, tier = 2) as second_tier_cents
        from ledger
        where partner_id = {partner_id:String} and round <= published
            and occurred_at >= from_at and occurred_at < to_at
        group by day
    )
select
    toString(day) as day_text,
    sum(clicks) as clicks,
    sum(signups) as signups,
    sum(first_tier_cents) as first_tier_cents,
    sum(second_tier_cents) as second_tier_cents
from (
    select day, clicks, 0 as signups, toInt64(0) as first_tier_cents, toInt64(0) as second_tier_cents from whole_days
    union all
    select day, clicks, 0 as signups, toInt64(0) as first_tier_cents, toInt64(0) as second_tier_cents from other_days
    union all
    select day, 0 as clicks, signups, toInt64(0) as first_tier_cents, toInt64(0) as second_tier_cents from signup_days
    union all
    select day, 0 as clicks, 0 as signups, first_tier_cents, second_tier_cents from line_days
)
group by day
order by day
