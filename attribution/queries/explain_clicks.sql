-- A visitor's clicks around a signup or join: the newest `max_rows`, and every one that can win it: the newest human
-- click in the window of each of its partner's standings.
-- Grain: one row per click.
-- Parameters: through_load, visitor_id, moment_ms, window_ms, max_rows.
with
    of_visitor as (
        select
            click_id, clicked_at, partner_id, product, campaign, verdict,
            toUnixTimestamp64Milli(clicked_at) between {moment_ms:Int64} - {window_ms:Int64} and {moment_ms:Int64}
                and verdict = 'human' as can_win
        from clicks
        where visitor_id = {visitor_id:UUID} and load_id <= {through_load:UInt64}
    ),
    changes as (
        select partner_id, joined_at as changed_at
        from partners
        where partner_id in (select partner_id from of_visitor) and load_id <= {through_load:UInt64}
        union all
        select partner_id, occurred_at as changed_at
        from partner_events
        where partner_id in (select partner_id from of_visitor)
            and kind in ('suspended', 'reinstated')
            and load_id <= {through_load:UInt64}
    ),
    standings as (
        select partner_id, groupArray(changed_at) as moments
        from changes
        group by partner_id
    ),
    with_standings as (
        select
            of_visitor.*,
            arrayCount(moment -> moment <= of_visitor.clicked_at, standings.moments) as changes_before
        from of_visitor
        left join standings on standings.partner_id = of_visitor.partner_id
    ),
    ranked as (
        select
            *,
            row_number() over (order by clicked_at desc, toString(click_id) desc) as place,
            row_number() over (
                partition by partner_id, changes_before, can_win
                order by clicked_at desc, toString(click_id) desc
            ) as place_in_standing
        from with_standings
    )
select
    toString(click_id) as click_id,
    toUnixTimestamp64Milli(clicked_at) as clicked_at,
    partner_id,
    product,
    campaign,
    verdict
from ranked
where place <= {max_rows:UInt32} or (can_win and place_in_standing = 1)
