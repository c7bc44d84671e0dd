-- Purpose: the partners on whose links people clicked in new loads.
-- Grain: one row per partner. Parameters: after_load.
select distinct partner_id
from click_days
where newest_load > {after_load:UInt64}
