-- New signups and joins, by visitor.
-- Grain: one row per signup, and per join. Repeated rows do no harm: who reads them asks for ids.
-- Parameters: after_load, through_load.
insert into moments (visitor_id, decides, id, moment)
select assumeNotNull(visitor_id), 'license', license_id, signed_up_at
from signups
where visitor_id is not null and load_id > {after_load:UInt64} and load_id <= {through_load:UInt64}
union all
select assumeNotNull(visitor_id), 'partner', partner_id, joined_at
from partners
where visitor_id is not null and load_id > {after_load:UInt64} and load_id <= {through_load:UInt64}
