-- The clicks that can win the signups or joins which the round decides again. A partner's standing is the same between
-- two changes of it, so that only the newest human click of each of these times can win (R1, R2).
-- Grain: one row per signup or join, partner and standing of the partner.
-- Parameters: round, through_load, window_ms, decides ('license' or 'partner').
insert into round_clicks (round, decides, id, clicked_at, click_id, partner_id, product, campaign)
with
    undecided as (
        select license_id as id, assumeNotNull(visitor_id) as visitor_id, signed_up_at as moment
        from signups
        where {decides:String} = 'license'
            and visitor_id is not null
            and load_id <= {through_load:UInt64}
            and license_id in (select license_id from round_licenses where round = {round:UInt64})
        union all
        select partner_id as id, assumeNotNull(visitor_id) as visitor_id, joined_at as moment
        from partners
        where {decides:String} = 'partner'
            and visitor_id is not null
            and load_id <= {through_load:UInt64}
            and partner_id in (select partner_id from round_partners where round = {round:UInt64})
    ),
    changes as (
        select partner_id, joined_at as changed_at
        from partners
        where load_id <= {through_load:UInt64}
        union all
        select partner_id, occurred_at as changed_at
        from partner_events
        where load_id <= {through_load:UInt64} and kind in ('suspended', 'reinstated')
    ),
    standings as (
        select partner_id, groupArray(changed_at) as moments
        from changes
        group by partner_id
    ),
    candidates as (
        select
            undecided.id as id,
            clicks.partner_id as partner_id,
            arrayCount(moment -> moment <= clicks.clicked_at, standings.moments) as changes_before,
            argMax(
                tuple(clicks.clicked_at, clicks.click_id, clicks.product, clicks.campaign),
                tuple(clicks.clicked_at, toString(clicks.click_id))
            ) as newest
        from clicks
        inner join undecided on undecided.visitor_id = clicks.visitor_id
        inner join standings on standings.partner_id = clicks.partner_id
        where clicks.visitor_id in (select visitor_id from undecided)
            and clicks.verdict = 'human'
            and clicks.load_id <= {through_load:UInt64}
            and clicks.clicked_at <= undecided.moment
            and clicks.clicked_at >= undecided.moment - toIntervalMillisecond({window_ms:Int64})
        group by id, partner_id, changes_before
    )
select
    {round:UInt64},
    {decides:String},
    id,
    tupleElement(newest, 1),
    tupleElement(newest, 2),
    partner_id,
    tupleElement(newest, 3),
    tupleElement(newest, 4)
from candidates
