-- Earlier licenses, joins and payments that changed standings can touch: a human click on the partner's link since, of
-- their visitor (R1, R2); the partner was named by the site (R3); or a payment since, which the partner earns on (R10,
-- R11). (What a partner created before their join was known is found by ledger_gather_touched_by_recruiters.sql: every
-- join decides a recruiter.)
-- Projections are off: clicks are found by their partner.
-- Grain: rows repeat.
-- Parameters: after_load, through_load, window_ms.
insert into round_touched (decides, id)
with
    changed_clicks as (
        select clicks.visitor_id as visitor_id, clicks.clicked_at as clicked_at
        from clicks
        inner join round_changes on round_changes.partner_id = clicks.partner_id
        where clicks.partner_id in (select partner_id from round_changes)
            and clicks.clicked_at >= round_changes.since
            and clicks.load_id <= {through_load:UInt64}
            and clicks.verdict = 'human'
    ),
    hints as (
        select 'license' as decides, license_id as id, partner_hint as hint, signed_up_at as moment
        from signups
        where load_id <= {after_load:UInt64} and partner_hint in (select partner_id from round_changes)
        union all
        select 'partner' as decides, partner_id as id, recruiter_hint as hint, joined_at as moment
        from partners
        where load_id <= {after_load:UInt64} and recruiter_hint in (select partner_id from round_changes)
    ),
    earnings as (
        select license_id, partner_id as earner_id
        from bindings
        where partner_id in (select partner_id from round_changes)
        union all
        select license_id, recruiter_id as earner_id
        from bindings
        where recruiter_id in (select partner_id from round_changes)
    )
select moments.decides, moments.id
from moments
inner join changed_clicks on changed_clicks.visitor_id = moments.visitor_id
where changed_clicks.clicked_at <= moments.moment
    and changed_clicks.clicked_at >= moments.moment - toIntervalMillisecond({window_ms:Int64})
union all
select hints.decides, hints.id
from hints
inner join round_changes on round_changes.partner_id = hints.hint
where hints.moment >= round_changes.since
union all
select 'payment', payments.payment_id
from payments
inner join earnings on earnings.license_id = payments.license_id
inner join round_changes on round_changes.partner_id = earnings.earner_id
where payments.license_id in (select license_id from earnings)
    and payments.paid_at >= round_changes.since
    and payments.load_id <= {after_load:UInt64}
settings optimize_use_projections = 0
