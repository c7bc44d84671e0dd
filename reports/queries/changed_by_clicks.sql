-- Purpose: the partners on whose links there were clicks in new loads.
-- Grain: one row per partner. Parameters: after_load.
select distinct partner_id
from clicks
where load_id > {after_load:UInt64}
