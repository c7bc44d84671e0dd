-- Who brought each signup and each join: the newest countable click in the window (R1, R2), else the partner whom the
-- site named, if active then (R3). Both ends of the window belong to it.
-- Grain: one row per license signed up for, and one per partner.
-- Parameters: audit, through_load, window_ms, picks_first (what if the oldest such click won instead of the newest).
insert into audit_sources (audit, decides, id, partner_id, click_id, reason)
with
    suspensions as (
        select partner_id, occurred_at as since, argMax(kind, event_id) = 'suspended' as is_suspended
        from partner_events
        where kind in ('suspended', 'reinstated') and load_id <= {through_load:UInt64}
        group by partner_id, occurred_at
    ),
    joins as (
        select partner_id, joined_at
        from partners
        where load_id <= {through_load:UInt64}
    ),
    moments as (
        select 'license' as decides, license_id as id, signed_up_at as moment, visitor_id, partner_hint as hint
        from signups
        where load_id <= {through_load:UInt64}
        union all
        select 'partner' as decides, partner_id as id, joined_at as moment, visitor_id, recruiter_hint as hint
        from partners
        where load_id <= {through_load:UInt64}
    ),
    visits as (
        select decides, id, moment, assumeNotNull(visitor_id) as visitor
        from moments
        where visitor_id is not null
    ),
    in_window as (
        select
            visits.decides as decides,
            visits.id as id,
            clicks.click_id as click_id,
            clicks.clicked_at as clicked_at,
            clicks.partner_id as partner_id
        from clicks
        inner join visits on visits.visitor = clicks.visitor_id
        where clicks.visitor_id in (select visitor from visits)
            and clicks.verdict = 'human'
            and clicks.load_id <= {through_load:UInt64}
            and clicks.clicked_at <= visits.moment
            and toUnixTimestamp64Milli(clicks.clicked_at)
                >= toUnixTimestamp64Milli(visits.moment) - {window_ms:Int64}
    ),
    of_joined as (
        select in_window.*
        from in_window
        inner join joins on joins.partner_id = in_window.partner_id
        where joins.joined_at <= in_window.clicked_at
    ),
    countable as (
        select of_joined.*
        from of_joined
        asof left join suspensions
            on suspensions.partner_id = of_joined.partner_id and suspensions.since <= of_joined.clicked_at
        where not suspensions.is_suspended
    ),
    touches as (
        select
            decides,
            id,
            if(
                {picks_first:UInt8},
                min(tuple(clicked_at, toString(click_id), partner_id)),
                max(tuple(clicked_at, toString(click_id), partner_id))
            ) as winner
        from countable
        group by decides, id
    ),
    named as (
        select
            moments.decides as decides,
            moments.id as id,
            moments.moment as moment,
            moments.hint as hint,
            joins.partner_id != '' and joins.joined_at <= moments.moment as had_joined
        from moments
        left join joins on joins.partner_id = moments.hint
    ),
    judged as (
        select named.*, suspensions.is_suspended as is_suspended
        from named
        asof left join suspensions
            on suspensions.partner_id = named.hint and suspensions.since <= named.moment
    )
select
    {audit:UInt64},
    judged.decides,
    judged.id,
    multiIf(
        touches.id != '', tupleElement(touches.winner, 3),
        judged.had_joined and not judged.is_suspended, judged.hint,
        ''
    ),
    if(touches.id != '', tupleElement(touches.winner, 2), ''),
    multiIf(
        touches.id != '', 'last_touch',
        not judged.had_joined, 'none',
        judged.is_suspended, 'partner_suspended',
        'explicit_partner'
    )
from judged
left join touches on touches.decides = judged.decides and touches.id = judged.id
