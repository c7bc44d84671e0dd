-- Licenses and joins that changed standings can touch: a human click on the partner's link since, of their visitor; the
-- partner was named by the site; or a payment since, which the partner earns on. (What a partner created before their
-- join was known is found by ledger_gather_touched_by_recruiters.sql: every join decides a recruiter.)
-- Projections are off: clicks are found by their partner.
-- Grain: rows repeat.
-- Parameters: round, through_load, window_ms.
insert into round_touched (round, decides, id)
with
    changes as (
        select partner_id, since
        from round_changes
        where round = {round:UInt64}
    ),
    changed_clicks as (
        select clicks.visitor_id as visitor_id, clicks.clicked_at as clicked_at
        from clicks
        inner join changes on changes.partner_id = clicks.partner_id
        where clicks.partner_id in (select partner_id from changes)
            and clicks.clicked_at >= changes.since
            and clicks.load_id <= {through_load:UInt64}
            and clicks.verdict = 'human'
    ),
    moments as (
        select
            'license' as decides, license_id as id, partner_hint as hint, signed_up_at as moment, visitor_id
        from signups
        where load_id <= {through_load:UInt64}
        union all
        select
            'partner' as decides, partner_id as id, recruiter_hint as hint, joined_at as moment, visitor_id
        from partners
        where load_id <= {through_load:UInt64}
    ),
    earnings as (
        select license_id, partner_id as earner_id
        from bindings
        where partner_id in (select partner_id from changes)
        union all
        select license_id, recruiter_id as earner_id
        from bindings
        where recruiter_id in (select partner_id from changes)
    )
select {round:UInt64}, moments.decides, moments.id
from changed_clicks
inner join moments on assumeNotNull(moments.visitor_id) = changed_clicks.visitor_id
where moments.visitor_id is not null
    and changed_clicks.clicked_at <= moments.moment
    and changed_clicks.clicked_at >= moments.moment - toIntervalMillisecond({window_ms:Int64})
union all
select {round:UInt64}, moments.decides, moments.id
from moments
inner join changes on changes.partner_id = moments.hint
where moments.moment >= changes.since
union all
select {round:UInt64}, 'license', payments.license_id
from payments
inner join earnings on earnings.license_id = payments.license_id
inner join changes on changes.partner_id = earnings.earner_id
where payments.license_id in (select license_id from earnings)
    and payments.paid_at >= changes.since
    and payments.load_id <= {through_load:UInt64}
settings optimize_use_projections = 0
