-- Partners whose standing the new loads change: they joined, were suspended or reinstated, or got rates (R1, R10, R11).
-- Grain: one row per partner; a join may matter to facts of any time.
-- Parameters: after_load, through_load.
insert into round_changes (partner_id, since)
with
    changed as (
        select partner_id, fromUnixTimestamp64Milli(toInt64(0), 'UTC') as since
        from partners
        where load_id > {after_load:UInt64} and load_id <= {through_load:UInt64}
        union all
        select partner_id, occurred_at as since
        from partner_events
        where load_id > {after_load:UInt64} and load_id <= {through_load:UInt64}
    )
select partner_id, min(since)
from changed
group by partner_id
