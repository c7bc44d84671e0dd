-- Licenses and joins that new facts of their own can touch: a signup, creation, transfer, payment or refund; a join; or a
-- human click of their visitor in the window before them.
-- Projections are off: new clicks are found by the ranges of load_id, which the one by visitor does not have.
-- Grain: rows repeat.
-- Parameters: round, after_load, through_load, window_ms.
insert into round_touched (round, decides, id)
with
    new_clicks as (
        select visitor_id, clicked_at
        from clicks
        where load_id > {after_load:UInt64} and load_id <= {through_load:UInt64} and verdict = 'human'
    ),
    moments as (
        select 'license' as decides, license_id as id, assumeNotNull(visitor_id) as visitor_id, signed_up_at as moment
        from signups
        where visitor_id is not null and load_id <= {through_load:UInt64}
        union all
        select 'partner' as decides, partner_id as id, assumeNotNull(visitor_id) as visitor_id, joined_at as moment
        from partners
        where visitor_id is not null and load_id <= {through_load:UInt64}
    )
select {round:UInt64}, moments.decides, moments.id
from new_clicks
inner join moments on moments.visitor_id = new_clicks.visitor_id
where new_clicks.clicked_at <= moments.moment
    and new_clicks.clicked_at >= moments.moment - toIntervalMillisecond({window_ms:Int64})
union all
select {round:UInt64}, 'partner', partner_id
from partners
where load_id > {after_load:UInt64} and load_id <= {through_load:UInt64}
union all
select {round:UInt64}, 'license', license_id
from signups
where load_id > {after_load:UInt64} and load_id <= {through_load:UInt64}
union all
select {round:UInt64}, 'license', license_id
from solution_licenses
where load_id > {after_load:UInt64} and load_id <= {through_load:UInt64}
union all
select {round:UInt64}, 'license', license_id
from license_transfers
where load_id > {after_load:UInt64} and load_id <= {through_load:UInt64}
union all
select {round:UInt64}, 'license', license_id
from payments
where load_id > {after_load:UInt64} and load_id <= {through_load:UInt64}
union all
select {round:UInt64}, 'license', license_id
from payments
where load_id <= {through_load:UInt64} and payment_id in (
    select payment_id
    from refunds
    where load_id > {after_load:UInt64} and load_id <= {through_load:UInt64}
)
settings optimize_use_projections = 0
