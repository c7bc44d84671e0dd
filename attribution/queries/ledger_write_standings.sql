-- The standing of the changed partners who are known: when they were suspended (R11), and their own rates (R10).
-- Where two events of a partner share a moment, the greater event id decides.
-- Grain: one row per partner.
-- Parameters: round, through_load.
insert into standings (partner_id, joined_at, email_hash, suspensions, rates, round)
with
    toDateTime64('2286-11-20 17:46:39.999', 3, 'UTC') as forever,
    events as (
        select *
        from partner_events
        where load_id <= {through_load:UInt64} and partner_id in (select partner_id from round_changes)
    ),
    holds as (
        select partner_id, occurred_at, argMax(kind, event_id) = 'suspended' as is_suspended
        from events
        where kind in ('suspended', 'reinstated')
        group by partner_id, occurred_at
    ),
    turns as (  -- only where it turns from active to suspended or back
        select
            partner_id,
            occurred_at,
            is_suspended,
            lagInFrame(is_suspended, 1, 0) over by_time as was_suspended
        from holds
        window by_time as (
            partition by partner_id order by occurred_at rows between unbounded preceding and unbounded following
        )
    ),
    spans as (
        select
            partner_id,
            is_suspended,
            occurred_at as since,
            leadInFrame(occurred_at, 1, forever) over (
                partition by partner_id order by occurred_at rows between unbounded preceding and unbounded following
            ) as until
        from turns
        where is_suspended != was_suspended
    ),
    suspended as (
        select partner_id, arraySort(groupArray((since, until))) as suspensions
        from spans
        where is_suspended
        group by partner_id
    ),
    own_rates as (
        select
            partner_id,
            occurred_at as since,
            argMax(
                (assumeNotNull(first_tier_percent_hundredths), assumeNotNull(second_tier_percent_hundredths)), event_id
            ) as percents,
            argMax(ifNull(until, forever), event_id) as ends_at
        from events
        where kind = 'rate_changed'
        group by partner_id, occurred_at
    ),
    in_force as (  -- a newer rate replaces an older one for good
        select
            partner_id,
            since,
            percents,
            least(ends_at, leadInFrame(since, 1, forever) over (
                partition by partner_id order by since rows between unbounded preceding and unbounded following
            )) as until
        from own_rates
    ),
    rated as (
        select
            partner_id,
            arraySort(groupArray((since, until, tupleElement(percents, 1), tupleElement(percents, 2)))) as rates
        from in_force
        group by partner_id
    )
select
    partners.partner_id,
    partners.joined_at,
    partners.email_hash,
    suspended.suspensions,
    rated.rates,
    {round:UInt64}
from partners
left join suspended on suspended.partner_id = partners.partner_id
left join rated on rated.partner_id = partners.partner_id
where partners.load_id <= {through_load:UInt64}
    and partners.partner_id in (select partner_id from round_changes)
