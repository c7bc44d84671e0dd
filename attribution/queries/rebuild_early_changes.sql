-- Suspensions and reinstatements of partners whose join is not known, a page at a time.
-- Grain: one row per Partner ID. Parameters: after, the last id of the page before; page_size.
select
    partner_id as id,
    groupArray((toUnixTimestamp64Milli(occurred_at), event_id, toString(kind))) as changes
from partner_events
where kind in ('suspended', 'reinstated')
    and partner_id > {after:String}
    and partner_id not in (select partner_id from partners)
group by partner_id
order by id
limit {page_size:UInt32}
