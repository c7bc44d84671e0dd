-- Purpose: a partner's clicks, signups and commission per day, for the overview's charts.
-- Grain: one row per day on which something happened.
-- Parameters: partner_id, from_ms and to_ms (inclusive, exclusive).
with
    (select max(round) from rounds) as published,
    fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') as from_at,
    fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC') as to_at,
    (
        select argMax(spans, round)
        from partner_spans
        where partner_id = {partner_id:String} and round <= published
    ) as active,
    click_days as (
        select toDate(clicked_at, 'UTC') as day, count() as clicks
        from clicks
        where partner_id = {partner_id:String} and verdict = 'human' and clicked_at >= from_at and clicked_at < to_at
            and arrayExists(span -> span.1 <= clicked_at and clicked_at < span.2, active)
        group by day
    ),
    newest_bindings as (
        select license_id, partner_id, started_at
        from bindings
        where round <= published
            and license_id in (select license_id from bindings where partner_id = {partner_id:String})
        order by round desc
        limit 1 by license_id
    ),
    signup_days as (
        select toDate(started_at, 'UTC') as day, count() as signups
        from newest_bindings
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
    select day, clicks, 0 as signups, toInt64(0) as first_tier_cents, toInt64(0) as second_tier_cents from click_days
    union all
    select day, 0 as clicks, signups, toInt64(0) as first_tier_cents, toInt64(0) as second_tier_cents from signup_days
    union all
    select day, 0 as clicks, 0 as signups, first_tier_cents, second_tier_cents from line_days
)
group by day
order by day
